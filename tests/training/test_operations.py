import dataclasses
import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mmcore.models.encoders import ENCODERS
from mmcore.models.layers import widened
from mmcore.objectives._mixture import Mixture
from mmcore.training.operations import Effort, Operations
from mmcore.training.optim import Weights
from tests.models.test_encoders import build, inputs
from tests.tiny import AUGMENT, EVERY_OBJECTIVE, MODEL, corpus, model, objective, processor


def gradients(spec: dict[str, Any], precision: str, chunk: int | None) -> dict[str, Tensor]:
    learner = Mixture([spec], corpus())
    made = model(settings=dataclasses.replace(MODEL, dropout=0.1)).train()
    made.chunk = chunk
    made.add_heads(learner.heads(corpus()))
    Weights(made, precision)
    batch = learner.batches(corpus(), processor(), batch_size=6, seed=1, augment=AUGMENT).at(0)
    torch.manual_seed(0)
    total = torch.stack([widened(value) for value in learner.loss(made, batch).values()]).sum()
    total.backward()  # type: ignore[no-untyped-call]
    return {name: one.grad.clone() for name, one in made.named_parameters() if one.grad is not None}


@pytest.mark.parametrize(("precision", "chunk"), [("fp32", None), ("bf16", None), ("fp32", 4)])
@pytest.mark.parametrize("name", EVERY_OBJECTIVE)
def test_a_counted_step_has_the_same_gradients_bit_for_bit(name: str, precision: str, chunk: int | None) -> None:
    spec = objective(name)
    plain = gradients(spec, precision, chunk)
    with Operations() as counted:
        same = gradients(spec, precision, chunk)
    assert counted.total > 0
    assert plain.keys() == same.keys()
    assert [key for key in plain if not torch.equal(plain[key], same[key])] == []


@pytest.mark.parametrize("name", ENCODERS.names())
def test_so_has_every_encoder(name: str) -> None:
    def back() -> list[Tensor]:
        encoder = build(name).train()
        torch.manual_seed(0)
        tokens, mask = encoder(*inputs(name))
        (tokens * torch.randn(tokens.shape))[mask].sum().backward()
        return [tokens, *(one.grad for one in encoder.parameters() if one.grad is not None)]

    plain = back()
    with Operations():
        same = back()
    assert all(torch.equal(one, other) for one, other in zip(plain, same, strict=True))


def test_attention_counts_alike_in_every_kernel() -> None:
    """Two products of [6, 5] and [6, 7] by 4 channels each, and twice as many backwards."""

    def attend() -> None:
        query, key, value = (torch.ones(3, 2, long, 4, requires_grad=True) for long in (5, 7, 7))
        F.scaled_dot_product_attention(query, key, value).sum().backward()

    with Operations() as fused:
        attend()
    with sdpa_kernel(SDPBackend.MATH), Operations() as plain:
        attend()
    assert fused.total == plain.total == 3 * (2 * 6 * 2 * 5 * 7 * 4)


def test_the_rest_is_counted_as_torch_counts_it() -> None:
    spec = objective("masked_image")
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as theirs:
        gradients(spec, "fp32", None)
    with Operations() as own:
        gradients(spec, "fp32", None)
    assert own.total == theirs.get_total_flops()


def test_the_first_step_of_each_kind_is_counted_and_speaks_for_the_others() -> None:
    effort, made = Effort(), torch.ones(2, 3)
    for kind, columns in (("a", 1), ("b", 5), ("a", 100)):
        with effort.of(kind):
            made @ torch.ones(3, columns)
    assert (effort["a"], effort["b"]) == (12, 60)


def test_a_step_that_fails_is_not_taken_for_one_of_its_kind() -> None:
    effort = Effort()
    with pytest.raises(RuntimeError), effort.of("a"):
        torch.ones(2, 3) @ torch.ones(2, 3)
    with effort.of("a"):
        torch.ones(2, 3) @ torch.ones(3, 1)
    assert effort["a"] == 12


def test_counting_does_not_import_the_compiler() -> None:
    script = (
        "import sys, torch\n"
        "from mmcore.training.operations import Operations\n"
        "with Operations() as counted:\n"
        "    (torch.ones(2, 3, requires_grad=True) @ torch.ones(3, 4)).sum().backward()\n"
        "print(counted.total, 'torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["96", "False"]
