"""What surrounds every stage; the chain itself is tried in test_end_to_end.py."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mmcore import params, stages
from mmcore.data import store
from mmcore.settings import Settings
from mmcore.workspace import Workspace, read_json, write_json
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


def test_a_stage_waits_for_its_gpu_says_who_has_it_and_ends_when_it_is_told_to(
    workspace: Workspace, tmp_path: Path
) -> None:
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, workspace.root)
    params.change(workspace.params, assignments=["train.device=cuda", "train.devices=2"])
    write_json(workspace.code("pretrain"), {"sha256": "0"})
    write_json(workspace.prepared / "lineage.json", {})
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "MIG-1,MIG-2", "MMCORE_LEASES": str(tmp_path / "leases"), "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    hold = "import sys; from mmcore import leases; leases.lease(['MIG-1'], 1, 'me'); print(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    holder = subprocess.Popen([sys.executable, "-c", hold], env=environment, **pipes)
    holder.stdout.readline()
    words = [sys.executable, "-m", "mmcore", "stage", "pretrain"]
    stage = subprocess.Popen(words, cwd=workspace.root, env=environment, **pipes)
    told = stage.stderr.readline()
    stage.send_signal(signal.SIGTERM)
    stage.communicate()
    holder.communicate("\n")
    assert "waiting for 2 of 2 GPUs: MIG-1 is held by " in told
    status = read_json(workspace.logs("pretrain") / "status.json")
    assert status == {
        "state": "interrupted", "reason": "stopped while waiting for GPUs", "error": "KeyboardInterrupt"
    }  # fmt: skip
    assert not workspace.pretrained.exists()


def test_a_training_may_go_on_with_another_number_of_devices_and_with_no_other_setting(tmp_path):
    workspace, lineage = Workspace(tmp_path), {"settings": {"train.devices": 2, "train.shard": True, "seed": 1}}
    one = {"settings": {"train.devices": 1, "train.shard": False, "seed": 1}}
    assert stages._checkpoints(workspace, "pretrain", lineage) == stages._checkpoints(workspace, "pretrain", one)
    other = {"settings": {**one["settings"], "seed": 2}}
    assert stages._checkpoints(workspace, "pretrain", other) != stages._checkpoints(workspace, "pretrain", one)
