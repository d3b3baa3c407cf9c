import pytest
import torch

from mmcore.training.optim import AdamW, Average, Weights, clip, learning_rate
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
    decaying = AdamW(Weights(made, "fp32"), optim(weight_decay=0.1), {}).decaying
    free = {name for name, _ in made.named_parameters()} - decaying
    assert {"encoders.text.blocks.0.attention.qkv.weight", "encoders.image.stem.0.weight"} <= decaying
    assert {
        "logit_scale", "encoders.text.embedding.weight", "decoder.embedding.weight", "decoder.place",
        "encoders.video.place", "encoders.image.norm.weight", "encoders.image.stem.0.bias", "kinds.image",
    } <= free  # fmt: skip


def test_a_step_is_that_of_torch_adamw():
    ours, theirs = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    groups = [{"params": [theirs.weight], "weight_decay": 0.1}, {"params": [theirs.bias], "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.98), eps=1e-6)
    weights = Weights(ours, "fp32")
    optimiser = AdamW(weights, optim(weight_decay=0.1), {})
    for number in range(3):
        for layer in (ours, theirs):
            layer.zero_grad()
            layer(torch.full((4, 3), 1.0 + number)).square().sum().backward()
        weights.collect()
        optimiser.step(0.01)
        reference.step()
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)


def test_gradients_are_scaled_down_to_the_limit_and_never_up():
    for limit, expected in ((1.0, [0.6, 0.8]), (10.0, [3.0, 4.0])):
        gradients = {"a": torch.tensor([3.0]), "b": torch.tensor([4.0])}
        clip(gradients, torch.tensor(5.0), limit)
        torch.testing.assert_close(torch.cat(list(gradients.values())), torch.tensor(expected))


def test_in_bf16_updates_too_small_for_it_add_up_all_the_same():
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(layer.weight)
    weights = Weights(layer, "bf16")
    for _ in range(16):
        weights.exact["weight"] += 0.001  # 1 + 0.001 is 1 in bf16
        weights.publish()
    assert layer.weight.dtype == torch.bfloat16
    assert layer.weight.item() == pytest.approx(1.016, abs=0.004)
    weights.restore()
    assert layer.weight.item() == pytest.approx(1.016, abs=1e-5)


def test_an_average_follows_faster_at_the_start():
    state = {"weight": torch.tensor([1.0])}
    average = Average(state, 0.9)
    average.update({"weight": torch.tensor([12.0])})  # decay (1 + 1) / (10 + 1)
    torch.testing.assert_close(average.weights["weight"], torch.tensor([10.0]))


def test_a_factor_on_the_rate_is_a_group_of_torch_adamw():
    ours, theirs = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    reference = torch.optim.AdamW(
        [{"params": [theirs.weight], "lr": 0.005, "weight_decay": 0.1},
         {"params": [theirs.bias], "lr": 0.01, "weight_decay": 0.0}], betas=(0.9, 0.98), eps=1e-6,
    )  # fmt: skip
    weights = Weights(ours, "fp32")
    optimiser = AdamW(weights, optim(weight_decay=0.1), {"weight": 0.5})
    for _ in range(3):
        for layer in (ours, theirs):
            layer.zero_grad()
            layer(torch.ones(4, 3)).square().sum().backward()
        weights.collect()
        optimiser.step(0.01)
        reference.step()
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)
