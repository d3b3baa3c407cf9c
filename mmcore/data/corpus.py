"""What training reads: the prepared samples of one split, media as memory-mapped arrays."""

from bisect import bisect_right
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmcore.data.store import MEDIA, Row, as_rows, read_table
from mmcore.workspace import read_json


class Corpus:
    """The prepared samples of one split, in the order of the store.

    `rows[i]` is a dict of everything but the media; `image(i)`, `video(i)` and `audio(i)` are views into mapped
    files, or null where the sample has none.
    """

    def __init__(self, prepared: Path, split: str) -> None:
        description = read_json(prepared / "prepared.json")
        if split not in description["splits"]:
            raise LookupError(f"{prepared} has no split '{split}'; it has: {', '.join(description['splits'])}")
        self.split = split
        self.settings: dict[str, Any] = description["settings"]
        self._parts = [_Part(prepared / folder) for folder in description["splits"][split]["parts"]]
        self._starts = [0]
        for part in self._parts:
            self._starts.append(self._starts[-1] + part.num_rows)

    def __len__(self) -> int:
        return self._starts[-1]

    @cached_property
    def rows(self) -> list[Row]:
        """Every row without its media: the columns of `rows.parquet`, `labels` as a dict."""
        return [row for part in self._parts for row in part.read()]

    @cached_property
    def ids(self) -> list[str]:
        return [row["id"] for row in self.rows]

    def image(self, index: int) -> NDArray[np.uint8] | None:
        """uint8 [S, S, 3]."""
        return self._media("image", index)

    def video(self, index: int) -> NDArray[np.uint8] | None:
        """uint8 [F, S, S, 3]."""
        return self._media("video", index)

    def audio(self, index: int) -> NDArray[np.float16] | None:
        """float16 [T, mels]; T differs between samples."""
        return self._media("audio", index)

    def with_(self, *columns: str) -> list[int]:
        """The samples that have all of the columns: media present, texts not empty."""
        wanted = np.ones(len(self), bool)
        for column in columns:
            if column in MEDIA:
                present = np.concatenate([part.present(column) for part in self._parts] or [np.zeros(0, bool)])
            elif self.rows and column not in self.rows[0]:
                raise LookupError(f"a sample has no column '{column}'; there are: {', '.join([*MEDIA, *self.rows[0]])}")
            else:
                present = np.array([bool(row[column]) for row in self.rows], bool)
            wanted &= present
        return [int(index) for index in np.flatnonzero(wanted)]

    def _media(self, name: str, index: int) -> NDArray[Any] | None:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        place = bisect_right(self._starts, index) - 1
        return self._parts[place].media(name, index - self._starts[place])


class _Part:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.num_rows = pq.read_metadata(folder / "rows.parquet").num_rows
        # A part in which nobody has a modality has no files for it.
        names = [name for name in MEDIA if (folder / f"{name}.npy").is_file()]
        self._arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}
        self._index = {name: np.load(folder / f"{name}.index.npy", mmap_mode="r") for name in names}

    def read(self) -> list[Row]:
        return as_rows(read_table(self._folder / "rows.parquet"))

    def present(self, name: str) -> NDArray[np.bool_]:
        if name not in self._index:
            return np.zeros(self.num_rows, bool)
        index = self._index[name]
        return np.asarray((index if index.ndim == 1 else index[:, 0]) >= 0)

    def media(self, name: str, row: int) -> NDArray[Any] | None:
        if name not in self._index:
            return None
        place = self._index[name][row]
        if name == "audio":
            return None if place[0] < 0 else self._arrays[name][place[0] : place[0] + place[1]]
        return None if place < 0 else self._arrays[name][place]
