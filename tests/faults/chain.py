"""Kills the chain at random times and shows that nothing is lost: `make faults-chain`.

Each trial begins without artifacts, kills `mmcore run` once (its whole process group, or the flow alone, with
SIGKILL) at a seeded random time, runs it again, and compares with an undisturbed run: equal hashes in dvc.lock,
finished stages not repeated, no process and no temporary folder left.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from mmcore.workspace import read_json, read_yaml
from tests.conftest import git
from tests.projects import copy_project, environment, mmcore, stop_server

RUN = ("run", "--preset", "nano")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = copy_project(Path(folder) / "project")
        try:
            lock, seconds = undisturbed(root)
            print(f"undisturbed run: {seconds:.0f} s", flush=True)
            chance = random.Random(arguments.seed)
            kills = 0
            while kills < arguments.kills:
                how = chance.choice(["group", "flow"])
                told = trial(root, lock, how, chance.uniform(0.0, seconds))
                kills += "killed" in told
                print(f"{kills:3d}  {told}", flush=True)
        finally:
            stop_server(root)
    print(f"{arguments.kills} kills survived")


def undisturbed(root: Path) -> tuple[bytes, float]:
    """The lock file that a run without a fault writes, and how long it takes."""
    started = time.monotonic()
    done = mmcore(root, *RUN)
    assert done.returncode == 0, done.stdout + done.stderr
    # The presets of the run are part of the project from here on.
    git(root, "commit", "--quiet", "-am", "nano")
    return (root / "dvc.lock").read_bytes(), time.monotonic() - started


def trial(root: Path, lock: bytes, how: str, after: float) -> str:
    """One kill and what follows; AssertionError if anything is not as it should be."""
    forget(root)
    run = subprocess.Popen(
        [sys.executable, "-m", "mmcore", *RUN], cwd=root, env=environment(root), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        status = run.wait(timeout=after)
        assert status == 0, f"the run ended by itself with status {status} before the kill at {after:.1f} s"
        return f"ended before the kill at {after:5.1f} s"
    except subprocess.TimeoutExpired:
        pass
    stage = next((p.cmdline()[-1] for p in family(run.pid) if "stage" in p.cmdline()), "between stages")
    kill(run, how)
    finished = stages_in(root)
    started = time.monotonic()
    again = mmcore(root, *RUN)
    seconds = time.monotonic() - started
    assert again.returncode == 0, again.stdout + again.stderr
    assert (root / "dvc.lock").read_bytes() == lock, f"dvc.lock differs after a kill at {after:.1f} s"
    states = {step["name"]: step["state"] for step in read_json(root / "artifacts" / "run.json")["stages"]}
    repeated = [name for name in finished if name != "code" and states[name] != "unchanged"]
    assert not repeated, f"stages that were finished were repeated: {repeated}\n{again.stdout}"
    left = [str(path) for path in root.rglob("*.tmp") if ".mmcore/prefect" not in str(path)]
    assert not left, f"temporary folders remain: {left}"
    verdict = read_json(root / "artifacts" / "verdict.json")["verdict"]
    return (
        f"{how:5} killed at {after:5.1f} s in {stage:22} {len(finished)} stages kept, {verdict}, {seconds:5.1f} s more"
    )


def kill(run: "subprocess.Popen[bytes]", how: str) -> None:
    """SIGKILL to the group, or to the flow alone; then everything of the run must end by itself within 20 s."""
    below = family(run.pid)
    if how == "group":
        os.killpg(run.pid, signal.SIGKILL)
    else:
        flows = [process for process in below if "flows.retrain" in process.cmdline()]
        (flows[0] if flows else psutil.Process(run.pid)).kill()
    run.wait(timeout=20)
    _, alive = psutil.wait_procs(below, timeout=20)
    assert not alive, f"processes outlive the killed run: {[process.cmdline() for process in alive]}"


def family(leader: int) -> list[psutil.Process]:
    """The processes below the run, without the Prefect server, which is meant to stay."""
    try:
        below = psutil.Process(leader).children(recursive=True)
        servers = [p for p in below if "prefect" in p.cmdline() and "server" in p.cmdline()]
        kept = {p.pid for s in servers for p in [s, *s.children(recursive=True)]}
        return [p for p in below if p.pid not in kept]
    except psutil.Error:
        return []


def stages_in(root: Path) -> list[str]:
    """The stages that dvc.lock says are finished."""
    path = root / "dvc.lock"
    return list(read_yaml(path)["stages"]) if path.exists() else []


def forget(root: Path) -> None:
    """Back to the first run: no artifacts, nothing cached, no releases, no Bentos; the Prefect server stays."""
    for path in (root / "artifacts", root / ".dvc" / "cache" / "runs"):
        shutil.rmtree(path, ignore_errors=True)
    for name in ("runs", "checkpoints", "champions", "bentoml", "cache"):
        shutil.rmtree(root / ".mmcore" / name, ignore_errors=True)
    (root / "dvc.lock").unlink(missing_ok=True)
    for tag in git(root, "tag").split():
        git(root, "tag", "-d", tag)
    for ref in git(root, "for-each-ref", "--format=%(refname)", "refs/exps").split():
        git(root, "update-ref", "-d", ref)


if __name__ == "__main__":
    main()
