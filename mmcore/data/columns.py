"""Python values as Arrow columns, straight into their buffers, and back.

`pyarrow.array` and `Table.from_pylist` would do, but import pandas wherever it is installed: seconds in every process.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def table(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table. Types: string, binary, and lists, structs and maps of them; only strings and binaries may be
    null."""
    return pa.Table.from_arrays(
        [column([row[field.name] for row in rows], field.type) for field in schema], schema=schema
    )


def column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """One Arrow array of type `kind`."""
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        encoded = [b"" if value is None else value.encode() if isinstance(value, str) else value for value in values]
        present = np.array([value is not None for value in values], bool)
        validity = None if present.all() else pa.py_buffer(np.packbits(present, bitorder="little"))
        return pa.Array.from_buffers(kind, len(values), [validity, _offsets(encoded), pa.py_buffer(b"".join(encoded))])
    if pa.types.is_struct(kind):
        children = [column([value[field.name] for value in values], field.type) for field in kind]
        return pa.Array.from_buffers(kind, len(values), [None], children=children)
    if pa.types.is_map(kind):
        entry = pa.struct([kind.key_field, kind.item_field])
        key, item = kind.key_field.name, kind.item_field.name
        values = [[{key: name, item: one} for name, one in value.items()] for value in values]
    else:
        assert pa.types.is_list(kind), kind
        entry = kind.value_type
    children = [column([one for value in values for one in value], entry)]
    return pa.Array.from_buffers(kind, len(values), [None, _offsets(values)], children=children)


def values(column: pa.ChunkedArray) -> list[Any]:
    """The Python values of a column, maps as dicts: those without any in one step, maps and lists of structs by their
    fields, in a third of the time of `to_pylist`. A key that is twice in a map is a KeyError."""
    if column.null_count == len(column):
        return [None] * len(column)
    kind = column.type
    by_fields = pa.types.is_map(kind) or (pa.types.is_list(kind) and pa.types.is_struct(kind.value_type))
    if not by_fields or column.null_count:
        return list(column.to_pylist(maps_as_pydicts="strict"))
    content = column.combine_chunks()
    # Not by numpy: `to_numpy` would import pandas.
    offsets = content.offsets.to_pylist()
    bounds = [place - offsets[0] for place in offsets]
    if pa.types.is_map(kind):
        keys, items = (one.slice(offsets[0], bounds[-1]).to_pylist() for one in (content.keys, content.items))
        return [_mapping(keys[start:end], items[start:end]) if start < end else {} for start, end in pairwise(bounds)]
    flat = content.flatten()
    if flat.null_count:
        return list(column.to_pylist(maps_as_pydicts="strict"))
    names = [field.name for field in flat.type]
    fields = [flat.field(place).to_pylist() for place in range(flat.type.num_fields)]
    structs = [dict(zip(names, own, strict=True)) for own in zip(*fields, strict=True)]
    return [structs[start:end] for start, end in pairwise(bounds)]


def _mapping(keys: list[Any], items: list[Any]) -> dict[Any, Any]:
    made = dict(zip(keys, items, strict=True))
    if len(made) < len(keys):
        raise KeyError(f"a key is twice in the map of {', '.join(map(repr, keys))}")
    return made


def _offsets(values: Sequence[Any]) -> pa.Buffer:
    offsets: NDArray[np.int64] = np.cumsum([0, *(len(value) for value in values)])
    assert offsets[-1] < 2**31, "a column holds more than 2 GiB"
    return pa.py_buffer(offsets.astype(np.int32))
