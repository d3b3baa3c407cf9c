"""Greedy writing by mmcore's decoder beside transformers' `generate`, with the same weights: tokens a second.

    python benchmarks/generation.py [--turns 8]

A decoder of 6 layers, 384 wide, 6 heads and 8,192 tokens writes 64 tokens about 49 tokens that it attends to. In
transformers this is GPT-2 with cross-attention. One thread, processor time, both in one process in alternation; the
texts have to be equal. A minute.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import reference  # noqa: F401, declares what transformers would miss in .venv-bench
from mmcore.models.decoder import CrossAttentionDecoder

WIDTH, LAYERS, HEADS, VOCABULARY, TOKENS, LOOKED_AT = 384, 6, 6, 8192, 64, 49
FIRST, NEVER = 1, VOCABULARY - 1  # a text begins with the one and would end with the other


def theirs() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=TOKENS + 1, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS,
        add_cross_attention=True, activation_function="gelu", bos_token_id=FIRST, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    for parameter in model.parameters():
        parameter.data.mul_(1.5)  # texts of fresh weights repeat one word
    return model


def ours(model: Any) -> CrossAttentionDecoder:
    """Our decoder with the weights of theirs."""
    decoder = CrossAttentionDecoder(
        layers=LAYERS, width=WIDTH, heads=HEADS, dropout=0.0, vocabulary=VOCABULARY, context=TOKENS + 1
    ).eval()
    source = model.transformer
    decoder.embedding.weight.data, decoder.place.data = source.wte.weight.data, source.wpe.weight.data
    decoder.bias.data[NEVER] = -1e9
    decoder.norm.load_state_dict(source.ln_f.state_dict())
    for block, other in zip(decoder.blocks, source.h, strict=True):
        for norm, its in (
            (block.norm_attention, other.ln_1), (block.norm_crossing, other.ln_cross_attn),
            (block.norm_feed, other.ln_2),
        ):  # fmt: skip
            norm.load_state_dict(its.state_dict())
        crossing = other.crossattention
        for linear, its in (
            (block.attention.qkv, other.attn.c_attn), (block.attention.out, other.attn.c_proj),
            (block.crossing.query, crossing.q_attn), (block.crossing.key_value, crossing.c_attn),
            (block.crossing.out, crossing.c_proj), (block.feed[0], other.mlp.c_fc), (block.feed[2], other.mlp.c_proj),
        ):  # fmt: skip
            linear.weight.data, linear.bias.data = its.weight.data.T.contiguous(), its.bias.data
    return decoder.requires_grad_(False)  # as a service loads it


def by_mmcore(decoder: CrossAttentionDecoder, memory: Tensor, mask: Tensor) -> Tensor:
    return decoder.generate(memory, mask, first=FIRST, last=NEVER, tokens=TOKENS)


def by_transformers(model: Any, memory: Tensor, mask: Tensor) -> Tensor:
    first = torch.full((len(memory), 1), FIRST)
    written: Tensor = model.generate(
        first, attention_mask=torch.ones_like(first), encoder_hidden_states=memory, encoder_attention_mask=mask,
        max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False,
    )  # fmt: skip
    return written[:, 1:]


def timed(write: Callable[..., Tensor], *what: Any) -> tuple[float, Tensor]:
    start = time.process_time()
    ids = write(*what)
    return time.process_time() - start, ids


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = theirs()
    decoder = ours(model)
    for batch in (1, 16):
        memory, mask = torch.randn(batch, LOOKED_AT, WIDTH), torch.ones(batch, LOOKED_AT, dtype=torch.bool)
        speeds: dict[str, list[float]] = {"mmcore": [], "transformers": []}
        for turn in range(arguments.turns + 1):
            their_time, their_ids = timed(by_transformers, model, memory, mask)
            our_time, our_ids = timed(by_mmcore, decoder, memory, mask)
            assert torch.equal(their_ids, our_ids), "the texts differ"
            if turn:
                speeds["mmcore"].append(batch * TOKENS / our_time)
                speeds["transformers"].append(batch * TOKENS / their_time)
        ratios = [one / other for one, other in zip(speeds["mmcore"], speeds["transformers"], strict=True)]
        words = len(set(our_ids.flatten().tolist()))
        print(f"batch {batch}: equal texts of {words} different tokens, tokens a second, {arguments.turns} turns")
        for side, values in speeds.items():
            print(f"  {side:<13} {statistics.median(values):7.0f}")
        print(f"  mmcore over transformers: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
