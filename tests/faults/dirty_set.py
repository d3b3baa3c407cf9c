"""The hostile set: sound rows of great variety and rows of over a hundred kinds of damage, with the truth about each.

It shares no code and no number with what judges it. Rows come both ways: as a folder with a list to import, and
straight into the store, as other tools or a failing disk would leave them.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mmcore.data import store
from tests.faults import dirty_bombs, dirty_containers, dirty_images, dirty_media, dirty_structure, dirty_texts
from tests.faults.dirty_clean import encoded, photo
from tests.faults.dirty_images import described
from tests.faults.dirty_kinds import Columns, Kind
from tests.faults.dirty_rows import sound_row

KINDS: dict[str, Kind] = {
    name: kind
    for module in (dirty_images, dirty_bombs, dirty_media, dirty_containers, dirty_texts)
    for name, kind in module.kinds.items()
}  # fmt: skip
# Each of these in every copy would only be slow: some are megabytes.
ONCE = ("colour_profile_in_jpeg", "exif_in_png", "caption_of_50_megabytes", "wav_of_an_hour", "sixteen_bit_png",
        "mp4_of_large_frames")  # fmt: skip
NUM_KINDS = len(KINDS) + len(dirty_structure.PAIRS) + len(dirty_structure.SPOILED) + 1


@dataclass(frozen=True)
class Truth:
    """What one row is. `names`: the ids under which a quarantine may list it; a line that cannot be read has only its
    place."""

    names: tuple[str, ...]
    kind: str
    family: str
    expected: str


@dataclass(frozen=True)
class _Row:
    id: str
    split: str
    kind: str
    family: str
    expected: str
    columns: Columns
    extension: str = ""
    after: Callable[[Columns], None] | None = None


class DirtySet:
    """`clean` sound rows and `copies` rows of every kind of damage; equal seeds give equal bytes.

    `write_source`, then `add_rows` (to a store: usually what the source was imported into); afterwards `truth` holds
    one entry per row.
    """

    def __init__(self, seed: int, *, clean: int = 1000, copies: int = 2) -> None:
        self.truth: list[Truth] = []
        self._seed, self._clean, self._copies = seed, clean, copies
        made = [*self._sound_rows(), *self._damaged_rows()]
        self._for_source = [row for row in made if _fits_source(row)]
        self._for_store = [row for row in made if not _fits_source(row)] + list(self._pairs())

    def write_source(self, folder: Path) -> None:
        """A folder of pictures in `train`, `validation` and `test`, each with its `metadata.jsonl`."""
        first, second = self._twins()
        lists: dict[str, list[bytes]] = {split: [] for split in store.SPLITS}
        for split in lists:
            (folder / split).mkdir(parents=True)
        for row in [first, *self._for_source]:
            self._write_line(folder, row, lists[row.split])
        for number, (name, spoil) in enumerate(dirty_structure.SPOILED.items()):
            for copy in range(self._copies):
                self._write_line(folder, self._row_to_spoil(name, number, copy), lists["train"], spoil)
        self._write_line(folder, second, lists["train"])
        for split, lines in lists.items():
            (folder / split / "metadata.jsonl").write_bytes(b"\n".join(lines) + b"\n")

    def add_rows(self, root: Path) -> None:
        """The rows that no folder of pictures can hold, and some that it can, as new shards of the store at `root`."""
        with store.ShardWriter(root, rows_per_shard=300) as writer:
            for row in self._for_store:
                meta = dict(row.columns.get("meta", {}))
                if row.extension:
                    meta["file_name"] = f"pictures/{row.id}{row.extension}"
                whole = store.row(**{**row.columns, "id": row.id, "meta": json.dumps(meta)})
                if row.after:
                    row.after(whole)
                writer.add(row.split, whole)
                self._tell(row, whole["id"])
        store.write_manifest(root)

    # What there is ---------------------------------------------------------------------------------------------------

    def _sound_rows(self) -> Iterator[_Row]:
        splits = ("train",) * 6 + ("validation", "test", "test")
        for number in range(self._clean):
            columns, extension = sound_row(self._chance(1, number))
            yield _Row(self._id(1, number), splits[number % 9], "clean", "clean", "ok", columns, extension)

    def _damaged_rows(self) -> Iterator[_Row]:
        for number, kind in enumerate(KINDS.values()):
            for copy in range(1 if kind.name in ONCE else self._copies):
                yield _Row(
                    self._id(2, number, copy), "validation" if copy == 1 else "train", kind.name, kind.family,
                    kind.expected, kind.make(self._chance(2, number, copy)), kind.extension,
                )  # fmt: skip

    def _row_to_spoil(self, name: str, number: int, copy: int) -> _Row:
        rng = self._chance(3, number, copy)
        columns = described(rng, encoded(photo(rng)))
        return _Row(self._id(3, number, copy), "train", name, "unusable", "reject", columns, ".png")

    def _pairs(self) -> Iterator[_Row]:
        for number, (name, (family, make)) in enumerate(dirty_structure.PAIRS.items()):
            for copy in range(self._copies):
                for place, part in enumerate(make(self._chance(4, number, copy))):
                    judged = "bystander" if part.expected == "any" else family
                    identity = self._id(4, number, copy, place)
                    yield _Row(
                        identity, part.split, name, judged, part.expected, part.columns, after=part.after
                    )  # fmt: skip

    def _twins(self) -> tuple[_Row, _Row]:
        """Two different pictures under one id; the first may stay."""
        pictures = [described(self._chance(5, place), encoded(photo(self._chance(6, place)))) for place in range(2)]
        first, second = (
            _Row(self._id(5), "train", "same_id_twice", "unusable", "reject", columns, f"-{place}.png")
            for place, columns in enumerate(pictures)
        )
        return replace(first, family="bystander", expected="any"), second

    # How it is written -----------------------------------------------------------------------------------------------

    def _write_line(
        self, folder: Path, row: _Row, lines: list[bytes], spoil: dirty_structure.Spoil | None = None
    ) -> None:
        name = f"{row.id}{row.extension}"
        (folder / row.split / name).write_bytes(row.columns["image"])
        texts = {column: row.columns[column] for column in ("captions", "labels") if row.columns.get(column)}
        line = {"file_name": name, "id": row.id, **texts, **row.columns.get("meta", {})}
        given = spoil(folder / row.split, line) if spoil else None
        lines.append(given or json.dumps(line, ensure_ascii=False).encode())
        places = [f"{row.split}/{path}" for path in (name, line.get("file_name"), f"metadata.jsonl:{len(lines)}")]
        self._tell(row, row.id, *places)

    def _tell(self, row: _Row, *names: str) -> None:
        self.truth.append(Truth(names, row.kind, row.family, row.expected))

    def _chance(self, *numbers: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, *numbers])

    def _id(self, *numbers: int) -> str:
        """A name that says nothing of what the row is."""
        return f"row-{self._chance(77, *numbers).integers(1 << 48):012x}"


def _fits_source(row: _Row) -> bool:
    """Half of the rows that are a picture with texts, and nothing else."""
    plain = "image" in row.columns and set(row.columns) <= {"image", "captions", "labels", "meta"}
    return plain and int(row.id[-1], 16) % 2 == 0
