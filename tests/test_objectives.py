import pytest
import torch

from mmcore.data.batches import Batches
from mmcore.objectives import OBJECTIVES
from mmcore.objectives._mixture import Mixture, Remembering
from tests.tiny import AUGMENT, corpus, model, processor
from tests.tiny import OBJECTIVES as SPECS

REACHES = {
    "contrast_image_text": ("encoders.image", "encoders.text", "projections.image", "projections.text", "logit_scale"),
    "caption_image": ("encoders.image", "decoder", "kinds.image"),
    "masked_language": ("encoders.text", "words"),
    "contrast_video_text": ("encoders.image", "encoders.video", "encoders.text", "projections.video"),
    "caption_video": ("encoders.image", "encoders.video", "decoder", "kinds.video"),
}  # fmt: skip


def mixture(specs=None, rows=None):
    return Mixture(SPECS if specs is None else specs, rows or corpus())


def source(made, rows=None):
    return made.batches(rows or corpus(), processor(), batch_size=6, seed=1, augment=AUGMENT)


def named(spec):
    return "+".join(OBJECTIVES.build(spec).terms)


def part_for(objective):
    needs = ["captions" if name == "text" else name for name in objective.inputs]
    return Batches(corpus(), processor(), needs, batch_size=6, shuffle=False).at(0)


@pytest.mark.parametrize("spec", SPECS, ids=named)
def test_gradients_reach_every_part_that_an_objective_names(spec):
    torch.manual_seed(0)
    objective, made = OBJECTIVES.build(spec), model()
    sum(objective.loss(made, part_for(objective)).values()).backward()
    for part in REACHES[named(spec)]:
        own = [p.grad for name, p in made.named_parameters() if name.startswith(part)]
        assert any(grad is not None and grad.abs().sum() > 0 for grad in own), part


def test_every_objective_of_the_table_is_tested_here():
    assert {spec["name"] for spec in SPECS} == set(OBJECTIVES.names())


@pytest.mark.parametrize("spec", SPECS, ids=named)
def test_the_weight_multiplies_the_loss(spec):
    values = []
    for weight in (1.0, 0.25):
        objective = OBJECTIVES.build({**spec, "weight": weight})
        torch.manual_seed(0)
        values.append(float(sum(objective.loss(model(), part_for(objective)).values()).detach()))
    assert values[0] > 0
    assert values[1] == pytest.approx(values[0] / 4, rel=1e-5)


def test_an_objective_of_weight_zero_is_left_out():
    made = mixture([SPECS[0], {**SPECS[1], "weight": 0.0}])
    assert made.terms == ["contrast_image_text"]
    assert made.notes == ["caption_image: left out, its weight is 0"]


def test_an_objective_without_rows_is_skipped_and_named():
    made = mixture(rows=corpus(clips=0))
    assert made.terms == ["contrast_image_text", "caption_image", "masked_language"]
    assert made.notes == [
        "contrast_video_text: skipped, no row has video and captions",
        "caption_video: skipped, no row has video and captions",
    ]


def test_nothing_to_train_on_is_an_error_that_says_why():
    with pytest.raises(ValueError, match="nothing to pretrain on: contrast_video_text: skipped"):
        mixture([SPECS[3]], corpus(clips=0))


def test_one_objective_must_run_on_every_step():
    with pytest.raises(ValueError, match="every: 1"):
        mixture([SPECS[3]])


def test_objectives_of_the_same_rows_share_a_batch_and_the_rest_joins():
    made = mixture()
    assert [sorted(term for o in stream.objectives for term in o.terms) for stream in made.streams] == [
        ["caption_image", "contrast_image_text", "masked_language"], ["caption_video", "contrast_video_text"]
    ]  # fmt: skip


def test_a_stream_of_every_second_step_gives_its_own_next_batch_then():
    batches = source(mixture())
    assert [len(batches.at(i).parts) for i in range(3)] == [2, 1, 2]
    assert batches.at(0).parts[1][1].ids != batches.at(2).parts[1][1].ids
    assert len(batches.at(0)) == 10
    assert len(batches.at(1).ids) == 6


def test_the_model_encodes_a_shared_input_once():
    made, calls = model(), []
    encode = made.encode
    made.encode = lambda name, *pair: (calls.append(name), encode(name, *pair))[1]
    learner = mixture(SPECS[:2])
    learner.loss(made, source(learner).at(1))
    assert sorted(calls) == ["image", "text"]


def test_remembering_changes_no_loss():
    torch.manual_seed(0)
    made, objective = model(), OBJECTIVES.build(SPECS[0])
    part = part_for(objective)
    one, other = objective.loss(made, part), objective.loss(Remembering(made), part)
    assert torch.equal(one["contrast_image_text"], other["contrast_image_text"])


def test_masked_language_hides_words_only_and_asks_for_those():
    objective, made = OBJECTIVES.build({**SPECS[2], "share": 1.0, "weight": 1.0}), model()
    seen = []
    encode, fill = made.encode, made.fill
    made.encode = lambda name, values, mask: (seen.append(values), encode(name, values, mask))[1]
    made.fill = lambda tokens: (seen.append(tokens), fill(tokens))[1]
    part = part_for(objective)
    torch.manual_seed(0)
    objective.loss(made, part)
    ids, mask = part.inputs["text"]
    words = mask & (ids >= 5)
    assert torch.equal(seen[0][~words], ids[~words])
    assert 0.6 < float((seen[0][words] == 3).float().mean()) < 0.95
    assert len(seen[1]) == int(words.sum())


def test_equal_captions_in_a_batch_do_not_push_each_other_apart():
    rows = corpus(scenes=12, clips=0)
    for row in rows.rows:
        row["captions"] = [{"text": "always the same", "lang": "en"}]
    objective = OBJECTIVES.build(SPECS[0])
    part = Batches(rows, processor(), ("image", "captions"), batch_size=12).at(0)
    assert float(objective.loss(model(), part)["contrast_image_text"].detach()) == 0.0


def test_validation_gives_the_same_numbers_every_time_and_leaves_the_random_numbers_alone():
    made, learner = model(), mixture()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = learner.validate(made, corpus(), batch_size=6)
    assert torch.rand(1) == expected
    assert learner.validate(made, corpus(), batch_size=6) == first
    assert first["loss"] == pytest.approx(sum(value for name, value in first.items() if name != "loss"))
    assert set(first) == {*learner.terms, "loss"}


def test_validation_rows_without_clips_score_the_rest():
    made, learner = model(), mixture()
    assert learner.validate(made, corpus(clips=0), batch_size=6)["caption_video"] == 0.0
