"""The requests that the service was unsure of, kept for a person: a folder of each, with what was sent and answered.

`FOLDER/<id>/request.json`, and beside it every file as it was sent. The id is the hash of what was sent, so that the
same request is kept once. What is here came from others, and may be private: the folder is made for its owner only.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from mmcore.workspace import clear_temporaries, read_json, run_lock, write_folder, write_json

# The environment variable that names the folder; without it nothing is kept.
FOLDER = "MMCORE_REQUESTS"
LOCK_SECONDS = 10.0
RECORD = "request.json"
# How a file begins, so that a person's tools know it by its name.
_SUFFIXES = {
    b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", b"BM": ".bmp", b"II*\0": ".tif", b"MM\0*": ".tif",
    b"\x93NUMPY": ".npy",
}  # fmt: skip


@dataclass(frozen=True)
class Kept:
    """One request. `label`: what the task answers, the key of a row's labels. `answer` with its `probability` is what
    was said, `classes` what could have been; `model`: the hash of the released models; `at`: ISO 8601, UTC. `texts` and
    `files` (names in the folder) are what was sent, by the name of the model's input."""

    id: str
    task: str
    label: str
    answer: str
    probability: float
    classes: dict[str, float]
    model: str
    at: str
    texts: dict[str, str]
    files: dict[str, str]


def place(state: Path) -> Path:
    """Where they are kept: what `MMCORE_REQUESTS` says, else `requests` in the project's `.mmcore`."""
    return Path(os.environ.get(FOLDER) or state / "requests").resolve()


def identity(task: str, texts: Mapping[str, str], files: Mapping[str, bytes]) -> str:
    """The id of a request: equal for equal content, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    sent = {name: text.encode() for name, text in {**texts, "task": task}.items()} | dict(files)
    for name, value in sorted(sent.items()):
        digest.update(f"{name} {len(value)}\n".encode() + value)
    return digest.hexdigest()[:16]


def keep(folder: Path, request: Kept, files: Mapping[str, bytes], *, most: int, most_bytes: int) -> bool:
    """Keep a request with its files, by input, on the disk before this returns; whether it is kept, now or before.

    Where there are `most` requests, or `most_bytes` would be exceeded, it is not. OSError if it cannot be written.
    """
    with _alone(folder):
        if (folder / request.id).is_dir():
            return True
        size = sum(map(len, files.values()))
        if len(_folders(folder)) >= most or size + _size(folder) > most_bytes:
            return False
        with write_folder(folder / request.id) as written:
            for name, content in files.items():
                (written / request.files[name]).write_bytes(content)
            write_json(written / RECORD, asdict(request))
    return True


def kept(folder: Path) -> list[Kept]:
    """All that are kept, the least sure first."""
    found = [Kept(**read_json(path / RECORD)) for path in _folders(folder)]
    return sorted(found, key=lambda one: (one.probability, one.id))


def find(folder: Path, id: str) -> Kept:
    """The request `id`; a LookupError says how to see which there are."""
    if id not in {path.name for path in _folders(folder)}:
        raise LookupError(f"no request '{id}' is kept; mmcore data requests list shows those that are")
    return Kept(**read_json(folder / id / RECORD))


def remove(folder: Path, id: str) -> None:
    """Remove a request and what was sent with it."""
    with _alone(folder):
        # Renamed first, so that a half removed one is never found; what a killed service left aside goes, too.
        os.replace(folder / id, folder / f".{id}.{os.getpid()}.tmp")
        clear_temporaries(folder)


def file_name(name: str, content: bytes) -> str:
    """What a sent file is called here, by its input and by how it begins."""
    suffix = next((suffix for begin, suffix in _SUFFIXES.items() if content.startswith(begin)), "")
    if content.startswith(b"RIFF"):
        suffix = ".webp" if content[8:12] == b"WEBP" else ".wav"
    return name + suffix


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with run_lock(folder / ".lock", "who keeps or removes requests", patience=LOCK_SECONDS):
        yield


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if (path / RECORD).is_file() and not path.name.startswith(".")]


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*/*"))
