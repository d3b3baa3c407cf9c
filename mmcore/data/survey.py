"""What an import would bring, looked at without changing anything: `mmcore data import --dry-run`."""

import base64
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from mmcore.data import store
from mmcore.data.importers import IMPORTERS, ImportOptions, Refused, Sample, content
from mmcore.data.importing import codes
from mmcore.data.modalities import Limits, image

# What the tasks that come with mmcore need; `tasks` lies above this package, so it is said here once more.
TASK_COLUMNS: dict[str, tuple[str, ...]] = {
    "retrieval": ("image", "captions"),
    "captioning": ("image", "captions"),
    "summarisation": ("video", "summary"),
}
EXAMPLES = 6
THUMBNAIL_SIDE = 96
THUMBNAIL_LIMITS = Limits(max_pixels=50_000_000, max_seconds=60.0, max_frames=1)


@dataclass(frozen=True)
class Example:
    """A sample as a person would look at it; `thumbnail`: a PNG as a data URI, null if it has no readable picture."""

    id: str
    split: str
    thumbnail: str | None
    texts: list[str]


@dataclass(frozen=True)
class SourceSummary:
    """What an import would bring.

    `fields`: field -> column; `rows`: by split; `columns`: how many rows have each; `tasks`: what is missing for each
    task, empty where nothing is; `doubts`: sentences about what a person should look at first.
    """

    fields: dict[str, str]
    rows: dict[str, int]
    columns: dict[str, int]
    refused: dict[str, int]
    tasks: dict[str, str]
    examples: list[Example]
    doubts: list[str]


def describe_source(source: Path, format: str, options: ImportOptions) -> SourceSummary:
    """Read all of `source` but its media, of which the first few are shown; nothing is written."""
    reader = IMPORTERS[format]()
    seen = _Seen()
    for sample in reader.read(source, options):
        seen.add(sample)
    return SourceSummary(
        fields=reader.fields(source, options),
        rows={split: seen.rows[split] for split in store.SPLITS},
        columns={name: seen.columns[name] for name in store.SCHEMA.names if seen.columns[name]},
        refused=dict(Counter(one.problem for one in seen.refused)),
        tasks={task: seen.missing(columns) for task, columns in TASK_COLUMNS.items()},
        examples=seen.examples,
        doubts=[*seen.doubts(options), *reader.doubts(source)],
    )


class _Seen:
    """What has been seen of a source so far."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.columns: Counter[str] = Counter()
        self.refused: list[Refused] = []
        self.examples: list[Example] = []
        self._together: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self._captions: Counter[str] = Counter()
        self._divided = 0

    def add(self, sample: Sample | Refused) -> None:
        if isinstance(sample, Refused):
            self.refused.append(sample)
            return
        split = sample["split"] or store.split_of(sample.get("group") or sample["id"])
        self._divided += sample["split"] is None
        self.rows[split] += 1
        have = {name for name, value in sample.items() if value and name != "split" and value != "{}"}
        self.columns.update(have)
        self._together.update((split, columns) for columns in set(TASK_COLUMNS.values()) if have >= set(columns))
        texts = [caption["text"] for caption in sample["captions"]]
        self._captions.update(
            rows=bool(texts),
            all=len(texts),
            blank=sum(not text.strip() for text in texts),
            han=sum(any("\u4e00" <= letter <= "\u9fff" for letter in text) for text in texts),
        )
        if len(self.examples) < EXAMPLES:
            self.examples.append(Example(sample["id"], split, _thumbnail(sample.get("image")), texts))

    def missing(self, columns: tuple[str, ...]) -> str:
        """Why a task that needs `columns` cannot be learned from the source; empty if it can."""
        lacking = [split for split in store.SPLITS if not self._together[split, columns]]
        return f"no row of {', '.join(lacking)} has {' and '.join(columns)}" if lacking else ""

    def doubts(self, options: ImportOptions) -> list[str]:
        """Sentences about what a person should look at before importing."""
        found = []
        if self.refused:
            one = self.refused[0]
            found.append(f"{len(self.refused)} rows would be refused ({codes(self.refused)}); {one.id}: {one.detail}")
        if self._divided:
            found.append(f"{self._divided} rows are of no stated split; they are divided 80/10/10 by their group")
        for split in store.SPLITS:
            if self.rows and not self.rows[split]:
                found.append(f"no row is of the split {split}")
        captions = self._captions
        if captions["blank"]:
            found.append(f"{captions['blank']} captions are blank; validation will reject their rows")
        if captions["rows"] and captions["all"] == captions["rows"]:
            found.append("there is one caption a row: scores against a single reference are lower than against five")
        if captions["han"] > captions["all"] / 2 and not (options.lang or options.lang_field):
            found.append("most captions are Chinese; add --lang zh, and set evaluate.bleu_tokenize to zh")
        return found


def _thumbnail(medium: Any) -> str | None:
    if medium is None:
        return None
    try:
        pixels = image.square(image.Modality().decode(content(medium), THUMBNAIL_LIMITS).array, THUMBNAIL_SIDE)
    except (ValueError, OSError):
        return None
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
