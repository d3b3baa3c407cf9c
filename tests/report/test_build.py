import re
import shutil
from html.parser import HTMLParser

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcore.report.build import build, readable
from mmcore.tasks import SCHEMA
from mmcore.workspace import Workspace, read_json, write_json

VOID = {"meta", "link", "img", "source", "br"}
HOSTILE = '<script>alert(1)</script> <img src=x onerror=alert(2)> " onload="x'


class Page(HTMLParser):
    """The tags, texts, ids and addresses of a page; fails where tags do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.alts: list[str | None] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        assert len(values) == len(attrs), f"an attribute stands twice in {tag}"
        self.ids += [values["id"] or ""] if "id" in values else []
        self.addresses += [values[name] or "" for name in ("src", "href", "srcset", "action") if name in values]
        self.handlers += [name for name in values if name.startswith("on")]
        if tag == "img":
            self.alts.append(values.get("alt"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def text_of(workspace: Workspace) -> str:
    return build(workspace).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def html(whole):
    return text_of(whole)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_the_page_is_one_file_below_four_megabytes(html):
    assert len(html.encode()) < 4_000_000


def test_nothing_is_loaded_from_elsewhere(html, page):
    assert [address[:40] for address in page.addresses if not address.startswith(("#", "data:"))] == []
    assert re.findall(r"https?://|@import|url\(", html) == []
    assert "script" not in page.tags
    assert "default-src 'none'" in html


def test_links_lead_to_sections_that_exist(page):
    assert len(page.ids) == len(set(page.ids))
    assert {address for address in page.addresses if address.startswith("#")} == {f"#{id}" for id in page.ids}


def test_every_picture_is_described(page):
    assert page.alts
    assert all(page.alts)


def test_every_part_is_there(page):
    assert page.ids == [
        "content", "results", "learning", "retrieval", "captioning", "summarisation", "data", "quarantine", "lineage",
        "cost", "next",
    ]  # fmt: skip
    for words in (
        "digitworld", "v0.2.0", "Promote", "captioning.bleu4 is 55.5", "Text to image, recall@1", "63.3", "≥ 27.8",
        "colour histogram 4.1", "Fine-tuning for captioning", "masked language", "right one in place 1", "Transcript",
        "caption 3 of 5 is empty", "Words in a caption", "1f2e3d4c5b6a.dir"[:12], "brave-heron", "3 min 03 s",
        "unchanged", "mmcore serve", "Fine-tuning for retrieval",
    ):  # fmt: skip
        assert words in page.words, words


def test_clips_move_and_stand_still_for_those_who_ask(html):
    assert '<source media="(prefers-reduced-motion: reduce), print" srcset="data:image/png' in html


def test_equal_files_give_equal_bytes(whole, html):
    assert text_of(whole) == html


def test_an_empty_folder_gives_a_page_that_says_so(tmp_path):
    page = Page(text_of(Workspace(tmp_path)))
    assert "No verdict yet" in page.words
    assert page.ids == ["content", "next", "missing"]
    assert "nothing is evaluated" in page.words
    assert "mmcore run" in page.words


@pytest.mark.parametrize(
    "part",
    [
        "data", "params.yaml", "data.dvc", "artifacts/run.json", "artifacts/verdict.json", "artifacts/validated",
        "artifacts/validated/accepted.parquet", "artifacts/validated/profile.parquet",
        "artifacts/validated/summary.json", "artifacts/evaluation", "artifacts/evaluation/scores.json",
        "artifacts/evaluation/predictions/retrieval.parquet", "artifacts/logs", "artifacts/tasks", "artifacts/code",
    ],
)  # fmt: skip
def test_any_part_may_be_missing(fresh, part):
    workspace = fresh()
    path = workspace.root / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert "Next" in Page(text_of(workspace)).words


@pytest.mark.parametrize(
    "part",
    [
        "params.yaml", "data.dvc", "artifacts/run.json", "artifacts/verdict.json", "artifacts/evaluation/metrics.json",
        "artifacts/evaluation/scores.json", "artifacts/evaluation/predictions/captioning.parquet",
        "artifacts/validated/accepted.parquet", "artifacts/validated/quarantine.parquet",
        "artifacts/validated/summary.json", "artifacts/logs/pretrain/curves.csv", "artifacts/code/pretrain.json",
        "artifacts/logs/validate/status.json", "data/test/part-00000.parquet",
    ],
)  # fmt: skip
def test_any_file_may_be_broken(fresh, part):
    workspace = fresh()
    (workspace.root / part).write_bytes(b'{"a": [1, "\xff\x00')
    page = Page(text_of(workspace))
    if part != "artifacts/logs/pretrain/curves.csv":
        assert "could not be read" in page.words
    assert "Next" in page.words


def test_files_of_another_shape_are_named_and_left_out(fresh):
    workspace = fresh()
    write_json(workspace.artifacts / "run.json", {"stages": 3})
    write_json(workspace.verdict, ["promote"])
    write_json(workspace.evaluation / "metrics.json", {"retrieval": {"recall": 3}})
    page = Page(text_of(workspace))
    assert page.words.count("could not be read") == 3


def test_what_data_say_is_shown_and_never_obeyed(fresh):
    workspace = fresh()
    file = workspace.evaluation / "predictions" / "captioning.parquet"
    rows = pq.read_table(file).to_pylist()
    for row in rows:
        row["prediction"], row["references"] = HOSTILE, [HOSTILE]
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), file)
    write_json(
        workspace.verdict,
        {"verdict": "reject", "reasons": [HOSTILE], "comparisons": [], "champion": HOSTILE, "candidate": HOSTILE},
    )
    workspace.params.write_text(f"name: {HOSTILE!r}\n", encoding="utf-8")
    html = text_of(workspace)
    page = Page(html)
    assert "script" not in page.tags
    assert page.handlers == []
    assert "<script>" not in html
    assert "alert(1)" in page.words


def test_chinese_captions_are_marked_as_chinese(fresh):
    workspace = fresh()
    file = workspace.evaluation / "predictions" / "captioning.parquet"
    rows = pq.read_table(file).to_pylist()
    for row in rows:
        row["prediction"], row["references"] = "一只狗在草地上", ["一只狗在雪地上奔跑"]
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), file)
    html = text_of(workspace)
    assert '<p class="words said" dir="auto" lang="zh">一只狗在<span class="odd">草</span>地上</p>' in html
    assert "Noto Sans CJK SC" in html


def test_a_failed_run_outweighs_an_older_verdict(fresh):
    workspace = fresh()
    record = read_json(workspace.artifacts / "run.json")
    record["stages"][2]["state"] = "failed"
    write_json(workspace.artifacts / "run.json", record)
    write_json(workspace.logs("pretrain") / "status.json", {"state": "failed", "reason": "the loss was no number"})
    page = Page(text_of(workspace))
    assert "The step pretrain failed." in page.words
    assert "the loss was no number" in page.words
    assert "passed the promotion gate" not in page.words
    assert "mmcore run debug brave-heron pretrain" in page.words


def test_data_that_validation_refused_are_shown_from_its_log(fresh):
    workspace = fresh()
    logs = workspace.logs("validate")
    for name in ("summary.json", "quarantine.parquet"):
        shutil.copy(workspace.validated / name, logs / name)
    shutil.rmtree(workspace.validated)
    write_json(logs / "status.json", {"state": "failed", "reason": "only 8% of the samples are usable"})
    page = Page(text_of(workspace))
    assert "Quarantine" in page.words
    assert "caption 3 of 5 is empty" in page.words


def test_control_characters_and_endless_texts_are_tamed():
    assert readable("a\x00b\x1bc\u202e") == "a\ufffdb\ufffdc\ufffd"
    assert len(readable("x" * 10_000)) == 602
