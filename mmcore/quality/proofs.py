"""What came of comparing two files: kept between runs, so that only pairs with a new file are compared again."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmcore.quality.neighbours import Pairs
from mmcore.workspace import write_bytes

_HASH_BYTES = 16
_SCHEMA = pa.schema([("pair", pa.binary(2 * _HASH_BYTES)), ("same", pa.bool_())])
# A file of proofs stays below 70 MB; pairs beyond these are compared every time.
MOST_KEPT = 2_000_000

_Bools = NDArray[np.bool_]


def proven(
    pairs: Pairs, names: pa.Array, compare: Callable[[Pairs], _Bools], *, file: Path | None, code: str
) -> _Bools:
    """Which of `pairs` [P, 2], places in `names` (SHA-256 in hexadecimal), `compare` says are the same, [P].

    It is asked about the pairs that `file` does not know; afterwards `file` knows those of this call. What another
    `code` wrote, or what is damaged, counts for nothing.
    """
    keys = _keys(pairs, names)
    known = _read(file, code)
    places = pc.index_in(keys, value_set=known["pair"].combine_chunks())
    old = places.is_valid().to_numpy(zero_copy_only=False)
    same = np.zeros(len(pairs), bool)
    same[old] = known["same"].take(places.drop_null()).to_numpy(zero_copy_only=False)
    if not old.all():
        same[~old] = compare(pairs[~old])
        if file is not None:
            _write(file, code, pa.table([keys, pa.array(same)], schema=_SCHEMA)[:MOST_KEPT])
    return same


def _keys(pairs: Pairs, names: pa.Array) -> pa.Array:
    """Both names of each pair, in its order: laying one picture over another is not the same the other way round."""
    files, places = np.unique(pairs, return_inverse=True)
    halves = [bytes.fromhex(name)[:_HASH_BYTES] for name in names.take(pa.array(files)).to_pylist()]
    joined = np.frombuffer(b"".join(halves), np.uint8).reshape(-1, _HASH_BYTES)[places.reshape(pairs.shape)]
    return pa.Array.from_buffers(_SCHEMA.field("pair").type, len(pairs), [None, pa.py_buffer(joined.tobytes())])


def _read(file: Path | None, code: str) -> pa.Table:
    if file is not None and file.is_file():
        try:
            table = pq.read_table(file, page_checksum_verification=True)
        except (OSError, pa.ArrowInvalid):
            return _SCHEMA.empty_table()
        if table.schema.metadata == {b"code": code.encode()} and table.schema.equals(_SCHEMA):
            return table
    return _SCHEMA.empty_table()


def _write(file: Path, code: str, table: pa.Table) -> None:
    content = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({"code": code}), content, write_page_checksum=True)
    write_bytes(file, content.getvalue())
