import math

import pytest
import torch
from torch.nn.functional import normalize

from mmcore.models.heads import HEADS
from mmcore.models.losses import (
    contrastive_loss,
    distillation_loss,
    next_token_loss,
    one_way_loss,
    sigmoid_loss,
    token_loss,
    vc_loss,
)


def vectors(seed, rows=7, width=3):
    torch.manual_seed(seed)
    left, right = (normalize(torch.randn(rows, width, dtype=torch.float64), dim=1) for _ in range(2))
    same = (torch.rand(rows, rows) < 0.2) | torch.eye(rows, dtype=torch.bool)
    return left, right, same, torch.rand(rows) < 0.8


def apart(i, same, present):
    """What counts against row i."""
    return [j for j in range(len(present)) if j != i and present[j] and not same[i, j]]


def info_nce(left, right, scale, same, present):
    """Each row, own partner against all that is not the same."""
    terms = []
    for i in (i for i in range(len(left)) if present[i]):
        scores = [scale * float(left[i] @ right[j]) for j in [i, *apart(i, same, present)]]
        terms.append(math.log(sum(math.exp(score) for score in scores)) - scores[0])
    return sum(terms) / len(terms)


def clip(left, right, scale, same, present):
    return (info_nce(left, right, scale, same, present) + info_nce(right, left, scale, same.T, present)) / 2


def siglip(left, right, scale, bias, same, present):
    rows = [i for i in range(len(left)) if present[i]]
    total = 0.0
    for i in rows:
        for j in rows:
            sign = 1 if i == j or same[i, j] else -1
            total += math.log(1 / (1 + math.exp(-sign * (scale * float(left[i] @ right[j]) + bias))))
    return -total / len(rows)


def vc(left, right, scale, same, present):
    """As the formula is printed: own pair over the sum of both directions without it."""
    terms = []
    for i in (i for i in range(len(left)) if present[i]):
        below = sum(math.exp(scale * float(left[i] @ right[j])) for j in apart(i, same, present))
        below += sum(math.exp(scale * float(left[j] @ right[i])) for j in apart(i, same.T, present))
        terms.append(-math.log(math.exp(scale * float(left[i] @ right[i])) / below) if below else 0.0)
    return sum(terms) / len(terms)


LOOPS = {contrastive_loss: clip, one_way_loss: info_nce, vc_loss: vc}
SCALE = torch.tensor(5.0, dtype=torch.float64)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("formula", LOOPS, ids=lambda formula: formula.__name__)
def test_contrast_equals_the_formula_written_with_loops(formula, seed):
    left, right, same, present = vectors(seed)
    expected = LOOPS[formula](left, right, 5.0, same, present)
    assert float(formula(left, right, SCALE, same, present)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_the_sigmoid_loss_equals_the_formula_written_with_loops(seed):
    left, right, same, present = vectors(seed)
    value = sigmoid_loss(left, right, SCALE, torch.tensor(-1.5, dtype=torch.float64), same, present)
    assert float(value) == pytest.approx(siglip(left, right, 5.0, -1.5, same, present), rel=1e-9)


@pytest.mark.parametrize("formula", [*LOOPS, sigmoid_loss], ids=lambda formula: formula.__name__)
def test_what_belongs_together_is_not_pushed_apart(formula):
    """Descending with rows 0 and 1 the same: they draw no nearer to other rows, and never away from each other."""
    same = torch.eye(7, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    everyone = torch.ones(7, dtype=torch.bool)
    bias = [torch.tensor(0.0)] if formula is sigmoid_loss else []
    scores = torch.zeros(7, 7, dtype=torch.float64, requires_grad=True)
    # With unit vectors on the right, left holds the similarities themselves.
    formula(scores, torch.eye(7, dtype=torch.float64), SCALE, *bias, same, everyone).backward()
    assert scores.grad[0, 1] <= 0
    assert scores.grad[1, 0] <= 0
    assert scores.grad[0, 2] > 0
    assert scores.grad[0, 0] < 0


def test_the_form_without_the_positive_falls_below_zero_and_clip_does_not():
    eye, everyone = torch.eye(3, dtype=torch.float64), torch.ones(3, dtype=torch.bool)
    # Own pairs e^5, and below them two times two pairs of e^0.
    assert float(vc_loss(eye, eye, SCALE, eye.bool(), everyone)) == pytest.approx(math.log(4) - 5, rel=1e-9)
    assert float(contrastive_loss(eye, eye, SCALE, eye.bool(), everyone)) > 0


def test_one_way_times_the_rows_is_the_sum_that_is_printed():
    left, right, _, _ = vectors(1)
    same, everyone = torch.eye(7, dtype=torch.bool), torch.ones(7, dtype=torch.bool)
    scores = [[5.0 * float(left[i] @ right[j]) for j in range(7)] for i in range(7)]
    printed = sum(-math.log(math.exp(scores[i][i]) / sum(map(math.exp, scores[i]))) for i in range(7))
    assert 7 * float(one_way_loss(left, right, SCALE, same, everyone)) == pytest.approx(printed, rel=1e-9)


def test_summing_over_every_partner_as_some_print_it_learns_nothing():
    """- sum over i and j of log softmax: every pair is a positive, so it knows no partners and likes all alike best."""

    def printed(left, right):
        scores = [[5.0 * float(a @ b) for b in right] for a in left]
        return -sum(s - math.log(sum(map(math.exp, row))) for row in scores for s in row)

    eye, same = torch.eye(4, dtype=torch.float64), torch.eye(4, dtype=torch.bool)
    turned, everyone = eye.roll(1, 0), torch.ones(4, dtype=torch.bool)
    alike = torch.ones(4, 4, dtype=torch.float64) / 2
    assert printed(eye, eye) == pytest.approx(printed(eye, turned))
    assert printed(alike, alike) < printed(eye, eye)
    for formula in (*LOOPS,):
        aligned, swapped, uniform = (
            float(formula(one, other, SCALE, same, everyone))
            for one, other in ((eye, eye), (eye, turned), (alike, alike))
        )
        assert aligned < uniform < swapped


@pytest.mark.parametrize("seed", range(4))
def test_distillation_is_the_divergence_written_with_loops(seed):
    left, right, _, present = vectors(seed)
    wanted_left, wanted_right, _, _ = vectors(seed + 10, width=5)
    wanted = torch.tensor(3.0, dtype=torch.float64)
    rows = [i for i in range(7) if present[i]]

    def softmax(scores):
        total = sum(map(math.exp, scores))
        return [math.exp(score) / total for score in scores]

    terms = []
    for (a, b), (c, d) in (((wanted_left, wanted_right), (left, right)), ((wanted_right, wanted_left), (right, left))):
        for i in rows:
            p = softmax([3.0 * float(a[i] @ b[j]) for j in rows])
            q = softmax([5.0 * float(c[i] @ d[j]) for j in rows])
            terms.append(sum(x * math.log(x / y) for x, y in zip(p, q, strict=True)))
    value = distillation_loss((left, right, SCALE), (wanted_left, wanted_right, wanted), present, 7)
    assert float(value) == pytest.approx(sum(terms) / len(terms), rel=1e-9)


def test_a_student_that_agrees_with_its_teacher_has_nothing_to_learn():
    left, right, _, present = vectors(0)
    left.requires_grad_()
    value = distillation_loss((left, right, SCALE), (left.detach(), right, SCALE), present, 7)
    value.backward()
    assert float(value.detach()) == pytest.approx(0.0, abs=1e-12)
    assert left.grad.abs().max() < 1e-12


def test_the_head_of_the_sigmoid_loss_begins_where_it_is_said_to():
    scale, bias = HEADS.build({"name": "pair_bias"})(64)
    assert float(scale.detach()) == pytest.approx(10.0)
    assert float(bias.detach()) == pytest.approx(math.log(1 / 63))
    assert float(HEADS.build({"name": "pair_bias"})(1)[1].detach()) == 0.0


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
@pytest.mark.parametrize("formula", LOOPS, ids=lambda formula: formula.__name__)
def test_contrast_of_one_row_or_none_is_zero_with_finite_gradients(formula, present):
    left = torch.randn(2, 3, requires_grad=True)
    value = formula(left, torch.randn(2, 3), torch.tensor(1.0), torch.eye(2, dtype=torch.bool),
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
