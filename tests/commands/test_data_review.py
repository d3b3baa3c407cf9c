import argparse
import shutil
import sys
from pathlib import Path

import pytest

from mmcore import params
from mmcore.commands import data_review
from mmcore.data.store import read_table
from mmcore.workspace import Workspace
from tests.conftest import ROOT
from tests.quality.conftest import Chain
from tests.quality.conftest import chain as chain  # the fixture


@pytest.fixture
def workspace(tmp_path: Path, chain: Chain) -> Workspace:
    """A project with a finished chain, whose model has learned nothing."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "data").symlink_to(chain.root / "data")
    (tmp_path / "artifacts").mkdir()
    for name in ("prepared", "validated", "tasks"):
        (tmp_path / "artifacts" / name).symlink_to(chain.root / name)
    return Workspace(tmp_path)


def words(**values: object) -> argparse.Namespace:
    return argparse.Namespace(**{"split": None, "limit": 200} | values)


def test_every_caption_with_a_picture_is_scored_and_the_page_is_named(workspace: Workspace):
    lines = data_review.run(workspace, words())
    table = read_table(workspace.artifacts / "review" / "review.parquet")
    assert f"scored {table.num_rows} captions" in lines
    assert "artifacts/review/index.html" in lines
    assert set(table["split"].to_pylist()) == {"train", "validation", "test"}
    assert table["score"].to_pylist() == sorted(table["score"].to_pylist(), reverse=True)


def test_one_split_is_scored_alone_and_the_page_is_as_long_as_asked(workspace: Workspace):
    data_review.run(workspace, words(split=["test"], limit=3))
    folder = workspace.artifacts / "review"
    assert set(read_table(folder / "review.parquet")["split"].to_pylist()) == {"test"}
    assert (folder / "index.html").read_text().count("<article") == 3


def test_a_model_may_need_a_plugin(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "an_encoder_of_ones_own.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    params.change(workspace.params, assignments=["plugins=[an_encoder_of_ones_own]"])
    data_review.run(workspace, words(split=["test"], limit=1))
    assert "an_encoder_of_ones_own" in sys.modules


def test_without_a_trained_model_the_way_to_one_is_named(workspace: Workspace):
    (workspace.artifacts / "tasks").unlink()
    with pytest.raises(FileNotFoundError, match="mmcore run"):
        data_review.run(workspace, words())
