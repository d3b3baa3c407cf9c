import base64
import io
import random

import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmcore.report.media import FRAMES, LARGE, Pictures, Store


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def moving(frames: int) -> bytes:
    images = [Image.new("RGB", (20, 20), (10 * k, 0, 0)) for k in range(frames)]
    return encoded(images[0], save_all=True, append_images=images[1:], duration=200)


def test_small_pictures_keep_their_pixels():
    image = Image.frombytes("RGB", (48, 48), random.Random(1).randbytes(48 * 48 * 3))
    picture = Pictures(10**6).make(encoded(image))
    assert opened(picture.src).tobytes() == image.tobytes()
    assert picture.coarse
    assert not picture.moving


def test_large_pictures_are_shrunk():
    picture = Pictures(10**6).make(encoded(Image.new("RGB", (1600, 800)), "JPEG"))
    assert (picture.width, picture.height) == (LARGE, LARGE // 2)
    assert picture.src.startswith("data:image/jpeg;base64,")


def test_a_turned_photograph_stands_upright_without_its_metadata():
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "taken at home"
    picture = Pictures(10**6).make(encoded(Image.new("RGB", (60, 30)), "JPEG", exif=exif.tobytes()))
    assert (picture.width, picture.height) == (30, 60)
    assert not opened(picture.src).getexif()


def test_transparent_parts_are_white():
    picture = Pictures(10**6).make(encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 0))))
    assert opened(picture.src).getpixel((0, 0)) == (255, 255, 255)


def test_a_clip_moves_and_has_a_still():
    picture = Pictures(10**6).make(moving(6))
    assert picture.moving
    assert opened(picture.src).n_frames == 6
    assert opened(picture.still).n_frames == 1


def test_a_long_clip_is_thinned_to_a_few_frames_of_the_same_length():
    film = opened(Pictures(10**6).make(moving(24)).src)
    assert film.n_frames <= FRAMES
    seconds = 0.0
    for place in range(film.n_frames):
        film.seek(place)
        seconds += film.info["duration"] / 1000
    assert seconds == pytest.approx(24 * 0.2)


@pytest.mark.parametrize("content", [None, b"", b"no picture", encoded(Image.new("RGB", (9, 9)))[:40], b"<svg></svg>"])
def test_what_is_no_picture_gives_none(content):
    pictures = Pictures(10**6)
    assert pictures.make(content) is None
    assert pictures.left_out == 0


def test_no_more_is_embedded_than_there_is_room_for():
    content = encoded(Image.new("RGB", (8, 8)))
    size = len(Pictures(10**6).make(content).src)
    pictures = Pictures(2 * size + 1)
    assert [pictures.make(content) is not None for _ in range(4)] == [True, True, False, False]
    assert pictures.left_out == 2


def test_rows_are_found_by_id_across_shards_and_groups(whole):
    store = Store(whole.data, pq.read_table(whole.validated / "accepted.parquet"))
    rows = store.rows(["clip-test-0003", "scene-test-0007", "nowhere"], ["summary", "image", "unknown"])
    assert sorted(rows) == ["clip-test-0003", "scene-test-0007"]
    assert rows["clip-test-0003"]["image"] is None
    assert rows["clip-test-0003"]["summary"].startswith("the ")
    assert rows["scene-test-0007"]["image"].startswith(b"\x89PNG")


def test_without_data_nothing_is_found(whole, tmp_path):
    accepted = pq.read_table(whole.validated / "accepted.parquet")
    assert Store(tmp_path, accepted).rows(["scene-test-0001"], ["image"]) == {}
    assert Store(whole.data, None).rows(["scene-test-0001"], ["image"]) == {}
