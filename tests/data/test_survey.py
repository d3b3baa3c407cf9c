from pathlib import Path

from mmcore import params
from mmcore.data.importers import ImportOptions
from mmcore.data.survey import TASK_COLUMNS, describe_source
from mmcore.tasks import TASKS
from tests.data.importers.test_imagefolder import listed, pictures


def test_a_source_is_described_before_anything_is_written(tmp_path: Path) -> None:
    for folder in ("train", "val", "test"):
        lines = [{"file_name": f"{number}.png", "caption": "a dog", "camera": 3} for number in range(3)]
        listed(pictures(tmp_path / folder, *(str(line["file_name"]) for line in lines)), *lines, "broken")
    summary = describe_source(tmp_path, "imagefolder", ImportOptions())
    assert summary.fields == {"file_name": "image", "caption": "captions", "camera": "meta"}
    assert summary.rows == {"train": 3, "validation": 3, "test": 3}
    assert summary.columns == {"id": 9, "image": 9, "captions": 9, "meta": 9}
    assert summary.refused == {"bad_manifest_line": 3}
    assert summary.tasks == {
        "retrieval": "", "captioning": "",
        "summarisation": "no row of train, validation, test has video and summary",
    }  # fmt: skip
    assert len(summary.examples) == 6
    assert summary.examples[0].texts == ["a dog"]
    assert str(summary.examples[0].thumbnail).startswith("data:image/png;base64,")
    assert summary.doubts[0].startswith("3 rows would be refused (3 bad_manifest_line); test/metadata.jsonl:4:")
    assert summary.doubts[1].startswith("there is one caption a row")


def test_what_looks_wrong_is_said(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(4)]
    lines = [{"file_name": name, "captions": ["一只狗", "狗", " "]} for name in names]
    (listed(pictures(tmp_path, *names), *lines) / "0.png").write_bytes(b"no picture")
    summary = describe_source(tmp_path, "imagefolder", ImportOptions())
    told = " ".join(summary.doubts)
    assert "4 rows are of no stated split" in told
    assert "4 captions are blank" in told
    assert "add --lang zh" in told
    assert summary.examples[0].thumbnail is None


def test_the_tasks_need_what_is_said_here() -> None:
    settings = params.load(Path(__file__).parents[2] / "params.yaml")
    needs = {name: tuple(TASKS.build(section.task).needs) for name, section in settings.finetune.items()}
    assert needs == TASK_COLUMNS
