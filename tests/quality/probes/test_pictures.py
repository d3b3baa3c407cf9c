import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mmcore.quality.probes.pictures import PictureLimits, probe_image, probe_video
from tests.quality.samples import clip, image

LIMITS = PictureLimits(max_pixels=50_000_000, max_frames=100, max_unpacking=500)


def probed(data: bytes, limits: PictureLimits = LIMITS) -> dict:
    facts = {"repairs": []}
    probe_image(data, limits, facts)
    return facts


def photograph(format: str = "PNG", *, mode: str = "RGB", side: int = 96, **save) -> bytes:
    """Noise, blurred: something to see everywhere."""
    noise = np.random.default_rng(3).integers(0, 256, (side // 8, side // 8, 3), np.uint8)
    picture = Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC).convert(mode)
    file = io.BytesIO()
    picture.save(file, format, **save)
    return file.getvalue()


def test_a_sound_picture_has_nothing_to_be_said_against() -> None:
    for format in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"):
        facts = probed(photograph(format))
        assert (facts["image_ok"], facts["image_damage"], facts["image_moves"], facts["image_grey_end"]) == (
            True, None, False, 0.0
        )  # fmt: skip
        assert facts["image_range"] > 100
        assert facts["image_fingerprint"] is not None
        assert facts["repairs"] == (["converted_colours"] if format == "GIF" else [])


def test_a_picture_of_one_colour_has_no_range() -> None:
    file = io.BytesIO()
    Image.new("RGB", (40, 40), (12, 200, 30)).save(file, "JPEG")
    assert probed(file.getvalue())["image_range"] == 0
    # What is wholly transparent is seen as white.
    clear = Image.fromarray(
        np.dstack([np.random.default_rng(0).integers(0, 256, (20, 20, 3)), np.zeros((20, 20))]).astype(np.uint8)
    )
    file = io.BytesIO()
    clear.save(file, "PNG")
    facts = probed(file.getvalue())
    assert (facts["image_range"], facts["repairs"]) == (0, ["flattened_alpha"])


def test_a_jpeg_whose_data_end_early_is_damaged() -> None:
    data = photograph("JPEG", side=256, quality=90)
    middle = len(data) // 2
    broken = data[:middle] + np.random.default_rng(0).bytes(200) + data[middle + 200 :]
    assert probed(broken)["image_damage"].startswith("Corrupt JPEG data")
    with pytest.raises(ValueError, match="cannot be decoded: image file is truncated"):
        probed(data[:-1000])


def test_a_png_whose_checksum_is_wrong_is_damaged() -> None:
    data = bytearray(photograph("PNG"))
    place = data.index(b"IDAT")
    length = struct.unpack_from(">I", data, place - 4)[0]
    data[place + 4 + length] ^= 1
    assert "broken PNG file" in probed(bytes(data))["image_damage"]


def test_the_filling_of_a_torn_photograph_is_measured() -> None:
    array = np.array(Image.open(io.BytesIO(photograph())))
    array[48:] = 128
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    assert probed(file.getvalue())["image_grey_end"] == 0.5
    assert probed(image(128))["image_grey_end"] == 0.0


def test_more_than_one_frame_is_noticed() -> None:
    assert probed(clip(1, 2, 3))["image_moves"] is True


def test_exif_that_cannot_be_read_is_noticed_and_does_no_harm() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = photograph("JPEG", exif=exif)
    place = data.index(b"Exif\0\0") + 6
    facts = probed(data[:place] + b"garbage!" + data[place + 8 :])
    assert (facts["image_exif_ok"], facts["image_ok"], facts["repairs"]) == (False, True, [])
    assert probed(data)["repairs"] == ["rotated_by_exif"]


def test_other_colours_are_converted() -> None:
    assert probed(photograph("JPEG", mode="CMYK"))["repairs"] == ["converted_colours"]
    assert probed(photograph("PNG", mode="P"))["repairs"] == ["converted_colours"]
    sixteen = io.BytesIO()
    Image.fromarray((np.arange(400).reshape(20, 20) * 160).astype(np.uint16)).save(sixteen, "PNG")
    assert probed(sixteen.getvalue())["repairs"] == ["converted_colours"]


def test_a_large_picture_from_next_to_nothing_is_not_decoded() -> None:
    file = io.BytesIO()
    Image.new("L", (3000, 2000)).save(file, "PNG")
    facts = probed(file.getvalue())
    assert facts["image_unpacking"] == pytest.approx(18_000_000 / len(file.getvalue()), rel=1e-5)
    assert facts.get("image_ok") is None
    assert probed(file.getvalue(), PictureLimits(50_000_000, 100, 10_000))["image_ok"] is True
    assert probed(image())["image_unpacking"] is None


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1_000_000)))] * 20, "Too much memory used in text chunks"),
        ([chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(50_000_000)))], "Decompressed data too large"),
        ([chunk(b"tEXt", b"k\0v")] * 20_000, "a PNG of more than 20000 chunks"),
        ([chunk(b"eXIf", bytes(9 << 20))], "a PNG with 9437184 bytes beside its picture"),
    ],
)
def test_what_a_png_hides_beside_its_picture_is_not_unpacked(chunks: list[bytes], message: str) -> None:
    data = photograph("PNG")
    with pytest.raises(ValueError, match=message):
        probed(data[:33] + b"".join(chunks) + data[33:])


def test_a_jpeg_that_repaints_itself_without_end_is_not_decoded() -> None:
    data = photograph("JPEG", progressive=True)
    last = data[data.rfind(b"\xff\xda") : -2]
    with pytest.raises(ValueError, match="a JPEG of more than 100 scans"):
        probed(data[:-2] + last * 100 + data[-2:])


def test_a_clip_is_measured_frame_by_frame() -> None:
    facts = {"repairs": []}
    probe_video(clip(0, 60, 120, milliseconds=50), LIMITS, facts)
    assert (facts["num_frames"], facts["video_rate"], facts["video_still"], facts["video_aspect"]) == (
        3,
        20,
        False,
        1.25,
    )
    still: dict = {"repairs": []}
    probe_video(clip(7), LIMITS, still)
    assert (still["num_frames"], still["video_still"]) == (1, True)
