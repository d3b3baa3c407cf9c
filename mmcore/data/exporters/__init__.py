"""Writers of data sets in formats that others read. A file in this folder is a format; its class is `Exporter`.

What an exporter writes, the importer of the same name reads back: the same ids, media, texts and splits. Equal stores
give equal bytes.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from mmcore.data import store
from mmcore.data.importers._fields import USUAL
from mmcore.data.modalities import MODALITIES, media, own_media
from mmcore.data.modalities._container import container_of
from mmcore.data.schema import schema
from mmcore.registry import Table
from mmcore.workspace import Progress, write_folder

_ROWS_AT_ONCE = 100
# With an ending such as `.video.webp` it fits into the hundred bytes that a tar file has for a name.
_PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}")
# Texts and lists of a row as they are, whatever the format.
FIELDS = ("id", "group", "captions", "transcript", "summary", "speech_text", "qa", "labels", "positives")
_USED = {*FIELDS, *(name for names in USUAL.values() for name in names)} | {
    "file_name", "question", "answer", "answers", "split"
}  # fmt: skip
_PICTURES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"GIF8": "gif", b"BM": "bmp", b"II*\0": "tif", b"MM\0*": "tif"}
_ENDINGS = {
    "image": {}, "audio": {"mov": "m4a", "matroska": "mka"}, "video": {"mov": "mp4", "matroska": "mkv"}
}  # fmt: skip


class Writer(Protocol):
    """What every `Exporter` does."""

    def write(self, split: str, rows: Iterator[store.Row], folder: Path) -> None:
        """Write the rows of one split into `folder`, where the files of other splits may be."""

    def finish(self, folder: Path) -> None:
        """Write what is said of all splits together."""


def export_data(data: Path, destination: Path, *, format: str, splits: Sequence[str] = store.SPLITS) -> dict[str, int]:
    """Write the store at `data` to `destination`, which appears when all of it is written; returns the rows by split.

    ValueError if `destination` exists or if there are no rows.
    """
    if destination.exists():
        raise ValueError(f"{destination} exists; give a folder that does not")
    counts = {split: sum(shard.rows for shard in store.shards(data, split)) for split in splits}
    if not any(counts.values()):
        raise ValueError(f"{data} holds no rows of {', '.join(splits)}; there is nothing to export")
    writer = EXPORTERS.build({"name": format}, label_names=_label_names(data, splits))
    progress = Progress("export", total=sum(counts.values()), unit="rows")
    with write_folder(destination) as aside:
        for split, count in counts.items():
            if count:
                writer.write(split, _rows(data, split, progress), aside)
        writer.finish(aside)
    return counts


def _rows(data: Path, split: str, progress: Progress) -> Iterator[store.Row]:
    for shard in store.shards(data, split):
        for start in range(0, shard.rows, _ROWS_AT_ONCE):
            rows = store.read_rows(data / shard.path, start=start, stop=start + _ROWS_AT_ONCE)
            yield from rows
            progress.advance(len(rows))


def _label_names(data: Path, splits: Sequence[str]) -> list[str]:
    """Every name that a label has, sorted."""
    found: set[str] = set()
    for shard in (shard for split in splits for shard in store.shards(data, split)):
        for row in store.read_rows(data / shard.path, ["labels"]):
            found |= row["labels"].keys()
    return sorted(found)


def fields_of(row: store.Row) -> dict[str, Any]:
    """What a row says without its media, and its `meta` beside it.

    A field of `meta` that an importer would take for something else is called `meta_<name>`; what is no JSON object
    is the field `meta_text`.
    """
    taken = {*_USED, *schema().names, *(f"{name}_file_name" for name in media())}
    said = {name: row[name] for name in FIELDS if row[name] or name == "captions"}
    if said.get("group") == row["id"]:
        del said["group"]
    for name, value in _meta(row["meta"] or "{}").items():
        said[f"meta_{name}" if name in taken else name] = value
    return said


def _meta(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):  # the second of lists in lists in lists
        content = None
    return content if isinstance(content, dict) else {"meta_text": text}


def name_of(id: str) -> str:
    """A file name without ending for a sample: short, of plain letters, another for every id on any file system."""
    if _PLAIN_NAME.fullmatch(id):
        return id
    last = id.rstrip("/").rpartition("/")[2].partition(".")[0]
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", last).strip("-")[:60]
    return f"{readable or 'sample'}-{hashlib.sha256(id.encode()).hexdigest()[:12]}"


def ending_of(column: str, data: bytes) -> str:
    """The ending of a media file by its first bytes; the column's usual one where they show none."""
    usual: str = MODALITIES[column].suffixes[0].removeprefix(".")
    if column in own_media():
        return usual
    if found := container_of(data):
        return _ENDINGS[column].get(found, found)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    picture = next((ending for magic, ending in _PICTURES.items() if data.startswith(magic)), None)
    if column == "video" and picture == "png":
        return "apng"
    return picture if picture and column != "audio" else usual


EXPORTERS: Table[type[Writer]] = Table("export format", folder="mmcore.data.exporters", attribute="Exporter")
