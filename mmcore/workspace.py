"""Where things are, how they are written so that nothing is ever half there, and how long work reports itself."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml

# What curves.csv says of every logged step beside the single losses: their sum; seconds of training; operations of all
# ranks, in units of 1e12 a second, and the share of what the devices could do (empty where nobody knows that); the
# share of the seconds that a step waited for its batch, and the most memory that was used (of the GPU, or of this
# process).
MEASURED = (
    "step", "loss", "seconds", "lr", "grad_norm", "samples_per_second", "teraflops", "mfu", "data_wait", "memory_mb",
)  # fmt: skip


@dataclass(frozen=True)
class Workspace:
    """The paths of one project folder."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def validated(self) -> Path:
        return self.artifacts / "validated"

    @property
    def prepared(self) -> Path:
        return self.artifacts / "prepared"

    @property
    def pretrained(self) -> Path:
        return self.artifacts / "pretrained"

    @property
    def tasks(self) -> Path:
        return self.artifacts / "tasks"

    @property
    def evaluation(self) -> Path:
        return self.artifacts / "evaluation"

    @property
    def reference(self) -> Path:
        return self.artifacts / "reference"

    @property
    def verdict(self) -> Path:
        return self.artifacts / "verdict.json"

    @property
    def report(self) -> Path:
        return self.artifacts / "report" / "index.html"

    @property
    def state(self) -> Path:
        """What outlives a run and is in no version: checkpoints, run logs, the Prefect server's home, the Bentos.

        `.mmcore` in the project folder; a run in a workspace of its own shares the project's (`MMCORE_STATE`).
        """
        return Path(os.environ.get("MMCORE_STATE") or self.root / ".mmcore")

    @property
    def lock(self) -> Path:
        return self.artifacts / ".lock"

    def logs(self, stage: str) -> Path:
        return self.artifacts / "logs" / stage

    def code(self, stage: str) -> Path:
        return self.artifacts / "code" / f"{stage}.json"


# Files ------------------------------------------------------------------------------------------------------------

_OLD = ".old.tmp"
# What a saved model is made of.
MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json")
# In the folder of a task that the data have no rows for, in place of a model: the reason.
SKIPPED = "skipped.json"


def trained(tasks_folder: Path, tasks: Iterable[str]) -> list[str]:
    """Those of `tasks` that were not skipped for want of data."""
    return [task for task in tasks if not (tasks_folder / task / SKIPPED).exists()]


def why_skipped(folder: Path) -> str:
    """Why the task whose models would lie in `folder` was skipped; empty if it was not."""
    path = folder / SKIPPED
    return str(read_json(path)["reason"]) if path.exists() else ""


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` so that `path` holds either all of it or what it held before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(aside, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
    sync_folder(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically; key order is the caller's, so equal content is equal bytes."""
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None


@contextlib.contextmanager
def write_folder(path: Path) -> Iterator[Path]:
    """Yield an empty sibling of `path` to fill; it takes the place of `path` when the block ends without an error.

    What an earlier, killed writer left is undone first (`recover_folder`): writers of one output never run side by
    side (`run_lock`).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    recover_folder(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    aside.mkdir()
    try:
        yield aside
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    for folder, _, files in os.walk(aside):
        for name in files:
            with open(os.path.join(folder, name), "rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(folder))
    # At every moment one whole folder is there, the old one or the new one, under its name or aside.
    if path.exists():
        os.replace(path, _old(path))
    os.replace(aside, path)
    sync_folder(path.parent)
    shutil.rmtree(_old(path), ignore_errors=True)


def recover_folder(path: Path) -> None:
    """Undo what a killed `write_folder` left of `path`: the old folder is put back if none has taken its place, what
    lies aside is removed. Only for who may write `path`."""
    if _old(path).exists() and not path.exists():
        os.replace(_old(path), path)
        sync_folder(path.parent)
    for stale in path.parent.glob(f".{path.name}.*.tmp"):
        shutil.rmtree(stale, ignore_errors=True)


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}{_OLD}")


def clear_temporaries(root: Path) -> None:
    """Undo what killed writers left aside under `root`; only for the holder of the run lock."""
    for old in list(root.rglob(f".*{_OLD}")):
        recover_folder(old.with_name(old.name[1:].removesuffix(_OLD)))
    for stale in list(root.rglob(".*.tmp")):
        shutil.rmtree(stale) if stale.is_dir() else stale.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Make renames inside `path` survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def hash_file(path: Path) -> str:
    """SHA-256 of the file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_folder(path: Path) -> str:
    """SHA-256 over the relative names and contents of all files below `path`, in hex."""
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{hash_file(file)}\n".encode())
    return digest.hexdigest()


def read_yaml(path: Path) -> Any:
    with open(path, encoding="utf-8") as file:
        return yaml.safe_load(file)


# One writer at a time ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def run_lock(path: Path, holder: str, *, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock file `path`; if another process holds it for `patience` seconds more, raise BlockingIOError
    naming that holder.

    The lock is the kernel's (flock): it ends with the process that holds it, however that process ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        deadline = time.monotonic() + patience
        while not locked(file):
            if time.monotonic() >= deadline:
                file.seek(0)
                other = file.read().strip() or "another process"
                raise BlockingIOError(
                    f"{other} is at work in this folder; wait until it ends, or work in a second checkout"
                )
            time.sleep(0.1)
        file.truncate(0)
        file.write(f"{holder} (process {os.getpid()})\n")
        file.flush()
        yield
        file.truncate(0)


def locked(file: IO[str] | int) -> bool:
    """Whether this process has the lock of the open file now; it keeps it as long as the file is open."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# Progress ---------------------------------------------------------------------------------------------------------


class Progress:
    """Reports one phase of long work.

    Lines of `{time, phase, done, total, unit, values}` go to the file that `MMCORE_PROGRESS` names (a flow tails
    it); without the variable a bar is drawn on the terminal. `total`: null where nobody knows it beforehand; then there
    is a count and no bar. At most two reports a second, so it can be called on every step.
    """

    def __init__(self, phase: str, *, total: int | None, unit: str) -> None:
        self.phase, self.total, self.unit, self.done = phase, total, unit, 0
        self._file = os.environ.get("MMCORE_PROGRESS")
        self._started = time.monotonic()
        self._next = 0.0
        self._shown: dict[str, float] = {}

    def advance(self, count: int = 1, values: Mapping[str, float] | None = None) -> None:
        """Count `count` more units as done; `values` are shown beside the bar (a loss, a rate)."""
        self.done += count
        self._shown.update(values or {})
        now = time.monotonic()
        if now >= self._next or self.done == self.total:
            self._next = now + 0.5
            self._report(now)

    def _report(self, now: float) -> None:
        if self._file:
            line = {
                "time": round(time.time(), 3), "phase": self.phase, "done": self.done, "total": self.total,
                "unit": self.unit, "values": self._shown,
            }  # fmt: skip
            with open(self._file, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        elif sys.stderr.isatty():
            rate = self.done / max(now - self._started, 1e-9)
            values = "  ".join(f"{key} {value:.4g}" for key, value in self._shown.items())
            if self.total is None:
                shown = f"{self.done} {self.unit}  {rate:.0f} a second"
            else:
                filled = round(28 * self.done / max(self.total, 1))
                left = (self.total - self.done) / max(rate, 1e-9)
                shown = f"{'━' * filled}{'·' * (28 - filled)} {self.done}/{self.total} {self.unit}  {left:.0f} s left"
            end = "\n" if self.done == self.total else ""
            sys.stderr.write(f"\r\033[K{self.phase} {shown}  {values}{end}")
            sys.stderr.flush()
