import pytest
import torch
from transformers import AutoConfig, AutoModel

from mmcore.models.hub import HubModel
from mmcore.models.multimodal import MultimodalModel
from tests.models.test_encoders import inputs
from tests.tiny import model

NAMES = {"image": "conv_vit", "text": "text_transformer", "audio": "log_mel", "video": "frames"}
INPUTS = {modality: inputs(name) for modality, name in NAMES.items()}


def test_a_saved_folder_loads_as_an_auto_model_with_equal_outputs(tmp_path):
    model().save(tmp_path)
    loaded, reference = AutoModel.from_pretrained(tmp_path), MultimodalModel.load(tmp_path)
    assert isinstance(loaded, HubModel)
    assert not loaded.training
    with torch.no_grad():
        found = loaded(**INPUTS)
        for modality, pair in INPUTS.items():
            assert torch.equal(found[modality], reference.embed(modality, *pair))
            assert torch.equal(loaded.embed(modality, *pair), found[modality])


def test_it_saves_the_folder_that_it_was_loaded_from(tmp_path):
    (tmp_path / "a").mkdir()
    model().save(tmp_path / "a")
    AutoModel.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_its_configuration_says_what_the_model_is_made_of(tmp_path):
    model().save(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert config.model["encoders"]["image"]["name"] == "conv_vit"
    assert config.prepare["image_size"] == 16


def test_it_loads_in_the_precision_that_is_asked_for(tmp_path):
    model().save(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert loaded.dtype == torch.bfloat16
    found, exact = loaded.embed("image", *INPUTS["image"]), model().embed("image", *INPUTS["image"])
    torch.testing.assert_close(found.float(), exact, rtol=0.05, atol=0.05)


def test_an_option_that_would_be_ignored_is_refused(tmp_path):
    model().save(tmp_path)
    with pytest.raises(TypeError, match="without the option 'device_map'"):
        AutoModel.from_pretrained(tmp_path, device_map="cpu")
