"""The kinds of media and text a sample may hold. A file in this folder is a modality; its class is `Modality`. A plugin
adds one of its own by `@MODALITIES.add("sensor")` above a class that does what `Medium` says.

Preparation, the request log and the packaged model all call these same functions, so a picture that is sent to the
served model becomes exactly the array that training saw.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from mmcore.registry import Table
from mmcore.settings import PrepareSettings

# The media that come with mmcore, in the order in which samples are hashed.
BUILT_IN = ("image", "audio", "video")
# What a modality cannot be called, since a sample or a request has it already under that name.
_TAKEN = {
    "id", "group", "source", "split", "text", "captions", "caption", "transcript", "summary", "qa", "question",
    "labels", "label", "positives", "meta", "clip", "task",
}  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What is refused before it is decoded. `max_pixels` counts all frames of a clip together, and the numbers of what
    is no picture. `whole`: whether a file is refused that ends before its header says, which others measure."""

    max_pixels: int
    max_seconds: float
    max_frames: int
    whole: bool = False


UNLIMITED = Limits(max_pixels=1 << 40, max_seconds=float("inf"), max_frames=1 << 30)


@dataclass(frozen=True)
class Media:
    """One decoded file.

    `array`: image uint8 [H, W, 3] RGB; video uint8 [F, H, W, 3] RGB; audio float32 [samples], mono, -1 to 1; whatever
    else a modality of one's own reads. `seconds`: its length in time, 0 for an image. `rate`: samples or frames a
    second, 0 for an image.
    """

    array: NDArray[Any]
    seconds: float = 0.0
    rate: float = 0.0

    @property
    def width(self) -> int:
        return int(self.array.shape[-2]) if self.array.ndim >= 3 else 0

    @property
    def height(self) -> int:
        return int(self.array.shape[-3]) if self.array.ndim >= 3 else 0


class Medium(Protocol):
    """What every modality does whose samples are files.

    `suffixes`: what its files are called. `numbers`: the names of what `describe` measures, by which samples are
    compared. `varies`: whether the arrays of samples are [T, ...] of a length of their own, which batches pad and mask
    [B, T]; else they are all of one shape, and a batch is masked by presence [B].
    """

    suffixes: ClassVar[tuple[str, ...]]
    numbers: ClassVar[tuple[str, ...]]
    varies: ClassVar[bool]

    def decode(self, data: bytes, limits: Limits) -> Media:
        """What the file holds; ValueError with the reason if that cannot be read, or if its header exceeds the limits,
        which is found out before anything is decoded."""

    def describe(self, media: Media) -> dict[str, float]:
        """The `numbers` of what was decoded."""

    def transform(self, media: Media, prepare: PrepareSettings) -> NDArray[Any]:
        """The array that the encoder reads: a function of the media and the settings alone."""

    def largest(self, prepare: PrepareSettings) -> NDArray[Any]:
        """Zeros of the shape and type of the largest array that `transform` gives."""


def thinned(array: NDArray[Any], side: int) -> NDArray[Any]:
    """[H, W, C] with rows and columns left out evenly until neither exceeds `side`: enough to describe it."""
    step = max(1, -(-max(array.shape[0], array.shape[1]) // side))
    return np.ascontiguousarray(array[::step, ::step])


MODALITIES: Table[type[Any]] = Table("modality", folder="mmcore.data.modalities", attribute="Modality")


def media() -> tuple[str, ...]:
    """The modalities whose samples are files: `BUILT_IN`, then those that plugins have added, by name.

    ValueError for one whose name cannot be a column.
    """
    return _media(tuple(MODALITIES.names()))


def own_media() -> tuple[str, ...]:
    """Those of `media` that plugins have added."""
    return media()[len(BUILT_IN) :]


def modules_of_own() -> tuple[str, ...]:
    """The modules that have added them."""
    return tuple(dict.fromkeys(MODALITIES[name].__module__ for name in own_media()))


@cache
def _media(names: tuple[str, ...]) -> tuple[str, ...]:
    own = [name for name in names if name not in (*BUILT_IN, "text")]
    # A served model is sent several files of one modality under its name with an s.
    taken = _TAKEN | {f"{name}s" for name in (*names, "clip")}
    for name in own:
        if not re.fullmatch("[a-z][a-z0-9]*", name) or name in taken:
            raise ValueError(
                f"a modality cannot be called '{name}'; take small letters and digits, and none of: "
                + ", ".join(sorted(taken))
            )
    return (*BUILT_IN, *own)
