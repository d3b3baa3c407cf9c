"""Encoders that are frozen, or learn slower in their lower layers."""

import dataclasses

import pytest
import torch

from mmcore.training import checkpoint
from mmcore.training.device import Device
from mmcore.training.fit import fit
from mmcore.training.optim import Weights
from tests.models.test_encoders import OPTIONS
from tests.tiny import AUGMENT, CPU, MODEL, corpus, model, optim
from tests.training.test_fit import learner

IMAGE = "encoders.image."
BF16 = Device(torch.device("cpu"), "bf16", "CPU")


def towers(**options):
    image = {"name": "vit", **OPTIONS["vit"], "layers": 2, **options}
    return dataclasses.replace(MODEL, encoders={**MODEL.encoders, "image": image})


def trained(folder, device=CPU, **options):
    """A model before and after two steps, and the tensors of its checkpoint."""
    made = model(settings=towers(**options))
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    fit(
        made, learner(), corpus(), corpus(scenes=12), optim=optim(steps=2, validate_every=2, warmup_steps=0),
        augment=AUGMENT, device=device, seed=3, checkpoints=folder / "checkpoints", logs=folder / "logs", phase="test",
    )  # fmt: skip
    return before, made, checkpoint.latest(folder / "checkpoints").tensors


@pytest.mark.parametrize("device", [CPU, BF16], ids=["fp32", "bf16"])
@pytest.mark.parametrize(("train", "learns"), [("none", ()), ("last", ("blocks.1.", "norm.")), ("all", ("",))])
def test_frozen_weights_stay_and_have_neither_gradient_nor_optimiser_slots(tmp_path, device, train, learns):
    before, made, saved = trained(tmp_path, device, train=train)
    own = {name: p for name, p in made.named_parameters() if name.startswith(IMAGE)}
    learning = {name for name in own if name.removeprefix(IMAGE).startswith(learns)} if learns else set()
    assert {name for name, p in own.items() if p.grad is not None} == learning
    slots = {key.removeprefix("optimiser.mean.") for key in saved if key.startswith("optimiser.mean.")}
    assert {name for name in slots if name.startswith(IMAGE)} == learning
    assert {name for name, p in own.items() if not torch.equal(p, before[name])} == learning
    assert not torch.equal(made.projections["image"].out.weight, before["projections.image.out.weight"])


def test_lower_layers_move_less_by_the_factor(tmp_path):
    weight, moved = "encoders.image.blocks.0.attention.qkv.weight", []
    for decay in (1.0, 0.1):
        made = model(settings=towers(layer_decay=decay))
        before = made.get_parameter(weight).clone()
        fit(
            made, learner(), corpus(), corpus(scenes=12), augment=AUGMENT, device=CPU, seed=3, phase="test",
            optim=optim(steps=1, validate_every=1, warmup_steps=0, weight_decay=0.0),
            checkpoints=tmp_path / str(decay), logs=tmp_path,
        )  # fmt: skip
        moved.append(float((made.get_parameter(weight) - before).detach().norm()))
    assert moved[1] == pytest.approx(0.1 * moved[0], rel=1e-3)


def test_a_frozen_encoder_stays_frozen_when_the_model_is_loaded(tmp_path):
    made = model(settings=towers(train="none"))
    made.save(tmp_path)
    loaded = type(made).load(tmp_path)
    assert {name for name, p in loaded.named_parameters() if not p.requires_grad} == {
        name for name, _ in loaded.named_parameters() if name.startswith(IMAGE)
    }


def test_frozen_weights_are_rounded_with_the_rest_and_come_back_exact():
    made = model(settings=towers(train="none"))
    before = made.get_parameter("encoders.image.patches.weight").clone()
    weights = Weights(made, "bf16")
    assert made.get_parameter("encoders.image.patches.weight").dtype == torch.bfloat16
    weights.restore()
    assert torch.equal(made.get_parameter("encoders.image.patches.weight"), before)
