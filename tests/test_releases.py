"""Releases are tags: made once, promoted in one step, rolled back in one step."""

from pathlib import Path

import pytest

from mmcore import releases
from tests.conftest import git


@pytest.fixture
def commits(toy: Path) -> list[str]:
    found = []
    for number in range(3):
        git(toy, "commit", "--quiet", "--allow-empty", "-m", str(number))
        found.append(git(toy, "rev-parse", "HEAD").strip())
    return found


def test_versions_count_up_and_the_promoted_one_is_champion(toy: Path, commits: list[str]):
    assert releases.champion(toy, "world") is None
    for number, commit in enumerate(commits):
        made = releases.register(toy, "world", commit, f"hash{number}")
        releases.promote(toy, "world", made.version)
    assert [r.version for r in releases.releases(toy, "world")] == ["v0.3.0", "v0.2.0", "v0.1.0"]
    champion = releases.champion(toy, "world")
    assert champion is not None
    assert (champion.version, champion.commit, champion.model_hash) == ("v0.3.0", commits[2], "hash2")


def test_a_release_that_was_cut_short_is_completed_not_repeated(toy: Path, commits: list[str]):
    first = releases.register(toy, "world", commits[0], "hash0")
    again = releases.register(toy, "world", commits[1], "hash0")
    assert again == first
    releases.promote(toy, "world", first.version)
    releases.promote(toy, "world", first.version)
    assert git(toy, "tag").split() == ["world#champion#1", "world@v0.1.0"]


def test_rollback_brings_the_earlier_champion_back(toy: Path, commits: list[str]):
    for number, commit in enumerate(commits[:2]):
        releases.promote(toy, "world", releases.register(toy, "world", commit, f"hash{number}").version)
    assert releases.rollback(toy, "world").version == "v0.1.0"
    champion = releases.champion(toy, "world")
    assert champion is not None
    assert champion.version == "v0.1.0"


def test_rollback_without_an_earlier_champion_says_so(toy: Path, commits: list[str]):
    releases.promote(toy, "world", releases.register(toy, "world", commits[0], "hash").version)
    with pytest.raises(LookupError, match="no other champion"):
        releases.rollback(toy, "world")


def test_a_version_that_does_not_exist_lists_those_that_do(toy: Path, commits: list[str]):
    releases.register(toy, "world", commits[0], "hash")
    with pytest.raises(LookupError, match=r"no release 'v9'; there are: v0\.1\.0"):
        releases.find(toy, "world", "v9")


def test_two_projects_do_not_share_a_champion(toy: Path, commits: list[str]):
    releases.promote(toy, "world", releases.register(toy, "world", commits[0], "hash").version)
    assert releases.champion(toy, "other") is None


def test_a_version_is_a_revision_and_so_is_anything_else(toy: Path, commits: list[str]):
    releases.register(toy, "world", commits[0], "hash")
    assert releases.revision(toy, "world", "v0.1.0") == releases.revision(toy, "world", "0.1.0") == "world@v0.1.0"
    assert releases.revision(toy, "world", "HEAD~2") == "HEAD~2"
    with pytest.raises(LookupError, match=r"no release 'v9\.0\.0'"):
        releases.revision(toy, "world", "v9.0.0")
