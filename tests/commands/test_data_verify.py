from pathlib import Path

import pytest

from mmcore import remotes
from mmcore.cli import main
from mmcore.workspace import Workspace
from tests.faults import storage


def test_verify_reads_data_or_with_the_word_remote_what_lies_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = storage.make_project(tmp_path / "project", "../../store", shards={"train": 2})
    remotes.push(Workspace(root))
    monkeypatch.chdir(root)
    assert main(["data", "verify"]) == 0
    assert capsys.readouterr().out.startswith("data/ holds all 3 files")
    for words in (["--remote"], ["--remote", "store"]):
        assert main(["data", "verify", *words]) == 0
        assert capsys.readouterr().out.startswith("the remote 'store'")
    (root / "data" / "train" / "part-00000.parquet").unlink()
    assert main(["data", "verify"]) == 1
    assert "data/train/part-00000.parquet is missing" in capsys.readouterr().err
    assert main(["data", "verify", "--remote"]) == 0
