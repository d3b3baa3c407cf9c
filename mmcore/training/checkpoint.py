"""Checkpoints that are complete or absent, and hold all that a training needs to go on as if never stopped.

A checkpoint is a folder `step-00001234` with `state.safetensors` (weights, optimiser, averages, best weights),
`state.json` (numbers) and `COMPLETE` (hashes of the two). The states of random generators are not needed: what a step
draws depends on its number alone. A checkpoint is written aside, every file is synced to the disk, the marker comes
last, then the folder is renamed. No pickle anywhere.
"""

import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmcore.workspace import hash_file, read_json, sync_folder, write_json

MARKER = "COMPLETE"
FILES = ("state.safetensors", "state.json")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """`tensors` by name, and `numbers` that JSON can hold."""

    step: int
    tensors: Mapping[str, Tensor]
    numbers: Mapping[str, Any]


def save(folder: Path, checkpoint: Checkpoint, *, keep: int = 2) -> Path:
    """Write the checkpoint into `folder`, where the newest `keep` remain; returns its path.

    OSError if it cannot be written, naming the folder; the checkpoints before it stay.
    """
    path = folder / f"step-{checkpoint.step:08d}"
    aside = folder / f".{path.name}.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob(".step-*.tmp"):
            shutil.rmtree(stale, ignore_errors=True)
        aside.mkdir()
        save_file({name: t.detach().cpu().contiguous() for name, t in checkpoint.tensors.items()}, aside / FILES[0])
        _sync(aside / FILES[0])
        write_json(aside / FILES[1], {"step": checkpoint.step, **checkpoint.numbers})
        write_json(aside / MARKER, {name: hash_file(aside / name) for name in FILES})
        if path.exists():
            shutil.rmtree(path)
        os.replace(aside, path)
        sync_folder(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise OSError(
            f"the checkpoint of step {checkpoint.step} cannot be written to {folder}: {error}. Make room there (or "
            "leave to write), or set MMCORE_STATE to a folder elsewhere, and start again: it goes on from the "
            "checkpoint before"
        ) from error
    for old in _paths(folder)[keep:]:
        shutil.rmtree(old)
    return path


def latest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint in `folder` that is complete and unharmed, or None; a warning names those passed over."""
    for path in _paths(folder):
        problem = _problem(path)
        if problem is None:
            numbers = read_json(path / FILES[1])
            return Checkpoint(numbers.pop("step"), load_file(path / FILES[0]), numbers)
        log.warning("checkpoint %s is passed over: %s", path.name, problem)
    return None


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
    for name in FILES:
        if not (path / name).is_file():
            return f"{name} is missing"
        if hash_file(path / name) != expected.get(name):
            return f"{name} is damaged"
    return None


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
