import pytest
import torch

from mmcore.training.optim import Average, learning_rate, optimiser
from tests.tiny import model, optim


def test_the_rate_rises_then_falls_to_zero_along_a_cosine():
    settings = optim(steps=12, warmup_steps=2, lr=1.0)
    rates = [learning_rate(settings, step, 0.0) for step in range(13)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[7] == pytest.approx(0.5)
    assert rates[12] == pytest.approx(0.0)


def test_a_time_budget_brings_the_end_forward():
    settings = optim(steps=1000, warmup_steps=0, lr=1.0, max_seconds=10.0)
    assert learning_rate(settings, 1, 5.0) == pytest.approx(0.5)
    assert learning_rate(settings, 1, 20.0) == pytest.approx(0.0)


def test_only_matrices_decay():
    made = model()
    names = {id(parameter): name for name, parameter in made.named_parameters()}
    decaying, free = (
        {names[id(p)] for p in group["params"]} for group in optimiser(made, optim(weight_decay=0.1)).param_groups
    )
    assert len(decaying) + len(free) == len(names)
    assert {"encoders.text.blocks.0.attention.qkv.weight", "encoders.image.stem.0.weight"} <= decaying
    assert {
        "logit_scale", "encoders.text.embedding.weight", "decoder.embedding.weight", "decoder.place",
        "encoders.video.place", "encoders.image.norm.weight", "encoders.image.stem.0.bias", "kinds.image",
    } <= free  # fmt: skip


def test_an_average_follows_faster_at_the_start():
    layer = torch.nn.Linear(1, 1)
    average = Average(layer, 0.9)
    with torch.no_grad():
        start = layer.weight.clone()
        layer.weight += 11.0
    average.update(layer)  # decay (1 + 1) / (10 + 1)
    torch.testing.assert_close(average.weights["weight"], start + 9.0)
