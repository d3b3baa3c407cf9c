import shutil
from pathlib import Path

import pytest

from mmcore.cli import main
from mmcore.serving import requests
from mmcore.serving.requests import Kept
from tests.conftest import ROOT


@pytest.fixture
def folder(toy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a project keeps its requests: there are two."""
    shutil.copyfile(ROOT / "params.yaml", toy / "params.yaml")
    monkeypatch.chdir(toy)
    monkeypatch.delenv(requests.FOLDER, raising=False)
    folder = toy / ".mmcore" / "requests"
    for id, probability in (("aa", 0.5), ("bb", 0.25)):
        one = Kept(
            id, "mood", "sentiment", "happy", probability, {"happy": probability, "sad": 1 - probability}, "9c1f",
            "2030-01-02T03:04:05+00:00", {"transcript": f"well, {id}\x1b[2J"}, {},
        )  # fmt: skip
        requests.keep(folder, one, {}, most=10, most_bytes=10_000)
    return folder


def test_the_least_sure_come_first_and_one_is_shown_with_what_was_sent(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "requests", "list"]) == 0
    assert [line[:8] for line in capsys.readouterr().out.splitlines()[:2]] == ["bb  0.25", "aa  0.50"]
    assert main(["data", "requests", "show", "aa"]) == 0
    assert "transcript  well, aa\\x1b[2J\n" in capsys.readouterr().out  # what a terminal obeys is no more than shown
    assert main(["data", "requests", "show", "cc"]) == 1
    assert "no request 'cc' is kept" in capsys.readouterr().err


def test_while_a_run_is_at_work_nothing_is_accepted_and_nothing_lost(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mmcore.workspace import run_lock

    with run_lock(folder.parent / "run.lock", "another run"):
        assert main(["data", "requests", "accept", "aa", "--answer", "sad"]) == 1
    assert "is at work in this folder" in capsys.readouterr().err
    assert len(requests.kept(folder)) == 2


def test_rejected_ones_are_removed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "requests", "reject", "aa", "cc"]) == 1
    assert len(requests.kept(folder)) == 2
    assert main(["data", "requests", "reject", "aa", "bb"]) == 0
    assert capsys.readouterr().out == "removed 2 requests\n"
    assert main(["data", "requests", "list"]) == 0
    assert "no request is kept; with serve.ask_below" in capsys.readouterr().out
