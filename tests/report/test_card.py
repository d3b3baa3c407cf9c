import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mmcore.data import frozen, store
from mmcore.report import card
from mmcore.report.build import build
from mmcore.workspace import Workspace
from tests.data.test_ingest import picture


def row(id: str, *captions: tuple[str, str | None], **more: object) -> store.Row:
    made = [{"text": text, "lang": lang} for text, lang in captions]
    return store.row(id=id, image=picture(1), captions=made, **more)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four rows: three English captions of 1, 3 and 5 characters, one Chinese, one of no stated language."""
    root = tmp_path / "data"
    store.write_shards(root, "train", [
        row("a", ("x", "en"), ("xxx", "en"), ("狗狗", "zh"), source="shop", labels={"kind": "dog"},
            meta=json.dumps({"license": "CC BY 4.0"})),
        row("b", ("xxxxx", "en"), source="shop", labels={"kind": "dog", "set": "one"},
            meta=json.dumps({"Licence": "CC BY 4.0", "note": "by hand"})),
        row("c", ("yy", None), source="web", labels={"kind": "cat"}),
    ])  # fmt: skip
    store.write_shards(root, "test", [row("d", source="web")])
    store.write_manifest(root)
    return root


def shown(data: Path, problems: dict[str, int] | None = None) -> dict[str, object]:
    summary = {"problems": {code: {"rows": count} for code, count in (problems or {}).items()}}
    made = card.card(card.read_contents(data), summary)
    assert made is not None
    return made


def rows_of(made: dict[str, object], title: str) -> dict[str, list[object]]:
    (table,) = [table for table in made["tables"] if table["title"] == title]
    return {one["name"]: one["counts"] for one in table["rows"]}


def test_captions_are_counted_by_language_with_their_median_length(data: Path):
    assert rows_of(shown(data), "Language") == {
        "English (en)": [3, "3"],
        "Chinese (zh)": [1, "2"],
        "not stated": [1, "2"],
    }


@pytest.mark.parametrize(
    ("code", "name"), [("zh_CN", "Chinese (zh_CN)"), ("pt-BR", "Portuguese (pt-BR)"), ("xx", "xx")]
)
def test_a_language_is_named_with_its_region(tmp_path: Path, code: str, name: str):
    store.write_shards(tmp_path, "train", [row("a", ("x", code))])
    store.write_manifest(tmp_path)
    assert rows_of(shown(tmp_path), "Language") == {name: [1, "1"]}


def test_data_without_media_have_no_size(tmp_path: Path):
    store.write_shards(tmp_path, "train", [store.row(id="a", captions=[{"text": "x", "lang": "en"}])])
    store.write_manifest(tmp_path)
    assert dict(shown(tmp_path)["facts"])["Samples"] == "1"


def test_sources_and_licences_are_counted_in_samples(data: Path):
    made = shown(data)
    assert rows_of(made, "Source") == {"shop": [2], "web": [2]}
    assert rows_of(made, "Licence") == {"CC BY 4.0": [2], "not stated": [2]}


def test_where_no_row_states_a_licence_there_is_no_table_of_them(tmp_path: Path):
    store.write_shards(tmp_path, "train", [row("a", ("x", "en"))])
    store.write_manifest(tmp_path)
    assert rows_of(shown(tmp_path), "Licence") == {}


def test_the_balance_of_each_label_is_told(data: Path):
    kind, other = shown(data)["labels"]
    assert (kind["name"], kind["count"]) == ("Kind", "2 values, the most frequent 2 times the rarest")
    assert [(value["name"], value["count"]) for value in kind["values"]] == [("dog", 2), ("cat", 1)]
    assert (other["name"], other["count"]) == ("Set", "1 value")


def test_a_label_that_is_another_name_of_the_row_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(card, "LABEL_VALUES", 2)
    store.write_shards(tmp_path, "train", [row(id, labels={"key": id}) for id in "abc"])
    store.write_manifest(tmp_path)
    assert shown(tmp_path)["labels"] == []


def test_facts_name_captions_duplicates_and_a_frozen_test_split(data: Path):
    facts = dict(shown(data, {"duplicate_within_split": 3, "empty_caption": 9})["facts"])
    assert facts["Captions"] == "5, 1.7 for each sample that has any"
    assert facts["Duplicates"] == "3 duplicate within split"
    assert "Test split" not in facts
    record = frozen.freeze(data)
    facts = dict(shown(data)["facts"])
    assert facts["Test split"] == f"frozen at 1 samples, {record.sha256[:12]}"
    assert facts["Duplicates"] == "none found"


def test_sizes_are_those_of_the_media(data: Path):
    size = len(picture(1))
    found = card.read_contents(data)
    assert found is not None
    assert 3 * size < found.bytes["train", "image"] < 3 * size + 200
    assert found.bytes["train", "audio"] < 200
    assert [card.size_in_words(count) for count in (12, 1234, 4_600_000_000)] == ["–", "1.23 kB", "4.6 GB"]


def test_without_data_there_is_no_card(tmp_path: Path):
    assert card.read_contents(tmp_path) is None
    assert card.card(None, None) is None


def test_the_strip_shows_accepted_samples_from_the_first_to_the_last(fresh: Callable[[], Workspace]):
    workspace = fresh()
    assert card.strip(workspace.data, workspace.root / "nowhere") == []
    import pyarrow as pa
    import pyarrow.parquet as pq

    profile = pq.read_table(workspace.validated / "profile.parquet").to_pylist()
    seen = [{**one, "has_image": one["id"].startswith("scene"), "has_video": False} for one in profile]
    pq.write_table(pa.Table.from_pylist(seen), workspace.validated / "profile.parquet")
    strip = card.strip(workspace.data, workspace.validated)
    assert [one.id for one in strip] == [f"scene-test-{number:04d}" for number in (0, 1, 3, 4, 6, 7, 9, 10)]
    assert all(one.picture and one.text for one in strip)
    assert 'class="strip"' in build(workspace).read_text()
