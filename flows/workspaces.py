"""Where a run works: in the person's own folder, or in a fresh clone of it that shares its cache and its state."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from prefect import get_run_logger
from prefect.runtime import flow_run

from mmcore import params
from mmcore.workspace import Workspace, clear_temporaries, run_lock


@contextlib.contextmanager
def here(preset: str | None, assignments: Sequence[str]) -> Iterator[Workspace]:
    """The folder the process stands in."""
    workspace = Workspace(Path.cwd())
    with run_lock(workspace.state / "run.lock", "another run"):
        clear_temporaries(workspace.artifacts)
        _change(workspace, preset, assignments)
        yield workspace


@contextlib.contextmanager
def fresh_workspace(preset: str | None, assignments: Sequence[str]) -> Iterator[Workspace]:
    """A clone of the project at its checked-out commit, removed again when the run ends well.

    The clone shares the project's DVC cache and `.mmcore`; experiments and release tags go back to the project.
    One that a failed run leaves is kept for `mmcore run debug`.
    """
    project = Path(os.environ.get("MMCORE_PROJECT") or Path.cwd()).resolve()
    root = project / ".mmcore" / "workspaces" / str(flow_run.name)
    shutil.rmtree(root, ignore_errors=True)
    _git(project, "clone", "--quiet", "--no-hardlinks", str(project), str(root))
    _git(root, "fetch", "--quiet", "origin", "+refs/exps/*:refs/exps/*")
    local = root / ".dvc" / "config.local"
    local.write_text(f"[cache]\n    dir = {project / '.dvc' / 'cache'}\n", encoding="utf-8")
    get_run_logger().info("working in %s", root)
    os.environ["MMCORE_STATE"] = str(project / ".mmcore")
    before = Path.cwd()
    os.chdir(root)
    try:
        workspace = Workspace(root)
        _change(workspace, preset, assignments)
        yield workspace
    finally:
        os.chdir(before)
        del os.environ["MMCORE_STATE"]
        _git(root, "push", "--quiet", "origin", "--tags")
        if _git(root, "for-each-ref", "refs/exps"):
            _git(root, "push", "--quiet", "origin", "refs/exps/*:refs/exps/*")
    shutil.rmtree(root)


def _change(workspace: Workspace, preset: str | None, assignments: Sequence[str]) -> None:
    presets = [params.preset(workspace.root, preset)] if preset else []
    if presets or assignments:
        params.change(workspace.params, presets=presets, assignments=assignments)


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"git {words[0]} failed in {root}: {done.stderr.strip()}")
    return done.stdout
