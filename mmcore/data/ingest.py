"""The new rows of the place that a project's data keep coming in at: `data.source`, a folder or a bucket."""

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

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

# So many keys that a mirror passed over are named.
NAMED = 3

Stamp = tuple[int, int]


@dataclass(frozen=True)
class IngestReport:
    """What came of it. `rows`: new ones by split; `refused`: new refusals by problem code; `waiting`: rows, or the
    files that list them, that were left for the next time because they are still being written; `passed_over`: keys of
    a bucket that can be no file here."""

    source: str
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(store.SPLITS, 0))
    refused: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    passed_over: tuple[str, ...] = ()

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
        if self.passed_over:
            # Anybody may name an object: what a terminal would obey is shown as an escape.
            named = [*(ascii(key[:80]) for key in self.passed_over[:NAMED]), "..."][: len(self.passed_over)]
            parts.append(f"{len(self.passed_over):,} objects of the bucket passed over ({', '.join(named)})")
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
    options = ImportOptions.from_words(data.fields)
    source, passed_over = _place(workspace, str(data.source))
    seen, ids = _look(source, data.format, options, workspace.data)
    report = replace(seen, source=str(data.source), passed_over=passed_over)
    if not dry_run and report.changed:
        # The source is read once more. What has come since the look has not been seen to be whole: it waits.
        done = import_data(
            source, workspace.data, format=data.format, options=options, append=True, only_new=True, only=ids
        )
        return replace(report, rows=done.rows)
    return report


def _place(workspace: Workspace, source: str) -> tuple[Path, tuple[str, ...]]:
    """The folder to read, the source itself or the mirror of its bucket, and the keys that the mirror passed over."""
    if is_bucket(source):
        mirrored = mirror(source, workspace.state / "mirror")
        return mirrored.folder, mirrored.passed_over
    # A run in a workspace of its own means the project's folder, where its state lies.
    path = workspace.state.resolve().parent / Path(source).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"data.source {path} is not there; mount it, or set data.source to where the data are")
    return path, ()


# What is new ---------------------------------------------------------------------------------------------------------


def _look(source: Path, format: str, options: ImportOptions, data: Path) -> tuple[IngestReport, set[str]]:
    """What is new in the source, and the ids that are to be read: of new rows whose files are whole, and of refused
    ones. Refusals that an earlier time recorded are not new."""
    nothing = IngestReport(str(source))
    if source.is_dir() and not any(path.is_file() for path in source.rglob("*")):
        return nothing, set()
    lists = _stamps(_lists(source))
    # Asked first: a list that is half written may be one that cannot be read at all.
    if waiting := _unsettled(lists):
        return replace(nothing, waiting=len(waiting)), set()
    # Read without hashing the shards: import does that before it writes.
    known = {id for shard in store.shards(data) for id in store.column(data / shard.path, "id")}
    refused_before, placement = _refused(data), Placement(data)
    new: list[tuple[str, str, list[Path]]] = []
    ids: set[str] = set()
    refused: Counter[str] = Counter()
    stamps: dict[Path, Stamp] = {}
    for sample in IMPORTERS[format]().read(source, options):
        outcome = sample if isinstance(sample, Refused) else _place_new(sample, known, placement)
        if isinstance(outcome, Refused):
            refused[outcome.problem] += (outcome.id, outcome.problem) not in refused_before
            if outcome is not sample:  # a line that is refused as it stands may be a row that is whole by then
                ids.add(outcome.id)
        elif isinstance(sample, dict) and outcome is not None:
            files = [value for value in sample.values() if isinstance(value, Path)]
            stamps |= _stamps(files)
            new.append((sample["id"], outcome, files))
    unsettled = _unsettled(stamps | lists)
    if unsettled & lists.keys():
        return replace(nothing, waiting=len(unsettled & lists.keys())), set()
    whole = [(id, split) for id, split, files in new if unsettled.isdisjoint(files)]
    rows = Counter(split for _, split in whole)
    found = replace(
        nothing,
        rows={split: rows[split] for split in store.SPLITS},
        refused={code: count for code, count in refused.items() if count},
        waiting=len(new) - len(whole),
    )
    return found, ids | {id for id, _ in whole}


def _place_new(sample: Sample, known: set[str], placement: Placement) -> str | Refused | None:
    """The split of a sample that is new, why it is refused, or None if its id is known; which it is from now on."""
    if sample["id"] in known:
        return None
    known.add(sample["id"])
    return placement.place({"id": sample["id"], "group": sample.get("group") or sample["id"]}, sample["split"])


def _refused(data: Path) -> set[tuple[str, str]]:
    if not (data / REFUSED).is_file():
        return set()
    rows = store.as_rows(store.read_table(data / REFUSED, ["id", "problems"]))
    return {(row["id"], problem) for row in rows for problem in row["problems"]}


def _lists(source: Path) -> list[Path]:
    """The files of the source that hold or list rows."""
    if source.is_file():
        return [source]
    return [path for path in source.rglob("*") if path.suffix.lower() in LISTS and path.is_file()]


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
