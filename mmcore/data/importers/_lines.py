"""The lines of a list or table, one dict each: JSON lines, CSV, TSV and Parquet, read as a stream."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

LISTS = (".jsonl", ".csv", ".tsv", ".parquet")
MAX_LINE_BYTES = 16 << 20
# Rows of a Parquet file are taken in batches of about this size, however large the media in them are.
_BATCH_BYTES = 8 << 20
_BATCH_ROWS = 1000
# NaN is no JSON; where a tool wrote it all the same it means that there is nothing.
_DECODER = json.JSONDecoder(parse_constant=lambda _: None)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a list and its place, or why it is none. `values` is null then."""

    place: str
    values: dict[str, Any] | None
    reason: str = ""


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a file whose suffix is one of `LISTS`; a line that cannot be read is one with a reason.

    ValueError if the file as a whole cannot be read.
    """
    readers = {".jsonl": _json_lines, ".csv": _csv_lines, ".tsv": _csv_lines, ".parquet": _parquet_lines}
    return readers[path.suffix.lower()](path)


def count_lines(path: Path) -> int:
    """How many lines `read_lines` gives, at most, without reading what they hold."""
    if path.suffix.lower() == ".parquet":
        with _parquet(path) as table:
            return int(table.metadata.num_rows)
    with open(path, "rb") as file:
        return 1 + sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def batch_rows(num_bytes: int, num_rows: int) -> int:
    """How many of `num_rows` rows that take `num_bytes` are read at a time."""
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES * num_rows // max(num_bytes, 1)))


def as_lines(batch: pa.RecordBatch, name: str, number: int) -> Iterator[Line]:
    """The rows of a batch, the first of which is row `number` of `name`."""
    try:
        rows = batch.to_pylist(maps_as_pydicts="strict")
    except ValueError:  # broken text, or a map with a key twice: row by row, to keep the others
        for index in range(batch.num_rows):
            yield _as_line(batch.slice(index, 1), f"{name}:{number + index}")
        return
    for index, values in enumerate(rows):
        yield Line(f"{name}:{number + index}", values)


def _as_line(row: pa.RecordBatch, place: str) -> Line:
    try:
        return Line(place, row.to_pylist(maps_as_pydicts="strict")[0])
    except ValueError as error:
        return Line(place, None, str(error))


def _json_lines(path: Path) -> Iterator[Line]:
    with open(path, "rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            place = f"{path.name}:{number}"
            if len(line) > MAX_LINE_BYTES:
                _skip_line(file, line)
                yield Line(place, None, f"it is longer than {MAX_LINE_BYTES} bytes")
                continue
            content = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
            if not content:
                continue
            try:
                values = _DECODER.decode(content.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                yield Line(place, None, f"no JSON: {error}")
                continue
            yield Line(place, values) if isinstance(values, dict) else Line(place, None, "no JSON object")


def _skip_line(file: IO[bytes], read: bytes) -> None:
    while read and not read.endswith(b"\n"):
        read = file.readline(MAX_LINE_BYTES)


def _csv_lines(path: Path) -> Iterator[Line]:
    csv.field_size_limit(MAX_LINE_BYTES)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with open(path, encoding="utf-8-sig", newline="", errors="surrogateescape") as file:
        rows = csv.DictReader(file, delimiter=delimiter)
        num_fields = len(rows.fieldnames or ())
        while True:
            place = f"{path.name}:{rows.line_num + 1}"
            try:
                values = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield Line(place, None, str(error))
                continue
            if None in values or None in values.values():
                yield Line(place, None, f"it has not the {num_fields} fields of the first line")
            else:
                yield Line(place, {name: value if value != "" else None for name, value in values.items()})


def _parquet_lines(path: Path) -> Iterator[Line]:
    number = 1
    for batch in parquet_batches(path):
        yield from as_lines(batch, path.name, number)
        number += batch.num_rows


def parquet_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file, a few MiB at a time; ValueError if it cannot be read."""
    with _parquet(path) as file:
        sizes = [file.metadata.row_group(index).total_byte_size for index in range(file.metadata.num_row_groups)]
        try:
            yield from file.iter_batches(batch_rows(sum(sizes), file.metadata.num_rows))
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path} cannot be read: {error}; get the file anew") from None


def parquet_schema(path: Path) -> pa.Schema:
    """The columns of a Parquet file; ValueError if it cannot be read."""
    with _parquet(path) as file:
        return file.schema_arrow


def _parquet(path: Path) -> pq.ParquetFile:
    """The file, opened so that a row group of many media is never in memory as a whole."""
    try:
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is no Parquet file that can be read: {error}") from None
