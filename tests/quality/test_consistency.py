from pathlib import Path

import numpy as np
import pytest

from mmcore.quality.consistency import Pairs, check_model, misfits


def around(*degrees: float) -> np.ndarray:
    """Points on the unit circle, float32 [N, 2]."""
    turns = np.radians(degrees)
    return np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)


def pairs(
    media: np.ndarray, texts: np.ndarray, *, langs: list[str] | None = None, keys: list[str] | None = None
) -> Pairs:
    names = [f"row{k}" for k in range(len(media))]
    words = [f"text{k}" for k in range(len(texts))]
    owner = np.arange(len(texts)) % len(media)
    return Pairs(names, keys or names, media, texts, owner, words, langs or ["en"] * len(texts))


def test_a_swapped_pair_of_captions_stands_out():
    media = around(0, 60, 120, 180, 240, 300)
    texts = media.copy()
    texts[[2, 4]] = texts[[4, 2]]
    found = misfits(pairs(media, texts))
    assert set(np.argsort(-found)[:2]) == {2, 4}
    assert found[[2, 4]].min() > 1 > found[[0, 1, 3, 5]].max()


def test_a_caption_that_fits_every_picture_alike_is_punished_less_than_one_of_another_picture():
    media = around(0, 60, 120, 180, 240, 300)
    three = np.concatenate([media, np.zeros((6, 1), np.float32)], axis=1)
    texts = three.copy()
    texts[0] = (0, 0, 1)
    texts[3] = three[1]
    found = misfits(pairs(three, texts))
    assert found.argmax() == 3
    assert found[0] < found[3] - 1


def test_the_mean_of_all_misfits_is_near_zero_and_a_single_pair_has_none():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    one = misfits(pairs(vectors[:1], vectors[:1]))
    assert one.tolist() == [0.0]
    noise = misfits(pairs(vectors, np.roll(vectors, 1, axis=0)))
    assert abs(noise.mean()) < 0.5


def test_captions_are_compared_with_those_of_their_own_language():
    media = around(0, 90, 180, 270)
    english, chinese = media, around(40, 130, 220, 310)
    both = pairs(media, np.concatenate([english, chinese]), langs=["en"] * 4 + ["zh"] * 4)
    alone = misfits(pairs(media, chinese, langs=["zh"] * 4))
    np.testing.assert_allclose(misfits(both)[4:], alone)


def test_rows_of_one_positive_key_are_not_compared():
    media = around(0, 0, 90, 180)
    texts = media.copy()
    apart, alike = (misfits(pairs(media, texts, keys=keys)) for keys in (None, ["a", "a", "b", "c"]))
    assert alike[0] < apart[0]


def test_without_a_model_the_way_to_one_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="mmcore run"):
        check_model(tmp_path)
