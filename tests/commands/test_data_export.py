import shutil
from argparse import Namespace
from pathlib import Path

import pytest

from mmcore.commands.data_export import run
from mmcore.data import store
from mmcore.workspace import Workspace
from tests.conftest import ROOT


def workspace(root: Path) -> Workspace:
    shutil.copyfile(ROOT / "params.yaml", root / "params.yaml")
    for split, ids in (("train", "ab"), ("test", "c")):
        store.write_shards(root / "data", split, [store.row(id=id, summary=id) for id in ids])
    store.write_manifest(root / "data")
    return Workspace(root)


def test_all_splits_are_written_and_counted(tmp_path: Path) -> None:
    words = Namespace(destination=str(tmp_path / "out"), format="webdataset", split=None)
    assert run(workspace(tmp_path), words) == (
        "exported 2 train, 0 validation, 1 test rows\n"
        f"read them back: mmcore data import {tmp_path}/out --format webdataset"
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["test-000000.tar", "train-000000.tar"]


def test_a_split_alone_is_written_and_an_empty_one_refused(tmp_path: Path) -> None:
    words = Namespace(destination=str(tmp_path / "out"), format="webdataset", split=["test"])
    assert run(workspace(tmp_path), words).startswith("exported 1 test rows")
    empty = Namespace(destination=str(tmp_path / "other"), format="webdataset", split=["validation"])
    with pytest.raises(ValueError, match="holds no rows of validation"):
        run(Workspace(tmp_path), empty)
