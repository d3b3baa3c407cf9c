import dataclasses
import os
import random
import shutil
from pathlib import Path

import pytest

from mmcore import params, remotes
from mmcore.project import ensure_data, machine
from mmcore.settings import Settings
from mmcore.workspace import Workspace
from tests.conftest import ROOT
from tests.faults import storage


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of imported data whose remote holds them."""
    root = storage.make_project(tmp_path / "project", "../../store", shards={"train": 2})
    remotes.push(Workspace(root))
    return root


def settings_of(root: Path) -> Settings:
    settings = params.load(root / "params.yaml")
    return dataclasses.replace(settings, data=dataclasses.replace(settings.data, source=None))


def ensure(root: Path) -> str:
    return ensure_data(Workspace(root), settings_of(root))


def test_data_that_are_there_are_unchanged_and_those_that_are_not_are_fetched(project: Path, tmp_path: Path) -> None:
    assert ensure(project) == "unchanged"
    clone = storage.clone(project, tmp_path / "clone")
    assert "data/ holds all 3 files" in ensure(clone)
    assert storage.contents(clone) == storage.contents(project)


def test_a_damaged_remote_stops_a_run_before_its_first_stage(project: Path, tmp_path: Path) -> None:
    victim = next(path for path in (tmp_path / "store").rglob("*") if path.is_file() and path.suffix != ".dir")
    storage.zero(victim, victim, random.Random(1))
    with pytest.raises(ValueError, match="is empty"):
        ensure(storage.clone(project, tmp_path / "clone"))
    assert not (tmp_path / "clone" / "data").exists()


def test_imported_data_that_are_nowhere_stop_a_run_and_are_not_replaced(project: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "store")
    clone = storage.clone(project, tmp_path / "clone")
    with pytest.raises(ValueError, match="the list of the files of data/ is missing on the remote"):
        ensure(clone)
    assert not (clone / "data").exists()


def test_changed_data_stop_a_run(project: Path) -> None:
    (project / "data" / "train" / "more").write_text("more")
    with pytest.raises(ValueError, match=r"data/ is not what data\.dvc names.*mmcore data pull"):
        ensure(project)


def test_a_manifest_whose_bytes_changed_behind_its_time_stops_a_run(project: Path) -> None:
    manifest = project / "data" / "manifest.json"
    status = manifest.stat()
    manifest.chmod(0o644)
    with open(manifest, "r+b") as file:
        content = file.read()
        file.seek(0)
        file.write(content.replace(b'"rows": 4', b'"rows": 5'))
    os.utime(manifest, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(ValueError, match=r"data/manifest\.json holds other bytes"):
        ensure(project)


def test_a_hidden_gpu_is_not_the_machine_that_a_run_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'NVIDIA H200, 143771 MiB'\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert "CPU" in machine(params.load(ROOT / "params.yaml")).device
