from pathlib import Path

import pytest

from mmcore.data.importers import ImportOptions
from mmcore.data.importers.videofolder import Importer
from tests.conftest import ROOT
from tests.data.importers.test_imagefolder import listed

DATA = ROOT.parent / "shared" / "data"


def test_the_file_name_of_a_list_is_its_video(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.png"):
        (tmp_path / name).write_bytes(b"x")
    listed(tmp_path, {"file_name": "a.mp4", "image_file_name": "a.png", "text": "hello"})
    (sample,) = Importer().read(tmp_path, ImportOptions())
    assert isinstance(sample, dict)
    assert (sample["id"], sample["video"], sample["image"]) == ("a.mp4", tmp_path / "a.mp4", tmp_path / "a.png")
    assert sample["meta"] == '{"file_name": "a.mp4", "image_file_name": "a.png"}'
    assert Importer().fields(tmp_path, ImportOptions()) == {
        "file_name": "video", "image_file_name": "image", "text": "captions"
    }  # fmt: skip


def test_without_a_list_only_clips_are_read(tmp_path: Path) -> None:
    for name in ("one/a.mp4", "one/a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (sample,) = Importer().read(tmp_path, ImportOptions())
    assert isinstance(sample, dict)
    assert (sample["id"], sample["labels"]) == ("one/a.mp4", {"label": "one"})
    (tmp_path / "one" / "a.mp4").unlink()
    with pytest.raises(ValueError, match="holds no clips"):
        list(Importer().read(tmp_path, ImportOptions()))


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared data sets")
def test_real_clips_are_all_read_the_broken_one_too() -> None:
    samples = list(Importer().read(DATA / "video_clips", ImportOptions()))
    assert len(samples) == 11
    assert all(isinstance(sample, dict) and sample["video"].is_file() for sample in samples)
