import json
from pathlib import Path

import pytest

from mmcore.data import store
from mmcore.data.exporters import EXPORTERS, ending_of, export_data, fields_of, name_of
from mmcore.data.importers import ImportOptions
from mmcore.data.importing import import_data
from mmcore.workspace import hash_folder
from tests.data.conftest import rows_of
from tests.data.test_prepare import picture

FORMATS = ("huggingface", "imagefolder", "webdataset")


@pytest.mark.parametrize("format", FORMATS)
def test_what_was_exported_is_imported_with_equal_hashes(world: Path, tmp_path: Path, format: str) -> None:
    counts = export_data(world, tmp_path / "out", format=format)
    import_data(tmp_path / "out", tmp_path / "data", format=format, options=ImportOptions())
    before, after = rows_of(world), rows_of(tmp_path / "data")
    assert counts == {split: len(rows) for split, rows in before.items()}
    kept = ("id", "group", "sha256", "labels", "positives", "captions", "qa")
    for split in store.SPLITS:
        assert [[row[name] for name in kept] for row in after[split]] == [
            [row[name] for name in kept] for row in before[split]
        ]  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
def test_equal_stores_give_equal_bytes(world: Path, tmp_path: Path, format: str) -> None:
    for name in ("a", "b"):
        export_data(world, tmp_path / name, format=format)
    assert hash_folder(tmp_path / "a") == hash_folder(tmp_path / "b")


def test_the_formats_are_the_files_of_the_folder() -> None:
    assert tuple(EXPORTERS.names()) == FORMATS


def test_only_the_splits_asked_for_are_written_and_nothing_is_replaced(world: Path, tmp_path: Path) -> None:
    export_data(world, tmp_path / "out", format="imagefolder", splits=["test"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["test"]
    with pytest.raises(ValueError, match="exists; give a folder that does not"):
        export_data(world, tmp_path / "out", format="imagefolder")


def test_an_export_that_fails_leaves_nothing(world: Path, tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="no export format named 'zip'"):
        export_data(world, tmp_path / "out", format="zip")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    store.write_manifest(tmp_path / "data")
    with pytest.raises(ValueError, match="holds no rows of train, validation, test"):
        export_data(tmp_path / "data", tmp_path / "out", format="webdataset")


def test_names_are_short_plain_and_different() -> None:
    assert name_of("scene-17_a") == "scene-17_a"
    names = [name_of(id) for id in ("a/B.jpg", "a/b.jpg", "../..", "", "图片/一.jpg", "a\0b", "x" * 300, ".")]
    assert len({name.casefold() for name in names}) == len(names)
    assert all(len(name) < 100 and "." not in name and "/" not in name and name.isascii() for name in names)
    assert names[0].startswith("B-")


@pytest.mark.parametrize(
    ("column", "data", "ending"),
    [
        ("image", picture(1), "png"), ("image", b"RIFF....WEBP", "webp"), ("image", b"broken", "jpg"),
        ("video", picture(1), "apng"), ("video", b"GIF89a", "gif"), ("video", b"\0\0\0\x18ftypmp42", "mp4"),
        ("video", b"\x1a\x45\xdf\xa3", "mkv"), ("audio", b"\0\0\0\x18ftypM4A ", "m4a"), ("audio", b"OggS", "ogg"),
        ("audio", b"RIFF....WAVE", "wav"), ("audio", picture(1), "wav"),
    ],
)  # fmt: skip
def test_endings_follow_the_bytes(column: str, data: bytes, ending: str) -> None:
    assert ending_of(column, data) == ending


def test_fields_of_meta_never_take_the_place_of_others() -> None:
    meta = {"file_name": "a.jpg", "caption": "not this", "camera": 3}
    row = store.row(id="x", transcript="t", meta=json.dumps(meta))
    assert fields_of(row) == {
        "id": "x", "captions": [], "transcript": "t",
        "meta_file_name": "a.jpg", "meta_caption": "not this", "camera": 3,
    }  # fmt: skip


@pytest.mark.parametrize("meta", ["not json", "[1, 2]", "[" * 100_000])
def test_meta_that_is_no_object_is_exported_as_it_is(meta: str) -> None:
    assert fields_of(store.row(id="a", meta=meta))["meta_text"] == meta
