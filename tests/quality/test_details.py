from dataclasses import replace

import pytest

from mmcore.quality.details import detail, detailed
from mmcore.quality.probe import probe_row
from mmcore.quality.problems import PROBLEMS
from tests.quality.samples import LIMITS, clip, image, sample, sound


def told(code: str, **columns: object) -> str:
    facts = probe_row(sample("a", **columns), replace(LIMITS, max_pixels=100_000))
    return detail(code, dict.fromkeys(detailed()) | facts, PROBLEMS, LIMITS)


@pytest.mark.parametrize(
    ("code", "width", "height", "named"),
    [
        ("too_small", 100, 90, "the video has 20 x 16 pixels"),
        ("too_small", 8, 90, "the image has 8 x 90 pixels"),
        ("too_large", 100, 90, "the image has 100 x 90 pixels"),
        ("too_large", 22, 20, "the video has 20 x 16 pixels"),
        ("extreme_shape", 17, 16, "the video has 20 x 16 pixels"),
    ],
)
def test_of_an_image_and_a_clip_the_size_of_the_one_that_is_meant_is_named(code, width, height, named):
    assert told(code, image=image(width=width, height=height), video=clip(1, 2)) == named


def test_the_length_of_the_sound_is_not_taken_for_that_of_the_clip():
    both = {"audio": sound(0.01), "video": clip(1, 2)}
    assert told("too_short", **both) == "the recording lasts 0.01 seconds"
    assert told("too_long", **both) == "the recording lasts 0.01 seconds, the clip lasts 0.2 seconds in 2 frames"
    assert told("too_long", audio=sound(2.5)) == "the recording lasts 2.5 seconds"
    assert told("wrong_duration", **both, meta='{"duration": 3}') == "it lasts 0.2 seconds where 3.0 is stated"
    assert told("wrong_duration", **both, meta='{"duration": -3}') == "it lasts 0.2 seconds where no number is stated"
