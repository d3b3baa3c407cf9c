import math

import pytest
import torch

from mmcore.objectives import OBJECTIVES
from mmcore.objectives._mixture import Mixture
from tests.tiny import EVERY_OBJECTIVE, corpus, model

SPEC = {**EVERY_OBJECTIVE["language"], "smoothing": 0.0}


def test_the_loss_is_the_mean_cross_entropy_of_every_next_word_of_each_text_by_itself():
    made, learner = model().double(), Mixture([SPEC], corpus())
    part = learner.streams[0].batches(corpus(), made.processor, {}, batch_size=5, shuffle=False).at(0)
    terms = []
    for row, mask in zip(*part.inputs["text"], strict=True):
        ids = row[mask]
        for place in range(1, len(ids)):
            logits = made.write(ids[None, :place], {})[0, -1].detach()
            terms.append(math.log(sum(math.exp(float(x)) for x in logits)) - float(logits[ids[place]]))
    value = OBJECTIVES.build(SPEC).loss(made, part)["language"]
    assert float(value.detach()) == pytest.approx(sum(terms) / len(terms), rel=1e-9)


def test_nothing_to_look_at_is_as_good_as_something_that_is_not_there():
    made = model()
    ids = torch.tensor([[1, 7, 9]])
    absent = torch.randn(1, 4, 16), torch.zeros(1, 4, dtype=torch.bool)
    torch.testing.assert_close(made.write(ids, {}), made.write(ids, {"image": absent}))
