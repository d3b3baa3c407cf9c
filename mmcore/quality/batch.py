"""A batch from production in the numbers that it is compared by, from whatever form it comes in."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmcore.data import store
from mmcore.data.modalities import Limits, media
from mmcore.data.schema import schema
from mmcore.quality import components, probe
from mmcore.quality.compared import compared, named
from mmcore.quality.kinds import Kind, fields_of, kind_of
from mmcore.quality.reference import CALIBRATION, WORDS, number_table
from mmcore.settings import ValidateSettings
from mmcore.workspace import read_json

FILES = {
    ".png": "image", ".jpg": "image", ".jpeg": "image", ".webp": "image", ".bmp": "image", ".gif": "image",
    ".tif": "image", ".tiff": "image", ".wav": "audio", ".apng": "video", ".txt": "text",
}  # fmt: skip


def profile_batch(batch: Path, reference: Path, *, embeddings: components.Embeddings | None = None) -> pa.Table:
    """The numbers of a batch: column `id`, then those of `reference.parquet` that the batch has, null where absent.

    `batch`: see `read_batch`. `embeddings`: see `components`; of the model whose hash the reference states.
    Media that cannot be decoded count as unreadable (`<modality>_readable` is 0).
    """
    rows = list(read_batch(batch))
    settings = ValidateSettings(**read_json(reference / CALIBRATION)["limits"])
    kinds = kinds_of(reference)
    known = set(pq.read_table(reference / WORDS)["word"].to_pylist())
    ids = [row["id"] for row in rows]
    points = components.apply(reference, ids, embeddings or {})
    numbers = []
    for row in rows:
        found = compared(probe.probe_row(row, settings), probe.texts_of(row), known, points.get(row["id"], {}))
        numbers.append(named(found, kind_of(fields_of(row), kinds)))
    return number_table(ids, numbers)


def kinds_of(reference: Path) -> list[Kind]:
    """The kinds of samples in the reference."""
    return [Kind(kind["label"], tuple(kind["has"])) for kind in read_json(reference / CALIBRATION)["kinds"]]


def limits_of(reference: Path) -> Limits:
    """What is refused of a batch before it is decoded: what `validate` refused when the reference was made."""
    settings = ValidateSettings(**read_json(reference / CALIBRATION)["limits"])
    return Limits(settings.max_pixels, settings.max_seconds, settings.max_frames)


def read_batch(batch: Path) -> Iterator[store.Row]:
    """The rows of a Parquet file that has some of the store's columns, of a store, or of a folder of media files.

    In a folder each file is a sample of its own, text files one caption. A ValueError says what could not be used.
    """
    if batch.is_file() and batch.suffix == ".parquet":
        return _parquet_rows([batch])
    if (batch / store.MANIFEST).is_file():
        return _parquet_rows([batch / shard.path for shard in store.shards(batch)])
    if batch.is_dir():
        files = sorted(path for path in batch.rglob("*") if path.suffix.lower() in FILES and path.is_file())
        if files:
            return _file_rows(files, batch)
        raise ValueError(f"{batch} holds no media: a folder may have {', '.join(FILES)} files")
    raise ValueError(f"{batch} is no batch: give a Parquet file, a store, or a folder of media files")


def _parquet_rows(paths: Iterable[Path]) -> Iterator[store.Row]:
    for path in paths:
        columns = [name for name in pq.read_schema(path).names if name in schema().names]
        if not set(columns) & {*media(), "captions", "transcript", "summary", "speech_text", "qa"}:
            raise ValueError(f"{path} has none of the store's media or text columns, such as image or captions")
        num_rows = pq.read_metadata(path).num_rows
        for start in range(0, num_rows, probe.ROWS_AT_ONCE):
            for offset, row in enumerate(store.read_rows(path, columns, start=start, stop=start + probe.ROWS_AT_ONCE)):
                row["id"] = str(row.get("id") or f"{path.name}:{start + offset}")
                yield store.row(**row)


def _file_rows(files: Iterable[Path], folder: Path) -> Iterator[store.Row]:
    for path in files:
        kind = FILES[path.suffix.lower()]
        name = path.relative_to(folder).as_posix()
        if kind == "text":
            try:
                text = path.read_text(encoding="utf-8").strip()
            except UnicodeDecodeError as error:
                raise ValueError(f"{path} is no UTF-8 text ({error.reason}); convert it, or leave it out") from None
            yield store.row(id=name, captions=[{"text": text, "lang": None}])
        else:
            yield store.row(**{"id": name, kind: path.read_bytes()})
