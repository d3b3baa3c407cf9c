import os
from pathlib import Path

import pytest

from mmcore.commands.data_words import FORMATS
from mmcore.data.importers import IMPORTERS, MAX_FILE_BYTES, ImportOptions, RefusedPath, safe_file


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
        ("https://host/a.png", "unsafe_path"),
        ("zip://a.png::sub/a.zip", "unsafe_path"),
        ("sub/a.zip::a.png", "unsafe_path"),
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


def test_a_file_of_an_absurd_size_is_refused_unread(root: Path) -> None:
    with open(root / "big.png", "wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(RefusedPath, match="more than 536870912") as refused:
        safe_file(root, root, "big.png")
    assert refused.value.problem == "too_large"


def test_options_become_words_of_a_settings_file_and_come_back() -> None:
    options = ImportOptions(map={"captions": ("a", "b"), "labels": "c"}, lang={"a": "en"}, group="g", limit=3)
    words = {"map": {"captions": ["a", "b"], "labels": "c"}, "lang": {"a": "en"}, "group": "g"}
    assert options.words() == words
    assert ImportOptions.from_words(words, limit=3).words() == words
    assert ImportOptions().words() == {}
    with pytest.raises(ValueError, match=r"data.fields has no key 'split'; there are: map, lang"):
        ImportOptions.from_words({"split": "x"})


def test_every_format_keeps_the_contract() -> None:
    assert set(IMPORTERS.names()) == set(FORMATS)
    for name in IMPORTERS.names():
        assert all(callable(getattr(IMPORTERS[name](), method)) for method in ("read", "fields", "doubts"))
    with pytest.raises(LookupError, match=r"choose one of: .*imagefolder"):
        IMPORTERS["imagefolders"]
