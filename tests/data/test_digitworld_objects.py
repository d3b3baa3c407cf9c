import io

import numpy as np
import pytest
from PIL import Image

from mmcore.data import digitworld_objects as objects


def test_no_handwriting_sample_is_in_two_splits() -> None:
    hands = objects.handwriting()
    assert {split: sum(map(len, digits.values())) for split, digits in hands.items()} == {
        "train": 1438, "validation": 143, "test": 216
    }  # fmt: skip
    seen = {
        split: {sample.tobytes() for digit in digits.values() for sample in digit} for split, digits in hands.items()
    }
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["validation"]
    assert not seen["validation"] & seen["test"]


@pytest.mark.parametrize("kind", objects.KINDS)
def test_every_kind_has_a_form_at_every_size(kind: str) -> None:
    form = objects.stencil(np.random.default_rng(1), kind, "test")
    for side in (10, 21):
        mask = objects.mask(form, side)
        assert mask.shape == (side, side)
        assert mask.max() > 150
        assert 0.1 < (mask > 100).mean() < 0.9


def test_painting_stays_on_the_canvas_and_covers_with_the_colour() -> None:
    canvas = np.zeros((48, 48, 3), np.int32)
    objects.paint(canvas, np.full((6, 6), 255, np.int32), (1, 47), (200, 100, 50))
    assert (canvas[45, 0] == (200, 100, 50)).all()
    assert canvas.sum() == 4 * 4 * 350


def test_pictures_survive_their_encoding() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(objects.png(pixels)))), pixels)


def test_rows_have_random_numbers_of_their_own() -> None:
    first = objects.seeded("scene", "train", 0).integers(1 << 30)
    assert first == objects.seeded("scene", "train", 0).integers(1 << 30)
    others = [("scene", "train", 1), ("clip", "train", 0), ("scene", "test", 0)]
    assert first not in [objects.seeded(*other).integers(1 << 30) for other in others]
