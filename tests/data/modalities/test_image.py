import dataclasses
import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageOps
from transformers import CLIPImageProcessorPil

from mmcore.data.modalities import UNLIMITED, Limits, Media
from mmcore.data.modalities.image import Modality, read_header, read_pixels
from tests.data.conftest import SETTINGS

IMAGE = Modality()


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def grey(value: int, width: int = 4, height: int = 2) -> Image.Image:
    return Image.new("RGB", (width, height), (value, value, value))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"])
def test_usual_formats_are_read_as_rgb(kind: str) -> None:
    media = IMAGE.decode(encoded(grey(200), kind), UNLIMITED)
    assert media.array.shape == (2, 4, 3)
    assert media.array.dtype == np.uint8
    assert (media.width, media.height) == (4, 2)
    assert np.abs(media.array.astype(int) - 200).max() <= 2


def test_transparency_is_shown_over_white() -> None:
    picture = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    picture.putpixel((1, 0), (10, 20, 30, 255))
    assert IMAGE.decode(encoded(picture), UNLIMITED).array.tolist() == [[[255, 255, 255], [10, 20, 30]]]


def test_a_picture_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    media = IMAGE.decode(encoded(grey(9, 4, 2), "JPEG", exif=exif), UNLIMITED)
    assert (media.width, media.height) == (2, 4)


def test_sixteen_bit_grey_is_scaled_to_eight() -> None:
    picture = Image.fromarray(np.array([[0, 257, 65535]], np.uint16))
    assert IMAGE.decode(encoded(picture), UNLIMITED).array[0, :, 0].tolist() == [0, 1, 255]


def test_cmyk_is_converted() -> None:
    assert IMAGE.decode(encoded(grey(0).convert("CMYK"), "JPEG"), UNLIMITED).array.shape == (2, 4, 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the image is empty"),
        (b"no picture at all", "the image cannot be read: unknown or broken format"),
        (encoded(grey(3, 60, 60))[:80], "the image cannot be decoded"),
        (encoded(Image.effect_noise((60, 60), 50), "JPEG")[:700], "the image cannot be decoded"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "unknown or broken format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unknown or broken format"),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        IMAGE.decode(data, UNLIMITED)


def test_too_many_pixels_are_refused_by_the_header() -> None:
    limits = Limits(max_pixels=8, max_seconds=1, max_frames=1)
    IMAGE.decode(encoded(grey(1, 4, 2)), limits)
    bomb = encoded(Image.new("1", (20000, 20000)))
    assert len(bomb) < 100_000
    for data in (encoded(grey(1, 3, 3)), bomb):
        with pytest.raises(ValueError, match="more than 8 in all"):
            IMAGE.decode(data, limits)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 2}, {"progressive": True}, {"quality": 30}])
def test_jpegs_have_the_very_pixels_that_pillow_gives(mode: str, options: dict[str, int]) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    data = encoded(Image.fromarray(coarse).resize((101, 57)).convert(mode), "JPEG", **options)
    assert read_header(data).plain
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(IMAGE.decode(data, UNLIMITED).array, expected)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_every_orientation_of_exif_is_undone(kind: str) -> None:
    array = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    for lies in range(10):
        exif = Image.Exif()
        exif[0x0112] = lies
        data = encoded(Image.fromarray(array), kind, exif=exif)
        expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        assert np.array_equal(IMAGE.decode(data, UNLIMITED).array, np.asarray(expected)), lies


def test_a_jpeg_with_damaged_data_gives_what_pillow_makes_of_it() -> None:
    data = encoded(Image.effect_noise((200, 200), 60), "JPEG")
    broken = data[:4000] + bytes(100) + data[4100:]
    array, damage = read_pixels(broken, read_header(broken))
    assert damage is not None
    assert np.array_equal(array, np.asarray(Image.open(io.BytesIO(broken)).convert("RGB")))
    assert read_pixels(data, read_header(data))[1] is None


def test_the_middle_square_is_taken_and_resized() -> None:
    array = np.zeros((48, 96, 3), np.uint8)
    array[:, 24:72] = 100
    out = IMAGE.transform(Media(array), SETTINGS)
    assert out.shape == (48, 48, 3)
    assert (out == 100).all()


@pytest.mark.parametrize(
    ("height", "width"), [(300, 200), (201, 333), (64, 64), (91, 64), (64, 97), (57, 903), (10, 159), (256, 256)]
)
@pytest.mark.parametrize(("side", "short"), [(224, 256), (64, 64), (57, 64), (224, 225)])
def test_the_middle_after_resizing_has_the_very_pixels_of_clips_processor(
    height: int, width: int, side: int, short: int
) -> None:
    coarse = np.random.default_rng(height).integers(0, 256, (9, 12, 3), np.uint8)
    array = np.asarray(Image.fromarray(coarse).resize((width, height)))
    reference = CLIPImageProcessorPil(size={"shortest_edge": short}, crop_size={"height": side, "width": side})
    expected = reference(array, do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"][0]
    found = IMAGE.transform(Media(array), dataclasses.replace(SETTINGS, image_size=side, image_resize=short))
    assert found.dtype == np.uint8
    assert np.array_equal(found.transpose(2, 0, 1), expected)


def test_a_thread_of_pixels_does_not_grow_without_end() -> None:
    array = np.zeros((2, 40_000, 3), np.uint8)
    array[:, 19_984:20_016] = 100
    tracemalloc.start()
    found = IMAGE.transform(Media(array), dataclasses.replace(SETTINGS, image_resize=64))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert (found == 100).all()


def test_a_picture_is_not_resized_to_less_than_is_cut_out_of_it() -> None:
    with pytest.raises(ValueError, match="image_resize is 47, too short to cut image_size 48 out of; choose 48 or mo"):
        dataclasses.replace(SETTINGS, image_resize=47)


def test_a_picture_of_the_right_size_is_left_as_it_is() -> None:
    array = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    assert np.array_equal(IMAGE.transform(Media(array), SETTINGS), array)


def test_numbers_of_simple_pictures() -> None:
    plain = IMAGE.describe(Media(np.full((4, 4, 3), 51, np.uint8)))
    assert plain == {"brightness": pytest.approx(0.2), "contrast": pytest.approx(0, abs=1e-6), "colourfulness": 0.0,
                     "sharpness": 0.0}  # fmt: skip
    halves = np.zeros((2, 2, 3), np.uint8)
    halves[:, 1] = 255
    found = IMAGE.describe(Media(halves))
    assert found["brightness"] == found["contrast"] == found["sharpness"] == pytest.approx(0.5)
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 255
    # Only the mean matters: red - green = 255, half of red + green - blue = 127.5.
    assert IMAGE.describe(Media(red))["colourfulness"] == pytest.approx(0.3 * np.hypot(1, 0.5))


def test_one_pixel_can_be_described() -> None:
    assert IMAGE.describe(Media(np.full((1, 1, 3), 255, np.uint8)))["brightness"] == pytest.approx(1)
