"""The new rows of the place that a project's data keep coming in at: `data.source`, a folder or a bucket."""

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from mmcore.data import store
from mmcore.data.frozen import Placement
from mmcore.data.importers import IMPORTERS, ImportOptions, Refused, Sample
from mmcore.data.importing import REFUSED, import_data
from mmcore.data.mirror import is_bucket, mirror
from mmcore.settings import DataSettings, Settings
from mmcore.workspace import Workspace

# A file that was written to a moment ago is looked at twice, this long apart.
SETTLE_SECONDS = 2.0
TEMPORARY = (".tmp", ".temp", ".part", ".partial", ".crdownload", ".filepart", ".download", "~")
# Files that hold or list many rows: while one of them is written, nothing of the source is read.
LISTS = (".jsonl", ".json", ".csv", ".tsv", ".txt", ".parquet", ".arrow", ".tar", ".tgz", ".gz", ".zip")

Stamp = tuple[int, int]


@dataclass(frozen=True)
class IngestReport:
    """What came of it. `rows`: new ones by split; `refused`: new refusals by problem code; `waiting`: rows, or the
    files that list them, that were left for the next time because they are still being written."""

    source: str
    rows: dict[str, int]
    refused: dict[str, int]
    waiting: int

    @property
    def changed(self) -> bool:
        return bool(sum(self.rows.values()) or self.refused)

    def describe(self) -> str:
        """One line: `40 new rows (32 train, 4 validation, 4 test), 2 refused (2 missing_file)`."""
        total = sum(self.rows.values())
        parts = [f"{total:,} new row{'s' * (total != 1)}" if total else "nothing new"]
        if total:
            parts[0] += f" ({', '.join(f'{count:,} {split}' for split, count in self.rows.items() if count)})"
        if self.refused:
            codes = ", ".join(f"{count:,} {code}" for code, count in self.refused.items())
            parts.append(f"{sum(self.refused.values()):,} refused ({codes})")
        if self.waiting:
            parts.append(f"{self.waiting:,} still being written, left for the next time")
        return ", ".join(parts)


def is_fed(data: DataSettings) -> bool:
    """Whether the settings name a place that new rows come from."""
    return data.source not in (None, "digitworld")


def ingest(workspace: Workspace, settings: Settings, *, dry_run: bool = False) -> IngestReport:
    """Append the rows of `data.source` whose ids data/ does not have; recording data/ in data.dvc is the caller's.

    The source is listed first, its media unread: where nothing is new, nothing is written. With `dry_run` nothing is
    written in any case. A ValueError or FileNotFoundError says what to set or mount.
    """
    data = settings.data
    if not is_fed(data):
        raise ValueError("no new rows can come in: data.source names no folder and no bucket; set it: "
                         "mmcore run --set data.source=PATH --set data.format=imagefolder")  # fmt: skip
    if data.format is None:
        raise ValueError(f"data.format is not set, so {data.source} cannot be read; set it: data.format=imagefolder")
    source, options = _place(workspace, str(data.source)), ImportOptions.from_words(data.fields)
    found = _look(source, data.format, options, workspace.data)
    if not dry_run and found.changed:
        report = import_data(
            source, workspace.data, format=data.format, options=options, append=True, only_new=True,
            leave=found.unsettled,
        )  # fmt: skip
        return IngestReport(str(data.source), report.rows, found.refused, found.waiting)
    return IngestReport(str(data.source), found.rows, found.refused, found.waiting)


def _place(workspace: Workspace, source: str) -> Path:
    """The folder to read: the source itself, or the mirror of its bucket."""
    if is_bucket(source):
        return mirror(source, workspace.state / "mirror").folder
    # A run in a workspace of its own means the project's folder, where its state lies.
    path = workspace.state.resolve().parent / Path(source).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"data.source {path} is not there; mount it, or set data.source to where the data are")
    return path


# What is new ---------------------------------------------------------------------------------------------------------


@dataclass
class _Found:
    """What a look at the source shows; `unsettled`: the files that are not to be read yet."""

    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(store.SPLITS, 0))
    refused: dict[str, int] = field(default_factory=dict)
    unsettled: frozenset[Path] = frozenset()
    waiting: int = 0

    @property
    def changed(self) -> bool:
        return bool(sum(self.rows.values()) or self.refused)


def _look(source: Path, format: str, options: ImportOptions, data: Path) -> _Found:
    """Count the rows that are new. Refusals that an earlier time recorded are not."""
    lists = _stamps(_lists(source))
    if source.is_dir() and not any(path.is_file() for path in source.rglob("*")):
        return _Found()
    known, refused_before, placement = _known(data), _refused(data), Placement(data)
    new: list[tuple[str, list[Path]]] = []
    refused: Counter[str] = Counter()
    stamps: dict[Path, Stamp] = {}
    for sample in IMPORTERS[format]().read(source, options):
        outcome = sample if isinstance(sample, Refused) else _place_new(sample, known, placement)
        if isinstance(outcome, Refused):
            refused[outcome.problem] += (outcome.id, outcome.problem) not in refused_before
        elif isinstance(sample, dict) and outcome is not None:
            files = [value for value in sample.values() if isinstance(value, Path)]
            stamps |= _stamps(files)
            new.append((outcome, files))
    unsettled = _unsettled(stamps | lists)
    if unsettled & lists.keys():
        return _Found(waiting=len(unsettled & lists.keys()))
    found = _Found(unsettled=unsettled, refused={code: count for code, count in refused.items() if count})
    for split, files in new:
        if unsettled.isdisjoint(files):
            found.rows[split] += 1
        else:
            found.waiting += 1
    return found


def _place_new(sample: Sample, known: set[str], placement: Placement) -> str | Refused | None:
    """The split of a sample that is new, why it is refused, or None if its id is known; which it is from now on."""
    if sample["id"] in known:
        return None
    known.add(sample["id"])
    return placement.place({"id": sample["id"], "group": sample.get("group") or sample["id"]}, sample["split"])


def _known(data: Path) -> set[str]:
    """The ids in the store. Read without hashing the shards: import does that before it writes."""
    ids: set[str] = set()
    for shard in store.shards(data):
        with pq.ParquetFile(data / shard.path) as file:
            ids.update(file.read(columns=["id"])["id"].to_pylist())
    return ids


def _refused(data: Path) -> set[tuple[str, str]]:
    if not (data / REFUSED).is_file():
        return set()
    rows = store.as_rows(store.read_table(data / REFUSED, ["id", "problems"]))
    return {(row["id"], problem) for row in rows for problem in row["problems"]}


def _lists(source: Path) -> list[Path]:
    """The files that hold or list rows, in the source and in the folders right below it."""
    if source.is_file():
        return [source]
    found = [*source.glob("*"), *source.glob("*/*")]
    return [path for path in found if path.suffix.lower() in LISTS and path.is_file()]


def _stamps(files: list[Path]) -> dict[Path, Stamp]:
    """Size and time of the last change; -1 for a file that is gone."""
    found = {}
    for path in files:
        try:
            status = path.stat()
            found[path] = (status.st_size, status.st_mtime_ns)
        except OSError:
            found[path] = (-1, 0)
    return found


def _unsettled(stamps: dict[Path, Stamp]) -> frozenset[Path]:
    """The files that are still being written: by their name, or because they change while one looks."""
    named = {path for path in stamps if path.name.startswith((".", "~")) or path.name.lower().endswith(TEMPORARY)}
    recent = time.time_ns() - int(SETTLE_SECONDS * 1e9)
    if any(changed > recent for _, changed in stamps.values()):
        time.sleep(SETTLE_SECONDS)
    now = _stamps(list(stamps))
    return frozenset(named | {path for path, stamp in stamps.items() if now[path] != stamp or stamp[0] < 0})
