import hashlib
import io
import os
from pathlib import Path

import pytest

from mmcore.ledger import Ledger
from mmcore.objects import Cache, Content, Reader, Version, fault, printable, set_aside
from tests.faults.storage import make_project

ONE, TWO = (hashlib.md5(content).hexdigest() for content in (b"one", b"two"))
BOTH = Version.of({"a/one": ONE, "two": TWO, "again": TWO})


def content(data: bytes) -> Content:
    return Content(hashlib.md5(data).hexdigest(), hashlib.sha256(data).hexdigest(), len(data))


def test_the_list_of_files_is_byte_for_byte_the_one_that_dvc_writes(tmp_path: Path) -> None:
    root = make_project(tmp_path, "../store", shards={"train": 2, "test": 1})
    ledger = Ledger(root)
    written = ledger.cache().path(ledger.data_hash()).read_bytes()
    version = Version.read(ledger.data_hash(), written)
    assert version.content == written
    assert Version.of(version.files).name == ledger.data_hash()
    assert sorted(version.files) == [
        "manifest.json", "test/part-00000.parquet", "train/part-00000.parquet", "train/part-00001.parquet",
    ]  # fmt: skip


def test_the_objects_are_each_file_once_and_the_list_last() -> None:
    assert BOTH.objects == {ONE: "a/one", TWO: "again", BOTH.name: "the list of the files"}
    assert list(BOTH.objects)[-1] == BOTH.name


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b"])
def test_a_list_with_a_path_out_of_its_folder_is_refused(path: str) -> None:
    version = Version.of({path: ONE})
    with pytest.raises(ValueError, match="leaves its folder"):
        Version.read(version.name, version.content)


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (content(b"one"), ""),
        (None, "is missing"),
        (content(b""), "is empty"),
        (content(b"two"), "holds the bytes of again"),
        (content(b"on"), f"holds other bytes (MD5 {hashlib.md5(b'on').hexdigest()})"),
    ],
)
def test_what_is_wrong_with_an_object_is_said(read: Content | None, words: str) -> None:
    assert fault(ONE, read, BOTH) == words


def test_a_cache_takes_the_right_bytes_and_leaves_nothing_of_others(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert cache.put(ONE, io.BytesIO(b"another")) == content(b"another")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert cache.put(ONE, io.BytesIO(b"one")) == content(b"one")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [cache.path(ONE)]
    assert cache.path(ONE).stat().st_mode & 0o777 == 0o444


def test_what_a_killed_process_left_in_the_cache_is_removed_after_an_hour(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    old, new = (cache.path(ONE).with_name(f".{cache.path(ONE).name}.{number}.tmp") for number in (1, 2))
    old.parent.mkdir()
    for left in (old, new):
        left.write_bytes(b"o")
    os.utime(old, (0, 0))
    cache.put(ONE, io.BytesIO(b"one"))
    assert (old.exists(), new.exists()) == (False, True)


def test_two_names_of_one_file_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    reader = Reader()
    first = reader.read(tmp_path / "a")
    assert first == content(b"one")
    assert reader.read(tmp_path / "b") is first
    assert reader.read(tmp_path / "absent") is None


def test_a_file_set_aside_keeps_its_bytes_and_an_earlier_one_of_its_name(tmp_path: Path) -> None:
    for data in (b"one", b"two"):
        (tmp_path / "file").write_bytes(data)
        set_aside(tmp_path / "file", tmp_path / "aside", content(data))
    assert not (tmp_path / "file").exists()
    assert sorted(path.read_bytes() for path in (tmp_path / "aside").iterdir()) == [b"one", b"two"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("cannot reach https://me:secret@host:80/x?token=secret now", "cannot reach https://host:80/x now"),
        ("ssh://me@host/path", "ssh://host/path"),
        ("/folder/here", "/folder/here"),
    ],
)
def test_what_is_printed_holds_no_user_password_or_query(text: str, shown: str) -> None:
    assert printable(text) == shown
