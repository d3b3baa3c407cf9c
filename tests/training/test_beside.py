import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives._mixture import Mixture
from mmcore.tasks import TASKS
from mmcore.training.beside import Beside
from mmcore.training.finetune import finetune
from mmcore.workspace import read_json
from tests.tiny import AUGMENT, EVERY_OBJECTIVE, corpus, fitted, model, optim, processor, write_prepared
from tests.training.test_pretrain import TASKS as SPECS
from tests.training.test_pretrain import settings

CAPTIONING = TASKS.build(SPECS["captioning"])
CONTRAST, QUESTIONS = EVERY_OBJECTIVE["contrast"], EVERY_OBJECTIVE["questions"]


def contrast_of(made: MultimodalModel) -> float:
    return Mixture([CONTRAST], corpus()).validate(made, corpus(), batch_size=24)["loss"]


def test_a_step_sums_the_task_and_what_runs_beside_it_then() -> None:
    both = Beside(CAPTIONING, [{**CONTRAST, "every": 2, "weight": 0.5}], corpus())
    batches = both.batches(corpus(), processor(), batch_size=6, seed=1, augment=AUGMENT)
    made = model()
    first, second = (both.loss(made, batches.at(number)) for number in (0, 1))
    assert both.terms == list(first) == [*CAPTIONING.terms, "contrast_image_text"]
    assert list(second) == CAPTIONING.terms
    assert (len(batches.at(0)), len(batches.at(1)), len(batches.at(0).ids)) == (12, 6, 12)
    own = CAPTIONING.batches(corpus(), processor(), batch_size=6, seed=1, augment=AUGMENT).at(0)
    torch.testing.assert_close(first[CAPTIONING.term], CAPTIONING.loss(made, own)[CAPTIONING.term])
    plain = Mixture([CONTRAST], corpus()).batches(corpus(), processor(), batch_size=6, seed=1, augment=AUGMENT)
    torch.testing.assert_close(first["contrast_image_text"], 0.5 * plain.at(0).loss(made)["contrast_image_text"])


def test_what_runs_beside_the_task_is_learned_too(tmp_path: Path) -> None:
    left = {}
    for name, learner in (("alone", CAPTIONING), ("beside", Beside(CAPTIONING, [CONTRAST], corpus()))):
        made = model()
        result = fitted(learner, made, corpus(), tmp_path / name, steps=40, validate_every=40)
        assert set(result.validation) == {"loss"}
        left[name] = contrast_of(made)
    assert left["beside"] < 0.6 * left["alone"]


def test_what_has_no_weight_beside_a_task_changes_no_bit_of_it(tmp_path: Path) -> None:
    write_prepared(tmp_path / "prepared")
    (tmp_path / "pretrained").mkdir()
    model().save(tmp_path / "pretrained")
    weights = []
    cases: list[list[dict[str, Any]]] = [[], [{**CONTRAST, "weight": 0.0}], [CONTRAST]]
    for number, beside in enumerate(cases):
        own = settings()
        section = dataclasses.replace(own.finetune["captioning"], beside=beside, optim=optim())
        output = tmp_path / str(number)
        output.mkdir()
        finetune("captioning", tmp_path / "prepared", tmp_path / "pretrained", output,
                 dataclasses.replace(own, finetune={"captioning": section}),
                 checkpoints=tmp_path / "ck", logs=tmp_path / f"l{number}")  # fmt: skip
        weights.append((output / "model.safetensors").read_bytes())
        columns = (tmp_path / f"l{number}" / "curves.csv").read_text().splitlines()[0].split(",")
        assert ("contrast_image_text" in columns) == (number == 2)
    assert weights[0] == weights[1] != weights[2]
    assert read_json(tmp_path / "1" / "training.json")["notes"] == ["contrast_image_text: left out, its weight is 0"]


def test_what_the_task_trains_itself_is_not_trained_beside_it() -> None:
    with pytest.raises(ValueError, match="an objective for contrast_image_text, which the task trains itself"):
        Beside(TASKS.build(SPECS["retrieval"]), [CONTRAST], corpus())


def test_one_head_is_not_made_in_two_ways() -> None:
    spec = {key: QUESTIONS[key] for key in ("name", "of", "most", "head")}
    task = TASKS.build(spec)
    assert set(Beside(task, [QUESTIONS], corpus()).heads(corpus())) == {"answers_image"}
    other = {**QUESTIONS, "head": {"name": "classes", "fusion": {"name": "concat"}}}
    with pytest.raises(ValueError, match="the task and beside make the head 'answers_image' differently"):
        Beside(task, [other], corpus()).heads(corpus())
