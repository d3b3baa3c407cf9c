"""What an import would bring, looked at without changing anything: `mmcore data import --dry-run`."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mmcore.data import store
from mmcore.data.importers import IMPORTERS, ImportOptions, Refused, Sample
from mmcore.data.importers._languages import language_of_text
from mmcore.data.importing import codes
from mmcore.data.modalities import media
from mmcore.data.schema import schema
from mmcore.data.survey_examples import Example, example

# What the tasks that come with mmcore need; `tasks` lies above this package, so it is said here once more.
TASK_COLUMNS: dict[str, tuple[str, ...]] = {
    "retrieval": ("image", "captions"),
    "captioning": ("image", "captions"),
    "summarisation": ("video", "summary"),
    "questions": ("image", "qa"),
    "sentiment": ("image", "transcript", "labels"),
}
EXAMPLES_PER_SPLIT = 4
REFUSED_SHOWN = 12
# Below this, one sample more or less moves a score visibly.
FEW_ROWS = 50
# Distinct captions and groups that are remembered while reading.
_REMEMBERED = 200_000


@dataclass(frozen=True)
class SourceSummary:
    """What an import would bring.

    `fields`: field -> column; `rows`: by split; `columns`: how many rows have each; `languages`: captions by language
    (empty: none stated, none told by the script); `refused`: by problem; `tasks`: what is missing for each task, empty
    where nothing is; `doubts`: sentences about what a person should look at first.
    """

    source: str
    format: str
    fields: dict[str, str]
    rows: dict[str, int]
    columns: dict[str, int]
    languages: dict[str, int]
    refused: dict[str, int]
    refused_rows: list[Refused]
    tasks: dict[str, str]
    examples: list[Example]
    doubts: list[str]


def describe_source(source: Path, format: str, options: ImportOptions) -> SourceSummary:
    """Read all of `source` but its media, of which the first few of each split are shown; nothing is written."""
    reader = IMPORTERS[format]()
    seen = _Seen()
    for sample in reader.read(source, options):
        seen.add(sample)
    return SourceSummary(
        source=source.resolve().name,
        format=format,
        fields=reader.fields(source, options),
        rows={split: seen.rows[split] for split in store.SPLITS},
        columns={name: seen.columns[name] for name in schema().names if seen.columns[name]},
        languages=dict(seen.languages.most_common()),
        refused=dict(Counter(one.problem for one in seen.refused).most_common()),
        refused_rows=seen.refused[:REFUSED_SHOWN],
        tasks={task: seen.missing(columns) for task, columns in TASK_COLUMNS.items()},
        examples=sorted(seen.examples, key=lambda one: store.SPLITS.index(one.split)),
        doubts=[*seen.doubts(options), *reader.doubts(source)],
    )


class _Seen:
    """What has been seen of a source so far."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.columns: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self.refused: list[Refused] = []
        self.examples: list[Example] = []
        self._together: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self._captions: Counter[str] = Counter()
        self._texts: Counter[str] = Counter()
        self._splits_of: dict[str, str] = {}
        self._torn: set[str] = set()
        self._divided = self._empty = 0

    def add(self, sample: Sample | Refused) -> None:
        if isinstance(sample, Refused):
            self.refused.append(sample)
            return
        group = sample.get("group") or sample["id"]
        split = sample["split"] or store.split_of(group)
        self._divided += sample["split"] is None
        self.rows[split] += 1
        have = {name for name, value in sample.items() if value and name != "split" and value != "{}"}
        self.columns.update(have)
        self._empty += not have & {*media(), "captions", "transcript", "summary", "speech_text", "qa"}
        self._together.update((split, columns) for columns in set(TASK_COLUMNS.values()) if have >= set(columns))
        self._add_captions(sample)
        if len(self._splits_of) < _REMEMBERED and self._splits_of.setdefault(group, split) != split:
            self._torn.add(group)
        if sum(one.split == split for one in self.examples) < EXAMPLES_PER_SPLIT:
            self.examples.append(example(sample, split))

    def _add_captions(self, sample: Sample) -> None:
        texts = [caption["text"] for caption in sample["captions"]]
        stated = [caption["lang"] for caption in sample["captions"]]
        self._captions.update(
            rows=bool(texts),
            all=len(texts),
            blank=sum(not text.strip() for text in texts),
            stated=sum(map(bool, stated)),
        )
        self.languages.update(
            lang or language_of_text(text) or "" for text, lang in zip(texts, stated, strict=True) if text.strip()
        )
        self._texts.update(text for text in texts if text.strip() and len(self._texts) < _REMEMBERED)

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
        broken = [one for one in self.examples if one.problems]
        if broken:
            what = f"{len(broken)} of the {len(self.examples)} rows shown hold media that cannot be read"
            found.append(f"{what}; {broken[0].id}: {broken[0].problems[0]}")
        if self._divided:
            found.append(f"{self._divided} rows are of no stated split; they are divided 80/10/10 by their group")
        if self._torn:
            found.append(
                f"{len(self._torn)} groups are in more than one split, so a model is tested on what it has seen; "
                f"one is '{min(self._torn)}'"
            )
        if self._empty:
            found.append(f"{self._empty} rows have neither media nor text")
        for split in store.SPLITS:
            if self.rows and not self.rows[split]:
                found.append(f"no row is of the split {split}")
            elif self.rows[split] < FEW_ROWS and split != "train" and self.rows:
                found.append(f"the split {split} has {self.rows[split]} rows; scores on so few vary by chance")
        return [*found, *self._caption_doubts(options)]

    def _caption_doubts(self, options: ImportOptions) -> list[str]:
        found = []
        captions = self._captions
        if captions["blank"]:
            found.append(f"{captions['blank']} captions are blank; validation will reject their rows")
        if captions["rows"] and captions["all"] == captions["rows"]:
            found.append("there is one caption a row: scores against a single reference are lower than against five")
        if self._texts:
            text, count = self._texts.most_common(1)[0]
            if count >= 3 and count > captions["all"] / 5:
                found.append(f"{count} of {captions['all']} captions are the same: '{text[:60]}'")
        if self.languages["zh"] > captions["all"] / 2 and not captions["stated"]:
            found.append(
                "most captions are Chinese; a small vocabulary splits their characters: see presets/photos-zh.yaml"
            )
        return found
