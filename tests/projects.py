"""Projects for tests: copies of this one in a folder of their own, with its data and nothing else it has made."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from mmcore import prefect_server
from mmcore.data import digitworld
from mmcore.ledger import Ledger
from mmcore.workspace import Workspace
from tests.conftest import ROOT, git


def copy_project(root: Path) -> Path:
    """A git repository in `root` with one commit: the files of this checkout as they stand, data/ beside them."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file() and name != "dvc.lock":
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    git(root, "init", "--quiet")
    give_data(root)
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "start")
    return root


def give_data(root: Path) -> None:
    """Fill data/ from this checkout's, or generate it, so that it is what data.dvc names."""
    if (ROOT / "data" / "manifest.json").is_file():
        shutil.copytree(ROOT / "data", root / "data", copy_function=os.link)
    else:
        digitworld.generate(root / "data")
    Ledger(root).add_data()


def mmcore(root: Path, *words: str, **options: object) -> "subprocess.CompletedProcess[str]":
    """Run the command in the project; its output is returned, its status is not checked."""
    return subprocess.run(
        [sys.executable, "-m", "mmcore", *words],
        cwd=root,
        env=environment(root),
        capture_output=True,
        text=True,
        check=False,
    )


def environment(root: Path) -> dict[str, str]:
    """The variables of a person's shell: none that a surrounding test or run has set."""
    own = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MMCORE_", "BENTOML_"))
    }
    return own | {"PYTHONPATH": str(root), "COLUMNS": "120"}


def stop_server(root: Path) -> None:
    prefect_server.stop(Workspace(root))
