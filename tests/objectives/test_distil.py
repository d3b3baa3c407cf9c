import dataclasses
from pathlib import Path

import pytest
import torch

from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives import OBJECTIVES
from mmcore.objectives._mixture import Mixture
from tests.tiny import MODEL, PREPARE, corpus, model, objective, processor, teacher
from tests.tiny import OBJECTIVES as SPECS


def prepared(spec):
    learner, made = Mixture([spec], corpus()), model()
    made.add_heads(learner.heads(corpus()))
    return made, learner.streams[0].batches(corpus(), made.processor, {}, batch_size=6, shuffle=False).at(0)


def test_features_are_the_mean_square_by_which_the_embedding_misses_the_teachers():
    made, part = prepared(objective("distil"))
    values = OBJECTIVES.build(objective("distil")).loss(made, part)
    wide = MultimodalModel.load(Path(teacher("wider")))
    for name in ("image", "text"):
        head = made.heads[f"distil_features_{name}"]
        own, wanted = (
            head(made.embed(name, *part.inputs[name])).double().detach(),
            wide.embed(name, *part.inputs[name]).double().detach(),
        )
        squares = [float(own[i, e] - wanted[i, e]) ** 2 for i in range(6) for e in range(12)]
        expected = 20.0 * sum(squares) / len(squares)
        assert float(values[f"distil_features_{name}"].detach()) == pytest.approx(expected, rel=1e-5)


def test_a_model_that_is_its_teacher_loses_nothing():
    spec = {**objective("distil_alike"), "similarity": 1.0}
    made, part = prepared(spec)
    made.load_state_dict(model(seed=5).state_dict(), strict=False)
    values = OBJECTIVES.build(spec).loss(made, part)
    assert list(values) == ["distil_similarity_audio_text", "distil_features_audio", "distil_features_text"]
    assert all(abs(float(value.detach())) < 1e-6 for value in values.values())
    assert not [name for name, _ in made.named_parameters() if "distil" in name]


def test_the_teacher_learns_nothing_and_is_no_part_of_the_model():
    spec = objective("distil")
    built = OBJECTIVES.build(spec)
    made, part = prepared(spec)
    with torch.inference_mode():
        built.loss(made, part)
    before = {name: tensor.clone() for name, tensor in built._loaded.state_dict().items()}
    sum(built.loss(made, part).values()).backward()
    assert all(p.grad is None and not p.requires_grad for p in built._loaded.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in built._loaded.state_dict().items())
    assert len([name for name in made.state_dict() if "distil" in name]) == 4


@pytest.mark.parametrize(("weights", "terms"), [
    ({"similarity": 0.0}, ["distil_features_image", "distil_features_text"]),
    ({"features": 0.0}, ["distil_similarity_image_text"]),
])  # fmt: skip
def test_a_weight_of_zero_removes_its_terms(weights, terms):
    spec = {**objective("distil"), **weights}
    made, part = prepared(spec)
    assert list(OBJECTIVES.build(spec).loss(made, part)) == terms == OBJECTIVES.build(spec).terms


def test_nothing_to_learn_is_refused():
    with pytest.raises(ValueError, match="nothing to learn"):
        OBJECTIVES.build({**objective("distil"), "similarity": 0.0, "features": 0.0})
    with pytest.raises(ValueError, match="nothing to learn"):
        OBJECTIVES.build({**objective("distil"), "among": ["image"], "features": 0.0})


def test_a_teacher_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match="no model in 'nowhere'"):
        Mixture([SPECS[0], {**objective("distil"), "teacher": "nowhere"}], corpus()).heads(corpus())


def test_a_teacher_that_reads_other_inputs_is_refused(tmp_path):
    made, part = prepared(objective("distil"))
    other = dataclasses.replace(PREPARE, audio_rate=16000)
    MultimodalModel(MODEL, Processor(processor().tokenizer, other)).save(tmp_path)
    with pytest.raises(ValueError, match=r"made with prepare\.audio_rate 16000, the model with 8000"):
        OBJECTIVES.build({**objective("distil"), "teacher": str(tmp_path)}).loss(made, part)
    words = processor().tokenizer
    words.add_tokens(["another"])
    MultimodalModel(MODEL, Processor(words, PREPARE)).save(tmp_path)
    with pytest.raises(ValueError, match="another tokenizer"):
        OBJECTIVES.build({**objective("distil"), "teacher": str(tmp_path)}).loss(made, part)
