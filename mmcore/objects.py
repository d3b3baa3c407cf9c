"""Files kept under the hash of their bytes: the list of a folder, the cache and the remotes that hold it.

DVC keeps the file with the MD5 `abcdef...` as `ab/cdef...`, and a folder as one more object, `<md5>.dir`: the list of
its files. What `Reader` and `Remote` read is hashed on the way, and the cache takes in only bytes that have the hash of
their name. What lies in it may have gone bad since: who opens one of its files asks `fault` first.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar

from mmcore.workspace import Progress

CHUNK = 1 << 20
THREADS = 4
STALE_SECONDS = 3600
LIST = ".dir"
LIST_NAME = "the list of the files"

T = TypeVar("T")
Count = Callable[[int], None]


def ignore(size: int) -> None:
    """Count nothing."""


@dataclass(frozen=True)
class Version:
    """One state of a folder: the name of its list (`<md5>.dir`) and the MD5 of every file by its relative path."""

    name: str
    files: dict[str, str]

    @classmethod
    def read(cls, name: str, content: bytes) -> "Version":
        """The version in the bytes of its list, which were hashed before; ValueError if a path leaves the folder."""
        files = {entry["relpath"]: entry["md5"] for entry in json.loads(content)}
        for path, object_name in files.items():
            if PurePosixPath(path).is_absolute() or ".." in path.split("/") or not _is_md5(object_name):
                raise ValueError(f"the list of files {name} names '{path}', which leaves its folder; it is not used")
        return cls(name, files)

    @classmethod
    def of(cls, files: dict[str, str]) -> "Version":
        """The version that consists of these files."""
        return cls(hashlib.md5(_list_bytes(files)).hexdigest() + LIST, files)

    @property
    def content(self) -> bytes:
        """The bytes of the list, as DVC writes them."""
        return _list_bytes(self.files)

    @cached_property
    def objects(self) -> dict[str, str]:
        """The objects that make up this version, each with the first path it stands for; the list comes last."""
        paths: dict[str, str] = {}
        for path, object_name in sorted(self.files.items()):
            paths.setdefault(object_name, path)
        return {**paths, self.name: LIST_NAME}


@dataclass(frozen=True)
class Content:
    """What was read: hashes in hex and the number of bytes."""

    md5: str
    sha256: str
    size: int


def read_through(file: IO[bytes], count: Count, copy: IO[bytes] | None = None) -> Content:
    """Read `file` to its end, `count` each piece, write it to `copy` if there is one; returns what it held."""
    md5, sha256, size = hashlib.md5(), hashlib.sha256(), 0
    while piece := file.read(CHUNK):
        md5.update(piece)
        sha256.update(piece)
        size += len(piece)
        if copy is not None:
            copy.write(piece)
        count(len(piece))
    return Content(md5.hexdigest(), sha256.hexdigest(), size)


class Reader:
    """Hashes files of this machine, each once: two names of one file (hard links) are one file."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, ...], Content] = {}

    def read(self, path: Path, count: Count = ignore) -> Content | None:
        """What the file at `path` holds, None if there is none."""
        try:
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
                if key not in self._seen:
                    self._seen[key] = read_through(file, count)
                else:
                    count(status.st_size)
                return self._seen[key]
        except FileNotFoundError:
            return None

    def read_all(self, phase: str, paths: dict[str, Path]) -> dict[str, Content | None]:
        """What each of the files holds, under the key it has in `paths`; with a bar."""
        total = sum(path.stat().st_size for path in paths.values() if path.exists())
        return in_parallel(phase, total, paths, lambda key, count: self.read(paths[key], count))


def fault(name: str, content: Content | None, version: Version | None = None) -> str:
    """What is wrong with what was read where the object `name` should be; empty if nothing is.

    With a `version`, bytes that belong to another of its files are named by that file.
    """
    if content is None:
        return "is missing"
    if content.md5 == name.removesuffix(LIST):
        return ""
    if content.size == 0:
        return "is empty"
    objects = version.objects if version else {}
    other = objects.get(content.md5) or objects.get(content.md5 + LIST)
    return f"holds the bytes of {other}" if other else f"holds other bytes (MD5 {content.md5})"


class Cache:
    """The objects on this machine, below `root`. What is put here is whole, right and read-only.

    It is not forced to the disk, which would take far longer than the copy: what a power cut leaves wrong is found by
    its hash.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        return self.root / name[:2] / name[2:]

    def put(self, name: str, file: IO[bytes], count: Count = ignore) -> Content:
        """Copy `file` here under `name` if its bytes are right, otherwise leave nothing; returns what it held."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        for stale in path.parent.glob(f".{path.name}.*.tmp"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - stale.stat().st_mtime > STALE_SECONDS:  # a killed process left it, none is at it
                    stale.unlink()
        aside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
        try:
            with open(aside, "wb") as copy:
                content = read_through(file, count, copy)
            if content.md5 == name.removesuffix(LIST):
                aside.chmod(0o444)
                os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)
        return content


@dataclass(frozen=True)
class Remote:
    """The objects in a bucket or folder elsewhere, through a file system of DVC's; `url` is fit to be printed."""

    name: str
    url: str
    files: Any
    root: str

    def __str__(self) -> str:
        return f"the remote '{self.name}' ({self.url})"

    def sizes(self, names: Sequence[str]) -> dict[str, int]:
        """The bytes of those objects that are there, as the remote tells them now."""
        found: dict[str, int] = {}
        with self.answering():
            self.files.fs.invalidate_cache()
            paths = [self._path(name) for name in names]
            for name, info in zip(names, self.files.info(paths, return_exceptions=True), strict=True):
                if isinstance(info, FileNotFoundError | NotADirectoryError):
                    continue
                if isinstance(info, BaseException):
                    raise info
                if info["type"] == "file":
                    found[name] = int(info["size"])
        return found

    def read(self, name: str, count: Count = ignore, copy: IO[bytes] | None = None) -> Content | None:
        """What the object holds, hashed while it streams by; None if it is not there."""
        return self._open(name, lambda file: read_through(file, count, copy))

    def fetch(self, name: str, cache: Cache, count: Count = ignore) -> Content | None:
        """Bring the object into `cache` if its bytes are right; returns what it held, None if it is not there."""
        return self._open(name, lambda file: cache.put(name, file, count))

    def send(self, name: str, cache: Cache, count: Count = ignore) -> None:
        """Put the object there, over whatever lies there."""
        source = cache.path(name)
        with self.answering():
            self.files.makedirs(self.files.parent(self._path(name)))
            self.files.put_file(str(source), self._path(name))
        count(source.stat().st_size)

    def _path(self, name: str) -> str:
        return str(self.files.join(self.root, name[:2], name[2:]))

    def _open(self, name: str, use: Callable[[IO[bytes]], Content]) -> Content | None:
        with self.answering():
            try:
                with self.files.open(self._path(name), "rb") as file:
                    return use(file)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return None

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Turn whatever the remote's library raises into a ConnectionError of one sentence without secrets."""
        try:
            yield
        except Exception as error:  # each kind of remote has a library, and each library has errors, of its own
            raise ConnectionError(f"{self} failed: {printable(str(error))}") from error


def printable(text: str) -> str:
    """`text` without the user names, passwords and query strings of the addresses in it."""
    text = re.sub(r"(?<=://)[^\s/@'\"]*@", "", text)
    return re.sub(r"(://[^\s?'\"]*)\?[^\s'\"]*", r"\1", text)


def in_parallel(phase: str, total: int, items: Iterable[str], work: Callable[[str, Count], T]) -> dict[str, T]:
    """`work(item, count)` of every item, on four threads; a bar shows the bytes counted, out of `total`."""
    progress = Progress(phase, total=total, unit="bytes")
    one_at_a_time = threading.Lock()

    def count(size: int) -> None:
        with one_at_a_time:
            progress.advance(size)

    found = list(items)
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(found, pool.map(lambda item: work(item, count), found), strict=True))


def set_aside(path: Path, folder: Path, content: Content) -> None:
    """Move a file that is not what it should be into `folder`, under its name and a part of its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{path.name}.{content.md5[:8]}"
    # Copied, not renamed: what else is the same file (a hard link) keeps its name until it is looked at itself.
    if not path.is_symlink():
        shutil.copyfile(path, target)
    path.unlink()


def _list_bytes(files: dict[str, str]) -> bytes:
    entries = [{"md5": md5, "relpath": path} for path, md5 in sorted(files.items())]
    return json.dumps(entries, sort_keys=True).encode()


def _is_md5(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None
