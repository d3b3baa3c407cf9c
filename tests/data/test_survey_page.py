import re
from pathlib import Path

import pytest

from mmcore.data.importers import Refused
from mmcore.data.survey import SourceSummary
from mmcore.data.survey_examples import Example
from mmcore.data.survey_page import preview_lines, preview_page


def summary(**values: object) -> SourceSummary:
    whole: dict[str, object] = {
        "source": "photos", "format": "imagefolder", "fields": {"file_name": "image", "camera": "meta"},
        "rows": {"train": 8, "validation": 1, "test": 0}, "columns": {"image": 9}, "languages": {"zh": 3, "": 1},
        "refused": {"missing_file": 1}, "refused_rows": [Refused("x.png", "missing_file", "there is no file 'x.png'")],
        "tasks": {"retrieval": "", "captioning": "no row of test has captions"},
        "examples": [Example("a.png", "train", "data:image/png;base64,AA==", wave=[0.5, 1.0], texts=["<b>一只狗</b>"])],
        "doubts": ["no row is of the split test"],
    }  # fmt: skip
    return SourceSummary(**{**whole, **values})  # type: ignore[arg-type]


def test_the_page_shows_everything_and_needs_nothing_beside_it() -> None:
    page = preview_page(summary())
    for said in (
        "9 rows would be imported, 1 refused", "No row is of the split test.", "kept in meta", "Chinese",
        "not stated", "there is no file", "No row of test has captions", "data:image/png;base64,AA==",
    ):  # fmt: skip
        assert said in page.replace("&#39;", "'")
    assert page.count("<rect ") == 2
    assert not re.search(r"https?://|<script|src=\"(?!data:)", page)
    assert "prefers-color-scheme: dark" in page


def test_what_comes_from_the_source_is_escaped() -> None:
    page = preview_page(summary(source="<script>alert(1)</script>"))
    assert "<script>" not in page
    assert "&lt;b&gt;一只狗&lt;/b&gt;" in page


@pytest.mark.parametrize("empty", ["fields", "columns", "languages", "refused", "refused_rows", "examples", "doubts"])
def test_a_page_with_little_on_it_is_still_one(empty: str) -> None:
    assert "</html>" in preview_page(summary(**{empty: type(getattr(summary(), empty))()}))
    assert "</html>" in preview_page(summary(rows={"train": 0, "validation": 0, "test": 0}, columns={}))


def test_the_lines_say_the_same() -> None:
    assert preview_lines(summary()) == [
        "fields   file_name → image, camera → meta",
        "rows     8 train, 1 validation, 0 test",
        "columns  image (9)",
        "captions 3 zh, 1 not stated",
        "refused  1 missing_file",
        "task     retrieval: can be trained",
        "task     captioning: no row of test has captions",
        "doubt    no row is of the split test",
    ]


def test_the_templates_lie_beside_the_code() -> None:
    folder = Path(__file__).parents[2] / "mmcore" / "data" / "templates"
    assert sorted(path.name for path in folder.iterdir()) == ["survey.css", "survey.html.j2"]
