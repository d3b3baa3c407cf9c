"""A bucket as a folder: of the objects below `s3://bucket/prefix`, those that are new or changed are fetched.

Credentials and the address of another S3 server come from where the AWS tools take them: AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_PROFILE, AWS_ENDPOINT_URL and so on.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from mmcore.workspace import Progress, run_lock, write_bytes

MAX_OBJECTS = 5_000_000
MAX_OBJECT_BYTES = 8 << 30
MAX_NAME_BYTES = 255
MAX_KEY_BYTES = 1024
# Objects fetched side by side; after each such batch the index remembers what has arrived.
BATCH = 200
LOCK_SECONDS = 3600.0


@dataclass(frozen=True)
class Mirrored:
    """`folder`: the objects by their keys below the prefix; `passed_over`: the keys of those that can be no file here
    (too large, of an unsafe name, or named like the folder of others)."""

    folder: Path
    passed_over: tuple[str, ...]


@dataclass(frozen=True)
class _Object:
    key: str
    etag: str
    size: int
    changed: float


def is_bucket(source: str) -> bool:
    """Whether `source` is written as a bucket's address; ValueError for an address of another kind."""
    scheme, mark, _ = source.partition("://")
    if mark and scheme != "s3":
        raise ValueError(f"data.source {scheme}://... cannot be read; give a folder or s3://bucket/prefix")
    return bool(mark)


def mirror(address: str, root: Path) -> Mirrored:
    """Bring the folder of `address` below `root` up to date with its bucket; see `Mirrored`.

    An interrupted mirror goes on with what it lacks. Raises FileNotFoundError if there is no such bucket,
    PermissionError if it may not be read, ValueError if the extra `s3` is not installed, there are too many objects, or
    the address names no folder.
    """
    bucket, prefix = _parts(address)
    home = root / hashlib.sha256(f"{bucket}/{prefix}".encode()).hexdigest()[:16]
    name = prefix.rstrip("/").rpartition("/")[2] or bucket
    if not _is_safe(name):
        raise ValueError(f"s3://{bucket}/{prefix}: {name!a} can be no folder here; name another prefix")
    # Below `files`, so that no name is that of the lock or the index.
    folder = home / "files" / name
    with run_lock(home / "lock", f"a mirror of s3://{bucket}/{prefix}", patience=LOCK_SECONDS):
        folder.mkdir(parents=True, exist_ok=True)
        with _bucket_errors(f"s3://{bucket}/{prefix}"):
            files = _filesystem()
            listed, passed_over = _choose(_listing(files, bucket, prefix))
            index = _read_index(home / "index.jsonl")
            missing = [one for one in listed.values() if not _is_here(one, index, folder)]
            _remove_others(folder, listed)
            _write_index(home / "index.jsonl", {key: index[key] for key in listed if key in index})
            _fetch(files, bucket, prefix, missing, folder, home / "index.jsonl")
    return Mirrored(folder, tuple(passed_over))


def _parts(address: str) -> tuple[str, str]:
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    if not bucket or "@" in bucket or "?" in address:
        raise ValueError("write the bucket as s3://bucket/prefix; keys go into AWS_ACCESS_KEY_ID, not into settings")
    return bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else ""


def _filesystem() -> Any:
    try:
        # A listing of yesterday's process must not hide what is new.
        return fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True)
    except ImportError:
        raise ValueError("a bucket is read with the extra s3; in mmcore's checkout: pip install -e '.[s3]'") from None


@contextlib.contextmanager
def _bucket_errors(address: str) -> Iterator[None]:
    """What goes wrong on the way, in a sentence that names the bucket."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{address} is not there: {error}") from error
    except PermissionError as error:
        raise PermissionError(f"{address} may not be read with these credentials: {error}") from error


# Listing -------------------------------------------------------------------------------------------------------------


def _listing(files: Any, bucket: str, prefix: str) -> Iterator[_Object]:
    """Every object below the prefix, a thousand at a time."""
    more: dict[str, str] = {}
    count = 0
    while True:
        page = files.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **more)
        for entry in page.get("Contents", []):
            count += 1
            if count > MAX_OBJECTS:
                raise ValueError(f"s3://{bucket}/{prefix} has more than {MAX_OBJECTS:,} objects; name a longer prefix")
            yield _Object(
                entry["Key"].removeprefix(prefix), entry["ETag"].strip('"'), entry["Size"],
                entry["LastModified"].timestamp(),
            )  # fmt: skip
        if not page.get("IsTruncated"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


def _choose(objects: Iterator[_Object]) -> tuple[dict[str, _Object], list[str]]:
    """The objects that can be files of one folder, by key, and the keys of the others."""
    chosen: dict[str, _Object] = {}
    folders: set[str] = set()
    passed_over = []
    for one in objects:
        if one.key.endswith("/") or not one.key:
            continue  # what consoles leave as a mark of a folder
        above = ["/".join(one.key.split("/")[:depth]) for depth in range(1, one.key.count("/") + 1)]
        if not _is_safe(one.key) or one.size > MAX_OBJECT_BYTES or any(folder in chosen for folder in above):
            passed_over.append(one.key)
            continue
        if one.key in folders:  # an object may be named like the folder of others: no file system holds both
            passed_over.append(one.key)
            continue
        folders.update(above)
        chosen[one.key] = one
    return chosen, passed_over


def _is_safe(key: str) -> bool:
    """Whether the key is a relative path of names that every file system takes and nothing reads as a way out."""
    names = key.split("/")
    return (
        len(key.encode()) <= MAX_KEY_BYTES
        and key.isprintable()
        and "\\" not in key
        and not any(name in ("", ".", "..") or len(name.encode()) > MAX_NAME_BYTES for name in names)
    )


# The folder ----------------------------------------------------------------------------------------------------------


def _is_here(one: _Object, index: dict[str, tuple[str, int]], folder: Path) -> bool:
    path = folder / one.key
    return index.get(one.key) == (one.etag, one.size) and path.is_file() and path.stat().st_size == one.size


def _remove_others(folder: Path, listed: dict[str, _Object]) -> None:
    """Delete files whose objects are gone, and folders that are empty then."""
    for place, folders, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(place) / name
            if path.relative_to(folder).as_posix() not in listed:
                path.unlink()
        for name in folders:
            with contextlib.suppress(OSError):
                os.rmdir(Path(place) / name)


def _fetch(files: Any, bucket: str, prefix: str, missing: list[_Object], folder: Path, index: Path) -> None:
    progress = Progress("fetch", total=len(missing), unit="objects")
    for start in range(0, len(missing), BATCH):
        batch = missing[start : start + BATCH]
        aside = [_aside(folder / one.key) for one in batch]
        for path in aside:
            path.parent.mkdir(parents=True, exist_ok=True)
        files.get([f"{bucket}/{prefix}{one.key}" for one in batch], [str(path) for path in aside])
        with open(index, "a", encoding="utf-8") as lines:
            for one, path in zip(batch, aside, strict=True):
                size = path.stat().st_size
                if size != one.size:
                    raise OSError(f"s3://{bucket}/{prefix}{one.key} came with {size} of {one.size} bytes; run again")
                os.utime(path, (one.changed, one.changed))
                os.replace(path, folder / one.key)
                lines.write(_line(one.key, (one.etag, one.size)))
        progress.advance(len(batch))


def _aside(path: Path) -> Path:
    # Not built from the name: with a prefix it could become too long.
    return path.with_name(f".{hashlib.sha256(path.name.encode()).hexdigest()[:24]}.tmp")


# The index: what is here, one line per object, the last one counts ---------------------------------------------------


def _read_index(path: Path) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        with contextlib.suppress(ValueError):  # the last line of a mirror that was killed may be cut off
            key, etag, size = json.loads(line)
            found[key] = (etag, size)
    return found


def _write_index(path: Path, index: dict[str, tuple[str, int]]) -> None:
    write_bytes(path, "".join(_line(key, value) for key, value in index.items()).encode())


def _line(key: str, value: tuple[str, int]) -> str:
    return json.dumps([key, *value], ensure_ascii=False) + "\n"
