"""Which of many fingerprints are so close that their samples should be compared: pairs, found without comparing all."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcore.quality.fingerprints import BITS_PER_PART, EXACT_BYTES, NUM_PERMUTATIONS, PARTS

# Two hashes are close if this many bits at most differ in the three parts that agree best.
RADIUS = 6
# Two texts are close if so many of their permutations agree at least: a true similarity of 0.9 seldom shows as less.
AGREEING = round(0.8 * NUM_PERMUTATIONS)
_BYTES_PER_BAND = 8
# Each fingerprint is compared with so many that share a key with it, in sorted order; more of them say little. Texts
# made by one pattern share keys by the thousand.
_WINDOW_OF_HASHES, _WINDOW_OF_SIGNATURES = 40, 8
_MOST_PAIRS_PER_ROW, _MOST_PAIRS = 64, 20_000_000

Pairs = NDArray[np.int64]


def close_hashes(hashes: NDArray[np.int64]) -> Pairs:
    """[P, 2]: the pairs (lower place first, in order) of perceptual hashes that are close. Two of the eight bytes of
    such a pair are nearly always equal: what is sorted by any two bytes holds it side by side."""
    order = np.argsort(hashes, kind="stable")
    bits = hashes[order].astype("<i8").view("<u8")
    octets = bits.view(np.uint8).reshape(-1, 8).astype(np.uint16)
    keys = (octets[:, first] << 8 | octets[:, second] for first, second in combinations(range(8), 2))
    return _pairs(keys, bits, _hashes_agree, order, _WINDOW_OF_HASHES)


def close_signatures(fingerprints: NDArray[np.uint8]) -> Pairs:
    """[P, 2]: the pairs (lower place first, in order) of text fingerprints [N, 80] whose texts are equal in normal form
    or close by their signatures; found by eight bands of eight bytes, one of which is equal (Broder 1997)."""
    order = np.lexsort(fingerprints[:, :EXACT_BYTES].T)
    signatures = fingerprints[order, EXACT_BYTES:]
    bands = signatures.view("<u8")
    assert bands.shape[1] * _BYTES_PER_BAND == NUM_PERMUTATIONS
    keys = (bands[:, band] for band in range(bands.shape[1]))
    return _pairs(keys, signatures, _signatures_agree, order, _WINDOW_OF_SIGNATURES)


def _hashes_agree(ones: Any, others: Any) -> NDArray[np.bool_]:
    differing = ones ^ others
    # Most pairs fail on all bits together already.
    agreeing: NDArray[np.bool_] = np.bitwise_count(differing) <= RADIUS + BITS_PER_PART
    left = differing[agreeing]
    parts = [np.bitwise_count(left >> np.uint64(BITS_PER_PART * part) & np.uint64(0xFFFF)) for part in range(PARTS)]
    agreeing[agreeing] = np.sum(parts, axis=0) - np.max(parts, axis=0) <= RADIUS
    return agreeing


def _signatures_agree(ones: Any, others: Any) -> NDArray[np.bool_]:
    agreeing: NDArray[np.bool_] = (ones == others).sum(axis=1) >= AGREEING
    return agreeing


def _pairs(
    keys: Iterable[NDArray[Any]],
    values: NDArray[Any],
    agree: Callable[[Any, Any], NDArray[np.bool_]],
    order: NDArray[np.int64],
    window: int,
) -> Pairs:
    """The pairs that share one of the keys and agree; `order`: the original place of each value, `window`: how many
    of the same key each is compared with."""
    count = len(order)
    found = np.zeros(0, np.int64)

    def sharing(key: NDArray[Any]) -> NDArray[np.int64]:
        places = np.argsort(key, kind="stable")
        ranked, compared = key[places], values[places]
        starts = np.arange(count, dtype=np.int32)
        fresh = [np.zeros(0, np.int64)]
        for distance in range(1, window + 1):
            starts = starts[: np.searchsorted(starts, count - distance)]
            starts = starts[ranked[starts] == ranked[starts + distance]]
            if not len(starts):
                break
            near = starts[agree(compared[starts], compared[starts + distance])]
            ones, others = order[places[near]], order[places[near + distance]]
            fresh.append(np.minimum(ones, others) * count + np.maximum(ones, others))
        return np.concatenate(fresh)

    # Sorting and comparing arrays holds no lock of Python's: two keys at a time, taken over in their order.
    with ThreadPoolExecutor(2) as threads:
        for fresh in threads.map(sharing, keys):
            found = np.sort(np.concatenate([found, fresh]))
            found = found[np.diff(found, prepend=-1) > 0]
            if len(found) > min(_MOST_PAIRS_PER_ROW * count, _MOST_PAIRS):
                break
    return np.stack([found // max(count, 1), found % max(count, 1)], axis=1)
