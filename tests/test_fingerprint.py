"""A changed statement changes a stage's code, a changed comment does not."""

import sys
from pathlib import Path

import pytest

from mmcore import fingerprint


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "a.py").write_text(
        '"""A."""\nimport numpy\nfrom toy.b import double\n\ndef f(x):\n    """Doc."""\n    return double(x)\n'
    )
    (folder / "b.py").write_text("def double(x):\n    return 2 * x\n")
    (folder / "c.py").write_text("unused = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def sha(folder: Path) -> str:
    for cached in (fingerprint._read, fingerprint._source):
        cached.cache_clear()
    return str(fingerprint.fingerprint(["toy.a"], own=["toy"])["sha256"])


def test_comments_docstrings_and_layout_do_not_count(package: Path):
    before = sha(package)
    (package / "b.py").write_text('"""New."""\n# why\ndef double(x):\n\n    """Doubles."""\n    return (2 * x)\n')
    assert sha(package) == before


def test_a_changed_statement_in_an_imported_module_counts(package: Path):
    before = sha(package)
    (package / "b.py").write_text("def double(x):\n    return 3 * x\n")
    assert sha(package) != before


def test_a_module_that_is_not_imported_does_not_count(package: Path):
    before = sha(package)
    (package / "c.py").write_text("unused = 2\n")
    assert sha(package) == before


def test_modules_and_libraries_are_listed(package: Path):
    sha(package)
    found = fingerprint.fingerprint(["toy.a"], own=["toy"])
    assert list(found["modules"]) == ["toy", "toy.a", "toy.b"]
    assert set(found["libraries"]) == {"python", "numpy"}
    assert "toy" not in sys.modules


def test_a_module_that_does_not_exist_is_named():
    with pytest.raises(LookupError, match=r"'mmcore\.nowhere' cannot be found"):
        fingerprint.fingerprint(["mmcore.nowhere"])
