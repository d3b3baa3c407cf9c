"""The columns of a row of the store."""

from functools import cache

import pyarrow as pa

from mmcore.data.modalities import media

_NAMES: list[tuple[str, pa.DataType]] = [("id", pa.string()), ("group", pa.string()), ("source", pa.string())]
_TEXTS: list[tuple[str, pa.DataType]] = [
    ("captions", pa.list_(pa.struct([("text", pa.string()), ("lang", pa.string())]))),
    ("transcript", pa.string()),
    ("summary", pa.string()),
    ("speech_text", pa.string()),
    ("qa", pa.list_(pa.struct([("question", pa.string()), ("answers", pa.list_(pa.string()))]))),
    ("labels", pa.map_(pa.string(), pa.string())),
    ("positives", pa.string()),
    ("sha256", pa.string()),
    ("meta", pa.string()),
]
# Parquet names a nested column by the path to its leaf.
_LEAVES = {
    "captions": ("captions.list.element.text", "captions.list.element.lang"),
    "qa": ("qa.list.element.question", "qa.list.element.answers.list.element"),
    "labels": ("labels.key_value.key", "labels.key_value.value"),
}


def schema() -> pa.Schema:
    """The columns of every project, and between them one for each of `media`."""
    return _schema(media())


def compression() -> dict[str, str]:
    """How each column is written: media are compressed already, and are read at their place in the file."""
    plain = media()
    return {leaf: "NONE" if name in plain else "ZSTD" for name in schema().names for leaf in _LEAVES.get(name, (name,))}


@cache
def _schema(media: tuple[str, ...]) -> pa.Schema:
    return pa.schema([*_NAMES, *((name, pa.binary()) for name in media), *_TEXTS])
