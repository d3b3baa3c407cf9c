import numpy as np
import pytest
import torch

from mmcore.tasks.matching import Task, likest
from tests.tasks.test_retrieval import EVALUATE
from tests.tiny import corpus, fitted, model

TASK = Task(of="image", fusion={"name": "cross_attention", "layers": 1})


def test_a_text_is_set_against_the_one_that_shares_most_of_its_words():
    texts = ["a red dog", "a red cat", "two blue birds", "a red dog", "a red dog runs"]
    words = sorted({word for text in texts for word in text.split()})
    tokens = [[words.index(word) for word in text.split()] for text in texts]
    keys, said = ["a", "b", "c", "d", "a"], [{text} for text in texts]
    assert likest(tokens, texts, keys, said).tolist() == [1, 0, 0, 4, 3]
    said[1] = {"a red cat", "a red dog"}
    assert likest(tokens, texts, keys, said)[1] == 4
    with pytest.raises(ValueError, match="two different texts or more, and every row says 'a red dog'"):
        likest([[1], [1]], ["a red dog"] * 2, ["a", "b"], [{"a red dog"}] * 2)


def test_a_head_learns_which_of_two_texts_belongs_to_a_picture(tmp_path):
    made, rows = model(), corpus(scenes=48, clips=0)
    result = fitted(TASK, made, rows, tmp_path, steps=150, validate_every=25)
    assert result.validation["accuracy"] > 80
    found = TASK.predict(made, rows, batch_size=7, device=torch.device("cpu"))
    scores = TASK.score(found, rows, settings=EVALUATE, seed=1)
    assert scores["accuracy"].value == pytest.approx(result.validation["accuracy"])
    assert {name: score.baseline for name, score in scores.items()} == {"accuracy": 50.0, "auroc": 50.0}
    odds = np.array(found.table["top_scores"].to_pylist())
    above = (odds[:, :1] > odds[:, 1]).mean() + 0.5 * (odds[:, :1] == odds[:, 1]).mean()
    assert scores["auroc"].value == pytest.approx(100 * above)


def test_the_answers_do_not_depend_on_the_size_of_the_batch():
    made, rows = model(), corpus(scenes=9, clips=0)
    made.add_heads(TASK.heads(rows))
    one, other = (TASK.predict(made.eval(), rows, batch_size=size, device=torch.device("cpu")).table for size in (2, 9))
    assert one.drop_columns(["score", "top_scores"]).equals(other.drop_columns(["score", "top_scores"]))
    assert np.allclose(one["top_scores"].to_pylist(), other["top_scores"].to_pylist(), atol=1e-5)
