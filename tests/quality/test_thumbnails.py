import io

from PIL import Image

from mmcore.data import store
from mmcore.data.modalities import UNLIMITED, Limits
from mmcore.quality.thumbnails import thumbnail, thumbnails
from tests.quality.samples import captions, clip, image, sample, sound

LIMITS = Limits(max_pixels=10_000, max_seconds=2.0, max_frames=8)


def opened(data):
    return Image.open(io.BytesIO(data))


def test_a_thumbnail_is_a_small_jpeg_of_the_same_shape():
    picture = opened(thumbnail(sample("a", image=image(200, width=96 * 2, height=48)), LIMITS))
    assert (picture.format, picture.size) == ("JPEG", (96, 24))
    assert picture.getpixel((50, 10)) == (200, 200, 200)


def test_a_clip_shows_its_middle_frame():
    picture = opened(thumbnail(sample("a", video=clip(0, 250, 0)), LIMITS))
    assert picture.getpixel((5, 5)) == (250, 250, 250)


def test_what_cannot_be_shown_has_none():
    assert thumbnail(sample("a", image=b"broken", audio=sound(0.1)), LIMITS) is None
    assert thumbnail(sample("a", image=image(width=200, height=200)), LIMITS) is None
    assert thumbnail(sample("a", captions=captions("x")), LIMITS) is None


def test_thumbnails_come_by_their_place_with_the_id_of_the_row(tmp_path):
    store.write_shards(tmp_path, "train", [sample(f"s{value}", image=image(value)) for value in range(130)])
    shard = "train/part-00000.parquet"
    found = thumbnails(tmp_path, [(shard, 120), (shard, 3), (shard, 130), ("train/part-00007.parquet", 0)], UNLIMITED)
    shown = {row: (id, opened(data).getpixel((10, 10))[0]) for (_, row), (id, data) in found.items()}
    assert shown == {120: ("s120", 120), 3: ("s3", 3)}
