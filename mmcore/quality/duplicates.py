"""Samples that are there more than once: exact and near copies within a split, what leaks from one split into another,
and groups that were torn apart.

Exact copies are found by hash in the profile. Near copies are suspected by their fingerprints and proven on the media
or texts themselves, which are read from the store for the few that are suspected.
"""

import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mmcore.data import store
from mmcore.data.engine import code_of
from mmcore.data.modalities import MODALITIES, UNLIMITED, media
from mmcore.quality.copies import EVIDENCE, same_texts
from mmcore.quality.fingerprints import EXACT_BYTES, NUM_PERMUTATIONS
from mmcore.quality.neighbours import Pairs, close_hashes, close_signatures
from mmcore.quality.probes.texts import looked_at
from mmcore.quality.proofs import proven

# Where the same media are in two splits, the copy in the earlier one of these stays.
KEPT_FIRST = ("test", "validation", "train")
_ROWS_AT_ONCE = 100
# Of one kind so many suspected pairs are compared: seconds for texts, minutes for media. Where there are more, as
# among texts made by one pattern, those left out are counted.
MOST_COMPARED = {"image": 100_000, "video": 100_000, "audio": 100_000, "text": 50_000}
_TEXTS = ["captions", "transcript", "summary", "speech_text", "qa"]

_Codes = NDArray[np.int64]


def within_splits(profile: pa.Table) -> list[str | None]:
    """For each profile row, the id of an earlier sample of its split, of another group, with equal media and texts."""
    content = _codes(profile["sha256"]) * len(KEPT_FIRST) + _ranks(profile)
    first = _first_of_each(content, np.zeros(len(content), np.int64))
    group = _codes(profile["group"])
    return _named(profile, np.where(group[first] != group, first, -1), with_split=False)


def across_splits(profile: pa.Table) -> list[str | None]:
    """For each profile row, the place (`split/id`) of a sample in a split that has precedence and shares a file.

    One shared image, recording or clip is enough, whatever the texts say; samples without media share if their texts
    are equal. Files that cannot be decoded are no copies of anything.
    """
    ranks = _ranks(profile)
    found = np.full(len(ranks), -1)
    for codes in _files(profile).values():
        owner = _first_of_each(codes, ranks)
        leaks = (codes >= 0) & (ranks[owner] < ranks) & (found < 0)
        found[leaks] = owner[leaks]
    return _named(profile, found, with_split=True)


def torn_groups(profile: pa.Table) -> list[str | None]:
    """For each profile row, the place (`split/id`) of a sample of its group in a split that has precedence.

    Rows of one id are not meant: that the id is there twice says it already.
    """
    ranks, group, names = _ranks(profile), _codes(profile["group"]), _codes(profile["id"])
    owner = _first_of_each(group, ranks)
    torn = (group >= 0) & (ranks[owner] < ranks) & (names[owner] != names)
    return _named(profile, np.where(torn, owner, -1), with_split=True)


@dataclass(frozen=True)
class NearCopies:
    """For each profile row: the id of the earlier sample of its split that it nearly equals (`within`), and the place
    (`split/id`) of one in a split that has precedence (`across`). `uncompared`: how many more pairs look alike."""

    within: list[str | None]
    across: list[str | None]
    uncompared: int


def near_copies(profile: pa.Table, data: Path, cache: Path | None = None) -> NearCopies:
    """Which rows of the profile of the store `data` hold nearly the same image, clip or recording as another one, or,
    where there are no media, nearly the same texts.

    Within a split samples of one `group` or one `positives` key may be alike. Equal files are no near copies. What was
    compared once is kept in `cache` (see `proofs`).
    """
    ranks, group = _ranks(profile), _codes(profile["group"])
    within, across = np.full(len(ranks), -1), np.full(len(ranks), -1)
    uncompared = 0
    files = _files(profile)
    # What a modality of one's own holds nearly twice only its owner could tell.
    for kind, codes in ((kind, files[kind]) for kind in files if kind in MOST_COMPARED):
        found, left = _proven(profile, data, cache, kind, codes)
        uncompared += left
        for earlier, later in found:
            if ranks[earlier] == ranks[later]:
                if group[earlier] != group[later] and within[later] < 0:
                    within[later] = earlier
            else:
                kept, other = sorted((earlier, later), key=lambda row: int(ranks[row]))
                if across[other] < 0 or ranks[kept] < ranks[across[other]]:
                    across[other] = kept
    return NearCopies(_named(profile, within, with_split=False), _named(profile, across, with_split=True), uncompared)


# Near copies: suspected, then proven ---------------------------------------------------------------------------------


def _proven(
    profile: pa.Table, data: Path, cache: Path | None, kind: str, codes: _Codes
) -> tuple[list[tuple[int, int]], int]:
    """The pairs of rows (lower one first, in order of the higher one) whose files of this kind are near copies, and
    how many suspected pairs were left uncompared."""
    fingerprints = profile[f"{kind}_fingerprint"].combine_chunks()
    usable = np.flatnonzero((codes >= 0) & fingerprints.is_valid().to_numpy(zero_copy_only=False))
    # Equal files are compared once, by the first row of each.
    _, first, file_of = np.unique(codes[usable], return_index=True, return_inverse=True)
    first_rows = usable[first]
    pairs = _suspected(kind, fingerprints.take(pa.array(first_rows)))
    members = _Members(usable, file_of)
    alone = np.bincount(file_of, minlength=len(first)) == 1
    ranks, group = _ranks(profile), _codes(profile["group"])
    one, other = first_rows[pairs].T
    pointless = alone[pairs].all(axis=1) & (ranks[one] == ranks[other]) & (group[one] == group[other])
    pairs = pairs[~pointless]
    pairs, left = _most_telling(pairs, ranks[first_rows], MOST_COMPARED[kind])
    if not len(pairs):
        return [], 0
    store_rows = _StoreRows(profile, data)
    compare = _same_texts if kind == "text" else _same_media
    same = proven(
        pairs,
        profile["sha256" if kind == "text" else f"{kind}_sha256"].take(pa.array(first_rows)).combine_chunks(),
        lambda chosen: compare(store_rows, kind, chosen, first_rows),
        file=cache and cache / "near_copies" / f"{kind}.parquet",
        code=code_of(__name__),
    )
    found = {
        (min(ours, theirs), max(ours, theirs))
        for one, other in pairs[same].tolist()
        for mine, others in ((members[one], members[other]), (members[other], members[one]))
        for ours in _first_of_each_split(mine, ranks)
        for theirs in others
    }
    rows = sorted({row for pair in found for row in pair})
    positives = {row: content["positives"] for row, content in store_rows.read(rows, ["positives"])}
    different = (
        (earlier, later)
        for earlier, later in found
        if ranks[earlier] != ranks[later] or positives[earlier] is None or positives[earlier] != positives[later]
    )
    return sorted(different, key=lambda pair: (pair[1], pair[0])), left


def _most_telling(pairs: Pairs, ranks: _Codes, most: int) -> tuple[Pairs, int]:
    """At most so many of the pairs of files, in their order, and how many are left out: those across splits come
    first, then one for each file, then a second one for each ..."""
    if len(pairs) <= most:
        return pairs, 0
    lower, higher = pairs.T
    order = np.lexsort((lower, higher))
    starts = np.flatnonzero(np.diff(higher[order], prepend=-1))
    turn = np.empty(len(pairs), np.int64)
    turn[order] = np.arange(len(pairs)) - np.repeat(starts, np.diff(starts, append=len(pairs)))
    chosen = np.lexsort((lower, higher, turn, ranks[lower] == ranks[higher]))[:most]
    return pairs[np.sort(chosen)], len(pairs) - most


def _suspected(kind: str, fingerprints: pa.Array) -> Pairs:
    if kind == "text":
        width = EXACT_BYTES + NUM_PERMUTATIONS
        content = fingerprints.cast(pa.binary(width))
        return close_signatures(
            np.frombuffer(content.buffers()[1], np.uint8)[: len(content) * width].reshape(-1, width)
        )
    return close_hashes(fingerprints.to_numpy())


class _Members:
    """The rows of each file, in order."""

    def __init__(self, rows: _Codes, file_of: _Codes) -> None:
        self._rows = rows[np.argsort(file_of, kind="stable")]
        self._ends = np.cumsum(np.bincount(file_of))

    def __getitem__(self, file: int) -> list[int]:
        start = self._ends[file - 1] if file else 0
        found: list[int] = self._rows[start : self._ends[file]].tolist()
        return found


def _first_of_each_split(rows: Sequence[int], ranks: _Codes) -> list[int]:
    return list({int(ranks[row]): row for row in reversed(rows)}.values())


class _StoreRows:
    """Reads chosen rows of the store by their number in the profile."""

    def __init__(self, profile: pa.Table, data: Path) -> None:
        self._places, self._data = profile.select(["shard", "row"]), data

    def read(self, rows: Sequence[int], columns: list[str]) -> Iterator[tuple[int, store.Row]]:
        """Each of `rows`, which are in order, with these columns."""
        places = self._places.take(pa.array(rows, pa.int64())).to_pydict()
        if not set(columns) & set(media()):
            yield from self._read_texts(rows, places, columns)
            return
        wanted: dict[tuple[str, int], dict[int, int]] = {}
        for number, shard, row in zip(rows, places["shard"], places["row"], strict=True):
            wanted.setdefault((shard, row // _ROWS_AT_ONCE * _ROWS_AT_ONCE), {})[row] = number
        for (shard, start), chosen in wanted.items():
            content = store.read_rows(self._data / shard, columns, start=start, stop=start + _ROWS_AT_ONCE)
            for row, number in chosen.items():
                yield number, content[row - start]

    def _read_texts(
        self, rows: Sequence[int], places: Mapping[str, list[Any]], columns: list[str]
    ) -> Iterator[tuple[int, store.Row]]:
        """What is small is read by the shard: a file is opened once, not for every hundred rows."""
        start = 0
        for shard, chosen in groupby(zip(places["shard"], places["row"], strict=True), itemgetter(0)):
            table = store.read_table(self._data / shard, columns).take(pa.array([row for _, row in chosen]))
            yield from zip(rows[start : start + table.num_rows], store.as_rows(table), strict=True)
            start += table.num_rows


def _same_media(store_rows: _StoreRows, kind: str, pairs: Pairs, first_rows: _Codes) -> NDArray[np.bool_]:
    """[P]: which pairs of files are copies; each suspected file is decoded once, what is kept of it lies on disk."""
    evidence, modality = EVIDENCE[kind], MODALITIES[kind]()
    files, numbers = np.unique(pairs, return_inverse=True)
    with tempfile.TemporaryFile() as aside, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoders warn about what they can live with; the probe has recorded it
        kept = np.memmap(aside, evidence.dtype, "w+", shape=(len(files), *evidence.shape))
        place = {row: number for number, row in enumerate(first_rows[files].tolist())}
        for row, content in store_rows.read(sorted(place), [kind]):
            kept[place[row]] = evidence.take(modality.decode(content[kind], UNLIMITED))
        return evidence.same(kept, numbers.reshape(pairs.shape))


def _same_texts(store_rows: _StoreRows, kind: str, pairs: Pairs, first_rows: _Codes) -> NDArray[np.bool_]:
    """[P]: which pairs of samples say nearly the same."""
    rows, places = np.unique(first_rows[pairs], return_inverse=True)
    texts = [looked_at(content) for _, content in store_rows.read(rows.tolist(), _TEXTS)]
    return same_texts(texts, places.reshape(pairs.shape))


# Columns of the profile as numbers -----------------------------------------------------------------------------------


def _codes(column: pa.ChunkedArray) -> _Codes:
    """Equal values as equal numbers from 0, null as -1."""
    indices = column.combine_chunks().dictionary_encode().indices
    found: _Codes = indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def _ranks(profile: pa.Table) -> _Codes:
    """The place of each row's split in `KEPT_FIRST`."""
    found: _Codes = pc.index_in(profile["split"], pa.array(KEPT_FIRST)).to_numpy().astype(np.int64)
    return found


def _files(profile: pa.Table) -> dict[str, _Codes]:
    """Per kind the number of each row's file, -1 where it has none that can be decoded; of rows without media the
    number of their texts."""
    without = np.ones(profile.num_rows, bool)
    files = {}
    for kind in media():
        codes = _codes(profile[f"{kind}_sha256"])
        without &= codes < 0
        readable = pc.fill_null(profile[f"{kind}_ok"], False).to_numpy()
        files[kind] = np.where(readable, codes, -1)
    return files | {"text": np.where(without, _codes(profile["sha256"]), -1)}


def _first_of_each(codes: _Codes, ranks: _Codes) -> _Codes:
    """For each row, the first row of the lowest rank that has the same code."""
    order = np.lexsort((ranks, codes))
    starts = np.flatnonzero(np.diff(codes[order], prepend=-2))
    lengths = np.diff(starts, append=len(order))
    first = np.empty(len(order), np.int64)
    first[order] = np.repeat(order[starts], lengths)
    return first


def _named(profile: pa.Table, found: _Codes, *, with_split: bool) -> list[str | None]:
    """The id, or `split/id`, of each row found; None for -1."""
    named: list[str | None] = [None] * len(found)
    places = np.flatnonzero(found >= 0)
    rows = profile.select(["split", "id"]).take(pa.array(found[places]))
    for place, split, name in zip(places.tolist(), rows["split"].to_pylist(), rows["id"].to_pylist(), strict=True):
        named[place] = f"{split}/{name}" if with_split else name
    return named
