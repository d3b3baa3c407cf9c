"""Preparation: every accepted sample decoded once, into arrays that training maps into memory; the tokenizer.

A part of the output belongs to a shard of the data, so parts are made side by side and never depend on each other.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmcore.data.modalities import MODALITIES, UNLIMITED
from mmcore.data.modalities.text import train_tokenizer
from mmcore.data.parallel import map_processes
from mmcore.data.store import MEDIA, SPLITS, Row, as_rows, read_rows, read_table, shards
from mmcore.settings import PrepareSettings
from mmcore.workspace import Progress, write_json

SCHEMA_VERSION = 1
# What training needs to know of a sample besides its arrays.
ROW_COLUMNS = (
    "id", "group", "source", "positives", "captions", "transcript", "summary", "speech_text", "qa", "labels"
)  # fmt: skip
ABSENT = -1
BLOCK = 100


@dataclass(frozen=True)
class _Part:
    """The rows `keep` of one shard, to be decoded into `folder`."""

    shard: Path
    folder: Path
    keep: tuple[int, ...]
    settings: PrepareSettings


def prepare(
    data: Path, validated: Path, output: Path, settings: PrepareSettings, *, processes: int | None = None
) -> None:
    """Fill the empty folder `output` from the rows that `validated/accepted.parquet` lists.

    Leaves `tokenizer.json`, `prepared.json`, `profile.parquet` and, for every shard that has accepted rows,
    `<split>/part-NNNNN/` (see `Corpus`). ValueError if nothing was accepted, or if an accepted row cannot be decoded.
    """
    accepted = read_table(validated / "accepted.parquet", ["id", "split", "shard", "row"])
    if accepted.num_rows == 0:
        raise ValueError(f"{validated / 'accepted.parquet'} accepts no row; see quarantine.parquet beside it")
    parts = _plan(data, output, accepted, settings)
    progress = Progress("decode", total=accepted.num_rows, unit="samples")
    counts: list[dict[str, int]] = []
    for part, count in zip(parts, map_processes(_decode_part, parts, processes=processes), strict=True):
        counts.append(count)
        progress.advance(len(part.keep))
    tokenizer = train_tokenizer(
        _training_texts(output, parts), vocabulary=settings.vocabulary, lowercase=settings.lowercase
    )
    tokenizer.save(str(output / "tokenizer.json"))
    _write_profile(validated, output, accepted)
    write_json(output / "prepared.json", _summary(output, parts, counts, settings))


def _plan(data: Path, output: Path, accepted: pa.Table, settings: PrepareSettings) -> list[_Part]:
    kept: dict[str, list[int]] = {}
    for shard, row in zip(accepted["shard"].to_pylist(), accepted["row"].to_pylist(), strict=True):
        kept.setdefault(shard, []).append(row)
    return [
        _Part(
            data / shard.path,
            output / Path(shard.path).with_suffix(""),
            tuple(sorted(kept[shard.path])),
            settings,
        )
        for shard in shards(data)
        if shard.path in kept
    ]


# One part ------------------------------------------------------------------------------------------------------------


def _decode_part(part: _Part) -> dict[str, int]:
    """Write one part; returns how many rows have each modality."""
    part.folder.mkdir(parents=True)
    texts = _runs(read_table(part.shard, ROW_COLUMNS), part.keep)
    pq.write_table(texts, part.folder / "rows.parquet", compression="zstd")
    arrays: dict[str, dict[int, NDArray[Any]]] = {name: {} for name in MEDIA}
    decoders = {name: MODALITIES[name]() for name in MEDIA}
    for place, row in enumerate(_media_rows(part)):
        for name, decoder in decoders.items():
            if row[name] is not None:
                try:
                    media = decoder.decode(row[name], UNLIMITED)
                except ValueError as error:
                    raise ValueError(f"sample {row['id']} was accepted, but {error}; run validate again") from None
                arrays[name][place] = decoder.transform(media, part.settings)
    for name, found in arrays.items():
        if found:
            _save(part.folder, name, found, len(part.keep))
    return {name: len(found) for name, found in arrays.items() if found}


def _runs(table: pa.Table, keep: tuple[int, ...]) -> pa.Table:
    """The rows `keep` (ascending) of a table. Slices, not `take`: turning a Python list into an Arrow array would
    import pandas wherever it is installed, a second in every process."""
    runs: list[list[int]] = []
    for row in keep:
        if runs and runs[-1][1] == row:
            runs[-1][1] = row + 1
        else:
            runs.append([row, row + 1])
    return pa.concat_tables([table.slice(start, stop - start) for start, stop in runs]).combine_chunks()


def _media_rows(part: _Part) -> Iterator[Row]:
    """The media of the kept rows in order, a hundred at a time, so that a shard's are never all in memory."""
    keep = np.array(part.keep)
    for start in range(0, int(keep[-1]) + 1, BLOCK):
        wanted = keep[(keep >= start) & (keep < start + BLOCK)]
        if len(wanted):
            block = read_rows(part.shard, ["id", *MEDIA], start=start, stop=start + BLOCK)
            yield from (block[place - start] for place in wanted)


def _save(folder: Path, name: str, found: dict[int, NDArray[Any]], num_rows: int) -> None:
    """`<name>.npy` holds the arrays one after another, `<name>.index.npy` where each row's is, -1 if it has none."""
    arrays = list(found.values())
    places = list(found)
    index = np.full((num_rows, 2) if name == "audio" else num_rows, ABSENT, np.int64)
    if name == "audio":
        lengths = np.array([len(array) for array in arrays])
        index[places, 0] = np.cumsum(lengths) - lengths
        index[places, 1] = lengths
        np.save(folder / "audio.npy", np.concatenate(arrays))
    else:
        index[places] = np.arange(len(arrays))
        np.save(folder / f"{name}.npy", np.stack(arrays))
    np.save(folder / f"{name}.index.npy", index)


# Over all parts -------------------------------------------------------------------------------------------------------


def _training_texts(output: Path, parts: list[_Part]) -> Iterator[str]:
    for part in parts:
        if part.folder.parent.name == "train":
            for row in as_rows(read_table(part.folder / "rows.parquet")):
                yield from row_texts(row)


def row_texts(row: Row) -> Iterable[str]:
    """Every text of a row that a model may read or write."""
    yield from (caption["text"] for caption in row["captions"])
    yield from (row[name] for name in ("summary", "transcript", "speech_text") if row[name])
    for pair in row["qa"]:
        yield pair["question"]
        yield from pair["answers"]


def _write_profile(validated: Path, output: Path, accepted: pa.Table) -> None:
    """The profile rows of the accepted samples."""
    profile = read_table(validated / "profile.parquet")
    # By place: a rejected sample may carry the id of an accepted one.
    kept = profile.filter(pc.is_in(_places(profile), value_set=_places(accepted)))
    pq.write_table(kept, output / "profile.parquet", compression="zstd")


def _places(samples: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(samples["shard"], pc.cast(samples["row"], pa.string()), "#")


def _summary(
    output: Path, parts: list[_Part], counts: list[dict[str, int]], settings: PrepareSettings
) -> dict[str, Any]:
    splits = {}
    for split in SPLITS:
        own = [part for part in parts if part.folder.parent.name == split]
        splits[split] = {
            "rows": sum(len(part.keep) for part in own),
            "parts": [part.folder.relative_to(output).as_posix() for part in own],
        }
    return {
        "schema_version": SCHEMA_VERSION,
        "modalities": {name: sum(count.get(name, 0) for count in counts) for name in MEDIA},
        "splits": splits,
        "settings": asdict(settings),
    }
