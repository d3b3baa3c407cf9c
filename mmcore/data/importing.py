"""Bringing a data set into the store: the rows that a source becomes, and those that are refused."""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import mmcore
from mmcore.data import columns, frozen, store
from mmcore.data._aside import Aside
from mmcore.data.importers import IMPORTERS, Counted, ImportOptions, Reader, Refused, Sample, content
from mmcore.data.importers._languages import language_of_text
from mmcore.workspace import Progress, hash_file, recover_folder

REFUSED = "refused.parquet"
REFUSED_SCHEMA: pa.Schema = pa.schema(
    [
        ("id", pa.string()),
        ("problems", pa.list_(pa.string())),
        ("detail", pa.string()),
        ("split", pa.string()),
        ("source", pa.string()),
        ("origin", pa.string()),
    ]
)
# Refused without the id that the row itself would have.
_WITHOUT_ID = {"bad_manifest_line", "truncated_archive"}
_REPORTED = 100


@dataclass(frozen=True)
class ImportReport:
    """`rows`: imported now, by split; `refused`: by problem code; `total`: rows in the store afterwards, by split.

    `known`: rows passed over, since they are in the store; `resumed`: those of `rows` that an interrupted import had
    brought; `untried`: new rows that a second try of refused ones left alone; `guessed`: captions whose language was
    told from their script, by language ('' where the script does not tell it).
    """

    rows: dict[str, int]
    refused: dict[str, int]
    total: dict[str, int]
    known: int = 0
    resumed: int = 0
    untried: int = 0
    guessed: dict[str, int] = field(default_factory=dict)


def import_data(
    source: Path,
    destination: Path,
    *,
    format: str,
    options: ImportOptions,
    replace: bool = False,
    append: bool = False,
    only_new: bool = False,
    retry_failed: bool = False,
    resume: bool = False,
    only: Collection[str] | None = None,
) -> ImportReport:
    """Read `source` into the store at `destination`, which changes only when all of it has been read.

    `replace` puts the rows in the place of those there, `append` adds them; then `only_new` passes over rows whose id
    is known. `retry_failed` adds only rows that an earlier import of this source refused. `resume` goes on with an
    interrupted import after its last complete shards; the outcome is the same to the byte. `only`: the ids to be tried,
    null for all; other rows are left for another time. Refused lines go to `refused.parquet` in the store, for
    validation to put them into quarantine. Raises ValueError or LookupError with what to do, if there is nothing to
    import or if the words do not fit what is there.
    """
    append = append or retry_failed
    recover_folder(destination)
    _check_words(destination, replace=replace, append=append, only_new=only_new)
    reader = IMPORTERS[format]()
    before = _before(destination) if append and destination.exists() else None
    name, origin = source.resolve().name, _origin(source)
    intake = _Intake(name, frozen.Placement(destination) if before else None, again=only_new or retry_failed)
    intake.wanted = None if only is None else set(only)
    # A source that is read once more says anew what it holds that is refused.
    earlier = [row for row in _refused_in(destination) if before and not (intake.again and row.get("origin") == origin)]
    if retry_failed:
        intake.wanted = _wanted(destination, source)
    words = {
        "source": str(source.resolve()), "format": format, "options": options.words(), "limit": options.limit,
        "only_new": only_new, "retry_failed": retry_failed, "before": before, "version": mmcore.__version__,
    }  # fmt: skip
    aside = Aside(destination, words)
    if resume:
        intake.done = aside.resume()
    else:
        aside.begin()
    try:
        _fill(aside, destination if before else None, _counted(reader, source, options), intake)
        if not intake.rows and not (before and intake.again):
            raise ValueError(f"nothing could be imported from {source}: {_because(intake.refused)}")
        _write_refused(aside.store, earlier, intake.refused, source)
    except (ValueError, LookupError):
        aside.remove()
        raise
    except BaseException:
        if not aside.has_complete_shards():
            aside.remove()
        raise
    return _finish(aside, destination, intake)


def _check_words(destination: Path, *, replace: bool, append: bool, only_new: bool) -> None:
    if replace and append:
        raise ValueError("--replace and --append (or --retry-failed) exclude each other")
    if only_new and not append:
        raise ValueError("--only-new goes with --append")
    if not destination.exists() or not any(destination.iterdir()):
        return
    if replace and frozen.read(destination) is not None:
        raise ValueError("the test split is frozen, and --replace would put another in its place; thaw it first: "
                         "mmcore data freeze --thaw")  # fmt: skip
    if replace:
        return
    if not append:
        raise ValueError(f"{destination} holds data already; --replace puts the new ones in their place, --append adds")
    store.verify(destination)


def _origin(source: Path) -> str:
    """What tells a source from others of its name, without saying where it lies."""
    return hashlib.sha256(os.fsencode(source.resolve() if source.exists() else source)).hexdigest()[:16]


def _before(destination: Path) -> str | None:
    """What is added to, as a hash; null where there is nothing."""
    manifest = destination / store.MANIFEST
    return hash_file(manifest) if manifest.is_file() else None


def _finish(aside: Aside, destination: Path, intake: "_Intake") -> ImportReport:
    """Put the new store in its place, unless it is the one that is there; what came in, for a person."""
    if intake.rows or _refused_differ(aside.store, destination):
        manifest = store.write_manifest(aside.store)
        aside.put()
    else:
        aside.remove()
        manifest = store.read_manifest(destination)
    total: Counter[str] = Counter()
    for shard in manifest.shards:
        total[shard.split] += shard.rows
    return ImportReport(
        rows={split: intake.rows[split] for split in store.SPLITS},
        refused=dict(Counter(one.problem for one in intake.refused)),
        total={split: total[split] for split in store.SPLITS},
        known=intake.num_known,
        resumed=intake.num_resumed,
        untried=intake.num_untried,
        guessed=dict(sorted(intake.guessed.items())),
    )


# Rows ----------------------------------------------------------------------------------------------------------------


def _fill(aside: Aside, before: Path | None, samples: Iterator[Sample | Refused], intake: "_Intake") -> None:
    """Write every row that is to be imported to the new store, after those that are there."""
    if before:
        shards = store.shards(before)
        aside.bring(shards)
        for shard in shards:
            intake.known.update(row["id"] for row in store.read_rows(before / shard.path, ["id"]))
    with store.ShardWriter(aside.store) as writer:
        for split, row in intake.take(samples):
            writer.add(split, row)
            aside.note(split)
    if intake.done:
        raise ValueError(
            f"the source has changed since the import was interrupted: it no longer holds {min(intake.done)}; "
            "leave out --resume to start from the beginning"
        )


def _counted(reader: Reader, source: Path, options: ImportOptions) -> Iterator[Sample | Refused]:
    """What the reader gives, with a progress bar where it knows how much that will be."""
    total = reader.count(source, options) if isinstance(reader, Counted) else None
    progress = Progress("import", total=total, unit="rows")
    started, number = time.monotonic(), 0
    for number, sample in enumerate(reader.read(source, options), 1):
        yield sample
        if number % _REPORTED == 0:
            progress.advance(_REPORTED, {"rows/s": number / max(time.monotonic() - started, 1e-9)})
    # Several lines can make one sample: what is left of the count is none.
    progress.advance(max((number if total is None else total) - progress.done, 0))


@dataclass
class _Intake:
    """What becomes of the samples of one import of the source `name`.

    `known`: ids in the store; `done`: ids that an interrupted import has brought; `wanted`: the only ids to be tried,
    null for all; `placement`: where rows go that are added to others. `again`: the source has been read before, so
    known rows are no mistake.
    """

    name: str
    placement: frozen.Placement | None
    again: bool
    known: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)
    wanted: set[str] | None = None
    refused: list[Refused] = field(default_factory=list)
    rows: Counter[str] = field(default_factory=Counter)
    guessed: Counter[str] = field(default_factory=Counter)
    num_known: int = 0
    num_resumed: int = 0
    num_untried: int = 0
    _seen: set[str] = field(default_factory=set)

    def take(self, samples: Iterator[Sample | Refused]) -> Iterator[tuple[str, store.Row]]:
        """Split and row of every sample that is to be written; the others are counted or refused."""
        for sample in samples:
            if isinstance(sample, Refused):
                self.refused.append(sample)
                continue
            if not self._is_new(sample["id"], sample["split"]):
                continue
            split = self._split(sample)
            if isinstance(split, Refused):
                self.refused.append(split)
                continue
            guessed = _guess_languages(sample.get("captions") or [])
            if sample["id"] in self.done:
                self.done.remove(sample["id"])
                self.num_resumed += 1
                self._count(split, sample["id"], guessed)
            elif row := self._row(sample):
                self._count(split, sample["id"], guessed)
                yield split, row

    def _is_new(self, id: str, split: str | None) -> bool:
        if id in self._seen or (id in self.known and not self.again):
            self.refused.append(Refused(id, "duplicate_id", "an earlier row has the same id", split))
            return False
        if id in self.known:
            # One set or the other holds an id, so that memory does not grow twice with the rows.
            self.known.remove(id)
            self._seen.add(id)
            self.num_known += 1
            return False
        if self.wanted is not None and id not in self.wanted:
            self.num_untried += 1
            return False
        return True

    def _count(self, split: str, id: str, guessed: list[str]) -> None:
        self._seen.add(id)
        self.rows[split] += 1
        self.guessed.update(guessed)

    def _split(self, sample: Sample) -> str | Refused:
        group = sample.get("group") or sample["id"]
        if self.placement is None:
            return sample["split"] or store.split_of(group)
        return self.placement.place({"id": sample["id"], "group": group}, sample["split"])

    def _row(self, sample: Sample) -> store.Row | None:
        """The row of a sample, its media read; null if they cannot be read."""
        try:
            values = {name: content(value) for name, value in sample.items() if name != "split"}
            return store.row(**{"source": self.name, **values})
        except OSError as error:
            detail = f"it cannot be read: {error.strerror}"
            self.refused.append(Refused(sample["id"], "missing_file", detail, sample["split"]))
            return None


def _guess_languages(captions: list[dict[str, Any]]) -> list[str]:
    """Give captions of no stated language that of their script; the languages given, '' where there is none."""
    guessed = []
    for caption in captions:
        if caption["lang"] is None:
            caption["lang"] = language_of_text(caption["text"])
            guessed.append(caption["lang"] or "")
    return guessed


# Refused rows --------------------------------------------------------------------------------------------------------


def _refused_in(destination: Path) -> list[dict[str, Any]]:
    path = destination / REFUSED
    return store.as_rows(store.read_table(path)) if path.is_file() else []


def _wanted(destination: Path, source: Path) -> set[str] | None:
    """The ids that an earlier import of `source` refused; null for all, where one had no readable id."""
    origin = _origin(source)
    refused = [row for row in _refused_in(destination) if row.get("origin") == origin]
    if not refused:
        raise ValueError(f"no row of {source} has been refused; there is nothing to try again")
    if any(not _WITHOUT_ID.isdisjoint(row["problems"]) for row in refused):
        return None
    return {row["id"] for row in refused}


def _write_refused(aside: Path, earlier: list[dict[str, Any]], refused: list[Refused], source: Path) -> None:
    whence = {"source": source.resolve().name, "origin": _origin(source)}
    rows = [{"source": None, "origin": None, **row} for row in earlier] + [
        {"id": one.id, "problems": [one.problem], "detail": one.detail, "split": one.split, **whence} for one in refused
    ]
    if rows:
        pq.write_table(columns.table(rows, REFUSED_SCHEMA), aside / REFUSED, compression="zstd")


def _refused_differ(aside: Path, destination: Path) -> bool:
    old, new = destination / REFUSED, aside / REFUSED
    return old.is_file() != new.is_file() or (new.is_file() and old.read_bytes() != new.read_bytes())


def _because(refused: list[Refused]) -> str:
    if not refused:
        return "it holds no rows"
    first = refused[0]
    return f"all of its {len(refused)} rows were refused ({codes(refused)}); the first, {first.id}: {first.detail}"


def codes(refused: list[Refused]) -> str:
    """The problems of refused rows with their numbers, the most frequent first."""
    counts = Counter(one.problem for one in refused)
    return ", ".join(f"{count} {code}" for code, count in counts.most_common())
