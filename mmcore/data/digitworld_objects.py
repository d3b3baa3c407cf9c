"""What DigitWorld draws with: kinds, colours, sizes, real handwriting, and pictures as bytes."""

import gzip
import importlib.util
import io
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIDE = 48
SEED = 7
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SHAPES = ("circle", "square", "triangle", "star")
KINDS = DIGITS + SHAPES
COLOURS = {
    "red": (225, 55, 50),
    "green": (60, 190, 75),
    "blue": (65, 105, 240),
    "yellow": (240, 215, 60),
    "purple": (175, 75, 215),
    "white": (240, 240, 240),
}
# Of each digit's handwriting samples: 80 % are for training, 8 % for validation, 12 % for the test.
SHARES = (0.80, 0.88)
NOISE = 10
FORM_SIDE = 96
_CONTENTS = ("scene", "clip", "sentiment", "fault")
_SPLITS = ("train", "validation", "test")


def seeded(content: str, split: str, index: int) -> np.random.Generator:
    """The random numbers of one row: they depend on nothing else."""
    return np.random.default_rng((SEED, _SPLITS.index(split), _CONTENTS.index(content), index))


@cache
def handwriting() -> dict[str, dict[str, NDArray[np.uint8]]]:
    """`[split][digit]`: uint8 [samples, 8, 8] of scikit-learn's digits, read from its file; splits are disjoint."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise LookupError("DigitWorld takes its digits from scikit-learn; install it: pip install scikit-learn")
    path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",")
    pictures = np.round(table[:, :64] * 255 / 16).astype(np.uint8).reshape(-1, 8, 8)
    parts: dict[str, dict[str, NDArray[np.uint8]]] = {split: {} for split in _SPLITS}
    for digit, name in enumerate(DIGITS):
        own = pictures[table[:, 64] == digit]
        own = own[np.random.default_rng((SEED, digit)).permutation(len(own))]
        cuts = [round(share * len(own)) for share in SHARES]
        for split, part in zip(_SPLITS, np.split(own, cuts), strict=True):
            parts[split][name] = part
    return parts


def stencil(rng: np.random.Generator, kind: str, split: str) -> Image.Image:
    """The form of one object, to be resized: a digit in somebody's hand, or a shape turned at random."""
    if kind in DIGITS:
        samples = handwriting()[split][kind]
        return Image.fromarray(samples[rng.integers(len(samples))])
    return _shape(kind, int(rng.integers(360)))


@cache
def _shape(kind: str, degrees: int) -> Image.Image:
    side = FORM_SIDE
    picture = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(picture)
    if kind == "circle":
        draw.ellipse((2, 2, side - 3, side - 3), fill=255)
    else:
        points = {"square": 4, "triangle": 3, "star": 10}[kind]
        angles = 2 * np.pi * np.arange(points) / points + np.deg2rad(degrees)
        radius = np.where(np.arange(points) % 2 == 0, 1.0, 0.45 if kind == "star" else 1.0) * (side / 2 - 1.1)
        # Whole pixels, since the last bits of a sine differ between machines; 1.1 keeps half pixels out, too.
        corners = np.round(side / 2 + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(int)
        draw.polygon([(int(x), int(y)) for x, y in corners], fill=255)
    return picture


def mask(form: Image.Image, side: int) -> NDArray[np.int32]:
    """[side, side], 0 to 255: the form at the size wanted."""
    way = Image.Resampling.BICUBIC if form.width < side else Image.Resampling.BOX
    return np.asarray(form.resize((side, side), way), np.int32)


def background(rng: np.random.Generator) -> NDArray[np.int32]:
    """[48, 48, 3]: dark, a little tinted, with noise."""
    tint = rng.integers(15, 50, 3)
    return tint + rng.integers(-NOISE, NOISE + 1, (SIDE, SIDE, 3))


def paint(canvas: NDArray[np.int32], form: NDArray[np.int32], centre: tuple[int, int], colour: tuple[int, ...]) -> None:
    """Put a form in one colour onto the canvas around `centre` (x, y); what lies outside is cut off."""
    side = len(form)
    left, top = centre[0] - side // 2, centre[1] - side // 2
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, SIDE), min(top + side, SIDE)
    part = form[y0 - top : y1 - top, x0 - left : x1 - left, None]
    region = canvas[y0:y1, x0:x1]
    region += (np.asarray(colour, np.int32) - region) * part // 255


def shade(rng: np.random.Generator, colour: str) -> tuple[int, ...]:
    """A colour as it comes out this time."""
    return tuple(int(c) for c in np.asarray(COLOURS[colour]) + rng.integers(-14, 15, 3))


def finish(canvas: NDArray[np.int32]) -> NDArray[np.uint8]:
    return np.clip(canvas, 0, 255).astype(np.uint8)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """uint8 [H, W, 3] as PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def apng(frames: NDArray[np.uint8], milliseconds: int) -> bytes:
    """uint8 [F, H, W, 3] as an animated PNG that plays once."""
    file = io.BytesIO()
    first, *rest = [Image.fromarray(frame) for frame in frames]
    first.save(file, "PNG", save_all=True, append_images=rest, duration=milliseconds, loop=1, compress_level=1)
    return file.getvalue()
