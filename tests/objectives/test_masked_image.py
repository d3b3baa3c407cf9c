import numpy as np
import pytest
import torch

from mmcore.data.batches import Batch
from mmcore.models.losses import squared_error
from mmcore.objectives import OBJECTIVES
from mmcore.objectives._hiding import drawn
from mmcore.objectives._mixture import Mixture
from mmcore.objectives.masked_image import normalised, patches, whole
from tests.tiny import EVERY_OBJECTIVE, TinyCorpus, caption, corpus, model, scene

SPEC = EVERY_OBJECTIVE["masked_image"]


def prepared(spec=SPEC):
    learner, made = Mixture([spec], corpus(clips=0)), model()
    made.add_heads(learner.heads(corpus()))
    made = made.double()
    return made, learner.streams[0].batches(corpus(), made.processor, {}, batch_size=3, shuffle=False).at(0)


def test_the_loss_is_the_mean_square_over_hidden_squares_of_each_picture_by_itself():
    made, part = prepared()
    head = made.heads["masked_image"]
    head.mark.data.normal_()
    torch.manual_seed(2)
    hidden = drawn(torch.ones(3, 16, dtype=torch.bool), 0.5, 3, 16)
    terms = []
    for row in range(3):
        pixels = part.inputs["image"][0][row].double()
        shown = pixels.clone()
        for place in range(16):
            if hidden[row, place]:
                top, left = 4 * (place // 4), 4 * (place % 4)
                shown[top : top + 4, left : left + 4] = 127.5 * (1 + head.mark.detach().reshape(4, 4, 3))
        tokens, _ = made.encode("image", shown[None], torch.tensor([True]))
        for place in range(16):
            if hidden[row, place]:
                top, left = 4 * (place // 4), 4 * (place % 4)
                square = pixels[top : top + 4, left : left + 4].flatten() / 127.5 - 1
                wanted = (square - square.mean()) / (square.var() + 1e-6).sqrt()
                terms += [float(x) ** 2 for x in (head.out(tokens[0, place]) - wanted).detach()]
    assert len(terms) == 3 * 8 * 48
    torch.manual_seed(2)
    value = OBJECTIVES.build(SPEC).loss(made, part)["masked_image"]
    assert float(value.detach()) == pytest.approx(sum(terms) / len(terms), rel=1e-9)


def test_pictures_are_cut_row_by_row_and_put_together_again():
    picture = torch.arange(2 * 6 * 6 * 3).reshape(2, 6, 6, 3)
    squares = patches(picture, 2)
    assert squares.shape == (2, 9, 12)
    assert torch.equal(squares[0, 1], picture[0, :2, 2:4].flatten())
    assert torch.equal(squares[1, 3], picture[1, 2:4, :2].flatten())
    assert torch.equal(whole(squares, 2), picture)


def test_targets_have_mean_zero_and_variance_one_and_a_plain_square_is_zero():
    squares = torch.cat([torch.randn(1, 2, 48, dtype=torch.float64) * 0.3 + 5, torch.full((1, 2, 48), 0.5)])
    found = normalised(squares)
    torch.testing.assert_close(found[0].mean(-1), torch.zeros(2, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(found[0].var(-1), torch.ones(2, dtype=torch.float64), atol=1e-4, rtol=0)
    assert found[1].abs().max() < 1e-9


def test_the_share_is_hidden_of_each_row_and_never_what_is_not_there():
    there = torch.arange(10) < torch.tensor([10, 4, 1, 0])[:, None]
    hidden = drawn(there, 0.5, 4, 12)
    assert hidden.sum(1).tolist() == [5, 2, 1, 0]
    assert not (hidden & ~there).any()
    torch.manual_seed(0)
    found = torch.stack([drawn(there, 0.5, 4, 12) for _ in range(1000)]).float().mean(0)
    assert found[0].min() > 0.4
    assert found[0].max() < 0.6


def test_what_is_not_hidden_is_not_judged():
    made, part = prepared({**SPEC, "share": 1 / 16})
    pixels, there = part.inputs["image"]
    torch.manual_seed(4)
    hidden = drawn(torch.ones(3, 16, dtype=torch.bool), 1 / 16, 3, 16)
    calls = []
    answer = made.answer
    made.answer = lambda head, encoded: (calls.append(answer(head, encoded)), calls[-1])[1]
    torch.manual_seed(4)
    value = float(OBJECTIVES.build({**SPEC, "share": 1 / 16}).loss(made, part)["masked_image"].detach())
    targets = normalised(patches(pixels.double() / 127.5 - 1, 4))
    expected = ((calls[0].detach() - targets)[hidden] ** 2).mean()
    assert value == pytest.approx(float(expected))
    assert there.all()


def test_an_encoder_with_other_tokens_is_refused():
    made, part = prepared({**SPEC, "patch": 8})
    with pytest.raises(ValueError, match="squares of 8 pixels, 4 in a picture; the image encoder has 16 tokens"):
        OBJECTIVES.build({**SPEC, "patch": 8}).loss(made, part)
    with pytest.raises(ValueError, match="a multiple of its patch, 5"):
        patches(torch.zeros(1, 16, 16, 3), 5)


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_of_nothing_or_more_than_all_is_refused(share):
    with pytest.raises(ValueError, match="hides the share"):
        OBJECTIVES.build({**SPEC, "share": share})


def test_the_mean_square_counts_what_it_is_told_to():
    found = squared_error(
        torch.tensor([1.0, 2.0, 9.0]), torch.tensor([0.0, 4.0, 0.0]), torch.tensor([True, True, False])
    )
    assert float(found) == pytest.approx((1 + 4) / 2)
    assert float(squared_error(torch.ones(2), torch.zeros(2), torch.zeros(2, dtype=torch.bool))) == 0.0


def test_hiding_learns_to_paint():
    made, part = prepared()
    made = made.float().train()
    objective = OBJECTIVES.build(SPEC)
    optimiser = torch.optim.Adam(made.parameters(), 3e-3)
    losses = []
    for number in range(60):
        torch.manual_seed(number)
        optimiser.zero_grad()
        value = objective.loss(made, Batch(part.ids, part.inputs, part.same_BB))["masked_image"]
        value.backward()
        optimiser.step()
        losses.append(float(value.detach()))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def stripes(number):
    """A picture of upright stripes for even numbers, of lying ones for odd numbers, and a caption that says so."""
    along = np.arange(16) % 2 * 255
    picture = np.broadcast_to(along[None, :, None], (16, 16, 3)).astype(np.uint8)
    lying = number % 2
    return {
        **scene(number), "image": picture.transpose(1, 0, 2) if lying else picture,
        "captions": [caption("across" if lying else "upright")],
    }  # fmt: skip


@pytest.mark.parametrize(("given", "at_most", "at_least"), [("text", 0.2, 0.0), (None, 2.0, 0.3)])
def test_with_all_hidden_a_picture_is_painted_as_its_caption_says(given, at_most, at_least):
    rows = TinyCorpus([stripes(number) for number in range(6)])
    spec = {**SPEC, "share": 1.0, "given": given}
    learner, made = Mixture([spec], rows), model()
    made.add_heads(learner.heads(rows))
    part = learner.streams[0].batches(rows, made.processor, {}, batch_size=6, shuffle=False).at(0)
    optimiser = torch.optim.Adam(made.train().parameters(), 5e-3)
    for _ in range(60):
        optimiser.zero_grad()
        value = sum(learner.streams[0].loss(made, part).values())
        value.backward()
        optimiser.step()
    assert at_least <= float(value.detach()) < at_most
