"""From lines to samples: one implementation for every format whose rows are lines with fields."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcore.data.importers import (
    MAX_FILE_BYTES,
    SPLIT_FOLDERS,
    ImportOptions,
    Refused,
    RefusedPath,
    Sample,
    refuse,
    safe_file,
)
from mmcore.data.importers._fields import Fields, text
from mmcore.data.importers._lines import Line

_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
_SAMPLED = 50
# What the lines of one sample may differ in.
_ADDED = ("captions", "qa", "meta")


@dataclass(frozen=True)
class Section:
    """Rows that share a split (null: each row says it, or its group decides) and the folder their names start in."""

    folder: Path
    split: str | None


def samples(
    root: Path, section: Section, lines: Iterator[Line], fields: Fields, options: ImportOptions
) -> Iterator[Sample | Refused]:
    """The samples of a section's lines, at most `options.limit` of each split.

    Lines that follow each other for the same sample, each with a caption or question of its own, are taken together if
    they say nothing else that differs; of what is only kept (`meta`), the first line's stays.
    """
    below = "" if section.folder == root else f"{section.folder.relative_to(root).as_posix()}/"
    found = (_sample(root, section, below, line, fields) for line in lines)
    yield from _limited(_together(found), section, options.limit)


def columns_of(lines: Iterator[Line], fields: Fields) -> dict[str, str]:
    """Field -> column, from the first lines."""
    found: dict[str, str] = {}
    for line, _ in zip(lines, range(_SAMPLED), strict=False):
        values = line.values or {}
        found |= {name: fields.column(name) for name in values}
        found |= {name: column for column, name in fields.media_names(values).items()}
    return found


def _together(found: Iterator[Sample | Refused]) -> Iterator[Sample | Refused]:
    waiting: Sample | None = None
    for sample in found:
        if waiting is not None and isinstance(sample, dict) and _continues(waiting, sample):
            waiting["captions"] += sample["captions"]
            waiting["qa"] += sample["qa"]
            continue
        if waiting is not None:
            yield waiting
        waiting = sample if isinstance(sample, dict) else None
        if not isinstance(sample, dict):
            yield sample
    if waiting is not None:
        yield waiting


def _continues(first: Sample, sample: Sample) -> bool:
    """Whether `sample` adds captions or questions to `first`, and nothing that would be lost."""
    if first["id"] != sample["id"] or not (sample["captions"] or sample["qa"]):
        return False
    stated = {column: value for column, value in sample.items() if column not in _ADDED and value is not None}
    return all(first.get(column) == value for column, value in stated.items())


def _limited(found: Iterator[Sample | Refused], section: Section, limit: int | None) -> Iterator[Sample | Refused]:
    """The first `limit` samples of each split; what is refused on the way does not count."""
    if limit is None:
        yield from found
        return
    counts: dict[str | None, int] = {}
    for sample in found:
        if isinstance(sample, dict):
            counts[sample["split"]] = counts.get(sample["split"], 0) + 1
            if counts[sample["split"]] > limit:
                if section.split is not None:
                    return
                continue
        yield sample


def _sample(root: Path, section: Section, below: str, line: Line, fields: Fields) -> Sample | Refused:
    place = below + line.place
    if line.values is None:
        return refuse(place, "bad_manifest_line", line.reason, section.split)
    values = line.values
    media = {column: values[name] for column, name in fields.media_names(values).items()}
    name = next((value for value in media.values() if isinstance(value, str)), None)
    identity = below + name if name else place
    split = section.split
    try:
        # First, so that whatever is refused is known by the id that the row would have.
        columns = fields.columns(values)
        identity = columns.get("id") or text("file name", identity)
        split = split or _stated_split(values, name)
        found = {column: _medium(root, section.folder, column, value) for column, value in media.items()}
        return {**columns, **found, "id": identity, "split": split}
    except RefusedPath as error:
        return refuse(identity, error.problem, str(error), split)
    except ValueError as error:
        return refuse(identity, "bad_manifest_line", f"{line.place}: {error}", split)


def _stated_split(values: dict[str, Any], name: str | None) -> str | None:
    """The split that a list for all of them names: in a field `split`, or by the first folder of a file's name.

    RefusedPath for a word that is no split: divided like the others, such a row could be trained on.
    """
    stated = values.get("split")
    # Tables write "nothing" as a number that is not equal to itself.
    word = "" if stated is None or stated != stated else str(stated).strip()
    if word:
        if word.lower() not in SPLIT_FOLDERS:
            raise RefusedPath("no_split", f"its split '{word}' is unknown; write one of: {', '.join(SPLIT_FOLDERS)}")
        return SPLIT_FOLDERS[word.lower()]
    return SPLIT_FOLDERS.get(name.split("/")[0].lower()) if name and "/" in name else None


def _medium(root: Path, folder: Path, column: str, value: Any) -> Path | bytes:
    """A file below `root`, or the bytes that the row itself holds (alone, or as Hugging Face's {bytes, path})."""
    if isinstance(value, dict):
        value = value.get("path") if value.get("bytes") is None else value["bytes"]
    if isinstance(value, bytes):
        if len(value) > MAX_FILE_BYTES:
            raise RefusedPath("too_large", f"its {column} has {len(value)} bytes, more than {MAX_FILE_BYTES}")
        return value
    if not isinstance(value, str):
        raise ValueError(f"its {column} is neither a file name nor bytes")
    if value.lower().endswith(_ARCHIVES):
        raise RefusedPath("unsafe_path", f"'{value}' is an archive, not one file of its kind; unpack it first")
    return safe_file(root, folder, value)
