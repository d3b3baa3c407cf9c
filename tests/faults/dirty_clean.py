"""Sound media of great variety: whatever cameras, scanners, phones, editors and recorders leave."""

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Picture = Image.Image
Rng = np.random.Generator


# Pictures ------------------------------------------------------------------------------------------------------------


def photo(rng: Rng, width: int = 0, height: int = 0) -> Picture:
    """Soft fields of colour with shapes before them and grain over them; no two look alike."""
    width = width or int(rng.integers(64, 260))
    height = height or int(rng.integers(64, 260))
    field = Image.fromarray(rng.integers(0, 256, (int(rng.integers(3, 7)), int(rng.integers(3, 7)), 3), np.uint8))
    made = field.resize((width, height), Image.Resampling.BICUBIC)
    _shapes(made, rng, int(rng.integers(2, 7)))
    grain = rng.normal(0, rng.uniform(2, 12), (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(made) + grain, 0, 255).astype(np.uint8))


def drawing(rng: Rng) -> Picture:
    """Flat shapes and a word on plain paper."""
    made = Image.new("RGB", (int(rng.integers(90, 240)), int(rng.integers(90, 240))), (255, 255, 250))
    _shapes(made, rng, int(rng.integers(7, 16)))
    word = "".join(chr(97 + int(letter)) for letter in rng.integers(0, 26, 9))
    ImageDraw.Draw(made).text((8, int(rng.integers(8, 70))), word, fill=(20, 20, 20))
    return made


def _shapes(picture: Picture, rng: Rng, count: int) -> None:
    pen = ImageDraw.Draw(picture)
    for _ in range(count):
        left, top = int(rng.integers(-20, picture.width)), int(rng.integers(-20, picture.height))
        box = (left, top, left + int(rng.integers(12, 120)), top + int(rng.integers(12, 120)))
        colour = tuple(int(one) for one in rng.integers(0, 256, 3))
        draw = (pen.ellipse, pen.rectangle)[int(rng.integers(2))]
        draw(box, fill=colour)


def shaded(rng: Rng, low: int, high: int) -> Picture:
    """A photograph whose values lie between two greys: night, snow or fog."""
    values = np.asarray(photo(rng)).astype(np.float32)
    return Image.fromarray((low + values * (high - low) / 255).astype(np.uint8))


def see_through(rng: Rng) -> Picture:
    made = photo(rng).convert("RGBA")
    mask = Image.new("L", made.size, 0)
    ImageDraw.Draw(mask).ellipse((4, 4, made.width - 4, made.height - 4), fill=int(rng.integers(120, 256)))
    made.putalpha(mask)
    return made


def encoded(picture: Picture, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def turned(rng: Rng) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = int(rng.integers(2, 9))
    exif[0x010F], exif[0x0131] = "Cámara", "editor 1.0"
    return encoded(photo(rng), "JPEG", exif=exif, quality=88)


def deep_grey(rng: Rng) -> Picture:
    return Image.fromarray(np.asarray(photo(rng).convert("L")).astype(np.uint16) * 257)


def _sound_pictures(rng: Rng) -> dict[str, Any]:
    """Makers of encoded pictures with the extension that fits."""
    return {
        "jpeg .jpg": lambda: encoded(photo(rng), "JPEG", quality=int(rng.integers(40, 98))),
        "upper case .JPG": lambda: encoded(photo(rng), "JPEG", quality=90),
        "long extension .jpeg": lambda: encoded(photo(rng), "JPEG", subsampling=0, comment=b"holiday"),
        "progressive .jpg": lambda: encoded(photo(rng), "JPEG", progressive=True, optimize=True),
        "grey jpeg .jpg": lambda: encoded(photo(rng).convert("L"), "JPEG"),
        "cmyk jpeg .jpg": lambda: encoded(photo(rng).convert("CMYK"), "JPEG", quality=90),
        "turned .jpg": lambda: turned(rng),
        "restart markers .jpg": lambda: encoded(photo(rng), "JPEG", restart_marker_blocks=4),
        "png .png": lambda: encoded(photo(rng)),
        "png at 300 dpi .png": lambda: encoded(photo(rng), dpi=(300, 300), compress_level=9),
        "drawing .png": lambda: encoded(drawing(rng)),
        "drawing as gif .gif": lambda: encoded(drawing(rng), "GIF"),
        "see-through .png": lambda: encoded(see_through(rng)),
        "palette .png": lambda: encoded(photo(rng).quantize(32)),
        "palette see-through .png": lambda: encoded(photo(rng).quantize(16), transparency=3),
        "grey .png": lambda: encoded(photo(rng).convert("L")),
        "grey see-through .png": lambda: encoded(see_through(rng).convert("LA")),
        "two colours .png": lambda: encoded(photo(rng).convert("1")),
        "16 bit .png": lambda: encoded(deep_grey(rng)),
        "webp .webp": lambda: encoded(photo(rng), "WEBP", quality=80),
        "lossless webp .webp": lambda: encoded(photo(rng), "WEBP", lossless=True),
        "see-through webp .webp": lambda: encoded(see_through(rng), "WEBP"),
        "bmp .bmp": lambda: encoded(photo(rng), "BMP"),
        "tiff .tiff": lambda: encoded(photo(rng), "TIFF"),
        "tiff lzw .tif": lambda: encoded(photo(rng), "TIFF", compression="tiff_lzw"),
        "tiff cmyk .tif": lambda: encoded(photo(rng).convert("CMYK"), "TIFF", compression="tiff_deflate"),
        "night .jpg": lambda: encoded(shaded(rng, 0, 50), "JPEG", quality=92),
        "snow .jpg": lambda: encoded(shaded(rng, 190, 255), "JPEG", quality=92),
        "fog .png": lambda: encoded(shaded(rng, 100, 150)),
        "tiny .png": lambda: encoded(photo(rng, 16, 16)),
        "small .jpg": lambda: encoded(photo(rng, 18, 24), "JPEG", quality=95),
        "panorama .jpg": lambda: encoded(photo(rng, 1500, 150), "JPEG"),
        "tall .png": lambda: encoded(photo(rng, 60, 600)),
        "odd size .png": lambda: encoded(photo(rng, 97, 31)),
    }


def sound_picture(rng: Rng) -> tuple[bytes, str]:
    """An encoded picture and the extension that its file would have."""
    if rng.random() < 0.01:
        return encoded(photo(rng, 2400, 1600), "JPEG", quality=85), ".jpg"
    makers = _sound_pictures(rng)
    name = str(rng.choice(list(makers)))
    return makers[name](), name.split()[-1]


# Sounds --------------------------------------------------------------------------------------------------------------


def voice(rng: Rng, seconds: float, rate: int) -> NDArray[np.float64]:
    """[samples] in -1 to 1: syllables of a wandering pitch with overtones, a little noise, pauses."""
    times = np.arange(round(seconds * rate)) / rate
    pitch = rng.uniform(90, 260) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.5, 3) * times + rng.uniform(0, 6)))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    made = sum(rng.uniform(0.1, 1) / order * np.sin(order * phase) for order in range(1, 9))
    knots = rng.uniform(0, 1, max(3, round(seconds * 6))) ** 2
    loud = np.interp(times, np.linspace(0, max(seconds, 1e-9), len(knots)), knots)
    made = made * loud + rng.normal(0, 0.02, len(times))
    return np.asarray(made / max(1e-9, np.abs(made).max()))


def wav(
    samples: NDArray[Any], rate: int, *, bits: int = 16, floating: bool = False, extensible: bool = False,
    notes: bytes = b"",
) -> bytes:  # fmt: skip
    """A WAV file of samples [n] or [n, channels] in -1 to 1."""
    samples = samples[:, None] if samples.ndim == 1 else samples
    channels, width = samples.shape[1], bits // 8
    if floating:
        body = samples.astype(f"<f{width}").tobytes()
    elif bits == 8:
        body = np.clip(samples * 127 + 128, 0, 255).astype(np.uint8).tobytes()
    else:
        whole = np.clip(np.round(samples * (2 ** (bits - 1) - 1)), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        raw = np.ascontiguousarray(whole.astype("<i4")).view(np.uint8).reshape(-1, 4)
        body = raw[:, :width].tobytes()
    code = 3 if floating else 1
    header = struct.pack("<HHIIHH", 0xFFFE if extensible else code, channels, rate, rate * channels * width,
                         channels * width, bits)  # fmt: skip
    if extensible:
        guid = struct.pack("<H", code) + bytes.fromhex("000000001000800000aa00389b71")
        header += struct.pack("<HHI", 22, bits, 0) + guid
    chunks = chunk(b"fmt ", header) + (chunk(b"LIST", b"INFOINAM" + notes) if notes else b"") + chunk(b"data", body)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


RATES = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000)


def sound_recording(rng: Rng) -> tuple[bytes, float]:
    """A WAV of some rate, depth and number of channels, loud or quiet, and how long it lasts."""
    rate = int(rng.choice(RATES))
    made = voice(rng, float(rng.uniform(0.4, 2.5)), rate) * 10 ** (-rng.uniform(1, 36) / 20)
    channels = int(rng.choice([1, 1, 1, 2, 2, 6]))
    if channels > 1:
        made = np.stack([made * gain for gain in rng.uniform(0.5, 1, channels)], axis=1)
    bits, floating = ((16, False), (16, False), (24, False), (32, False), (32, True), (64, True))[rng.integers(6)]
    if rng.random() < 0.1:
        bits, floating, made = 8, False, made / np.abs(made).max() * 0.7
    extensible, notes = bool(rng.random() < 0.2), b"\x05\0\0\0song\0\0" if rng.random() < 0.2 else b""
    return wav(made, rate, bits=bits, floating=floating, extensible=extensible, notes=notes), len(made) / rate


# Clips ---------------------------------------------------------------------------------------------------------------


def frames(rng: Rng, count: int, width: int = 64, height: int = 48) -> list[Picture]:
    """A disc that moves through a photograph."""
    behind = photo(rng, width, height)
    colour = tuple(int(one) for one in rng.integers(0, 256, 3))
    left, top, right, down = rng.integers(0, 24), rng.integers(0, 20), rng.uniform(1, 4), rng.uniform(1, 3)
    made = []
    for number in range(count):
        frame = behind.copy()
        x, y = float(left + number * right), float(top + number * down)
        ImageDraw.Draw(frame).ellipse((x, y, x + 16, y + 16), fill=colour)
        made.append(frame)
    return made


def clip(pictures: list[Picture], milliseconds: int, format: str = "PNG") -> bytes:
    """The pictures as an animated PNG, GIF or WebP."""
    return encoded(
        pictures[0], format, save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0
    )  # fmt: skip


def sound_clip(rng: Rng) -> tuple[bytes, float, str]:
    """A clip, its length in seconds and its extension."""
    milliseconds, count = int(rng.choice([40, 80, 100, 200])), int(rng.integers(4, 13))
    format, extension = (("PNG", ".png"), ("PNG", ".png"), ("GIF", ".gif"), ("WEBP", ".webp"))[rng.integers(4)]
    return clip(frames(rng, count), milliseconds, format), count * milliseconds / 1000, extension
