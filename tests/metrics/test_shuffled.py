from functools import partial

import numpy as np
import pytest

from mmcore.metrics import Measured
from mmcore.metrics.bleu import corpus_bleu
from mmcore.metrics.shuffled import against_shuffled, derangements, shuffled_baseline


def exact(predictions, references):
    """The share of predictions that equal their first reference."""
    hits = [prediction == texts[0] for prediction, texts in zip(predictions, references, strict=True)]
    return Measured({"exact": 100 * sum(hits) / len(hits)}, "exact")


@pytest.mark.parametrize("n", [2, 3, 10, 1000])
def test_no_input_keeps_its_own_reference(n):
    for order in derangements(n, 20, seed=1):
        assert sorted(order) == list(range(n))
        assert not (order == np.arange(n)).any()


def test_the_same_seed_gives_the_same_derangements_and_another_seed_others():
    first, again, other = (np.stack(derangements(50, 3, seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_every_derangement_is_equally_likely():
    found = [tuple(order) for order in derangements(4, 9000, seed=0)]
    counts = [found.count(order) for order in set(found)]
    assert len(counts) == 9
    assert min(counts) > 850
    assert max(counts) < 1150


def test_fewer_than_two_samples_have_no_shuffled_baseline():
    with pytest.raises(ValueError, match="at least 2 test samples, found 1"):
        derangements(1, 10, 0)
    with pytest.raises(ValueError, match=r"evaluate\.derangements is 0"):
        derangements(5, 0, 0)


def test_the_baseline_is_the_mean_over_the_derangements():
    # Texts a, a, b: the prediction a keeps meeting the other a's reference in part of the derangements.
    texts = ["a", "a", "b", "c"]
    expected = np.mean([
        np.mean([texts[i] == texts[j] for i, j in enumerate(order)]) for order in derangements(4, 10, 7)
    ])  # fmt: skip
    baseline = shuffled_baseline(exact, texts, [[text] for text in texts], count=10, seed=7)
    assert baseline["exact"] == pytest.approx(100 * expected)


def test_a_model_blind_to_its_input_scores_its_own_baseline():
    blind = ["a small red star"] * 3
    references = [["a small red star"], ["a small red nine"], ["a big red star"]]
    metric = partial(corpus_bleu, tokenize="13a", lowercase=True)
    scores = against_shuffled(metric, blind, references, count=10, seed=1)
    for score in scores.values():
        assert score.baseline == pytest.approx(score.value)


def test_scores_carry_value_baseline_count_and_signature():
    scores = against_shuffled(exact, ["a", "b"], [["a"], ["b"]], count=4, seed=1)
    assert scores["exact"].to_json() == {
        "value": 100.0, "baseline": 0.0, "n": 2, "signature": "exact|baseline:shuffled(4)", "references": {}
    }  # fmt: skip
