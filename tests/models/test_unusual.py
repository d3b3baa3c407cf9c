import numpy as np
import pytest
import torch

from mmcore.models.heads import HEADS
from mmcore.models.unusual import SHRINKAGE, VIEWS, Neighbours, WhitenedNeighbours, changes, states
from tests.tiny import PREPARE


def rows(count, size, seed=0):
    """Rows that differ ten times as much in their first number as in the others."""
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.normal(3, 1, (count, size)) * ([10] + [1] * (size - 1))).float()


def test_the_distance_is_the_mean_over_the_nearest_of_one_less_the_cosine():
    neighbours = Neighbours(known=3, nearest=2, size=2)
    neighbours.remember(torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]]))
    torch.testing.assert_close(neighbours(torch.tensor([[5.0, 0.0], [0.0, 0.0]])), torch.tensor([0.5, 1.0]))


def test_whitened_the_distance_is_that_of_mahalanobis():
    known, asked = rows(200, 4), rows(5, 4, seed=1)
    neighbours = WhitenedNeighbours(known=200, nearest=3, size=4)
    neighbours.remember(known)
    covariance = np.cov(known.numpy().T, bias=True)
    inverse = np.linalg.inv(covariance + SHRINKAGE * covariance.trace() / 4 * np.eye(4))
    for row, distance in zip(asked.numpy(), neighbours(asked), strict=True):
        apart = [np.sqrt((row - own) @ inverse @ (row - own)) for own in known.numpy()]
        assert float(distance) == pytest.approx(np.mean(sorted(apart)[:3]), rel=1e-4)


def test_whitened_a_step_counts_by_how_rare_it_is():
    known = rows(300, 3)
    neighbours = WhitenedNeighbours(known=300, nearest=5, size=3)
    neighbours.remember(known)
    middle = known.mean(0)
    along, across = (neighbours((middle + step)[None]) for step in torch.eye(3)[:2] * 8)
    assert float(across) > 4 * float(along)


@pytest.mark.parametrize("kind", [Neighbours, WhitenedNeighbours])
def test_what_is_known_is_at_no_distance_and_the_rest_is_spread_evenly(kind):
    shown = rows(9, 4)
    neighbours = kind(known=5, nearest=1, size=4)
    neighbours.remember(shown)
    assert (neighbours(shown[::2]) < 1e-6).all()
    assert (neighbours(shown[1::2]) > 1e-6).all()


def test_samples_that_are_all_alike_can_be_remembered():
    neighbours = WhitenedNeighbours(known=4, nearest=2, size=3)
    neighbours.remember(torch.ones(4, 3))
    assert neighbours(torch.ones(1, 3)) == 0
    assert neighbours(torch.zeros(1, 3)) > 1000


def test_changes_are_the_steps_of_the_mean_from_frame_to_frame():
    tokens = torch.arange(2 * 4.0).reshape(1, 4, 2)  # two frames of two tokens
    mask = torch.ones(1, 4, dtype=torch.bool)
    assert changes(tokens, mask, PREPARE).tolist() == [[4.0, 4.0]]


def test_states_are_means_of_quarters_deviations_and_those_of_steps():
    tokens, mask = torch.tensor([[0.0, 2, 4, 4, 8, 8, 1, 3, 99]])[..., None], torch.ones(1, 9, dtype=torch.bool)
    mask[0, 8] = False
    there = tokens[0, :8, 0]
    expected = [1.0, 4, 8, 2, float(there.std(correction=0)), float(there.diff().std(correction=0))]
    assert states(tokens, mask, PREPARE)[0].tolist() == pytest.approx(expected)


def test_a_quarter_without_tokens_has_the_mean_of_all_and_nothing_gives_zeros():
    tokens = torch.tensor([[[1.0], [5.0]], [[7.0], [7.0]]])
    mask = torch.tensor([[True, True], [False, False]])
    found = states(tokens, mask, PREPARE)
    assert found[0].tolist() == [1, 3, 5, 3, 2, 0]
    assert found[1].tolist() == [0] * 6


@pytest.mark.parametrize("of", VIEWS)
def test_beyond_the_threshold_a_sample_is_unusual_the_surer_the_farther(of):
    head = HEADS.build({"name": "unusual", "inputs": [of], "classes": ["usual", "unusual"], "known": 4, "nearest": 2},
                       width=8, prepare=PREPARE)  # fmt: skip
    torch.manual_seed(0)
    tokens, mask = torch.randn(12, 4, 8), torch.ones(12, 4, dtype=torch.bool)
    head.neighbours.remember(head.vectors(tokens[:4], mask[:4]))
    distances = head.neighbours(head.vectors(tokens, mask))
    head.threshold.copy_(distances.sort().values[5:7].mean())
    head.spread.copy_(distances.std())
    shares = head({of: (tokens, mask)}).softmax(1)[:, 1]
    assert (shares > 0.5).sum() == 6
    expected = 1 / (1 + torch.exp((head.threshold - distances) / head.spread))
    torch.testing.assert_close(shares, expected)


@pytest.mark.parametrize("inputs", [["transcript"], ["image", "text"], []])
def test_the_head_looks_at_one_modality(inputs):
    with pytest.raises(ValueError, match="looks at one of video, image, audio, text"):
        HEADS.build({"name": "unusual", "inputs": inputs, "classes": ["a", "b"], "known": 4, "nearest": 2}, width=8,
                    prepare=PREPARE)  # fmt: skip
