import pytest
import torch

from mmcore.data.batches import Batch, Batches
from mmcore.objectives import OBJECTIVES
from mmcore.objectives._mixture import Mixture, Remembering
from tests.tiny import AUGMENT, EVERY_OBJECTIVE, TinyCorpus, alone, corpus, model, processor, scene
from tests.tiny import OBJECTIVES as SPECS
from tests.tiny import objective as objective_named

REACHES = {
    "contrast": ("encoders.image", "encoders.text", "projections.image", "projections.text", "logit_scale"),
    "contrast_video": ("encoders.image", "encoders.video", "encoders.text", "projections.video"),
    "contrast_three": ("encoders.image", "encoders.audio", "encoders.text", "projections.audio"),
    "one_way": ("encoders.image", "encoders.text", "projections.image", "projections.text", "logit_scale"),
    "siglip": ("encoders.image", "encoders.text", "heads.contrast_image_text.scale", "heads.contrast_image_text.bias"),
    "vc": ("encoders.image", "encoders.text", "projections.image", "projections.text", "logit_scale"),
    "moments": ("encoders.image", "encoders.video", "encoders.audio", "projections.video", "projections.audio"),
    "matching": ("encoders.image", "encoders.text", "heads.matching_image_text.fusion"),
    "matching_media": ("encoders.image", "encoders.audio", "heads.matching_audio_image.out"),
    "caption": ("encoders.image", "decoder", "kinds.image"),
    "caption_video": ("encoders.image", "encoders.video", "decoder", "kinds.video"),
    "masked_language": ("encoders.text", "words"),
    "masked_language_image": ("encoders.text", "encoders.image", "words", "heads.masked_language_image"),
    "masked_language_audio": ("encoders.text", "encoders.audio", "words", "heads.masked_language_audio"),
    "masked_image": ("encoders.image", "heads.masked_image.mark", "heads.masked_image.out"),
    "masked_image_text": ("encoders.image", "encoders.text", "heads.masked_image_text_look", "heads.masked_image_text"),
    "masked_audio": ("encoders.audio", "heads.masked_audio.mark", "heads.masked_audio.out"),
    "language": ("decoder.embedding", "decoder.blocks"),
    "distil": ("encoders.image", "encoders.text", "logit_scale", "heads.distil_features_image.out"),
    "distil_alike": ("encoders.audio", "encoders.text", "projections.audio"),
    "questions": ("encoders.image", "encoders.text", "heads.answers_image.fusion", "heads.answers_image.out"),
    "pseudo_labels": ("encoders.image", "encoders.video", "encoders.audio", "heads.place.fusion", "heads.place.out"),
}  # fmt: skip
# What draws at random does so by place in the batch.
DRAWING = ("masked_audio", "masked_image", "masked_language", "matching")
ORDERLY = [name for name, spec in EVERY_OBJECTIVE.items() if spec["name"] not in DRAWING]


def part_for(objective):
    needs = ["captions" if name == "text" else name for name in objective.inputs]
    return Batches(corpus(), processor(), needs, batch_size=6, shuffle=False).at(0)


def mixture(specs=None, rows=None):
    return Mixture(SPECS if specs is None else specs, rows or corpus())


def source(made, rows=None):
    return made.batches(rows or corpus(), processor(), batch_size=6, seed=1, augment=AUGMENT)


@pytest.fixture
def spec(request):
    return objective_named(request.param)


def of_each(names=EVERY_OBJECTIVE):
    return pytest.mark.parametrize("spec", names, indirect=True)


def learner_of(objective, rows=None):
    """A model with the heads of the objective, and a batch that holds what it needs."""
    rows = rows or corpus()
    alone, made = Mixture([objective], rows), model()
    made.add_heads(alone.heads(rows))
    return (
        alone,
        made,
        alone.streams[0].batches(rows, made.processor, made.head_specs, batch_size=6, shuffle=False).at(0),
    )


def loss_of(alone, made, part):
    torch.manual_seed(0)
    return sum(alone.streams[0].loss(made, part).values())


@pytest.mark.parametrize("name", EVERY_OBJECTIVE)
def test_gradients_reach_every_part_that_an_objective_names(name):
    alone, made, part = learner_of(objective_named(name))
    loss_of(alone, made, part).backward()
    for weights in REACHES[name]:
        own = [p.grad for key, p in made.named_parameters() if key.startswith(weights)]
        assert any(grad is not None and grad.abs().sum() > 0 for grad in own), weights


def test_every_objective_of_the_table_is_tested_here():
    assert {spec["name"] for spec in EVERY_OBJECTIVE.values()} == set(OBJECTIVES.names())


@of_each()
def test_the_weight_multiplies_the_loss(spec):
    values = [float(loss_of(*learner_of({**spec, "weight": weight})).detach()) for weight in (1.0, 0.25)]
    assert values[0] > 0
    assert values[1] == pytest.approx(values[0] / 4, rel=1e-5)


@of_each()
def test_gradients_are_the_same_however_many_samples_are_encoded_at_once(spec):
    found = []
    for chunk in (None, 4):  # of a batch of 6
        alone, made, part = learner_of(spec)
        made.double()
        made.chunk = chunk
        loss_of(alone, made, part).backward()
        found.append({name: p.grad for name, p in made.named_parameters() if p.grad is not None})
    whole, chunked = found
    assert whole.keys() == chunked.keys()
    for name, grad in whole.items():
        torch.testing.assert_close(chunked[name], grad, rtol=1e-6, atol=1e-9, msg=name)


@of_each()
def test_terms_name_what_the_loss_gives(spec):
    alone, made, part = learner_of(spec)
    assert list(alone.streams[0].loss(made, part)) == alone.terms


@of_each()
def test_the_loss_in_bf16_is_within_a_hundredth(spec):
    alone, made, part = learner_of(spec)
    exact = float(loss_of(alone, made, part).detach())
    for parameter in made.parameters():
        if parameter.ndim:
            parameter.data = parameter.data.bfloat16()
    assert float(loss_of(alone, made, part).detach()) == pytest.approx(exact, rel=0.01)


@of_each(ORDERLY)
def test_the_order_of_the_samples_does_not_matter(spec):
    alone, made, part = learner_of(spec)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    inputs = {name: (values[order], mask[order]) for name, (values, mask) in part.inputs.items()}
    turned = Batch([part.ids[place] for place in order], inputs, part.same_BB[order][:, order])
    torch.testing.assert_close(loss_of(alone, made, turned), loss_of(alone, made, part))


@of_each()
def test_a_batch_of_one_sample_has_a_finite_loss_and_gradient(spec):
    alone, made, part = learner_of(spec)
    inputs = {name: (values[:1], mask[:1]) for name, (values, mask) in part.inputs.items()}
    value = loss_of(alone, made, Batch(part.ids[:1], inputs, part.same_BB[:1, :1]))
    value.backward()
    assert value.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in made.parameters())
    if spec.get("formula") in ("clip", "one_way", "vc"):
        assert float(value.detach()) == 0.0


@of_each()
def test_a_batch_without_a_common_modality_costs_nothing(spec):
    """Every row has one of the inputs; where there is only one, no row has it. Features of a teacher need one alone."""
    alone, made, part = learner_of(spec)
    inputs, rows = {}, torch.arange(6)
    for place, (name, (values, mask)) in enumerate(part.inputs.items()):
        there = rows % len(part.inputs) == place if len(part.inputs) > 1 else rows < 0
        inputs[name] = values, mask & there.reshape(-1, *[1] * (mask.ndim - 1))
    values = alone.streams[0].loss(made, Batch(part.ids, inputs, part.same_BB))
    sum(values.values()).backward()
    needing = [float(value.detach()) for term, value in values.items() if not term.startswith("distil_features")]
    assert needing == [0.0] * len(needing)
    assert all(p.grad is None or p.grad.isfinite().all() for p in made.parameters())


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


def test_a_term_stands_for_one_objective():
    with pytest.raises(ValueError, match="two objectives for contrast_image_text"):
        mixture([SPECS[0], {**SPECS[0], "formula": "siglip"}])


def test_an_unknown_formula_is_named_with_the_choices():
    with pytest.raises(ValueError, match="'dcl'; choose one of: clip, one_way, vc, siglip"):
        OBJECTIVES.build({**SPECS[0], "formula": "dcl"})


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
    made.encode = lambda name, *pair, **how: (calls.append(name), encode(name, *pair, **how))[1]
    learner = mixture(SPECS[:2])
    learner.loss(made, source(learner).at(1))
    assert sorted(calls) == ["image", "text"]


def test_remembering_changes_no_loss():
    torch.manual_seed(0)
    made, objective = model(), OBJECTIVES.build(SPECS[0])
    part = part_for(objective)
    one, other = objective.loss(made, part), objective.loss(Remembering(made, ()), part)
    assert torch.equal(one["contrast_image_text"], other["contrast_image_text"])


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
    assert first["loss"] == pytest.approx(sum(first[term] for term in learner.terms))
    assert set(first) == {*learner.terms, "loss", "masked_language_perplexity"}


def test_validation_rows_without_clips_score_the_rest():
    made, learner = model(), mixture()
    assert learner.validate(made, corpus(clips=0), batch_size=6)["caption_video"] == 0.0


@pytest.mark.parametrize("spoken", [0, 2])
def test_what_shares_batches_in_training_is_validated_apart_where_validation_rows_lack_something(spoken):
    specs = [EVERY_OBJECTIVE["contrast"], alone(name="contrast", among=["audio", "text"], formula="clip")]
    made, learner = model(), Mixture(specs, corpus(clips=0))
    assert len(learner.streams) == 1
    partly = TinyCorpus([{**scene(n), **({} if n < spoken else {"audio": None})} for n in range(12)])
    found = learner.validate(made, partly, batch_size=6)
    by_itself = Mixture(specs[:1], corpus(clips=0)).validate(made, partly, batch_size=6)
    assert found["contrast_image_text"] == pytest.approx(by_itself["contrast_image_text"])
    assert (found["contrast_audio_text"] > 0) == (spoken > 0)
