"""Fine-tuning that leaves a smaller model: what is zero stays zero, and what is validated is what is saved."""

import dataclasses
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from mmcore.data.corpus import Corpus
from mmcore.models.compression import Int8, prune, to_int8
from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives import OBJECTIVES
from mmcore.params import load
from mmcore.settings import CompressSettings
from mmcore.tasks import TASKS as ALL_TASKS
from mmcore.training import compress, fit
from mmcore.training.compress import check_compress
from mmcore.training.finetune import finetune
from mmcore.training.fit import Interrupted
from mmcore.training.optim import Optimiser, Weights
from mmcore.training.pretrain import pretrain
from tests.conftest import ROOT
from tests.test_objectives import part_for
from tests.tiny import MODEL, alone, corpus, model, optim, write_prepared
from tests.training.test_adapters import LORA, QUESTIONS
from tests.training.test_pretrain import TASKS, settings

NOTHING = CompressSettings(prune=0.0, drop_layers={}, int8=False)
DEEP = dataclasses.replace(MODEL, encoders=MODEL.encoders | {"text": {"name": "text_transformer", "layers": 2}})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    write_prepared(root / "prepared")
    (root / "pretrained").mkdir()
    model(settings=DEEP).save(root / "pretrained")
    return root


def learned(world: Path, output: Path, task: dict[str, Any], made: Any, **changes: Any) -> Path:
    whole = settings()
    precision = changes.pop("precision", "fp32")
    own = dataclasses.replace(
        whole.finetune["captioning"], task=task, compress=made, optim=optim(steps=6, lr=1e-2, **changes)
    )
    output.mkdir(exist_ok=True)
    finetune(
        "own", world / "prepared", world / "pretrained", output,
        dataclasses.replace(
            whole, model=DEEP, finetune={"own": own}, train=dataclasses.replace(whole.train, precision=precision)
        ),
        checkpoints=output.parent / f"{output.name}-ck", logs=output.parent / f"{output.name}-logs",
    )  # fmt: skip
    return output


@pytest.mark.parametrize(
    "options",
    [
        {"algorithm": "adamw"}, {"algorithm": "muon"}, {"algorithm": "muon", "precision": "bf16"},
        {"algorithm": "muon", "ema": 0.9}, {"algorithm": "adamw", "start_share": 0.3},
    ],
    ids=lambda options: ", ".join(map(str, options.values())),
)  # fmt: skip
def test_what_was_pruned_stays_zero_and_the_rest_learns_on(
    world: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    folder = learned(world, tmp_path / "out", QUESTIONS, dataclasses.replace(NOTHING, prune=0.6), **options)
    begun = MultimodalModel.load(world / "pretrained")
    masks = prune(begun, 0.6)
    after, before = MultimodalModel.load(folder).state_dict(), begun.state_dict()
    assert sum(int((~mask).sum()) for mask in masks.values()) == round(0.6 * sum(m.numel() for m in masks.values()))
    for name, mask in masks.items():
        assert not after[name][~mask].any(), name
    moved = {name for name, mask in masks.items() if (after[name] != before[name])[mask].any()}
    assert any(name.startswith("encoders.image.stem") for name in moved)
    assert any(name.startswith("encoders.text.blocks") for name in moved)
    told = json.loads((folder / "training.json").read_text())
    assert "0.6 of 0.0" in told["notes"][0]
    assert "neither the file smaller nor a processor faster" in told["notes"][0]
    assert MultimodalModel.load(folder).compression == {"prune": 0.6, "drop_layers": {}, "int8": False}


def test_a_pruned_model_has_the_gradient_of_what_is_left_of_it() -> None:
    made = model()
    masks = prune(made, 0.5)
    weights = Weights(made, "fp32", masks)
    made.embed("text", *made.processor.texts(["a red square"])).sum().backward()  # type: ignore[no-untyped-call]
    name = "encoders.text.blocks.0.feed.0.weight"
    raw = made.get_parameter(name).grad
    assert raw is not None
    raw = raw.clone()
    weights.collect()
    assert raw[~masks[name]].any()
    assert torch.equal(weights.gradients[name], raw * masks[name])
    Optimiser(weights, optim(algorithm="muon"), {}).step(0.1)
    assert not weights.exact[name][~masks[name]].any()


def test_an_interrupted_training_of_a_compressed_model_ends_with_the_same_bits(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = CompressSettings(prune=0.5, drop_layers={"text": 1}, int8=True)
    whole = learned(world, tmp_path / "whole", TASKS["captioning"], every)
    taken = fit._State.take

    def stop_at_four(self: Any, *arguments: Any, **options: Any) -> Any:
        if self.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return taken(self, *arguments, **options)

    monkeypatch.setattr(fit._State, "take", stop_at_four)
    with pytest.raises(Interrupted):
        learned(world, tmp_path / "part", TASKS["captioning"], every)
    monkeypatch.undo()
    part = learned(world, tmp_path / "part", TASKS["captioning"], every)
    for name in ("model.safetensors", "config.json", "training.json"):
        assert (part / name).read_bytes() == (whole / name).read_bytes()
    assert MultimodalModel.load(part).settings.encoders["text"]["layers"] == 1


def test_int8_is_what_was_learned_rounded_and_its_validation_is_told_beside_the_one_before(
    world: Path, tmp_path: Path
) -> None:
    plain = MultimodalModel.load(learned(world, tmp_path / "plain", QUESTIONS, None))
    folder = learned(world, tmp_path / "int8", QUESTIONS, dataclasses.replace(NOTHING, int8=True))
    loaded = MultimodalModel.load(folder)
    to_int8(plain)
    assert all(torch.equal(tensor, plain.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    assert isinstance(loaded.heads["answers_image"].out, Int8)
    told, before = (json.loads((tmp_path / name / "training.json").read_text()) for name in ("int8", "plain"))
    rows = Corpus(world / "prepared", "validation")
    assert told["validation"] == ALL_TASKS.build(QUESTIONS).validate(loaded, rows, batch_size=6)
    assert told["validation"] != before["validation"]
    shown = ", ".join(f"{name} {value:.4g}" for name, value in before["validation"].items())
    assert told["notes"][0].endswith(f"before it the validation was {shown}")
    assert f"{compress.size(loaded) / 1e6:.2f} MB of weights instead of" in told["notes"][0]
    assert before["notes"] == []


def test_a_pretraining_goes_on_from_an_int8_model_in_floats(world: Path, tmp_path: Path) -> None:
    start = learned(world, tmp_path / "start", TASKS["captioning"], dataclasses.replace(NOTHING, int8=True, prune=0.5))
    whole = dataclasses.replace(settings(), model=DEEP)
    still = dataclasses.replace(whole.pretrain, init="start", optim=optim(steps=0))
    moving = dataclasses.replace(whole.pretrain, init="start", optim=optim(steps=2))
    for name, pre in (("still", still), ("moving", moving)):
        (tmp_path / name).mkdir()
        pretrain(
            world / "prepared", tmp_path / name, dataclasses.replace(whole, pretrain=pre), start=start,
            checkpoints=tmp_path / "ck", logs=tmp_path / "logs",
        )  # fmt: skip
    before, after = (MultimodalModel.load(tmp_path / name) for name in ("still", "moving"))
    assert before.compression is None
    name = "encoders.text.blocks.0.feed.0"
    held: Any = MultimodalModel.load(start).get_submodule(name)
    assert torch.equal(before.get_parameter(f"{name}.weight"), held.weight)
    assert not torch.equal(after.get_parameter(f"{name}.weight"), held.weight)


def test_an_int8_model_can_be_a_teacher(world: Path, tmp_path: Path) -> None:
    start = learned(world, tmp_path / "teacher", TASKS["retrieval"], dataclasses.replace(NOTHING, int8=True))
    spec = alone(name="distil", teacher=str(start), among=["image", "text"], similarity=1.0, features=20.0)
    objective, student = OBJECTIVES.build(spec), model()
    student.add_heads(objective.heads(corpus()))
    losses = objective.loss(student, part_for(objective))
    sum(losses.values()).backward()
    assert all(float(loss.detach()) > 0 for loss in losses.values())
    assert student.encoders["image"].place.grad.any()
    assert not any(isinstance(part, Int8) for part in student.modules())


def test_what_does_not_go_together_is_named() -> None:
    def said(**changes: Any) -> str:
        own = dataclasses.replace(settings().finetune["captioning"], **changes)
        with pytest.raises(ValueError, match=r"\w") as told:
            check_compress(own, "finetune.x", model(settings=DEEP))
        return str(told.value)

    pruned = dataclasses.replace(NOTHING, prune=0.5)
    assert "finetune.x.compress.prune makes zeros" in said(compress=pruned, adapter=LORA)
    assert "finetune.x.init is scratch" in said(compress=pruned, init="scratch")
    fewer = dataclasses.replace(NOTHING, drop_layers={"text": 2})
    assert said(compress=fewer).startswith("finetune.x.compress.drop_layers takes 2 of 2 layers of text")
    assert "names 'smell'" in said(compress=dataclasses.replace(NOTHING, drop_layers={"smell": 1}))
    fine = dataclasses.replace(
        settings().finetune["captioning"], compress=CompressSettings(0.5, {"text": 1}, True), adapter={"name": "heads"}
    )
    check_compress(fine, "finetune.x", model(settings=DEEP))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{prune: 1.0, drop_layers: {}, int8: false}", "prune is 1.0; choose a share from 0 to below 1"),
        ("{prune: -0.1, drop_layers: {}, int8: false}", "prune is -0.1"),
        ("{prune: 0.0, drop_layers: {text: 0}, int8: false}", "takes 0 layers from text; choose 1 or more"),
        ("{prune: 0.0, drop_layers: {}, int4: true}", "there is no key 'finetune.captioning.compress.int4'"),
    ],
)
def test_wrong_settings_are_refused_when_they_are_read(tmp_path: Path, text: str, words: str) -> None:
    whole = (ROOT / "params.yaml").read_text()
    before, _, after = whole.partition("  captioning:\n    init: pretrained\n    adapter: null\n    compress: null\n")
    assert after
    changed = f"{before}  captioning:\n    init: pretrained\n    adapter: null\n    compress: {text}\n{after}"
    (tmp_path / "params.yaml").write_text(changed)
    with pytest.raises(ValueError, match="compress") as told:
        load(tmp_path / "params.yaml")
    assert words in str(told.value)
