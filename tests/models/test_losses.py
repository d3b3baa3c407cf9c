import math

import pytest
import torch

from mmcore.models.losses import contrastive_loss, next_token_loss, token_loss


def brute_force(left, right, scale, same, present):
    """The formula with loops: each direction, each row, own partner against all that is not the same."""
    terms = []
    rows = [i for i in range(len(left)) if present[i]]
    for i in rows:
        for first, second, belongs in ((left, right, same), (right, left, same.T)):
            others = [j for j in rows if j == i or not belongs[i, j]]
            scores = [scale * float(first[i] @ second[j]) for j in others]
            terms.append(math.log(sum(math.exp(s) for s in scores)) - scale * float(first[i] @ second[i]))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("seed", range(4))
def test_contrast_equals_the_formula_written_with_loops(seed):
    torch.manual_seed(seed)
    left, right = (torch.nn.functional.normalize(torch.randn(7, 3, dtype=torch.float64), dim=1) for _ in range(2))
    same = (torch.rand(7, 7) < 0.2) | torch.eye(7, dtype=torch.bool)
    present = torch.rand(7) < 0.8
    value = contrastive_loss(left, right, torch.tensor(5.0), same, present)
    assert float(value) == pytest.approx(brute_force(left, right, 5.0, same, present), rel=1e-5)


def test_contrast_of_two_orthogonal_pairs_by_hand():
    eye = torch.eye(2)
    value = contrastive_loss(eye, eye, torch.tensor(1.0), eye.bool(), torch.ones(2, dtype=torch.bool))
    assert float(value) == pytest.approx(math.log(math.e + 1) - 1)


def test_rows_that_are_the_same_do_not_count_against_each_other():
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    present = torch.ones(2, dtype=torch.bool)
    apart = contrastive_loss(vectors, vectors, torch.tensor(9.0), torch.eye(2, dtype=torch.bool), present)
    together = contrastive_loss(vectors, vectors, torch.tensor(9.0), torch.ones(2, 2, dtype=torch.bool), present)
    assert float(apart) == pytest.approx(math.log(2))
    assert float(together) == 0.0


@pytest.mark.parametrize("present", [[True, False], [False, False]])
def test_contrast_of_one_row_or_none_is_zero_with_finite_gradients(present):
    left = torch.randn(2, 3, requires_grad=True)
    value = contrastive_loss(left, torch.randn(2, 3), torch.tensor(1.0), torch.eye(2, dtype=torch.bool),
                             torch.tensor(present))  # fmt: skip
    value.backward()
    assert float(value.detach()) == 0.0
    assert left.grad is not None
    assert left.grad.isfinite().all()


def test_the_next_token_is_the_target_and_padding_is_not():
    ids = torch.tensor([[1, 3, 2], [1, 2, 0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    logits = torch.full((2, 2, 4), 0.0)
    logits[0, 0, 3] = logits[0, 1, 2] = logits[1, 0, 2] = 50.0
    logits[1, 1, 3] = 50.0  # a wrong guess where nothing counts
    assert float(next_token_loss(logits, ids, mask, smoothing=0.0)) == pytest.approx(0.0, abs=1e-6)


def test_a_uniform_guess_costs_the_logarithm_of_the_vocabulary_with_or_without_smoothing():
    targets = torch.tensor([1, 2, -100])
    for smoothing in (0.0, 0.1):
        assert float(token_loss(torch.zeros(3, 8), targets, smoothing=smoothing)) == pytest.approx(math.log(8))


def test_no_target_costs_nothing():
    assert float(token_loss(torch.zeros(2, 8), torch.tensor([-100, -100]))) == 0.0
