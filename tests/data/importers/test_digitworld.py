from pathlib import Path

import pytest

from mmcore.data import store
from mmcore.data.importers import ImportOptions
from mmcore.data.importers.digitworld import Importer
from tests.data.conftest import SIZES


def test_importing_gives_the_bytes_that_generating_gives(world: Path, tmp_path: Path) -> None:
    with store.ShardWriter(tmp_path) as writer:
        for sample in Importer(SIZES).read(Path("digitworld"), ImportOptions()):
            assert isinstance(sample, dict)
            writer.add(sample.pop("split"), sample)
    store.write_manifest(tmp_path)
    assert (tmp_path / "manifest.json").read_bytes() == (world / "manifest.json").read_bytes()


def test_a_limit_takes_the_first_rows_of_each_split() -> None:
    samples = list(Importer(SIZES).read(Path("digitworld"), ImportOptions(limit=3)))
    assert [sample["split"] for sample in samples] == ["train"] * 3 + ["validation"] * 3 + ["test"] * 3


def test_there_is_nothing_to_map() -> None:
    with pytest.raises(ValueError, match="DigitWorld has no fields to map"):
        next(iter(Importer().read(Path("digitworld"), ImportOptions(group="x"))))
