import csv
import logging
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from mmcore.settings import TrainSettings
from mmcore.training import checkpoint
from mmcore.training.fit import Interrupted
from mmcore.workspace import read_json
from tests.training.sharded import EVERY, STEPS, train

EXACT = ["adamw", "muon", "ema", "lora"]
# Beside them one that is stopped and goes on, one that is left to one rank, and one that one rank began. The first
# loses a rank, whereupon torchrun starts all of this again.
KILLED = "muon/killed:-5"
OTHERS = ["bf16", "adamw/stopped:4", "adamw/stopped", "ema/fewer:4", "muon/more"]


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """Trainings over two ranks that share the weights."""
    folder = tmp_path_factory.mktemp("apart")
    with pytest.raises(Interrupted):
        train(folder, "muon/more:4")
    words = ["--standalone", "--nproc-per-node=2", "--max-restarts=1", "-m", "tests.training.sharded"]
    command = [sys.executable, "-m", "torch.distributed.run", *words, str(folder), KILLED, *EXACT, *OTHERS]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # as `launch` does
    subprocess.run(command, check=True, env=environment, timeout=300)
    return folder


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The same by one."""
    folder = tmp_path_factory.mktemp("together")
    for way in [*EXACT, "bf16"]:
        train(folder, way)
    return folder


def weights(folder):
    return load_file(folder / "weights.safetensors")


def alike(one, other):
    mine, theirs = weights(one), weights(other)
    assert mine.keys() == theirs.keys()
    for name, weight in mine.items():
        torch.testing.assert_close(theirs[name], weight, rtol=1e-6, atol=1e-8, msg=name)


def curve(folder, *columns):
    with open(folder / "curves.csv", newline="") as file:
        return [[float(row[column] or 0) for column in columns] for row in csv.DictReader(file)]


@pytest.mark.parametrize("way", EXACT)
def test_two_ranks_that_share_the_weights_learn_what_one_does(together, apart, way):
    alike(together / way, apart / way)
    columns = ("step", "loss", "grad_norm", "validation")
    spread, alone = (torch.tensor(curve(folder / way, *columns), dtype=torch.float64) for folder in (apart, together))
    torch.testing.assert_close(spread, alone, rtol=1e-6, atol=1e-9)
    assert len(alone) == 1 + STEPS // EVERY


def test_in_bf16_they_learn_about_the_same(together, apart):
    spread, alone = (torch.tensor(curve(folder / "bf16", "loss", "validation")) for folder in (apart, together))
    torch.testing.assert_close(spread, alone, rtol=0.02, atol=0)
    assert all(weight.dtype == torch.float32 for weight in weights(apart / "bf16").values())


def test_each_holds_half_of_the_weights_and_of_what_belongs_to_them(apart):
    for way in EXACT:
        found = [read_json(apart / way / f"held-{rank}.json") for rank in (0, 1)]
        assert sum(one["held"] for one in found) == pytest.approx(found[0]["all"], rel=0.001)
        assert all(one["held"] == pytest.approx(one["all"] / 2, rel=0.05) for one in found)
    sizes = [path.stat().st_size for path in (apart / "ema" / "checkpoints").glob("*6/state-*-of-2.safetensors")]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


def test_a_stopped_training_goes_on_to_the_same_bits(apart):
    mine, theirs = weights(apart / "adamw"), weights(apart / "adamw" / "stopped")
    assert all(torch.equal(weight, theirs[name]) for name, weight in mine.items())


def test_a_training_that_loses_a_rank_goes_on_to_the_same_bits(apart):
    assert (apart / "muon" / "killed" / "ended").exists()
    mine, theirs = weights(apart / "muon"), weights(apart / "muon" / "killed")
    assert all(torch.equal(weight, theirs[name]) for name, weight in mine.items())


def test_what_two_ranks_began_one_ends_alike_and_the_reverse(together, apart):
    parts = sorted(path.name for path in (apart / "ema" / "fewer" / "checkpoints" / "step-00000004").iterdir())
    assert parts == ["COMPLETE", "state-0-of-2.safetensors", "state-1-of-2.safetensors", "state.json"]
    train(apart, "ema/fewer")
    alike(together / "ema", apart / "ema" / "fewer")
    assert curve(apart / "ema" / "fewer", "step")[-1] == [STEPS]
    alike(together / "muon", apart / "muon" / "more")


@pytest.mark.parametrize("name", ["state-0-of-2.safetensors", "state-1-of-2.safetensors", "state.json"])
@pytest.mark.parametrize("harm", ["cut", "changed", "gone"])
def test_a_checkpoint_with_a_harmed_part_is_passed_over_by_name(apart, tmp_path, caplog, name, harm):
    shutil.copytree(apart / "adamw" / "checkpoints", tmp_path / "checkpoints")
    path = tmp_path / "checkpoints" / "step-00000006" / name
    content = path.read_bytes()
    path.unlink()
    if harm != "gone":
        path.write_bytes(content[:-1] if harm == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    with caplog.at_level(logging.WARNING):
        assert checkpoint.latest(tmp_path / "checkpoints").step == 3
    said = f"step-00000006 is passed over: {name} is {'missing' if harm == 'gone' else 'damaged'}"
    assert said in caplog.text


def test_where_one_rank_has_no_room_all_say_which_and_leave_nothing_aside(apart):
    for rank in (0, 1):
        said = read_json(apart / "full" / f"error-{rank}.json")
        assert "the checkpoint of step 3 cannot be written" in said
        assert ": rank 1: " in said
    assert not list((apart / "full" / "checkpoints").iterdir())


def test_machines_without_a_common_disk_are_told_before_the_first_step(apart):
    for rank in (0, 1):
        said = read_json(apart / "disks" / "full" / f"error-{rank}.json")
        assert said.startswith("rank 1: ")
        assert "machines need one disk for .mmcore: set MMCORE_STATE" in said
        assert not (apart / f"disk-{rank}" / "full" / "curves.csv").exists()


def test_one_device_has_nobody_to_share_with():
    with pytest.raises(ValueError, match=r"set devices to 2 or more, or shard to false"):
        TrainSettings("cpu", 1, 1, 1, "fp32", shard=True)
