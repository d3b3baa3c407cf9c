"""Ends processes of a training over two ranks at random times and shows that it ends as if nothing had happened.

In a small project `mmcore stage pretrain` trains on two ranks. In each trial one of its processes (the stage, torchrun,
either rank) is sent SIGTERM or SIGKILL; where the stage then fails it is called again. The weights have to be those of
an undisturbed training, bit for bit, no process may be left, and after SIGTERM to the stage all must have ended within
20 seconds. With `--shard` the ranks share the weights, and each writes its part of every checkpoint.
"""

import argparse
import contextlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from mmcore.workspace import hash_file
from tests.projects import copy_project, environment, mmcore, stop_server

PROJECT = (
    "run", "--preset", "nano", "--set", "train.devices=2", "--set", "pretrain.optim.steps=24", "--set",
    "pretrain.optim.validate_every=4",
)  # fmt: skip
STAGE = ("stage", "pretrain")
VICTIMS = ("stage", "torchrun", "rank 0", "rank 1")
WITHIN = 20.0  # seconds from SIGTERM to the end
LONGEST = 120.0


def prepared(root: Path, *, shard: bool) -> Path:
    """A small project whose chain has been run once, on two ranks."""
    copy_project(root)
    done = mmcore(root, *PROJECT, "--set", f"train.shard={str(shard).lower()}")
    assert done.returncode == 0, done.stdout + done.stderr
    return root


def forget(root: Path) -> None:
    for name in ("artifacts/pretrained", ".mmcore/checkpoints"):
        shutil.rmtree(root / name, ignore_errors=True)


def trained(root: Path) -> str:
    return hash_file(root / "artifacts" / "pretrained" / "model.safetensors")


def undisturbed(root: Path) -> tuple[str, float]:
    """The hash of the weights without a fault, and how long the stage takes."""
    forget(root)
    started = time.monotonic()
    done = mmcore(root, *STAGE)
    assert done.returncode == 0, done.stdout + done.stderr
    return trained(root), time.monotonic() - started


def family(stage: int) -> dict[str, psutil.Process]:
    """The processes of the training that there are by now."""
    found = {}
    try:
        found["stage"] = psutil.Process(stage)
        for process in found["stage"].children(recursive=True):
            words = process.cmdline()
            if "torch.distributed.run" in words:
                found["torchrun"] = process
            elif "--rank" in words and "RANK" in process.environ():
                found[f"rank {process.environ()['RANK']}"] = process
    except psutil.Error:
        pass
    return found


def trainings(root: Path) -> list[psutil.Process]:
    """Every process that trains in the project, whoever started it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd() == str(root) and STAGE[1] in process.cmdline():
                found.append(process)
    return found


def trial(root: Path, weights: str, victim: str, number: signal.Signals, after: float) -> str:
    """One fault and what follows; AssertionError if anything is not as it should be."""
    forget(root)
    with open(root / "trial.log", "wb") as log:
        stage = subprocess.Popen(
            [sys.executable, "-m", "mmcore", *STAGE], cwd=root, env=environment(root), stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            time.sleep(after)
            while victim not in (found := family(stage.pid)) and stage.poll() is None:
                time.sleep(0.05)
            if stage.poll() is not None:
                return "ended before"
            found[victim].send_signal(number)
            sent = time.monotonic()
            status = stage.wait(timeout=LONGEST)
        except psutil.NoSuchProcess:
            return "ended before"
        finally:
            for process in trainings(root) if stage.poll() is None else ():
                process.kill()
            stage.wait()
    took = time.monotonic() - sent
    asked = victim == "stage" and number == signal.SIGTERM
    assert not asked or took <= WITHIN, f"it took {took:.1f} s from SIGTERM to the end"
    _, alive = psutil.wait_procs(trainings(root), timeout=WITHIN)
    assert not alive, f"processes outlive the stage: {[process.cmdline() for process in alive]}"
    if status:
        again = mmcore(root, *STAGE)
        assert again.returncode == 0, (root / "trial.log").read_text() + again.stdout + again.stderr
    assert trained(root) == weights, f"other weights after {number.name} to {victim} at {after:.1f} s"
    return "called again" if status else "went on by itself"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=240)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shard", action="store_true")
    arguments = parser.parse_args()
    chance, told = random.Random(arguments.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        try:
            weights, seconds = undisturbed(prepared(root, shard=arguments.shard))
            print(f"undisturbed: {seconds:.0f} s", flush=True)
            done = 0
            while done < arguments.trials:
                victim = VICTIMS[done % len(VICTIMS)]
                number = (signal.SIGTERM, signal.SIGKILL)[done // len(VICTIMS) % 2]
                how = trial(root, weights, victim, number, chance.uniform(0.0, seconds))
                if how != "ended before":
                    done += 1
                    told[f"{number.name} to {victim}: {how}"] += 1
                print(f"{done:3d}  {number.name} to {victim}: {how}", flush=True)
        finally:
            stop_server(root)
    print("\n".join(f"{count:3d}  {what}" for what, count in sorted(told.items())))
    print(f"{arguments.trials} trials, the same weights each time")


if __name__ == "__main__":
    main()
