import logging
import resource
import shutil

import pytest
import torch

from mmcore.training.checkpoint import Checkpoint, latest, remove, save


def written(folder, step):
    return save(folder, Checkpoint(step, {"weight": torch.full((3,), float(step))}, {"seconds": step / 2}))


def test_the_newest_checkpoint_is_read_back(tmp_path):
    for step in (5, 10):
        written(tmp_path, step)
    found = latest(tmp_path)
    assert (found.step, found.numbers) == (10, {"seconds": 5.0})
    assert found.tensors["weight"].tolist() == [10.0] * 3


def test_only_the_newest_are_kept(tmp_path):
    for step in (5, 10, 15):
        written(tmp_path, step)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000010", "step-00000015"]


def test_no_folder_holds_no_checkpoint(tmp_path):
    assert latest(tmp_path / "none") is None


def _cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "COMPLETE"])
@pytest.mark.parametrize("harm", [_cut, _flip, lambda path: path.unlink()], ids=["cut", "flipped", "gone"])
def test_a_harmed_checkpoint_is_passed_over_for_the_one_before(tmp_path, caplog, name, harm):
    written(tmp_path, 5)
    harm(written(tmp_path, 10) / name)
    with caplog.at_level(logging.WARNING):
        found = latest(tmp_path)
    # A changed last line break of the marker harms nothing.
    if found.step != 10:
        assert found.step == 5
        assert "step-00000010 is passed over" in caplog.text
    else:
        assert (name, harm) in [("COMPLETE", _cut), ("COMPLETE", _flip)]


def test_what_a_killed_writer_left_aside_is_neither_read_nor_kept(tmp_path):
    written(tmp_path, 5)
    shutil.copytree(tmp_path / "step-00000005", tmp_path / ".step-00000009.123.tmp")
    assert latest(tmp_path).step == 5
    written(tmp_path, 10)
    assert not list(tmp_path.glob(".*"))


def test_removal_leaves_nothing_and_may_be_repeated(tmp_path):
    written(tmp_path / "own", 5)
    remove(tmp_path / "own")
    remove(tmp_path / "own")
    assert not (tmp_path / "own").exists()


def test_a_disk_without_room_is_named_and_the_checkpoint_before_stays(tmp_path):
    written(tmp_path, 5)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OSError, match=rf"step 10 cannot be written to {tmp_path}: .*MMCORE_STATE.*goes on from"):
            save(tmp_path, Checkpoint(10, {"weight": torch.zeros(50_000)}, {}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert latest(tmp_path).step == 5
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"step 5 cannot be written to .*file/checkpoints"):
        written(tmp_path / "file" / "checkpoints", 5)
