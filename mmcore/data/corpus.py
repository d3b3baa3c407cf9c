"""What training reads: the prepared samples of one split, media as mapped arrays or decoded from their shards."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmcore.data import media_index
from mmcore.data.media_index import ABSENT, MediaReader
from mmcore.data.modalities import MODALITIES, media
from mmcore.data.parts import decode
from mmcore.data.store import Row, as_rows, read_manifest, read_table
from mmcore.settings import PrepareSettings
from mmcore.workspace import read_json


class Corpus:
    """The prepared samples of one split, in the order of the store.

    `rows[i]` is a dict of everything but the media; `array("image", i)` and the like are arrays, or null where the
    sample has none: views into mapped files, or, where `prepare` left the media in the shards, decoded from the store
    `data` (null: the one beside the artifacts) at every call. Both are equal bit by bit.

    ValueError if the media are in shards and `data` holds other ones.
    """

    def __init__(self, prepared: Path, split: str, *, data: Path | None = None) -> None:
        description = read_json(prepared / "prepared.json")
        if split not in description["splits"]:
            raise LookupError(f"{prepared} has no split '{split}'; it has: {', '.join(description['splits'])}")
        self.split = split
        self.settings: dict[str, Any] = description["settings"]
        self._folders = [prepared / folder for folder in description["splits"][split]["parts"]]
        sizes: list[int] = [pq.read_metadata(folder / "rows.parquet").num_rows for folder in self._folders]
        self._length = sum(sizes)
        self._sources: dict[str, _Source]
        if "shards" in description:
            shards = _shards(prepared, data, description["splits"][split]["parts"], description["shards"])
            self._sources = {name: _InShards(name, self._folders, sizes, shards, self) for name in media()}
        else:
            self._sources = {name: _Arrays(name, self._folders, sizes) for name in media()}

    def __len__(self) -> int:
        return self._length

    @cached_property
    def rows(self) -> list[Row]:
        """Every row without its media: the columns of `rows.parquet`, `labels` as a dict."""
        return [row for folder in self._folders for row in as_rows(read_table(folder / "rows.parquet"))]

    @cached_property
    def ids(self) -> list[str]:
        return [row["id"] for row in self.rows]

    def array(self, name: str, index: int) -> NDArray[Any] | None:
        """What `transform` of that modality gives: an image uint8 [S, S, 3], a clip uint8 [F, S, S, 3], a recording
        float16 [T, mels], where T differs between samples."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return self._sources[name].read(index) if self._sources[name].present[index] else None

    def with_(self, *columns: str) -> list[int]:
        """The samples that have all of the columns: media present, texts not empty."""
        wanted = np.ones(len(self), bool)
        for column in columns:
            if column in self._sources:
                present = self._sources[column].present
            elif self.rows and column not in self.rows[0]:
                raise LookupError(
                    f"a sample has no column '{column}'; there are: {', '.join([*self._sources, *self.rows[0]])}"
                )
            else:
                present = np.array([bool(row[column]) for row in self.rows], bool)
            wanted &= present
        return [int(index) for index in np.flatnonzero(wanted)]


class _Source(Protocol):
    """One modality of all rows: who has it, and the array of a row that does."""

    present: NDArray[np.bool_]

    def read(self, row: int) -> NDArray[Any]: ...


class _Arrays:
    """Slices of `<name>.npy`, mapped when first read, a bounded number of files at once."""

    def __init__(self, name: str, folders: Sequence[Path], sizes: Sequence[int]) -> None:
        self._files = [folder / f"{name}.npy" for folder in folders]
        index = _joined(folders, sizes, f"{name}.index.npy", 2 if MODALITIES[name].varies else None)
        self._index = index
        self._parts = np.repeat(np.arange(len(folders)), sizes)
        self._mapped: dict[int, NDArray[Any]] = {}
        self.present = (index if index.ndim == 1 else index[:, 0]) >= 0

    def read(self, row: int) -> NDArray[Any]:
        part = int(self._parts[row])
        if part not in self._mapped:
            if len(self._mapped) >= media_index.mapped_at_once():
                del self._mapped[next(iter(self._mapped))]
            self._mapped[part] = np.load(self._files[part], mmap_mode="r")
        place = self._index[row]
        array: NDArray[Any] = self._mapped[part][place if place.ndim == 0 else slice(place[0], place[0] + place[1])]
        return array


class _InShards:
    """Bytes found by their place in the shards and decoded at every read."""

    def __init__(
        self, name: str, folders: Sequence[Path], sizes: Sequence[int], shards: Sequence[Path], corpus: Corpus
    ) -> None:
        places = _joined(folders, sizes, f"{name}.places.npy", 2)
        self._name, self._corpus = name, corpus
        self._settings = PrepareSettings(**corpus.settings)
        self._reader = MediaReader(shards, np.split(places, np.cumsum(sizes)[:-1]) if sizes else [])
        self.present = places[:, 0] >= 0

    def read(self, row: int) -> NDArray[Any]:
        content = self._reader[row]
        assert content is not None
        return decode(self._name, content, self._corpus.ids[row], self._settings)


def _joined(folders: Sequence[Path], sizes: Sequence[int], file: str, width: int | None) -> NDArray[np.int64]:
    """The index files of all parts one after another; a part in which nobody has the modality has none."""
    index = np.full((sum(sizes), width) if width else sum(sizes), ABSENT, np.int64)
    start = 0
    for folder, size in zip(folders, sizes, strict=True):
        if (folder / file).is_file():
            index[start : start + size] = np.load(folder / file)
        start += size
    return index


def _shards(prepared: Path, data: Path | None, parts: Sequence[str], known: dict[str, str]) -> list[Path]:
    """The shards in which the media of `parts` lie; places found in one shard mean nothing in another."""
    data = data or prepared.resolve().parents[1] / "data"
    there = {shard.path: shard.sha256 for shard in read_manifest(data).shards}
    names = [f"{part}.parquet" for part in parts]
    for name in names:
        if there.get(name) != known[name]:
            raise ValueError(f"{prepared} was made from another shard {name} than {data} holds; run prepare again")
    return [data / name for name in names]
