"""Checkpoints that are complete or absent, and hold all that a training needs to go on as if never stopped.

A checkpoint is a folder `step-00001234` with `state.safetensors` (weights, optimiser, averages, best weights),
`state.json` (numbers) and `COMPLETE` (hashes of the two). Where weights are sharded, every rank writes a file of its
own, `state-0-of-2.safetensors`; a tensor is its rows in all of them, one after the other, so any number of ranks can go
on from it. The states of random generators are not needed: what a step draws depends on its number alone. A checkpoint
is written aside, every file is synced to the disk, the marker comes last, then the folder is renamed. No pickle
anywhere.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mmcore.data import ranks
from mmcore.workspace import hash_file, read_json, sync_folder, write_json

MARKER = "COMPLETE"
WHOLE, NUMBERS = FILES = ("state.safetensors", "state.json")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """`tensors` by name, and `numbers` that JSON can hold."""

    step: int
    tensors: Mapping[str, Tensor]
    numbers: Mapping[str, Any]


def save(folder: Path, checkpoint: Checkpoint, *, keep: int = 2, crew: ranks.Crew | None = None) -> Path:
    """Write the checkpoint into `folder`, where the newest `keep` remain; returns its path.

    crew: all ranks save, each what it has of the tensors; `folder` has to be the same one for all of them.
    OSError if it cannot be written, naming the folder; the checkpoints before it stay.
    """
    path = folder / f"step-{checkpoint.step:08d}"
    aside = folder / f".{path.name}.tmp"
    number, count = (0, 1) if crew is None else (ranks.rank(), ranks.size())
    parts = [WHOLE] if count == 1 else [f"state-{other}-of-{count}.safetensors" for other in range(count)]

    def begin() -> str:
        if number == 0:
            folder.mkdir(parents=True, exist_ok=True)
            for stale in folder.glob(".step-*.tmp"):
                shutil.rmtree(stale, ignore_errors=True)
            aside.mkdir()
        return ""

    def write() -> str:
        tensors = {name: t.detach().cpu().contiguous() for name, t in checkpoint.tensors.items()}
        try:
            save_file(tensors, aside / parts[number])
        except SafetensorError as error:
            raise OSError(str(error)) from error
        _sync(aside / parts[number])
        return hash_file(aside / parts[number])

    def complete() -> str:
        if number == 0:
            write_json(aside / NUMBERS, {"step": checkpoint.step, **checkpoint.numbers})
            write_json(aside / MARKER, {**dict(zip(parts, hashes, strict=True)), NUMBERS: hash_file(aside / NUMBERS)})
            if path.exists():
                shutil.rmtree(path)
            os.replace(aside, path)
            sync_folder(folder)
        return ""

    each = _alone if crew is None else crew.each
    try:
        each(begin)
        hashes = each(write)
        each(complete)
    except OSError as error:
        if number == 0:
            shutil.rmtree(aside, ignore_errors=True)
        raise OSError(
            f"the checkpoint of step {checkpoint.step} cannot be written to {folder}: {error}. Make room there (or "
            "leave to write), or set MMCORE_STATE to a folder elsewhere, and start again: it goes on from the "
            "checkpoint before"
        ) from error
    for old in _paths(folder)[keep:] if number == 0 else ():
        shutil.rmtree(old)
    return path


class Saver:
    """Saves one checkpoint after the other into `folder`. `sharded`: every rank saves what it has, in a thread, while
    the training goes on; else rank 0 saves everything, at once. OSError if the folder is not the same one for all."""

    def __init__(self, folder: Path, *, sharded: bool) -> None:
        self._folder = folder
        self._crew = ranks.Crew() if sharded else None
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._running: Future[Path] | None = None
        self._probe = folder / ".step-probe.tmp"  # which the first save clears away
        if self._crew is not None:
            self._crew.each(self._place)
            self._crew.each(self._find)

    def _place(self) -> str:
        if ranks.rank() == 0:
            self._probe.mkdir(parents=True, exist_ok=True)
        return ""

    def _find(self) -> str:
        if not self._probe.is_dir():
            raise FileNotFoundError(
                f"{self._folder} is not that of the first rank; to share the weights, machines need one disk for "
                ".mmcore: set MMCORE_STATE to a folder there"
            )
        return ""

    def save(self, checkpoint: Checkpoint) -> None:
        """As `save`; of what is saved meanwhile, an error is raised by the next call or `wait`."""
        self.wait()
        if self._crew is not None:
            copied = {name: tensor.detach().to("cpu", copy=True) for name, tensor in checkpoint.tensors.items()}
            own = replace(checkpoint, tensors=copied)
            self._running = self._thread.submit(save, self._folder, own, crew=self._crew)
        elif ranks.rank() == 0:
            save(self._folder, checkpoint)

    def wait(self) -> None:
        """Until the last checkpoint is written."""
        running, self._running = self._running, None
        if running is not None:
            running.result()


def latest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint in `folder` that is complete and unharmed, or None; a warning names those passed over."""
    for path in _paths(folder):
        problem = _problem(path)
        if problem is None:
            numbers = read_json(path / NUMBERS)
            parts = [path / name for name in read_json(path / MARKER) if name != NUMBERS]
            return Checkpoint(numbers.pop("step"), Joined(parts), numbers)
        log.warning("checkpoint %s is passed over: %s", path.name, problem)
    return None


class Joined(Mapping[str, Tensor]):
    """The tensors in files of which each has some rows of them, in order; each is read when it is asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        files: list[Any] = [safe_open(path, "pt") for path in paths]
        self._files: dict[str, list[Any]] = {}
        for file in files:
            for name in file.keys():  # noqa: SIM118 (it is no mapping)
                self._files.setdefault(name, []).append(file)

    def __getitem__(self, name: str) -> Tensor:
        first, *others = (file.get_tensor(name) for file in self._files[name])
        return torch.cat([first, *others]) if others else first

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def remove(folder: Path) -> None:
    """Delete all checkpoints in `folder`, once what they were for is done."""
    shutil.rmtree(folder, ignore_errors=True)


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def _problem(path: Path) -> str | None:
    if not (path / MARKER).is_file():
        return "it was not written to the end"
    try:
        expected = read_json(path / MARKER)
    except ValueError:
        return f"{MARKER} is damaged"
    if not isinstance(expected, dict) or NUMBERS not in expected or len(expected) < len(FILES):
        return f"{MARKER} is damaged"
    for name, digest in expected.items():
        if not (path / name).is_file():
            return f"{name} is missing"
        if hash_file(path / name) != digest:
            return f"{name} is damaged"
    return None


def _alone(work: Callable[[], str]) -> list[str]:
    return [work()]


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
