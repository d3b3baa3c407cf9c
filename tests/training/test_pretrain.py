import dataclasses
import json

import pytest
import torch

from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives._mixture import Mixture
from mmcore.params import load
from mmcore.settings import AugmentSettings, FinetuneSettings, PretrainSettings, TrainSettings
from mmcore.tasks import TASKS as ALL_TASKS
from mmcore.training.finetune import finetune, lacking
from mmcore.training.pretrain import pretrain
from tests.conftest import ROOT
from tests.tiny import EVERY_OBJECTIVE, MODEL, OBJECTIVES, PREPARE, corpus, fitted, model, optim, write_prepared

SHIFT = AugmentSettings(shift=1, flip=False, bands=0, mute=0.0)
TASKS = {
    "retrieval": {
        "name": "retrieval",
        "contrasts": [{"among": ["image", "text"], "formula": "clip", "weight": 1.0, "every": 1, "batch_size": None}],
        "also": [],
        "rerank": {"name": "caption", "of": ["image"], "places": 2},
    },
    "captioning": {"name": "captioning", "of": "image", "choice": "consensus", "smoothing": 0.0, "beams": 1},
    "summarisation": {"name": "summarisation", "wordings": ["summary"], "choice": "any", "smoothing": 0.0, "beams": 1},
}


def settings(**changes):
    return dataclasses.replace(
        load(ROOT / "params.yaml"),
        prepare=PREPARE,
        model=MODEL,
        pretrain=PretrainSettings("scratch", OBJECTIVES, SHIFT, optim()),
        finetune={
            name: FinetuneSettings("pretrained", None, None, spec, [], SHIFT, optim()) for name, spec in TASKS.items()
        },
        train=TrainSettings("cpu", 1, 1, torch.get_num_threads(), "auto"),
        **changes,
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A prepared world and a model pretrained on it."""
    root = tmp_path_factory.mktemp("world")
    write_prepared(root / "prepared")
    (root / "pretrained").mkdir()
    pretrain(root / "prepared", root / "pretrained", settings(), checkpoints=root / "ck", logs=root / "logs")
    return root


def test_pretraining_leaves_a_whole_model_and_no_checkpoint(world):
    assert sorted(path.name for path in (world / "pretrained").iterdir()) == [
        "config.json", "model.safetensors", "tokenizer.json", "training.json"
    ]  # fmt: skip
    training = json.loads((world / "pretrained" / "training.json").read_text())
    assert (training["steps"], training["skipped"], training["notes"]) == (6, 0, [])
    MultimodalModel.load(world / "pretrained")
    assert not (world / "ck").exists()


def test_pretraining_twice_gives_equal_bytes(world, tmp_path):
    pretrain(world / "prepared", tmp_path, settings(), checkpoints=tmp_path.parent / "ck2", logs=tmp_path.parent / "l")
    for name in ("config.json", "model.safetensors", "tokenizer.json", "training.json"):
        assert (tmp_path / name).read_bytes() == (world / "pretrained" / name).read_bytes()


@pytest.mark.parametrize("task", TASKS)
def test_each_task_starts_from_the_pretrained_weights(world, tmp_path, task):
    own = settings()
    still = dataclasses.replace(own.finetune[task], optim=optim(steps=1, lr=0.0))
    finetune(task, world / "prepared", world / "pretrained", tmp_path, dataclasses.replace(own, finetune={task: still}),
             checkpoints=tmp_path.parent / "ck3", logs=tmp_path.parent / "l")  # fmt: skip
    weights, before = (MultimodalModel.load(path).state_dict() for path in (tmp_path, world / "pretrained"))
    assert all(torch.equal(weights[name], before[name]) for name in before)


def test_what_the_data_lack_for_a_task_is_named(world, tmp_path):
    write_prepared(tmp_path / "prepared", clips=0)
    assert lacking("summarisation", tmp_path / "prepared", settings()) == (
        "no row of train, validation, test has video and summary"
    )
    assert lacking("summarisation", world / "prepared", settings()) == ""


def test_a_corpus_of_pictures_alone_trains_with_a_note(tmp_path):
    write_prepared(tmp_path / "prepared", clips=0)
    pretrain(tmp_path / "prepared", tmp_path, settings(), checkpoints=tmp_path / "ck", logs=tmp_path / "l")
    notes = json.loads((tmp_path / "training.json").read_text())["notes"]
    assert notes[0] == "contrast_video_text: skipped, no row has video and captions"


def test_a_pretraining_goes_on_from_a_saved_model_and_its_tokenizer(world, tmp_path):
    (tmp_path / "out").mkdir()
    own = settings()
    still = dataclasses.replace(own, pretrain=dataclasses.replace(own.pretrain, optim=optim(steps=1, lr=0.0)))
    pretrain(world / "prepared", tmp_path / "out", still, start=world / "pretrained",
             checkpoints=tmp_path / "ck", logs=tmp_path / "l")  # fmt: skip
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (tmp_path / "out" / name).read_bytes() == (world / "pretrained" / name).read_bytes()


def test_a_start_that_is_made_otherwise_is_refused(world, tmp_path):
    own = settings()
    wider = dataclasses.replace(own, model=dataclasses.replace(own.model, width=24))
    with pytest.raises(ValueError, match=r"has model\.width 16, and the settings say 24; choose scratch"):
        pretrain(world / "prepared", tmp_path, wider, start=world / "pretrained",
                 checkpoints=tmp_path / "ck", logs=tmp_path / "l")  # fmt: skip
    longer = dataclasses.replace(own, prepare=dataclasses.replace(own.prepare, context=20))
    with pytest.raises(ValueError, match=r"has prepare\.context 12"):
        pretrain(world / "prepared", tmp_path, longer, start=world / "pretrained",
                 checkpoints=tmp_path / "ck", logs=tmp_path / "l")  # fmt: skip


def test_an_unknown_start_is_named(world, tmp_path):
    own = settings()
    hub = {"retrieval": dataclasses.replace(own.finetune["retrieval"], init="hub")}
    with pytest.raises(ValueError, match=r"finetune\.retrieval\.init is 'hub'"):
        finetune("retrieval", world / "prepared", world / "pretrained", tmp_path,
                 dataclasses.replace(own, finetune=hub), checkpoints=tmp_path / "ck", logs=tmp_path / "l")  # fmt: skip


def test_a_task_learns_more_in_the_same_steps_if_the_model_is_pretrained(tmp_path):
    """Where a square lies, after pretraining on captions that say so."""
    task = {"name": "classification", "inputs": ["image"], "label": "place",
            "head": {"name": "classes", "fusion": {"name": "concat"}}}  # fmt: skip
    rows, began = corpus(clips=0), model()
    pretraining = Mixture([EVERY_OBJECTIVE["contrast"], EVERY_OBJECTIVE["caption"]], rows)
    fitted(pretraining, began, rows, tmp_path / "before", steps=80, validate_every=80)
    left = {}
    for name, weights in (("pretrained", began.state_dict()), ("scratch", model().state_dict())):
        made = model()
        made.load_state_dict(weights)
        result = fitted(ALL_TASKS.build(task), made, rows, tmp_path / name, steps=8, validate_every=8)
        left[name] = result.validation["loss"]
    assert left["pretrained"] < 0.7 * left["scratch"]
