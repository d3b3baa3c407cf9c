import numpy as np
import pytest
import torch

from mmcore.metrics import Score
from mmcore.settings import EvaluateSettings
from mmcore.tasks import SCHEMA, TASKS, Predictions
from mmcore.tasks.retrieval import Task
from tests.tiny import corpus, model

EVALUATE = EvaluateSettings(
    batch_size=5, derangements=3, bleu_tokenize="13a", bleu_lowercase=True, rouge_tokenize="words", headline=[]
)


@pytest.fixture(scope="module")
def predicted() -> Predictions:
    return Task(of="image").predict(model(), corpus(scenes=12), batch_size=5, device=torch.device("cpu"))


def test_the_folder_is_the_registry():
    assert TASKS.names() == ["captioning", "retrieval", "summarisation"]
    with pytest.raises(LookupError, match="needs the option 'of'"):
        TASKS.build({"name": "retrieval"})


def test_every_row_asks_once_in_each_direction(predicted):
    table = predicted.table
    assert table.schema == SCHEMA
    assert table["direction"].to_pylist() == ["text_to_image"] * 12 + ["image_to_text"] * 12
    assert table["query"].to_pylist()[0] == "a red square on the left"
    assert table["references"].to_pylist()[0] == ["scene-0"]
    assert table["references"].to_pylist()[12] == ["a red square on the left", "on the left there is red"]
    assert predicted.embeddings["image"].shape == (12, 8)
    assert len(predicted.ids["text"]) == len(predicted.embeddings["text"]) == 24


def test_ranks_follow_from_the_embeddings(predicted):
    scores = predicted.embeddings["text"][::2].astype(np.float64) @ predicted.embeddings["image"].T
    for place, row in enumerate(predicted.table.to_pylist()[:12]):
        own = scores[place].astype(np.float32)
        assert row["rank"] == 1 + sum(own[i] >= own[place] for i in range(12) if i != place)
        assert row["top"][0] == row["prediction"] == f"scene-{int(own.argmax())}"
        assert len(row["top"]) == len(row["top_scores"]) == 10
        assert row["score"] == row["top_scores"][0]


def test_scores_stand_beside_chance_and_further_marks(predicted):
    scores = Task(of="image").score(predicted, settings=EVALUATE, seed=1)
    assert len(scores) == 8
    assert isinstance(scores["text_to_image_recall@1"], Score)
    assert scores["text_to_image_recall@1"].baseline == pytest.approx(100 / 12)
    # 24 captions, 2 of them right: 1 - C(22, 5) / C(24, 5).
    assert scores["image_to_text_recall@5"].baseline == pytest.approx(100 * (1 - 19 * 18 / (24 * 23)))
    # Six different captions, each of two pictures: one of each two can be first.
    assert scores["text_to_image_recall@1"].references["ceiling"] == 50.0


def test_clips_can_be_retrieved_too():
    task = Task(of="video")
    found = task.predict(model(), corpus(), batch_size=5, device=torch.device("cpu"))
    assert set(task.score(found, settings=EVALUATE, seed=1)) >= {"text_to_video_recall@1", "video_to_text_recall@10"}
    assert found.table["query"].to_pylist()[0] == "the red square goes left"


def test_validation_scores_both_directions():
    numbers = Task(of="image").validate(model(), corpus(scenes=6, clips=0), batch_size=4)
    assert set(numbers) == {"text_to_image_recall@1", "text_to_image_recall@10", "mean_reciprocal_rank"}
    assert 0 < numbers["mean_reciprocal_rank"] <= 100
