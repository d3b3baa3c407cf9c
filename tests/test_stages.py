"""What surrounds every stage; the chain itself is tried in test_end_to_end.py."""

import dataclasses
import shutil
import sys
from pathlib import Path

import pytest

from mmcore import params, stages
from mmcore.data import store
from mmcore.settings import Settings
from mmcore.workspace import Workspace, write_json
from tests.conftest import ROOT

PLUGIN = """
from mmcore.models.fusion import FUSIONS, Concat

FUSIONS.add("own_fusion")(Concat)
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A project whose folder is not on the Python path, as for the command `mmcore`."""
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    store.write_shards(tmp_path / "data", "train", [store.row(id="a", captions=[{"text": "a dog", "lang": "en"}])])
    store.write_manifest(tmp_path / "data")
    return Workspace(tmp_path)


def settings(*plugins: str) -> Settings:
    read = params.load(ROOT / "params.yaml")
    model = dataclasses.replace(read.model, fusion={"name": "own_fusion"})
    return dataclasses.replace(read, tasks=[], plugins=list(plugins), model=model)


def test_what_a_plugin_in_the_projects_folder_adds_can_be_built_before_a_run(workspace: Workspace) -> None:
    (workspace.root / "own_parts.py").write_text(PLUGIN)
    assert "a model of" in stages.rehearse(workspace, settings("own_parts"))


def test_a_plugin_that_is_not_there_is_named_with_its_place(workspace: Workspace) -> None:
    with pytest.raises(LookupError, match=f"the plugin 'no_parts.mine' cannot be found; put it into {workspace.root}"):
        stages.rehearse(workspace, settings("no_parts.mine"))


def test_a_changed_decision_is_another_lineage(workspace: Workspace) -> None:
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, workspace.root)
    shutil.copytree(ROOT / "validation", workspace.root / "validation")
    write_json(workspace.code("validate"), {"sha256": "0"})
    before = stages._lineage(workspace, "validate", "", None)
    with open(workspace.root / "validation" / "decisions.jsonl", "a", encoding="utf-8") as file:
        file.write("{}\n")
    after = stages._lineage(workspace, "validate", "", None)
    assert before["inputs"].keys() == after["inputs"].keys() >= {"validation", "data"}
    assert before != after


def test_another_model_to_start_from_is_another_lineage_whatever_its_name(workspace: Workspace) -> None:
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, workspace.root)
    write_json(workspace.code("pretrain"), {"sha256": "0"})
    start = workspace.root / "start"
    start.mkdir()
    found = []
    for weights, words in ((b"weights", b"words"), (b"others", b"words"), (b"others", b"more")):
        (start / "model.safetensors").write_bytes(weights)
        (start / "tokenizer.json").write_bytes(words)
        found.append(stages._lineage(workspace, "pretrain", "", start)["inputs"])
    without = stages._lineage(workspace, "pretrain", "", None)["inputs"]
    assert found[0].keys() - without.keys() == {"start", "start_tokenizer"}
    assert len({str(one) for one in found}) == 3


def test_a_start_that_cannot_be_had_is_named_before_a_run(workspace: Workspace) -> None:
    (workspace.root / "own_parts.py").write_text(PLUGIN)
    read = settings("own_parts")
    lost = dataclasses.replace(read, pretrain=dataclasses.replace(read.pretrain, init="models"))
    with pytest.raises(ValueError, match=r"pretrain\.init is 'models', and there is no folder 'models' in "):
        stages.rehearse(workspace, lost)
