"""A folder of media files, with or without a list of what belongs to them, as Hugging Face reads such folders.

The list is `metadata.jsonl`, `metadata.csv` or `metadata.parquet` beside the files, with a field `file_name` relative
to itself. Without a list, the folder that a file lies in becomes its label. Folders called `train`, `dev`, `val`,
`validation` and `test` are splits.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcore.data.importers import SPLIT_FOLDERS, ImportOptions, Refused, Sample
from mmcore.data.importers._fields import Fields, named_media
from mmcore.data.importers._folders import need_folder
from mmcore.data.importers._lines import Line, count_lines, read_lines
from mmcore.data.importers._samples import Section, columns_of, samples
from mmcore.data.modalities import MODALITIES

LISTS = ("metadata.jsonl", "metadata.csv", "metadata.parquet")


@dataclass(frozen=True)
class _Listed(Section):
    """A section and its list, if it has one."""

    list: Path | None


class MediaFolder:
    """Media of one kind with captions, labels, questions and whatever else their list says."""

    def __init__(self, column: str, noun: str) -> None:
        self._noun, self._suffixes = noun, MODALITIES[column].suffixes
        self._media = named_media(column)

    def read(self, source: Path, options: ImportOptions) -> Iterator[Sample | Refused]:
        """Every file of every section.

        ValueError if there is nothing to read, or if a field that `options` names is in no line.
        """
        fields = Fields(options, self._media)
        for section in self._sections(source):
            yield from samples(source, section, self._named(section, fields), fields, options)
        fields.check_all_seen()

    def count(self, source: Path, options: ImportOptions) -> int:
        """How many lines the lists have, or how many files there are where there is no list."""
        total = 0
        for section in self._sections(source):
            lines = count_lines(section.list) if section.list else sum(1 for _ in self._files(section.folder))
            total += lines if options.limit is None or section.split is None else min(lines, options.limit)
        return total

    def fields(self, source: Path, options: ImportOptions) -> dict[str, str]:
        """Field -> column (`meta` for what is only kept), from the first lines of every list."""
        fields = Fields(options, self._media)
        found: dict[str, str] = {}
        for section in self._sections(source):
            found |= columns_of(self._lines(section), fields)
        return found

    def doubts(self, source: Path) -> list[str]:
        """Files that no list names and folders that are not read."""
        sections = self._sections(source)
        found = []
        if num_unlisted := sum(self._num_unlisted(section) for section in sections if section.list):
            found.append(f"{num_unlisted} {self._noun} are named in no list; they are not imported")
        if sections[0].folder != source:
            read = {section.folder.name for section in sections}
            others = [path.name for path in sorted(source.iterdir()) if path.is_dir() and path.name not in read]
            if others:
                found.append(f"these folders are no splits and are not read: {', '.join(others)}")
        return found

    def _sections(self, source: Path) -> list[_Listed]:
        need_folder(source, f"the {self._noun}")
        if found := _list_in(source):
            return [_Listed(source, None, found)]
        folders = [path for path in sorted(source.iterdir()) if path.name.lower() in SPLIT_FOLDERS and path.is_dir()]
        sections = [_Listed(folder, SPLIT_FOLDERS[folder.name.lower()], _list_in(folder)) for folder in folders]
        for section in sections:
            if section.folder.is_symlink():
                raise ValueError(
                    f"{section.folder} is a symbolic link, which is not followed; import what it points to"
                )
        sections = sections or [_Listed(source, None, None)]
        if not any(section.list or any(self._files(section.folder)) for section in sections):
            raise ValueError(
                f"{source} holds no {self._noun} ({', '.join(self._suffixes)}) and no {', '.join(LISTS)}; "
                "is it the right folder and format?"
            )
        return sections

    def _lines(self, section: _Listed) -> Iterator[Line]:
        """The lines of the section's list, or one for each file: its name, and the folder it lies in as its label."""
        if section.list:
            yield from read_lines(section.list)
            return
        for name in self._files(section.folder):
            values: dict[str, Any] = {"file_name": name}
            if "/" in name:
                values["label"] = name.split("/")[-2]
            yield Line(name, values)

    def _named(self, section: _Listed, fields: Fields) -> Iterator[Line]:
        """The section's lines; one that names no file is none."""
        for line in self._lines(section):
            if line.values is not None and not fields.media_names(line.values):
                yield Line(line.place, None, "it has no file_name")
            else:
                yield line

    def _files(self, folder: Path, below: str = "") -> Iterator[str]:
        """Names relative to `folder`, in the order of their names; links to folders are not followed."""
        with os.scandir(folder / below) as entries:
            found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
        for name, is_folder in found:
            if is_folder:
                yield from self._files(folder, f"{below}{name}/")
            elif name.lower().endswith(self._suffixes):
                yield f"{below}{name}"

    def _num_unlisted(self, section: _Listed) -> int:
        fields = Fields(ImportOptions(), self._media)
        lines = (line.values for line in self._lines(section) if line.values)
        values = (line[name] for line in lines for name in fields.media_names(line).values())
        named = {value for value in values if isinstance(value, str)}
        return sum(name not in named for name in self._files(section.folder))


def _list_in(folder: Path) -> Path | None:
    found = [folder / name for name in LISTS if (folder / name).exists()]
    if len(found) > 1:
        raise ValueError(f"{folder} holds {' and '.join(path.name for path in found)}; leave only one of them")
    if found and (found[0].is_symlink() or not found[0].is_file()):
        raise ValueError(f"{found[0]} is no regular file; symbolic links are not followed")
    return found[0] if found else None
