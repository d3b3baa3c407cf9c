import pytest
import torch

from mmcore.metrics.errors import error_rates
from mmcore.tasks.transcription import Task
from tests.tasks.test_retrieval import EVALUATE
from tests.tiny import AUGMENT, corpus, model

TASK = Task(beams=1, smoothing=0.0)


def test_recordings_learn_to_be_written_down():
    made, rows = model(), corpus(clips=0)
    optimiser = torch.optim.Adam(made.parameters(), 5e-3)
    batches = TASK.batches(rows, made.processor, batch_size=12, seed=0, augment=AUGMENT)
    for number in range(100):
        optimiser.zero_grad()
        sum(TASK.loss(made.train(), batches.at(number)).values()).backward()
        optimiser.step()
    found = TASK.predict(made, rows, batch_size=5, device=torch.device("cpu"))
    scores = TASK.score(found, rows, settings=EVALUATE, seed=1)
    assert scores["word_error_rate"].value < 20 < scores["word_error_rate"].baseline
    assert found.table["references"].to_pylist()[:2] == [["red"], ["green"]]


def test_error_rates_by_hand():
    found = error_rates(["a Cat sat", "on mat."], [["the cat sat"], ["on the mat"]]).values
    # One word is another, one is missing, of six; three characters and four, of twenty-one.
    assert found["word_error_rate"] == pytest.approx(100 * 2 / 6)
    assert found["character_error_rate"] == pytest.approx(100 * 7 / 21)
    assert error_rates(["你好吗"], [["你好"]]).values["word_error_rate"] == pytest.approx(50.0)


def test_references_without_a_word_are_refused():
    with pytest.raises(ValueError, match="no word"):
        error_rates(["a"], [["..."]])
