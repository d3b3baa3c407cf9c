"""The importers as a whole: hostile archives (`python -m tests.faults.archives` runs them all)."""

from pathlib import Path

import pytest

from tests.faults.archives import ARCHIVES, UNREADABLE, judge

QUICK = [name for name in (*ARCHIVES, *UNREADABLE) if name != "a hundred thousand members"]


@pytest.mark.parametrize("name", QUICK)
def test_a_hostile_archive_reads_and_writes_nothing_outside_of_itself(name: str, tmp_path: Path) -> None:
    assert judge(name, tmp_path).wrong == ()
