"""Where the bytes of every medium lie in its shard, so that one of them is read without reading a row group.

Shards hold media plain and uncompressed: in the file each value stands as it is, one behind the other. So a place is
an offset and a length, and a read is a slice of the mapped file.
"""

import mmap
import resource
import struct
from array import array
from collections.abc import Sequence
from functools import cache as once
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmcore.data.modalities import media
from mmcore.data.store import check_shard

ABSENT = -1
# More files than this no process needs open.
_MOST_OPEN = 65536

Places = NDArray[np.int64]


@once
def mapped_at_once() -> int:
    """How many files of one modality of one split may be mapped at once: an eighth of those that the process may have
    open, since training reads three modalities of two splits, and each mapped file counts as an open one.

    The limit is first raised as far as the system lets it: the 1,024 of many machines are soon too few, and mapping a
    file anew for every read takes longer than the read.
    """
    limit, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_OPEN if highest == resource.RLIM_INFINITY else min(highest, _MOST_OPEN)
    if resource.RLIM_INFINITY != limit < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, highest))
    return max(wanted // 8, 16)


def index_shard(shard: Path) -> dict[str, Places]:
    """Per modality that the shard has, int64 [rows, 2]: offset and length of each row's bytes, -1 and -1 if absent.

    Every place has been compared with what Parquet reads there. ValueError if the media are not stored plainly.
    """
    check_shard(shard)
    with (
        open(shard, "rb") as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content,
        pq.ParquetFile(shard, memory_map=True) as file,
    ):
        there = set(file.schema_arrow.names)
        found = {name: np.full((file.metadata.num_rows, 2), ABSENT, np.int64) for name in media() if name in there}
        first = 0
        for number in range(file.metadata.num_row_groups):
            for name, places in found.items():
                values = file.read_row_group(number, columns=[name]).column(0).combine_chunks()
                start, stop = _chunk(file.metadata.row_group(number), name)
                _find(content, values, start, stop, places[first : first + len(values)], shard)
            first += file.metadata.row_group(number).num_rows
    return {name: places for name, places in found.items() if (places[:, 0] != ABSENT).any()}


def _chunk(group: Any, name: str) -> tuple[int, int]:
    """Where the column chunk of one medium begins and ends in the file."""
    chunk = next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema == name)
    return chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size


def _find(content: mmap.mmap, values: pa.Array, start: int, stop: int, places: Places, shard: Path) -> None:
    """Fill `places` with where the values stand between `start` and `stop`.

    A value follows its length in four bytes, which follow the value before, or some bytes later where a page begins.
    """
    for row, value in enumerate(map(pa.BinaryScalar.as_py, values)):
        if value is None:
            continue
        length = struct.pack("<I", len(value))
        # Most values follow at once; the first bytes are enough to look for, the whole is compared.
        while (found := content.find(length + value[:64], start, stop)) >= 0:
            offset = found + len(length)
            if content[offset : offset + len(value)] == value:
                break
            start = found + 1
        else:
            raise ValueError(f"the media in {shard} are not stored as plain bytes; import the data again")
        places[row] = offset, len(value)
        start = offset + len(value)


class MediaReader:
    """The bytes of one modality of many shards, row after row.

    `shards` are the files in order, `places[i]` the int64 [rows, 2] of `index_shard` for the rows of shard i that
    count. Files are mapped when they are first read, a bounded number of them at once; each is compared with its
    manifest before (`store.check_shard`).
    """

    def __init__(self, shards: Sequence[Path], places: Sequence[Places]) -> None:
        every = np.concatenate([np.zeros((0, 2), np.int64), *places])
        owners = np.repeat(np.arange(len(places)), [len(own) for own in places])
        owners[every[:, 0] == ABSENT] = len(shards)
        ends = every.sum(axis=1)
        assert len(every) == 0 or ends.max() < 2**32, "a shard is larger than 4 GiB"
        # Shard, begin and end of row 0, of row 1 ...: small integers side by side, since what a read costs beside the
        # copy is waiting for memory. Twelve bytes a row.
        self._places = array("I", np.stack([owners, every[:, 0].clip(0), ends.clip(0)], 1).astype(np.uint32).tobytes())
        self._paths = list(shards)
        # The last stands for rows that have no bytes and stays null.
        self._mapped: list[Any] = [None] * (len(shards) + 1)
        self._open: list[int] = []

    def __len__(self) -> int:
        return len(self._places) // 3

    def __getitem__(self, row: int) -> bytes | None:
        """The encoded bytes of a row, null if it has none."""
        place, places = 3 * row, self._places
        try:  # a file that is mapped costs no question
            content: bytes = self._mapped[places[place]][places[place + 1] : places[place + 2]]
            return content
        except TypeError:
            if places[place] == len(self._paths):
                return None
        self._map(places[place])
        return self[row]

    def _map(self, shard: int) -> None:
        if len(self._open) >= mapped_at_once():
            self._mapped[self._open.pop(0)] = None
        check_shard(self._paths[shard])
        with open(self._paths[shard], "rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # Rows are read in random order: the kernel's reading ahead would fetch what nobody asked for.
        content.madvise(mmap.MADV_RANDOM)
        self._mapped[shard] = content
        self._open.append(shard)
