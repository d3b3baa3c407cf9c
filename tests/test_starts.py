"""What a pretraining may go on from; the champion is tried in test_end_to_end.py."""

import dataclasses
from pathlib import Path

import pytest

from mmcore import params, starts
from mmcore.settings import Settings
from mmcore.workspace import Workspace
from tests.conftest import ROOT
from tests.models.test_saved import COMMIT, keep
from tests.tiny import model


def started(init: str) -> Settings:
    read = params.load(ROOT / "params.yaml")
    return dataclasses.replace(read, pretrain=dataclasses.replace(read.pretrain, init=init))


def test_a_start_is_a_folder_of_the_project_or_a_model_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    workspace = Workspace(tmp_path / "project")
    assert starts.find(workspace, started("scratch")) is None
    with pytest.raises(ValueError, match=r"(?s)pretrain\.init is 'models/old', and there is no folder.*hf download"):
        starts.find(workspace, started("models/old"))
    hub = keep(tmp_path / "cache", "models/old", COMMIT)
    assert starts.find(workspace, started("models/old")) == hub
    folder = workspace.root / "models" / "old"
    folder.mkdir(parents=True)
    model().save(folder)
    assert starts.find(workspace, started("models/old")) == folder
