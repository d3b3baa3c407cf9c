"""The media gate as a whole, on a small hostile set; `python -m tests.faults.dirty` runs the large ones."""

import warnings
from pathlib import Path

import pytest

from tests.faults.dirty_kinds import FAMILIES
from tests.faults.dirty_set import NUM_KINDS, DirtySet

pytestmark = pytest.mark.gx


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Great Expectations uses deprecated modules
        from tests.faults.dirty import Outcome, judge

        found = Outcome()
        judge(DirtySet(3, clean=200, copies=1), tmp_path_factory.mktemp("dirty"), found)
    return found


def test_every_row_is_accepted_or_in_quarantine(outcome):
    assert outcome.lost == []
    assert NUM_KINDS >= 60


@pytest.mark.parametrize(
    ("family", "kinds"), [("undecodable", 50), ("bomb", 20), ("unusable", 50), ("doubtful", 40), ("repairable", 6)]
)
def test_of_each_family_enough_is_caught(outcome, family, kinds):
    right, total = outcome.share(family)
    missed = [
        key[1] for key, count in outcome.kinds.items() if key[0] == family and outcome.caught[key] < count.total()
    ]
    assert total >= kinds
    assert right >= FAMILIES[family] * total, missed


def test_no_kind_is_missed_altogether(outcome):
    assert outcome.missed() == []


def test_no_sound_row_is_stopped(outcome):
    assert outcome.stopped == []
    assert outcome.kinds["clean", "clean"].total() == 200


def test_equal_seeds_give_equal_bytes(tmp_path: Path):
    written = []
    for name in "ab":
        made = DirtySet(7, clean=12, copies=1)
        made.write_source(tmp_path / name / "place" / "source")
        made.add_rows(tmp_path / name / "data")
        files = sorted(path for path in (tmp_path / name).rglob("*.jsonl"))
        written.append([path.read_bytes() for path in files] + [(tmp_path / name / "data/manifest.json").read_bytes()])
    assert len(written[0]) == 4
    # Lines with an absolute path name the folder that they were written to.
    assert [text.replace(b"/a/", b"/b/") for text in written[0]] == written[1]
