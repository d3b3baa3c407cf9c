"""A sample of the faults that trainings outlive; `make faults-training` runs them all."""

import random

import pytest

from mmcore.training import checkpoint
from tests.faults.training import KINDS, harmed, killed_save, stopped, train


@pytest.mark.parametrize("at_call", [1, 3, 5, 8, 13, 21, 34])
def test_a_killed_writer_of_checkpoints_leaves_a_whole_one(tmp_path, at_call):
    killed_save(tmp_path, after=0.05)
    killed_save(tmp_path, at_call=at_call)


@pytest.mark.parametrize("how", ["cut", "changed", "emptied", "removed"])
@pytest.mark.parametrize("file", checkpoint.FILES)
def test_a_harmed_checkpoint_is_named_and_the_one_before_is_read(tmp_path, file, how):
    assert harmed(tmp_path, file, how, random.Random(f"{file} {how}"))


@pytest.mark.parametrize("kind", KINDS)
def test_going_on_in_any_epoch_draws_and_learns_the_same(tmp_path, kind):
    whole = train(tmp_path, kind)
    for stop in (5, 17, 41):
        stopped(kind, stop, whole)
