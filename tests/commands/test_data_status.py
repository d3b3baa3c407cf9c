import shutil
from pathlib import Path

import pytest

from mmcore import remotes
from mmcore.cli import main
from mmcore.commands.data_status import status
from mmcore.workspace import Workspace
from tests.faults import storage


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return storage.make_project(tmp_path / "project", "../../store", shards={"train": 2})


def stands(root: Path) -> tuple[list[tuple[int, str]], str]:
    found = status(Workspace(root))
    return [(place.count, place.state) for place in found.places], found.advice


def test_the_table_tells_where_the_data_lie_and_what_to_type(project: Path, tmp_path: Path) -> None:
    places, advice = stands(project)
    assert places == [(3, "as data.dvc says"), (4, "complete"), (0, "4 of 4 missing")]
    assert advice == "mmcore data push --remote store"
    remotes.push(Workspace(project))
    assert stands(project)[1].startswith("nothing")
    clone = storage.clone(project, tmp_path / "clone")
    places, advice = stands(clone)
    assert (places[0], places[2]) == ((0, "absent"), (4, "complete"))
    assert advice == "mmcore data pull"


def test_a_short_object_and_changed_data_are_counted(project: Path, tmp_path: Path) -> None:
    remotes.push(Workspace(project))
    victim = next((tmp_path / "store").rglob("*.dir"))
    victim.chmod(0o644)
    victim.write_bytes(b"")
    assert stands(project)[0][2] == (4, "1 of another size")
    assert stands(project)[1].startswith("mmcore data push")
    (project / "data" / "more").write_text("more")
    assert stands(project)[0][0] == (4, "not what data.dvc says")
    assert "mmcore data verify" in stands(project)[1]


def test_where_nothing_is_known_the_way_out_is_told(project: Path, tmp_path: Path) -> None:
    clone = storage.clone(project, tmp_path / "clone")
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    places, advice = stands(clone)
    assert places == [(0, "absent")]
    assert "mmcore data push" in advice


def test_the_lines_are_aligned(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    assert main(["data", "status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len({line.index(" files") for line in lines[:3]}) == 1
    assert lines[3].startswith("next: mmcore data push")
