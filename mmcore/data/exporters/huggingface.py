"""Hugging Face's layout: `data/<split>-NNNNN-of-NNNNN.parquet` with the media inside, and a README that describes it.

`datasets.load_dataset(folder)` reads it, here or uploaded to the hub.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from mmcore.data import columns
from mmcore.data.exporters import ending_of, name_of
from mmcore.data.modalities import BUILT_IN, own_media
from mmcore.data.store import BYTES_PER_GROUP, BYTES_PER_SHARD, ROWS_PER_GROUP, Row
from mmcore.workspace import write_bytes

MAX_SHARD_ROWS = 50_000
_MEDIUM = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_TEXT: dict[str, Any] = {"dtype": "string", "_type": "Value"}
_CAPTIONS = [{"text": _TEXT, "lang": _TEXT}]
_QA = [{"question": _TEXT, "answers": [_TEXT]}]
README = """\
---
{info}---
# {title}

Written by mmcore. Load it with `datasets.load_dataset("path/of/this/folder")`, or read it back with
`mmcore data import path/of/this/folder --format huggingface`.

{table}
"""


class Exporter:
    """Parquet files. `label_names`: every label that a sample has, since `datasets` knows no maps."""

    def __init__(self, label_names: Sequence[str], max_rows: int = MAX_SHARD_ROWS, max_bytes: int = BYTES_PER_SHARD):
        self._max_rows, self._max_bytes = max_rows, max_bytes
        self._features: dict[str, Any] = {
            "id": _TEXT, "group": _TEXT, **{name: {"_type": name.capitalize()} for name in BUILT_IN},
            "captions": _CAPTIONS, "transcript": _TEXT, "summary": _TEXT, "speech_text": _TEXT, "qa": _QA,
            **({"labels": dict.fromkeys(label_names, _TEXT)} if label_names else {}),
            "positives": _TEXT, "source": _TEXT, "meta": _TEXT,
        }  # fmt: skip
        described = json.dumps({"info": {"features": self._features}})
        fields = [pa.field(name, _arrow(feature)) for name, feature in self._features.items()]
        self._schema = pa.schema(fields, metadata={"huggingface": described})
        self._splits: list[dict[str, Any]] = []

    def write(self, split: str, rows: Iterator[Row], folder: Path) -> None:
        """`data/<split>-NNNNN-of-NNNNN.parquet`."""
        (folder / "data").mkdir(exist_ok=True)
        paths: list[Path] = []
        num_rows = num_bytes = 0
        group = _group(rows)
        while group:
            paths.append(folder / "data" / f"{split}-{len(paths):05d}.parquet")
            with pq.ParquetWriter(paths[-1], self._schema, compression="zstd", version="2.6") as writer:
                rows_here = bytes_here = 0
                while group and rows_here < self._max_rows and bytes_here < self._max_bytes:
                    writer.write_table(self._table(group), row_group_size=len(group))
                    rows_here += len(group)
                    bytes_here += sum(map(_size, group))
                    group = _group(rows)
            num_rows += rows_here
            num_bytes += bytes_here
        for path in paths:
            path.rename(path.with_stem(f"{path.stem}-of-{len(paths):05d}"))
        self._splits.append({"name": split, "num_bytes": num_bytes, "num_examples": num_rows})

    def finish(self, folder: Path) -> None:
        """`README.md`, whose head tells `datasets` the columns and the splits."""
        names = [split["name"] for split in self._splits]
        info = {
            "dataset_info": {
                "features": [_described(name, feature) for name, feature in self._features.items()],
                "splits": self._splits,
                "download_size": sum(path.stat().st_size for path in (folder / "data").iterdir()),
                "dataset_size": sum(split["num_bytes"] for split in self._splits),
            },
            "configs": [
                {
                    "config_name": "default",
                    "data_files": [{"split": name, "path": f"data/{name}-*"} for name in names],
                }
            ],
        }
        lines = ["| split | rows |", "| --- | --- |"]
        lines += [f"| {split['name']} | {split['num_examples']:,} |" for split in self._splits]
        text = README.format(
            info=yaml.safe_dump(info, sort_keys=False, allow_unicode=True), title="Data set", table="\n".join(lines)
        )
        write_bytes(folder / "README.md", text.encode())

    def _table(self, rows: list[Row]) -> pa.Table:
        found = []
        for field in self._schema:
            values = [row[field.name] for row in rows]
            if field.name in BUILT_IN:
                found.append(_media(field.name, rows))
            elif field.name == "labels":
                values = [{name: value.get(name) for name in self._features["labels"]} for value in values]
                found.append(columns.column(values, field.type))
            else:
                found.append(columns.column(values, field.type))
        return pa.Table.from_arrays(found, schema=self._schema)


def _group(rows: Iterator[Row]) -> list[Row]:
    """The next rows that make up a row group."""
    group: list[Row] = []
    size = 0
    while len(group) < ROWS_PER_GROUP and size < BYTES_PER_GROUP and (row := next(rows, None)) is not None:
        group.append(row)
        size += _size(row)
    return group


def _size(row: Row) -> int:
    for name in own_media():
        if row[name] is not None:
            raise ValueError(
                f"the sample {row['id']} has a '{name}', for which Hugging Face has no type; export as imagefolder or "
                "webdataset"
            )
    return sum(len(row[name]) for name in BUILT_IN if row[name] is not None)


def _media(column: str, rows: list[Row]) -> pa.Array:
    """{bytes, path} of each row, null where it has none."""
    media = [row[column] for row in rows]
    names = [
        None if data is None else f"{name_of(row['id'])}.{ending_of(column, data)}"
        for row, data in zip(rows, media, strict=True)
    ]
    present = np.array([data is not None for data in media], bool)
    validity = None if present.all() else pa.py_buffer(np.packbits(present, bitorder="little"))
    children = [columns.column(media, pa.binary()), columns.column(names, pa.string())]
    return pa.Array.from_buffers(_MEDIUM, len(rows), [validity], children=children)


def _arrow(feature: Any) -> pa.DataType:
    """The Arrow type of a feature as `datasets` writes features."""
    if isinstance(feature, list):
        return pa.list_(_arrow(feature[0]))
    if "_type" not in feature:
        return pa.struct([(name, _arrow(one)) for name, one in feature.items()])
    return pa.string() if feature["_type"] == "Value" else _MEDIUM


def _described(name: str, feature: Any) -> dict[str, Any]:
    """The same feature as a README's head states it."""
    if isinstance(feature, list):
        inner = feature[0]
        return {"name": name, "sequence": "string"} if inner is _TEXT else {"name": name, "list": _fields(inner)}
    if "_type" not in feature:
        return {"name": name, "struct": _fields(feature)}
    return {"name": name, "dtype": "string" if feature is _TEXT else feature["_type"].lower()}


def _fields(feature: dict[str, Any]) -> list[dict[str, Any]]:
    return [_described(*one) for one in feature.items()]
