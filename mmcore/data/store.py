"""The store: every sample of a project as a row of Parquet shards, media bytes included, listed in a manifest.

`<root>/<split>/part-NNNNN.parquet` and `<root>/manifest.json`. Media stay uncompressed and row groups small, so that
reading one row costs little. Equal rows written in equal order are equal bytes.
"""

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmcore.data import columns
from mmcore.data.modalities import BUILT_IN, media, own_media
from mmcore.data.schema import compression, schema
from mmcore.workspace import hash_file, read_json, write_json

SCHEMA_VERSION = 1
SPLITS = ("train", "validation", "test")
MANIFEST = "manifest.json"
ROWS_PER_SHARD = 1000
ROWS_PER_GROUP = 100
BYTES_PER_GROUP = 8 << 20
BYTES_PER_SHARD = 512 << 20

Row = dict[str, Any]

_AGAIN = "get the data anew (mmcore data pull, or import them again) and do not edit them by hand"

_checked: set[tuple[str | int, ...]] = set()
_EMPTY: dict[str, Any] = {"captions": [], "qa": [], "labels": {}, "meta": "{}"}


@dataclass(frozen=True)
class Shard:
    """One file of the store: its path below the root, its number of rows, the SHA-256 of its bytes."""

    path: str
    rows: int
    sha256: str

    @property
    def split(self) -> str:
        return self.path.partition("/")[0]


@dataclass(frozen=True)
class Manifest:
    """What the store holds, in reading order."""

    schema_version: int
    shards: tuple[Shard, ...]


def row(**values: Any) -> Row:
    """A whole row from the columns given: what is missing is null or empty; `group` is the id unless given.

    `sha256` is computed. An unknown column or a row without `id` is a ValueError.
    """
    names = schema().names
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise ValueError(f"a row has no column '{unknown[0]}'; there are: {', '.join(names)}")
    if not values.get("id"):
        raise ValueError("a row needs an 'id'")
    whole = {name: values.get(name) for name in names}
    for name, empty in _EMPTY.items():
        if whole[name] is None:
            whole[name] = type(empty)(empty)
    whole["group"] = whole["group"] or whole["id"]
    whole["source"] = whole["source"] or ""
    whole["sha256"] = sample_hash(whole)
    return whole


def sample_hash(row: Row) -> str:
    """SHA-256 over the media bytes and the texts of a row: equal for two rows that differ only in id, group or meta.

    It does not depend on which modalities of one's own are known that the row lacks.
    """
    digest = hashlib.sha256()

    def add(value: bytes | str | None) -> None:
        if value is None:
            digest.update(b"-")
            return
        content = value.encode() if isinstance(value, str) else value
        digest.update(b"+%d:" % len(content))
        digest.update(content)

    for name in (*BUILT_IN, "transcript", "summary", "speech_text"):
        add(row[name])
    for caption in row["captions"]:
        add(caption["text"])
    for pair in row["qa"]:
        add(pair["question"])
        for answer in pair["answers"]:
            add(answer)
    for name in own_media():
        if row[name] is not None:
            digest.update(b"%s=" % name.encode())
            add(row[name])
    return digest.hexdigest()


def row_texts(row: Row) -> Iterator[str]:
    """Every text of a row that a model may read or write."""
    yield from (caption["text"] for caption in row["captions"])
    yield from (row[name] for name in ("summary", "transcript", "speech_text") if row[name])
    for pair in row["qa"]:
        yield pair["question"]
        yield from pair["answers"]


def split_of(group: str) -> str:
    """The split of a group key, 80/10/10: a pure function, so that adding data never moves a row."""
    share = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64
    return "train" if share < 0.8 else "validation" if share < 0.9 else "test"


# Writing ------------------------------------------------------------------------------------------------------------


class ShardWriter:
    """Adds rows to new shards of the store at `root`, after those that are there. A context manager.

    A shard ends at `rows_per_shard` rows or 512 MiB of media; a few MiB are in memory at a time. The manifest is the
    caller's to write.
    """

    def __init__(self, root: Path, *, rows_per_shard: int = ROWS_PER_SHARD) -> None:
        self._root = root
        self._rows_per_shard = rows_per_shard
        self._open: dict[str, _OpenShard] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for shard in self._open.values():
            shard.close()

    def add(self, split: str, row: Row) -> None:
        """Add one whole row (see `row`) to `split`."""
        assert split in SPLITS, split
        if split not in self._open:
            self._open[split] = _OpenShard(shard_path(self._root, split, self._next_number(split)))
        shard = self._open[split]
        shard.add(row)
        if shard.num_rows >= self._rows_per_shard or shard.num_bytes >= BYTES_PER_SHARD:
            self._open.pop(split).close()

    def _next_number(self, split: str) -> int:
        there = (self._root / split).glob("part-*.parquet")
        return 1 + max((int(path.stem.removeprefix("part-")) for path in there), default=-1)


def write_shards(root: Path, split: str, rows: Iterable[Row], *, rows_per_shard: int = ROWS_PER_SHARD) -> int:
    """Write `rows` to new shards of `split`, after those that are there; returns how many rows were written."""
    num_rows = 0
    with ShardWriter(root, rows_per_shard=rows_per_shard) as writer:
        for one in rows:
            writer.add(split, one)
            num_rows += 1
    return num_rows


def shard_path(root: Path, split: str, number: int) -> Path:
    return root / split / f"part-{number:05d}.parquet"


def write_shard(path: Path, rows: Iterable[Row]) -> None:
    """Write `rows` to one shard file, however many they are."""
    shard = _OpenShard(path)
    for one in rows:
        shard.add(one)
    shard.close()


class _OpenShard:
    """One Parquet file being written: row groups of at most 100 rows and about 8 MiB, media uncompressed."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.num_rows = self.num_bytes = 0
        self._group: list[Row] = []
        self._group_bytes = 0
        self._schema, self._media = schema(), media()
        self._writer = pq.ParquetWriter(
            path, self._schema, compression=compression(), use_dictionary=["source"], write_statistics=["id"],
            version="2.6",
        )  # fmt: skip

    def add(self, row: Row) -> None:
        size = sum(len(row[name]) for name in self._media if row[name] is not None)
        self._group.append(row)
        self._group_bytes += size
        self.num_rows += 1
        self.num_bytes += size
        if len(self._group) == ROWS_PER_GROUP or self._group_bytes >= BYTES_PER_GROUP:
            self._flush()

    def close(self) -> None:
        if self._group:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(columns.table(self._group, self._schema), row_group_size=len(self._group))
        self._group, self._group_bytes = [], 0


def write_manifest(root: Path) -> Manifest:
    """Hash every shard below `root` and write `manifest.json`."""
    found = [
        Shard(path.relative_to(root).as_posix(), pq.read_metadata(path).num_rows, hash_file(path))
        for path in _shard_files(root)
    ]
    manifest = Manifest(SCHEMA_VERSION, tuple(found))
    write_json(root / MANIFEST, {"schema_version": SCHEMA_VERSION, "shards": [asdict(shard) for shard in found]})
    return manifest


# Reading ------------------------------------------------------------------------------------------------------------


def read_manifest(root: Path) -> Manifest:
    """The manifest of the store at `root`; FileNotFoundError or ValueError with one sentence where there is none."""
    path = root / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(
            f"{root} holds no data set (no {MANIFEST}); import one: mmcore data import SOURCE --format imagefolder"
        )
    return manifest_of(read_json(path), str(path))


def manifest_of(content: Any, name: str) -> Manifest:
    """The manifest in the JSON `content` of the file `name`; ValueError if another version of mmcore wrote it."""
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(f"{name} has schema version {version}, not {SCHEMA_VERSION}; import the data again")
    return Manifest(version, tuple(Shard(**entry) for entry in content["shards"]))


def shards(root: Path, split: str | None = None) -> list[Shard]:
    """The shards of the store in reading order, all or those of one split."""
    return [shard for shard in read_manifest(root).shards if split in (None, shard.split)]


def verify(root: Path) -> None:
    """Compare every shard with the manifest; a ValueError names the first one that is missing, extra or altered."""
    listed = {shard.path: shard for shard in read_manifest(root).shards}
    found = [path.relative_to(root).as_posix() for path in _shard_files(root)]
    for extra in sorted(set(found) - set(listed)):
        raise ValueError(f"the shard {extra} is not in {MANIFEST}; {_AGAIN}")
    for path, shard in listed.items():
        if path not in found:
            raise ValueError(f"the shard {path} is missing; {_AGAIN}")
        check_shard(root / path)
        num_rows = pq.read_metadata(root / path).num_rows
        if num_rows != shard.rows:
            raise ValueError(f"the shard {path} has {num_rows} rows where {MANIFEST} says {shard.rows}; {_AGAIN}")
        for unread in sorted(set(pq.read_schema(root / path).names) - set(schema().names)):
            raise ValueError(
                f"the shard {path} has a column '{unread}', and no modality is called so; name the module that adds it "
                "under plugins in params.yaml"
            )


def lacking_columns(data: Path, columns: Iterable[str]) -> set[str]:
    """Those of `columns` that no row of data/ has; a column is read only until the first row that has it."""
    wanted = set(columns)
    for file, group in _row_groups(data):
        if not wanted:
            break
        table = file.read_row_group(group, columns=sorted(wanted))
        wanted -= {name for name in table.column_names if _any_filled(table.column(name))}
    return wanted


def label_names(data: Path, wanted: Collection[str]) -> set[str]:
    """The names of the labels that rows of data/ have; read only until all of `wanted` were met."""
    met: set[str] = set()
    for file, group in _row_groups(data):
        if met.issuperset(wanted):
            break
        for chunk in file.read_row_group(group, columns=["labels"]).column("labels").chunks:
            met.update(pc.unique(chunk.keys).to_pylist())
    return met


def _row_groups(data: Path) -> Iterator[tuple[pq.ParquetFile, int]]:
    for shard in shards(data):
        check_shard(data / shard.path)
        file = pq.ParquetFile(data / shard.path)
        yield from ((file, group) for group in range(file.num_row_groups))


def _any_filled(column: pa.ChunkedArray) -> bool:
    if pa.types.is_map(column.type):
        return any(len(chunk.keys) for chunk in column.chunks)
    if pa.types.is_list(column.type):
        return bool(pc.any(pc.greater(pc.list_value_length(column), 0)).as_py())
    return column.null_count < len(column)  # type: ignore[no-any-return]


def check_shard(path: Path) -> None:
    """Compare the bytes of the shard at `path` with the manifest of its store, once per process and file.

    ValueError if the manifest says otherwise or does not know it. Every read of a shard begins here. A file with no
    manifest in the folder above its own (a table of a stage, a store that is still being written) is not compared.
    """
    root = path.parent.parent
    try:
        seen = (str(path), *_identity(path), *_identity(root / MANIFEST))
    except FileNotFoundError:
        return
    if seen in _checked:
        return
    name = f"{path.parent.name}/{path.name}"
    expected = {shard.path: shard.sha256 for shard in read_manifest(root).shards}.get(name)
    if expected is None:
        raise ValueError(f"the shard {name} is not in {MANIFEST}; {_AGAIN}")
    if hash_file(path) != expected:
        raise ValueError(f"the shard {name} is not what {MANIFEST} says (its SHA-256 differs); {_AGAIN}")
    _checked.add(seen)


def _identity(path: Path) -> tuple[int, int, int]:
    """What changes when a file is written anew: where it lies, how long it is, when it was written."""
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns


def read_rows(
    path: Path, columns: Sequence[str] | None = None, *, start: int = 0, stop: int | None = None
) -> list[Row]:
    """The rows `start` to `stop` of one shard as dicts (`labels` a dict, too), reading only their row groups.

    ValueError if the shard is not what its manifest says (`check_shard`).
    """
    check_shard(path)
    with pq.ParquetFile(path, memory_map=True) as file:
        total = file.metadata.num_rows
        stop = total if stop is None else min(stop, total)
        groups: list[int] = []
        first, offset = 0, 0
        for index in range(file.metadata.num_row_groups):
            after = offset + file.metadata.row_group(index).num_rows
            if after > start and offset < stop:
                first = offset if not groups else first
                groups.append(index)
            offset = after
        if not groups:
            return []
        table = file.read_row_groups(groups, columns=None if columns is None else list(columns))
    rows = as_rows(table.slice(start - first, stop - start))
    # Written before this modality was known.
    for name in set(own_media()) - set(table.column_names):
        if columns is None or name in columns:
            for one in rows:
                one[name] = None
    return rows


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A whole Parquet file, its columns in the order given; a shard of a store is checked first (`check_shard`).

    (`pyarrow.parquet.read_table` would import pandas: a second.)
    """
    check_shard(path)
    with pq.ParquetFile(path) as file:
        table = file.read(columns=None if columns is None else list(columns))
    return table if columns is None else table.select(list(columns))


def column(path: Path, name: str) -> list[Any]:
    """The values of one column of a shard, which is not hashed: for a look that must be quick. Who uses more of the
    shard, or writes, checks it first."""
    with pq.ParquetFile(path) as file:
        values: list[Any] = file.read(columns=[name])[name].to_pylist()
    return values


def as_rows(table: pa.Table) -> list[Row]:
    """The rows of a table as dicts, maps as dicts, too."""
    found = [columns.values(one) for one in table.columns]
    names = table.column_names
    return [dict(zip(names, values, strict=True)) for values in zip(*found, strict=True)]


def _shard_files(root: Path) -> list[Path]:
    """Every shard file there is, splits in their order, then by name."""
    return [path for split in SPLITS for path in sorted((root / split).glob("*.parquet"))]
