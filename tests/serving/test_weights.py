"""Two models of a few numbers each, one tensor of which they share."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmcore.serving import weights
from mmcore.workspace import read_json

SHARED = torch.arange(6, dtype=torch.float32).reshape(2, 3)
MODELS = {
    "first": {"a": SHARED, "b": torch.zeros(2), "odd": torch.tensor([True, False, True])},
    "second": {"c": SHARED.clone(), "b": torch.ones(2, dtype=torch.bfloat16), "scalar": torch.tensor(0.5)},
}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    for task, tensors in MODELS.items():
        (tmp_path / "tasks" / task).mkdir(parents=True)
        save_file(tensors, tmp_path / "tasks" / task / "model.safetensors")
        (tmp_path / "tasks" / task / "config.json").write_text("{}")
    (tmp_path / "release").mkdir()
    weights.store(tmp_path / "tasks", list(MODELS), tmp_path / "release")
    return tmp_path / "release"


def test_what_is_stored_is_loaded(release: Path) -> None:
    loaded = weights.load(release, list(MODELS))
    for task, tensors in MODELS.items():
        assert loaded[task].keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert loaded[task][name].dtype == tensor.dtype
            assert torch.equal(loaded[task][name], tensor)


def test_equal_tensors_are_stored_and_mapped_once(release: Path) -> None:
    assert len(load_file(release / weights.TENSORS)) == 5
    loaded = weights.load(release, list(MODELS))
    assert loaded["first"]["a"] is loaded["second"]["c"]


def test_tensors_of_equal_bytes_and_other_shape_or_type_are_kept_apart() -> None:
    described = [("F32", (2,)), ("I32", (2,)), ("F32", (1, 2))]
    assert len({weights.content_key(kind, shape, bytes(8)) for kind, shape in described}) == 3


def test_the_file_is_plain_safetensors_with_aligned_tensors(release: Path) -> None:
    content = (release / weights.TENSORS).read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert (8 + length) % weights.ALIGNMENT == 0
    widths = {"F32": 4, "BF16": 2, "BOOL": 1}
    for entry in json.loads(content[8 : 8 + length]).values():
        assert entry["data_offsets"][0] % widths[entry["dtype"]] == 0


def test_the_other_files_of_a_model_come_along_and_its_weights_file_does_not(release: Path) -> None:
    assert sorted(path.name for path in (release / "models" / "first").iterdir()) == ["config.json", "index.json"]


def test_the_hash_of_the_models_changes_with_any_weight_and_any_other_file(release: Path) -> None:
    keys = {task: read_json(release / "models" / task / weights.INDEX) for task in MODELS}
    before = weights.hash_models(release, keys)
    assert weights.hash_models(release, dict(reversed(keys.items()))) == before
    changed = {**keys, "first": {**keys["first"], "b": keys["second"]["b"]}}
    assert weights.hash_models(release, changed) != before
    (release / "models" / "first" / "config.json").write_text("{ }")
    assert weights.hash_models(release, keys) != before


def test_a_task_without_weights_is_named(tmp_path: Path) -> None:
    (tmp_path / "tasks" / "first").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="fine-tune the task 'first' first"):
        weights.store(tmp_path / "tasks", ["first"], tmp_path)
