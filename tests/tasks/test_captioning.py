import pytest
import torch

from mmcore.tasks._writing import validation_loss, writing_loss
from mmcore.tasks.captioning import Task
from tests.tasks.test_retrieval import EVALUATE
from tests.tiny import AUGMENT, corpus, model, processor

TASK = Task(of="image", choice="any", smoothing=0.0)


def test_every_picture_gets_a_text_beside_its_captions():
    found = TASK.predict(model(), corpus(scenes=7), batch_size=3, device=torch.device("cpu"))
    rows = found.table.to_pylist()
    assert [row["id"] for row in rows] == [f"scene-{i}" for i in range(7)]
    assert rows[1]["references"] == ["a green square on the left", "on the left there is green"]
    assert all(isinstance(row["prediction"], str) and row["rank"] is None for row in rows)


def test_a_text_does_not_depend_on_the_size_of_the_batch():
    one, other = (
        TASK.predict(model(), corpus(scenes=7), batch_size=size, device=torch.device("cpu")).table for size in (2, 7)
    )
    assert one.equals(other)


def test_scores_stand_beside_the_shuffled_baseline():
    found = TASK.predict(model(), corpus(scenes=7), batch_size=3, device=torch.device("cpu"))
    scores = TASK.score(found, settings=EVALUATE, seed=1)
    assert list(scores) == ["bleu1", "bleu2", "bleu3", "bleu4", "rouge1", "rouge2", "rougeL"]
    assert "shuffled(3)" in scores["bleu4"].signature


def test_the_validation_loss_is_the_mean_over_all_tokens_whatever_the_batch_size():
    made = model()
    batches = [TASK._in_order(made, corpus(scenes=7), size) for size in (2, 7)]
    one, other = (validation_loss(made, source, ["image"]) for source in batches)
    assert one == pytest.approx(other, rel=1e-5)
    whole = writing_loss(made, batches[1].at(0), ["image"], smoothing=0.0)
    assert other == pytest.approx(float(whole.detach()), rel=1e-5)


def test_training_batches_hold_pictures_and_texts():
    batch = TASK.batches(corpus(), processor(), batch_size=4, seed=1, augment=AUGMENT).at(0)
    assert set(batch.inputs) == {"image", "text"}
    (value,) = TASK.loss(model(), batch).values()
    assert value.requires_grad
