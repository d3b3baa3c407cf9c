"""DigitWorld: a small generated world in four modalities, the same bytes at every generation.

Scenes (a picture of two objects, five captions, one of them spoken, questions and answers), clips (one object, two
events, a summary, a noisy transcript), sentiment (a face and a text that agree or contradict), and some rows that are
broken on purpose. Ten of the fourteen kinds of object are scikit-learn's handwritten digits; no handwriting sample is
used in two splits. Every row depends on its own seed only, so it is the same however many are generated.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmcore.data import digitworld_clips, digitworld_faults, digitworld_scenes, digitworld_sentiment
from mmcore.data.digitworld_objects import seeded
from mmcore.data.parallel import map_processes
from mmcore.data.store import ROWS_PER_SHARD, SPLITS, Row, row, shard_path, write_manifest, write_shard
from mmcore.workspace import Progress

SOURCE = "digitworld"


@dataclass(frozen=True)
class Sizes:
    """How many rows of each content, for train, validation and test."""

    scenes: tuple[int, int, int] = (4000, 250, 500)
    clips: tuple[int, int, int] = (1000, 100, 300)
    sentiments: tuple[int, int, int] = (500, 100, 200)
    faults: tuple[int, int, int] = (100, 20, 0)


def generate(
    root: Path,
    *,
    scenes: tuple[int, int, int] = Sizes.scenes,
    clips: tuple[int, int, int] = Sizes.clips,
    sentiments: tuple[int, int, int] = Sizes.sentiments,
    faults: tuple[int, int, int] = Sizes.faults,
    processes: int | None = 2,
) -> None:
    """Fill the empty folder `root` with the whole store, manifest included.

    The numbers are rows for train, validation and test; `faults` come in addition to the clean rows. How many
    `processes` work makes no difference to a byte.
    """
    sizes = Sizes(scenes, clips, sentiments, faults)
    work = [(root, split, number, specs) for split in SPLITS for number, specs in enumerate(_shards(split, sizes))]
    progress = Progress("generate", total=len(work), unit="shards")
    for _ in map_processes(_write, work, processes=processes):
        progress.advance()
    write_manifest(root)


def rows(split: str, sizes: Sizes = Sizes()) -> Iterator[Row]:
    """Every row of one split, in the order in which the store holds them."""
    for specs in _shards(split, sizes):
        for spec in specs:
            yield make(*spec)


def make(content: str, split: str, index: int) -> Row:
    """Row `index` of one content (`scene`, `clip`, `sentiment`, `fault`) of one split."""
    rng = seeded(content, split, index)
    values = _CONTENTS[content](rng, split, index)
    name = identity(content, split, index)
    return row(id=name, group=name, source=SOURCE, **values)


def identity(content: str, split: str, index: int) -> str:
    """The id of a row: it tells nothing about the row."""
    return hashlib.sha256(f"digitworld/{content}/{split}/{index}".encode()).hexdigest()[:14]


_CONTENTS = {
    "scene": digitworld_scenes.scene_row,
    "clip": digitworld_clips.clip_row,
    "sentiment": digitworld_sentiment.sentiment_row,
    "fault": digitworld_faults.fault_row,
}

Spec = tuple[str, str, int]


def _shards(split: str, sizes: Sizes) -> list[list[Spec]]:
    """What each shard of a split holds. Contents are mixed, so that the first rows of a split show all of them."""
    place = SPLITS.index(split)
    counts = {
        "scene": sizes.scenes, "clip": sizes.clips, "sentiment": sizes.sentiments, "fault": sizes.faults
    }  # fmt: skip
    specs = [(content, split, index) for content, count in counts.items() for index in range(count[place])]
    specs.sort(key=lambda spec: identity(*spec))
    return [specs[start : start + ROWS_PER_SHARD] for start in range(0, len(specs), ROWS_PER_SHARD)]


def _write(work: tuple[Path, str, int, list[Spec]]) -> None:
    root, split, number, specs = work
    write_shard(shard_path(root, split, number), (make(*spec) for spec in specs))
