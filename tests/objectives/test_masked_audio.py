import pytest
import torch

from mmcore.objectives import OBJECTIVES
from mmcore.objectives._hiding import drawn
from mmcore.objectives._mixture import Mixture
from tests.tiny import EVERY_OBJECTIVE, PREPARE, corpus, model

SPEC = EVERY_OBJECTIVE["masked_audio"]


def prepared():
    learner, made = Mixture([SPEC], corpus(clips=0)), model()
    made.add_heads(learner.heads(corpus()))
    made = made.double()
    return made, learner.streams[0].batches(corpus(), made.processor, {}, batch_size=6, shuffle=False).at(0)


def test_the_loss_is_the_mean_square_over_hidden_stretches_of_each_recording_by_itself():
    made, part = prepared()
    head = made.heads["masked_audio"]
    head.mark.data.normal_()
    values, mask = part.inputs["audio"]
    lengths = mask.sum(1).tolist()
    assert sorted(lengths) == [9, 10, 11, 12, 13, 14]
    stretches = -(-max(lengths) // 4)
    there = torch.arange(stretches) * 4 < torch.tensor(lengths)[:, None]
    torch.manual_seed(2)
    hidden = drawn(there, 0.4, 6, round(PREPARE.audio_seconds * 100) // 4)
    terms = []
    for row, length in enumerate(lengths):
        bands = values[row, :length].double()
        shown = bands.clone()
        for step in range(length):
            if hidden[row, step // 4]:
                shown[step] = head.mark.detach().reshape(4, 8)[step % 4]
        tokens, _ = made.encode("audio", shown[None], torch.ones(1, length, dtype=torch.bool))
        for step in range(length):
            if hidden[row, step // 4]:
                predicted = head.out(tokens[0, step // 4]).reshape(4, 8)[step % 4]
                terms += [float(x) ** 2 for x in (predicted - bands[step]).detach()]
    assert len(terms) % 8 == 0
    torch.manual_seed(2)
    value = OBJECTIVES.build(SPEC).loss(made, part)["masked_audio"]
    assert float(value.detach()) == pytest.approx(sum(terms) / len(terms), rel=1e-9)


def test_an_encoder_with_other_tokens_is_refused():
    made, part = prepared()
    encode = made.encode
    made.encode = lambda name, *pair: tuple(one[:, :1] for one in encode(name, *pair))
    with pytest.raises(ValueError, match="a token for each 40 ms; of 14 steps of 10 ms the one here makes 1 tokens"):
        OBJECTIVES.build(SPEC).loss(made, part)
