"""Two versions of a store, row by row: what was added, removed, changed, or moved to another split.

Shards that both have are not opened. Of the others the ids, hashes and texts are read, and of a row that differs
whether it has a picture, a sound, a clip.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mmcore.data import store
from mmcore.data.modalities import media
from mmcore.data.schema import schema
from mmcore.data.store import Manifest, Row, Shard

KINDS = ("added", "removed", "changed", "moved")
SAMPLES = 6
TEXTS = tuple(name for name in schema().names if name not in (*media(), "sha256"))


@dataclass(frozen=True)
class Side:
    """One version: its manifest, and `open`, which gives a shard as a file of this machine."""

    manifest: Manifest
    open: Callable[[Shard], Path]


@dataclass(frozen=True)
class Sample:
    """One row that differs. `details`: its first text, or for a changed one what changed; `split`: after the change,
    or before it if the row was removed; `shard` and `place`: where it can be read."""

    id: str
    split: str
    modalities: tuple[str, ...]
    languages: tuple[str, ...]
    details: str
    shard: Path
    place: int


@dataclass
class Difference:
    """`rows`: how many rows of each kind, by split; `modalities` and `languages`: how many of them have each, by split;
    `samples`: the first of each kind; `shards`: how many files were compared and how many were the same."""

    rows: dict[str, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in KINDS})
    modalities: dict[str, Counter[tuple[str, str]]] = field(default_factory=lambda: {kind: Counter() for kind in KINDS})
    languages: dict[str, Counter[tuple[str, str]]] = field(default_factory=lambda: {kind: Counter() for kind in KINDS})
    samples: dict[str, list[Sample]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    same_shards: int = 0
    read_shards: int = 0

    @property
    def empty(self) -> bool:
        return not any(counts.total() for counts in self.rows.values())


@dataclass(frozen=True)
class _Place:
    shard: Shard
    path: Path
    row: int
    sha256: str


def compare(before: Side, after: Side) -> Difference:
    """What happened from `before` to `after`. A row is known by its id; it changed if its media, its texts or anything
    else that is stored of it did."""
    common = {(s.split, s.sha256) for s in before.manifest.shards} & {
        (s.split, s.sha256) for s in after.manifest.shards
    }
    old, new = _places(before, common), _places(after, common)
    both = old.keys() & new.keys()
    altered = {id for id in both if old[id].sha256 != new[id].sha256} | _other_texts(old, new, both)
    kind_of = dict.fromkeys(new.keys() - old.keys(), "added") | dict.fromkeys(old.keys() - new.keys(), "removed")
    kind_of |= dict.fromkeys(altered, "changed")
    kind_of |= {id: "moved" for id in both - altered if old[id].shard.split != new[id].shard.split}
    found = Difference(
        same_shards=len(common), read_shards=len({place.shard for place in (*old.values(), *new.values())})
    )
    for kind in KINDS:
        places = old if kind == "removed" else new
        _describe(found, kind, {id: place for id, place in places.items() if kind_of.get(id) == kind}, old)
    return found


def _places(side: Side, common: Collection[tuple[str, str]]) -> dict[str, _Place]:
    """Where each row lies that is in no shard of both versions."""
    found: dict[str, _Place] = {}
    for shard in side.manifest.shards:
        if (shard.split, shard.sha256) in common:
            continue
        path = side.open(shard)
        table = store.read_table(path, ["id", "sha256"])
        pairs = zip(table["id"].to_pylist(), table["sha256"].to_pylist(), strict=True)
        found |= {id: _Place(shard, path, row, content) for row, (id, content) in enumerate(pairs)}
    return found


def _other_texts(old: dict[str, _Place], new: dict[str, _Place], both: Collection[str]) -> set[str]:
    """The ids whose media and texts are equal and whose languages, labels, group or the like are not."""
    ids = {id for id in both if old[id].sha256 == new[id].sha256}
    before = {row["id"]: _digest(row) for _, row in _rows({id: old[id] for id in ids})}
    return {row["id"] for _, row in _rows({id: new[id] for id in ids}) if _digest(row) != before[row["id"]]}


def _digest(row: Row) -> bytes:
    return hashlib.blake2b(json.dumps(row, sort_keys=True).encode(), digest_size=16).digest()


def _describe(found: Difference, kind: str, places: dict[str, _Place], old: dict[str, _Place]) -> None:
    """Count the rows of one kind and keep the first of them as samples."""
    for place, row in _rows(places, marked=True):
        split = place.shard.split
        modalities = tuple(name for name in media() if row.pop(name, False)) or ("text",)
        languages = tuple(sorted({caption["lang"] for caption in row["captions"] if caption["lang"]}))
        found.rows[kind][split] += 1
        found.modalities[kind].update((split, name) for name in modalities)
        found.languages[kind].update((split, name) for name in languages)
        if len(found.samples[kind]) < SAMPLES:
            details = _short(next(store.row_texts(row), ""))
            if kind == "changed":
                ((_, former),) = _rows({row["id"]: old[row["id"]]})
                details = _changes(former, row, same_content=old[row["id"]].sha256 == place.sha256)
            elif kind == "moved":
                details = f"from {old[row['id']].shard.split}"
            found.samples[kind].append(
                Sample(row["id"], split, modalities, languages, details, place.path, place.row)
            )  # fmt: skip


def _changes(former: Row, row: Row, *, same_content: bool) -> str:
    """Which columns differ, the first of them with what it was and is."""
    names = [name for name in TEXTS if former[name] != row[name]]
    if not names:
        assert not same_content
        return "its media"
    was, now = _first_differing(former[names[0]], row[names[0]])
    return f"{', '.join(names)}: {_short(was)} → {_short(now)}"


def _first_differing(was: Any, now: Any) -> tuple[Any, Any]:
    """Of two lists or structs the first parts that differ, null where one has no such part."""
    if isinstance(was, list) and isinstance(now, list):
        return next(_first_differing(a, b) for a, b in zip_longest(was, now) if a != b)
    if isinstance(was, dict) and isinstance(now, dict) and was.keys() == now.keys():
        return next(_first_differing(was[key], now[key]) for key in was if was[key] != now[key])
    return was, now


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"


# Reading ----------------------------------------------------------------------------------------------------------


def _rows(places: dict[str, _Place], *, marked: bool = False) -> Iterator[tuple[_Place, Row]]:
    """The rows at `places`, shard by shard, without their media; `marked`, with whether they have each of them."""
    by_shard: defaultdict[Path, dict[int, _Place]] = defaultdict(dict)
    for place in places.values():
        by_shard[place.path][place.row] = place
    for path, wanted in by_shard.items():
        with pq.ParquetFile(path, memory_map=True) as file:
            kinds = [name for name in media() if marked and name in file.schema_arrow.names]
            start = 0
            for group in range(file.num_row_groups):
                stop = start + file.metadata.row_group(group).num_rows
                inside = [row for row in range(start, stop) if row in wanted]
                if inside:
                    table = file.read_row_group(group, columns=list(TEXTS)).take([row - start for row in inside])
                    has = {name: file.read_row_group(group, columns=[name])[name].is_valid() for name in kinds}
                    for row, values in zip(inside, store.as_rows(table), strict=True):
                        values |= {name: valid[row - start].as_py() for name, valid in has.items()}
                        yield wanted[row], values
                start = stop


# In words ---------------------------------------------------------------------------------------------------------


def table(found: Difference) -> list[tuple[str, list[int]]]:
    """Lines of (name, count by kind): each split that differs, below it its modalities and languages."""
    lines: list[tuple[str, list[int]]] = []
    for split in store.SPLITS:
        counts = [found.rows[kind][split] for kind in KINDS]
        if not any(counts):
            continue
        lines.append((split, counts))
        for parts in (found.modalities, found.languages):
            names = sorted({name for kind in KINDS for at, name in parts[kind] if at == split})
            lines += [(f"  {name}", [parts[kind][split, name] for kind in KINDS]) for name in names]
    return lines


def in_words(found: Difference) -> str:
    """The difference as a table for a terminal, and samples of each kind."""
    unread = f"{found.same_shards} shards are the same, {found.read_shards} were read"
    if found.empty:
        return f"no row differs ({unread})"
    lines = [f"{'':<16}" + "".join(f"{kind:>10}" for kind in KINDS)]
    for name, counts in table(found):
        lines.append(f"{name:<16}" + "".join(f"{count:>10,}" if count else f"{'·':>10}" for count in counts))
    for kind in KINDS:
        if found.samples[kind]:
            total = found.rows[kind].total()
            lines += ["", f"{kind}, {len(found.samples[kind])} of {total:,}:"]
            lines += [f"  {_line(sample)}" for sample in found.samples[kind]]
    return "\n".join([*lines, "", unread])


def _line(sample: Sample) -> str:
    where = ", ".join((sample.split, *sample.modalities, *sample.languages))
    return f"{sample.id}  ({where})  {sample.details}".rstrip()
