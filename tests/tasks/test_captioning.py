from dataclasses import replace

import pytest
import torch

from mmcore.data.batches import Batches
from mmcore.tasks import Predictions, table
from mmcore.tasks.captioning import Task
from tests.tasks.test_retrieval import EVALUATE
from tests.tiny import AUGMENT, corpus, model, processor

TASK = Task(of="image", choice="any", smoothing=0.0, beams=1)


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
    scores = TASK.score(found, corpus(), settings=EVALUATE, seed=1)
    assert list(scores) == ["bleu1", "bleu2", "bleu3", "bleu4", "rouge1", "rouge2", "rougeL"]
    assert "shuffled(3)" in scores["bleu4"].signature


def test_the_validation_loss_is_the_mean_over_all_tokens_whatever_the_batch_size():
    made = model()
    one, other = (TASK.validate(made, corpus(scenes=7), batch_size=size)["loss"] for size in (2, 7))
    assert one == pytest.approx(other, rel=1e-5)
    batches = Batches(corpus(scenes=7), made.processor, TASK.needs, batch_size=7, shuffle=False)
    whole = TASK.loss(made, batches.at(0))["caption"]
    assert other == pytest.approx(float(whole.detach()), rel=1e-5)


def test_training_batches_hold_pictures_and_texts():
    batch = TASK.batches(corpus(), processor(), batch_size=4, seed=1, augment=AUGMENT).at(0)
    assert set(batch.inputs) == {"image", "text"}
    (value,) = TASK.loss(model(), batch).values()
    assert value.requires_grad


AUTO = replace(EVALUATE, bleu_tokenize="auto", rouge_tokenize="auto")


def written(*rows: tuple[str, list[tuple[str, str | None]]]) -> Predictions:
    """Predictions with their references and the languages of these."""
    return Predictions(table([
        {"id": str(place), "input_id": str(place), "prediction": text, "references": [text for text, _ in own],
         "reference_langs": [lang for _, lang in own]}
        for place, (text, own) in enumerate(rows)
    ]))  # fmt: skip


def test_references_keep_their_languages():
    found = TASK.predict(model(), corpus(scenes=3), batch_size=3, device=torch.device("cpu"))
    assert found.table["reference_langs"].to_pylist() == [["en", "en"]] * 3


def test_chinese_is_scored_by_character_without_being_asked():
    found = written(("红色的圆", [("红色的星", "zh")]), ("一只猫在跑", [("一只猫在跑", "zh")]))
    scores = TASK.score(found, corpus(), settings=AUTO, seed=1)
    assert scores["bleu1"].value == pytest.approx(100 * 8 / 9)
    assert scores["rouge1"].value == pytest.approx((75 + 100) / 2)
    assert "tok:zh" in scores["bleu4"].signature
    assert "tok:characters" in scores["rougeL"].signature
    assert scores["bleu4"].slices == {}


def test_each_language_of_the_references_has_its_own_score():
    found = written(
        ("a red ball", [("a red ball", "en"), ("一个红色的球", "zh")]),
        ("a blue cat", [("a blue cat", "en"), ("一只蓝色的猫", "zh")]),
        ("a dog", [("a cat", "en")]),
    )
    scores = TASK.score(found, corpus(), settings=AUTO, seed=1)
    slices = scores["bleu1"].slices
    assert {lang: part.n for lang, part in slices.items()} == {"en": 3, "zh": 2}
    assert (slices["en"].value, slices["zh"].value) == (pytest.approx(100 * 7 / 8), 0.0)
    assert "tok:13a" in slices["en"].signature
    assert "tok:zh" in slices["zh"].signature
    assert "tok:zh" in scores["bleu1"].signature


def test_english_scores_as_it_always_did():
    found = written(("a red ball", [("a red ball", "en")]), ("a dog", [("a cat", "en")]))
    auto, named = (TASK.score(found, corpus(), settings=settings, seed=1) for settings in (AUTO, EVALUATE))
    assert auto == named
