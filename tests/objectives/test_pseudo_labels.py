import math
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives import OBJECTIVES
from mmcore.objectives._hiding import drawn
from mmcore.objectives._mixture import Mixture
from mmcore.params import load
from mmcore.tasks import TASKS
from mmcore.training.beside import Beside
from mmcore.training.finetune import finetune
from mmcore.workspace import read_json
from tests.conftest import ROOT
from tests.tiny import AUGMENT, EVERY_OBJECTIVE, TinyCorpus, corpus, model, optim, scene, write_prepared
from tests.tiny import OBJECTIVES as SPECS
from tests.training.test_beside import CAPTIONING
from tests.training.test_pretrain import settings

SPEC = EVERY_OBJECTIVE["pseudo_labels"]
TERM = "pseudo_labels_place"
# Of scenes some say where the square is; the task tells it from the picture.
OF_SCENES = {**SPEC, "inputs": ["image"]}
TASK = {"name": "classification", "inputs": ["image"], "label": "place", "head": SPEC["head"]}


def partly(labelled: int = 6, scenes: int = 24) -> TinyCorpus:
    """Scenes of which the first so many have their label."""
    return TinyCorpus([scene(n) if n < labelled else {**scene(n), "labels": {}} for n in range(scenes)])


def learned(rows=None, spec=OF_SCENES, size=12):
    """A model in float64 with its head and the first batch of the rows without a label."""
    rows = rows or partly()
    learner, made = Mixture([spec], rows), model()
    made.add_heads(learner.heads(rows))
    made.double()
    return made, learner.batches(rows, made.processor, batch_size=size, seed=3, augment=AUGMENT).at(0).parts[0][1]


def loss(made, part, **options):
    return OBJECTIVES.build({**OF_SCENES, **options}).loss(made, part)[TERM]


def probabilities(made, part):
    with torch.no_grad():
        return made.answer("place", {"image": made.encode("image", *part.inputs["image"])}).softmax(1).tolist()


def test_the_loss_sums_over_what_is_sure_enough_and_divides_by_all_rows():
    made, part = learned()
    found = [max(row) for row in probabilities(made, part)]
    threshold = sorted(found)[5]  # one that some reach, one of them exactly
    sure = [one for one in found if one >= threshold]
    assert len(sure) == 7 < len(found) == 12
    expected = 0.5 * sum(-math.log(one) for one in sure) / len(found)
    value = loss(made, part, threshold=threshold, weight=0.5)
    assert float(value.detach()) == pytest.approx(expected, rel=1e-9)


def test_what_is_hidden_is_hidden_from_the_answer_and_not_from_the_target():
    made, part = learned()
    tokens, mask = made.encode("image", *part.inputs["image"])
    torch.manual_seed(4)
    left = mask & ~drawn(mask, 0.5, 12, mask.shape[1])
    assert (left.sum(1) == mask.sum(1) - (mask.sum(1) / 2).round()).all()
    targets = made.answer("place", {"image": (tokens, mask)}).argmax(1)
    expected = torch.nn.functional.cross_entropy(made.answer("place", {"image": (tokens, left)}), targets)
    torch.manual_seed(4)
    value = loss(made, part, hide=0.5)
    torch.testing.assert_close(value, expected)
    assert float(value.detach()) != pytest.approx(float(loss(made, part).detach()))


def test_an_input_keeps_a_token():
    objective = OBJECTIVES.build({**OF_SCENES, "hide": 0.9})
    there = torch.tensor([[True, False, False], [True, True, False], [True, True, True], [False, False, False]])
    assert objective._left(there, 4).any(1).tolist() == [True, True, True, False]


def test_nothing_flows_back_through_the_targets():
    made, part = learned()
    head = made.heads["place"].out
    loss(made, part).backward()
    # Of a cross-entropy with a target that stays, the gradient of the biases is the mean of p - target.
    rows = probabilities(made, part)
    expected = [sum(row[c] - (row[c] == max(row)) for row in rows) / len(rows) for c in range(2)]
    torch.testing.assert_close(head.bias.grad, torch.tensor(expected, dtype=torch.float64))


def test_where_the_model_is_sure_of_nothing_the_loss_is_zero_and_its_gradient_finite():
    made, part = learned()
    value = loss(made, part, threshold=1.0)
    value.backward()
    assert float(value.detach()) == 0.0
    assert all(p.grad is None or not p.grad.any() for p in made.parameters())


def test_only_rows_without_the_label_are_drawn_and_the_label_is_no_part_of_them():
    rows = partly()
    _, part = learned(rows, size=18)
    assert sorted(part.ids) == sorted(row["id"] for row in rows.rows if not row["labels"])
    assert set(part.inputs) == {"image"}


def test_labels_that_it_does_not_tell_change_nothing():
    values = []
    for other in ({}, {"colour": "red"}, {"place": ""}):
        rows = TinyCorpus([scene(n) if n < 6 else {**scene(n), "labels": other} for n in range(24)])
        values.append(float(loss(*learned(rows)).detach()))
    assert values[0] > 0
    assert values == [values[0]] * 3


def test_it_shares_no_batch_with_what_learns_from_all_rows():
    learner = Mixture([SPECS[0], {**OF_SCENES, "inputs": ["image"]}], partly())
    assert [stream.inputs for stream in learner.streams] == [["image", "text"], ["image"]]
    # Even where no row has the label, so that the rows are the same.
    learner = Mixture([{**SPECS[1]}, OF_SCENES], TinyCorpus([{**scene(n), "labels": {}} for n in range(6)]))
    assert len(learner.streams) == 2


def test_where_no_row_lacks_the_label_it_is_left_out_and_named():
    learner = Mixture([SPECS[0], OF_SCENES], corpus(clips=0))
    assert learner.terms == ["contrast_image_text"]
    assert learner.notes == [f"{TERM}: skipped, no row has image and lacks the label place"]


@pytest.mark.parametrize("threshold", [-0.1, 1.1, 95])
def test_a_threshold_that_is_no_probability_is_refused(threshold):
    with pytest.raises(ValueError, match="a probability"):
        OBJECTIVES.build({**SPEC, "threshold": threshold})


@pytest.mark.parametrize("hide", [-0.1, 1.0])
def test_all_that_there_is_cannot_be_hidden(hide):
    with pytest.raises(ValueError, match="from 0 to less than 1"):
        OBJECTIVES.build({**SPEC, "hide": hide})


def test_a_label_that_nothing_teaches_is_not_guessed():
    for task in (TASKS.build({**TASK, "label": "colour"}), CAPTIONING):
        with pytest.raises(ValueError, match="an objective guesses the label 'place', which nothing teaches"):
            Beside(task, [OF_SCENES], partly())


def test_rows_without_a_label_teach_the_task_by_settings_alone(tmp_path):
    prepared = write_prepared(tmp_path / "prepared")
    forget(prepared / "train" / "part-00000" / "rows.parquet", keep=6)
    (tmp_path / "pretrained").mkdir()
    model().save(tmp_path / "pretrained")
    whole = load(ROOT / "params.yaml")
    for beside in ([], [OF_SCENES]):
        (output := tmp_path / f"{len(beside)}").mkdir()
        section = replace(whole.finetune["sentiment"], task=TASK, beside=beside, augment=AUGMENT, optim=optim())
        finetune("place", prepared, tmp_path / "pretrained", output, replace(settings(), finetune={"place": section}),
                 checkpoints=output / "ck", logs=output / "logs")  # fmt: skip
        columns = (output / "logs" / "curves.csv").read_text().splitlines()[0].split(",")
        assert (TERM in columns) == bool(beside)
        assert read_json(output / "training.json")["notes"] == []
    weights = [MultimodalModel.load(tmp_path / name).state_dict() for name in ("0", "1")]
    assert weights[0].keys() == weights[1].keys()
    assert not all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def forget(path: Path, *, keep: int) -> None:
    """Let only the first so many rows of a prepared file have labels."""
    rows = pq.read_table(path)
    labels = [own if place < keep else [] for place, own in enumerate(rows["labels"].to_pylist())]
    field = rows.schema.field("labels")
    column = rows.schema.get_field_index("labels")
    pq.write_table(rows.set_column(column, field, pa.array(labels, field.type)), path)
