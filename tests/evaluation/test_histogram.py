import numpy as np
import pytest

from mmcore.evaluation.histogram import colour_histograms, fit
from mmcore.metrics.ranking import chance_recall, recall_at, search

COLOURS = {"red": (250, 10, 10), "green": (10, 250, 10), "blue": (10, 10, 250), "white": (250, 250, 250)}


def picture(*names, side=8):
    """Bars of the named colours."""
    return np.concatenate([np.full((side, side, 3), COLOURS[name], np.uint8) for name in names])


def test_a_histogram_holds_the_roots_of_the_shares():
    half = colour_histograms([picture("red", "blue")])[0]
    # Level of 250 is 3, of 10 is 0: red is bin 3 * 16, blue bin 3.
    assert half[48] == half[3] == pytest.approx(np.sqrt(0.5))
    assert (half**2).sum() == pytest.approx(1)


def test_large_pictures_are_sampled_not_distorted():
    small, large = colour_histograms([picture("red", "white"), picture("red", "white", side=300)])
    np.testing.assert_allclose(small, large, atol=0.01)


def test_words_that_name_colours_find_the_picture():
    names = list(COLOURS)
    pairs = [(a, b) for a in names for b in names if a != b]
    pictures = colour_histograms([picture(a, b) for a, b in pairs])
    captions = [[f"a {a} bar over a {b} one", f"{b} below {a}"] for a, b in pairs]
    baseline = fit(captions * 20, np.tile(pictures, (20, 1)))
    # Histograms do not tell above from below: each pair of colours is there twice, and ties count against.
    found = search(
        baseline.embed_texts([own[0] for own in captions]), baseline.embed_histograms(pictures),
        [np.array([i]) for i in range(len(pairs))],
    )  # fmt: skip
    assert recall_at(found.ranks, 1) == 0
    assert recall_at(found.ranks, 2) == 100


def test_texts_that_say_nothing_of_colours_reach_chance():
    random = np.random.default_rng(0)
    names = list(COLOURS)
    drawn = [random.choice(names, 3) for _ in range(600)]
    pictures = colour_histograms([picture(*own, side=int(random.integers(4, 9))) for own in drawn])
    captions = [[f"thing number {random.integers(1000)}"] for _ in drawn]
    baseline = fit(captions[:400], pictures[:400])
    found = search(
        baseline.embed_texts([own[0] for own in captions[400:]]),
        baseline.embed_histograms(pictures[400:] + random.normal(0, 1e-6, (200, 64))),
        [np.array([i]) for i in range(200)],
    )  # fmt: skip
    assert recall_at(found.ranks, 20) <= 2 * chance_recall([1], 200, 20)


def test_unknown_words_and_single_coloured_worlds_do_no_harm():
    same = colour_histograms([picture("red")] * 3)
    baseline = fit([["a red bar"], ["red"], ["bar"]], same)
    assert np.isfinite(baseline.embed_texts(["", "zebra"])).all()
    assert np.isfinite(baseline.embed_histograms(same)).all()


def test_without_captions_there_is_nothing_to_learn():
    with pytest.raises(ValueError, match="no caption to learn from"):
        fit([[], []], np.ones((2, 64)))
