"""Pictures that are none: cut, garbled, empty, half written, or something else under a picture's name."""

import base64
import gzip
import io
import struct
import zipfile
import zlib

import numpy as np

from tests.faults.dirty_captions import sentence
from tests.faults.dirty_clean import Rng, encoded, photo, voice, wav
from tests.faults.dirty_kinds import Columns, Kinds

PNG_START = b"\x89PNG\r\n\x1a\n"

kinds = Kinds()


def described(rng: Rng, image: bytes) -> Columns:
    """A row of this picture and a sound caption."""
    return {"image": image, "captions": [{"text": sentence(rng, "en"), "lang": "en"}]}


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a PNG file, name and body."""
    found, place = [], len(PNG_START)
    while place < len(data):
        size = struct.unpack_from(">I", data, place)[0]
        found.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + size]))
        place += 12 + size
    return found


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG file of chunks, with the check sums that belong to them."""
    return PNG_START + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def _pixels(data: bytes) -> bytes:
    """The inflated rows of a PNG."""
    return zlib.decompress(b"".join(body for name, body in png_chunks(data) if name == b"IDAT"))


def _with_pixels(data: bytes, packed: bytes) -> bytes:
    """The PNG with another compressed stream in place of its own."""
    chunks = png_chunks(data)
    first = next(place for place, (name, _) in enumerate(chunks) if name == b"IDAT")
    kept = [one for one in chunks if one[0] != b"IDAT"]
    return png_of([*kept[:first], (b"IDAT", packed), *kept[first:]])


def scan_start(data: bytes) -> int:
    """Where the entropy-coded part of a baseline JPEG begins."""
    place = data.index(b"\xff\xda")
    return place + 2 + int(struct.unpack_from(">H", data, place + 2)[0])


def _cut(rng: Rng, data: bytes, least: float = 0.2, most: float = 0.8) -> bytes:
    return data[: int(len(data) * rng.uniform(least, most))]


# Cut and half written ------------------------------------------------------------------------------------------------


@kinds("undecodable", "reject", extension=".jpg")
def jpeg_cut(rng: Rng) -> Columns:
    return described(rng, _cut(rng, encoded(photo(rng), "JPEG")))


@kinds("undecodable", "reject", extension=".jpg")
def progressive_jpeg_cut(rng: Rng) -> Columns:
    return described(rng, _cut(rng, encoded(photo(rng), "JPEG", progressive=True), 0.3, 0.7))


@kinds("undecodable", "reject")
def png_cut(rng: Rng) -> Columns:
    return described(rng, _cut(rng, encoded(photo(rng))))


@kinds("undecodable", "reject", extension=".webp")
def webp_cut(rng: Rng) -> Columns:
    return described(rng, _cut(rng, encoded(photo(rng), "WEBP")))


@kinds("undecodable", "reject", extension=".gif")
def gif_cut(rng: Rng) -> Columns:
    data = encoded(photo(rng), "GIF")
    return described(rng, data[: int(800 + (len(data) - 800) * rng.uniform(0.1, 0.7))])


@kinds("undecodable", "reject", extension=".bmp")
def bmp_cut(rng: Rng) -> Columns:
    return described(rng, _cut(rng, encoded(photo(rng), "BMP")))


@kinds("undecodable", "reject", extension=".tiff")
def tiff_cut(rng: Rng) -> Columns:
    return described(rng, _cut(rng, encoded(photo(rng), "TIFF", compression="tiff_lzw")))


@kinds("undecodable", "reject", extension=".jpg")
def jpeg_half_written(rng: Rng) -> Columns:
    """The system went down: the file has its size, its end is zeros."""
    data = encoded(photo(rng), "JPEG")
    half = len(_cut(rng, data, 0.4, 0.7))
    return described(rng, data[:half] + bytes(len(data) - half))


@kinds("undecodable", "reject")
def png_half_written(rng: Rng) -> Columns:
    data = encoded(photo(rng))
    half = len(_cut(rng, data, 0.3, 0.7))
    return described(rng, data[:half] + bytes(len(data) - half))


@kinds("undecodable", "reject", extension=".jpg")
def jpeg_cut_with_forged_end(rng: Rng) -> Columns:
    """A cut scan that ends in a proper end marker: lenient decoders paint the rest grey and say nothing."""
    data = encoded(photo(rng, 200, 200), "JPEG", quality=90)
    start = scan_start(data)
    return described(
        rng, data[: start + int((len(data) - start) * rng.uniform(0.2, 0.6))].rstrip(b"\xff") + b"\xff\xd9"
    )


@kinds("undecodable", "reject", extension=".jpg")
def jpeg_without_scan(rng: Rng) -> Columns:
    data = encoded(photo(rng), "JPEG")
    return described(rng, data[: scan_start(data)] + b"\xff\xd9")


@kinds("undecodable", "reject", extension=".jpg")
def empty_file(rng: Rng) -> Columns:
    return described(rng, b"")


@kinds("undecodable", "reject")
def few_bytes(rng: Rng) -> Columns:
    return described(rng, encoded(photo(rng))[: int(rng.integers(1, 30))])


@kinds("undecodable", "reject", extension=".jpg")
def all_zeros(rng: Rng) -> Columns:
    return described(rng, bytes(int(rng.integers(2000, 30000))))


@kinds("doubtful", "flag", extension=".jpg")
def jpeg_without_end_marker(rng: Rng) -> Columns:
    """Its last two bytes are missing: whole to the eye, cut to a strict reader."""
    return described(rng, encoded(photo(rng), "JPEG")[:-2])


# Garbled -------------------------------------------------------------------------------------------------------------


@kinds("undecodable", "reject")
def png_flipped_bit(rng: Rng) -> Columns:
    data = bytearray(encoded(photo(rng)))
    place = data.index(b"IDAT") + 8 + int(rng.integers(20, len(data) // 2))
    data[place] ^= 1 << int(rng.integers(8))
    return described(rng, bytes(data))


@kinds("undecodable", "reject")
def png_wrong_check_sum(rng: Rng) -> Columns:
    data = bytearray(encoded(photo(rng)))
    size = struct.unpack_from(">I", data, data.index(b"IDAT") - 4)[0]
    data[data.index(b"IDAT") + 4 + size] ^= 0xFF
    return described(rng, bytes(data))


@kinds("undecodable", "reject")
def png_broken_stream(rng: Rng) -> Columns:
    """Check sums fit; what they cover cannot be inflated."""
    data = encoded(photo(rng))
    packed = bytearray(b"".join(body for name, body in png_chunks(data) if name == b"IDAT"))
    place = len(packed) // 3
    packed[place : place + 64] = b"\xff" * 64
    return described(rng, _with_pixels(data, bytes(packed)))


@kinds("undecodable", "reject")
def png_missing_rows(rng: Rng) -> Columns:
    """A sound stream with too few rows for the size that the header states."""
    data = encoded(photo(rng))
    rows = _pixels(data)
    return described(rng, _with_pixels(data, zlib.compress(rows[: int(len(rows) * rng.uniform(0.2, 0.7))])))


@kinds("undecodable", "reject")
def png_without_pixels(rng: Rng) -> Columns:
    return described(rng, png_of([one for one in png_chunks(encoded(photo(rng))) if one[0] != b"IDAT"]))


@kinds("undecodable", "reject")
def png_of_no_size(rng: Rng) -> Columns:
    chunks = png_chunks(encoded(photo(rng)))
    return described(rng, png_of([(b"IHDR", bytes(8) + chunks[0][1][8:]), *chunks[1:]]))


@kinds("undecodable", "reject")
def png_through_text_mode(rng: Rng) -> Columns:
    """Sent as text: line ends were changed."""
    return described(rng, encoded(photo(rng)).replace(b"\r\n", b"\n"))


@kinds("undecodable", "reject")
def png_through_utf8(rng: Rng) -> Columns:
    """Read as Latin-1 and written as UTF-8."""
    return described(rng, encoded(photo(rng)).decode("latin-1").encode())


@kinds("undecodable", "reject")
def png_wrong_magic(rng: Rng) -> Columns:
    return described(rng, bytes(rng.integers(0, 128, 8, np.uint8)) + encoded(photo(rng))[8:])


@kinds("undecodable", "reject", extension=".jpg")
def jpeg_wrong_magic(rng: Rng) -> Columns:
    return described(rng, b"\x00\x00\x00\x00" + encoded(photo(rng), "JPEG")[4:])


@kinds("undecodable", "reject", extension=".jpg")
def jpeg_swapped_bytes(rng: Rng) -> Columns:
    data = encoded(photo(rng), "JPEG")
    return described(rng, np.frombuffer(data[: len(data) // 2 * 2], "<u2").byteswap().tobytes())


@kinds("undecodable", "reject", extension=".jpg")
def jpeg_of_no_size(rng: Rng) -> Columns:
    data = bytearray(encoded(photo(rng), "JPEG"))
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = bytes(4)
    return described(rng, bytes(data))


@kinds("unusable", "reject", extension=".jpg")
def jpeg_garbled_scan(rng: Rng) -> Columns:
    """A block of another file in the middle: what follows is coloured rubbish."""
    data = bytearray(encoded(photo(rng, 220, 200), "JPEG", quality=90))
    start = scan_start(bytes(data))
    place = start + int((len(data) - start) * rng.uniform(0.2, 0.4))
    data[place : place + 1200] = rng.integers(0, 256, 1200, np.uint8).tobytes()
    return described(rng, bytes(data))


@kinds("undecodable", "reject", extension=".gif")
def gif_without_frames(rng: Rng) -> Columns:
    return described(rng, encoded(photo(rng), "GIF")[: 13 + 768] + b";")


@kinds("undecodable", "reject", extension=".gif")
def gif_broken_codes(rng: Rng) -> Columns:
    """The frame's first code is wider than any can be."""
    data = bytearray(encoded(photo(rng), "GIF"))
    data[data.index(b",", 13 + 768) + 10] = 0xFF
    return described(rng, bytes(data))


@kinds("undecodable", "reject", extension=".webp")
def webp_garbled(rng: Rng) -> Columns:
    data = bytearray(encoded(photo(rng), "WEBP", lossless=True))
    data[25 : len(data) // 2] = rng.integers(0, 256, len(data) // 2 - 25, np.uint8).tobytes()
    return described(rng, bytes(data))


@kinds("undecodable", "reject", extension=".tiff")
def tiff_broken_offsets(rng: Rng) -> Columns:
    data = encoded(photo(rng), "TIFF")
    return described(rng, data[:4] + struct.pack("<I", len(data) + 100) + data[8:])


@kinds("undecodable", "reject")
def palette_png_without_palette(rng: Rng) -> Columns:
    chunks = png_chunks(encoded(photo(rng).quantize(32)))
    header = chunks[0][1]
    made = [(b"IHDR", header[:8] + bytes([16]) + header[9:]), *(one for one in chunks[1:] if one[0] != b"PLTE")]
    return described(rng, png_of(made))


# Something else ------------------------------------------------------------------------------------------------------


@kinds("undecodable", "reject", extension=".jpg")
def html_page(rng: Rng) -> Columns:
    page = f"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>{rng.integers(1e9)}</body></html>"
    return described(rng, page.encode())


@kinds("undecodable", "reject")
def json_error(rng: Rng) -> Columns:
    return described(rng, b'{"error": {"code": 403, "message": "Request has expired", "id": %d}}' % rng.integers(1e9))


@kinds("undecodable", "reject", extension=".jpg")
def plain_text(rng: Rng) -> Columns:
    return described(rng, sentence(rng, "ru").encode())


@kinds("undecodable", "reject")
def drawing_commands(rng: Rng) -> Columns:
    """SVG under a PNG's name."""
    return described(rng, b'<svg xmlns="http://www.w3.org/2000/svg"><circle r="%d"/></svg>' % rng.integers(1, 1e6))


@kinds("undecodable", "reject", extension=".jpg")
def pdf_page(rng: Rng) -> Columns:
    return described(rng, b"%%PDF-1.7\n1 0 obj <</Type /Catalog /N %d>> endobj\n%%%%EOF\n" % rng.integers(1e9))


@kinds("undecodable", "reject", extension=".jpg")
def program(rng: Rng) -> Columns:
    return described(rng, b"\x7fELF\x02\x01\x01" + rng.integers(0, 256, 3000, np.uint8).tobytes())


@kinds("undecodable", "reject")
def encrypted_zip(rng: Rng) -> Columns:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("a.png"), encoded(photo(rng)))
    data = bytearray(file.getvalue())
    data[6] |= 1
    data[30:] = rng.integers(0, 256, len(data) - 30, np.uint8).tobytes()
    return described(rng, bytes(data))


@kinds("undecodable", "reject")
def packed_again(rng: Rng) -> Columns:
    return described(rng, gzip.compress(encoded(photo(rng)), mtime=0))


@kinds("undecodable", "reject", extension=".jpg")
def written_as_base64(rng: Rng) -> Columns:
    return described(rng, base64.b64encode(encoded(photo(rng), "JPEG")))


@kinds("undecodable", "reject", extension=".jpg")
def large_file_pointer(rng: Rng) -> Columns:
    """What git leaves where its large-file extension is not installed."""
    name = rng.bytes(32).hex()
    return described(rng, f"version https://git-lfs.github.com/spec/v1\noid sha256:{name}\nsize 132735\n".encode())


@kinds("undecodable", "reject", extension=".jpg")
def recording_as_picture(rng: Rng) -> Columns:
    return described(rng, wav(voice(rng, 0.5, 8000), 8000))


@kinds("undecodable", "reject", extension=".jpg")
def random_bytes(rng: Rng) -> Columns:
    return described(rng, rng.integers(0, 256, int(rng.integers(500, 20000)), np.uint8).tobytes())


# Readable, with a doubt ----------------------------------------------------------------------------------------------


@kinds("repairable", "repaired", extension=".jpg")
def png_named_jpg(rng: Rng) -> Columns:
    return described(rng, encoded(photo(rng)))


@kinds("repairable", "repaired", extension=".png")
def jpeg_named_png(rng: Rng) -> Columns:
    return described(rng, encoded(photo(rng), "JPEG", quality=90))


@kinds("repairable", "repaired", extension=".jpg")
def webp_named_jpg(rng: Rng) -> Columns:
    return described(rng, encoded(photo(rng), "WEBP", quality=90))


@kinds("repairable", "repaired", extension=".gif")
def moving_picture(rng: Rng) -> Columns:
    """A GIF of several frames where one picture belongs."""
    pages = [photo(rng, 90, 80) for _ in range(4)]
    return described(rng, encoded(pages[0], "GIF", save_all=True, append_images=pages[1:], duration=100))


@kinds("doubtful", "flag")
def one_colour(rng: Rng) -> Columns:
    """Nothing to see: lens cap, lost frame, empty page."""
    grey = int(rng.choice([0, 255, int(rng.integers(1, 255))]))
    side = int(rng.integers(40, 200))
    return described(rng, encoded(photo(rng, side, side + 7).point(lambda _: grey)))


@kinds("unusable", "reject", extension=".gif")
def tracking_pixel(rng: Rng) -> Columns:
    return described(rng, encoded(photo(rng, int(rng.integers(1, 4)), int(rng.integers(1, 4))), "GIF"))


@kinds("unusable", "reject")
def sliver(rng: Rng) -> Columns:
    return described(rng, encoded(photo(rng, int(rng.integers(200, 900)), int(rng.integers(1, 6)))))
