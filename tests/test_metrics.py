import math

import pytest

from mmcore.metrics import Score, lower_is_better


def test_a_score_is_written_with_everything_needed_to_read_it():
    score = Score(66.66666666, 0.2, 500, "recall@1", {"ceiling": 91.0})
    assert score.to_json() == {
        "value": 66.666667, "baseline": 0.2, "n": 500, "signature": "recall@1", "references": {"ceiling": 91.0}
    }  # fmt: skip


def test_scores_by_language_stand_inside_the_score():
    score = Score(50.0, 1.0, 4, "x", slices={"zh": Score(25.0, 2.0, 1, "y")})
    assert score.to_json()["slices"] == {"zh": Score(25.0, 2.0, 1, "y").to_json()}


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_that_is_not_finite_is_no_score(number):
    with pytest.raises(ValueError, match="value of a score is"):
        Score(number, 0.0, 1, "x")
    with pytest.raises(ValueError, match="ceiling of a score is"):
        Score(1.0, 0.0, 1, "x", {"ceiling": number})


def test_ranks_and_error_rates_are_better_when_lower():
    assert lower_is_better("retrieval.text_to_image_median_rank")
    assert lower_is_better("word_error_rate")
    assert not lower_is_better("captioning.bleu4")
