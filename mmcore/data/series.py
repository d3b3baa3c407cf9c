"""Numbers in the `.npy` files of numpy: what a modality of one's own (a sensor, radar, depth) reads them by.

A file is untrusted: of it only the header is read before its size is known, nothing in it is ever unpickled, and it has
to hold exactly the numbers that it promises.
"""

import io
import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mmcore.data.modalities import Limits, Media
from mmcore.settings import PrepareSettings

_KINDS = "fiu"
_MAX_BYTES_EACH = 8
_READ_HEADER: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0
}  # fmt: skip


def read_npy(data: bytes, limits: Limits) -> NDArray[np.float32]:
    """float32 of any shape; ValueError with the reason if the bytes are no `.npy` file of finite numbers, or of more
    than `limits.max_pixels` of them."""
    if not data:
        raise ValueError("the file is empty (0 bytes)")
    file = io.BytesIO(data)
    try:
        shape, fortran, dtype = _READ_HEADER[np.lib.format.read_magic(file)](file)
    except Exception as error:  # the header is an expression, which can be wrong in many ways
        reason = "of another version" if isinstance(error, KeyError) else str(error).partition("\n")[0]
        raise ValueError(f"the file cannot be read as .npy: {reason}") from None
    if dtype.hasobject or dtype.kind not in _KINDS or dtype.itemsize > _MAX_BYTES_EACH:
        raise ValueError(f"the file holds {dtype}, not numbers of at most {_MAX_BYTES_EACH} bytes")
    if min(shape, default=0) < 0:
        raise ValueError(f"the file states the shape {shape}")
    count = math.prod(shape)
    if count > limits.max_pixels:
        raise ValueError(f"the file holds {count} numbers, more than {limits.max_pixels}")
    there = len(data) - file.tell()
    if there != count * dtype.itemsize:
        raise ValueError(f"the file holds {there} bytes of numbers where its header promises {count * dtype.itemsize}")
    array = np.frombuffer(data, dtype, count, file.tell()).reshape(shape, order="F" if fortran else "C")
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(found).all():
        raise ValueError("the file holds values that are no numbers")
    return found


class Series:
    """Readings of `channels` numbers at each moment: a modality of one's own (see `Medium`) says how many.

    Of at most the first `moments` of them the model reads. `rate`: moments a second, by which `max_seconds` limits
    them; 0 where time has no meaning.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".npy",)
    numbers: ClassVar[tuple[str, ...]] = ("moments", "mean", "deviation", "low", "high")
    varies: ClassVar[bool] = True
    channels: ClassVar[int]
    moments: ClassVar[int]
    rate: ClassVar[float] = 0.0

    def decode(self, data: bytes, limits: Limits) -> Media:
        """float32 [T, channels] of a file [T, channels], or [T] where there is one; ValueError with the reason if it
        is none."""
        array = read_npy(data, limits)
        if array.ndim == 1 and self.channels == 1:
            array = array[:, None]
        if array.ndim != 2 or array.shape[1] != self.channels or not len(array):
            raise ValueError(f"the series has the shape {array.shape}, not (moments, {self.channels})")
        seconds = len(array) / self.rate if self.rate else 0.0
        if seconds > limits.max_seconds:
            raise ValueError(f"the series lasts {seconds:g} seconds, more than {limits.max_seconds:g}")
        return Media(array, seconds, self.rate)

    def describe(self, media: Media) -> dict[str, float]:
        """moments, and the mean, standard deviation, lowest and highest of all numbers."""
        values = media.array.astype(np.float64)
        found = (len(values), values.mean(), values.std(), values.min(), values.max())
        return dict(zip(self.numbers, map(float, found), strict=True))

    def transform(self, media: Media, prepare: PrepareSettings) -> NDArray[np.float32]:
        """float32 [T, channels], T at most `moments`."""
        array: NDArray[np.float32] = media.array[: self.moments]
        return array

    def largest(self, prepare: PrepareSettings) -> NDArray[np.float32]:
        """Zeros [moments, channels]."""
        return np.zeros((self.moments, self.channels), np.float32)
