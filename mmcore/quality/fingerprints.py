"""Numbers by which copies of a sample are found although no byte of them is equal.

A perceptual hash is 64 bits in four parts of 16, each the signs of the lowest frequencies of one part: of a quarter of
a picture, a frame of a clip, a quarter of a recording's spectrogram. Scaling, brightness, level and re-encoding leave
them nearly as they are, a small crop changes a few, a mark in a corner changes one part. Texts get a hash of their
normal form and a MinHash signature (Broder 1997). Sums are of whole numbers, so every machine finds the same bits.
"""

import hashlib
import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

PARTS, BITS_PER_PART = 4, 16
# A text's fingerprint: a hash of its normal form, then one byte for each permutation.
EXACT_BYTES = 16
NUM_PERMUTATIONS = 64
SHINGLE = 4

# A longer side is thinned: the lowest frequencies need no more.
_SIDE = 128
# A frequency counts as positive above this share (one part in ...) of their mean size: one near zero must not toss a
# coin.
_MARGIN = 10
# The scale of the cosines, whose products are summed as whole numbers.
_SCALE = 1024
_ORDERS = 6
_FREQUENCIES = [(u, v) for u in range(_ORDERS) for v in range(_ORDERS) if u + v > 0]
# The 16 lowest frequencies, by distance from none at all.
_LOWEST = sorted(_FREQUENCIES, key=lambda place: (place[0] ** 2 + place[1] ** 2, place))[:BITS_PER_PART]
_ROWS, _COLUMNS = np.array(_LOWEST).T
# Below this many grey levels, or decibels, a frequency is noise.
_FLAT = 0.25
_BANDS = 24
_SLICES = 12 * PARTS
_PITCHES = (80.0, 3600.0)
_FRAME_SECONDS = 0.032
_MAX_FRAMES = 2000
# Enough samples a second for these pitches; more are summed.
_RATE = 8000
_SILENCE = 40.0
_BLOCK = 1 << 16
_ODD = np.uint32(0x9E3779B1)


def of_image(array: NDArray[np.uint8]) -> int | None:
    """The perceptual hash of uint8 [H, W, 3] as a signed 64-bit integer; None if it shows one even colour."""
    grey = _grey(array)
    rows, columns = _halves(grey.shape[0]), _halves(grey.shape[1])
    sums = (rows @ grey @ columns.T).reshape(2, _ORDERS, 2, _ORDERS).swapaxes(1, 2)
    return _hash(sums.reshape(PARTS, _ORDERS, _ORDERS), grey.size / PARTS)


def of_video(array: NDArray[np.uint8]) -> int | None:
    """The perceptual hash of a clip uint8 [F, H, W, 3], of four frames spread over it; None if all are even."""
    frames = [_grey(array[(2 * part + 1) * len(array) // (2 * PARTS)]) for part in range(PARTS)]
    rows, columns = _cosines(frames[0].shape[0]), _cosines(frames[0].shape[1])
    return _hash(rows @ np.stack(frames) @ columns.T, frames[0].size)


def of_audio(samples: NDArray[np.float32], rate: float) -> int | None:
    """The perceptual hash of a recording, of its spectrogram between 80 and 3600 Hz without the silence at both ends;
    None if it is silent or shorter than four frames of 32 ms."""
    levels = _levels(samples, rate)
    if levels is None:
        return None
    # Slices share frames where there are few of them.
    starts = np.arange(_SLICES) * len(levels) // _SLICES
    lengths = np.maximum(np.diff(starts, append=len(levels)), 1)
    grid = (np.add.reduceat(levels, starts, axis=0) / lengths[:, None]).round()
    quarters = grid.reshape(PARTS, _SLICES // PARTS, _BANDS)
    return _hash(_cosines(_SLICES // PARTS) @ quarters @ _cosines(_BANDS).T, quarters[0].size)


def of_texts(samples: Sequence[Sequence[str]]) -> list[bytes | None]:
    """For the texts of each sample 80 bytes: a hash of their normal form, then their MinHash signature; None if nothing
    is left of them."""
    normals = [normal_form(texts) for texts in samples]
    hashes = [hashlib.blake2b(one.encode(), digest_size=EXACT_BYTES).digest() for one in normals]
    signatures = _signatures([one for one in normals if one])
    rest = iter(signatures)
    return [exact + next(rest).tobytes() if one else None for one, exact in zip(normals, hashes, strict=True)]


def normal_form(texts: Sequence[str]) -> str:
    """The texts in one line without what copies differ in: width and case (NFKC, case folded), punctuation, blanks."""
    line = "\n".join(texts)
    if not line.isascii():
        line = unicodedata.normalize("NFKC", line)
    return " ".join(line.casefold().translate(_punctuation()).split())


def shingles(normals: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """A 32-bit hash of every run of four characters of each text in normal form (of a shorter text, of all of it), one
    text after the other, and where each text's begin."""
    padded = [one.ljust(SHINGLE) for one in normals]
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32)
    count = len(codes) - SHINGLE + 1
    found = codes[:count] * _ODD
    for offset in range(1, SHINGLE):
        found += codes[offset : count + offset]
        found *= _ODD
    found ^= found >> np.uint32(15)
    # Runs that reach into the next text are none.
    ends = np.cumsum([len(one) for one in padded])
    inside = np.ones(count, bool)
    for back in range(1, SHINGLE):
        inside[ends[:-1] - back] = False
    starts = np.concatenate(([0], ends[:-1])) - (SHINGLE - 1) * np.arange(len(padded))
    return found[inside], starts


# Frequencies --------------------------------------------------------------------------------------------------------


def _grey(array: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The green channel, which carries most of what is bright and dark, thinned."""
    step = max(1, max(array.shape[0], array.shape[1]) // _SIDE)
    return array[::step, ::step, 1].astype(np.float64)


def _hash(sums: NDArray[np.float64], cells: float) -> int | None:
    """The signs of the lowest frequencies of the four parts; `sums` [4, orders, orders] of `cells` values each."""
    lowest = sums[:, _ROWS, _COLUMNS]
    total = np.abs(lowest).sum()
    if total < _FLAT * cells * _SCALE**2:
        return None
    bits = np.packbits(lowest * (_MARGIN * lowest.size) > total)
    return int.from_bytes(bits.tobytes(), "big", signed=True)


@cache
def _cosines(length: int) -> NDArray[np.float64]:
    """[orders, length]: the lowest cosines of the discrete cosine transform (type II) as whole numbers."""
    return np.round(_SCALE * np.cos(np.pi / max(length, 1) * np.outer(np.arange(_ORDERS), np.arange(length) + 0.5)))


@cache
def _halves(length: int) -> NDArray[np.float64]:
    """[2 orders, length]: the cosines of each half."""
    halves = np.zeros((2 * _ORDERS, length))
    halves[:_ORDERS, : length // 2] = _cosines(length // 2)
    halves[_ORDERS:, length // 2 :] = _cosines(length - length // 2)
    return halves


def _levels(samples: NDArray[np.float32], rate: float) -> NDArray[np.float64] | None:
    """[frames, bands] in whole decibels, at most 40 below the loudest band; None if nothing is to be heard."""
    thinned = max(1, int(rate // _RATE))
    whole = len(samples) // thinned * thinned
    sums = np.sum([samples[start:whole:thinned] for start in range(thinned)], axis=0)
    length = max(2 * _BANDS, round(_FRAME_SECONDS * rate / thinned))
    hop = max(length // 2, -(-len(sums) // _MAX_FRAMES))
    if len(sums) < PARTS * length:
        return None
    frames = np.lib.stride_tricks.sliding_window_view(sums, length)[::hop]
    spectrum = np.fft.rfft(frames * _window(length), axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    bands = np.add.reduceat(power, _edges(length, rate / thinned), axis=1)[:, :-1]
    loudest = float(bands.max())
    if loudest < 1e-9 * length:
        return None
    decibels = np.maximum(10 * np.log10(np.maximum(bands, 1e-12) / loudest), -_SILENCE)
    heard = np.flatnonzero(decibels.max(axis=1) > -_SILENCE * 0.75)
    kept = decibels[heard[0] : heard[-1] + 1].round()
    return kept if len(kept) >= PARTS else None


@cache
def _window(length: int) -> NDArray[np.float32]:
    return np.hanning(length).astype(np.float32)


@cache
def _edges(length: int, rate: float) -> NDArray[np.int64]:
    """The first frequency of each band, evenly spaced in pitch, and the end of the last; no band is empty."""
    pitches = np.geomspace(*_PITCHES, _BANDS + 1)
    edges = np.round(pitches * length / rate).astype(np.int64)
    spread = np.arange(_BANDS + 1)
    edges = np.maximum.accumulate(edges - spread) + spread
    return np.minimum(edges, length // 2 - _BANDS + spread)


# Texts --------------------------------------------------------------------------------------------------------------


@cache
def _punctuation() -> dict[int, str | None]:
    """What `str.translate` makes of punctuation and blanks (a space) and of signs that only format (nothing)."""
    table: dict[int, str | None] = {}
    for code in range(0x20000):
        category = unicodedata.category(chr(code))
        if category[0] in "PZ" or category == "Cc":
            table[code] = " "
        elif category == "Cf":
            table[code] = None
    return table


@cache
def _permutations() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Odd factors and offsets [permutations] of as many hash functions x -> (factor x + offset) mod 2^32."""
    numbers = np.frombuffer(hashlib.shake_256(b"mmcore").digest(NUM_PERMUTATIONS * 8), "<u4")
    factors, offsets = numbers.reshape(2, NUM_PERMUTATIONS).astype(np.uint32)
    return factors | np.uint32(1), offsets


def _signatures(normals: Sequence[str]) -> NDArray[np.uint8]:
    """[texts, permutations]: for each permutation one byte of the smallest hash."""
    least = np.empty((NUM_PERMUTATIONS, len(normals)), np.uint32)
    first = 0
    while first < len(normals):
        # As many texts as their hashes fit into the processor's cache.
        last, size = first + 1, len(normals[first])
        while last < len(normals) and size + len(normals[last]) <= _BLOCK:
            size += len(normals[last])
            last += 1
        hashes, starts = shingles(normals[first:last])
        for number, (factor, offset) in enumerate(zip(*_permutations(), strict=True)):
            least[number, first:last] = np.minimum.reduceat(factor * hashes + offset, starts)
        first = last
    signatures: NDArray[np.uint8] = ((least * _ODD) >> np.uint32(24)).astype(np.uint8)
    return signatures.T
