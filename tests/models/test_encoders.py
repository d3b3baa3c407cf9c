"""Properties of every encoder in the folder: a new file is tested without a new line here, but for its input."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from mmcore.data.modalities.audio import frame_size
from mmcore.models.encoders import ENCODERS
from mmcore.models.encoders.conv_vit import Encoder as ConvVit
from mmcore.training.optim import Weights
from tests.tiny import MODEL, PREPARE, processor

SMALL = {"hidden_size": 12, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
COLOURS = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
LEARNING = {"train": "all", "layer_decay": 1.0}
OPTIONS: dict[str, dict[str, Any]] = {
    "conv_vit": {"patch": 2, "channels": [8], "residuals": 1, "layers": 1},
    "text_transformer": {"layers": 1},
    "frames": {"layers": 1, "tokens_per_frame": 4},
    "log_mel": {"layers": 1},
    "vit": {"patch": 4, "layers": 1, "patch_dropout": 0.25, "pretrained": None, **LEARNING},
    "histogram": {"bins": 4},
    "auto_text": {"pretrained": None, "config": {"model_type": "bert", **SMALL}, **LEARNING},
    "clip_vision": {"pretrained": None, "config": {**SMALL, "patch_size": 4}, **COLOURS, **LEARNING},
    "wav2vec2": {
        "pretrained": None,
        **LEARNING,
        "config": {
            **SMALL,
            "conv_dim": [8, 8],
            "conv_stride": [5, 4],
            "conv_kernel": [10, 3],
            "feat_extract_norm": "layer",
            "num_conv_pos_embeddings": 4,
            "num_conv_pos_embedding_groups": 2,
            "do_stable_layer_norm": True,
            "mask_time_prob": 0.0,
            "num_feat_extract_layers": 2,
            "hidden_dropout": 0.0,
            "layerdrop": 0.0,
            "attention_dropout": 0.0,
            "feat_proj_dropout": 0.0,
            "final_dropout": 0.0,
            "activation_dropout": 0.0,
        },
    },
    "resnet": {
        "pretrained": None,
        "norm": "group",
        **COLOURS,
        **LEARNING,
        "config": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 2], "layer_type": "basic"},
    },
}


KEYS = ("qkv.bias", "key.bias", "k_proj.bias")  # a shift of all keys changes no attention
TEXTS = ("text_transformer", "auto_text")
SAMPLES = replace(PREPARE, audio_mels=None)
SOUNDS = {"log_mel": frame_size(PREPARE), "wav2vec2": frame_size(SAMPLES)}
TOKENIZER = processor().tokenizer
GIVEN = {"width": 16, "heads": 2, "dropout": 0.0, "prepare": PREPARE, "vocabulary": 50, "tokenizer": TOKENIZER}


def image_encoder() -> ConvVit:
    return ConvVit(**OPTIONS["conv_vit"], width=16, heads=2, dropout=0.0, prepare=PREPARE)


def build(name: str, **options):
    torch.manual_seed(0)
    spec = {"name": name, **OPTIONS[name], **options}
    given = {**GIVEN, "prepare": SAMPLES} if name == "wav2vec2" else GIVEN
    return ENCODERS.build(spec, **given, image=image_encoder() if name == "frames" else None).eval()


def inputs(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    if name in TEXTS:
        mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [True] * 4 + [False]])
        return torch.randint(5, 50, (3, 5), generator=random), mask
    if name in SOUNDS:
        mask = torch.arange(13) < torch.tensor([13, 6, 9])[:, None]
        return torch.randn(3, 13, SOUNDS[name], generator=random).half() * mask[..., None], mask
    shape = (3, 2, 16, 16, 3) if name == "frames" else (3, 16, 16, 3)
    return torch.randint(0, 255, shape, generator=random, dtype=torch.uint8), torch.ones(3, dtype=torch.bool)


@pytest.mark.parametrize("name", ENCODERS.names())
def test_tokens_are_of_the_models_width_and_masked_like_the_input(name):
    values, mask = inputs(name)
    tokens, token_mask = build(name)(values, mask)
    assert tokens.shape[0] == 3
    assert tokens.shape[2] == MODEL.width
    assert token_mask.shape == tokens.shape[:2]
    assert token_mask.dtype == torch.bool


@pytest.mark.parametrize("name", ENCODERS.names())
def test_other_samples_of_the_batch_do_not_change_mine(name):
    values, mask = inputs(name)
    encoder = build(name)
    one, _ = encoder(values, mask)
    other, _ = encoder(values[[0, 2, 1]], mask[[0, 2, 1]])
    torch.testing.assert_close(one[0], other[0])
    torch.testing.assert_close(one[1], other[2])


@pytest.mark.parametrize("name", ENCODERS.names())
def test_an_absent_row_has_no_tokens_and_breaks_no_other(name):
    values, mask = inputs(name)
    encoder = build(name)
    whole, _ = encoder(values, mask)
    mask = mask.clone()
    mask[1] = False
    tokens, token_mask = encoder(values, mask)
    assert not token_mask[1].any()
    assert tokens.isfinite().all()
    torch.testing.assert_close(tokens[0][token_mask[0]], whole[0][token_mask[0]])


@pytest.mark.parametrize("name", ENCODERS.names())
def test_gradients_reach_every_weight(name):
    values, mask = inputs(name)
    encoder = build(name).train()
    tokens, token_mask = encoder(values, mask)
    (tokens * torch.randn(tokens.shape))[token_mask].sum().backward()
    for weight, parameter in encoder.named_parameters():
        assert parameter.grad is not None, weight
        if not weight.endswith(KEYS):
            assert parameter.grad.abs().sum() > 0, weight


@pytest.mark.parametrize("name", ENCODERS.names())
def test_in_bf16_tokens_are_nearly_the_same(name):
    values, mask = inputs(name)
    encoder = build(name)
    exact, _ = encoder(values, mask)
    # With the image encoder whose convolutions `frames` borrows.
    weights = Weights(torch.nn.ModuleList([encoder, *getattr(encoder, "_image", ())]), "bf16")
    rounded, token_mask = encoder(values, mask)
    weights.restore(weights.state())
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded[token_mask].float(), exact[token_mask], rtol=0.1, atol=0.1)


@pytest.mark.parametrize("name", TEXTS)
def test_longer_padding_does_not_change_a_text(name):
    encoder = build(name)
    values, mask = inputs(name)
    short, _ = encoder(values[1:2, :3], mask[1:2, :3])
    values, mask = (torch.cat([part[1:2], part.new_zeros(1, 6)], 1) for part in (values, mask))
    long, _ = encoder(values, mask)
    torch.testing.assert_close(short[0], long[0, :3], rtol=1e-5, atol=1e-5)


def test_longer_silence_behind_it_does_not_change_a_recording():
    encoder = build("wav2vec2")
    values, mask = inputs("wav2vec2")
    short, short_mask = encoder(values[1:2, :6], mask[1:2, :6])
    long, long_mask = encoder(values[1:2], mask[1:2])
    assert short_mask.sum() == long_mask.sum() > 5
    torch.testing.assert_close(short[short_mask], long[long_mask], rtol=1e-4, atol=1e-4)


def test_encoders_of_sound_say_what_they_need_it_as():
    with pytest.raises(ValueError, match=r"wav2vec2 hears samples, not bands; set prepare\.audio_mels to null"):
        ENCODERS.build({"name": "wav2vec2", **OPTIONS["wav2vec2"]}, **GIVEN)
    with pytest.raises(ValueError, match=r"log_mel hears bands; set prepare\.audio_mels"):
        ENCODERS.build({"name": "log_mel", **OPTIONS["log_mel"]}, **{**GIVEN, "prepare": SAMPLES})


def test_frames_share_the_weights_of_the_image_encoder():
    encoder = build("frames")
    assert not any(name.startswith("_image") or "stem" in name for name in encoder.state_dict())


def test_an_image_side_that_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match="multiple of 32"):
        ConvVit(patch=2, channels=[8, 8, 8, 8], residuals=0, layers=1, width=16, heads=2, dropout=0.0, prepare=PREPARE)


def test_frames_without_an_image_encoder_are_refused():
    with pytest.raises(ValueError, match=r"set model\.encoders\.image"):
        ENCODERS.build({"name": "frames", **OPTIONS["frames"]}, width=16, heads=2, dropout=0.0, prepare=PREPARE,
                       image=None)  # fmt: skip


def test_tokens_per_frame_must_be_square():
    with pytest.raises(ValueError, match="square"):
        ENCODERS.build({"name": "frames", "layers": 1, "tokens_per_frame": 5}, width=16, heads=2, dropout=0.0,
                       prepare=PREPARE, image=image_encoder())  # fmt: skip
