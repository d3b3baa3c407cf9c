"""Where a run works: in the person's own folder, or in a fresh clone of it that shares its cache and its state."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from prefect import get_run_logger
from prefect.runtime import flow_run

from mmcore import params
from mmcore.ledger import git_identity
from mmcore.workspace import Workspace, clear_temporaries, run_lock, write_bytes

# Where the runs of a deployment leave what they took in: data.dvc on a branch of its own.
BRANCHES = "mmcore/ingest-"
# How long a retrain waits for the one before it.
PATIENCE_SECONDS = 24 * 3600.0


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

    The clone shares the project's DVC cache and `.mmcore`; experiments, release tags and branches with new rows go
    back to the project. New rows of earlier runs that nobody has merged yet count. One that a failed run leaves is
    kept for `mmcore run debug`.

    There is one at a time in a project, whatever deployment it belongs to: two runs side by side could register the
    same version. The next one waits until the tags are back; BlockingIOError if that takes more than a day.
    """
    project = Path(os.environ.get("MMCORE_PROJECT") or Path.cwd()).resolve()
    name = str(flow_run.name)
    alone = run_lock(project / ".mmcore" / "retrain.lock", f"the retrain {name}", patience=PATIENCE_SECONDS)
    with alone, _clone(project, name, preset, assignments) as workspace:
        yield workspace


@contextlib.contextmanager
def _clone(project: Path, name: str, preset: str | None, assignments: Sequence[str]) -> Iterator[Workspace]:
    root = project / ".mmcore" / "workspaces" / name
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
        if waiting := _unmerged(root):
            write_bytes(root / "data.dvc", _git(root, "show", f"{waiting}:data.dvc").encode())
            get_run_logger().info("with the new rows of %s", waiting.removeprefix("origin/"))
        _change(workspace, preset, assignments)
        yield workspace
    finally:
        os.chdir(before)
        del os.environ["MMCORE_STATE"]
        _git(root, "push", "--quiet", "origin", "--tags")
        if _git(root, "for-each-ref", f"refs/heads/{BRANCHES}*"):
            _git(root, "push", "--quiet", "origin", f"refs/heads/{BRANCHES}*:refs/heads/{BRANCHES}*")
        if _git(root, "for-each-ref", "refs/exps"):
            _git(root, "push", "--quiet", "origin", "refs/exps/*:refs/exps/*")
    shutil.rmtree(root)


def leave_branch(root: Path, run: str, message: str) -> str:
    """Commit data.dvc as it lies in `root`, and nothing else, to a new branch; returns its name.

    It begins from the unmerged branch before it, if there is one, so that merging the newest takes in all of them.
    What is checked out stays as it is.
    """
    branch, parent = f"{BRANCHES}{run}", _unmerged(root) or "HEAD"
    index = {"GIT_INDEX_FILE": str(root / ".git" / "mmcore-index")}
    content = _git(root, "hash-object", "-w", "data.dvc").strip()
    _git(root, "read-tree", parent, more=index)
    _git(root, "update-index", "--add", "--cacheinfo", f"100644,{content},data.dvc", more=index)
    tree = _git(root, "write-tree", more=index).strip()
    with git_identity(root):
        commit = _git(root, "commit-tree", tree, "-p", parent, "-m", message).strip()
    _git(root, "update-ref", f"refs/heads/{branch}", commit)
    return branch


def _unmerged(root: Path) -> str | None:
    """The newest branch with new rows that is not part of the checked-out commit, unless data.dvc has gone another way
    since it began. A person rejects a branch by deleting it."""
    pattern, newest = f"refs/remotes/origin/{BRANCHES}*", "--sort=-committerdate"
    for branch in _git(root, "for-each-ref", newest, "--no-merged=HEAD", "--format=%(refname:short)", pattern).split():
        began = _git(root, "merge-base", "HEAD", branch).strip()
        if _git(root, "show", f"{began}:data.dvc") == _git(root, "show", "HEAD:data.dvc"):
            return branch
    return None


def _change(workspace: Workspace, preset: str | None, assignments: Sequence[str]) -> None:
    presets = [params.preset(workspace.root, preset)] if preset else []
    if presets or assignments:
        params.change(workspace.params, presets=presets, assignments=assignments)


def _git(root: Path, *words: str, more: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *words], env=os.environ | dict(more or {}), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"git {words[0]} failed in {root}: {done.stderr.strip()}")
    return done.stdout
