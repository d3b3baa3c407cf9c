"""Encoders made of networks from transformers: the same numbers as there, and never a silent random start."""

import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    AutoConfig,
    AutoModel,
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    ResNetConfig,
    ResNetModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

from mmcore.models.encoders import ENCODERS
from mmcore.models.encoders.resnet import FrozenNorm
from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives import OBJECTIVES
from tests.models.test_encoders import COLOURS, GIVEN, OPTIONS, SMALL, build, inputs
from tests.test_objectives import SPECS, part_for
from tests.tiny import MODEL, model, processor

RESNET = OPTIONS["resnet"]["config"]
READERS = {
    "bert": SMALL,
    "roberta": SMALL,
    "gpt2": {"n_embd": 12, "n_layer": 2, "n_head": 2},
    "t5": {"d_model": 12, "d_kv": 6, "d_ff": 24, "num_layers": 2, "num_heads": 2},
}


def colours(values):
    mean, std = (torch.tensor(COLOURS[key])[:, None, None] for key in ("mean", "std"))
    return (values.permute(0, 3, 1, 2) / 255 - mean) / std


def saved_network(kind, config, folder):
    torch.manual_seed(3)
    made = kind(config).eval()
    for name, buffer in made.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.5, 1.5)
    made.save_pretrained(folder)
    return made


def with_encoders(**specs):
    return dataclasses.replace(MODEL, encoders={**MODEL.encoders, **specs})


@pytest.mark.parametrize("kind", READERS)
def test_text_networks_say_what_they_say_in_transformers(kind, tmp_path):
    config = AutoConfig.for_model(kind, vocab_size=50, pad_token_id=0, bos_token_id=1, eos_token_id=2, **READERS[kind])
    reference = saved_network(AutoModel.from_config, config, tmp_path)
    reader = reference.get_encoder() if config.is_encoder_decoder else reference
    encoder = build("auto_text", pretrained=str(tmp_path), config=None)
    values, mask = inputs("auto_text")
    tokens, _ = encoder(values, mask)
    for row, length in enumerate(mask.sum(1).tolist()):
        alone = reader(input_ids=values[row : row + 1, :length]).last_hidden_state
        torch.testing.assert_close(tokens[row, :length], encoder.tokens(alone)[0], rtol=1e-4, atol=1e-5)


def test_a_class_token_and_patches_are_those_of_transformers(tmp_path):
    config = CLIPVisionConfig(**SMALL, patch_size=4, image_size=16)
    reference = saved_network(CLIPVisionModel, config, tmp_path)
    encoder = build("clip_vision", pretrained=str(tmp_path), config=None)
    values, mask = inputs("clip_vision")
    expected = reference(colours(values))
    torch.testing.assert_close(
        encoder.backbone.post_layernorm(encoder.backbone(encoder.pixels(values)).last_hidden_state[:, 0]),
        expected.pooler_output, rtol=1e-4, atol=1e-5,
    )  # fmt: skip
    states = reference.post_layernorm(expected.last_hidden_state)
    torch.testing.assert_close(encoder(values, mask)[0], encoder.tokens(states), rtol=1e-4, atol=1e-5)


def test_recordings_are_heard_as_transformers_hears_them(tmp_path):
    reference = saved_network(Wav2Vec2Model, Wav2Vec2Config(**OPTIONS["wav2vec2"]["config"]), tmp_path)
    encoder = build("wav2vec2", pretrained=str(tmp_path), config=None)
    values, mask = inputs("wav2vec2")
    samples = [own[heard].flatten().float().numpy() for own, heard in zip(values, mask, strict=True)]
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True, sampling_rate=8000)
    given = extractor(samples, sampling_rate=8000, padding=True, return_tensors="pt")
    expected = reference(**given).last_hidden_state
    tokens, heard = encoder(values, mask)
    assert heard.sum(1).tolist() == reference._get_feat_extract_output_lengths(mask.sum(1) * values.shape[2]).tolist()
    torch.testing.assert_close(tokens[heard], encoder.tokens(expected)[heard], rtol=1e-4, atol=1e-4)


def test_the_image_half_of_a_whole_clip_can_be_taken(tmp_path):
    torch.manual_seed(3)
    config = CLIPConfig(text_config={**SMALL, "vocab_size": 50}, vision_config={**SMALL, "patch_size": 4,
                        "image_size": 16}, projection_dim=8)  # fmt: skip
    whole = saved_network(CLIPModel, config, tmp_path)
    encoder = build("clip_vision", pretrained=str(tmp_path), config=None)
    values, _ = inputs("clip_vision")
    expected = whole.get_image_features(pixel_values=colours(values)).pooler_output
    states = encoder.backbone(encoder.pixels(values)).pooler_output
    torch.testing.assert_close(whole.visual_projection(states), expected, rtol=1e-4, atol=1e-5)


def test_a_feature_map_is_that_of_transformers_and_batch_norms_are_frozen_even_in_training(tmp_path):
    reference = saved_network(ResNetModel, ResNetConfig(**RESNET), tmp_path)
    encoder = build("resnet", pretrained=str(tmp_path), config=None, norm="frozen").train()
    values, mask = inputs("resnet")
    states = reference(colours(values)).last_hidden_state
    expected = encoder.tokens(states.flatten(2).transpose(1, 2))
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    torch.testing.assert_close(encoder(values, mask)[0], expected, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(buffer, before[name]) for name, buffer in encoder.named_buffers())


def test_no_batch_norm_is_left():
    for norm, kind in (("group", torch.nn.GroupNorm), ("frozen", FrozenNorm)):
        parts = [type(part) for part in build("resnet", norm=norm).modules()]
        assert kind in parts
        assert torch.nn.BatchNorm2d not in parts


@pytest.mark.parametrize("image", ["vit", "resnet", "clip_vision"])
def test_clips_can_look_through_any_image_encoder_with_a_grid(image):
    made = model(settings=with_encoders(image={"name": image, **OPTIONS[image]}))
    values, mask = inputs("frames")
    tokens, token_mask = made.encode("video", values, mask)
    assert tokens.shape == (3, 8, 16)
    assert token_mask.all()


def test_masked_words_are_named_with_word_vectors_of_another_width():
    made = model(settings=with_encoders(text={"name": "auto_text", **OPTIONS["auto_text"]}))
    spec = next(spec for spec in SPECS if spec["name"] == "masked_language")
    objective = OBJECTIVES.build(spec)
    sum(objective.loss(made, part_for(objective)).values()).backward()
    assert made.encoders["text"].embedding.weight.grad.abs().sum() > 0


def test_a_saved_model_needs_no_longer_the_folder_its_weights_came_from(tmp_path):
    for name in ("bert", "resnet", "clip", "model"):
        (tmp_path / name).mkdir()
    saved_network(BertModel, BertConfig(vocab_size=processor().vocabulary, **SMALL), tmp_path / "bert")
    saved_network(ResNetModel, ResNetConfig(**RESNET), tmp_path / "resnet")
    saved_network(CLIPVisionModel, CLIPVisionConfig(**SMALL, patch_size=4, image_size=16), tmp_path / "clip")
    for image, folder in (("resnet", "resnet"), ("clip_vision", "clip")):
        norm = {"norm": "frozen"} if image == "resnet" else {}
        made = model(
            settings=with_encoders(
                text={
                    "name": "auto_text",
                    **OPTIONS["auto_text"],
                    "pretrained": str(tmp_path / "bert"),
                    "config": None,
                },
                image={"name": image, **OPTIONS[image], "pretrained": str(tmp_path / folder), "config": None, **norm},
            )
        )
        made.save(tmp_path / "model")
        loaded = MultimodalModel.load(tmp_path / "model")
        assert str(tmp_path) not in (tmp_path / "model" / "config.json").read_text()
        for modality, name in (("text", "auto_text"), ("image", image)):
            torch.testing.assert_close(loaded.embed(modality, *inputs(name)), made.embed(modality, *inputs(name)))


def test_loaded_weights_are_not_drawn_anew_by_the_model(tmp_path):
    reference = saved_network(ResNetModel, ResNetConfig(**RESNET), tmp_path)
    spec = {"name": "resnet", **OPTIONS["resnet"], "pretrained": str(tmp_path), "config": None, "norm": "frozen"}
    own = model(settings=with_encoders(image=spec)).encoders["image"].backbone.state_dict()
    expected = {name: tensor for name, tensor in reference.state_dict().items() if "num_batches" not in name}
    assert own.keys() == expected.keys()
    assert all(torch.equal(own[name], tensor) for name, tensor in expected.items())


def test_a_folder_that_lacks_a_weight_is_refused_by_name(tmp_path):
    saved_network(BertModel, BertConfig(vocab_size=50, **SMALL), tmp_path)
    path = tmp_path / "model.safetensors"
    weights = {name: tensor for name, tensor in load_file(path).items() if "layer.1.output.dense.weight" not in name}
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"'encoder\.layer\.1\.output\.dense\.weight' is missing"):
        build("auto_text", pretrained=str(tmp_path), config=None)


@pytest.mark.parametrize("name", ["auto_text", "clip_vision", "resnet"])
def test_weights_that_cannot_be_found_are_an_error_never_a_random_start(name, tmp_path):
    norm = {"norm": "frozen"} if name == "resnet" else {}
    with pytest.raises(FileNotFoundError, match=f"the encoder {name} finds no weights"):
        build(name, pretrained=str(tmp_path), config=None, **norm)


@pytest.mark.parametrize("name", ["auto_text", "clip_vision", "resnet"])
def test_weights_or_a_configuration_not_both_and_not_neither(name):
    with pytest.raises(ValueError, match="either 'pretrained' or 'config'"):
        build(name, config=None)


def test_word_vectors_of_another_tokenizer_are_refused(tmp_path):
    saved_network(BertModel, BertConfig(vocab_size=99, **SMALL), tmp_path)
    with pytest.raises(ValueError, match="word vectors for 99 tokens, the project's tokenizer has 50"):
        build("auto_text", pretrained=str(tmp_path), config=None)


@pytest.mark.parametrize("file", ["tokenizer.json", "vocab.json", "vocab.txt"])
def test_a_vocabulary_of_the_same_size_and_other_words_is_refused(file, tmp_path):
    own = GIVEN["tokenizer"].get_vocab()
    saved_network(BertModel, BertConfig(vocab_size=len(own), **SMALL), tmp_path)
    swapped = {"[PAD]": own["[PAD]"], **own, "a": own["b"], "b": own["a"]}
    given = {"pretrained": str(tmp_path), "config": None}
    for words in (own, swapped):
        by_token = sorted(words, key=words.get)
        if file == "tokenizer.json":
            Tokenizer(WordLevel(words, unk_token="[UNK]")).save(str(tmp_path / file))
        elif file == "vocab.json":
            (tmp_path / file).write_text(json.dumps(words))
        else:
            (tmp_path / file).write_text("".join(f"{word}\n" for word in by_token), encoding="utf-8")
        spec = {"name": "auto_text", **OPTIONS["auto_text"], **given}
        if words is own:
            assert ENCODERS.build(spec, **{**GIVEN, "vocabulary": len(own)}).embedding.num_embeddings == len(own)
    token = min(own["a"], own["b"])
    with pytest.raises(ValueError, match=f"has word vectors for other words: its token {token} is '[ab]', that of"):
        ENCODERS.build(spec, **{**GIVEN, "vocabulary": len(own)})


@pytest.mark.parametrize("kind", READERS)
def test_a_saved_model_with_any_text_network_is_built_and_loads_again(kind, tmp_path):
    for name in ("network", "model"):
        (tmp_path / name).mkdir()
    size = processor().vocabulary
    config = AutoConfig.for_model(kind, vocab_size=size, **READERS[kind])
    saved_network(AutoModel.from_config, config, tmp_path / "network")
    drawn = {"pretrained": None, "config": {"model_type": kind, **READERS[kind]}}
    for start in (drawn, {"pretrained": str(tmp_path / "network"), "config": None}):
        made = model(settings=with_encoders(text={"name": "auto_text", **OPTIONS["auto_text"], **start}))
        assert made.encoders["text"].embedding.num_embeddings == size
        made.save(tmp_path / "model")
        loaded = MultimodalModel.load(tmp_path / "model")
        values, mask = inputs("auto_text")
        assert torch.equal(loaded.embed("text", values, mask), made.embed("text", values, mask))


def test_colours_that_the_network_was_not_trained_with_are_refused(tmp_path):
    saved_network(ResNetModel, ResNetConfig(**RESNET), tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.1, 0.1, 0.1]}))
    with pytest.raises(ValueError, match=r"trained with image_mean \[0\.1, 0\.1, 0\.1\], not with \[0\.5"):
        build("resnet", pretrained=str(tmp_path), config=None, norm="frozen")


@pytest.mark.parametrize(
    ("name", "options", "error", "says"),
    [
        ("auto_text", {"config": {"model_type": "berd"}}, LookupError, "known 'model_type', not 'berd'"),
        ("auto_text", {"config": {"model_type": "bert", "layers": 2}}, LookupError, "has no 'layers'"),
        ("resnet", {"config": {**RESNET, "width": 2}}, LookupError, "has no 'width'"),
        ("resnet", {"norm": "batch"}, ValueError, "no norm 'batch'"),
        ("resnet", {"config": {**RESNET, "hidden_sizes": [8, 12]}}, ValueError, "12 channels"),
        ("resnet", {"pretrained": "somewhere", "config": None}, ValueError, "norm: frozen"),
        ("auto_text", {"config": {"model_type": "bert", **SMALL, "max_position_embeddings": 8}}, ValueError,
         "16 tokens; the encoder auto_text reads 8"),
        ("auto_text", {"config": {"model_type": "roberta", **SMALL, "max_position_embeddings": 16}}, ValueError,
         "16 tokens; the encoder auto_text reads 15"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_said(name, options, error, says):
    with pytest.raises(error, match=says):
        build(name, **options)


def test_the_default_model_does_not_pay_for_transformers():
    script = (
        "import sys; from mmcore.models.multimodal import MultimodalModel; from mmcore.models.encoders import ENCODERS;"
        "[ENCODERS[name] for name in ('conv_vit', 'text_transformer', 'frames', 'log_mel', 'vit', 'histogram')];"
        "print('transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_network_that_is_frozen_as_a_whole_has_no_dropout():
    encoder = ENCODERS.build({"name": "auto_text", **OPTIONS["auto_text"], "train": "none"}, **GIVEN).train()
    values, mask = inputs("auto_text")
    assert torch.equal(encoder(values, mask)[0], encoder(values, mask)[0])
    assert encoder.training


def test_the_longest_text_that_prepare_allows_can_be_read():
    for kind, places in {"bert": 16, "roberta": 17, "gpt2": 16}.items():
        config = {"model_type": kind, **READERS[kind], "max_position_embeddings": places}
        encoder = build("auto_text", config=config)
        tokens, _ = encoder(torch.full((1, 16), 7), torch.ones(1, 16, dtype=torch.bool))
        assert tokens.shape == (1, 16, 16)


def test_of_a_network_that_hears_the_layers_of_the_transformer_are_counted():
    rates = build("wav2vec2", train="last", layer_decay=0.5).rates
    learning = {name for name, factor in rates.items() if factor}
    assert learning
    assert all(name.startswith("backbone.encoder.layers.1.") for name in learning)
    falling = build("wav2vec2", layer_decay=0.5).rates
    assert {name.split(".")[3]: factor for name, factor in falling.items() if ".encoder.layers." in name} == {
        "0": 0.5, "1": 1.0
    }  # fmt: skip
    assert falling["backbone.feature_extractor.conv_layers.0.conv.weight"] == 0.25


@pytest.mark.parametrize("steps", [1, 2])
def test_a_recording_that_is_shorter_than_one_token_is_heard_as_if_silence_followed(steps):
    """The first convolution takes 10 samples five apart, the second three of those: 20 for one token."""
    encoder = build("wav2vec2")
    assert encoder.least == 20
    values = torch.randn(1, steps, 10, generator=torch.Generator().manual_seed(1))
    tokens, mask = encoder(values, torch.ones(1, steps, dtype=torch.bool))
    assert tokens.isfinite().all()
    assert tokens.shape[1] == mask.shape[1] == 1


def test_what_hears_samples_is_not_asked_to_restore_them():
    values, mask = inputs("wav2vec2")
    with pytest.raises(ValueError, match="take log_mel for masked_audio"):
        build("wav2vec2")(values.float().requires_grad_(), mask)
