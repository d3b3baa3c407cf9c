"""What is measured of pictures and clips. What a header shows to be too much is not decoded."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcore.data.modalities import MODALITIES, Limits, Media, thinned
from mmcore.data.modalities.image import DESCRIBED_SIDE, PictureHeader, open_picture, read_header, read_pixels
from mmcore.quality import fingerprints
from mmcore.quality.probes import formats
from mmcore.quality.probes.numbers import rounded

_IMAGE, _VIDEO = MODALITIES["image"](), MODALITIES["video"]()
# Frames are counted up to here; a clip that claims more is no clip.
_UNTIL = Limits(max_pixels=1 << 62, max_seconds=math.inf, max_frames=100_000)
# A small picture may be all one colour; a large one that takes next to no bytes is made to fill memory.
LARGE_PIXELS = 4_000_000
_PLAIN_MODES = ("1", "L", "RGB", "LA", "RGBA", "RGBX")
# What a decoder fills in where data are missing.
_FILLING = (126, 130)
_LIVELY = 4.0
# Cameras leave a few bytes behind a picture's data.
_SPARE_BYTES = 16


@dataclass(frozen=True)
class PictureLimits:
    """What is not decoded: `max_pixels` (all frames together), `max_frames`, and large pictures of which one byte
    holds more than `max_unpacking` bytes."""

    max_pixels: int
    max_frames: int
    max_unpacking: float


def probe_image(data: bytes, limits: PictureLimits, facts: dict[str, Any]) -> None:
    """Add what can be said of a picture to `facts`; ValueError with the reason if it cannot be decoded."""
    header = read_header(data)
    facts |= _size_facts("image", header.format, header.width, header.height, 1)
    facts["image_moves"] = header.moves
    facts["image_exif_ok"] = header.lies is not None
    facts["image_hides"] = formats.hides_another(data, header.format)
    unpacking = _unpacking(data, facts["image_pixels"])
    facts["image_unpacking"] = unpacking
    if facts["image_pixels"] > limits.max_pixels or (unpacking or 0) > limits.max_unpacking:
        return
    array, damage = read_pixels(data, header)
    facts["image_ok"] = True
    facts["image_damage"] = _damage(data, header, damage)
    small = thinned(array, DESCRIBED_SIDE)
    facts["image_range"] = float(np.abs(small.astype(np.int16) - small[0, 0]).max())
    facts["image_grey_end"] = _grey_end(small)
    facts |= {f"image_{key}": rounded(value) for key, value in _IMAGE.describe(Media(small)).items()}
    facts["image_fingerprint"] = fingerprints.of_image(array)
    facts["repairs"] += _repairs(data, header)


def probe_video(data: bytes, limits: PictureLimits, facts: dict[str, Any]) -> None:
    """Add what can be said of a clip to `facts`; ValueError with the reason if it cannot be decoded."""
    header = _VIDEO.header(data, _UNTIL)
    facts |= _size_facts("video", header.format, header.width, header.height, header.num_frames)
    facts["num_frames"] = header.num_frames
    facts["video_seconds"] = header.seconds or None
    if header.num_frames > limits.max_frames or facts["video_pixels"] > limits.max_pixels:
        return
    media = _VIDEO.decode(data, Limits(limits.max_pixels, math.inf, limits.max_frames))
    facts["video_ok"] = True
    facts["num_frames"] = len(media.array)
    facts["video_rate"] = rounded(media.rate)
    facts |= {f"video_{key}": rounded(value) for key, value in _VIDEO.describe(media).items()}
    facts["video_still"] = all(np.array_equal(frame, media.array[0]) for frame in media.array[1:])
    facts["video_fingerprint"] = fingerprints.of_video(media.array)


def _size_facts(name: str, format: str, width: int, height: int, num_frames: int) -> dict[str, Any]:
    """Format and size as the header states them; `<name>_pixels` counts all frames."""
    side = min(width, height)
    return {
        f"{name}_format": format, f"{name}_width": width, f"{name}_height": height, f"{name}_side": side,
        f"{name}_pixels": width * height * num_frames, f"{name}_aspect": rounded(max(width, height) / max(side, 1)),
    }  # fmt: skip


def _unpacking(data: bytes, pixels: int) -> float | None:
    return rounded(3 * pixels / len(data)) if pixels > LARGE_PIXELS else None


def _damage(data: bytes, header: PictureHeader, found: str | None) -> str | None:
    """What is wrong with the data of a picture that could be shown."""
    if header.format == "PNG":
        try:
            # Shown or not, a part whose checksum is wrong is not what was saved.
            with open_picture(data, "image") as picture:
                picture.verify()
        except Exception as error:  # Pillow raises SyntaxError, OSError, ValueError ...
            return str(error)
    if found is not None and "extraneous bytes" in found:
        number = found.partition(":")[2].split()[0]
        return found if not number.isdigit() or int(number) > _SPARE_BYTES else None
    return found


def _grey_end(small: NDArray[np.uint8]) -> float:
    """The share of rows at the bottom that are a decoder's filling, where there is a picture above them."""
    low, high = _FILLING
    if not low <= small[-1, 0, 0] <= high:
        return 0.0
    filled = ((small >= low) & (small <= high)).all(axis=(1, 2))
    seen = np.flatnonzero(~filled)
    end = int(seen[-1]) + 1 if len(seen) else 0
    # A drawing on grey is no torn photograph: that has something to show in every row.
    if 5 * end < len(small) or small[:end].std(axis=(1, 2)).min() < _LIVELY:
        return 0.0
    return rounded(1 - end / len(small))


def _repairs(data: bytes, header: PictureHeader) -> list[str]:
    """What decoding changed beyond unpacking, as problem codes."""
    found = []
    if header.lies not in (None, 1):
        found.append("rotated_by_exif")
    if header.mode not in _PLAIN_MODES or (header.format == "PNG" and data[24] == 16):
        found.append("converted_colours")
    if header.transparent and _is_see_through(data):
        found.append("flattened_alpha")
    return found


def _is_see_through(data: bytes) -> bool:
    with open_picture(data, "image") as picture:
        lowest = picture.convert("RGBA").getchannel("A").getextrema()[0]
    return isinstance(lowest, int) and lowest < 255
