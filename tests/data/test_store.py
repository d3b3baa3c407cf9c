import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmcore.data import store
from mmcore.data.modalities import media
from mmcore.data.schema import schema


def some_rows(count: int) -> list[store.Row]:
    return [store.row(id=f"r{number}", image=b"x" * number, labels={"kind": str(number)}) for number in range(count)]


def test_a_row_is_completed_and_hashed() -> None:
    row = store.row(id="a", captions=[{"text": "a dog", "lang": "en"}])
    assert list(row) == schema().names
    assert row["group"] == "a"
    assert row["image"] is None
    assert row["qa"] == []
    assert row["sha256"] == store.sample_hash(row)


@pytest.mark.parametrize(("values", "message"), [({"id": "a", "picture": b""}, "no column 'picture'"), ({}, "an 'id'")])
def test_a_row_with_an_unknown_column_or_without_id_is_refused(values: store.Row, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        store.row(**values)


def test_the_sample_hash_covers_media_and_texts_but_not_names() -> None:
    first = store.row(id="a", image=b"1", summary="two")
    assert store.row(id="b", group="c", image=b"1", summary="two")["sha256"] == first["sha256"]
    assert store.row(id="a", image=b"2", summary="two")["sha256"] != first["sha256"]
    assert store.row(id="a", image=b"1", transcript="two")["sha256"] != first["sha256"]
    assert store.row(id="a", audio=b"1", summary="two")["sha256"] != first["sha256"]


def test_a_split_is_a_function_of_the_group_in_the_shares_80_10_10() -> None:
    splits = [store.split_of(f"group {number}") for number in range(4000)]
    assert splits.count("train") == pytest.approx(3200, abs=100)
    assert splits.count("validation") == pytest.approx(400, abs=80)
    assert store.split_of("group 0") == splits[0]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    rows = some_rows(250)
    assert store.write_shards(tmp_path, "train", rows, rows_per_shard=120) == 250
    manifest = store.write_manifest(tmp_path)
    assert [(shard.path, shard.rows, shard.split) for shard in manifest.shards] == [
        ("train/part-00000.parquet", 120, "train"),
        ("train/part-00001.parquet", 120, "train"),
        ("train/part-00002.parquet", 10, "train"),
    ]
    assert store.read_manifest(tmp_path) == manifest
    assert store.shards(tmp_path, "test") == []
    read = [row for shard in store.shards(tmp_path) for row in store.read_rows(tmp_path / shard.path)]
    assert read == rows


def test_some_rows_and_columns_are_read_across_row_groups(tmp_path: Path) -> None:
    store.write_shards(tmp_path, "test", some_rows(250))
    path = store.shard_path(tmp_path, "test", 0)
    assert [row["id"] for row in store.read_rows(path, ["id"], start=98, stop=102)] == ["r98", "r99", "r100", "r101"]
    assert store.read_rows(path, ["id", "labels"], start=249) == [{"id": "r249", "labels": {"kind": "249"}}]
    assert store.read_rows(path, start=250) == []


def test_new_shards_come_after_those_that_are_there(tmp_path: Path) -> None:
    store.write_shards(tmp_path, "train", some_rows(2))
    store.write_shards(tmp_path, "train", some_rows(1))
    assert [shard.rows for shard in store.write_manifest(tmp_path).shards] == [2, 1]


def test_row_groups_hold_at_most_100_rows_or_8_mebibytes_and_media_are_not_compressed(tmp_path: Path) -> None:
    big = [store.row(id=str(number), image=bytes(3 << 20)) for number in range(4)]
    store.write_shards(tmp_path, "train", [*some_rows(150), *big])
    meta = pq.read_metadata(store.shard_path(tmp_path, "train", 0))
    groups = [meta.row_group(index) for index in range(meta.num_row_groups)]
    assert [group.num_rows for group in groups] == [100, 53, 1]
    columns = [groups[0].column(index) for index in range(groups[0].num_columns)]
    compression = {column.path_in_schema: column.compression for column in columns}
    assert compression["image"] == "UNCOMPRESSED"
    assert {name for name, kind in compression.items() if kind != "ZSTD"} == set(media())


def test_equal_rows_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        store.write_shards(tmp_path / name, "train", some_rows(130))
        store.write_manifest(tmp_path / name)
    assert (tmp_path / "one/manifest.json").read_bytes() == (tmp_path / "two/manifest.json").read_bytes()


def spoil(root: Path, how: str) -> None:
    first, second = (store.shard_path(root, "train", number) for number in (0, 1))
    if how == "flip":
        content = bytearray(second.read_bytes())
        content[len(content) // 2] ^= 1
        second.write_bytes(content)
    elif how == "remove":
        second.unlink()
    else:
        store.shard_path(root, "train", 2).write_bytes(first.read_bytes())


@pytest.mark.parametrize(
    ("how", "message"),
    [("flip", "00001.parquet is not what"), ("remove", "00001.parquet is missing"), ("add", "00002.parquet is not in")],
)
def test_a_shard_that_is_altered_missing_or_extra_is_named(tmp_path: Path, how: str, message: str) -> None:
    store.write_shards(tmp_path, "train", some_rows(6), rows_per_shard=3)
    store.write_manifest(tmp_path)
    store.verify(tmp_path)
    spoil(tmp_path, how)
    with pytest.raises(ValueError, match=message):
        store.verify(tmp_path)


@pytest.mark.parametrize(
    ("how", "message"),
    [("flip", "train/part-00001.parquet is not what"), ("add", "train/part-00002.parquet is not in")],
)
def test_a_shard_that_is_altered_or_extra_is_refused_by_every_read(tmp_path: Path, how: str, message: str) -> None:
    store.write_shards(tmp_path, "train", some_rows(6), rows_per_shard=3)
    store.write_manifest(tmp_path)
    spoil(tmp_path, how)
    spoilt = store.shard_path(tmp_path, "train", 1 if how == "flip" else 2)
    for read in (store.read_rows, store.read_table, store.check_shard):
        with pytest.raises(ValueError, match=message + r".*mmcore data pull"):
            read(spoilt)
    assert len(store.read_rows(store.shard_path(tmp_path, "train", 0))) == 3


def test_a_shard_is_hashed_once_and_again_only_when_it_or_its_manifest_is_written_anew(tmp_path: Path) -> None:
    store.write_shards(tmp_path, "train", some_rows(3))
    store.write_manifest(tmp_path)
    path = store.shard_path(tmp_path, "train", 0)
    store.check_shard(path)
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[50] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    store.check_shard(path)
    os.utime(path)
    with pytest.raises(ValueError, match="its SHA-256 differs"):
        store.check_shard(path)
    store.write_manifest(tmp_path)
    store.check_shard(path)


def test_a_parquet_file_outside_a_store_has_no_manifest_to_answer_to(tmp_path: Path) -> None:
    store.write_shards(tmp_path, "train", some_rows(3))
    assert store.read_table(store.shard_path(tmp_path, "train", 0), ["id"]).num_rows == 3


def test_a_folder_without_manifest_says_how_to_get_data(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="mmcore data import"):
        store.verify(tmp_path)


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"schema_version": 99, "shards": []}')
    with pytest.raises(ValueError, match="schema version 99"):
        store.read_manifest(tmp_path)


def test_what_no_row_has_is_lacking_labels_too(tmp_path: Path) -> None:
    store.write_shards(tmp_path, "train", [store.row(id="a", image=b"1", captions=[{"text": "one", "lang": None}])])
    store.write_manifest(tmp_path)
    assert store.lacking_columns(tmp_path, ["image", "captions", "labels", "audio", "qa"]) == {"labels", "audio", "qa"}
    store.write_shards(tmp_path, "test", [store.row(id="b", image=b"2", labels={"place": "left"})])
    store.write_manifest(tmp_path)
    assert store.lacking_columns(tmp_path, ["labels", "qa"]) == {"qa"}
