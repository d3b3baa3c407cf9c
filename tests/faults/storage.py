"""A small project with data, cache and remote, and the ways in which what is stored there goes bad."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from mmcore.data import store
from mmcore.ledger import Ledger
from mmcore.objects import Version
from mmcore.workspace import Workspace
from tests.conftest import ROOT, git

SHARDS = {"train": 30, "validation": 5, "test": 5}
ROWS = 4
PLACES = ("data", "cache", "remote")


def make_project(
    root: Path, remote: str, *, shards: dict[str, int] = SHARDS, link: str = "copy", **options: str
) -> Path:
    """A git repository with `shards` of four rows each in data/, recorded in data.dvc; `remote` is its default one."""
    chance = random.Random(7)
    for split, count in shards.items():
        for number in range(count):
            rows = [
                store.row(id=f"{split}-{number}-{place}", image=chance.randbytes(800), summary=f"row {place}")
                for place in range(ROWS)
            ]
            store.write_shard(store.shard_path(root / "data", split, number), rows)
    store.write_manifest(root / "data")
    shutil.copyfile(ROOT / "params.yaml", root / "params.yaml")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text(
        f"[core]\n    analytics = false\n    check_update = false\n    remote = store\n[cache]\n    type = {link}\n"
        f"['remote \"store\"']\n    url = {remote}\n"
        + "".join(f"    {name} = {value}\n" for name, value in options.items())
    )
    (root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (root / ".gitignore").write_text("/data/\n/.mmcore/\n")
    git(root, "init", "--quiet")
    Ledger(root).add_data()
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "start")
    return root


def clone(root: Path, to: Path) -> Path:
    """A checkout of the project elsewhere, without its data and its cache."""
    git(root, "clone", "--quiet", "--no-hardlinks", str(root), str(to))
    return to


def version(root: Path) -> Version:
    """The files of data/ by their MD5, as the intact cache lists them."""
    ledger = Ledger(root)
    return Version.read(ledger.data_hash(), ledger.cache().path(ledger.data_hash()).read_bytes())


def contents(root: Path) -> dict[str, bytes]:
    """Every file of data/ with its bytes."""
    data = Workspace(root).data
    return {path.relative_to(data).as_posix(): path.read_bytes() for path in data.rglob("*") if path.is_file()}


# Damage -----------------------------------------------------------------------------------------------------------


def flip(path: Path, other: Path, chance: random.Random) -> None:
    """Invert one bit."""
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    _overwrite(path, bytes(content))


def truncate(path: Path, other: Path, chance: random.Random) -> None:
    """Cut the file off somewhere."""
    content = path.read_bytes()
    _overwrite(path, content[: chance.randrange(1, len(content))])


def zero(path: Path, other: Path, chance: random.Random) -> None:
    """Leave an empty file."""
    _overwrite(path, b"")


def delete(path: Path, other: Path, chance: random.Random) -> None:
    """Remove the file."""
    path.unlink()


def swap(path: Path, other: Path, chance: random.Random) -> None:
    """Exchange two files."""
    aside = path.with_name("aside")
    path.rename(aside)
    other.rename(path)
    aside.rename(other)


def rot(path: Path, other: Path, chance: random.Random) -> None:
    """Invert one bit and keep the time of the file, as a bad disk does."""
    status = path.stat()
    flip(path, other, chance)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


DAMAGE: dict[str, Callable[[Path, Path, random.Random], None]] = {
    "flip": flip, "truncate": truncate, "zero": zero, "delete": delete, "swap": swap, "rot": rot,
}  # fmt: skip


def _overwrite(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    with open(path, "r+b") as file:
        file.truncate(len(content))
        file.write(content)


# Kills ------------------------------------------------------------------------------------------------------------

# Runs `mmcore data push` and kills its process with SIGKILL at the n-th time that it opens, lists, makes or renames
# something below a folder; with n = 0 it runs to its end. It tells which of these times was the first rename that
# brought an object to the remote, and which was the last of all.
KILLED_PUSH = """
import itertools, os, signal, sys
from mmcore.cli import main
import mmcore.commands.data_push
step, folder = int(sys.argv[1]), sys.argv[2]
steps = itertools.count(1)
first = last = 0
def at_each_event(event, arguments):
    global first, last
    if event in ("open", "os.rename", "os.mkdir", "os.listdir") and folder in str(arguments[0]):
        last = next(steps)
        if not first and event == "os.rename" and "/store/" in str(arguments[1]):
            first = last
        if last == step:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(at_each_event)
status = main(["data", "push"])
print(first, last)
sys.exit(status)
"""


def push_killed_at(root: Path, step: int, folder: Path) -> "subprocess.CompletedProcess[str]":
    """`mmcore data push` in `root`, killed with SIGKILL at the given step on a file below `folder`; 0 lets it end."""
    return subprocess.run(
        [sys.executable, "-c", KILLED_PUSH, str(step), str(folder)],
        cwd=root, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
