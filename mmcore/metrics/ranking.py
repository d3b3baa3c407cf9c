"""Ranks and recall of a search, computed block by block so that the score matrix never stands whole in memory.

Q queries, C candidates, E embedding width, K places.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Positives = Sequence[NDArray[np.int64]]

# Scores held at once: 4 M float64 are 32 MB.
BLOCK = 2**22
# Scores of a tile of `both_ways`, left rows by right ones: 1 MB in float32, which a processor keeps near. A byte can
# count what lies above each other (255 at most), and what lies side by side eight apart.
TILE = (248, 1024)
assert TILE[0] <= 255
assert TILE[1] <= 8 * 255


@dataclass(frozen=True)
class Ranking:
    """`ranks` [Q]: place of each query's best positive, from 1. `top` [Q, K]: candidates, best first, and their
    `top_scores` [Q, K]; among equal scores the candidate that comes first is named first."""

    ranks: NDArray[np.int64]
    top: NDArray[np.int64]
    top_scores: NDArray[np.float32]


def search(
    queries_QE: NDArray[np.floating], candidates_CE: NDArray[np.floating], positives: Positives, *, top: int = 10,
    block: int = BLOCK,
) -> Ranking:  # fmt: skip
    """Rank all candidates for each query by dot product; `positives[q]` are the candidates that are right for it.

    Products are summed in float64 and compared as float32, so that equal embeddings tie wherever they stand in
    the matrix, whatever the block size or the number of threads.
    """
    places = min(top, len(candidates_CE))
    ranks_Q = np.zeros(len(queries_QE), np.int64)
    top_QK = np.zeros((len(queries_QE), places), np.int64)
    scores_QK = np.zeros((len(queries_QE), places), np.float32)
    candidates_EC = np.asarray(candidates_CE, np.float64).T
    rows = max(1, block // max(1, len(candidates_CE)))
    for start in range(0, len(queries_QE), rows):
        part = slice(start, start + rows)
        scores = (np.asarray(queries_QE[part], np.float64) @ candidates_EC).astype(np.float32)
        ranks_Q[part] = ranks(scores, positives[part])
        top_QK[part] = best(scores, places)
        scores_QK[part] = np.take_along_axis(scores, top_QK[part], axis=1)
    return Ranking(ranks_Q, top_QK, scores_QK)


def both_ways(
    left_NE: NDArray[np.floating], right_ME: NDArray[np.floating], positives: Positives
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ranks [N] that `search` gives for left rows among the right ones, and [M] for right rows among the left ones,
    where `positives[i]` are the right rows that belong to left row i; 0 for a row to which none belongs.

    Both come from one product in float32, tile by tile. Where a score lies so near to that of a row's best positive
    that rounding could decide, it is computed as `search` does: the ranks are the same, ties included.
    """
    for vectors in (left_NE, right_ME):
        if not all(np.isfinite(vectors[part]).all() for part in _slices(len(vectors), TILE[1])):
            raise ValueError("the embeddings hold NaN or infinity")
    if len(positives) != len(left_NE):
        raise ValueError(f"{len(left_NE)} rows but {len(positives)} sets of positives")
    counts = [len(found) for found in positives]
    of_left = np.repeat(np.arange(len(counts)), counts)
    of_right = np.concatenate([*positives, np.zeros(0, np.int64)]).astype(np.int64)
    scores = _exact(left_NE, right_ME, of_left, of_right)
    left, right = (np.ascontiguousarray(rows, np.float32) for rows in (left_NE, right_ME))
    there = _Marks.of(left, right, of_left, scores)
    back = _Marks.of(right, left, of_right, scores)
    for rows in _slices(len(left), TILE[0]):
        own = slice(*np.searchsorted(of_left, [rows.start, rows.stop]))
        for columns in _slices(len(right), TILE[1]):
            tile = left[rows] @ right[columns].T
            inside = (of_right[own] >= columns.start) & (of_right[own] < columns.stop)
            tile[of_left[own][inside] - rows.start, of_right[own][inside] - columns.start] = -np.inf
            there.count(tile, 1, rows, left_NE[rows], right_ME[columns])
            back.count(tile, 0, columns, right_ME[columns], left_NE[rows])
    return there.ranks(), back.ranks()


@dataclass(frozen=True)
class _Marks:
    """For each row the score of its best positive (infinite without one), the marks between which rounding could
    decide whether another score lies above it, and how many have been found that do."""

    best: NDArray[np.float32]
    least: NDArray[np.float32]
    most: NDArray[np.float32]
    above: NDArray[np.int64]

    @classmethod
    def of(
        cls, rows: NDArray[np.float32], others: NDArray[np.float32], owners: NDArray[np.int64],
        scores: NDArray[np.float32],
    ) -> "_Marks":  # fmt: skip
        best = np.full(len(rows), np.inf, np.float32)
        best[owners] = -np.inf
        np.maximum.at(best, owners, scores)
        # A sum of E products is wrong by at most E units in the last place of |row| * |other| (Higham 2002, section
        # 3.1); four more for the roundings at both ends and of the marks themselves.
        longest = _lengths(others).max(initial=0.0)
        margin = ((rows.shape[1] + 4) * 2.0**-24 * longest * _lengths(rows)).astype(np.float32)
        return cls(best, best - margin, best + margin, np.zeros(len(rows), np.int64))

    def count(
        self, tile: NDArray[np.float32], axis: int, part: slice, rows: NDArray[np.floating],
        others: NDArray[np.floating],
    ) -> None:  # fmt: skip
        """Enter the scores of some `rows`, the `part` of all, with some `others`: along `axis` of the tile."""
        best, least, most = (np.expand_dims(marks[part], axis) for marks in (self.best, self.least, self.most))
        surely = _count(tile > most, axis)
        unsure = np.flatnonzero(surely != _count(tile >= least, axis))
        if len(unsure):
            doubtful = np.moveaxis(tile, 1 - axis, 0)[unsure]
            best, least, most = (marks.reshape(-1, 1)[unsure] for marks in (best, least, most))
            near = (doubtful >= least) & (doubtful <= most)
            where = np.nonzero(near)
            if len(where[0]) > near.size // 64:
                exact = (rows[unsure].astype(np.float64) @ others.astype(np.float64).T).astype(np.float32)
                doubtful = np.where(near, exact, doubtful)
            else:
                doubtful[where] = _exact(rows[unsure], others, *where)
            surely[unsure] = np.count_nonzero(doubtful >= best, axis=1)
        self.above[part] += surely

    def ranks(self) -> NDArray[np.int64]:
        return np.where(np.isinf(self.best), 0, self.above + 1)


def _slices(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _lengths(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The length of each row, without a second matrix in between."""
    return np.asarray(np.sqrt(np.einsum("ne,ne->n", rows, rows)), np.float32)


def _exact(
    left: NDArray[np.floating], right: NDArray[np.floating], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The scores of some pairs, summed in float64."""
    scores = np.zeros(len(rows), np.float32)
    for part in _slices(len(rows), TILE[1]):
        one, other = left[rows[part]].astype(np.float64), right[columns[part]].astype(np.float64)
        scores[part] = np.einsum("pe,pe->p", one, other)
    return scores


def _count(mask: NDArray[np.bool_], axis: int) -> NDArray[np.int64]:
    """`np.count_nonzero` of a tile, many times as fast: its bytes are added as bytes, which a tile cannot overflow."""
    counts: NDArray[np.int64]
    if axis == 0:
        counts = np.add.reduce(mask.view(np.uint8), axis=0, dtype=np.uint8).astype(np.int64)
    elif mask.shape[1] % 8:
        counts = np.count_nonzero(mask, axis=1)
    else:
        counts = np.add.reduce(mask.view(np.uint64), axis=1).view(np.uint8).reshape(-1, 8).sum(1, dtype=np.int64)
    return counts


def ranks(scores_QC: NDArray[np.floating], positives: Positives) -> NDArray[np.int64]:
    """Rank [Q] of each query's best positive: 1 + the number of other candidates that score at least as much.

    Ties count against: a model that gives every candidate the same score is last everywhere. Several positives
    are one hit: the other positives neither help nor stand in the way.
    """
    if len(positives) != len(scores_QC):
        raise ValueError(f"{len(scores_QC)} queries but {len(positives)} sets of positives")
    if not np.isfinite(scores_QC).all():
        raise ValueError("a score is not finite; the embeddings hold NaN or infinity")
    counts = np.array([len(found) for found in positives], np.int64)
    if (counts == 0).any():
        raise ValueError(f"query {int(np.argmin(counts))} has no positive among the candidates")
    is_positive = np.zeros(scores_QC.shape, bool)
    if len(counts):
        is_positive[np.repeat(np.arange(len(counts)), counts), np.concatenate(positives)] = True
    lowest = np.where(is_positive, scores_QC, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    above: NDArray[np.int64] = ((scores_QC >= lowest) & ~is_positive).sum(axis=1)
    return above + 1


def best(scores_QC: NDArray[np.floating], places: int) -> NDArray[np.int64]:
    """The `places` best candidates [Q, K] of each query, best first; equal scores in the order of the candidates."""
    assert 0 < places <= scores_QC.shape[1]
    found = np.zeros((len(scores_QC), places), np.int64)
    least_Q = np.partition(scores_QC, -places, axis=1)[:, -places]
    for row, (scores_C, least) in enumerate(zip(scores_QC, least_Q, strict=True)):
        candidates = np.flatnonzero(scores_C >= least)
        found[row] = candidates[np.argsort(-scores_C[candidates], kind="stable")][:places]
    return found


def recall_at(ranks_Q: NDArray[np.int64], k: int) -> float:
    """Share of queries, 0 to 100, whose best positive is among the first `k`."""
    return 100.0 * float((ranks_Q <= k).mean())


def median_rank(ranks_Q: NDArray[np.int64]) -> float:
    """The median place of the best positive, from 1."""
    return float(np.median(ranks_Q))


def chance_recall(num_positives: Sequence[int], num_candidates: int | Sequence[int], k: int) -> float:
    """Recall at `k`, 0 to 100, that a random order of the candidates reaches on average.

    For P positives among C candidates (the same for all queries, or one number each) it is
    1 - C(C - P, k) / C(C, k), averaged over the queries.
    """
    sizes = np.broadcast_to(num_candidates, len(num_positives)).tolist()
    pairs = Counter(zip(num_positives, sizes, strict=True))
    missed = sum(
        count * math.comb(size - found, k) / math.comb(size, k) for (found, size), count in pairs.items() if k <= size
    )
    return 100.0 * (1.0 - missed / len(num_positives))


def chance_median_rank(num_positives: Sequence[int], num_candidates: int | Sequence[int]) -> float:
    """The median over queries of the place that a random order gives the best of P positives on average.

    That place among the C candidates of the query that are no positives, plus one: 1 + (C - P) / (P + 1).
    """
    found = np.asarray(num_positives, np.float64)
    return float(np.median(1.0 + (np.asarray(num_candidates) - found) / (found + 1.0)))


def positive_sets(query_keys: Sequence[str], candidate_keys: Sequence[str]) -> list[NDArray[np.int64]]:
    """For each query the candidates whose key equals its own."""
    places: dict[str, list[int]] = {}
    for place, key in enumerate(candidate_keys):
        places.setdefault(key, []).append(place)
    return [np.array(places.get(key, []), np.int64) for key in query_keys]


def ceiling(query_texts: Sequence[str], candidate_texts: Sequence[str], positives: Positives) -> float:
    """The highest recall at 1, 0 to 100, that any model can reach that sees nothing but the content.

    Equal queries get one and the same answer, and equal candidates tie, which counts against. So each group of
    equal queries is given the one content that is right for most of them; a content is right for a query only if
    everything with that content is. Media are told apart by any distinct strings, such as their ids.
    """
    copies: dict[str, int] = {}
    for text in candidate_texts:
        copies[text] = copies.get(text, 0) + 1
    votes: dict[str, dict[str, int]] = {}
    for query, found in zip(query_texts, positives, strict=True):
        own: dict[str, int] = {}
        for place in found:
            own[candidate_texts[place]] = own.get(candidate_texts[place], 0) + 1
        group = votes.setdefault(query, {})
        for text, count in own.items():
            if count == copies[text]:
                group[text] = group.get(text, 0) + 1
    return 100.0 * sum(max(group.values(), default=0) for group in votes.values()) / len(query_texts)


def auroc(lower: Any, higher: Any) -> float:
    """In percent how often one of the numbers `higher` lies above one of `lower`; ties count half (the area under the
    receiver operating characteristic)."""
    ordered = np.sort(np.asarray(lower))
    places = [np.searchsorted(ordered, np.asarray(higher), side) for side in ("left", "right")]
    return 50 * float(np.mean(places[0] + places[1])) / len(ordered)
