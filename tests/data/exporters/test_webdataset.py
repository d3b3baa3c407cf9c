import json
import tarfile
from pathlib import Path

import pytest

from mmcore.data import store
from mmcore.data.exporters.webdataset import Exporter
from tests.data.test_prepare import picture


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def test_samples_are_members_with_one_name(tmp_path: Path) -> None:
    row = store.row(id="a", image=picture(1), audio=b"RIFF....WAVE", video=b"GIF89a", labels={"kind": "dog"})
    Exporter().write("test", iter([row]), tmp_path)
    found = members(tmp_path / "test-000000.tar")
    assert list(found) == ["a.png", "a.wav", "a.video.gif", "a.json"]
    assert found["a.png"] == picture(1)
    assert json.loads(found["a.json"]) == {"id": "a", "captions": [], "labels": {"kind": "dog"}}


@pytest.mark.parametrize("bounds", [{"max_samples": 2}, {"max_bytes": 4000}])
def test_shards_end_at_their_bounds(tmp_path: Path, bounds: dict[str, int]) -> None:
    rows = [store.row(id=str(number), image=b"x" * 600) for number in range(5)]
    Exporter(**bounds).write("train", iter(rows), tmp_path)
    assert [len(members(tmp_path / f"train-00000{number}.tar")) for number in range(3)] == [4, 4, 2]
    assert len(list(tmp_path.iterdir())) == 3


def test_members_state_no_time_and_no_owner(tmp_path: Path) -> None:
    Exporter().write("train", iter([store.row(id="a", image=b"x")]), tmp_path)
    with tarfile.open(tmp_path / "train-000000.tar") as tar:
        assert [(one.mtime, one.uid, one.gid, one.uname, one.mode) for one in tar] == [(0, 0, 0, "", 0o644)] * 2


@pytest.mark.parametrize("length", [80, 81, 100])
def test_long_ids_fit_into_the_names_of_members(tmp_path: Path, length: int) -> None:
    row = store.row(id="a" * length, video=b"RIFF....WEBP")
    Exporter().write("train", iter([row]), tmp_path)
    assert all(len(name) < 100 for name in members(tmp_path / "train-000000.tar"))
