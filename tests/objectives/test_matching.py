import math

import pytest
import torch

from mmcore.data.batches import Batch
from mmcore.models.losses import hard_negatives, matching_loss
from mmcore.objectives import OBJECTIVES
from mmcore.objectives._mixture import Mixture, Remembering
from tests.tiny import EVERY_OBJECTIVE, corpus, model

SPEC = EVERY_OBJECTIVE["matching"]


def prepared(rows=6):
    made, whole = model().double(), corpus(clips=0)
    learner = Mixture([SPEC], whole)
    made.add_heads(learner.heads(whole))
    return made.double(), learner.streams[0].batches(whole, made.processor, {}, batch_size=rows, shuffle=False).at(0)


def spied(made, part):
    """The loss, and what the head was asked and said."""
    seen, answer = {}, made.answer
    made.answer = lambda head, pairs: seen.setdefault("logits", answer(head, seen.setdefault("pairs", pairs)))
    torch.manual_seed(1)
    value = OBJECTIVES.build(SPEC).loss(made, part)["matching_image_text"]
    return value, seen["pairs"], seen["logits"]


def test_the_loss_is_the_cross_entropy_of_each_pair_asked_by_itself():
    made, part = prepared()
    value, pairs, logits = spied(made, part)
    (images, image_mask), (texts, text_mask) = pairs["image"], pairs["text"]
    terms = []
    for row in range(18):
        own = slice(row, row + 1)
        pair = {"image": (images[own], image_mask[own]), "text": (texts[own], text_mask[own])}
        logit = float(made.heads["matching_image_text"](pair).detach())
        assert logit == pytest.approx(float(logits[row].detach()), rel=1e-9)
        share = 1 / (1 + math.exp(-logit))
        terms.append(-math.log(share if row < 6 else 1 - share))
    assert float(value.detach()) == pytest.approx(sum(terms) / 18, rel=1e-9)


def test_each_input_stands_once_beside_its_partner_and_once_beside_a_stranger():
    made, part = prepared()
    _, pairs, _ = spied(made, part)
    own = {name: made.encode(name, *part.inputs[name])[0] for name in ("image", "text")}
    images, texts = (
        [next(i for i in range(6) if torch.equal(row, own[name][i])) for row in pairs[name][0]]
        for name in ("image", "text")
    )
    assert images[:12] == [*range(6), *range(6)]
    assert texts[:6] == texts[12:] == [*range(6)]
    assert all(not part.same_BB[text, image] for image, text in zip(images[6:], texts[6:], strict=True))


def test_negatives_are_drawn_by_the_softmax_of_what_does_not_belong_together():
    left, right = torch.eye(4), torch.tensor([[1.0, 0, 0, 0], [0.5, 0, 0, 0], [0.2, 0, 0, 0], [0.9, 0, 0, 0]])
    same = torch.eye(4, dtype=torch.bool)
    same[0, 3] = True
    present = torch.ones(4, dtype=torch.bool)
    torch.manual_seed(0)
    draws = [int(hard_negatives(left, right, torch.tensor(4.0), same, present)[0][0][0]) for _ in range(2000)]
    share = math.exp(4 * 0.5) / (math.exp(4 * 0.5) + math.exp(4 * 0.2))
    assert set(draws) == {1, 2}
    assert draws.count(1) / 2000 == pytest.approx(share, abs=0.03)


def test_negatives_are_present_follow_the_seed_and_may_be_missing():
    vectors = torch.nn.functional.normalize(torch.randn(5, 3), dim=1)
    same, present = torch.eye(5, dtype=torch.bool), torch.tensor([True, True, False, True, False])
    torch.manual_seed(3)
    one = hard_negatives(vectors, vectors, torch.tensor(1.0), same, present)
    torch.manual_seed(3)
    again = hard_negatives(vectors, vectors, torch.tensor(1.0), same, present)
    for (places, there), (others, _) in zip(one, again, strict=True):
        assert torch.equal(places, others)
        assert there.tolist() == present.tolist()
        assert all(present[place] for place in places[present])
    all_same = torch.ones(5, 5, dtype=torch.bool)
    assert not hard_negatives(vectors, vectors, torch.tensor(1.0), all_same, present)[0][1].any()


def test_one_sample_alone_has_its_positive_only():
    made, part = prepared()
    inputs = {name: (values[:1], mask[:1]) for name, (values, mask) in part.inputs.items()}
    value, _, logits = spied(made, Batch(part.ids[:1], inputs, part.same_BB[:1, :1]))
    assert float(value.detach()) == pytest.approx(math.log1p(math.exp(-float(logits[0].detach()))))


def test_matching_leaves_the_embeddings_of_others_their_gradient():
    made, part = prepared()
    once = Remembering(made, {"image", "text"})
    OBJECTIVES.build(SPEC).loss(once, part)
    value = OBJECTIVES.build(EVERY_OBJECTIVE["contrast"]).loss(once, part)["contrast_image_text"]
    value.backward()
    assert made.projections["image"].out.weight.grad.abs().sum() > 0


def test_nothing_counted_costs_nothing():
    zeros = torch.zeros(3, 2)
    assert float(matching_loss(zeros, zeros, zeros.bool())) == 0.0


def test_matching_is_between_two():
    with pytest.raises(ValueError, match="two different inputs, not"):
        OBJECTIVES.build({**SPEC, "between": ["image", "image"]})
