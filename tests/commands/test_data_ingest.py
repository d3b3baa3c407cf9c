import argparse
import shutil
from pathlib import Path

import pytest

from mmcore import params
from mmcore.commands import data_ingest
from mmcore.data.importers import ImportOptions
from mmcore.data.importing import import_data
from mmcore.ledger import Ledger
from mmcore.workspace import Workspace
from tests.conftest import ROOT, git
from tests.data.test_ingest import add


@pytest.fixture
def project(toy: Path) -> Path:
    shutil.copyfile(ROOT / "params.yaml", toy / "params.yaml")
    add(toy / "inbox", *range(10))
    import_data(toy / "inbox", toy / "data", format="imagefolder", options=ImportOptions(), replace=True)
    Ledger(toy).add_data()
    params.change(toy / "params.yaml", assignments=["data.source=inbox", "data.format=imagefolder"])
    git(toy, "commit", "--quiet", "-am", "data")
    return toy


def ingest(root: Path, *, dry_run: bool = False) -> str:
    return data_ingest.run(Workspace(root), argparse.Namespace(dry_run=dry_run))


def test_new_rows_change_data_and_data_dvc_where_they_stand(project: Path):
    add(project / "inbox", 10, 11)
    before = (project / "data.dvc").read_bytes()
    words = ingest(project)
    assert words.startswith("inbox: 2 new rows (")
    assert "git commit" in words
    assert (project / "data.dvc").read_bytes() != before
    assert Ledger(project).data_state() == "same"
    assert ingest(project) == "inbox: nothing new"


def test_a_dry_run_changes_nothing(project: Path):
    add(project / "inbox", 10)
    before = (project / "data.dvc").read_bytes()
    assert ingest(project, dry_run=True).endswith("nothing was changed (--dry-run)")
    assert (project / "data.dvc").read_bytes() == before
    assert Ledger(project).data_state() == "same"
