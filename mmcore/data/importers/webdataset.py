"""WebDataset: tar files whose members with the same name before the first dot are one sample.

`000123.jpg`, `000123.txt` and `000123.json` are a picture, its caption and its further fields. Nothing is extracted:
members are read one after the other. What is no plain file, or has a name that leads elsewhere, is refused with its
sample; of a shard that is cut off, all samples before the cut are read.
"""

import json
import tarfile
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mmcore.data.importers import MAX_FILE_BYTES, SPLIT_FOLDERS, ImportOptions, Refused, RefusedPath, Sample, refuse
from mmcore.data.importers._fields import Fields, MediaFields
from mmcore.data.importers._folders import regular, split_in
from mmcore.data.importers._lines import Line
from mmcore.data.importers._samples import Section, columns_of, samples
from mmcore.data.modalities import MODALITIES, media, own_media

# The media of a sample are found under the endings of their members. An ending that pictures have says nothing of
# clips: those are called `x.video.gif`.
_SPECIAL = {"audio": ("mka",), "video": ("video.gif", "video.webp")}
# Endings that are texts, and the fields that they become.
_TEXTS = {"txt": "text", "text": "text", "caption": "caption", "cls": "label", "transcript": "transcript"}
MAX_MEMBERS = 1_000_000
MAX_TEXT_BYTES = 16 << 20


def media_endings() -> MediaFields:
    """The endings of the members that hold each medium; of a modality of one's own also `x.sensor.npy`."""
    return _endings(media())


@cache
def _endings(media: tuple[str, ...]) -> MediaFields:
    pictures = MODALITIES["image"].suffixes
    found = {}
    for name in media:
        own = [one for one in MODALITIES[name].suffixes if name == "image" or one not in pictures]
        special = [f"{name}{one}" for one in own] if name in own_media() else _SPECIAL.get(name, ())
        found[name] = (*(one[1:] for one in own), *special)
    return found


def _media_kinds() -> set[str]:
    return {one.rpartition(".")[2] for endings in media_endings().values() for one in endings}


@dataclass
class _Group:
    """The members of one key so far; `problem` is a code once one of them is refused."""

    key: str
    values: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    detail: str = ""


class Importer:
    """Samples from tar files."""

    def read(self, source: Path, options: ImportOptions) -> Iterator[Sample | Refused]:
        """The samples of every shard; a shard's split is in its folder's or its own name."""
        fields = Fields(options, media_endings())
        for path, section in _shards(source):
            refused: list[Refused] = []
            lines = _lines(path, section, refused)
            for one in samples(section.folder, section, lines, fields, options):
                yield from _emptied(refused)
                yield one
            yield from _emptied(refused)
        fields.check_all_seen()

    def fields(self, source: Path, options: ImportOptions) -> dict[str, str]:
        """Ending or field -> column, from the first samples of every shard."""
        found: dict[str, str] = {}
        for path, section in _shards(source):
            found |= columns_of(_lines(path, section, []), Fields(options, media_endings()))
        return found

    def doubts(self, source: Path) -> list[str]:
        """Archives that are not read, and members that are not: their ending is of no medium and no text."""
        packed = sorted({path.name for ending in ("*.tgz", "*.tar.*") for path in source.rglob(ending)})
        found = [f"packed archives are not read; unpack them to .tar: {', '.join(packed)}"] if packed else []
        if ignored := sorted({ending for path, _ in _shards(source) for ending in _ignored(path)}):
            found.append(f"members with these endings are not imported: {', '.join(ignored)}")
        return found


def _shards(source: Path) -> list[tuple[Path, Section]]:
    if source.is_file():
        return [(source, Section(source.parent, split_in(source.stem)))]
    if not source.is_dir():
        raise ValueError(f"{source} does not exist; give a .tar file or the folder that holds them")
    folders = [source, *(path for path in sorted(source.iterdir()) if path.name.lower() in SPLIT_FOLDERS)]
    found = [path for folder in folders for path in regular(folder.glob("*.tar"))]
    if not found:
        raise ValueError(f"{source} holds no .tar files, and none are in folders of splits; is webdataset its format?")
    return [
        (path, Section(source, split_in(path.stem) or SPLIT_FOLDERS.get(path.parent.name.lower()))) for path in found
    ]


def _emptied(refused: list[Refused]) -> Iterator[Refused]:
    while refused:
        yield refused.pop(0)


# One shard -----------------------------------------------------------------------------------------------------------


def _lines(path: Path, section: Section, refused: list[Refused]) -> Iterator[Line]:
    """A line for each good sample; what is refused goes to `refused`, with codes that a line has no place for."""
    shard = path.relative_to(section.folder).with_suffix("").as_posix()
    group: _Group | None = None
    closed: set[str] = set()
    try:
        for member, data in _members(path):
            key, ending = _key(member.name)
            if group is None or key != group.key:
                if group is not None:
                    yield from _line(shard, group, section, refused)
                    closed.add(_folded(group.key))
                group = _Group(key)
            if _folded(key) in closed:
                group.problem, group.detail = "duplicate_id", f"'{member.name}': an earlier sample has this key"
            _add(group, member, ending, data)
    except RefusedPath as error:
        # What was being put together may lack its last members.
        if group is not None:
            group.problem, group.detail = "truncated_archive", str(error)
            yield from _line(shard, group, section, refused)
        refused.append(refuse(shard, error.problem, str(error), section.split))
        return
    if group is not None:
        yield from _line(shard, group, section, refused)


def _ignored(path: Path) -> set[str]:
    """The endings of members that become no column and no field, unless `--map` names them."""
    found = set()
    usual = {one for endings in media_endings().values() for one in endings}
    with suppress(RefusedPath):
        for member, _ in _members(path, read=False):
            ending = _key(member.name)[1]
            if ending not in usual and not _is_text(ending.rpartition(".")[2]):
                found.add(f".{ending}" if ending else "(none)")
    return found


def _members(path: Path, *, read: bool = True) -> Iterator[tuple[tarfile.TarInfo, bytes | None]]:
    """Every member but folders, and what it holds (null where it is not to be read, of all where `read` is false);
    RefusedPath where the shard cannot be read on."""
    size = path.stat().st_size
    try:
        with tarfile.open(path, "r:", encoding="utf-8", errors="surrogateescape") as tar:
            number = 0
            while member := tar.next():
                tar.members = []  # type: ignore[attr-defined]  # or it would remember them all
                if member.isdir():
                    continue
                number += 1
                if number > MAX_MEMBERS:
                    raise RefusedPath("too_large", f"it has more than {MAX_MEMBERS} members")
                data = None
                if _is_plain(member) and member.size <= _max_bytes(member.name):
                    if member.offset_data + member.size > size:
                        raise RefusedPath("truncated_archive", f"it is cut off in '{member.name}'")
                    stream = tar.extractfile(member)
                    assert stream is not None
                    data = stream.read() if read else None
                yield member, data
            _check_end(path, tar.offset)
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        if isinstance(error, RefusedPath):
            raise
        raise RefusedPath("truncated_archive", f"it cannot be read on: {error}") from None


def _is_plain(member: tarfile.TarInfo) -> bool:
    """Whether a member is a file whose bytes stand in the archive: sparse ones are longer than what is there."""
    return member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()


def _max_bytes(name: str) -> int:
    kind = _key(name)[1].rpartition(".")[2]
    return MAX_TEXT_BYTES if _is_text(kind) else MAX_FILE_BYTES


def _is_text(kind: str) -> bool:
    return kind == "json" or kind in _TEXTS


def _check_end(path: Path, place: int) -> None:
    """`tarfile` takes a broken header for the end; the end is a block of zeros."""
    with open(path, "rb") as file:
        file.seek(place)
        block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE or any(block):
        raise RefusedPath("truncated_archive", f"it ends at byte {place} without the mark of an end: it is cut off")


def _key(name: str) -> tuple[str, str]:
    """What stands before the first dot of the last part of a name, with its folders, and the ending after it."""
    folder, slash, last = name.removeprefix("./").rpartition("/")
    stem, _, ending = last.partition(".")
    return folder + slash + stem, ending.lower()


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _add(group: _Group, member: tarfile.TarInfo, ending: str, data: bytes | None) -> None:
    """Put a member into its sample, or the reason against it."""
    name = member.name
    kind = ending.rpartition(".")[2]
    if name.startswith(("/", "\\", "~")) or ".." in name.replace("\\", "/").split("/") or "\0" in name or ":" in name:
        group.problem, group.detail = "unsafe_path", f"'{name}' is no relative name inside the archive"
    elif data is None:
        group.problem = "too_large" if _is_plain(member) else "unsafe_path"
        too_large = f"has {member.size} bytes, more than {_max_bytes(name)}"
        what = too_large if _is_plain(member) else "is a link, a device or sparse"
        group.detail = f"'{name}' {what}"
    elif ending in group.values:
        group.problem, group.detail = "duplicate_member", f"'{name}' is in the archive twice"
    elif kind in _media_kinds():
        group.values[ending] = {"bytes": data, "path": name}
    elif _is_text(kind):
        _add_text(group, name, kind, data)


def _add_text(group: _Group, name: str, kind: str, data: bytes) -> None:
    try:
        text = data.decode("utf-8-sig")
        found = json.loads(text, parse_constant=lambda _: None) if kind == "json" else {_TEXTS[kind]: text.strip()}
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")
        # A field is no member: `{"mpg": 30}` is no clip, and `{"jpg": "a.jpg"}` no picture of this archive.
        group.values |= {f"meta_{field}" if field in _media_kinds() else field: value for field, value in found.items()}
    except (ValueError, RecursionError) as error:
        group.problem, group.detail = "bad_manifest_line", f"'{name}': {error}"


def _line(shard: str, group: _Group, section: Section, refused: list[Refused]) -> Iterator[Line]:
    place = f"{shard}/{group.key}"
    if group.problem:
        refused.append(refuse(place, group.problem, group.detail, section.split))
    elif group.values:
        yield Line(place, group.values)
