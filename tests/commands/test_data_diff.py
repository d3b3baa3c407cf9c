import argparse
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmcore import releases
from mmcore.commands import data_diff
from mmcore.data import store
from mmcore.ledger import Ledger
from mmcore.workspace import Workspace
from tests.conftest import ROOT, git
from tests.data.test_ingest import picture


def row(number: int, text: str = "a square") -> store.Row:
    return store.row(id=f"{number}.png", image=picture(number), captions=[{"text": text, "lang": "en"}])


def give(root: Path, *rows: store.Row) -> None:
    """Put these rows in the place of data/ and commit what data.dvc says then."""
    shutil.rmtree(root / "data")
    store.write_shards(root / "data", "train", rows)
    store.write_manifest(root / "data")
    Ledger(root).add_data()
    git(root, "commit", "--quiet", "-am", "data")


@pytest.fixture
def project(toy: Path) -> Path:
    """Two commits with data: two rows, tagged `old`; then one of them changed, one gone, one new."""
    shutil.copyfile(ROOT / "params.yaml", toy / "params.yaml")
    (toy / "dvc.yaml").write_text("stages: {}\n")
    give(toy, row(1), row(2))
    git(toy, "tag", "old")
    give(toy, row(1, "a circle"), row(3))
    return toy


def hash_of(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def diff(root: Path, a: str, b: str | None = None) -> str:
    return data_diff.run(Workspace(root), argparse.Namespace(a=a, b=b))


def test_two_commits_are_compared_out_of_the_cache(project: Path):
    shutil.rmtree(project / "data")
    words = diff(project, "old", "HEAD")
    assert words.splitlines()[2].split() == ["train", "1", "1", "1", "·"]
    assert "3.png  (train, image, en)  a square" in words
    assert "1.png  (train, image, en)  captions:" in words


def test_without_a_second_version_it_is_data_as_they_lie_here(project: Path):
    assert "no row differs" in diff(project, "HEAD")
    store.write_shards(project / "data", "test", [row(9)])
    store.write_manifest(project / "data")
    assert diff(project, "HEAD").splitlines()[2].split() == ["test", "1", "·", "·", "·"]


def test_the_page_shows_the_examples(project: Path):
    assert "artifacts/diff/index.html" in diff(project, "old", "HEAD")
    page = (project / "artifacts" / "diff" / "index.html").read_text()
    assert page.count('<img src="data:image/png;base64,') == 3
    assert "a circle" in page


def test_releases_and_runs_have_names(project: Path):
    releases.register(project, "digitworld", git(project, "rev-parse", "old").strip(), "0" * 64)
    run = Ledger(project).save("20300101-000000-abcd", "a run")
    assert run
    assert "1.png" in diff(project, "v0.1.0", "20300101-000000-abcd")


def test_what_the_cache_lacks_comes_from_the_remote(project: Path, tmp_path: Path):
    ledger = Ledger(project)
    words = [sys.executable, "-m", "dvc", "remote", "add", "--local", "--default", "other", str(tmp_path / "other")]
    subprocess.run(words, cwd=project, check=True, capture_output=True)
    shutil.copytree(project / ".dvc" / "cache" / "files", tmp_path / "other" / "files")
    shutil.rmtree(ledger.cache().root)
    assert diff(project, "old", "HEAD").splitlines()[2].split() == ["train", "1", "1", "1", "·"]


def test_data_that_are_nowhere_are_named(project: Path):
    shutil.rmtree(Ledger(project).cache().root)
    with pytest.raises(ValueError, match=r"the list of its files of old is missing in the cache, and no remote is set"):
        diff(project, "old", "HEAD")


def spoil(root: Path, name: str) -> None:
    """Invert a bit of what the cache holds of a file of data/, of the list of its files without a name."""
    ledger = Ledger(root)
    md5 = hash_of(root / "data" / name) if name else ledger.data_hash()
    entry = ledger.cache().path(md5)
    content = bytearray(entry.read_bytes())
    content[len(content) // 2] ^= 1
    entry.chmod(0o644)
    entry.write_bytes(content)


@pytest.mark.parametrize("name", ["", "manifest.json", "train/part-00000.parquet"])
def test_what_is_damaged_in_the_cache_is_refused_or_taken_from_the_remote(project: Path, tmp_path: Path, name: str):
    shutil.copytree(project / ".dvc" / "cache" / "files", tmp_path / "other" / "files")
    whole = diff(project, "old", "HEAD")
    spoil(project, name)
    with pytest.raises(ValueError, match=r"of HEAD holds other bytes .* in the cache, and no remote is set up"):
        diff(project, "old", "HEAD")
    words = [sys.executable, "-m", "dvc", "remote", "add", "--local", "--default", "other", str(tmp_path / "other")]
    subprocess.run(words, cwd=project, check=True, capture_output=True)
    assert diff(project, "old", "HEAD") == whole


def test_a_version_that_does_not_exist_is_named(project: Path):
    with pytest.raises(LookupError, match="no commit, tag, run or release 'new'"):
        diff(project, "new")
    with pytest.raises(LookupError, match=r"has no release 'v9\.9\.9'"):
        diff(project, "v9.9.9")
