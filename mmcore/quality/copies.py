"""Whether two pictures, clips, recordings or texts are copies of each other: the proof that follows a suspicion.

Pictures: one is laid over the other (moved, scaled, brighter) until they agree best; what is left must be small
everywhere except in one corner, where a mark may sit. Shapes: F files, P or N pairs, S
side.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmcore.data.modalities import Media
from mmcore.data.modalities.audio import resample
from mmcore.quality import fingerprints
from mmcore.quality.neighbours import Pairs

SIDE = 48
# A clip is compared by so many frames, of which one may differ.
FRAMES = 4
# Recordings are compared by their first seconds at this rate; copies correlate at least so much.
AUDIO_RATE, AUDIO_SECONDS = 4000, 4
_AUDIO_SAMPLES = AUDIO_RATE * AUDIO_SECONDS
_CORRELATION = 0.9
# The first seconds are counted from the first sample that is no weaker than this share of the loudest.
_HEARD = 1e-3
# Texts are copies if so much of what either says is in both.
SIMILARITY = 0.9

_Floats = NDArray[np.floating[Any]]
_Bools = NDArray[np.bool_]

_COARSE = 8
_ALIKE = 0.95
_STEPS = 3
# A copy shows at least this share of the original in each direction, and is not distorted by more than half of it.
_MOST_SCALED, _MOST_MOVED, _MOST_DISTORTED = 0.08, 0.05, 0.03
_GAIN = (0.8, 1.25)
_BLOCK = 6
# Blocks across and down in a corner that a mark may cover.
_MARK = (3, 2)
# What may be left where one lies over the other: this many grey levels, and this share of the slope, where a fraction
# of a pixel counts most. Half of the pixels keep within it, and every block within a multiple of it.
_LEVELS, _OF_SLOPE = 1.0, 0.2
_MOST_USUAL, _MOST_IN_BLOCK = 1.0, 3.0
# The mean colour of a block, in which such fractions cancel out, keeps closer: another skin is no other light.
_OF_SLOPE_IN_MEAN, _MOST_IN_MEAN = 0.05, 3.5
# From here on a channel may be cut off by its range.
_BRIGHTEST = 250
_PAIRS_AT_ONCE, _LOOKED_AT_ONCE = 256, 8192


@dataclass(frozen=True)
class Evidence:
    """How files of one kind are compared: `take` makes of a decoded file what is kept of it, of this `shape` and
    `dtype`; `same` says of a stack of those [F, ...] and pairs of places in it [P, 2] which pairs are copies [P]."""

    shape: tuple[int, ...]
    dtype: type[np.generic]
    take: Callable[[Media], NDArray[Any]]
    same: Callable[[NDArray[Any], Pairs], _Bools]


def picture(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [S, S, 3]: uint8 [H, W, 3] squashed to the size in which pictures are compared."""
    return np.asarray(Image.fromarray(array).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def frames(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [4, S, S, 3]: frames spread over a clip uint8 [F, H, W, 3], in the size in which they are compared."""
    return np.stack([picture(array[(2 * k + 1) * len(array) // (2 * FRAMES)]) for k in range(FRAMES)])


def recording(samples: NDArray[np.float32], rate: float) -> NDArray[np.float32]:
    """float32 [16,000]: the slope of the first four seconds in which something is heard at 4 kHz, of length 1 as a
    vector; zeros follow a shorter one. The slope, since a hum that two recordings share would outweigh all else."""
    samples = samples[int((np.abs(samples) >= _HEARD * np.abs(samples).max()).argmax()) :]
    start = resample(samples[: round(AUDIO_SECONDS * rate)], round(rate), AUDIO_RATE)[:_AUDIO_SAMPLES]
    slope = np.diff(start, prepend=start[:1])
    slope = slope / max(float(np.sqrt((slope.astype(np.float64) ** 2).sum())), 1e-6)
    return np.pad(slope, (0, _AUDIO_SAMPLES - len(slope))).astype(np.float32)


def same_pictures(pictures_FSSC: NDArray[np.uint8], pairs: Pairs) -> _Bools:
    """[P]: which pairs of pictures (see `picture`) are copies: re-encoded, scaled, brighter or darker, cropped by a few
    percent, marked in a corner."""
    same = _alike(_quarters(pictures_FSSC), pairs)
    same[same] = _overlaid(pictures_FSSC, pairs[same])
    return same


def same_frames(frames_FKSSC: NDArray[np.uint8], pairs: Pairs) -> _Bools:
    """[P]: which pairs of clips (see `frames`) are copies: all frames but one are."""

    def enough(agreeing: list[_Bools]) -> _Bools:
        return np.asarray(np.sum(agreeing, axis=0) >= FRAMES - 1)

    same = enough([_alike(_quarters(frames_FKSSC[:, k]), pairs) for k in range(FRAMES)])
    same[same] = enough([_overlaid(frames_FKSSC[:, k], pairs[same]) for k in range(FRAMES)])
    return same


def same_recordings(recordings_FT: NDArray[np.float32], pairs: Pairs) -> _Bools:
    """[P]: which pairs of recordings (see `recording`) are copies: shifted in time, their waves fall together."""
    same = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        chosen, places = np.unique(pairs[start : start + _PAIRS_AT_ONCE], return_inverse=True)
        ones, others = places.reshape(-1, 2).T
        spectra = np.fft.rfft(recordings_FT[chosen], 2 * _AUDIO_SAMPLES)
        waves = np.fft.irfft(spectra[ones] * spectra[others].conj(), 2 * _AUDIO_SAMPLES)
        same[start : start + _PAIRS_AT_ONCE] = np.abs(waves).max(axis=1) >= _CORRELATION
    return same


def same_texts(texts: Sequence[Sequence[str]], pairs: Pairs) -> _Bools:
    """[P]: which pairs of samples say the same: their texts are equal in normal form, or nine tenths of their runs of
    four characters are in both (Jaccard)."""
    normals = [fingerprints.normal_form(own) for own in texts]
    same = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), _LOOKED_AT_ONCE):
        part = pairs[start : start + _LOOKED_AT_ONCE]
        chosen, places = np.unique(part, return_inverse=True)
        values, starts = fingerprints.shingles([normals[place] for place in chosen])
        runs = [frozenset(own.tolist()) for own in np.split(values, starts[1:])]
        flat: list[int] = places.ravel().tolist()
        for number, (one, other) in enumerate(zip(flat[0::2], flat[1::2], strict=True)):
            shared = len(runs[one] & runs[other])
            equal = normals[chosen[one]] == normals[chosen[other]]
            same[start + number] = equal or shared >= SIMILARITY * (len(runs[one]) + len(runs[other]) - shared)
    return same


# A first look -------------------------------------------------------------------------------------------------------


def _alike(quarters_FQV: _Floats, pairs: Pairs) -> _Bools:
    """[P]: which pairs correlate, but for the quarter that disagrees most."""
    sums_FQ, squares_FQ = quarters_FQV.sum(axis=2), (quarters_FQV**2).sum(axis=2)
    values = 3 * quarters_FQV.shape[2]
    alike = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), _LOOKED_AT_ONCE):
        one, other = pairs[start : start + _LOOKED_AT_ONCE].T
        products_PQ = np.einsum("pqv,pqv->pq", quarters_FQV[one], quarters_FQV[other])
        best = np.full(len(one), -1.0)
        for left_out in range(4):
            kept = [quarter for quarter in range(4) if quarter != left_out]
            sums, squares = sums_FQ[:, kept].sum(axis=1), squares_FQ[:, kept].sum(axis=1)
            spread = np.sqrt(np.maximum(squares - sums**2 / values, 1e-3))
            shared = products_PQ[:, kept].sum(axis=1) - sums[one] * sums[other] / values
            best = np.maximum(best, shared / (spread[one] * spread[other]))
        alike[start : start + _LOOKED_AT_ONCE] = best >= _ALIKE
    return alike


def _quarters(pictures_FSSC: NDArray[np.uint8]) -> _Floats:
    """float32 [F, 4, V]: the coarse colours of each quarter, about zero."""
    count, cell, half = len(pictures_FSSC), SIDE // _COARSE, _COARSE // 2
    coarse = np.empty((count, _COARSE, _COARSE, 3), np.float32)
    for start in range(0, count, _LOOKED_AT_ONCE):
        part = pictures_FSSC[start : start + _LOOKED_AT_ONCE]
        coarse[start : start + _LOOKED_AT_ONCE] = part.reshape(len(part), _COARSE, cell, _COARSE, cell, 3).mean(
            axis=(2, 4), dtype=np.float32
        )
    coarse -= coarse.mean(axis=(1, 2, 3), keepdims=True)
    quarters: _Floats = coarse.reshape(count, 2, half, 2, half, 3).swapaxes(2, 3).reshape(count, 4, -1)
    return quarters


# Laying one picture over the other ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Overlay:
    """How well pairs agree. `placed` [N, 4]: scale and shift, down and across, in sides; `gain` [N]: how much brighter;
    what is left as a multiple of what may be left [N]: in the median pixel (`usual`), in the worst block (`worst`) and
    in the mean colour of the worst block (`shifted`)."""

    placed: _Floats
    gain: _Floats
    usual: _Floats
    worst: _Floats
    shifted: _Floats

    def same(self) -> _Bools:
        scale, shift = self.placed[:, 0::2] - 1, self.placed[:, 1::2]
        found: _Bools = (
            (np.abs(scale).max(axis=1) <= _MOST_SCALED)
            & (np.abs(shift).max(axis=1) <= _MOST_MOVED)
            & (np.abs(scale[:, 0] - scale[:, 1]) <= _MOST_DISTORTED)
            & (self.gain >= _GAIN[0])
            & (self.gain <= _GAIN[1])
            & (self.usual <= _MOST_USUAL)
            & (self.worst <= _MOST_IN_BLOCK)
            & (self.shifted <= _MOST_IN_MEAN)
        )
        return found


def _overlaid(pictures_FSSC: NDArray[np.uint8], pairs: Pairs) -> _Bools:
    """[P]: which pairs agree once one lies over the other."""
    same = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        one, other = pairs[start : start + _PAIRS_AT_ONCE].T
        same[start : start + _PAIRS_AT_ONCE] = _overlay(pictures_FSSC[one], pictures_FSSC[other]).same()
    return same


def _overlay(ones_NSSC: NDArray[np.uint8], others_NSSC: NDArray[np.uint8]) -> _Overlay:
    """The first of each pair laid over the second: weighted least squares for small moves (Lucas and Kanade 1981)."""
    original, target = (_smooth(np.moveaxis(x, -1, 1).astype(np.float32)) for x in (ones_NSSC, others_NSSC))
    count = len(original)
    placed: _Floats = np.tile(np.array([1, 0, 1, 0], np.float32), (count, 1))
    cut_off = target >= _BRIGHTEST
    near = np.ones((count, 1, SIDE, SIDE), np.float32)
    for _ in range(_STEPS):
        moved, inside = _moved(original, placed)
        step, gain, offset = _solved(moved, target, near * inside * ~(cut_off | (moved >= _BRIGHTEST)))
        placed = placed + step
        moved, inside = _moved(original, placed)
        difference = target - np.clip(gain * moved + offset, 0, 255)
        # What one of the two cuts off may be any amount brighter in the other.
        difference = np.where(moved >= _BRIGHTEST, np.minimum(difference, 0), difference)
        error = np.sqrt((difference**2).mean(axis=1, keepdims=True))
        near = (error <= 4 * np.median(error, axis=(2, 3), keepdims=True) + 2).astype(np.float32)
    slope = np.sqrt(sum((np.gradient(target, axis=axis) ** 2).mean(axis=1) for axis in (2, 3)))
    allowed = _OF_SLOPE * slope + _LEVELS
    usual = np.median((error[:, 0] / allowed).reshape(count, -1), axis=1)
    seen = inside[:, 0]
    worst = np.sqrt(_in_blocks(error[:, 0] ** 2 * seen) / np.maximum(_in_blocks(allowed**2 * seen), 1e-3))
    mean = np.abs(_in_blocks(difference * inside)).max(axis=1)
    shifted = mean / (_LEVELS + _OF_SLOPE_IN_MEAN * np.sqrt(_in_blocks(slope**2)))
    return _Overlay(placed, gain[:, 0, 0, 0], usual, _highest(worst), _highest(shifted))


def _solved(moved: _Floats, target: _Floats, weights: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    """The change of place [N, 4], the gain and the offset [N, 1, 1, 1] that bring `moved` closest to `target`."""
    count = len(moved)
    middle = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE - 0.5
    down, across = (np.gradient(moved, axis=axis) * SIDE for axis in (2, 3))
    terms = [down * middle[:, None], down, across * middle, across, moved, np.ones_like(moved)]
    values = np.stack([term.reshape(count, -1) for term in terms], axis=1)
    weighted = values * weights.reshape(count, 1, -1)
    square = weighted @ values.transpose(0, 2, 1) + 1e-2 * np.eye(len(terms), dtype=np.float32)
    found = np.linalg.solve(square, weighted @ target.reshape(count, -1, 1))[..., 0]
    gain, offset = found[:, 4], found[:, 5]
    step = found[:, :4] / np.where(np.abs(gain) < 0.1, 1, gain)[:, None]
    return np.clip(step, -0.1, 0.1), gain[:, None, None, None], offset[:, None, None, None]


def _moved(pictures_NCSS: _Floats, placed: _Floats) -> tuple[_Floats, _Floats]:
    """The pictures scaled and shifted about their middle (bilinear), and where there is something to see, 0 or 1."""
    rows, seen_rows = _reading(placed[:, 0], placed[:, 1])
    columns, seen_columns = _reading(placed[:, 2], placed[:, 3])
    moved = rows[:, None] @ pictures_NCSS @ columns[:, None].transpose(0, 1, 3, 2)
    return moved, (seen_rows[:, :, None] * seen_columns[:, None, :])[:, None]


def _reading(scale: _Floats, shift: _Floats) -> tuple[_Floats, _Floats]:
    """[N, S, S] that reads a line at scaled and shifted places, and [N, S]: 1 where these are inside."""
    middle = (np.arange(SIDE) + 0.5) / SIDE - 0.5
    places = (scale[:, None] * middle + shift[:, None] + 0.5) * SIDE - 0.5
    inside = (places > -0.51) & (places < SIDE - 0.49)
    weights = np.maximum(1 - np.abs(np.clip(places, 0, SIDE - 1)[:, :, None] - np.arange(SIDE)), 0)
    return weights.astype(np.float32), inside.astype(np.float32)


def _in_blocks(values: _Floats) -> _Floats:
    """[..., blocks, blocks]: the mean of [..., S, S] in each block."""
    blocks = SIDE // _BLOCK
    means: _Floats = values.reshape(*values.shape[:-2], blocks, _BLOCK, blocks, _BLOCK).mean(axis=(-3, -1))
    return means


def _highest(values_NBB: _Floats) -> _Floats:
    """[N]: the highest value of all blocks but those of one corner, the one where that helps most."""
    across, down = _MARK
    highest: _Floats = np.full(len(values_NBB), np.inf, np.float32)
    for rows in (slice(0, down), slice(-down, None)):
        for columns in (slice(0, across), slice(-across, None)):
            kept = values_NBB.copy()
            kept[:, rows, columns] = 0
            highest = np.minimum(highest, kept.max(axis=(1, 2)))
    return highest


def _smooth(pictures_NCSS: _Floats) -> _Floats:
    """Each pixel with a quarter of each neighbour, down and across: what is left of re-encoding is evened out."""
    padded = np.pad(pictures_NCSS, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    down = (2 * padded[:, :, 1:-1] + padded[:, :, :-2] + padded[:, :, 2:]) / 4
    smooth: _Floats = (2 * down[..., 1:-1] + down[..., :-2] + down[..., 2:]) / 4
    return smooth


EVIDENCE = {
    "image": Evidence((SIDE, SIDE, 3), np.uint8, lambda media: picture(media.array), same_pictures),
    "video": Evidence((FRAMES, SIDE, SIDE, 3), np.uint8, lambda media: frames(media.array), same_frames),
    "audio": Evidence((_AUDIO_SAMPLES,), np.float32, lambda media: recording(media.array, media.rate), same_recordings),
}
