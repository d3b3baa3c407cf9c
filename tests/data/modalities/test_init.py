"""What every medium that comes with mmcore does, by the contract that plugins follow, too."""

import io
import wave

import numpy as np
import pytest
from PIL import Image

from mmcore.data.modalities import BUILT_IN, MODALITIES, UNLIMITED, Medium, media
from tests.data.conftest import SETTINGS


def sample(name: str) -> bytes:
    file = io.BytesIO()
    if name == "audio":
        with wave.open(file, "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", ""))
            sound.writeframes(np.arange(5 * 8000, dtype="<i2").tobytes())
        return file.getvalue()
    first, *others = (Image.new("RGB", (50, 40), (20 * shade, 0, 0)) for shade in range(1, 5))
    first.save(file, "PNG", **({"save_all": True, "append_images": others} if name == "video" else {}))
    return file.getvalue()


def test_the_media_of_a_project_without_plugins_are_those_that_come_with_mmcore() -> None:
    assert media() == BUILT_IN
    assert {*BUILT_IN, "text"} == set(MODALITIES.names())


@pytest.mark.parametrize("name", BUILT_IN)
def test_it_measures_what_it_says_and_prepares_no_more_than_the_largest(name: str) -> None:
    one: Medium = MODALITIES[name]()
    found = one.decode(sample(name), UNLIMITED)
    assert tuple(one.describe(found)) == one.numbers
    made, largest = one.transform(found, SETTINGS), one.largest(SETTINGS)
    assert made.dtype == largest.dtype
    assert made.shape[one.varies :] == largest.shape[one.varies :]
    # Five seconds of sound, of which four are read: the last window reaches beyond them.
    assert abs(len(made) - len(largest)) <= 2 * one.varies
    assert made.any()
    assert not largest.any()
