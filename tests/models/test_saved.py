import re
from pathlib import Path

import pytest

from mmcore.models import saved
from mmcore.models.hub import HubModel
from mmcore.models.multimodal import MultimodalModel
from mmcore.workspace import MODEL_FILES
from tests.tiny import model

COMMIT, LATER = "a" * 40, "b" * 40


def keep(cache: Path, hub_id: str, commit: str, *, seed: int = 0, branch: str | None = "main") -> Path:
    """Lay a saved model into a cache of the hub, as a download does; returns its folder."""
    place = cache / f"models--{hub_id.replace('/', '--')}"
    folder = place / "snapshots" / commit
    folder.mkdir(parents=True)
    model(seed=seed).save(folder)
    if branch is not None:
        (place / "refs").mkdir(exist_ok=True)
        (place / "refs" / branch).write_text(commit)
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty local cache of the hub, and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_hub_id_is_found_in_the_local_cache_by_branch_and_by_commit(cache: Path, tmp_path: Path) -> None:
    first = keep(cache, "lab/seer", COMMIT)
    assert saved.find("lab/seer", tmp_path) == first
    later = keep(cache, "lab/seer", LATER, seed=1)  # the branch moves on
    assert saved.find("lab/seer", tmp_path) == later
    assert saved.find(f"lab/seer@{COMMIT}", tmp_path) == first
    MultimodalModel.load(saved.find("lab/seer", tmp_path))
    assert isinstance(HubModel.from_pretrained("lab/seer", revision=COMMIT), HubModel)


def test_a_model_that_is_not_in_the_cache_is_named_with_the_command_that_fetches_it(
    cache: Path, tmp_path: Path
) -> None:
    keep(cache, "lab/seer", COMMIT)
    for name, revision in (("lab/other", ""), ("lab/seer", "v2"), ("lab/seer", LATER)):
        command = f"hf download {name} config.json model.safetensors tokenizer.json"
        command += f" --revision {revision}" if revision else ""
        with pytest.raises(FileNotFoundError, match=re.escape(command) + "$") as error:
            saved.find(f"{name}@{revision}" if revision else name, tmp_path)
        assert f"the model '{name}' can neither be downloaded nor found in the local cache" in str(error.value)


@pytest.mark.parametrize("lost", MODEL_FILES)
def test_a_folder_without_a_whole_model_is_named_with_what_it_lacks(cache: Path, tmp_path: Path, lost: str) -> None:
    (tmp_path / "own").mkdir()
    model().save(tmp_path / "own")
    assert saved.find("own", tmp_path) == tmp_path / "own"
    (tmp_path / "own" / lost).unlink()
    with pytest.raises(FileNotFoundError, match=rf"own holds no saved model: {re.escape(lost)} is missing"):
        saved.find("own", tmp_path)
    (keep(cache, "lab/seer", COMMIT) / lost).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{re.escape(lost)} is missing"):
        saved.find("lab/seer", tmp_path)


def test_a_folder_comes_before_the_hub_and_a_plain_word_is_no_id(cache: Path, tmp_path: Path) -> None:
    keep(cache, "lab/seer", COMMIT)
    (tmp_path / "lab" / "seer").mkdir(parents=True)
    model().save(tmp_path / "lab" / "seer")
    assert saved.find("lab/seer", tmp_path) == tmp_path / "lab" / "seer"
    with pytest.raises(FileNotFoundError, match=r"there is no folder 'champoin' in \S+$"):
        saved.find("champoin", tmp_path)
