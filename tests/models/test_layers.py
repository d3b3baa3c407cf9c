import pytest
import torch

from mmcore.models.layers import (
    PRODUCTS_FROM,
    Block,
    CrossAttention,
    CrossingBlock,
    SelfAttention,
    Stepping,
    attend,
    initialise,
)  # fmt: skip


def test_a_row_without_any_token_yields_finite_values():
    attention = SelfAttention(8, 2, 0.0)
    mixed = attention(torch.randn(2, 3, 8), torch.tensor([[True, True, False], [False, False, False]]))
    assert mixed.isfinite().all()
    torch.testing.assert_close(mixed[1], attention.out.bias.expand(3, 8))


def test_masked_tokens_are_not_attended_to():
    attention, tokens = SelfAttention(8, 2, 0.0), torch.randn(1, 3, 8)
    mask = torch.tensor([[True, True, False]])
    before = attention(tokens, mask)
    tokens[0, 2] += 5
    torch.testing.assert_close(attention(tokens, mask)[:, :2], before[:, :2])


def test_attention_over_equal_values_returns_that_value():
    attention = CrossAttention(4, 1, 0.0)
    with torch.no_grad():
        attention.key_value.weight[4:] = torch.eye(4)
        attention.key_value.bias.zero_()
        attention.out.weight.copy_(torch.eye(4))
        attention.out.bias.zero_()
    memory = torch.tensor([1.0, 2.0, 3.0, 4.0]).expand(1, 5, 4)
    mixed = attention(torch.randn(1, 2, 4), attention.remember(memory), torch.ones(1, 5, dtype=torch.bool))
    torch.testing.assert_close(mixed, memory[:, :2])


def test_token_by_token_with_a_memory_equals_all_at_once():
    torch.manual_seed(0)
    block = CrossingBlock(8, 2, 0.0).eval()
    tokens, seen = torch.randn(3, 5, 8), torch.randn(3, 4, 8)
    crossed, mask = block.remember(seen), torch.tensor([[True] * 4, [True, True, False, False], [False] * 4])
    step = Stepping(block, crossed, mask, tokens=5)
    torch.testing.assert_close(torch.stack([step(tokens[:, i]) for i in range(5)], 1), block(tokens, crossed, mask))


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"model\.width 10 must be a multiple of model\.heads 4"):
        Block(10, 4, 0.0)


def test_initial_weights_have_the_scale_of_their_inputs():
    torch.manual_seed(0)
    layer = torch.nn.Linear(400, 300)
    initialise(layer)
    assert layer.bias.abs().sum() == 0
    assert float(layer.weight.detach().std()) == pytest.approx(0.05, rel=0.05)


@pytest.mark.parametrize("keys", [PRODUCTS_FROM - 1, PRODUCTS_FROM])
def test_attention_in_bf16_is_that_in_float32_rounded(keys):
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 2, 5, 8), torch.randn(2, 2, keys, 8), torch.randn(2, 2, keys, 8)
    mask = torch.rand(2, keys) < 0.5
    mask[1] = False
    exact = attend(query, key, value, mask)
    rounded = attend(query.bfloat16(), key.bfloat16(), value.bfloat16(), mask)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, rtol=0.05, atol=0.02)
    assert not rounded[1].any()


@pytest.mark.parametrize("causal", [False, True])
def test_the_weights_that_are_told_are_those_that_values_are_mixed_by(causal):
    torch.manual_seed(0)
    layer, tokens = SelfAttention(8, 2, 0.0), torch.randn(3, 5, 8)
    mask = None if causal else torch.arange(5) < torch.tensor([5, 3, 0])[:, None]
    weights = layer.weights(tokens, mask, causal=causal)
    value = layer.parts(tokens)[2]
    expected = layer.out((weights @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(layer(tokens, mask, causal=causal), expected)
    counted = torch.ones(3) if causal else torch.tensor([1.0, 1.0, 0.0])
    torch.testing.assert_close(weights.sum(-1), counted[:, None, None].expand(3, 2, 5))


def test_the_weights_on_a_memory_are_those_that_its_values_are_mixed_by():
    torch.manual_seed(0)
    layer, tokens, memory = CrossAttention(8, 2, 0.0), torch.randn(2, 3, 8), torch.randn(2, 6, 8)
    mask = torch.arange(6) < torch.tensor([6, 4])[:, None]
    pair = layer.remember(memory)
    weights = layer.weights(tokens, pair, mask)
    expected = layer.out((weights @ pair[1]).transpose(1, 2).flatten(2))
    torch.testing.assert_close(layer(tokens, pair, mask), expected)
    assert not weights[1, :, :, 4:].any()
