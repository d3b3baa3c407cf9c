import torch

from mmcore.tasks.summarisation import Task
from tests.tasks.test_retrieval import EVALUATE
from tests.tiny import AUGMENT, corpus, model, processor

TASK = Task(wordings=["summary", "captions"], choice="any", smoothing=0.0, beams=1)


def test_every_clip_gets_a_summary_with_or_without_a_transcript():
    found = TASK.predict(model(), corpus(), batch_size=5, device=torch.device("cpu"))
    rows = found.table.to_pylist()
    assert [row["id"] for row in rows] == [f"clip-{i}" for i in range(12)]
    assert rows[1]["references"] == ["the green square goes right"]
    assert set(TASK.score(found, corpus(), settings=EVALUATE, seed=1)) >= {"rougeL", "bleu4"}


def test_training_draws_from_all_wordings():
    source = TASK.batches(corpus(), processor(), batch_size=12, seed=1, augment=AUGMENT)
    texts = {text for i in range(4) for text in processor().decode(source.at(i).inputs["text"][0])}
    assert any(text.startswith("the ") for text in texts)
    assert any("moves" in text for text in texts)
    assert set(source.at(0).inputs) == {"video", "text", "transcript"}


def test_the_transcript_changes_what_is_written():
    made, batch = model(), TASK.batches(corpus(), processor(), batch_size=12, seed=1, augment=AUGMENT).at(0)
    with_it = TASK.loss(made, batch)["summary"]
    values, mask = batch.inputs["transcript"]
    batch.inputs["transcript"] = (values, mask & False)
    assert not torch.equal(with_it, TASK.loss(made, batch)["summary"])


def test_validation_reads_the_summary_alone():
    assert TASK.validate(model(), corpus(), batch_size=5)["loss"] > 0
