import argparse
import shutil
from pathlib import Path

import pytest

from mmcore.commands import data_freeze
from mmcore.data import frozen, store
from mmcore.ledger import Ledger
from mmcore.workspace import Workspace
from tests.conftest import ROOT, git


@pytest.fixture
def project(toy: Path) -> Path:
    shutil.copyfile(ROOT / "params.yaml", toy / "params.yaml")
    shutil.rmtree(toy / "data")
    for split in store.SPLITS:
        store.write_shards(toy / "data", split, [store.row(id=split, captions=[{"text": "a", "lang": "en"}])])
    store.write_manifest(toy / "data")
    Ledger(toy).add_data()
    git(toy, "commit", "--quiet", "-am", "data")
    return toy


def freeze(root: Path, *, thaw: bool = False) -> str:
    return data_freeze.run(Workspace(root), argparse.Namespace(thaw=thaw))


def test_freezing_is_a_version_of_the_data_and_thawing_is_the_one_before(project: Path):
    before = (project / "data.dvc").read_bytes()
    assert "fixed at 1 row (" in freeze(project)
    assert (project / "data.dvc").read_bytes() != before
    assert Ledger(project).data_state() == "same"
    assert frozen.read(project / "data") is not None
    git(project, "commit", "--quiet", "-am", "freeze")
    assert "is open" in freeze(project, thaw=True)
    assert (project / "data.dvc").read_bytes() == before


def test_data_that_are_not_what_data_dvc_says_are_not_frozen(project: Path):
    (project / "data" / "stray").write_text("x")
    with pytest.raises(ValueError, match=r"data\.dvc"):
        freeze(project)
