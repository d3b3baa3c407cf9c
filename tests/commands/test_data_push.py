from pathlib import Path

import pytest

from mmcore.cli import main
from mmcore.workspace import run_lock
from tests.faults import storage


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = storage.make_project(tmp_path / "project", "../../store", shards={"train": 2})
    monkeypatch.chdir(root)
    return root


def test_a_push_tells_what_was_sent_and_what_the_remote_holds(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "push", "--remote", "store"]) == 0
    assert "sent 4 objects" in capsys.readouterr().out
    assert main(["data", "push", "--verify"]) == 0
    assert "holds all 4 objects of data.dvc (0.0 MB), read back and hashed" in capsys.readouterr().out


def test_a_push_waits_for_nobody(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with run_lock(project / ".mmcore" / "run.lock", "another run"):
        assert main(["data", "push"]) == 1
    assert "another run" in capsys.readouterr().err
