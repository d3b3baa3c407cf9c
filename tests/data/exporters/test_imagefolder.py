import json
from pathlib import Path

import pytest

from mmcore.data import store
from mmcore.data.exporters.imagefolder import Exporter
from tests.data.test_prepare import picture


def test_a_line_for_each_sample_and_its_media_beside_it(tmp_path: Path) -> None:
    rows = [
        store.row(id="a", image=picture(1), captions=[{"text": "一只狗", "lang": "zh"}]),
        store.row(id="b", image=b"GIF8", video=b"GIF8", summary="s"),
    ]
    Exporter().write("train", iter(rows), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "train" / "metadata.jsonl").read_text("utf-8").splitlines()]
    assert lines == [
        {"file_name": "a.png", "id": "a", "captions": [{"text": "一只狗", "lang": "zh"}]},
        {"file_name": "b.gif", "video_file_name": "video-b.gif", "id": "b", "captions": [], "summary": "s"},
    ]
    assert sorted(path.name for path in (tmp_path / "train").iterdir()) == [
        "a.png", "b.gif", "metadata.jsonl", "video-b.gif"
    ]  # fmt: skip
    assert (tmp_path / "train" / "a.png").read_bytes() == picture(1)


def test_a_sample_without_media_is_nothing_for_a_folder_of_media(tmp_path: Path) -> None:
    row = store.row(id="c", transcript="only words")
    with pytest.raises(ValueError, match=r"the sample c has neither picture .*; export as huggingface or webdataset"):
        Exporter().write("train", iter([row]), tmp_path)
