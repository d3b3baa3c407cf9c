"""Readers of other people's data sets. A file in this folder is a format; its class is `Importer`.

An importer streams what a source holds: a dict for each sample, or a `Refused` for each line that cannot become one.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

from mmcore.registry import Table

# What splits are called, by folders, files and fields. Hugging Face takes eval for test; the pictures that Karpathy's
# lists call restval are those of COCO's validation set that everybody trains on.
SPLIT_FOLDERS = {
    "train": "train", "training": "train", "restval": "train",
    "dev": "validation", "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip
MAX_FILE_BYTES = 512 << 20


@dataclass(frozen=True)
class ImportOptions:
    """How the fields of a source become the columns of the store.

    `map`: column -> field, where the names differ, or fields, whose values then stand one after the other (captions,
    qa, labels). `lang`: the captions' language, of all or field by field; `lang_field`: the field that holds it.
    `group`, `positives`: the fields that give these columns. `limit`: rows of each split, the first ones.
    """

    map: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    lang: str | Mapping[str, str] | None = None
    lang_field: str | None = None
    group: str | None = None
    positives: str | None = None
    limit: int | None = None

    @classmethod
    def from_words(cls, words: Mapping[str, Any], *, limit: int | None = None) -> Self:
        """The options that `data.fields` of params.yaml states; ValueError for a word that does not exist."""
        known = ("map", "lang", "lang_field", "group", "positives")
        for word in words:
            if word not in known:
                raise ValueError(f"data.fields has no key '{word}'; there are: {', '.join(known)}")
        return cls(**words, limit=limit)

    def words(self) -> dict[str, Any]:
        """What differs from the defaults, as `data.fields` of params.yaml states it; `limit` is no such word."""
        fields = {column: named if isinstance(named, str) else list(named) for column, named in self.map.items()}
        lang = dict(self.lang) if isinstance(self.lang, Mapping) else self.lang
        words = {
            "map": fields, "lang": lang, "lang_field": self.lang_field, "group": self.group,
            "positives": self.positives,
        }  # fmt: skip
        return {word: value for word, value in words.items() if value}


@dataclass(frozen=True, slots=True)
class Refused:
    """A line of the source that becomes no row: `problem` is a code such as `missing_file`."""

    id: str
    problem: str
    detail: str
    split: str | None = None


def refuse(id: str, problem: str, detail: str, split: str | None) -> Refused:
    """A `Refused` whose texts can be written whatever characters the source uses."""
    safe_id, safe_detail = (one.encode("utf-8", "backslashreplace").decode() for one in (id, detail))
    return Refused(safe_id, problem, safe_detail, split)


Sample = dict[str, Any]


class Reader(Protocol):
    """What every `Importer` does."""

    def read(self, source: Path, options: ImportOptions) -> Iterator[Sample | Refused]:
        """Samples as columns of the store, and `split` (null: by the group's key). Media are bytes or safe paths."""

    def fields(self, source: Path, options: ImportOptions) -> dict[str, str]:
        """Which column each field of the source goes to."""

    def doubts(self, source: Path) -> list[str]:
        """Sentences about what a person should look at before importing."""


@runtime_checkable
class Counted(Protocol):
    """What an `Importer` does that knows its size without reading everything: the progress bar shows time left."""

    def count(self, source: Path, options: ImportOptions) -> int:
        """How many samples and refused lines `read` will give, at most."""


def content(value: Any) -> Any:
    """The value of a column: what a path leads to, anything else as it is."""
    return value.read_bytes() if isinstance(value, Path) else value


class RefusedPath(ValueError):
    """A file name that is not followed, or another reason against a row that has a code of its own: `problem`."""

    def __init__(self, problem: str, detail: str) -> None:
        super().__init__(detail)
        self.problem = problem


def safe_file(root: Path, folder: Path, name: str) -> Path:
    """The regular file `name` in `folder`, which lies below `root`; RefusedPath if it is missing or leads elsewhere.

    Absolute names, names with `..`, addresses, places inside archives (`zip://`, `::`) and links of any kind are
    refused, whatever they point to.
    """
    if not name or "\0" in name or name.startswith(("/", "\\", "~")) or re.match(r"[A-Za-z]:", name):
        raise RefusedPath("unsafe_path", f"'{name}' is no relative file name")
    if "://" in name or "::" in name:
        raise RefusedPath("unsafe_path", f"'{name}' is an address or a place in an archive, not a file in the folder")
    parts = name.replace("\\", "/").split("/")
    if ".." in parts:
        raise RefusedPath("unsafe_path", f"'{name}' leads out of the folder")
    path = folder.joinpath(*parts)
    try:
        step, status = str(root), None
        for part in path.relative_to(root).parts:
            step = f"{step}/{part}"
            status = os.lstat(step)
            if stat.S_ISLNK(status.st_mode):
                raise RefusedPath("unsafe_path", f"'{name}' is or goes through a symbolic link")
    except FileNotFoundError:
        raise RefusedPath("missing_file", f"there is no file '{name}'") from None
    except OSError as error:
        raise RefusedPath("missing_file", f"'{name}' cannot be opened: {error.strerror}") from None
    if status is None or not stat.S_ISREG(status.st_mode):
        raise RefusedPath("unsafe_path", f"'{name}' is no regular file")
    if status.st_size > MAX_FILE_BYTES:
        raise RefusedPath("too_large", f"'{name}' has {status.st_size} bytes, more than {MAX_FILE_BYTES}")
    return path


IMPORTERS: Table[type[Reader]] = Table("import format", folder="mmcore.data.importers", attribute="Importer")
