import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmcore.data.batches import Batches
from mmcore.models.fusion import FUSIONS
from mmcore.models.multimodal import MultimodalModel
from tests.models.test_fusion import OPTIONS
from tests.tiny import MODEL, corpus, model, processor


def clips(made):
    source = Batches(corpus(), processor(), ("video", "summary"), batch_size=6, also=["transcript"],
                     shuffle=False)  # fmt: skip
    return source.at(0)


def scenes():
    return Batches(corpus(), processor(), ("image", "captions"), batch_size=6, shuffle=False).at(0)


def test_a_saved_model_gives_equal_outputs_when_loaded(tmp_path):
    made = model()
    made.save(tmp_path)
    loaded = MultimodalModel.load(tmp_path)
    batch = scenes()
    for name in ("image", "text"):
        assert torch.equal(made.embed(name, *batch.inputs[name]), loaded.embed(name, *batch.inputs[name]))
    picture = {"image": batch.inputs["image"]}
    assert made.generate(picture) == loaded.generate(picture)
    assert not loaded.training


def test_saving_twice_gives_equal_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        model().save(tmp_path / name)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_weights_of_another_shape_or_name_are_refused_by_name(tmp_path):
    model().save(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({**weights, "decoder.bias": torch.zeros(3)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"'decoder.bias' is \[3\], not"):
        MultimodalModel.load(tmp_path)
    save_file({k: v for k, v in weights.items() if k != "logit_scale"}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="'logit_scale' is missing"):
        MultimodalModel.load(tmp_path)


def test_a_folder_of_another_kind_of_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="'bert'"):
        MultimodalModel.load(tmp_path)


def test_a_masked_transcript_equals_no_transcript():
    made, batch = model(), clips(None)
    ids = batch.inputs["text"][0]
    video = made.encode("video", *batch.inputs["video"])
    values, mask = batch.inputs["transcript"]
    with torch.no_grad():
        alone = made.write(ids, {"video": video})
        masked = made.write(ids, {"video": video, "transcript": made.encode("transcript", values, mask & False)})
        both = made.write(ids, {"video": video, "transcript": made.encode("transcript", values, mask)})
    torch.testing.assert_close(alone, masked, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(alone[1], both[1])


def test_another_picture_gives_another_text_distribution():
    made, batch = model(), scenes()
    ids, _ = batch.inputs["text"]
    values, mask = batch.inputs["image"]
    one = made.write(ids, {"image": made.encode("image", values, mask)})
    other = made.write(ids, {"image": made.encode("image", values.flip(0), mask)})
    assert not torch.allclose(one, other)


def test_what_the_model_lacks_is_named():
    made = model(settings=dataclasses.replace(MODEL, decoder=None))
    with pytest.raises(LookupError, match=r"no encoder for 'depth'; it has: image, audio, text, video"):
        made.encode("depth", torch.zeros(1), torch.ones(1))
    with pytest.raises(LookupError, match=r"set model\.decoder"):
        made.generate({})
    with pytest.raises(LookupError, match=r"no fusion named 'mixed'"):
        model(settings=dataclasses.replace(MODEL, fusion={"name": "mixed"}))


@pytest.mark.parametrize("name", FUSIONS.names())
def test_a_model_writes_about_what_its_fusion_joins(name, tmp_path):
    made = model(settings=dataclasses.replace(MODEL, fusion={"name": name, **OPTIONS.get(name, {})}))
    batch = clips(None)
    encoded = {kind: made.encode(kind, *batch.inputs[kind]) for kind in ("video", "transcript")}
    made.write(batch.inputs["text"][0], encoded).square().mean().backward()
    own = [weight for part, weight in made.named_parameters() if part.startswith("fusion.") and weight.grad is not None]
    assert any(weight.grad.abs().max() > 0 for weight in own)
    made.save(tmp_path)
    inputs = {kind: batch.inputs[kind] for kind in ("video", "transcript")}
    assert MultimodalModel.load(tmp_path).generate(inputs) == made.generate(inputs)


def test_the_contrastive_scale_never_exceeds_a_hundred():
    made = model()
    assert float(made.scale().detach()) == pytest.approx(1 / 0.07, rel=1e-5)
    with torch.no_grad():
        made.logit_scale.fill_(9.0)
    assert float(made.scale().detach()) == pytest.approx(100, rel=1e-5)


def test_an_explanation_names_what_was_seen_linked_joined_and_said():
    made, batch = model(), scenes()
    made.add_heads({"place": {
        "name": "classes", "inputs": ["image", "text"], "classes": ["left", "right"], "fusion": {"name": "gated"}
    }})  # fmt: skip
    inputs = {name: batch.inputs[name] for name in ("image", "text")}
    told = made.explain(inputs, head="place")
    rows = len(batch)
    assert {name: value.shape for name, value in told["extract"].items()} == {"image": (rows,), "text": (rows,)}
    one, other = (made.embed(name, *pair) for name, pair in inputs.items())
    torch.testing.assert_close(told["link"]["image_text"], (one * other).sum(-1))
    torch.testing.assert_close(told["fuse"]["image"] + told["fuse"]["text"], torch.ones(rows))
    encoded = {name: made.encode(name, *pair) for name, pair in inputs.items()}
    torch.testing.assert_close(told["task"], made.answer("place", encoded))
    assert not {"fuse", "task", "relevance"} & set(made.explain(inputs))


def explained(fusion):
    made, batch = model().double(), scenes()
    head = {"name": "classes", "inputs": ["image", "text"], "classes": ["left", "right"], "fusion": fusion}
    made.add_heads({"place": head})
    made = made.double()
    inputs = {name: batch.inputs[name] for name in ("image", "text")}
    return made, inputs, made.explain(inputs, head="place")


def test_every_layer_of_attention_tells_where_it_looks():
    made, inputs, told = explained({"name": "cross_attention", "layers": 1})
    mask = inputs["text"][1]
    assert set(told["attend"]) == {"image", "text", "fuse"}
    assert told["attend"]["text"]
    for name, weights in told["attend"]["text"].items():
        assert name.startswith("encoders.text.")
        assert weights.shape[-1] == mask.shape[1]
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights.sum(-1)))
        assert not weights[~mask[:, None, None].expand_as(weights)].any()
    assert any(name.startswith("heads.place.") for name in told["attend"]["fuse"])
    assert not any(part._forward_hooks for part in made.modules())


@pytest.mark.parametrize("kind", ["image", "text"])
def test_relevance_is_what_an_answer_gains_if_a_token_grows(kind):
    made, inputs, told = explained({"name": "concat"})
    encoded = {name: made.encode(name, *pair) for name, pair in inputs.items()}
    tokens, mask = encoded[kind]

    def answer(scale):
        grown = tokens.clone()
        grown[:, 1] = grown[:, 1] * scale
        return made.answer("place", {**encoded, kind: (grown, mask)}).detach().max(-1).values

    slope = (answer(1 + 1e-5) - answer(1 - 1e-5)) / 2e-5
    torch.testing.assert_close(told["relevance"][kind][:, 1], slope, rtol=1e-5, atol=1e-8)
    assert not told["relevance"][kind][~mask].any()


def test_beams_are_part_of_a_saved_model(tmp_path):
    made, batch = model(), scenes()
    made.beams = 3
    made.save(tmp_path)
    inputs = {"image": batch.inputs["image"]}
    assert MultimodalModel.load(tmp_path).generate(inputs) == made.generate(inputs, beams=3)


def test_a_text_can_begin_with_given_words():
    made, batch = model(), scenes()
    inputs = {"image": batch.inputs["image"]}
    plain, led = made.generate(inputs), made.generate(inputs, prefix="a red square")
    assert len(led) == len(plain)
    assert led != plain


def test_a_model_from_before_a_setting_of_prepare_is_loaded(tmp_path):
    made = model()
    made.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["prepare"]["tokenizer"], config["prepare"]["image_resize"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert MultimodalModel.load(tmp_path).processor.prepare == made.processor.prepare
