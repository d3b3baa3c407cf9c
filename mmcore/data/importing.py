"""Bringing a data set into the store: the rows that a source becomes, and those that are refused."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmcore.data import columns, store
from mmcore.data.importers import IMPORTERS, ImportOptions, Refused, Sample, content
from mmcore.workspace import write_folder

REFUSED = "refused.parquet"
REFUSED_SCHEMA: pa.Schema = pa.schema(
    [("id", pa.string()), ("problems", pa.list_(pa.string())), ("detail", pa.string()), ("split", pa.string())]
)


@dataclass(frozen=True)
class ImportReport:
    """`rows`: imported now, by split; `refused`: by problem code; `total`: rows in the store afterwards, by split."""

    rows: dict[str, int]
    refused: dict[str, int]
    total: dict[str, int]


def import_data(
    source: Path, destination: Path, *, format: str, options: ImportOptions, replace: bool = False, append: bool = False
) -> ImportReport:
    """Read `source` into the store at `destination`, which changes only when all of it has been read.

    Refused lines go to `refused.parquet` in the store, for validation to put them into quarantine. Raises ValueError
    or LookupError with what to do, if there is nothing to import or if `destination` holds data and neither
    `replace` nor `append` says what to do with them.
    """
    _check_destination(destination, replace, append)
    reader = IMPORTERS[format]()
    rows: Counter[str] = Counter()
    refused: list[Refused] = []
    with write_folder(destination) as aside:
        taken = _bring(destination, aside) if append and destination.exists() else set()
        with store.ShardWriter(aside) as writer:
            for split, row in _rows(source, reader.read(source, options), taken, refused):
                writer.add(split, row)
                rows[split] += 1
        if not rows:
            raise ValueError(f"nothing could be imported from {source}: {_because(refused)}")
        _write_refused(destination if append else None, aside, refused)
        manifest = store.write_manifest(aside)
    total: Counter[str] = Counter()
    for shard in manifest.shards:
        total[shard.split] += shard.rows
    return ImportReport(
        {split: rows[split] for split in store.SPLITS},
        dict(Counter(one.problem for one in refused)),
        {split: total[split] for split in store.SPLITS},
    )


def _check_destination(destination: Path, replace: bool, append: bool) -> None:
    if replace and append:
        raise ValueError("--replace and --append exclude each other")
    if replace or not destination.exists() or not any(destination.iterdir()):
        return
    if not append:
        raise ValueError(f"{destination} holds data already; --replace puts the new ones in their place, --append adds")
    store.verify(destination)


def _rows(
    source: Path, samples: Iterator[Sample | Refused], taken: set[str], refused: list[Refused]
) -> Iterator[tuple[str, store.Row]]:
    """Split and row of every sample that can be stored; the others are added to `refused`."""
    for sample in samples:
        if isinstance(sample, Refused):
            refused.append(sample)
            continue
        values = {"source": source.resolve().name, **sample}
        split = values.pop("split")
        if values["id"] in taken:
            refused.append(Refused(values["id"], "duplicate_id", "an earlier row has the same id", split))
            continue
        try:
            row = store.row(**{name: content(value) for name, value in values.items()})
        except OSError as error:
            refused.append(Refused(values["id"], "missing_file", f"it cannot be read: {error.strerror}", split))
            continue
        taken.add(row["id"])
        yield split or store.split_of(row["group"]), row


def _bring(destination: Path, aside: Path) -> set[str]:
    """Put the shards that are there into the new folder; returns their ids. Shards never change, so a link will do."""
    ids: set[str] = set()
    for shard in store.shards(destination):
        new = aside / shard.path
        new.parent.mkdir(exist_ok=True)
        old = (destination / shard.path).resolve()
        if old.stat().st_dev == aside.stat().st_dev:
            os.link(old, new)
        else:
            shutil.copyfile(old, new)
        ids.update(row["id"] for row in store.read_rows(new, ["id"]))
    return ids


def _write_refused(before: Path | None, aside: Path, refused: list[Refused]) -> None:
    rows = [
        {"id": one.id, "problems": [one.problem], "detail": one.detail, "split": one.split} for one in refused
    ]  # fmt: skip
    if before is not None and (before / REFUSED).is_file():
        rows = store.as_rows(store.read_table(before / REFUSED)) + rows
    if rows:
        pq.write_table(columns.table(rows, REFUSED_SCHEMA), aside / REFUSED, compression="zstd")


def _because(refused: list[Refused]) -> str:
    if not refused:
        return "it holds no rows"
    first = refused[0]
    return f"all of its {len(refused)} rows were refused ({codes(refused)}); the first, {first.id}: {first.detail}"


def codes(refused: list[Refused]) -> str:
    """The problems of refused rows with their numbers, the most frequent first."""
    counts = Counter(one.problem for one in refused)
    return ", ".join(f"{count} {code}" for code, count in counts.most_common())
