"""The kinds of media and text a sample may hold. A file in this folder is a modality; its class is `Modality`.

Preparation, the request log and the packaged model all call these same functions, so a picture that is sent to the
served model becomes exactly the array that training saw.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcore.registry import Table


@dataclass(frozen=True)
class Limits:
    """What is refused before it is decoded. `max_pixels` counts all frames of a clip together."""

    max_pixels: int
    max_seconds: float
    max_frames: int


UNLIMITED = Limits(max_pixels=1 << 40, max_seconds=float("inf"), max_frames=1 << 30)


@dataclass(frozen=True)
class Media:
    """One decoded file.

    `array`: image uint8 [H, W, 3] RGB; video uint8 [F, H, W, 3] RGB; audio float32 [samples], mono, -1 to 1.
    `seconds`: its length in time, 0 for an image. `rate`: samples or frames a second, 0 for an image.
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


def thinned(array: NDArray[Any], side: int) -> NDArray[Any]:
    """[H, W, C] with rows and columns left out evenly until neither exceeds `side`: enough to describe it."""
    step = max(1, -(-max(array.shape[0], array.shape[1]) // side))
    return np.ascontiguousarray(array[::step, ::step])


MODALITIES: Table[type[Any]] = Table("modality", folder="mmcore.data.modalities", attribute="Modality")
