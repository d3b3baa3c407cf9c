"""Encoders whose first token speaks for all: what is asked for alone is what it is among the others."""

import dataclasses
import inspect

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mmcore.models.compression import to_int8
from mmcore.models.encoders import ENCODERS
from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives._mixture import Mixture
from mmcore.training.adapters import ADAPTERS
from mmcore.workspace import read_json, write_json
from tests.models.test_encoders import OPTIONS, build, inputs
from tests.tiny import AUGMENT, EVERY_OBJECTIVE, MODEL, corpus, model, processor

NAMES = [name for name in ENCODERS.names() if "pool" in inspect.signature(ENCODERS[name]).parameters]
SETTINGS = dataclasses.replace(
    MODEL,
    encoders={
        "text": {"name": "text_transformer", "layers": 2, "pool": "first"},
        "image": {"name": "vit", **OPTIONS["vit"], "patch_dropout": 0.0, "layers": 2, "pool": "first"},
    },
)


def first_of(name: str):
    """An encoder in float64, its inputs with a row that lacks the modality, and all of its tokens."""
    encoder = build(name, pool="first", layers=2).double()
    for bias in (block.attention.qkv.bias for block in encoder.blocks):
        torch.nn.init.normal_(bias)
    values, mask = inputs(name)
    mask = mask.clone()
    mask[1] = False
    return encoder, values, mask


def made():
    return model(settings=SETTINGS).double()


def batch(objectives):
    learner = Mixture(objectives, corpus(clips=0))
    source = learner.batches(corpus(clips=0), processor(), batch_size=6, seed=1, augment=AUGMENT)
    return learner, source.at(0)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_token_alone_is_what_it_is_among_all(name):
    encoder, values, mask = first_of(name)
    tokens, token_mask = encoder(values, mask)
    first, first_mask = encoder(values, mask, first=True)
    assert first.shape == (3, 1, 16)
    torch.testing.assert_close(first, tokens[:, :1], rtol=1e-10, atol=1e-10)
    assert torch.equal(first_mask, token_mask[:, :1])


@pytest.mark.parametrize("name", NAMES)
def test_it_moves_the_weights_alike(name):
    encoder, values, mask = first_of(name)
    ways, direction = [], torch.randn(3, 16, dtype=torch.float64)
    for first in (False, True):
        encoder.zero_grad()
        (encoder(values, mask, first=first)[0][:, 0] * direction).sum().backward()
        ways.append({weight: p.grad.clone() for weight, p in encoder.named_parameters()})
    for weight, gradient in ways[0].items():
        torch.testing.assert_close(ways[1][weight], gradient, rtol=1e-8, atol=1e-10)


def test_dropout_takes_a_weight_with_its_value_and_bias():
    attention = first_of("text_transformer")[0].blocks[-1].attention.train()
    attention.dropout = 0.5
    tokens = torch.randn(2000, 3, 16, dtype=torch.float64)[:1].expand(2000, -1, -1)
    mean = attention.first(tokens).mean(0)
    attention.eval()
    torch.testing.assert_close(mean, attention.first(tokens)[0], rtol=0.1, atol=0.1)


def test_vectors_are_the_same_whether_the_tokens_are_read_or_not():
    made_so = made()
    for modality, name in (("text", "text_transformer"), ("image", "vit")):
        values, mask = inputs(name)
        whole = made_so.project(modality, *made_so.encode(modality, values, mask))
        torch.testing.assert_close(made_so.embed(modality, values, mask), whole, rtol=1e-10, atol=1e-10)
        mask = mask & torch.tensor([True, False, True]).view(-1, *[1] * (mask.ndim - 1))
        assert made_so.embed(modality, values, mask)[1].abs().sum() == 0


def test_a_contrast_alone_computes_less_and_learns_the_same():
    contrast, caption = EVERY_OBJECTIVE["contrast"], EVERY_OBJECTIVE["caption"]
    operations, losses, gradients = [], [], []
    for objectives in ([contrast], [contrast, {**caption, "weight": 1e-30}]):
        made_so = made()
        learner, part = batch(objectives)
        with FlopCounterMode(display=False) as counter:
            loss = learner.loss(made_so, part)["contrast_image_text"]
        operations.append(counter.get_flop_counts()["Global"])
        loss.backward()
        losses.append(loss)
        gradients.append({name: p.grad for name, p in made_so.named_parameters() if name.startswith("encoders.")})
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-10, atol=1e-10)
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-8, atol=1e-10)
    alone, read = ({str(kind): count for kind, count in counts.items()} for counts in operations)
    assert alone["aten.addmm"] < 0.7 * read["aten.addmm"]


def test_a_batch_in_chunks_gives_the_same_vectors():
    made_so = made()
    values, mask = inputs("vit")
    whole = made_so.embed("image", values, mask)
    made_so.chunk = 2
    torch.testing.assert_close(made_so.embed("image", values, mask), whole)


def test_low_ranks_and_bottlenecks_reach_the_first_token_too():
    for adapter in (
        {"name": "lora", "rank": 2, "scale": 2.0}, {"name": "bottleneck", "size": 2, "among": ["image", "text"]}
    ):  # fmt: skip
        made_so = model(settings=SETTINGS)
        ADAPTERS.build(adapter).attach(made_so, ())
        for parameter in made_so.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.1)
        values, mask = inputs("vit")
        whole = made_so.project("image", *made_so.encode("image", values, mask))
        torch.testing.assert_close(made_so.embed("image", values, mask), whole, rtol=1e-4, atol=1e-5)


def test_in_int8_it_is_nearly_the_same():
    made_so = model(settings=SETTINGS)
    values, mask = inputs("vit")
    before = made_so.embed("image", values, mask)
    to_int8(made_so)
    assert torch.cosine_similarity(made_so.embed("image", values, mask), before).min() > 0.99


def test_squares_are_painted_without_the_class_token():
    learner, part = batch([EVERY_OBJECTIVE["masked_image"]])
    made_so = made()
    made_so.add_heads(learner.heads(corpus(clips=0)))
    made_so.double()
    loss = learner.loss(made_so, part)["masked_image"]
    loss.backward()
    assert made_so.encoders["image"].first.grad.abs().sum() > 0


def test_saved_and_loaded_it_says_the_same(tmp_path):
    made_so = model(settings=SETTINGS)
    made_so.save(tmp_path)
    values, mask = inputs("vit")
    assert torch.equal(
        MultimodalModel.load(tmp_path).embed("image", values, mask), made_so.embed("image", values, mask)
    )


def test_a_model_from_before_there_was_a_choice_pools_by_attention(tmp_path):
    before = model()
    before.save(tmp_path)
    config = read_json(tmp_path / "config.json")
    for encoder in config["model"]["encoders"].values():
        encoder.pop("pool", None)
    write_json(tmp_path / "config.json", config)
    assert not MultimodalModel.load(tmp_path).speaks_first("text")


def test_there_is_no_other_way():
    with pytest.raises(ValueError, match="pool is 'mean'; choose attention or first"):
        build("vit", pool="mean")
