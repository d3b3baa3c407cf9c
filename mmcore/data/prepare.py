"""Preparation: what training reads of every accepted sample, and the tokenizer.

A part of the output belongs to a shard of the data. Parts are made side by side, kept in a cache and linked into the
output, so new rows cost only the work on their own shards.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmcore.data import tokenizer
from mmcore.data.engine import ShardWork, link_files, map_shards
from mmcore.data.modalities import MODALITIES, media
from mmcore.data.parts import part_options, prepare_part
from mmcore.data.store import SPLITS, Shard, read_table, shards
from mmcore.settings import PrepareSettings
from mmcore.workspace import Progress, write_json

SCHEMA_VERSION = 1
# The columns of texts that a model may read or write.
READ_OR_WRITTEN = ("captions", "summary", "transcript", "speech_text", "qa")


@dataclass(frozen=True)
class _Part:
    """The accepted rows of one shard, ascending, and the folder for them."""

    shard: Shard
    folder: Path
    keep: tuple[int, ...]


def prepare(
    data: Path,
    validated: Path,
    output: Path,
    settings: PrepareSettings,
    *,
    max_decoded_bytes: int | None = None,
    cache: Path | None = None,
    engine: str = "local",
    processes: int | None = None,
) -> None:
    """Fill the empty folder `output` from the rows that `validated/accepted.parquet` lists.

    Leaves `tokenizer.json`, `prepared.json`, `profile.parquet` and, for every shard that has accepted rows,
    `<split>/part-NNNNN/` (see `Corpus`). Media are decoded into arrays if these take at most `max_decoded_bytes`
    (null: whatever they take); else they stay in the shards and training decodes what it draws. Texts are in
    composed form (NFC). Parts are kept in `cache` and made by `engine` (see `map_shards`).

    ValueError if nothing was accepted, or if an accepted row cannot be decoded.
    """
    accepted = read_table(validated / "accepted.parquet", ["id", "split", "shard", "row"])
    if accepted.num_rows == 0:
        raise ValueError(f"{validated / 'accepted.parquet'} accepts no row; see quarantine.parquet beside it")
    profile = _profile_of(accepted, validated)
    decoded = max_decoded_bytes is None or decoded_bytes(profile, settings) <= max_decoded_bytes
    parts = _plan(data, output, accepted)
    work = [
        ShardWork(data / part.shard.path, part.shard.sha256, part_options(part.keep, settings, decoded=decoded))
        for part in parts
    ]
    progress = Progress("prepare", total=accepted.num_rows, unit="samples")
    finished = map_shards(prepare_part, work, cache=cache, engine=engine, processes=processes)
    for part, entry in zip(parts, finished, strict=True):
        link_files(entry, part.folder)
        progress.advance(len(part.keep))
    if settings.tokenizer is None:
        made = tokenizer.train(_training_texts(parts), vocabulary=settings.vocabulary, lowercase=settings.lowercase)
    else:
        made = tokenizer.adopt(settings.tokenizer)
    made.save(str(output / "tokenizer.json"))
    pq.write_table(profile, output / "profile.parquet", compression="zstd")
    write_json(output / "prepared.json", _summary(output, parts, settings, decoded))


def decoded_bytes(profile: pa.Table, settings: PrepareSettings) -> int:
    """What the arrays of the samples in `profile` take at most: each counts as the largest of its modality."""
    return sum(
        MODALITIES[name]().largest(settings).nbytes * (pc.sum(profile[f"has_{name}"]).as_py() or 0) for name in media()
    )


def _plan(data: Path, output: Path, accepted: pa.Table) -> list[_Part]:
    kept: dict[str, list[int]] = {}
    for shard, row in zip(accepted["shard"].to_pylist(), accepted["row"].to_pylist(), strict=True):
        kept.setdefault(shard, []).append(row)
    return [
        _Part(shard, output / Path(shard.path).with_suffix(""), tuple(sorted(kept[shard.path])))
        for shard in shards(data)
        if shard.path in kept
    ]


def _training_texts(parts: list[_Part]) -> Iterator[str]:
    for part in parts:
        if part.shard.split == "train":
            yield from table_texts(read_table(part.folder / "rows.parquet", READ_OR_WRITTEN))


def table_texts(table: pa.Table) -> Iterator[str]:
    """What `store.row_texts` gives for every row, column by column: ten times faster than by way of dicts."""
    for chunk in (chunk for name in READ_OR_WRITTEN for chunk in table[name].chunks):
        yield from _strings(chunk)


def _strings(values: pa.Array) -> Iterator[str]:
    if pa.types.is_list(values.type):
        yield from _strings(values.flatten())
    elif pa.types.is_struct(values.type):
        for field in values.type:
            if field.name != "lang":
                yield from _strings(values.field(field.name))
    else:
        yield from filter(None, values.to_pylist())


def _profile_of(accepted: pa.Table, validated: Path) -> pa.Table:
    """The profile rows of the accepted samples."""
    profile = read_table(validated / "profile.parquet")
    # By place: a rejected sample may carry the id of an accepted one.
    return profile.filter(pc.is_in(_places(profile), value_set=_places(accepted)))


def _places(samples: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(samples["shard"], pc.cast(samples["row"], pa.string()), "#")


def _summary(output: Path, parts: list[_Part], settings: PrepareSettings, decoded: bool) -> dict[str, Any]:
    """What the output holds. `shards`, by path their SHA-256, is there where the media stay in them."""
    splits = {}
    for split in SPLITS:
        own = [part for part in parts if part.shard.split == split]
        splits[split] = {
            "rows": sum(len(part.keep) for part in own),
            "parts": [part.folder.relative_to(output).as_posix() for part in own],
        }
    kind = "index" if decoded else "places"
    return {
        "schema_version": SCHEMA_VERSION,
        "modalities": {name: sum(_count(part.folder / f"{name}.{kind}.npy") for part in parts) for name in media()},
        "splits": splits,
        **({} if decoded else {"shards": {part.shard.path: part.shard.sha256 for part in parts}}),
        "settings": asdict(settings),
    }


def _count(index: Path) -> int:
    """How many rows of a part have a modality; one that nobody has has no index."""
    if not index.is_file():
        return 0
    values = np.load(index)
    return int(((values if values.ndim == 1 else values[:, 0]) >= 0).sum())
