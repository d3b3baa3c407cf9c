from pathlib import Path

import pytest

from mmcore.data import frozen, store
from mmcore.data.frozen import Placement
from mmcore.data.importers import Refused


def write(root: Path, **rows: list[tuple[str, str]]) -> Path:
    """A store with (id, group) rows by split."""
    for split, pairs in rows.items():
        made = [store.row(id=id, group=group, captions=[{"text": id, "lang": "en"}]) for id, group in pairs]
        store.write_shards(root, split, made)
    store.write_manifest(root)
    return root


def group_of(split: str, number: int = 0) -> str:
    """A group key that falls into `split` by its hash."""
    return [name for name in map("group-{}".format, range(400)) if store.split_of(name) == split][number]


def placed(root: Path, group: str, stated: str | None = None) -> str | Refused:
    return Placement(root).place({"id": "new", "group": group}, stated)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path, train=[("a", "shop"), ("b", group_of("train"))], validation=[("c", "yard")],
                 test=[("d", group_of("test")), ("e", "barn")])  # fmt: skip


def test_while_the_test_split_is_open_a_row_goes_where_its_group_lies_or_falls(root: Path):
    assert placed(root, group_of("test")) == "test"
    assert placed(root, group_of("test", 1)) == "test"
    assert placed(root, group_of("validation")) == "validation"
    for group, split in (("shop", "train"), ("yard", "validation"), ("barn", "test")):
        assert placed(root, group) == split


def test_a_split_that_the_source_states_counts(root: Path):
    assert placed(root, "shop", "validation") == "validation"


def test_nothing_falls_into_a_frozen_test_split(root: Path):
    frozen.freeze(root)
    places = [placed(root, group_of("test", number)) for number in range(1, 30)]
    assert set(places) == {"train", "validation"}
    assert places.count("train") > places.count("validation")
    assert places == [placed(root, group_of("test", number)) for number in range(1, 30)]
    assert placed(root, "fresh", "test") in ("train", "validation")


def test_a_row_whose_group_is_in_the_frozen_split_is_refused_whatever_it_states(root: Path):
    frozen.freeze(root)
    for stated in (None, "train", "test"):
        refused = placed(root, "barn", stated)
        assert isinstance(refused, Refused)
        assert refused.problem == "frozen_group"
        assert "barn" in refused.detail


def test_a_stated_test_row_goes_where_its_group_lies(root: Path):
    frozen.freeze(root)
    assert placed(root, "yard", "test") == "validation"


@pytest.mark.parametrize("falls", ["train", "validation", "test"])
def test_one_group_is_never_torn_within_one_import(root: Path, falls: str):
    frozen.freeze(root)
    for number in range(1, 9):
        placement, group = Placement(root), group_of(falls, number)
        assert placement.place({"id": "1", "group": group}, "validation") == "validation"
        assert placement.place({"id": "2", "group": group}, "test") == "validation"


def test_a_group_that_was_sent_elsewhere_stays_there_after_the_thaw(root: Path):
    frozen.freeze(root)
    group = group_of("test", 2)
    sent = placed(root, group)
    assert isinstance(sent, str)
    write(root, **{sent: [("new", group)]})
    frozen.thaw(root)
    assert placed(root, group) == sent


def test_the_record_is_the_rows_and_not_their_files(tmp_path: Path):
    one = write(tmp_path / "one", train=[("a", "a")], test=[("b", "b"), ("c", "c")])
    two = write(tmp_path / "two", train=[("x", "x")], test=[("c", "c"), ("b", "b")])
    assert frozen.freeze(one) == frozen.freeze(two)
    frozen.check(one)


def test_a_frozen_split_that_changed_is_named(root: Path):
    frozen.freeze(root)
    write(root, test=[("late", "late")])
    with pytest.raises(ValueError, match=r"frozen at 2 rows .* has 3"):
        frozen.check(root)
    frozen.thaw(root)
    frozen.check(root)


def test_freezing_twice_thawing_twice_and_freezing_nothing_are_refused(root: Path, tmp_path: Path):
    frozen.freeze(root)
    with pytest.raises(ValueError, match="frozen already"):
        frozen.freeze(root)
    frozen.thaw(root)
    with pytest.raises(ValueError, match="not frozen"):
        frozen.thaw(root)
    with pytest.raises(ValueError, match="no row of the split test"):
        frozen.freeze(write(tmp_path / "bare", train=[("a", "a")]))
