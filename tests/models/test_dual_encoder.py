"""Small models written as transformers writes them, with random weights, embed here as they do there."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertModel,
    ChineseCLIPConfig,
    ChineseCLIPModel,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
)

from mmcore.models.dual_encoder import DualEncoder
from tests.models.test_encoders import SMALL
from tests.tiny import picture, processor

TEXT = {**SMALL, "vocab_size": 400, "max_position_embeddings": 20, "pad_token_id": 0, "bos_token_id": 1,
        "eos_token_id": 2}  # fmt: skip
IMAGE = {**SMALL, "image_size": 16, "patch_size": 4}
SOUND = {
    "spec_size": 64, "num_mel_bins": 16, "patch_embeds_hidden_size": 8, "depths": [1, 1], "hidden_size": 16,
    "num_attention_heads": [2, 2], "projection_dim": 8, "window_size": 4, "patch_size": 4, "patch_stride": [4, 4],
}  # fmt: skip
SEEING = {
    "clip": (CLIPModel, CLIPConfig(text_config=TEXT, vision_config=IMAGE, projection_dim=8)),
    "chinese_clip": (ChineseCLIPModel, ChineseCLIPConfig(text_config=TEXT, vision_config=IMAGE, projection_dim=8)),
    "siglip": (SiglipModel, SiglipConfig(text_config=TEXT, vision_config=IMAGE)),
}
HEARING = {"clap": (ClapModel, ClapConfig(text_config={**TEXT, "projection_dim": 8}, audio_config=SOUND,
                                          projection_dim=8))}  # fmt: skip
TEXTS = ["a red square on the left", "blue"]
VIEWER = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
LISTENER = ClapFeatureExtractor(feature_size=16, sampling_rate=8000, hop_length=80, fft_window_size=256,
                                max_length_s=1, frequency_max=4000, truncation="rand_trunc")  # fmt: skip


def write(folder, name):
    """The model as transformers has it, saved with its tokenizer and what prepares its media."""
    torch.manual_seed(5)
    kind, config = {**SEEING, **HEARING}[name]
    made = kind(config).eval()
    made.save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=processor().tokenizer, pad_token="[PAD]", bos_token="[BOS]", eos_token="[EOS]",
        model_max_length=20,
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    (LISTENER if name in HEARING else VIEWER).save_pretrained(folder)
    return made, tokenizer


def unit(features):
    return F.normalize(features.pooler_output, dim=-1)


@pytest.mark.parametrize("name", [*SEEING, *HEARING])
def test_texts_are_embedded_as_in_transformers(tmp_path, name):
    made, tokenizer = write(tmp_path, name)
    if name == "siglip":
        ids = tokenizer(TEXTS, padding="max_length", max_length=20, return_tensors="pt")["input_ids"]
        expected = made.get_text_features(input_ids=ids)
    else:
        expected = torch.cat([unit(made.get_text_features(**_alone(tokenizer, text))) for text in TEXTS])
    model = DualEncoder.load(str(tmp_path))
    found = model.embed("text", *model.texts(TEXTS))
    expected = expected if isinstance(expected, torch.Tensor) else unit(expected)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def _alone(tokenizer, text):
    found = tokenizer([text], return_tensors="pt")
    return {name: found[name] for name in ("input_ids", "attention_mask")}


@pytest.mark.parametrize("name", SEEING)
def test_images_are_embedded_as_in_transformers(tmp_path, name):
    made, _ = write(tmp_path, name)
    wide = np.random.default_rng(0).integers(0, 256, (30, 51, 3)).astype(np.uint8)
    pictures = [picture("red", "left"), picture("blue", "right", 3), wide]
    expected = unit(made.get_image_features(pixel_values=VIEWER(pictures, return_tensors="pt")["pixel_values"]))
    model = DualEncoder.load(str(tmp_path))
    found = model.embed("image", *model.pictures(pictures))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert model.modalities == ("text", "image")


def test_sounds_are_embedded_as_in_transformers(tmp_path):
    made, _ = write(tmp_path, "clap")
    sounds = [np.random.default_rng(seed).normal(0, 0.1, 6000).astype(np.float32) for seed in (1, 2)]
    heard = LISTENER(sounds, sampling_rate=8000, return_tensors="pt")
    expected = unit(made.get_audio_features(**heard))
    model = DualEncoder.load(str(tmp_path))
    found = model.embed("audio", *model.sounds(sounds, 8000))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="8000"):
        model.sounds(sounds, 16000)


def test_a_row_that_is_not_there_gives_zeros_and_changes_no_other(tmp_path):
    write(tmp_path, "chinese_clip")
    model = DualEncoder.load(str(tmp_path))
    values, mask = model.texts(TEXTS)
    whole = model.embed("text", values, mask)
    mask[1] = False
    found = model.embed("text", values, mask)
    torch.testing.assert_close(found[0], whole[0])
    assert not found[1].any()


def test_what_it_does_not_embed_is_refused(tmp_path):
    write(tmp_path, "clip")
    model, one = DualEncoder.load(str(tmp_path)), torch.ones(1, dtype=torch.bool)
    with pytest.raises(ValueError, match="have 24 pixels a side; the model sees 16"):
        model.embed("image", torch.zeros(1, 24, 24, 3, dtype=torch.uint8), one)
    with pytest.raises(LookupError, match="does not embed 'audio'; it embeds: text, image"):
        model.embed("audio", torch.zeros(1, 1, 9, 16), one)


def test_a_folder_that_cannot_be_one_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="the dual encoder finds no weights"):
        DualEncoder.load(str(tmp_path))
    BertModel(BertConfig(**SMALL)).save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match="a bert, which does not embed texts and media"):
        DualEncoder.load(str(tmp_path / "bert"))
    write(tmp_path / "clip", "clip")
    path = tmp_path / "clip" / "model.safetensors"
    weights = {name: tensor for name, tensor in load_file(path).items() if name != "text_projection.weight"}
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"'text_projection\.weight' is missing"):
        DualEncoder.load(str(tmp_path / "clip"))
