"""How samples of each modality are spoiled, so that what finds the unusual can be judged without an example of it.

A way of spoiling makes of a sample, another sample and random numbers the spoiled sample, as the model takes it:
pictures uint8 [S, S, 3], clips uint8 [F, S, S, 3], recordings float16 [T, mels] (a step is 10 ms), texts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mmcore.data.batches import Rows, padded, texts_of
from mmcore.models.processor import Processor

Array = NDArray[Any]
Random = np.random.Generator
Way = Callable[[Any, Any, Random], Any]

# The baseline sees pictures and frames in so many squares each way, and recordings in so many parts.
SQUARES = PARTS = 8
# A picture is torn into so many pieces each way.
PIECES = 4
# Standard deviation of the noise on pictures, of 255, and on recordings, of their own standard deviation.
PICTURE_NOISE, RECORDING_NOISE = 40.0, 0.5
# What is cut off of a recording at either end of its numbers.
CLIPPED = 0.2
# The baseline counts pairs of characters in so many places.
PLACES = 1024
# Letters of an alphabet that few corpora are written in: Georgian.
FIRST_LETTER, LETTERS = 0x10D0, 33


def reordered(count: int, random: Random) -> list[int]:
    """The numbers below `count` in an order that is not the natural one, if there is another."""
    order = random.permutation(count)
    while count > 1 and (np.diff(order) > 0).all():
        order = random.permutation(count)
    return [int(number) for number in order]


# Clips ---------------------------------------------------------------------------------------------------------------


def cut(clip: Array, other: Array, random: Random) -> Array:
    """From the middle it goes on as another clip."""
    return np.concatenate([clip[: len(clip) // 2], other[len(clip) // 2 :]])


def flash(clip: Array, other: Array, random: Random) -> Array:
    """The middle frame is that of another clip."""
    middle = len(clip) // 2
    return np.concatenate([clip[:middle], other[middle : middle + 1], clip[middle + 1 :]])


def frozen(clip: Array, other: Array, random: Random) -> Array:
    """It stands still at the middle frame."""
    return np.repeat(clip[len(clip) // 2, None], len(clip), axis=0)


def shuffled_frames(clip: Array, other: Array, random: Random) -> Array:
    return clip[reordered(len(clip), random)]


def backwards(sample: Array, other: Array, random: Random) -> Array:
    return sample[::-1]


# Pictures ------------------------------------------------------------------------------------------------------------


def blank(picture: Array, other: Array, random: Random) -> Array:
    """A square of half the side is black, anywhere."""
    side = len(picture) // 2
    top, left = random.integers(0, len(picture) - side + 1, 2)
    made = picture.copy()
    made[top : top + side, left : left + side] = 0
    return made


def pasted(picture: Array, other: Array, random: Random) -> Array:
    """The right half is that of another picture."""
    half = len(picture) // 2
    return np.concatenate([picture[:, :half], other[:, half:]], axis=1)


def negative(picture: Array, other: Array, random: Random) -> Array:
    return 255 - picture


def noisy_picture(picture: Array, other: Array, random: Random) -> Array:
    made: Array = np.clip(picture + random.normal(0, PICTURE_NOISE, picture.shape), 0, 255).astype(np.uint8)
    return made


def torn(picture: Array, other: Array, random: Random) -> Array:
    """Its pieces have changed places; what the pieces leave at the edges stays."""
    side = len(picture) // PIECES
    inner = picture[: side * PIECES, : side * PIECES].reshape(PIECES, side, PIECES, side, -1).swapaxes(1, 2)
    mixed = inner.reshape(PIECES**2, side, side, -1)[reordered(PIECES**2, random)].reshape(inner.shape)
    made = picture.copy()
    made[: side * PIECES, : side * PIECES] = mixed.swapaxes(1, 2).reshape(side * PIECES, side * PIECES, -1)
    return made


# Recordings ----------------------------------------------------------------------------------------------------------


def silenced(recording: Array, other: Array, random: Random) -> Array:
    """A third sounds throughout like the stillest step, the one whose numbers differ least."""
    still = recording[recording.astype(np.float32).var(axis=1).argmin(), None]
    return _replaced(recording, np.repeat(still, max(1, len(recording) // 3), axis=0), random)


def spliced(recording: Array, other: Array, random: Random) -> Array:
    """A third is from another recording."""
    length = min(max(1, len(recording) // 3), len(other))
    start = random.integers(0, len(other) - length + 1)
    return _replaced(recording, other[start : start + length], random)


def noisy_recording(recording: Array, other: Array, random: Random) -> Array:
    loudness = RECORDING_NOISE * recording.astype(np.float32).std()
    made: Array = (recording + random.normal(0, loudness, recording.shape)).astype(recording.dtype)
    return made


def clipped(recording: Array, other: Array, random: Random) -> Array:
    """Its largest and smallest numbers, a fifth each, are cut off."""
    ends = np.quantile(recording.astype(np.float32), [CLIPPED, 1 - CLIPPED])
    low, high = ends.astype(recording.dtype)
    return np.clip(recording, low, high)


def _replaced(recording: Array, piece: Array, random: Random) -> Array:
    """The recording with the piece in place of a stretch of its length, anywhere."""
    start = random.integers(0, len(recording) - len(piece) + 1)
    return np.concatenate([recording[:start], piece, recording[start + len(piece) :]])


# Texts ---------------------------------------------------------------------------------------------------------------


def shuffled_words(text: str, other: str, random: Random) -> str:
    words, joint = _words(text)
    return joint.join(words[place] for place in reordered(len(words), random))


def mixed(text: str, other: str, random: Random) -> str:
    """From the middle it goes on as another text from its middle."""
    (words, joint), (others, _) = _words(text), _words(other)
    return joint.join(words[: (len(words) + 1) // 2] + others[len(others) // 2 :])


def repeated(text: str, other: str, random: Random) -> str:
    """One word is said three times."""
    words, joint = _words(text)
    place = random.integers(len(words))
    return joint.join([*words[:place], *[words[place]] * 3, *words[place + 1 :]])


def garbled(text: str, other: str, random: Random) -> str:
    """The characters of each word are in another order."""
    return " ".join("".join(word[place] for place in reordered(len(word), random)) for word in text.split())


def foreign(text: str, other: str, random: Random) -> str:
    """Each letter is one of another alphabet."""
    return "".join(chr(FIRST_LETTER + ord(one) % LETTERS) if one.isalpha() else one for one in text)


def _words(text: str) -> tuple[list[str], str]:
    """The words of a text and what joins them; of a text without blanks its characters."""
    words = text.split()
    return (words, " ") if len(words) > 1 else (list(text), "")


# What a plain baseline compares: no model, the sample alone ----------------------------------------------------------


def squares(pictures_BSSC: Sequence[Array]) -> Tensor:
    """The mean colours of a picture's squares [B, Q]."""
    values = torch.from_numpy(np.stack(pictures_BSSC)).float().permute(0, 3, 1, 2)
    return F.adaptive_avg_pool2d(values, SQUARES).flatten(1)


def changing_squares(clips_BFSSC: Sequence[Array]) -> Tensor:
    """How the mean colours of a frame's squares change from frame to frame [B, Q]."""
    clips = np.stack(clips_BFSSC)
    return squares([*clips.reshape(-1, *clips.shape[2:])]).reshape(*clips.shape[:2], -1).diff(dim=1).flatten(1)


def spectrum(recordings_BTM: Sequence[Array]) -> Tensor:
    """The mean of each band in each part of a recording [B, Q]."""
    bands = [torch.from_numpy(one.astype(np.float32)).T[None] for one in recordings_BTM]
    return torch.cat([F.adaptive_avg_pool1d(one, PARTS).flatten(1) for one in bands])


def bigrams(texts_B: Sequence[str]) -> Tensor:
    """How often each pair of neighbouring characters stands in a text [B, Q]; pairs share places."""
    counts = torch.zeros(len(texts_B), PLACES)
    for row, text in zip(counts, texts_B, strict=True):
        for one, following in pairwise(text):
            row[(31 * ord(one) + ord(following)) % PLACES] += 1
    return counts


@dataclass(frozen=True)
class Kind:
    """One modality: the `column` that its samples are in, a `sample` of a corpus, samples as an `input` of the model,
    the `ways` of spoiling one, and what the `baseline` compares."""

    column: str
    sample: Callable[[Rows, int], Any]
    input: Callable[[Processor, Sequence[Any]], tuple[Tensor, Tensor]]
    ways: Mapping[str, Way]
    plain: Callable[[Sequence[Any]], Tensor]
    baseline: str


def _stacked(processor: Processor, samples: Sequence[Array]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(np.stack(samples)), torch.ones(len(samples), dtype=torch.bool)


KINDS = {
    "video": Kind(
        "video", lambda rows, index: rows.array("video", index), _stacked,
        {"cut": cut, "shuffled": shuffled_frames, "reversed": backwards, "frozen": frozen, "flash": flash},
        changing_squares, "pixels",
    ),
    "image": Kind(
        "image", lambda rows, index: rows.array("image", index), _stacked,
        {"blank": blank, "pasted": pasted, "negative": negative, "noisy": noisy_picture, "torn": torn},
        squares, "pixels",
    ),
    "audio": Kind(
        "audio", lambda rows, index: rows.array("audio", index), lambda processor, samples: padded(samples),
        {
            "silenced": silenced, "reversed": backwards, "spliced": spliced, "noisy": noisy_recording,
            "clipped": clipped,
        },
        spectrum, "spectrum",
    ),
    "text": Kind(
        "captions", lambda rows, index: texts_of(rows.rows[index], "captions")[0],
        lambda processor, samples: processor.texts(samples),
        {"shuffled": shuffled_words, "mixed": mixed, "repeated": repeated, "garbled": garbled, "foreign": foreign},
        bigrams, "bigrams",
    ),
}  # fmt: skip
