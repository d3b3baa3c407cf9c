import json
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from mmcore.data import store
from mmcore.data.exporters.huggingface import Exporter
from tests.data.test_prepare import picture


def write(folder: Path, rows: list[store.Row], **options: int) -> None:
    exporter = Exporter(sorted({name for row in rows for name in row["labels"]}), **options)
    exporter.write("train", iter(rows), folder)
    exporter.finish(folder)


def test_media_are_structs_of_bytes_and_path_and_null_where_there_are_none(tmp_path: Path) -> None:
    rows = [
        store.row(id="a", image=picture(1), labels={"kind": "dog"}, captions=[{"text": "x", "lang": None}]),
        store.row(id="b", labels={"size": "3"}, qa=[{"question": "q", "answers": ["1", "2"]}]),
    ]
    write(tmp_path, rows)
    with pq.ParquetFile(tmp_path / "data" / "train-00000-of-00001.parquet") as file:
        table = file.read()
    found = table.to_pylist()
    assert found[0]["image"] == {"bytes": picture(1), "path": "a.png"}
    assert (found[0]["audio"], found[1]["image"]) == (None, None)
    assert [row["labels"] for row in found] == [{"kind": "dog", "size": None}, {"kind": None, "size": "3"}]
    assert found[1]["qa"] == [{"question": "q", "answers": ["1", "2"]}]
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == table.column_names
    assert features["image"] == {"_type": "Image"}
    assert features["captions"][0]["text"] == {"dtype": "string", "_type": "Value"}


def test_the_readme_tells_columns_splits_and_sizes(tmp_path: Path) -> None:
    write(tmp_path, [store.row(id=str(number), image=b"12345") for number in range(5)])
    names = sorted(path.name for path in (tmp_path / "data").iterdir())
    assert names == ["train-00000-of-00001.parquet"]
    head = yaml.safe_load((tmp_path / "README.md").read_text().split("---\n")[1])
    assert head["dataset_info"]["splits"] == [{"name": "train", "num_bytes": 25, "num_examples": 5}]
    assert {"name": "image", "dtype": "image"} in head["dataset_info"]["features"]
    assert not any(one["name"] == "labels" for one in head["dataset_info"]["features"])
    assert head["configs"][0]["data_files"] == [{"split": "train", "path": "data/train-*"}]


def test_files_are_numbered_and_bounded(tmp_path: Path) -> None:
    write(tmp_path, [store.row(id=str(number)) for number in range(250)], max_rows=100)
    assert [(path.name, pq.read_metadata(path).num_rows) for path in sorted((tmp_path / "data").iterdir())] == [
        ("train-00000-of-00003.parquet", 100), ("train-00001-of-00003.parquet", 100),
        ("train-00002-of-00003.parquet", 50),
    ]  # fmt: skip
