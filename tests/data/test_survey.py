from pathlib import Path

from mmcore import params
from mmcore.data.importers import ImportOptions
from mmcore.data.survey import TASK_COLUMNS, describe_source
from mmcore.tasks import TASKS
from tests.data.importers.test_imagefolder import listed, pictures


def test_a_source_is_described_before_anything_is_written(tmp_path: Path) -> None:
    for folder in ("train", "val", "test"):
        lines = [{"file_name": f"{number}.png", "caption": "a dog", "camera": 3} for number in range(5)]
        listed(pictures(tmp_path / folder, *(str(line["file_name"]) for line in lines)), *lines, "broken")
    summary = describe_source(tmp_path, "imagefolder", ImportOptions(lang="en"))
    assert (summary.source, summary.format) == (tmp_path.name, "imagefolder")
    assert summary.fields == {"file_name": "image", "caption": "captions", "camera": "meta"}
    assert summary.rows == {"train": 5, "validation": 5, "test": 5}
    assert summary.columns == {"id": 15, "image": 15, "captions": 15, "meta": 15}
    assert summary.languages == {"en": 15}
    assert summary.refused == {"bad_manifest_line": 3}
    assert [one.id for one in summary.refused_rows] == [f"{name}/metadata.jsonl:6" for name in ("test", "train", "val")]
    assert summary.tasks == {
        "retrieval": "", "captioning": "",
        "summarisation": "no row of train, validation, test has video and summary",
        "questions": "no row of train, validation, test has image and qa",
        "sentiment": "no row of train, validation, test has image and transcript and labels",
    }  # fmt: skip
    assert [one.split for one in summary.examples] == ["train"] * 4 + ["validation"] * 4 + ["test"] * 4
    assert summary.examples[0].texts == ["a dog"]
    told = summary.doubts
    assert told[0].startswith("3 rows would be refused (3 bad_manifest_line); test/metadata.jsonl:6:")
    assert told[1] == "the split validation has 5 rows; scores on so few vary by chance"
    assert told[3].startswith("there is one caption a row")
    assert told[4] == "15 of 15 captions are the same: 'a dog'"


def test_what_looks_wrong_is_said(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(4)]
    lines = [{"file_name": name, "captions": ["一只狗", "狗", " "]} for name in names]
    (listed(pictures(tmp_path, *names), *lines) / "0.png").write_bytes(b"no picture")
    summary = describe_source(tmp_path, "imagefolder", ImportOptions())
    told = " ".join(summary.doubts)
    assert "4 rows are of no stated split" in told
    assert "4 captions are blank" in told
    assert "most captions are Chinese" in told
    assert "1 of the 4 rows shown hold media that cannot be read; 0.png: the image cannot be read" in told
    assert summary.languages == {"zh": 8}
    stated = describe_source(tmp_path, "imagefolder", ImportOptions(lang="zh"))
    assert "most captions are Chinese" not in " ".join(stated.doubts)


def test_groups_that_are_torn_between_splits_are_told(tmp_path: Path) -> None:
    for folder in ("train", "test"):
        listed(pictures(tmp_path / folder, "a.png"), {"file_name": "a.png", "caption": "x", "shop": "s1"})
    doubts = describe_source(tmp_path, "imagefolder", ImportOptions(group="shop")).doubts
    assert any(doubt.startswith("1 groups are in more than one split") and "'s1'" in doubt for doubt in doubts)


def test_the_tasks_need_what_is_said_here() -> None:
    settings = params.load(Path(__file__).parents[2] / "params.yaml")
    needs = {name: tuple(TASKS.build(settings.finetune[name].task).needs) for name in settings.tasks}
    assert needs == TASK_COLUMNS
