"""The weights of a release: every distinct tensor is stored once and mapped into memory once.

Task models that were fine-tuned from one pretrained model share what fine-tuning left alone. `tensors.safetensors`
holds the tensors under the hash of their content; `models/<task>/index.json` says which tensor each parameter is.
Packaging needs bytes only, so the safetensors layout (a length, a JSON header, the tensors end to end) is read and
written here as it is, without torch, which takes seconds to import.
"""

import hashlib
import json
import math
import mmap
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from mmcore.serving.identity import digest
from mmcore.workspace import hash_file, read_json, write_json

TENSORS = "tensors.safetensors"
INDEX = "index.json"
WEIGHTS = "model.safetensors"
ALIGNMENT = 64


@dataclass(frozen=True)
class Stored:
    """One tensor in a file: its safetensors type code, its shape and its bytes."""

    kind: str
    shape: tuple[int, ...]
    content: memoryview

    @property
    def width(self) -> int:
        """Bytes per value."""
        return len(self.content) // max(math.prod(self.shape), 1)

    def key(self) -> str:
        return content_key(self.kind, self.shape, self.content)


def content_key(kind: str, shape: Sequence[int], content: Any) -> str:
    """SHA-256 over type code, shape and bytes: the name of a tensor in `tensors.safetensors`."""
    found = hashlib.sha256(f"{kind}{list(shape)}".encode())
    found.update(content)
    return found.hexdigest()


def store(tasks_folder: Path, tasks: Sequence[str], release: Path) -> str:
    """Write the models `tasks_folder/<task>` into the folder `release`; returns their common hash."""
    keys: dict[str, dict[str, str]] = {}
    distinct: dict[str, Stored] = {}
    with ExitStack() as files:
        for task in tasks:
            source, target = tasks_folder / task, release / "models" / task
            if not (source / WEIGHTS).is_file():
                raise FileNotFoundError(f"{source} holds no {WEIGHTS}; fine-tune the task '{task}' first")
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(WEIGHTS))
            found = files.enter_context(_tensors(source / WEIGHTS))
            keys[task] = {name: tensor.key() for name, tensor in sorted(found.items())}
            distinct |= {keys[task][name]: tensor for name, tensor in found.items()}
            write_json(target / INDEX, keys[task])
        _write(release / TENSORS, distinct)
    return hash_models(release, keys)


def load(release: Path, tasks: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The parameters of each task's model as torch tensors, mapped from the file; equal ones are one tensor."""
    indices = {task: read_json(release / "models" / task / INDEX) for task in tasks}
    with safe_open(release / TENSORS, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it has keys() only)
    return {task: {name: tensors[key] for name, key in index.items()} for task, index in indices.items()}


def hash_models(release: Path, keys: Mapping[str, Mapping[str, str]]) -> str:
    """SHA-256 over the models, from `{task: {parameter: content key}}` and the other files of their folders."""
    hashes: dict[str, str] = {}
    for task, index in keys.items():
        folder = release / "models" / task
        files = {path.name: hash_file(path) for path in sorted(folder.iterdir()) if path.name != INDEX}
        hashes |= {f"{task}/{name}": value for name, value in {**index, **files}.items()}
    return digest(hashes)


@contextmanager
def _tensors(path: Path) -> Iterator[dict[str, Stored]]:
    """The tensors of a safetensors file, mapped; valid inside the block."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        start = 8 + int.from_bytes(mapped[:8], "little")
        header = json.loads(mapped[8:start])
        header.pop("__metadata__", None)
        with memoryview(mapped) as view:
            found = {}
            for name, entry in header.items():
                begin, end = (start + offset for offset in entry["data_offsets"])
                found[name] = Stored(entry["dtype"], tuple(entry["shape"]), view[begin:end])
            try:
                yield found
            finally:
                for tensor in found.values():
                    tensor.content.release()


def _write(path: Path, tensors: Mapping[str, Stored]) -> None:
    """A safetensors file of the tensors: wide types first, so that each starts at a multiple of its own width."""
    order = sorted(tensors, key=lambda key: (-tensors[key].width, key))
    header: dict[str, Any] = {}
    end = 0
    for key in order:
        tensor = tensors[key]
        begin, end = end, end + len(tensor.content)
        header[key] = {"dtype": tensor.kind, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)  # blanks after the header are part of the layout
    with open(path, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for key in order:
            out.write(tensors[key].content)
