"""Kills, stops and spoils trainings and shows that none loses more than it may: `make faults-training`.

- saves: a writer of checkpoints is killed at random times and at each of its calls to the file system; what is found
  then is whole, and at most the one that was being written is missing.
- harms: files of the newest checkpoint are cut, changed, emptied or removed; it is passed over by name, the one before
  is read.
- stops: three kinds of model are stopped after every step of several epochs and go on: the same weights, optimiser and
  order of samples, bit for bit.
- ranks: see `training_ranks`.
"""

import argparse
import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import torch

from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives._mixture import Mixture
from mmcore.training import checkpoint
from mmcore.training.checkpoint import Checkpoint
from mmcore.training.fit import Interrupted, fit
from mmcore.workspace import hash_file
from tests.tiny import AUGMENT, CPU, corpus, model, objective, optim

STEPS, EVERY = 42, 6  # 24 pictures in batches of 6, or 48 questions: five epochs and more
KINDS = {
    "dual encoder": ["contrast", "masked_language"],
    "fusion": ["matching", "questions"],
    "encoder-decoder": ["caption", "language"],
}
CALLS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir", "os.listdir", "shutil.rmtree")


# saves ---------------------------------------------------------------------------------------------------------------


def state(step: int) -> Checkpoint:
    """Some hundred kilobytes that say which step they are of."""
    tensors = {f"weight.{number}": torch.full((64, 200), float(step)) for number in range(8)}
    return Checkpoint(step, tensors, {"seconds": float(step)})


def killed_save(folder: Path, *, after: float | None = None, at_call: int | None = None) -> str:
    """Kill a writer after so many seconds, or at its so manieth call to the file system; AssertionError if what it
    leaves is not whole."""
    before = checkpoint.latest(folder)
    first = before.step + 1 if before else 1
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        _write_until_killed(folder, first, writing, at_call)
    os.close(writing)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL, f"the writer ended by itself with {status}"
    with os.fdopen(reading, "rb") as pipe:
        done = first - 1 + len(pipe.read())
    found = checkpoint.latest(folder)
    step = found.step if found else 0
    assert done <= step <= done + 1, f"{done} checkpoints were written, the newest found is {step}"
    if found is not None:
        assert found.numbers == state(step).numbers
        assert all(torch.equal(found.tensors[name], tensor) for name, tensor in state(step).tensors.items())
    return "the one that was being written" if step > done else "the one before"


def _write_until_killed(folder: Path, step: int, writing: int, at_call: int | None) -> None:
    if at_call is not None:
        calls = count(1)

        def hook(event: str, _: Any) -> None:
            if event in CALLS and next(calls) == at_call:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
    try:
        while True:
            checkpoint.save(folder, state(step))
            os.write(writing, b".")
            step += 1
    finally:
        os._exit(1)


def saves(kills: int, chance: random.Random) -> None:
    with tempfile.TemporaryDirectory() as name:
        found = Counter()
        for number in range(kills):
            when = {"after": chance.uniform(0, 0.08)} if number % 2 else {"at_call": chance.randint(1, 60)}
            found[killed_save(Path(name) / "checkpoints", **when)] += 1
    print(f"saves: {kills} kills, the newest whole checkpoint was " + ", ".join(f"{k}: {n}" for k, n in found.items()))


# harms ---------------------------------------------------------------------------------------------------------------


def harm(path: Path, how: str, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if how == "cut":
        del content[chance.randrange(len(content)) :]
    elif how == "changed":
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    elif how == "emptied":
        content.clear()
    path.unlink()
    if how != "removed":
        path.write_bytes(content)


def harmed(folder: Path, file: str, how: str, chance: random.Random) -> bool:
    """Whether a checkpoint with one file harmed was passed over; AssertionError if anything but it or the one before
    was read."""
    for step in (1, 2):
        checkpoint.save(folder, state(step))
    harm(folder / "step-00000002" / file, how, chance)
    warnings: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    checkpoint.log.addHandler(handler)
    found = checkpoint.latest(folder)
    checkpoint.log.removeHandler(handler)
    assert found is not None
    if found.step == 2:  # a space more or less in a marker harms nothing
        assert file == checkpoint.MARKER
        assert torch.equal(found.tensors["weight.0"], state(2).tensors["weight.0"])
        return False
    assert (found.step, torch.equal(found.tensors["weight.0"], state(1).tensors["weight.0"])) == (1, True)
    assert any("step-00000002 is passed over" in warning and file in warning for warning in warnings) or (
        file == checkpoint.MARKER
    ), warnings
    return True


def harms(trials: int, chance: random.Random) -> None:
    passed = 0
    for _ in range(trials):
        file = chance.choice([*checkpoint.FILES, checkpoint.MARKER])
        with tempfile.TemporaryDirectory() as name:
            passed += harmed(Path(name), file, chance.choice(["cut", "changed", "emptied", "removed"]), chance)
    print(f"harms: {trials} harmed checkpoints, {passed} passed over, {trials - passed} unharmed all the same")


# stops ---------------------------------------------------------------------------------------------------------------


class Stopped:
    """A learner that asks to stop in its so manieth step, and notes which samples it was given."""

    def __init__(self, learner: Mixture, last: int | None) -> None:
        self.learner, self.last, self.steps, self.seen = learner, last, 0, list[str]()
        self.headline, self.terms, self.heads = learner.headline, learner.terms, learner.heads

    def batches(self, *arguments: Any, **options: Any) -> Any:
        return self.learner.batches(*arguments, **options)

    def validate(self, *arguments: Any, **options: Any) -> dict[str, float]:
        return self.learner.validate(*arguments, **options)

    def loss(self, made: MultimodalModel, batch: Any) -> dict[str, torch.Tensor]:
        self.steps += 1
        self.seen.extend(batch.ids)
        if self.steps == self.last:
            os.kill(os.getpid(), signal.SIGTERM)
        return dict(self.learner.loss(made, batch))


def train(folder: Path, kind: str, *, stop: int | None = None) -> tuple[list[str], str]:
    """The samples that were drawn, and the hash of what the last checkpoint holds: weights, best weights, optimiser."""
    rows = corpus()
    learner = Stopped(Mixture([objective(name) for name in KINDS[kind]], rows), stop)
    try:
        fit(
            model(), learner, rows, corpus(scenes=6, clips=4), optim=optim(steps=STEPS, validate_every=EVERY, ema=0.9),
            augment=AUGMENT, device=CPU, seed=3, checkpoints=folder / "checkpoints", logs=folder / "logs", phase=kind,
        )  # fmt: skip
    except Interrupted:
        return learner.seen, ""
    newest = max((folder / "checkpoints").glob("step-*"))
    return learner.seen, hash_file(newest / checkpoint.FILES[0])


def stopped(kind: str, stop: int, whole: tuple[list[str], str]) -> None:
    """AssertionError if going on after a stop differs from never having stopped."""
    with tempfile.TemporaryDirectory() as name:
        first, told = train(Path(name), kind, stop=stop)
        assert not told, "it did not stop"
        rest, end = train(Path(name), kind)
    assert (first + rest, end) == whole, f"{kind}: stopped after step {stop} of {STEPS}, it ended otherwise"


def stops(positions: int) -> None:
    each = positions // len(KINDS)
    assert each < STEPS
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as name:
            whole = train(Path(name), kind)
        for stop in range(1, each + 1):
            stopped(kind, stop, whole)
        print(f"stops: {kind}: stopped after each of {each} steps, the same bits at the end", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--harms", type=int, default=100)
    parser.add_argument("--stops", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    os.environ.setdefault("MMCORE_PROGRESS", os.devnull)
    torch.set_num_threads(1)
    logging.getLogger("mmcore").setLevel(logging.ERROR)
    chance = random.Random(arguments.seed)
    saves(arguments.kills, chance)
    checkpoint.log.setLevel(logging.WARNING)
    harms(arguments.harms, chance)
    stops(arguments.stops)


if __name__ == "__main__":
    main()
