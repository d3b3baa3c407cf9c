import dataclasses

import pytest
import torch
import torch.nn.functional as F
from transformers import ViTConfig, ViTModel

from mmcore.models.encoders import ENCODERS
from mmcore.models.encoders.vit import some, stretched
from tests.models.test_encoders import GIVEN, OPTIONS, build, inputs
from tests.tiny import MODEL, PREPARE, model

IMAGE = {"name": "vit", **OPTIONS["vit"]}


def with_image(**options):
    return dataclasses.replace(MODEL, encoders={**MODEL.encoders, "image": {**IMAGE, **options}})


def test_a_token_is_a_projected_patch_in_reading_order():
    encoder = build("vit")
    values, _ = inputs("vit")
    grid = encoder.grid(values)
    patch = (values[1, 4:8, 8:12].float() / 127.5 - 1).permute(2, 0, 1)
    own = F.linear(patch.flatten(), encoder.patches.weight.flatten(1), encoder.patches.bias)
    torch.testing.assert_close(grid.flatten(2)[1, :, 6], own)


def test_positions_are_stretched_as_transformers_does():
    place = torch.randn(16, 8)
    reference = ViTModel(ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
                                   image_size=16, patch_size=4), add_pooling_layer=False)  # fmt: skip
    reference.embeddings.position_embeddings.data = torch.cat([torch.zeros(1, 8), place])[None]
    expected = reference.embeddings.interpolate_pos_encoding(torch.zeros(1, 37, 8), 24, 24)
    torch.testing.assert_close(stretched(place, 6), expected[0, 1:])
    assert stretched(place, 4) is place


def test_images_of_another_size_are_seen_with_stretched_positions():
    tokens, mask = build("vit")(torch.zeros(2, 24, 24, 3, dtype=torch.uint8), torch.tensor([True, False]))
    assert tokens.shape == (2, 36, 16)
    assert mask.any(1).tolist() == [True, False]


def test_patches_are_left_out_in_training_only():
    encoder = build("vit")
    values, mask = inputs("vit")
    assert encoder(values, mask)[0].shape == (3, 16, 16)
    assert encoder.train()(values, mask)[0].shape == (3, 12, 16)


def test_each_sample_keeps_patches_of_its_own():
    tokens = torch.arange(16.0).repeat(8, 1)[..., None]
    kept = some(tokens, 0.5)[..., 0]
    assert all(len(set(row)) == 8 for row in kept.tolist())
    assert len({tuple(sorted(row)) for row in kept.tolist()}) > 1


def test_pretrained_weights_come_from_a_saved_model_and_fit_another_size(tmp_path):
    made = model(settings=with_image())
    made.save(tmp_path)
    adopted = model(seed=1, settings=with_image(pretrained=str(tmp_path)))
    values, mask = inputs("vit")
    torch.testing.assert_close(adopted.encode("image", values, mask), made.encode("image", values, mask))
    larger = dataclasses.replace(PREPARE, image_size=24)
    encoder = ENCODERS.build({**IMAGE, "pretrained": str(tmp_path)}, **{**GIVEN, "prepare": larger})
    torch.testing.assert_close(encoder.place.data, stretched(made.encoders["image"].place.data, 6))


def test_a_model_with_pretrained_weights_loads_without_their_folder(tmp_path):
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    model(settings=with_image()).save(tmp_path / "first")
    made = model(settings=with_image(pretrained=str(tmp_path / "first")))
    made.save(tmp_path / "second")
    (tmp_path / "first" / "model.safetensors").unlink()
    loaded = type(made).load(tmp_path / "second")
    values, mask = inputs("vit")
    torch.testing.assert_close(loaded.encode("image", values, mask), made.encode("image", values, mask))


def test_weights_that_are_missing_or_do_not_fit_are_an_error_never_a_random_start(tmp_path):
    with pytest.raises(FileNotFoundError, match="takes the folder of a saved model"):
        build("vit", pretrained=str(tmp_path))
    model().save(tmp_path)  # its image encoder is a conv_vit
    with pytest.raises(ValueError, match="does not fit this vit"):
        build("vit", pretrained=str(tmp_path))


@pytest.mark.parametrize("options", [{"patch": 5}, {"patch_dropout": 1.0}, {"train": "some"}])
def test_options_that_make_no_sense_are_refused_by_name(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        build("vit", **options)
