"""Tables: CSV, TSV, JSON lines or Parquet, one file or one for each split, with the media's paths or their bytes.

Paths are relative to the folder of the table. Bytes stand in Parquet, alone or as Hugging Face's {bytes, path}. A
field `split` says where a row belongs; tables called `train`, `dev`, `val`, `validation` or `test` (`train.csv`,
`train-00000-of-00002.parquet`) are of that split as a whole.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmcore.data.importers import SPLIT_FOLDERS, ImportOptions, Refused, Sample
from mmcore.data.importers._fields import Fields, MediaFields
from mmcore.data.importers._lines import LISTS, count_lines, read_lines
from mmcore.data.importers._samples import Section, columns_of, samples
from mmcore.data.modalities import media

# Fields that hold a path to a medium of any kind: its suffix says which.
_PATHS = ("file_name", "path", "file_path", "filepath", "filename", "file")


def media_fields() -> MediaFields:
    """The fields of a table that hold media: of each its own, then those that hold a path to any."""
    return {column: (column, f"{column}_file_name", f"{column}_path", *_PATHS) for column in media()}


@dataclass(frozen=True)
class _Table(Section):
    """The rows of one file."""

    path: Path


class Importer:
    """Rows of tables."""

    def read(self, source: Path, options: ImportOptions) -> Iterator[Sample | Refused]:
        """Every row of every table; a row without an `id` is called by its medium's path, or its file and line.

        ValueError if there is nothing to read, or if a field that `options` names is in no row.
        """
        fields = Fields(options, media_fields())
        for table in _tables(source):
            yield from samples(table.folder, table, read_lines(table.path), fields, options)
        fields.check_all_seen()

    def count(self, source: Path, options: ImportOptions) -> int:
        """How many rows the tables have."""
        return sum(
            min(count_lines(table.path), (table.split and options.limit) or 1 << 62) for table in _tables(source)
        )

    def fields(self, source: Path, options: ImportOptions) -> dict[str, str]:
        """Field -> column (`meta` for what is only kept), from the first rows of every table."""
        fields = Fields(options, media_fields())
        found: dict[str, str] = {}
        for table in _tables(source):
            found |= columns_of(read_lines(table.path), fields)
        return found

    def doubts(self, source: Path) -> list[str]:
        """Tables that are not read."""
        read = {table.path for table in _tables(source)}
        others = [path.name for path in _files(source.parent if source.is_file() else source) if path not in read]
        if source.is_file() or not others:
            return []
        return [f"these tables are of no split and are not read: {', '.join(others)}"]


def _tables(source: Path) -> list[_Table]:
    """The tables of a source: itself, those of the splits, or the only one there is."""
    if not source.exists():
        raise ValueError(f"{source} does not exist; give a table ({', '.join(LISTS)}) or the folder that holds it")
    if source.is_symlink():
        raise ValueError(f"{source} is a symbolic link, which is not followed; import what it points to")
    if source.is_file():
        if source.suffix.lower() not in LISTS:
            raise ValueError(f"{source.name} is no table; a table is called {', '.join(f'*{one}' for one in LISTS)}")
        return [_Table(source.parent, None, source)]
    found = [path for path in _files(source) if not path.is_symlink()]
    of_splits = [_Table(source, split, path) for path in found if (split := split_of_name(path.stem))]
    if of_splits:
        return of_splits
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "no table"
        raise ValueError(
            f"{source} holds {names}; one table is read, or one for each split (train.csv, test.csv): give its path"
        )
    return [_Table(source, None, found[0])]


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() in LISTS and path.is_file()]


def split_of_name(stem: str) -> str | None:
    """The split that a file's name begins with: `train-00000-of-00002`, `test.clean`, `val`; null if none."""
    return SPLIT_FOLDERS.get(re.split(r"[-_.]", stem.lower())[0])
