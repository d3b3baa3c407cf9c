"""Data sets as Hugging Face's library leaves them on disk, read without that library.

What `save_to_disk` writes (a folder of Arrow streams, or one for each split), or a repository's folder of Parquet
files (`data/train-00000-of-00002.parquet`, `train/0000.parquet`). A source that is no folder but a name on the hub,
`owner/name`, is downloaded first.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from huggingface_hub import HfApi, constants, snapshot_download

from mmcore.data.importers import SPLIT_FOLDERS, ImportOptions, Refused, Sample
from mmcore.data.importers._fields import Fields, MediaFields
from mmcore.data.importers._folders import split_in
from mmcore.data.importers._lines import Line, as_lines, batch_rows, count_lines, parquet_batches, parquet_schema
from mmcore.data.importers._samples import Section, columns_of, samples
from mmcore.data.importers.table import media_fields
from mmcore.workspace import read_json

FILES = (".parquet", ".arrow")
_MEDIA_TYPES = {"image": "Image", "audio": "Audio", "video": "Video"}
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class _Part(Section):
    """One split and its files, in order."""

    files: tuple[Path, ...]


class Importer:
    """Rows of a Hugging Face data set; numbers of a ClassLabel become the names of their classes."""

    def __init__(self) -> None:
        self._places: dict[Path, Path] = {}

    def read(self, source: Path, options: ImportOptions) -> Iterator[Sample | Refused]:
        """Every row of every split; a row without an `id` is called by its source, split and number
        (`photos:train:17`, `owner/name:train:17`).

        ValueError or OSError if there is nothing to read, or if a field that `options` names is in no row.
        """
        parts = self._parts(source)
        features = _features(parts[0])
        fields = Fields(options, _media_fields(features))
        name = source.resolve().name if source.is_dir() else str(source)
        for part in parts:
            yield from samples(part.folder, part, _lines(part, features, name), fields, options)
        fields.check_all_seen()

    def count(self, source: Path, options: ImportOptions) -> int:
        """How many rows the files hold."""
        total = 0
        for part in self._parts(source):
            rows = sum(_num_rows(path) for path in part.files)
            total += rows if options.limit is None or part.split is None else min(rows, options.limit)
        return total

    def fields(self, source: Path, options: ImportOptions) -> dict[str, str]:
        """Field -> column (`meta` for what is only kept), from the first rows of every split."""
        parts = self._parts(source)
        features = _features(parts[0])
        fields = Fields(options, _media_fields(features))
        found: dict[str, str] = {}
        for part in parts:
            found |= columns_of(_lines(part, features, source.name), fields)
        return found

    def doubts(self, source: Path) -> list[str]:
        """Media that no column takes, and files and folders that are not read."""
        parts = self._parts(source)
        features = _features(parts[0])
        taken = {name for names in _media_fields(features).values() for name in names}
        others = [name for name in _media_in(features) if name not in taken]
        found = [f"the fields {', '.join(others)} hold media and are not imported; choose with --map"] if others else []
        if ignored := _ignored(self._place(source), parts):
            found.append(f"these are of no split and are not read: {', '.join(ignored)}")
        return found

    def _parts(self, source: Path) -> list[_Part]:
        return _parts(self._place(source))

    def _place(self, source: Path) -> Path:
        """Where the files are: looked for once, so that all that is said of a source is said of one revision."""
        if source not in self._places:
            self._places[source] = _local(source)
        return self._places[source]


# Where the rows are --------------------------------------------------------------------------------------------------


def _local(source: Path) -> Path:
    """The folder itself, or that of a download of a data set's files from the hub, which names their revision."""
    if source.is_dir():
        return source
    if source.exists() or not _HUB_NAME.fullmatch(str(source)):
        raise ValueError(f"{source} is no folder; give a data set's folder, or its name on the hub (owner/name)")
    name = str(source)
    try:
        revision = str(HfApi().dataset_info(name).sha)
        # A folder of its own for each revision: a download removes nothing of what an earlier one has left.
        copy = Path(constants.HF_HOME) / "mmcore" / name.replace("/", "--") / revision
        patterns = [f"*{ending}" for ending in FILES]
        snapshot_download(name, repo_type="dataset", revision=revision, local_dir=copy, allow_patterns=patterns)
    except Exception as error:  # what stands for a failed connection differs between versions of the hub's library
        reason = str(error).strip().split("\n")[0]
        raise OSError(
            f"there is no folder {name}, and the hub did not give a data set of this name: {reason}"
        ) from None
    return copy


def _parts(folder: Path) -> list[_Part]:
    if (folder / "dataset_dict.json").is_file():
        names = read_json(folder / "dataset_dict.json").get("splits", [])
        found = [_Part(folder, split_in(str(name)), _saved(folder / str(name))) for name in names]
    elif (folder / "state.json").is_file():
        found = [_Part(folder, split_in(str(read_json(folder / "state.json").get("_split"))), _saved(folder))]
    else:
        found = _repository(folder)
    for path in (path for part in found for path in part.files):
        if path.is_symlink():
            raise ValueError(f"{path} is a symbolic link, which is not followed; copy the data set with its files")
    by_split: dict[str | None, _Part] = {}
    for part in found:
        # test.clean and test.other are both the split test.
        before = by_split.get(part.split)
        by_split[part.split] = replace(part, files=before.files + part.files) if before else part
    if len(by_split) > 1:
        by_split.pop(None, None)
    order = list(dict.fromkeys(SPLIT_FOLDERS.values()))
    return sorted(by_split.values(), key=lambda part: order.index(part.split) if part.split else -1)


def _saved(folder: Path) -> tuple[Path, ...]:
    """The Arrow files of one split as `save_to_disk` lists them."""
    names = [str(entry.get("filename")) for entry in read_json(folder / "state.json").get("_data_files", [])]
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise ValueError(f"{folder / 'state.json'} names the file '{name}', which is not in the folder")
    if not names:
        raise ValueError(f"{folder / 'state.json'} names no data files; save the data set again")
    return tuple(folder / name for name in names)


def _repository(folder: Path) -> list[_Part]:
    """The files of every split in a folder, in its `data`, or in its only configuration."""
    for place in (folder, folder / "data"):
        if found := _by_split(folder, place):
            return found
    configurations = {path.name: found for path in _folders(folder) if (found := _by_split(folder, path))}
    if len(configurations) > 1:
        raise ValueError(f"{folder} holds {', '.join(configurations)}; import one of them, by its folder")
    if not configurations:
        raise ValueError(
            f"{folder} holds neither what save_to_disk writes (dataset_info.json, state.json, *.arrow) nor Parquet "
            "files such as data/train-00000-of-00001.parquet; is huggingface its format?"
        )
    return next(iter(configurations.values()))


def _by_split(root: Path, place: Path) -> list[_Part]:
    files: dict[str | None, list[Path]] = {}
    for path in _files(place):
        files.setdefault(split_in(path.stem), []).append(path)
    for below in _folders(place):
        if split := SPLIT_FOLDERS.get(below.name.lower()):
            files.setdefault(split, []).extend(_files(below))
    return [_Part(root, split, tuple(paths)) for split, paths in files.items() if paths]


def _ignored(folder: Path, parts: Sequence[_Part]) -> list[str]:
    """The files below a folder that belong to no part; where all files of a folder are such, only its name."""
    read = {path for part in parts for path in part.files}
    places = {folder, *(path.parent for path in read)}
    others = (path for path in folder.rglob("*") if path.suffix.lower() in FILES and path not in read)
    return sorted({path.name if path.parent in places else path.parent.name for path in others})


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*")) if path.suffix.lower() in FILES and path.is_file()]


def _folders(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*")) if path.is_dir() and not path.is_symlink()]


# The rows ------------------------------------------------------------------------------------------------------------


def _lines(part: _Part, features: dict[str, Any], name: str) -> Iterator[Line]:
    """The rows of a part; `name` is that of the source, so that rows of two sources never get one place."""
    classes = {
        name: feature["names"]
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }
    number = 0
    for path in part.files:
        for batch in _batches(path):
            for line in as_lines(batch, f"{name}:{part.split or 'row'}", number):
                values = line.values or {}
                values.update({name: _class(names, values[name]) for name, names in classes.items() if name in values})
                yield line
            number += batch.num_rows


def _class(names: Sequence[str], value: Any) -> Any:
    """The name of a class; null for a number that stands for none (-1), anything else as it is."""
    if isinstance(value, list):
        return [_class(names, one) for one in value]
    if isinstance(value, int):
        return names[value] if 0 <= value < len(names) else None
    return value


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The rows of a file, a few MiB at a time."""
    if path.suffix.lower() == ".parquet":
        yield from parquet_batches(path)
        return
    with _stream(path) as stream:
        for batch in stream:
            step = batch_rows(batch.nbytes, batch.num_rows)
            for start in range(0, batch.num_rows, step):
                yield batch.slice(start, step)


def _num_rows(path: Path) -> int:
    if path.suffix.lower() == ".parquet":
        return count_lines(path)
    with _stream(path) as stream:
        return sum(batch.num_rows for batch in stream)


@contextmanager
def _stream(path: Path) -> Iterator[pa.RecordBatchReader]:
    """An Arrow stream, read where it lies; ValueError if it is none or is cut off."""
    try:
        with pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as stream:
            yield stream
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read: {error}; get the file anew") from None


def _features(part: _Part) -> dict[str, Any]:
    """Field -> its type as Hugging Face describes it, from the first file or what lies beside it; empty if nowhere."""
    path = part.files[0]
    if path.suffix.lower() == ".parquet":
        schema = parquet_schema(path)
    else:
        with _stream(path) as stream:
            schema = stream.schema
    stated = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    beside = path.parent / "dataset_info.json"
    features = (stated.get("info") or {}).get("features") or (read_json(beside) if beside.is_file() else {}).get(
        "features"
    )
    return dict(features or {})


def _media_in(features: dict[str, Any]) -> dict[str, str]:
    """Field -> media column, of the fields that hold media."""
    kinds = {kind: column for column, kind in _MEDIA_TYPES.items()}
    return {
        name: kinds[feature["_type"]]
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") in kinds
    }


def _media_fields(features: dict[str, Any]) -> MediaFields:
    """The field of each medium: the one that is called like it, else the first of its type; the usual ones where no
    types are stated."""
    typed = _media_in(features)
    if not typed:
        return media_fields()
    found = {}
    for column in _MEDIA_TYPES:
        names = [name for name, kind in typed.items() if kind == column]
        found[column] = (column,) if column in names else tuple(names[:1])
    return found
