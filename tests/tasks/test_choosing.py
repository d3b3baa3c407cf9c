import pytest
import torch

from mmcore.metrics.classes import choices, commonest
from mmcore.tasks import classification, questions
from tests.tasks.test_retrieval import EVALUATE
from tests.tiny import AUGMENT, TinyCorpus, corpus, fitted, model, scene

CPU = torch.device("cpu")
CONCAT = {"name": "classes", "fusion": {"name": "concat"}}
CROSS = {"name": "classes", "fusion": {"name": "cross_attention", "layers": 1}}
TASKS = {
    "classification": classification.Task(inputs=["image", "text"], label="place", head=CONCAT),
    "votes": classification.Task(inputs=["image", "audio"], label="place", head={"name": "votes", "rule": "mean"}),
    "questions": questions.Task(
        of="image", most=10, head={"name": "classes", "fusion": {"name": "cross_attention", "layers": 1}}
    ),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_that_chooses_learns_and_is_scored_beside_answering_blindly(name):
    task, made, rows = TASKS[name], model(), corpus(clips=0)
    made.add_heads(task.heads(rows))
    before = task.validate(made, rows, batch_size=8)
    optimiser = torch.optim.Adam(made.parameters(), 3e-3)
    batches = task.batches(rows, made.processor, batch_size=12, seed=0, augment=AUGMENT)
    made.train()
    for number in range(40):
        optimiser.zero_grad()
        sum(task.loss(made, batches.at(number)).values()).backward()
        optimiser.step()
    after = task.validate(made.eval(), rows, batch_size=8)
    assert after["loss"] < 0.7 * before["loss"]
    assert after["accuracy"] > before["accuracy"]
    found = task.predict(made, rows, batch_size=8, device=CPU)
    scores = task.score(found, rows, settings=EVALUATE, seed=1)
    assert scores["accuracy"].value == pytest.approx(after["accuracy"])
    assert scores["accuracy"].value > scores["accuracy"].baseline
    assert 0 < scores["f1_macro"].value <= 100


def test_every_question_of_a_row_is_asked():
    made, rows = model(), corpus(scenes=3, clips=0)
    made.add_heads(TASKS["questions"].heads(corpus(clips=0)))
    found = TASKS["questions"].predict(made, rows, batch_size=8, device=CPU).table.to_pylist()
    assert [row["id"] for row in found] == [f"scene-{n}#{k}" for n in range(3) for k in range(2)]
    assert [row["references"] for row in found[:2]] == [["red"], ["yes"]]
    assert {row["prediction"] for row in found} <= {"red", "green", "blue", "yes", "no"}
    assert found[1]["query"] == "is it on the left?"
    assert found[1]["input_id"] == "scene-0"


def test_a_label_that_training_never_saw_counts_as_wrong_and_is_not_trained_on():
    rows = TinyCorpus([{**scene(number), "labels": {"place": "above"}} for number in range(4)])
    task, made = TASKS["classification"], model()
    made.add_heads(task.heads(corpus(clips=0)))
    assert task.validate(made, rows, batch_size=2) == {"accuracy": 0.0, "loss": 0.0}
    assert set(task.predict(made, rows, batch_size=2, device=CPU).table["prediction"].to_pylist()) <= {"left", "right"}


def test_a_head_is_saved_with_the_model(tmp_path):
    task, made = TASKS["classification"], model()
    made.add_heads(task.heads(corpus(clips=0)))
    made.save(tmp_path)
    again = type(made).load(tmp_path)
    rows = corpus(scenes=6, clips=0)
    one, other = (task.predict(which, rows, batch_size=4, device=CPU).table for which in (made, again))
    assert one.equals(other)


def test_choices_and_what_is_commonest_by_hand():
    found = choices(["a", "b", "b", "c"], [["a"], ["a"], ["b"], ["d", "c"]])
    # a: precision 1, recall 1/2; b: precision 1/2, recall 1; c: both 1.
    assert found.values == pytest.approx({"accuracy": 75.0, "f1_macro": 100 * (2 / 3 + 2 / 3 + 1) / 3})
    known = [("one?", "x"), ("one?", "y"), ("one?", "y"), ("two?", "x"), ("two?", "x"), ("two?", "x")]
    assert commonest(known, ["one?", "two?", "new?"]) == ["y", "x", "x"]


def test_a_label_is_learned_with_a_question_to_read_besides(tmp_path):
    task = classification.Task(inputs=["image", "question"], label="place", head=CONCAT)
    made, rows = model(), corpus(clips=0)
    fitted(task, made, rows, tmp_path, steps=40, validate_every=40)
    assert task.validate(made, rows, batch_size=8)["accuracy"] > 90


def test_a_label_that_no_row_has_is_named_beside_those_that_there_are():
    task = classification.Task(inputs=["image"], label="mood", head=CONCAT)
    with pytest.raises(ValueError, match="no row of the training split has the label 'mood'; there are: place"):
        task.heads(corpus())


def test_questions_without_an_answer_are_named():
    rows = TinyCorpus([{**scene(0), "qa": [{"question": "which?", "answers": []}]}])
    with pytest.raises(ValueError, match="no question of the training rows has an answer"):
        TASKS["questions"].heads(rows)
