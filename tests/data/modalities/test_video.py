import io

import numpy as np
import pytest
from PIL import Image

from mmcore.data.modalities import UNLIMITED, Limits, Media
from mmcore.data.modalities.video import Modality
from tests.data.conftest import SETTINGS

VIDEO = Modality()


def clip(kind: str = "PNG", frames: int = 4, milliseconds: int = 100) -> bytes:
    pictures = [Image.new("RGB", (6, 4), (60 * number, 0, 0)) for number in range(frames)]
    file = io.BytesIO()
    pictures[0].save(file, kind, save_all=True, append_images=pictures[1:], duration=milliseconds, lossless=True)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_animations_are_read_frame_by_frame(kind: str) -> None:
    media = VIDEO.decode(clip(kind), UNLIMITED)
    assert media.array.shape == (4, 4, 6, 3)
    assert media.array[:, 0, 0, 0].tolist() == [0, 60, 120, 180]
    assert (media.seconds, media.rate) == (0.4, 10.0)


def test_a_still_picture_is_a_clip_of_one_frame_and_no_length() -> None:
    media = VIDEO.decode(clip(frames=1), UNLIMITED)
    assert (len(media.array), media.seconds, media.rate) == (1, 0.0, 0.0)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(95, 9.0, 9), "4 frames of 6 x 4 pixels, more than 95"),
        (Limits(99, 0.3, 9), "lasts 0.4 seconds, more than 0.3"),
        (Limits(99, 9.0, 3), "has 4 frames, more than 3"),
    ],
)
def test_limits_are_kept(limits: Limits, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VIDEO.decode(clip(), limits)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\0\0\0\x18ftypmp42", "cannot be decoded"),
        (b"no clip", "cannot be read"),
        (clip()[:-60], "cannot be decoded"),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=f"the video {message}"):
        VIDEO.decode(data, UNLIMITED)


def test_frames_are_spread_evenly_from_first_to_last() -> None:
    array = np.repeat(np.arange(7, dtype=np.uint8), 30 * 30 * 3).reshape(7, 30, 30, 3)
    out = VIDEO.transform(Media(array, 0.7, 10), SETTINGS)
    assert out.shape == (3, 24, 24, 3)
    assert out[:, 12, 12, 0].tolist() == [0, 3, 6]
    assert VIDEO.transform(Media(array[:1], 0.1, 10), SETTINGS)[:, 0, 0, 0].tolist() == [0, 0, 0]


def test_motion_is_the_mean_step_between_frames() -> None:
    array = np.zeros((3, 4, 4, 3), np.uint8)
    array[1] = 51
    found = VIDEO.describe(Media(array, 1.5, 2))
    assert found["motion"] == pytest.approx(0.2)
    assert (found["seconds"], found["frames"], found["brightness"]) == (1.5, 3.0, pytest.approx(0.2))
    assert VIDEO.describe(Media(array[:1]))["motion"] == 0.0
