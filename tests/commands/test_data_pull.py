from pathlib import Path

import pytest

from mmcore import remotes
from mmcore.cli import main
from mmcore.workspace import Workspace
from tests.faults import storage


def test_a_pull_brings_the_data_or_names_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = storage.make_project(tmp_path / "project", "../../store", shards={"train": 2})
    remotes.push(Workspace(root))
    monkeypatch.chdir(storage.clone(root, tmp_path / "clone"))
    assert main(["data", "pull"]) == 0
    assert "data/ holds all 3 files of data.dvc, hashed" in capsys.readouterr().out
    assert main(["data", "pull", "--remote", "nowhere"]) == 1
    assert "the remote 'nowhere' cannot be used" in capsys.readouterr().err
