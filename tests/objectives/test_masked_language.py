import dataclasses
import math

import pytest
import torch

from mmcore.data.batches import Batches
from mmcore.data.tokenizer import SPECIALS
from mmcore.models.processor import Processor
from mmcore.objectives import OBJECTIVES
from mmcore.objectives._mixture import Mixture
from mmcore.objectives.masked_language import hidden
from tests.tiny import EVERY_OBJECTIVE, PREPARE, TinyCorpus, caption, corpus, fitted, model, processor, scene

PLAIN, GIVEN = EVERY_OBJECTIVE["masked_language"], EVERY_OBJECTIVE["masked_language_image"]


def prepared(spec, rows, size=6):
    learner, made = Mixture([spec], rows), model()
    made.add_heads(learner.heads(rows))
    return made, learner.streams[0].batches(rows, made.processor, {}, batch_size=size, shuffle=False).at(0)


def test_masked_language_hides_words_only_and_asks_for_those():
    objective, made = OBJECTIVES.build({**PLAIN, "share": 1.0}), model()
    seen = []
    encode, fill = made.encode, made.fill
    made.encode = lambda name, values, mask: (seen.append(values), encode(name, values, mask))[1]
    made.fill = lambda tokens: (seen.append(tokens), fill(tokens))[1]
    part = Batches(corpus(), processor(), ["captions"], batch_size=6, shuffle=False).at(0)
    torch.manual_seed(0)
    objective.loss(made, part)
    ids, mask = part.inputs["text"]
    words = mask & (ids >= 5)
    assert torch.equal(seen[0][~words], ids[~words])
    assert 0.6 < float((seen[0][words] == 3).float().mean()) < 0.95
    assert len(seen[1]) == int(words.sum())


def test_of_the_hidden_words_eighty_percent_are_masked_and_ten_are_others_and_ten_stay():
    torch.manual_seed(0)
    own = Processor.made_up(dataclasses.replace(PREPARE, vocabulary=5000))
    ids = torch.randint(len(SPECIALS), 5000, (400, 100))
    ids[:, 0], ids[:, -1] = own.specials.bos, own.specials.eos
    mask = torch.ones_like(ids, dtype=torch.bool)
    seen, chosen = hidden(ids, mask, 0.5, own, 400)
    assert not chosen[:, [0, -1]].any()
    assert torch.equal(seen[~chosen], ids[~chosen])
    assert float(chosen.float().mean()) == pytest.approx(0.5 * 0.98, abs=0.01)
    masked, stay = seen[chosen] == own.specials.mask, seen[chosen] == ids[chosen]
    assert float(masked.float().mean()) == pytest.approx(0.8, abs=0.01)
    assert float(stay.float().mean()) == pytest.approx(0.1, abs=0.01)
    assert (seen[chosen][~masked] >= len(SPECIALS)).all()


def test_perplexity_is_the_exponential_of_the_loss_without_its_weight_and_falls(tmp_path):
    rows, spec = corpus(clips=0), {**PLAIN, "share": 0.5, "weight": 0.2}
    learner, made = Mixture([spec], rows), model()
    before = learner.validate(made, rows, batch_size=6)
    assert before["masked_language_perplexity"] == pytest.approx(math.exp(before["masked_language"] / 0.2))
    after = fitted(learner, made, rows, tmp_path, steps=30, validate_every=30).validation
    assert after["masked_language_perplexity"] < 0.5 * before["masked_language_perplexity"]


@pytest.mark.parametrize("spec", [PLAIN, GIVEN], ids=["alone", "given an image"])
def test_the_loss_is_the_mean_cross_entropy_of_the_hidden_words(spec):
    made, part = prepared(spec, corpus(clips=0))
    made = made.double()
    torch.manual_seed(0)
    value = OBJECTIVES.build(spec).loss(made, part)
    torch.manual_seed(0)
    ids, mask = part.inputs["text"]
    seen, chosen = hidden(ids, mask, 0.3, made.processor, len(part))
    tokens, _ = made.encode("text", seen, mask)
    if spec is GIVEN:
        head = made.heads["masked_language_image"]
        pixels, there = part.inputs["image"]
        tokens = torch.cat([
            head({"text": (tokens[i : i + 1], mask[i : i + 1]),
                  "image": made.encode("image", pixels[i : i + 1], there[i : i + 1])})
            for i in range(6)
        ])  # fmt: skip
    terms = []
    for row, place in chosen.nonzero().tolist():
        logits = made.fill(tokens[row, place]).detach()
        terms.append(math.log(sum(math.exp(float(x)) for x in logits)) - float(logits[ids[row, place]]))
    assert len(terms) > 5
    assert float(sum(value.values()).detach()) == pytest.approx(sum(terms) / len(terms), rel=1e-9)


def colour_is_learned(spec, rows):
    """The loss after training to name one word that stands in the picture alone."""
    made, part = prepared(spec, rows, 12)
    objective = OBJECTIVES.build({**spec, "share": 0.5})
    optimiser = torch.optim.Adam(made.train().parameters(), 5e-3)
    for number in range(60):
        torch.manual_seed(number)
        optimiser.zero_grad()
        value = sum(objective.loss(made, part).values())
        value.backward()
        optimiser.step()
    losses = []
    for number in range(6):
        torch.manual_seed(1000 + number)
        losses.append(float(sum(objective.loss(made, part).values()).detach()))
    return sum(losses) / 6


def test_hidden_words_are_named_by_looking_at_the_picture():
    rows = TinyCorpus([{**scene(n), "captions": [caption(["red", "green", "blue"][n % 3])]} for n in range(12)])
    # Without the picture one colour in three is the best guess, where a word is hidden it says nothing.
    assert colour_is_learned(GIVEN, rows) < 0.5 * colour_is_learned(PLAIN, rows)
