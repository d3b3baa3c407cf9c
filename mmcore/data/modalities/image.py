"""Images: PNG, JPEG, WebP, BMP, TIFF and GIF through Pillow, upright, in RGB, transparency over white."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mmcore.data.modalities import Limits, Media, thinned
from mmcore.settings import PrepareSettings

# Only formats that Pillow decodes by itself: none that starts another program.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
DESCRIBED_SIDE = 256

# Pillow's own limit warns after the fact; `decode` refuses by the header, before a pixel is decoded.
Image.MAX_IMAGE_PIXELS = None


class Modality:
    """Still pictures."""

    def decode(self, data: bytes, limits: Limits) -> Media:
        """uint8 [H, W, 3] RGB of the encoded bytes, turned upright as EXIF says; ValueError with the reason if not."""
        with open_picture(data, "image") as picture:
            if picture.width * picture.height > limits.max_pixels:
                raise ValueError(
                    f"the image has {picture.width} x {picture.height} pixels, more than {limits.max_pixels} in all"
                )
            try:
                return Media(rgb(ImageOps.exif_transpose(picture)))
            except Exception as error:  # decoders raise whatever they like on broken bytes
                raise ValueError(f"the image cannot be decoded: {error}") from None

    def transform(self, media: Media, prepare: PrepareSettings) -> NDArray[np.uint8]:
        """uint8 [S, S, 3], S = `image_size`: the middle square, resized (bicubic, antialiased)."""
        return square(media.array, prepare.image_size)

    def describe(self, media: Media) -> dict[str, float]:
        """brightness and contrast (0 to 1), colourfulness (Hasler and Süsstrunk 2003, over 255), sharpness."""
        return picture_numbers(thinned(media.array, DESCRIBED_SIDE))


def open_picture(data: bytes, what: str) -> Image.Image:
    """Pillow's image with only the header read; a ValueError says what is wrong with it."""
    if not data:
        raise ValueError(f"the {what} is empty (0 bytes)")
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception as error:
        reason = "unknown or broken format" if "cannot identify" in str(error) else str(error)
        raise ValueError(f"the {what} cannot be read: {reason}") from None


def rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """uint8 [H, W, 3]; transparent parts are shown over white, 16-bit grey is scaled to 8."""
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
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


def picture_numbers(array: NDArray[Any]) -> dict[str, float]:
    """Numbers for uint8 [H, W, 3]: see `Modality.describe`."""
    red, green, blue = (array[..., channel].astype(np.float32) for channel in range(3))
    grey = (0.299 * red + 0.587 * green + 0.114 * blue) / 255
    red_green, yellow_blue = red - green, 0.5 * (red + green) - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    offset = np.hypot(red_green.mean(), yellow_blue.mean())
    steps = [np.abs(np.diff(grey, axis=axis)).mean() for axis in (0, 1) if grey.shape[axis] > 1]
    return {
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "colourfulness": float((spread + 0.3 * offset) / 255),
        "sharpness": float(np.mean(steps)) if steps else 0.0,
    }
