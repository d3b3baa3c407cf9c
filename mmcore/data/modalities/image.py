"""Images: PNG, JPEG, WebP, BMP, TIFF and GIF, upright, in RGB, transparency over white.

Sound JPEGs are decoded by simplejpeg, which gives the very pixels that Pillow gives in half of its time; Pillow reads
everything else.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from mmcore.data.modalities import Limits, Media, thinned
from mmcore.settings import PrepareSettings

# Only formats that Pillow decodes by itself: none that starts another program.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
DESCRIBED_SIDE = 64
# A JPEG may repaint itself any number of times; encoders use about ten scans.
MAX_SCANS = 100
# A PNG may consist of empty chunks; encoders write one for every 8 KiB or more.
MAX_CHUNKS = 20_000
# Colour profiles and notes of cameras are smaller.
MAX_CHUNK_BYTES = 8 << 20
# So many times longer than short a picture may be when it is resized as a whole: a thread of pixels would grow without
# end, and nothing beyond its middle square is kept.
MAX_RATIO = 16

_ORIENTATION = 0x0112
_EXIF = b"Exif\0\0"
_TIFF_STARTS = (b"II*\0", b"MM\0*")
_APP1 = b"\xff\xe1"
_XMP = b"http://ns.adobe.com/xap/"
_PROGRESSIVE, _START_OF_SCAN = b"\xff\xc2", b"\xff\xda"
_ORIENTED = {"exif", "xmp", "Raw profile type exif", "XML:com.adobe.xmp"}
_JPEG_MODES = {"YCbCr": "RGB", "RGB": "RGB", "Gray": "L"}
# What undoes each orientation of EXIF: whether to mirror, then how many quarter turns against the clock.
_UPRIGHT = {1: (False, 0), 2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1), 6: (False, 3), 7: (True, 3),
            8: (False, 1)}  # fmt: skip

# Pillow's own limit warns after the fact; `decode` refuses by the header, before a pixel is decoded.
Image.MAX_IMAGE_PIXELS = None
# Texts inside a PNG unpack while its header is read; nothing here reads them.
PngImagePlugin.MAX_TEXT_MEMORY = 4 << 20


@dataclass(frozen=True)
class PictureHeader:
    """What a file says of its picture before anything is decoded.

    `mode`: Pillow's. `lies`: its orientation by EXIF, 1 (upright) to 8; None where EXIF is broken, which counts as
    upright. `moves`: whether there is more than one picture. `transparent`: whether it says how its parts
    let light through. `plain`: a JPEG that simplejpeg may decode.
    """

    format: str
    width: int
    height: int
    mode: str
    lies: int | None = 1
    moves: bool = False
    transparent: bool = False
    plain: bool = False


class Modality:
    """Still pictures."""

    suffixes = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
    numbers = ("brightness", "contrast", "colourfulness", "sharpness")
    varies = False

    def decode(self, data: bytes, limits: Limits) -> Media:
        """uint8 [H, W, 3] RGB of the encoded bytes, turned upright as EXIF says; ValueError with the reason if not."""
        header = read_header(data)
        if header.width * header.height > limits.max_pixels:
            raise ValueError(
                f"the image has {header.width} x {header.height} pixels, more than {limits.max_pixels} in all"
            )
        return Media(read_pixels(data, header)[0])

    def transform(self, media: Media, prepare: PrepareSettings) -> NDArray[np.uint8]:
        """uint8 [S, S, 3], S = `image_size`: the middle square, resized (bicubic, antialiased); or, with
        `image_resize`, what `resized_middle` cuts."""
        if prepare.image_resize is None:
            return square(media.array, prepare.image_size)
        return resized_middle(media.array, prepare.image_size, short=prepare.image_resize)

    def largest(self, prepare: PrepareSettings) -> NDArray[np.uint8]:
        """Zeros of the shape and type of every prepared image."""
        return np.zeros((prepare.image_size, prepare.image_size, 3), np.uint8)

    def describe(self, media: Media) -> dict[str, float]:
        """brightness and contrast (0 to 1), colourfulness (Hasler and Süsstrunk 2003, over 255), sharpness."""
        return picture_numbers(thinned(media.array, DESCRIBED_SIDE))


def read_header(data: bytes) -> PictureHeader:
    """The header of an encoded picture; ValueError with the reason if there is none that can be read."""
    size = _jpeg_size(data)
    if size is not None and _XMP not in data:
        return PictureHeader("JPEG", *size, lies=_jpeg_orientation(data), plain=True)
    with open_picture(data, "image") as picture:
        # Phones write JPEGs with a second, smaller picture behind the first: MPO.
        format = "JPEG" if picture.format == "MPO" else str(picture.format)
        moves = format != "JPEG" and _moves(picture)
        lies = _orientation(picture)
        return PictureHeader(
            format, *picture.size, picture.mode, lies, moves, _is_transparent(picture), plain=size is not None
        )


def read_pixels(data: bytes, header: PictureHeader) -> tuple[NDArray[np.uint8], str | None]:
    """uint8 [H, W, 3], upright, and what the decoder found wrong with the data, None if nothing.

    ValueError with the reason if nothing can be shown.
    """
    damage = None
    if header.plain:
        try:
            return _turned(simplejpeg.decode_jpeg(data, "RGB"), header.lies), None
        except ValueError as error:
            damage = str(error)
    with open_picture(data, "image") as picture:
        try:
            picture.load()
            # Pillow turns a TIFF by itself.
            return _turned(rgb(picture), 1 if header.format == "TIFF" else header.lies), damage
        except Exception as error:  # decoders raise whatever they like on broken bytes
            raise ValueError(f"the image cannot be decoded: {error}") from None


def open_picture(data: bytes, what: str) -> Image.Image:
    """Pillow's image with only the header read; a ValueError says what is wrong with it."""
    if not data:
        raise ValueError(f"the {what} is empty (0 bytes)")
    if data[:2] == b"\xff\xd8" and _has_many_scans(data):
        raise ValueError(f"the {what} is a JPEG of more than {MAX_SCANS} scans")
    if data[:4] == b"\x89PNG" and (overload := _overload(data)):
        raise ValueError(f"the {what} is a PNG {overload}")
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception as error:
        reason = "unknown or broken format" if "cannot identify" in str(error) else str(error)
        raise ValueError(f"the {what} cannot be read: {reason}") from None


def rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """uint8 [H, W, 3]; transparent parts are shown over white, 16-bit grey is scaled to 8."""
    if _is_transparent(picture):
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(white, picture)
    elif picture.mode.startswith("I"):
        grey = np.clip(np.asarray(picture).astype(np.int64) // 257, 0, 255).astype(np.uint8)
        picture = Image.fromarray(grey)
    return np.array(picture.convert("RGB"))


def square(array: NDArray[Any], side: int) -> NDArray[np.uint8]:
    """uint8 [side, side, 3]: the middle square of uint8 [H, W, 3], resized."""
    height, width = array.shape[:2]
    if height == width == side:
        return array.astype(np.uint8, copy=False)
    edge = min(height, width)
    left, top = (width - edge) / 2, (height - edge) / 2
    box = (left, top, left + edge, top + edge)
    return np.asarray(Image.fromarray(array).resize((side, side), Image.Resampling.BICUBIC, box=box))


def resized_middle(array: NDArray[Any], side: int, *, short: int) -> NDArray[np.uint8]:
    """uint8 [side, side, 3]: the middle of uint8 [H, W, 3] after its short side was resized to `short` pixels (bicubic,
    antialiased) and its long side in proportion, rounded down: the pixels of CLIP's image processor in transformers.

    Of a picture more than `MAX_RATIO` times as long as it is wide, the middle of that ratio is resized.
    """
    edge = min(array.shape[:2])
    array = _middle(array, *(min(length, MAX_RATIO * edge) for length in array.shape[:2]))
    height, width = (int(short * length / edge) for length in array.shape[:2])
    if (height, width) != array.shape[:2]:
        array = np.asarray(Image.fromarray(array).resize((width, height), Image.Resampling.BICUBIC))
    return np.ascontiguousarray(_middle(array, side, side), np.uint8)


def _middle(array: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """The middle [height, width, C] of [H, W, C]: of an odd number of rows or columns too many, most go behind it."""
    top, left = (array.shape[0] - height) // 2, (array.shape[1] - width) // 2
    return array[top : top + height, left : left + width]


def picture_numbers(array: NDArray[Any]) -> dict[str, float]:
    """Numbers for uint8 [H, W, 3]: see `Modality.describe`."""
    red, green, blue = array.transpose(2, 0, 1).astype(np.float32, order="C")
    grey = (0.299 * red + 0.587 * green + 0.114 * blue) / 255
    planes = np.stack([grey, red - green, 0.5 * (red + green) - blue]).reshape(3, -1)
    means = planes.mean(axis=1)
    planes -= means[:, None]
    spreads = np.sqrt((planes * planes).mean(axis=1))
    steps = [np.abs(after - before).mean() for after, before in ((grey[1:], grey[:-1]), (grey[:, 1:], grey[:, :-1]))
             if after.size]  # fmt: skip
    return {
        "brightness": float(means[0]),
        "contrast": float(spreads[0]),
        "colourfulness": float((np.hypot(*spreads[1:]) + 0.3 * np.hypot(*means[1:])) / 255),
        "sharpness": float(np.mean(steps)) if steps else 0.0,
    }


def _jpeg_size(data: bytes) -> tuple[int, int, str] | None:
    """Width, height and mode of a JPEG that simplejpeg may decode; None for CMYK and for what is no sound JPEG."""
    if data[:3] != b"\xff\xd8\xff" or _has_many_scans(data):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    return (width, height, _JPEG_MODES[colours]) if colours in _JPEG_MODES else None


def _is_transparent(picture: Image.Image) -> bool:
    return picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info


def _has_many_scans(data: bytes) -> bool:
    return _PROGRESSIVE in data and data.count(_START_OF_SCAN) > MAX_SCANS


def _overload(data: bytes) -> str:
    """What a PNG holds too much of: chunks, or bytes in one that is no part of the picture; empty if nothing."""
    place = 8
    for _ in range(MAX_CHUNKS):
        if place + 8 > len(data):
            return ""
        size = int.from_bytes(data[place : place + 4], "big")
        if size > MAX_CHUNK_BYTES and data[place + 4 : place + 8] not in (b"IDAT", b"fdAT"):
            return f"with {size} bytes beside its picture"
        place += 12 + size
    return f"of more than {MAX_CHUNKS} chunks"


def _moves(picture: Image.Image) -> bool:
    try:
        return bool(getattr(picture, "is_animated", False))
    except Exception:  # a second frame that cannot be read
        return True


def _orientation(picture: Image.Image) -> int | None:
    """1 to 8; None where EXIF cannot be read or says something else."""
    # Asking a PNG without EXIF for its EXIF would decode it.
    if picture.format != "TIFF" and not _ORIENTED & picture.info.keys():
        return 1
    block = picture.info.get("exif")
    if isinstance(block, bytes) and block.removeprefix(_EXIF)[:4] not in _TIFF_STARTS:
        return None
    return _lies(picture.getexif)


def _jpeg_orientation(data: bytes) -> int | None:
    """`_orientation` of a JPEG without XMP, whose other segments need not be read for it."""
    start = data.find(_EXIF)
    if start < 0 or data[start - 4 : start - 2] != _APP1:
        return 1
    block = data[start : start - 2 + int.from_bytes(data[start - 2 : start], "big")]
    if block[len(_EXIF) :][:4] not in _TIFF_STARTS:
        return None

    def read() -> Image.Exif:
        exif = Image.Exif()
        exif.load(block)
        return exif

    return _lies(read)


def _lies(read: Callable[[], Image.Exif]) -> int | None:
    try:
        found = read().get(_ORIENTATION, 1) or 1
    except Exception:  # Pillow raises whatever it likes on a broken block
        return None
    return found if found in _UPRIGHT else None


def _turned(array: NDArray[np.uint8], lies: int | None) -> NDArray[np.uint8]:
    mirror, turns = _UPRIGHT[lies or 1]
    if not mirror and not turns:
        return array
    return np.ascontiguousarray(np.rot90(array[:, ::-1] if mirror else array, turns))
