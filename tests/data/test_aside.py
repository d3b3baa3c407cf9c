import errno
import os
from pathlib import Path

import pytest

from mmcore.data import store
from mmcore.data._aside import Aside


def test_shards_come_over_where_links_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    data = tmp_path / "data"
    data.mkdir()
    with store.ShardWriter(data) as writer:
        writer.add("train", store.row(id="a", image=b"x"))
    store.write_manifest(data)
    monkeypatch.setattr(os, "link", refuse)
    aside = Aside(data, {})
    aside.begin()
    aside.bring(store.shards(data))
    assert [row["id"] for row in store.read_rows(aside.store / "train" / "part-00000.parquet")] == ["a"]
