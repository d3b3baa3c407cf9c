"""A folder of pictures, with or without a list of what belongs to them, as Hugging Face's imagefolder reads it.

The list is `metadata.jsonl`, `metadata.csv` or `metadata.parquet` beside the pictures, with a field `file_name`
relative to itself. Without a list, the folder that a picture lies in becomes its label.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mmcore.data.importers import SPLIT_FOLDERS, ImportOptions, Refused, RefusedPath, Sample, refuse, safe_file
from mmcore.data.importers._fields import Fields, text

LISTS = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_SAMPLED = 50


@dataclass(frozen=True)
class _Line:
    """One line of a list, or why it is none. `values` is null then."""

    place: str
    values: dict[str, Any] | None
    reason: str = ""


@dataclass(frozen=True)
class _Section:
    """A folder whose rows are of one split (null: each row's group decides), and its list, if it has one."""

    folder: Path
    split: str | None
    list: Path | None


class Importer:
    """Pictures with captions, labels, questions and whatever else their list says."""

    def read(self, source: Path, options: ImportOptions) -> Iterator[Sample | Refused]:
        """Every picture of every section, lines that follow each other and name the same picture taken together.

        ValueError if there is nothing to read, or if a field that `options` names is in no line.
        """
        fields = Fields(options)
        for section in _sections(source):
            lines = _listed(section) if section.list else _unlisted(section)
            yield from _limited(_samples(source, section, lines, fields), options.limit)
        fields.check_all_seen()

    def fields(self, source: Path, options: ImportOptions) -> dict[str, str]:
        """Field -> column (`meta` for what is only kept), from the first lines of every list."""
        fields = Fields(options)
        found: dict[str, str] = {}
        for section in _sections(source):
            lines = _listed(section) if section.list else _unlisted(section)
            for line, _ in zip(lines, range(_SAMPLED), strict=False):
                found |= {name: fields.column(name) for name in line.values or {}}
        return found

    def doubts(self, source: Path) -> list[str]:
        """Pictures that no list names and folders that are not read."""
        sections = _sections(source)
        found = []
        if num_unlisted := sum(_num_unlisted(section) for section in sections if section.list):
            found.append(f"{num_unlisted} pictures are named in no list; they are not imported")
        if sections[0].folder != source:
            read = {section.folder.name for section in sections}
            others = [path.name for path in sorted(source.iterdir()) if path.is_dir() and path.name not in read]
            if others:
                found.append(f"these folders are no splits and are not read: {', '.join(others)}")
        return found


# Where the rows are --------------------------------------------------------------------------------------------------


def _sections(source: Path) -> list[_Section]:
    if not source.is_dir():
        reason = "is a file, not a folder" if source.exists() else "does not exist"
        raise ValueError(f"{source} {reason}; give the folder that holds the pictures")
    if found := _list_in(source):
        return [_Section(source, None, found)]
    folders = [path for path in sorted(source.iterdir()) if path.name.lower() in SPLIT_FOLDERS and path.is_dir()]
    sections = [_Section(folder, SPLIT_FOLDERS[folder.name.lower()], _list_in(folder)) for folder in folders]
    for section in sections:
        if section.folder.is_symlink():
            raise ValueError(f"{section.folder} is a symbolic link, which is not followed; import what it points to")
    sections = sections or [_Section(source, None, None)]
    if not any(section.list or _pictures(section.folder) for section in sections):
        raise ValueError(
            f"{source} holds no pictures ({', '.join(PICTURES)}) and no {', '.join(LISTS)}; "
            "is it the right folder, and is imagefolder its format?"
        )
    return sections


def _list_in(folder: Path) -> Path | None:
    found = [folder / name for name in LISTS if (folder / name).exists()]
    if len(found) > 1:
        raise ValueError(f"{folder} holds {' and '.join(path.name for path in found)}; leave only one of them")
    if found and (found[0].is_symlink() or not found[0].is_file()):
        raise ValueError(f"{found[0]} is no regular file; symbolic links are not followed")
    return found[0] if found else None


def _num_unlisted(section: _Section) -> int:
    named = {str(line.values.get("file_name")) for line in _listed(section) if line.values}
    return sum(path.relative_to(section.folder).as_posix() not in named for path in _pictures(section.folder))


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)


# The lines -----------------------------------------------------------------------------------------------------------


def _listed(section: _Section) -> Iterator[_Line]:
    assert section.list is not None
    return {".jsonl": _json_lines, ".csv": _csv_lines, ".parquet": _parquet_lines}[section.list.suffix](section.list)


def _unlisted(section: _Section) -> Iterator[_Line]:
    for path in _pictures(section.folder):
        relative = path.relative_to(section.folder)
        values: dict[str, Any] = {"file_name": relative.as_posix()}
        if len(relative.parts) > 1:
            values["label"] = relative.parts[-2]
        yield _Line(relative.as_posix(), values)


def _json_lines(path: Path) -> Iterator[_Line]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            place = f"{path.name}:{number}"
            content = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
            if not content:
                continue
            try:
                # NaN is no JSON; where a tool wrote it all the same it means that there is nothing.
                values = json.loads(content.decode("utf-8"), parse_constant=lambda _: None)
            except (ValueError, RecursionError) as error:
                yield _Line(place, None, f"no JSON: {error}")
                continue
            yield _Line(place, values) if isinstance(values, dict) else _Line(place, None, "no JSON object")


def _csv_lines(path: Path) -> Iterator[_Line]:
    csv.field_size_limit(16 << 20)
    with open(path, encoding="utf-8-sig", newline="", errors="surrogateescape") as file:
        rows = csv.DictReader(file)
        num_fields = len(rows.fieldnames or ())
        while True:
            place = f"{path.name}:{rows.line_num + 1}"
            try:
                values = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield _Line(place, None, str(error))
                continue
            if None in values or None in values.values():
                yield _Line(place, None, f"it has not the {num_fields} fields of the first line")
            else:
                yield _Line(place, {name: value if value != "" else None for name, value in values.items()})


def _parquet_lines(path: Path) -> Iterator[_Line]:
    with pq.ParquetFile(path) as file:
        number = 0
        for batch in file.iter_batches(1000):
            for values in batch.to_pylist(maps_as_pydicts="strict"):
                number += 1
                yield _Line(f"{path.name}:{number}", values)


# From lines to samples -----------------------------------------------------------------------------------------------


def _samples(source: Path, section: _Section, lines: Iterator[_Line], fields: Fields) -> Iterator[Sample | Refused]:
    waiting: Sample | None = None
    for line in lines:
        sample = _sample(source, section, line, fields)
        if isinstance(waiting, dict) and isinstance(sample, dict) and waiting["id"] == sample["id"]:
            waiting["captions"] += sample["captions"]
            waiting["qa"] += sample["qa"]
            continue
        if waiting is not None:
            yield waiting
            waiting = None
        if isinstance(sample, dict):
            waiting = sample
        else:
            yield sample
    if waiting is not None:
        yield waiting


def _sample(source: Path, section: _Section, line: _Line, fields: Fields) -> Sample | Refused:
    beside = section.folder.relative_to(source)
    place = (beside / line.place).as_posix()
    if line.values is None:
        return refuse(place, "bad_manifest_line", line.reason, section.split)
    name = line.values.get("file_name")
    if not isinstance(name, str):
        return refuse(place, "bad_manifest_line", "it has no file_name", section.split)
    identity = (beside / name).as_posix()
    # A list for all splits names them in its paths.
    split = section.split or SPLIT_FOLDERS.get(name.split("/")[0].lower() if "/" in name else "")
    try:
        media = {
            column: safe_file(source, section.folder, str(line.values[field]))
            for column, field in fields.media.items()
            if line.values.get(field) is not None
        }
        return {"id": text("file_name", identity), **fields.columns(line.values), **media, "split": split}
    except RefusedPath as error:
        return refuse(identity, error.problem, str(error), split)
    except ValueError as error:
        return refuse(identity, "bad_manifest_line", f"{line.place}: {error}", split)


def _limited(samples: Iterator[Sample | Refused], limit: int | None) -> Iterator[Sample | Refused]:
    """The first `limit` samples of each split; what is refused on the way does not count."""
    counts: dict[str | None, int] = {}
    for sample in samples:
        if isinstance(sample, dict):
            counts[sample["split"]] = counts.get(sample["split"], 0) + 1
            if limit is not None and counts[sample["split"]] > limit:
                continue
        yield sample
