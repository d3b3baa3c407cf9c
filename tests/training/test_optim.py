import pytest
import torch

from mmcore.models.layers import Stacked
from mmcore.training.optim import Average, Optimiser, Weights, clip, learning_rate, turning
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
    decaying = Optimiser(Weights(made, "fp32"), optim(weight_decay=0.1), {}).decaying
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
    optimiser = Optimiser(weights, optim(weight_decay=0.1), {})
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
    weights.restore(weights.state())
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
    optimiser = Optimiser(weights, optim(weight_decay=0.1), {"weight": 0.5})
    for _ in range(3):
        for layer in (ours, theirs):
            layer.zero_grad()
            layer(torch.ones(4, 3)).square().sum().backward()
        weights.collect()
        optimiser.step(0.01)
        reference.step()
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)


class Layers(torch.nn.Module):
    """A wide and a narrow layer, a convolution, and three layers stacked in one product."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow, self.grid = torch.nn.Linear(8, 24), torch.nn.Linear(24, 8), torch.nn.Conv2d(2, 8, 2)
        self.stacked = Stacked(8, 8, 3)

    def forward(self, values_BI: torch.Tensor) -> torch.Tensor:
        grid = self.grid(values_BI.view(-1, 2, 2, 2)).flatten(1)
        return self.narrow(self.wide(grid).tanh()).square().sum() + self.stacked(values_BI).pow(3).sum()


def test_a_step_of_muon_is_that_of_torch_for_each_matrix_and_of_adamw_for_the_rest():
    torch.manual_seed(0)
    ours, values = Layers(), torch.randn(6, 8)
    theirs = {name: parameter.detach().clone() for name, parameter in ours.named_parameters()}
    matrices = [name for name, parameter in theirs.items() if parameter.ndim > 1]
    flat = {name: theirs[name].flatten(1).chunk(3 if name == "stacked.weight" else 1) for name in matrices}
    parts = {name: [torch.nn.Parameter(part.clone()) for part in own] for name, own in flat.items()}
    biases = {name: torch.nn.Parameter(value) for name, value in theirs.items() if name not in matrices}
    turned = [part for own in parts.values() for part in own]
    muon = torch.optim.Muon(turned, lr=0.01, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(biases.values(), lr=0.01, weight_decay=0.0, betas=(0.9, 0.98), eps=1e-6)
    weights = Weights(ours, "fp32")
    weights.rounded = True  # torch turns in bf16
    optimiser = Optimiser(weights, optim(algorithm="muon", weight_decay=0.1), {})
    for _ in range(3):
        weights.clear()
        ours(values).backward()
        weights.collect()
        gradients = dict(weights.gradients)
        for name, own in parts.items():
            for part, gradient in zip(own, gradients[name].flatten(1).chunk(len(own)), strict=True):
                part.grad = gradient.clone()
        for name, bias in biases.items():
            bias.grad = gradients[name].clone()
        optimiser.step(0.01)
        for one in (muon, adamw):
            one.step()
        learned = dict(ours.named_parameters())
        for name, own in parts.items():
            moved, there = (torch.cat(list(own)) - theirs[name].flatten(1)).detach(), learned[name].detach().flatten(1)
            assert (theirs[name].flatten(1) + moved - there).norm() < 0.02 * moved.norm(), name
        for name, bias in biases.items():
            torch.testing.assert_close(bias, learned[name])


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_what_is_left_of_a_matrix_turns_and_hardly_stretches(kind):
    torch.manual_seed(0)
    stretched = torch.randn(3, 12, 40) * torch.logspace(0, -1, 12)[:, None]
    lengths = torch.linalg.svdvals(turning(stretched.to(kind)).float())
    assert lengths.min() > 0.6
    assert lengths.max() < 1.25
    assert torch.equal(turning(torch.zeros(1, 2, 3)), torch.zeros(1, 2, 3))
