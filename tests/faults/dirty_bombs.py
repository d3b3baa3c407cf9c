"""Small files that become huge when they are opened: pictures, frames, texts inside pictures, and a giant caption."""

import io
import struct
import zlib

from PIL import Image

from tests.faults.dirty_captions import sentence
from tests.faults.dirty_clean import Rng, encoded, photo
from tests.faults.dirty_images import described, png_chunks, png_of
from tests.faults.dirty_kinds import Columns, Kinds

kinds = Kinds()

DEPTHS = {"two colours": (1, 0), "grey": (8, 0), "colours": (8, 2), "sixteen bit": (16, 6)}
_CHANNELS = {0: 1, 2: 3, 6: 4}


def black_png(width: int, height: int, *, depth: int = 1, colour: int = 0) -> bytes:
    """A whole PNG of zeros, packed at a thousand to one without ever being whole in memory."""
    row = bytes(1 + -(-width * depth * _CHANNELS[colour] // 8))
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return png_of([(b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")])


def _zeros(mebibytes: int) -> bytes:
    """That many MiB of zeros, deflated."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(mebibytes)) + packer.flush()


def _unlike(rng: Rng) -> int:
    """A few pixels more or less, so that no two bombs are the same file."""
    return int(rng.integers(0, 60))


def _add(data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    first, *rest = png_chunks(data)
    return png_of([first, *chunks, *rest])


# Many pixels ---------------------------------------------------------------------------------------------------------


@kinds("bomb", "reject")
def png_of_13000(rng: Rng) -> Columns:
    """About 20 KB; as RGB half a gigabyte."""
    return described(rng, black_png(13000 + _unlike(rng), 13000))


@kinds("bomb", "reject")
def png_of_20000(rng: Rng) -> Columns:
    return described(rng, black_png(20000, 20000 + _unlike(rng)))


@kinds("bomb", "reject")
def sixteen_bit_png(rng: Rng) -> Columns:
    """Eight bytes a pixel: 60 million of them are half a gigabyte even before they are RGB."""
    return described(rng, black_png(8000 + _unlike(rng), 7600, depth=16, colour=6))


@kinds("bomb", "reject")
def png_one_pixel_high(rng: Rng) -> Columns:
    return described(rng, black_png(100_000_000 + _unlike(rng), 1))


@kinds("bomb", "reject")
def png_of_largest_size(rng: Rng) -> Columns:
    """The largest sides that a PNG can state, over the pixels of a small one."""
    chunks = png_chunks(encoded(photo(rng)))
    return described(rng, png_of([(b"IHDR", b"\x7f\xff\xff\xff" * 2 + chunks[0][1][8:]), *chunks[1:]]))


@kinds("bomb", "reject", extension=".jpg")
def jpeg_of_65500(rng: Rng) -> Columns:
    data = bytearray(encoded(photo(rng), "JPEG"))
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", 65500, 65500)
    return described(rng, bytes(data))


@kinds("bomb", "reject", extension=".webp")
def webp_of_16383(rng: Rng) -> Columns:
    """A whole lossless WebP of one colour: each pixel costs no bit at all."""
    return described(rng, plain_webp(16383, 16383 - _unlike(rng), int(rng.integers(256))))


def plain_webp(width: int, height: int, green: int) -> bytes:
    bits = [(0x2F, 8), (width - 1, 14), (height - 1, 14), (0, 1), (0, 3), (0, 1), (0, 1), (0, 1)]
    for symbol in (green, 0, 0, 255, 0):  # green, red, blue, alpha, distance: one symbol each, of eight bits
        bits += [(1, 1), (0, 1), (1, 1), (symbol, 8)]
    number = place = 0
    for value, size in bits:
        number |= value << place
        place += size
    body = number.to_bytes(-(-place // 8) + 1, "little")
    body += b"\0" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBPVP8L" + struct.pack("<I", len(body)) + body


@kinds("bomb", "reject", extension=".tiff")
def tiff_of_20000(rng: Rng) -> Columns:
    """One deflated strip of zeros."""
    return described(rng, black_tiff(20000, 20000 + _unlike(rng)))


def black_tiff(width: int, height: int) -> bytes:
    packer = zlib.compressobj(9)
    row = bytes(-(-width // 8))
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    tags = [(256, 4, width), (257, 4, height), (258, 3, 1), (259, 3, 8), (262, 3, 1), (273, 4, 8), (277, 3, 1),
            (278, 4, height), (279, 4, len(packed))]  # fmt: skip
    listed = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, kind, 1, v) for tag, kind, v in tags)
    packed += b"\0" * (len(packed) % 2)
    return b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + listed + bytes(4)


@kinds("bomb", "reject", extension=".bmp")
def bmp_of_30000(rng: Rng) -> Columns:
    """Run-length coded: the few bytes skip to the end."""
    width = 30000 + _unlike(rng)
    header = struct.pack("<IiiHHIIiiII", 40, width, 30000, 1, 8, 1, 2, 2835, 2835, 2, 0)
    body = b"\0\1"
    start = 14 + len(header) + 8
    file = struct.pack("<2sIHHI", b"BM", start + len(body), 0, 0, start)
    return described(rng, file + header + b"\0\0\0\0\xff\xff\xff\0" + body)


@kinds("bomb", "reject", extension=".gif")
def gif_of_65535(rng: Rng) -> Columns:
    """A frame of one pixel on a giant screen."""
    data = bytearray(encoded(photo(rng, 20, 20), "GIF"))
    data[6:10] = struct.pack("<HH", 65535, 65535 - _unlike(rng))
    return described(rng, bytes(data))


# Many frames ---------------------------------------------------------------------------------------------------------


def many_frames_gif(count: int, width: int, height: int, *, seed: int) -> bytes:
    """A GIF of `count` one-pixel frames on a screen of that size."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes([seed % 256, 9, 9, 250, 250, 250])
    control = b"\x21\xf9\x04\x04\x04\x00\x00\x00"
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return head + (control + frame) * count + b";"


def many_frames_png(count: int, width: int, height: int, *, seed: int) -> bytes:
    """An animated PNG whose every frame is a whole black picture."""
    row = bytes(1 + -(-width // 8))
    packed = zlib.compress(row * height, 9)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)),
              (b"acTL", struct.pack(">II", count, seed % 1000))]  # fmt: skip
    number = 0
    for place in range(count):
        chunks.append((b"fcTL", struct.pack(">IIIIIHHBB", number, width, height, 0, 0, 4, 100, 0, 0)))
        number += 1
        if place == 0:
            chunks.append((b"IDAT", packed))
        else:
            chunks.append((b"fdAT", struct.pack(">I", number) + packed))
            number += 1
    return png_of([*chunks, (b"IEND", b"")])


def told(rng: Rng, video: bytes) -> Columns:
    return {"video": video, "captions": [{"text": sentence(rng, "en"), "lang": "en"}]}


@kinds("bomb", "reject", extension=".gif")
def gif_of_10000_frames(rng: Rng) -> Columns:
    return told(rng, many_frames_gif(10_000 + _unlike(rng), 64, 64, seed=_unlike(rng)))


@kinds("bomb", "reject", extension=".gif")
def gif_of_large_frames(rng: Rng) -> Columns:
    """600 frames on a screen of 5000 x 5000: 45 GB as RGB."""
    return told(rng, many_frames_gif(600, 5000 + _unlike(rng), 5000, seed=_unlike(rng)))


@kinds("bomb", "reject")
def apng_of_10000_frames(rng: Rng) -> Columns:
    return told(rng, many_frames_png(10_000, 32, 32 + _unlike(rng), seed=_unlike(rng)))


@kinds("bomb", "reject")
def apng_of_large_frames(rng: Rng) -> Columns:
    return told(rng, many_frames_png(300, 3000 + _unlike(rng), 3000, seed=_unlike(rng)))


@kinds("bomb", "reject", extension=".gif")
def picture_of_10000_frames(rng: Rng) -> Columns:
    """Where one picture belongs, and every frame is as large as a poster."""
    return described(rng, many_frames_gif(10_000, 8000 + _unlike(rng), 8000, seed=_unlike(rng)))


# What is written into a picture --------------------------------------------------------------------------------------


@kinds("bomb", "reject")
def text_in_png(rng: Rng) -> Columns:
    """64 KB that inflate to 64 MiB of comment."""
    return described(rng, _add(encoded(photo(rng)), (b"zTXt", b"Comment\0\0" + _zeros(64))))


@kinds("bomb", "reject")
def many_texts_in_png(rng: Rng) -> Columns:
    """Three hundred comments, each below any limit of its own."""
    packed = zlib.compress(bytes(1_000_000), 9)
    return described(rng, _add(encoded(photo(rng)), *((b"zTXt", b"k%d\0\0" % n + packed) for n in range(300))))


@kinds("bomb", "reject")
def colour_profile_in_png(rng: Rng) -> Columns:
    return described(rng, _add(encoded(photo(rng)), (b"iCCP", b"sRGB\0\0" + _zeros(96))))


@kinds("bomb", "flag", extension=".jpg")
def colour_profile_in_jpeg(rng: Rng) -> Columns:
    """Fourteen megabytes of profile on a small picture, which can be read all the same."""
    return described(rng, encoded(photo(rng), "JPEG", icc_profile=rng.bytes(14_000_000)))


@kinds("bomb", "flag")
def exif_in_png(rng: Rng) -> Columns:
    """Camera notes of thirty megabytes, on a picture that can be read all the same."""
    entry = struct.pack("<HHII", 0x927C, 7, 30_000_000, 26)
    notes = b"II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4) + rng.bytes(30_000_000)
    return described(rng, _add(encoded(photo(rng)), (b"eXIf", notes)))


@kinds("bomb", "reject", extension=".tiff")
def tiff_of_many_tags(rng: Rng) -> Columns:
    """A tag that claims four thousand million values."""
    data = bytearray(encoded(photo(rng), "TIFF"))
    place = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, place)[0]
    for entry in range(place + 2, place + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, entry)[0] == 273:
            data[entry + 4 : entry + 8] = b"\xff\xff\xff\xff"
    return described(rng, bytes(data))


@kinds("bomb", "reject", extension=".jpg")
def jpeg_of_many_scans(rng: Rng) -> Columns:
    """A progressive picture whose last scan stands there two thousand times: small in memory, seconds of work."""
    file = io.BytesIO()
    Image.new("L", (1600, 1600 + _unlike(rng)), 128).save(file, "JPEG", progressive=True, quality=50)
    data = file.getvalue().removesuffix(b"\xff\xd9")
    last = data[data.rindex(b"\xff\xda") :]
    return described(rng, data + last * 2000 + b"\xff\xd9")


# A caption -----------------------------------------------------------------------------------------------------------


@kinds("bomb", "reject", extension=".jpg")
def caption_of_50_megabytes(rng: Rng) -> Columns:
    words = " ".join(sentence(rng, "en") for _ in range(200))
    text = (words * (1 + 50_000_000 // len(words)))[:50_000_000]
    return {"image": encoded(photo(rng), "JPEG"), "captions": [{"text": text, "lang": "en"}]}
