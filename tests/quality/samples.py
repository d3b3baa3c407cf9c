"""Small samples whose numbers one can work out by hand, and the limits that they are judged by."""

import io
import wave
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmcore.data import store
from mmcore.settings import ValidateSettings

LIMITS = ValidateSettings(
    min_accepted_share=0.5, min_rows=1, min_side=16, max_pixels=10_000, max_seconds=2.0, max_frames=8,
    max_unpacking=500.0, duration_tolerance=0.1, max_characters=100,
)  # fmt: skip


def image(value: int = 128, *, width: int = 20, height: int = 16, mode: str = "RGB", **save: Any) -> bytes:
    """A PNG (or `format`) of one colour with a black corner, so that no two values give one file."""
    pixels = np.full((height, width, 3), value, np.uint8)
    pixels[0, 0] = 0
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, save.pop("format", "PNG"), **save)
    return file.getvalue()


def pattern(name: str) -> bytes:
    """A PNG of 20 x 16 in twenty colours that belong to the name."""
    colours = np.random.default_rng(list(name.encode())).integers(0, 256, (4, 5, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(colours.repeat(4, axis=0).repeat(4, axis=1)).save(file, "PNG")
    return file.getvalue()


def scene(seed: int, *, width: int = 128, height: int = 96) -> NDArray[np.uint8]:
    """uint8 [height, width, 3]: smooth shapes in many colours, as in a photograph, with fine grain."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int64)
    return np.clip(smooth + rng.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8)


def tune(seed: int, *, seconds: float = 1.5, rate: int = 8000) -> NDArray[np.float32]:
    """Twelve tones with overtones, none of them like those of another seed."""
    rng = np.random.default_rng(seed)
    tones = []
    for pitch in rng.uniform(150, 1800, 12):
        times = np.arange(round(seconds * rate / 12)) / rate
        wave_form = sum(np.sin(2 * np.pi * pitch * k * times) / k for k in (1, 2, 3))
        tones.append(wave_form * np.exp(-8 * times) * rng.uniform(0.1, 0.4))
    return np.concatenate(tones).astype(np.float32)


def clip(*values: int, milliseconds: int = 100) -> bytes:
    """An animated PNG with one plain frame of 20 x 16 per value."""
    frames = [Image.fromarray(np.full((16, 20, 3), value, np.uint8)) for value in values]
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], duration=milliseconds)
    return file.getvalue()


def sound(seconds: float = 1.0, *, pitch: float = 200.0, rate: int = 8000) -> bytes:
    """A WAV with a sine at half of full scale."""
    times = np.arange(round(seconds * rate)) / rate
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes((16384 * np.sin(2 * np.pi * pitch * times)).astype("<i2").tobytes())
    return file.getvalue()


def captions(*texts: str) -> list[dict[str, str]]:
    return [{"text": text, "lang": "en"} for text in texts]


def sample(name: str, **columns: Any) -> store.Row:
    """A store row; without columns, one image with one caption that no other name is like."""
    columns = columns or {"image": pattern(name), "captions": captions(f"a {name}")}
    return store.row(id=name, **columns)
