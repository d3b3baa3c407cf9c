"""A part of what is prepared: the accepted rows of one shard, a pure function of its bytes and the options.

`rows.parquet` holds the texts. Media are either decoded, `<name>.npy` with the arrays one after another and
`<name>.index.npy` with where each row's is; or left in the shard, `<name>.places.npy` with where its bytes are.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmcore.data import columns
from mmcore.data.engine import ShardWork
from mmcore.data.media_index import ABSENT, MediaReader, Places, index_shard
from mmcore.data.modalities import MODALITIES, UNLIMITED
from mmcore.data.schema import schema
from mmcore.data.store import Row, as_rows, read_table
from mmcore.settings import PrepareSettings

# What training needs to know of a sample besides its media.
ROW_COLUMNS = (
    "id", "group", "source", "positives", "captions", "transcript", "summary", "speech_text", "qa", "labels"
)  # fmt: skip
# Texts that people read and write; the others are names, compared byte by byte.
TEXTS = ("captions", "transcript", "summary", "speech_text", "qa", "labels")
ROW_SCHEMA: pa.Schema = pa.schema([schema().field(name) for name in ROW_COLUMNS])


@dataclass(frozen=True)
class PartOptions:
    """`runs`: the accepted rows, as first and last + 1 of each run. `settings`: how media become arrays, null where
    they stay in the shard."""

    runs: tuple[tuple[int, int], ...]
    settings: PrepareSettings | None


def part_options(rows: Sequence[int], settings: PrepareSettings, *, decoded: bool) -> PartOptions:
    """The options for the accepted `rows` of a shard, ascending.

    What concerns the tokenizer alone is left out of the settings: a part that they do not change need not be made
    again.
    """
    shaping = replace(settings, tokenizer=None, vocabulary=0, lowercase=False, context=0, transcript_context=0)
    return PartOptions(runs_of(rows), shaping if decoded else None)


def runs_of(rows: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Ascending rows as the first and last + 1 of each run."""
    runs: list[tuple[int, int]] = []
    for row in rows:
        if runs and runs[-1][1] == row:
            runs[-1] = (runs[-1][0], row + 1)
        else:
            runs.append((row, row + 1))
    return tuple(runs)


def prepare_part(work: ShardWork, folder: Path) -> None:
    """Fill the empty `folder` with one part; ValueError names an accepted row that cannot be decoded."""
    options: PartOptions = work.options
    keep = np.concatenate([np.arange(start, stop) for start, stop in options.runs])
    rows = as_rows(read_table(work.shard, ROW_COLUMNS))
    texts = [composed(rows[row]) for row in keep]
    pq.write_table(columns.table(texts, ROW_SCHEMA), folder / "rows.parquet", compression="zstd")
    for name, every in index_shard(work.shard).items():
        places = every[keep]
        if (places[:, 0] == ABSENT).all():
            continue
        if options.settings is None:
            np.save(folder / f"{name}.places.npy", places)
        else:
            _decode(work.shard, name, places, [row["id"] for row in texts], options.settings, folder)


def composed(row: Row) -> Row:
    """The row with its texts in Unicode's composed form (NFC): the same words are then the same characters."""
    return {name: _composed(value) if name in TEXTS else value for name, value in row.items()}


def _composed(value: Any) -> Any:
    match value:
        case str():
            return unicodedata.normalize("NFC", value)
        case list():
            return [_composed(one) for one in value]
        case dict():
            return {key: _composed(one) for key, one in value.items()}
    return value


def decode(name: str, content: bytes, identity: str, settings: PrepareSettings) -> NDArray[Any]:
    """The array that training sees of one medium's bytes; ValueError names the sample if they cannot be decoded."""
    modality = MODALITIES[name]()
    try:
        media = modality.decode(content, UNLIMITED)
    except ValueError as error:
        raise ValueError(f"sample {identity} was accepted, but {error}; run validate again") from None
    array: NDArray[Any] = modality.transform(media, settings)
    return array


def _decode(
    shard: Path, name: str, places: Places, ids: Sequence[str], settings: PrepareSettings, folder: Path
) -> None:
    """Write `<name>.npy` and `<name>.index.npy`: int64 [rows], or [rows, 2] with start and length where arrays differ
    in length; -1 for a row that has none."""
    reader = MediaReader([shard], [places])
    present = [int(row) for row in np.flatnonzero(places[:, 0] != ABSENT)]

    def arrays() -> Iterator[NDArray[Any]]:
        for row in present:
            content = reader[row]
            assert content is not None
            yield decode(name, content, ids[row], settings)

    varies = MODALITIES[name].varies
    index = np.full((len(places), 2) if varies else len(places), ABSENT, np.int64)
    if varies:
        found = list(arrays())
        lengths = np.array([len(array) for array in found])
        index[present, 0] = np.cumsum(lengths) - lengths
        index[present, 1] = lengths
        np.save(folder / f"{name}.npy", np.concatenate(found))
    else:
        index[present] = np.arange(len(present))
        _save_equal(folder / f"{name}.npy", arrays(), len(present))
    np.save(folder / f"{name}.index.npy", index)


def _save_equal(path: Path, arrays: Iterator[NDArray[Any]], count: int) -> None:
    """Write arrays of one shape as one [count, ...] without holding more than one of them."""
    first = next(arrays)
    header = {
        "descr": np.lib.format.dtype_to_descr(first.dtype),
        "fortran_order": False,
        "shape": (count, *first.shape),
    }
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for array in chain([first], arrays):
            file.write(array.tobytes())
