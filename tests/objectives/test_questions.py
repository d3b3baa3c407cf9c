import math

import pytest
import torch

from mmcore.objectives import OBJECTIVES
from mmcore.objectives._mixture import Mixture
from mmcore.tasks import TASKS
from tests.tiny import AUGMENT, EVERY_OBJECTIVE, TinyCorpus, corpus, model, scene
from tests.tiny import OBJECTIVES as SPECS

SPEC = EVERY_OBJECTIVE["questions"]


def learner_and_model(rows):
    learner, made = Mixture([SPECS[0], SPEC], rows), model()
    made.add_heads(learner.heads(rows))
    return learner, made


def test_the_loss_is_the_cross_entropy_of_the_answers_that_are_among_the_commonest():
    rows = corpus(scenes=12, clips=0)
    learner, made = learner_and_model(rows)
    known = made.head_specs["answers_image"]["classes"]
    # Six times yes and no, four times each colour: the last of the colours is left out.
    assert known == ["no", "yes", "blue", "green"]
    stream = next(stream for stream in learner.streams if "question" in stream.inputs)
    part = stream.batches(rows, made.double().processor, made.head_specs, batch_size=12, seed=6).at(0)
    # Of the questions of each sample one is drawn, with its own answer.
    asked = part.inputs["question"][0].tolist()
    pairs = [rows.rows[rows.ids.index(identity)]["qa"] for identity in part.ids]
    known_by = [{tuple(made.processor.encode([one["question"]])[0]): one["answers"][0] for one in own} for own in pairs]
    answers = [own[tuple(filter(None, ids))] for ids, own in zip(asked, known_by, strict=True)]
    assert set(answers) == {*known, "red"}
    assert part.inputs["label"][1].tolist() == [answer in known for answer in answers]
    logits = made.answer("answers_image", {n: made.encode(n, *part.inputs[n]) for n in ("question", "image")})
    terms = [
        math.log(sum(math.exp(float(x)) for x in row)) - float(row[known.index(answer)])
        for row, answer in zip(logits.detach(), answers, strict=True)
        if answer in known
    ]
    value = OBJECTIVES.build(SPEC).loss(made, part)["questions_image"]
    assert float(value.detach()) == pytest.approx(sum(terms) / len(terms), rel=1e-9)


def test_questions_are_learned_beside_other_objectives_and_validated_by_the_models_own_answers():
    rows = corpus(clips=0)
    learner, made = learner_and_model(rows)
    assert learner.terms == ["contrast_image_text", "questions_image"]
    batches = learner.batches(rows, made.processor, batch_size=6, seed=0, augment=AUGMENT)
    assert set(learner.loss(made, batches.at(0))) == set(learner.terms)
    # Validated on rows that know fewer answers: the numbers are those of the model.
    few = TinyCorpus([scene(0), scene(1)])
    assert learner.validate(made.eval(), few, batch_size=6)["questions_image"] > 0


def test_the_task_goes_on_with_the_head_that_pretraining_left():
    rows = corpus(clips=0)
    _, made = learner_and_model(rows)
    before = made.heads["answers_image"].out.weight
    task = TASKS.build({key: SPEC[key] for key in ("name", "of", "most", "head")})
    made.add_heads(task.heads(rows))
    assert made.heads["answers_image"].out.weight is before
    batch = task.batches(rows, made.processor, batch_size=6, seed=0, augment=AUGMENT).at(0)
    torch.testing.assert_close(
        task.loss(made, batch)["answers"], OBJECTIVES.build(SPEC).loss(made, batch)["questions_image"]
    )


def test_without_questions_it_is_skipped_and_named():
    rows = TinyCorpus([{**scene(number), "qa": []} for number in range(4)])
    learner = Mixture([SPECS[0], SPEC], rows)
    assert learner.notes == ["questions_image: skipped, no row has image and qa"]
