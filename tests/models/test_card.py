"""The card beside a model is about this very model."""

from pathlib import Path

from mmcore.models.card import card
from mmcore.models.compression import to_int8
from mmcore.workspace import write_json
from tests.tiny import model

LINEAGE = {"inputs": {"artifacts/code/finetune@captioning.json": "c" * 64, "artifacts/prepared": "d" * 64}}


def test_a_card_tells_what_the_model_is_and_what_it_was_made_of(tmp_path: Path) -> None:
    made = model()
    made.save(tmp_path)
    write_json(tmp_path / "training.json", {"steps": 70, "validation": {"loss": 1.23456, "accuracy": 81.0}})
    text = card(tmp_path, "birds", "finetune@captioning", LINEAGE)
    assert "# birds · captioning" in text
    assert "Fine-tuned for captioning from the project's pretrained model." in text
    assert f"| modalities | {', '.join(made.settings.encoders)} |" in text
    count = sum(one.numel() for one in made.parameters()) / 1e6
    assert f"| parameters | {count:.2f} M |" in text
    assert f"| weights | {(tmp_path / 'model.safetensors').stat().st_size / 1e6:.2f} MB |" in text
    assert "| steps | 70 |" in text
    assert "| validation | loss 1.235, accuracy 81 |" in text
    assert f"| data | `{'d' * 16}` |" in text
    assert text.startswith("---\nlibrary_name: mmcore\n---\n")


def test_a_card_tells_what_was_compressed_and_counts_each_weight_once(tmp_path: Path) -> None:
    made = model()
    count = sum(one.numel() for one in made.parameters()) / 1e6
    to_int8(made)
    made.compression = {"prune": 0.5, "drop_layers": {}, "int8": True}
    made.save(tmp_path)
    write_json(tmp_path / "training.json", {"steps": 9, "validation": {}})
    text = card(tmp_path, "birds", "finetune@captioning", LINEAGE)
    assert f"| parameters | {count:.2f} M, a share of 0.5 of the layers' weights is zero |" in text
    assert f"| weights | {(tmp_path / 'model.safetensors').stat().st_size / 1e6:.2f} MB, in int8 |" in text


def test_the_card_of_a_pretrained_model_says_that_it_is_a_start(tmp_path: Path) -> None:
    model().save(tmp_path)
    write_json(tmp_path / "training.json", {"steps": 9, "validation": {}})
    text = card(tmp_path, "birds", "pretrain", LINEAGE)
    assert "# birds · pretrained" in text
    assert "not meant to be used by itself" in text
