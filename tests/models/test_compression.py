"""Smaller models, against the formulas written out and the models that they were."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mmcore.models.compression import Int8, Int8Embedding, Int8Linear, drop_layers, in_float, prune, to_int8
from mmcore.models.encoders import ENCODERS
from mmcore.models.multimodal import MultimodalModel
from tests import tiny
from tests.models.test_encoders import OPTIONS, build, inputs

INT8 = {"prune": 0.0, "drop_layers": {}, "int8": True}
WIDE = dataclasses.replace(tiny.MODEL, width=96, heads=4, embed_dim=64)
DEEP = dataclasses.replace(
    tiny.MODEL, encoders=tiny.MODEL.encoders | {"text": {"name": "text_transformer", "layers": 3}},
    decoder={"name": "cross_attention", "layers": 2},
)  # fmt: skip


def whole(made: nn.Module) -> Any:
    to_int8(made)
    return made


def pixels(count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    seen = np.stack([tiny.picture(colour, "left", seed) for seed, colour in enumerate(tiny.COLOURS)])[:count]
    return torch.from_numpy(seen), torch.ones(count, dtype=torch.bool)


def test_an_int8_layer_is_the_product_of_whole_numbers_and_misses_the_float_one_by_their_rounding() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(40, 24)
    inputs_RI = torch.randn(7, 40)
    weight_OI, bias_O = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    given_RI = inputs_RI.double().numpy()
    plain_RO = given_RI @ weight_OI.T + bias_O
    found_RO = whole(layer)(inputs_RI).double().numpy()
    by_O, by_R = np.abs(weight_OI).max(1) / 127, np.abs(given_RI).max(1) / 127
    numbers_OI, numbers_RI = np.rint(weight_OI / by_O[:, None]), np.rint(given_RI / by_R[:, None])
    expected_RO = (numbers_RI.astype(int) @ numbers_OI.astype(int).T) * by_R[:, None] * by_O + bias_O
    assert found_RO == pytest.approx(expected_RO, abs=1e-5)
    # Each factor of a product is missed by half a step at most.
    bound_RO = np.abs(given_RI).sum(1)[:, None] * by_O / 2 + by_R[:, None] / 2 * np.abs(weight_OI).sum(1)
    bound_RO += 40 * by_R[:, None] / 2 * by_O / 2
    assert (np.abs(found_RO - plain_RO) <= bound_RO + 1e-6).all()
    assert np.abs(found_RO - plain_RO).max() > 1e-4


def test_the_product_is_exact_however_wide_the_layer_is() -> None:
    layer = whole(nn.Linear(4096, 8, bias=False))
    layer.values.copy_(torch.randint(-127, 128, layer.values.shape))
    layer.scales.fill_(1.0)
    rows = torch.randint(-127, 128, (3, 4096)).float()
    rows[:, 0] = 127
    assert torch.equal(layer(rows).long(), rows.long() @ layer.values.long().T)


def test_no_row_changes_what_another_one_gets() -> None:
    layer = whole(nn.Linear(16, 16))
    rows = torch.randn(5, 3, 16) * torch.tensor([1.0, 100.0, 1e-3, 0.0, 1e4])[:, None, None]
    together = layer(rows)
    assert together.shape == (5, 3, 16)
    assert torch.equal(together, torch.stack([layer(row[None])[0] for row in rows]))
    assert torch.equal(together[3], layer.bias.expand(3, 16))
    assert layer(rows[:0]).shape == (0, 3, 16)


@pytest.mark.parametrize("layer", [nn.Linear(9, 4), nn.Conv2d(3, 4, 3), nn.Conv1d(3, 4, 2), nn.Embedding(6, 5)])
def test_a_weight_is_missed_by_half_a_step_of_its_output_at_most(layer: nn.Module) -> None:
    before = layer.weight.detach().clone()
    after = whole(layer).weight
    assert layer.state_dict()["values"].dtype == torch.int8
    steps = before.flatten(1).abs().amax(1) / 127
    assert ((after - before).abs().flatten(1).amax(1) <= steps / 2 * 1.0001).all()
    assert not torch.equal(after, before)
    assert not any(one.requires_grad for one in layer.parameters())


def test_words_that_are_looked_up_are_rows_of_the_weight() -> None:
    layer = whole(nn.Embedding(6, 5))
    ids = torch.tensor([[0, 5], [3, 3]])
    assert isinstance(layer, Int8Embedding)
    assert torch.equal(layer(ids), layer.weight[ids])


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_every_encoder_says_nearly_the_same_in_int8(name: str) -> None:
    assert set(OPTIONS) == set(ENCODERS.names())
    encoder = build(name).eval()
    given = inputs(name)
    before, mask = encoder(*given)
    after, same = whole(encoder)(*given)
    assert any(isinstance(part, Int8) for part in encoder.modules())
    assert torch.equal(mask, same)
    cosines = torch.nn.functional.cosine_similarity(before[mask], after[mask], dim=-1)
    assert cosines.min() > 0.99
    assert not torch.equal(before[mask], after[mask])


def test_a_model_in_int8_loads_again_with_equal_answers_from_a_file_of_a_quarter(tmp_path: Path) -> None:
    made = tiny.model(settings=WIDE)
    (tmp_path / "before").mkdir()
    (tmp_path / "after").mkdir()
    made.save(tmp_path / "before")
    images, texts = pixels(), made.processor.texts(["a red square", "blue"])
    plain = made.embed("image", *images)
    to_int8(made)
    made.compression = INT8
    made.save(tmp_path / "after")
    loaded = MultimodalModel.load(tmp_path / "after")
    assert loaded.compression == INT8
    for kind, given in (("image", images), ("text", texts)):
        assert torch.equal(loaded.embed(kind, *given), made.embed(kind, *given))
    assert loaded.generate({"image": images}) == made.generate({"image": images})
    assert (plain * loaded.embed("image", *images)).sum(-1).min() > 0.999
    assert not torch.equal(plain, loaded.embed("image", *images))
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("before", "after")]
    assert 3 < sizes[0] / sizes[1] < 4
    kinds = {type(part) for part in loaded.modules() if isinstance(part, nn.Linear | nn.Conv2d | nn.Embedding)}
    assert all(issubclass(kind, Int8) for kind in kinds)
    assert not any(one.requires_grad for one in loaded.parameters())
    assert any(issubclass(kind, Int8Linear) for kind in kinds)


def test_what_is_missing_of_an_int8_file_is_named(tmp_path: Path) -> None:
    tiny.model().save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"compression": INT8}))
    with pytest.raises(ValueError, match=r"weight 'decoder.*' is (missing|not part of the model)"):
        MultimodalModel.load(tmp_path)


def test_an_int8_model_says_how_it_came_to_its_answer() -> None:
    made = tiny.model()
    head = {"name": "classes", "inputs": ["image"], "classes": ["a", "b"], "fusion": {"name": "concat"}}
    made.add_heads({"which": head})
    before = made.explain({"image": pixels()}, head="which")["relevance"]["image"]
    found = whole(made).explain({"image": pixels()}, head="which")
    assert found["relevance"]["image"].flatten().tolist() == pytest.approx(before.flatten().tolist(), abs=0.02)
    assert found["relevance"]["image"].abs().max() > 0


def test_to_be_trained_on_an_int8_model_has_floats_of_the_same_values(tmp_path: Path) -> None:
    made = whole(tiny.model())
    made.compression = INT8
    made.save(tmp_path)
    loaded = MultimodalModel.load(tmp_path, to_train=True)
    assert loaded.compression is None
    assert loaded.state_dict().keys() == tiny.model().state_dict().keys()
    for name, part in made.named_modules():
        if isinstance(part, Int8):
            assert torch.equal(loaded.get_parameter(f"{name}.weight"), part.weight)
    assert all(one.requires_grad for one in loaded.parameters())
    assert in_float(loaded.state_dict()).keys() == loaded.state_dict().keys()


def test_pruning_leaves_the_largest_weights_of_all_layers_together() -> None:
    made, like = tiny.model(), tiny.model()
    masks = prune(made, 0.7)
    assert masks.keys() == {
        f"{name}.weight"
        for name, part in made.named_modules()
        if isinstance(part, nn.Linear | nn.Conv2d) and not name.startswith(("heads.", "words."))
    }
    before = torch.cat([like.get_parameter(name).detach().flatten() for name in masks])
    after = torch.cat([made.get_parameter(name).detach().flatten() for name in masks])
    kept = before.abs().argsort(descending=True)[: len(before) - round(0.7 * len(before))]
    assert set(after.nonzero()[:, 0].tolist()) == set(kept.tolist())
    assert torch.equal(after[kept], before[kept])
    shares = {name: float(mask.float().mean()) for name, mask in masks.items()}
    assert max(shares.values()) > 1.5 * min(shares.values())  # over all together, not of each
    others = set(made.state_dict()) - set(masks)
    assert all(torch.equal(made.state_dict()[name], like.state_dict()[name]) for name in others)


def test_to_prune_nothing_changes_nothing() -> None:
    made, like = tiny.model(), tiny.model()
    assert all(mask.all() for mask in prune(made, 0.0).values())
    assert all(torch.equal(tensor, like.state_dict()[name]) for name, tensor in made.state_dict().items())


def test_the_last_layers_go_and_the_model_is_as_if_it_had_never_had_them(tmp_path: Path) -> None:
    made, like = tiny.model(settings=DEEP), tiny.model(settings=DEEP)
    drop_layers(made, {"text": 2, "decoder": 1})
    assert len(made.encoders["text"].blocks) == 1
    gone = ("encoders.text.blocks.1.", "encoders.text.blocks.2.", "decoder.blocks.1.")
    expected = {name: tensor for name, tensor in like.state_dict().items() if not name.startswith(gone)}
    assert made.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in made.state_dict().items())
    given = made.processor.texts(["a red square"])
    assert not torch.allclose(made.embed("text", *given), like.embed("text", *given), atol=1e-3)
    made.save(tmp_path)
    loaded = MultimodalModel.load(tmp_path)
    assert loaded.settings.encoders["text"]["layers"] == 1
    assert loaded.settings.decoder == {"name": "cross_attention", "layers": 1}
    assert torch.equal(loaded.embed("text", *given), made.embed("text", *given))
    assert loaded.generate({"image": pixels()}) == made.generate({"image": pixels()})


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"text": 3}, "takes 3 of 3 layers of text; leave at least one"),
        ({"decoder": 9}, "takes 9 of 2 layers of decoder"),
        ({"smell": 1}, "names 'smell', which has no layers to drop; there are: image, audio, text, video, decoder"),
    ],
)
def test_layers_that_are_not_there_cannot_go(counts: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match="drop_layers") as told:
        drop_layers(tiny.model(settings=DEEP), counts)
    assert words in str(told.value)


def test_a_network_without_layers_of_ours_has_none_to_drop() -> None:
    encoders = {**tiny.MODEL.encoders, "image": {"name": "histogram", **OPTIONS["histogram"]}}
    del encoders["video"]
    with pytest.raises(ValueError, match="names 'image', which has no layers to drop; there are: "):
        drop_layers(tiny.model(settings=dataclasses.replace(tiny.MODEL, encoders=encoders)), {"image": 1})
