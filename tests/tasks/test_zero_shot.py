import pytest
import torch

from mmcore.tasks.zero_shot import Task
from tests.tasks.test_retrieval import EVALUATE
from tests.tiny import corpus, fitted, model

PLACES = {"left": "left", "right": "right"}
TASK = Task(of="image", label="place", classes=PLACES, prompts=["a red square on the {}", "a blue square on the {}"])


def test_pictures_find_the_class_that_their_captions_speak_of(tmp_path):
    made, rows = model(), corpus(scenes=48, clips=0)
    result = fitted(TASK, made, rows, tmp_path, steps=160, validate_every=20)
    assert result.validation["accuracy"] > 80
    found = TASK.predict(made, rows, batch_size=7, device=torch.device("cpu"))
    score = TASK.score(found, rows, settings=EVALUATE, seed=1)["accuracy"]
    assert score.value == pytest.approx(result.validation["accuracy"])
    assert score.baseline == pytest.approx(50.0)


def test_with_no_steps_the_model_is_judged_as_it_came(tmp_path):
    made, rows = model(), corpus(scenes=12, clips=0)
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    result = fitted(TASK, made, rows, tmp_path, steps=0)
    assert result.steps == 0
    assert set(result.validation) == {"accuracy"}
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.state_dict().items())


def test_a_prompt_without_a_place_for_the_name_is_refused():
    with pytest.raises(ValueError, match=r"has no \{\}"):
        Task(of="image", label="place", classes=PLACES, prompts=["a square"])
    with pytest.raises(ValueError, match="two classes"):
        Task(of="image", label="place", classes={"left": "left"}, prompts=["{}"])


def test_a_label_that_no_class_names_is_refused():
    task = Task(of="image", label="place", classes={"left": "left", "Right": "right"}, prompts=["{}"])
    with pytest.raises(ValueError, match="no words for right"):
        task.predict(model(), corpus(scenes=6, clips=0), batch_size=7, device=torch.device("cpu"))
