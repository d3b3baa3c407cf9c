import os
from pathlib import Path

import pytest

from mmcore.data.importers import IMPORTERS, RefusedPath, safe_file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a.png").write_bytes(b"a")
    (tmp_path / "secret").write_bytes(b"s")
    (root / "link.png").symlink_to(root / "sub" / "a.png")
    (root / "folder").symlink_to(root / "sub")
    os.mkfifo(root / "pipe")
    return root


def test_files_below_the_root_are_found(root: Path) -> None:
    assert safe_file(root, root, "sub/a.png").read_bytes() == b"a"
    assert safe_file(root, root / "sub", "./a.png").read_bytes() == b"a"
    assert safe_file(root, root, "sub\\a.png").read_bytes() == b"a"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("../secret", "unsafe_path"),
        ("sub/../../secret", "unsafe_path"),
        ("..\\secret", "unsafe_path"),
        ("/etc/hostname", "unsafe_path"),
        ("\\\\host\\share", "unsafe_path"),
        ("C:\\a.png", "unsafe_path"),
        ("~/a.png", "unsafe_path"),
        ("a\0.png", "unsafe_path"),
        ("", "unsafe_path"),
        ("link.png", "unsafe_path"),
        ("folder/a.png", "unsafe_path"),
        ("pipe", "unsafe_path"),
        ("sub", "unsafe_path"),
        ("missing.png", "missing_file"),
        ("sub/a.png/x", "missing_file"),
        ("x" * 300, "missing_file"),
    ],
)
def test_names_that_lead_elsewhere_or_nowhere_are_refused(root: Path, name: str, problem: str) -> None:
    with pytest.raises(RefusedPath) as refused:
        safe_file(root, root, name)
    assert refused.value.problem == problem


def test_every_format_keeps_the_contract() -> None:
    assert {"digitworld", "imagefolder"} <= set(IMPORTERS.names())
    for name in IMPORTERS.names():
        assert all(callable(getattr(IMPORTERS[name](), method)) for method in ("read", "fields", "doubts"))
    with pytest.raises(LookupError, match=r"choose one of: .*imagefolder"):
        IMPORTERS["imagefolders"]
