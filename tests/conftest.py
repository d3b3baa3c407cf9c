"""Shared by all tests: a toy project with git and DVC, and the shared data sets where they are at hand."""

import os
import subprocess
from pathlib import Path

import pytest

# Tests run side by side: threads of one would only wait for those of another. Read when torch and numpy are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]

DVC_YAML = """\
stages:
  double:
    cmd: python -c "open('artifacts_double','w').write(str(2*int(open('data/number').read())))"
    deps: [data]
    outs: [artifacts_double]
  add:
    cmd: >-
      python -c "import yaml; more = yaml.safe_load(open('params.yaml'))['more'];
      open('artifacts_add', 'w').write(str(more + int(open('artifacts_double').read())))"
    deps: [artifacts_double]
    params: [more]
    outs: [artifacts_add]
"""


def git(root: Path, *words: str) -> str:
    identity = ["-c", "user.name=tester", "-c", "user.email=tester@localhost"]
    done = subprocess.run(["git", "-C", str(root), *identity, *words], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A project of two stages: 2 x the number in data/, plus `more`."""
    root = tmp_path / "toy"
    (root / "data").mkdir(parents=True)
    (root / "data" / "number").write_text("3")
    (root / "params.yaml").write_text("more: 1\n")
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / ".gitignore").write_text("/data/\n/artifacts_*\n")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_bytes((ROOT / ".dvc" / "config").read_bytes())
    (root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    git(root, "init", "--quiet")
    from mmcore.ledger import Ledger

    Ledger(root).add_data()
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "start")
    return root


@pytest.fixture(autouse=True)
def _same_environment():
    """What a test sets in the environment ends with it (the ledger puts our Python first in PATH, for example)."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that the last of them does not run beside an idle core."""
    longest = ["test_end_to_end.py", "test_runs.py", "test_quality.py", "test_service.py"]
    items.sort(key=lambda item: longest.index(item.path.name) if item.path.name in longest else len(longest))
