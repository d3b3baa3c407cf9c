import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmcore.models.bottlenecks import PARTS
from mmcore.models.multimodal import MultimodalModel
from mmcore.serving.predictor import _build
from tests.tiny import model, picture

OPTIONS: dict[str, Any] = {"size": 3, "among": ["text", "image", "video"]}


def embedded(made: MultimodalModel) -> dict[str, Tensor]:
    pictures = torch.stack([torch.from_numpy(picture("red", "left")), torch.from_numpy(picture("blue", "right"))])
    here = torch.ones(2, dtype=torch.bool)
    inputs = {
        "text": made.processor.texts(["a red square", "blue"]), "image": (pictures, here),
        "video": (torch.stack([pictures, pictures.flip(0)]), here),
        "audio": (torch.linspace(0, 1, 2 * 9 * 8).reshape(2, 9, 8), torch.ones(2, 9, dtype=torch.bool)),
    }  # fmt: skip
    return {name: made.embed(name, *pair).detach() for name, pair in inputs.items()}


def adapted(**changes: Any) -> MultimodalModel:
    made = model()
    made.add_bottlenecks({**OPTIONS, **changes})
    return made


def stirred(**changes: Any) -> MultimodalModel:
    """A model whose bottlenecks have learned something."""
    made = adapted(**changes)
    assert made.bottlenecks is not None
    torch.manual_seed(3)
    for layer in made.bottlenecks.up:
        for part in PARTS:
            torch.nn.init.normal_(layer[part].weight)
    return made


def test_a_model_with_fresh_bottlenecks_says_bit_for_bit_what_it_said() -> None:
    before, after = embedded(model()), embedded(adapted())
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_they_learn_moves_the_modalities_among_them_and_no_other() -> None:
    before, after = embedded(model()), embedded(stirred())
    assert {name for name in before if not torch.allclose(before[name], after[name], atol=1e-3)} == {*OPTIONS["among"]}


@pytest.mark.parametrize("part", PARTS)
def test_a_bottleneck_adds_the_formula_to_its_part_of_the_layer(part: str) -> None:
    made, plain = stirred(), model()
    tokens_BTD = torch.randn(2, 5, made.settings.width)
    block: Any = made.encoders["text"].blocks[0]
    assert made.bottlenecks is not None
    own: Any = made.bottlenecks.own["text"][0][part].down
    up: Any = made.bottlenecks.up[0][part]
    # The other part as it is, to see this one alone.
    block.after = tuple(
        layer if name == part else (lambda said: said) for name, layer in zip(PARTS, block.after, strict=True)
    )
    like: Any = plain.encoders["text"].blocks[0]
    attended = like.attention(like.norm_attention(tokens_BTD))
    grown = lambda said: said + torch.nn.functional.gelu(said @ own.weight.T + own.bias) @ up.weight.T + up.bias  # noqa: E731
    tokens = tokens_BTD + (grown(attended) if part == "attention" else attended)
    fed = like.feed(like.norm_feed(tokens))
    expected = tokens + (grown(fed) if part == "feed" else fed)
    assert torch.allclose(block(tokens_BTD), expected, atol=1e-5)


def test_the_way_up_is_one_for_all_modalities_from_the_last_layer_on_and_the_way_down_is_each_ones_own() -> None:
    deeper = {"text": {"name": "text_transformer", "layers": 3}}
    settings = model().settings
    made = model(settings=type(settings)(**{**vars(settings), "encoders": {**settings.encoders, **deeper}}))
    made.add_bottlenecks(OPTIONS)
    bottlenecks: Any = made.bottlenecks
    text, image = (made.encoders[name].blocks for name in ("text", "image"))
    assert len(bottlenecks.up) == len(text) == 3
    for part in range(2):
        assert text[-1].after[part]._up[0] is image[-1].after[part]._up[0]
        assert text[-2].after[part]._up[0] is not image[-1].after[part]._up[0]
        assert text[-1].after[part].down is not image[-1].after[part].down
    names = [name for name, _ in made.named_parameters() if name.startswith("bottlenecks.")]
    assert sum(".up." in f".{name}" for name in names) == 3 * 2 * 2
    assert sum(".down." in name for name in names) == (3 + 1 + 1) * 2 * 2


def test_a_saved_model_has_them_and_so_has_what_is_served_and_copied(tmp_path: Path) -> None:
    made = stirred()
    made.save(tmp_path)
    expected = embedded(made)
    loaded = MultimodalModel.load(tmp_path)
    assert loaded.bottleneck_options == OPTIONS
    duplicate = copy.deepcopy(made)
    assert made.bottlenecks is not None
    torch.nn.init.zeros_(made.bottlenecks.up[0]["feed"].weight)  # what is copied is a copy
    for same in (loaded, _build(tmp_path, dict(loaded.state_dict())), duplicate):
        found = embedded(same)
        assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size": 0}, "size of bottleneck is 0"),
        ({"among": ["text"]}, "name two or more different modalities"),
        ({"among": ["text", "text"]}, "name two or more different modalities"),
        ({"among": ["text", "smell"]}, "among 'smell', and the model has encoders for "),
    ],
)
def test_options_that_make_none_are_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        adapted(**changes)


def test_an_encoder_without_layers_of_ours_is_named() -> None:
    settings = model().settings
    encoders = {"text": {"name": "text_transformer", "layers": 1}, "image": {"name": "histogram", "bins": 4}}
    plain = model(settings=type(settings)(**{**vars(settings), "encoders": encoders}))
    with pytest.raises(ValueError, match="encoder of 'image' has no transformer layer for a bottleneck"):
        plain.add_bottlenecks({**OPTIONS, "among": ["text", "image"]})


def test_bottlenecks_go_on_where_they_are_alike_and_are_named_where_not() -> None:
    made = stirred()
    before = embedded(made)["text"]
    made.add_bottlenecks(OPTIONS)
    assert torch.equal(embedded(made)["text"], before)
    with pytest.raises(ValueError, match="has bottlenecks already, made with"):
        made.add_bottlenecks({**OPTIONS, "size": 4})
