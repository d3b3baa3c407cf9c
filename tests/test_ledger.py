"""The contract with DVC: what the chain relies on, on a project of two stages."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mmcore.ledger import Ledger, check_git
from mmcore.workspace import read_yaml
from tests.conftest import git


def test_a_stage_runs_once_and_is_unchanged_then(toy: Path):
    ledger = Ledger(toy)
    assert [ledger.reproduce("double"), ledger.reproduce("add")] == [True, True]
    assert [ledger.reproduce("double"), ledger.reproduce("add")] == [False, False]
    assert (toy / "artifacts_add").read_text() == "7"


def test_step_by_step_and_dvc_repro_write_the_same_lock(toy: Path):
    ledger = Ledger(toy)
    ledger.reproduce("double")
    ledger.reproduce("add")
    ours = (toy / "dvc.lock").read_bytes()
    (toy / "dvc.lock").unlink()
    subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet", "--no-run-cache"], cwd=toy, check=True)
    assert (toy / "dvc.lock").read_bytes() == ours


def test_nobody_ever_sees_a_part_of_the_lock(toy: Path):
    """Nor does who kills it, then. Many stages, so that writing takes DVC long enough to be looked at."""
    Ledger(toy).reproduce("double")
    lock = read_yaml(toy / "dvc.lock")
    lock["stages"] |= {f"gone{n}": lock["stages"]["double"] for n in range(2000)}
    (toy / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))
    before = (toy / "dvc.lock").read_bytes()
    command = [sys.executable, "-c", "from mmcore.ledger import *; Ledger(Path()).reproduce('add')"]
    worker = subprocess.Popen(command, cwd=toy)
    seen = set()
    while worker.poll() is None:
        seen.add((toy / "dvc.lock").read_bytes())
    assert worker.returncode == 0
    assert seen <= {before, (toy / "dvc.lock").read_bytes()}
    assert "add" in read_yaml(toy / "dvc.lock")["stages"]


def test_a_changed_setting_concerns_its_stage_alone(toy: Path):
    ledger = Ledger(toy)
    ledger.reproduce("double")
    ledger.reproduce("add")
    (toy / "params.yaml").write_text("more: 5\n")
    assert [change.reasons for change in ledger.changes(["double", "add"])] == [[], ["more is modified"]]
    assert [ledger.reproduce("double"), ledger.reproduce("add")] == [False, True]


def test_a_failing_stage_is_an_error_with_its_command(toy: Path):
    (toy / "params.yaml").write_text("less: 1\n")
    ledger = Ledger(toy)
    ledger.reproduce("double")
    with pytest.raises(RuntimeError, match="add"):
        ledger.reproduce("add")


def test_changed_and_missing_data_are_told_apart(toy: Path):
    ledger = Ledger(toy)
    assert ledger.data_state() == "same"
    os.chmod(toy / "data" / "number", 0o644)
    (toy / "data" / "number").unlink()
    (toy / "data" / "number").write_text("4")
    assert ledger.data_state() == "changed"
    (toy / "data" / "number").unlink()
    (toy / "data").rmdir()
    assert ledger.data_state() == "absent"
    ledger.checkout_data()
    assert (toy / "data" / "number").read_text() == "3"


def test_copied_data_count_by_their_content_whatever_the_cache_holds(toy: Path):
    ledger = Ledger(toy)
    shutil.rmtree(toy / ".dvc" / "cache")
    assert ledger.data_state() == "same"
    assert list((toy / ".dvc" / "cache").rglob("*"))
    shutil.rmtree(toy / ".dvc" / "cache")
    (toy / "data" / "number").unlink()
    (toy / "data" / "number").write_text("4")
    recorded = (toy / "data.dvc").read_bytes()
    assert ledger.data_state() == "changed"
    assert (toy / "data.dvc").read_bytes() == recorded


def test_the_cache_lies_where_dvc_keeps_it(toy: Path):
    ledger = Ledger(toy)
    (entry,) = json.loads(ledger.cache().path(ledger.data_hash()).read_bytes())
    assert entry["relpath"] == "number"
    assert ledger.cache().path(entry["md5"]).read_text() == "3"


def test_a_remote_is_found_by_its_name_or_as_the_default(toy: Path, tmp_path: Path):
    ledger = Ledger(toy)
    assert ledger.remote() is None
    with open(toy / ".dvc" / "config", "a") as file:
        file.write(f"['remote \"one\"']\n    url = {tmp_path}/one\n['remote \"far\"']\n    url = ssh://me@host/x\n")
    assert str(ledger.remote("one")) == f"the remote 'one' ({tmp_path}/one)"
    with pytest.raises(LookupError, match=r"'two' cannot be used.*there are: far, one"):
        ledger.remote("two")
    with pytest.raises(LookupError, match=r"'far' cannot be used.*dvc-ssh"):
        ledger.remote("far")
    config = toy / ".dvc" / "config"
    config.write_text(config.read_text().replace("[core]", "[core]\n    remote = one"))
    found = ledger.remote()
    assert found is not None
    assert found.name == "one"


def test_an_experiment_keeps_the_outputs_and_leaves_the_branch_alone(toy: Path, tmp_path: Path):
    ledger = Ledger(toy)
    ledger.reproduce("double")
    ledger.reproduce("add")
    head = git(toy, "rev-parse", "HEAD")
    status = git(toy, "status", "--short")
    commit = ledger.save("first", "promote")
    assert ledger.experiments() == {"first": commit}
    assert git(toy, "rev-parse", "HEAD") == head
    assert git(toy, "status", "--short") == status == "?? dvc.lock\n"
    (toy / "params.yaml").write_text("more: 5\n")
    ledger.reproduce("add")
    ledger.fetch(commit, "artifacts_add", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_text() == "7"
    assert ledger.read(commit, "params.yaml") == "more: 1\n"


def test_a_version_whose_bytes_changed_in_the_cache_is_not_handed_out(toy: Path, tmp_path: Path):
    ledger = Ledger(toy)
    ledger.fetch("HEAD", "data", tmp_path / "whole")
    ledger.fetch("HEAD", "dvc.yaml", tmp_path / "dvc.yaml")
    assert (tmp_path / "whole" / "number").read_text() == "3"
    (entry,) = json.loads(ledger.cache().path(ledger.data_hash()).read_bytes())
    rotten = ledger.cache().path(entry["md5"])
    rotten.chmod(0o644)
    rotten.write_text("4")
    for path in ("data", "data/number"):
        with pytest.raises(ValueError, match=r"data/number of HEAD holds other bytes"):
            ledger.fetch("HEAD", path, tmp_path / "copy")
        assert not (tmp_path / "copy").exists()


def test_a_folder_without_git_or_commit_is_told_what_to_do(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"is no git repository.*git init"):
        check_git(tmp_path)
    git(tmp_path, "init", "--quiet")
    with pytest.raises(FileNotFoundError, match=r"has no commit yet.*git commit"):
        check_git(tmp_path)


def test_a_revision_that_does_not_exist_is_named(toy: Path):
    with pytest.raises(LookupError, match="no commit, tag, run or release 'v9'"):
        Ledger(toy).read("v9", "params.yaml")
