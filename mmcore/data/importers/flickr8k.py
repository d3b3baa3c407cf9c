"""Caption files as Flickr8k has them: `image.jpg#0<TAB>caption`, or `image,caption` as CSV, and lists of splits.

`image.jpg#zhc#0 caption` states a language before the number. Split lists are `*.trainImages.txt`, `*.devImages.txt`
and `*.testImages.txt`, one picture a line. All files lie in the source or one folder below it.
"""

import csv
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mmcore.data.importers import ImportOptions, Refused, Sample
from mmcore.data.importers._fields import Fields
from mmcore.data.importers._folders import folder_of, need_folder, regular
from mmcore.data.importers._grouped import Grouped
from mmcore.data.importers._lines import MAX_LINE_BYTES, Line
from mmcore.data.importers._samples import Section, columns_of, samples
from mmcore.data.modalities import MODALITIES

_NUMBERED = re.compile(r"([^\t]+?)#(?:([A-Za-z]{2})[A-Za-z]*#)?\d+(?:#\w*)?\s(.*)")
_SPLIT_LIST = re.compile(r".*?(train|dev|val|validation|test)_?images\.txt", re.IGNORECASE)
_HEADERS = (["image", "caption"], ["image_name", "caption"], ["file_name", "caption"], ["filename", "caption"])
_SAMPLED = 20


@dataclass(frozen=True)
class _Caption:
    """One line of a caption file; `image` is null where it is none."""

    place: str
    image: str | None
    text: str = ""
    lang: str | None = None


class Importer:
    """Pictures with several captions each."""

    def read(self, source: Path, options: ImportOptions) -> Iterator[Sample | Refused]:
        """One sample per picture, in the order in which the caption files name them.

        Where there are lists of splits, a picture that is in none of them is refused (`no_split`).
        """
        fields = Fields(options)
        splits = _splits(source)
        section = _section(source)
        for one in samples(source, section, _lines(_caption_files(source), splits), fields, options):
            if isinstance(one, dict) and splits and one["split"] is None:
                yield Refused(one["id"], "no_split", "it is in none of the lists of splits")
            else:
                yield one
        fields.check_all_seen()

    def fields(self, source: Path, options: ImportOptions) -> dict[str, str]:
        """Field -> column, from the first pictures."""
        return columns_of(_lines(_caption_files(source), _splits(source)), Fields(options))

    def doubts(self, source: Path) -> list[str]:
        """Pictures that have no caption, and pictures that a list names but no caption does."""
        folder = _section(source).folder
        there = {path.name for path in folder.iterdir() if path.suffix.lower() in MODALITIES["image"].suffixes}
        captioned = {one.image for file in _caption_files(source) for one in _captions(file) if one.image}
        found = []
        if num_silent := len(there - captioned):
            found.append(f"{num_silent} pictures have no caption; they are not imported")
        if num_listed := len(set(_splits(source)) - captioned):
            found.append(f"{num_listed} pictures are in a list of splits and have no caption")
        return found


# Where things are ----------------------------------------------------------------------------------------------------


def _text_files(source: Path) -> list[Path]:
    need_folder(source, "the caption file and the pictures")
    folders = [source, *(path for path in source.iterdir() if path.is_dir() and not path.is_symlink())]
    return [path for folder in folders for path in folder.iterdir() if path.suffix in (".txt", ".token", ".csv")]


def _caption_files(source: Path) -> list[Path]:
    """Files whose first line is a caption's, each language once. Lemmatised captions are no captions."""
    found: dict[str | None, Path] = {}
    for path in regular(_text_files(source)):
        if "lemma" in path.name.lower() or _SPLIT_LIST.fullmatch(path.name):
            continue
        first = next(_captions(path), None)
        if first is None or first.image is None:
            continue
        if first.lang in found:
            raise ValueError(f"{found[first.lang]} and {path} both hold captions; leave only one of them")
        found[first.lang] = path
    if not found:
        raise ValueError(
            f"{source} holds no caption file ('image.jpg#0<TAB>caption', or CSV with the fields image and caption); "
            "is flickr8k its format?"
        )
    return list(found.values())


def _splits(source: Path) -> dict[str, str]:
    """Picture -> the split whose list names it; a ValueError if two do."""
    found: dict[str, str] = {}
    for path in regular(path for path in _text_files(source) if _SPLIT_LIST.fullmatch(path.name)):
        word = _SPLIT_LIST.fullmatch(path.name)
        assert word is not None
        for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            if not (image := line.strip()):
                continue
            if found.setdefault(image, word[1].lower()) != word[1].lower():
                raise ValueError(f"{path} lists '{image}', which is of the split {found[image]} already")
    return found


def _section(source: Path) -> Section:
    file = _caption_files(source)[0]
    first = [one.image for one in islice(_captions(file), _SAMPLED) if one.image]
    for name in ("Flicker8k_Dataset", "Flickr8k_Dataset", "Flicker8k_Dataset/Flicker8k_Dataset", "flickr30k_images"):
        if any((source / name / image).is_file() for image in first):
            return Section(source / name, None)
    return Section(folder_of(source, "Images", first=first, beside=file.parent), None)


# The lines -----------------------------------------------------------------------------------------------------------


def _lines(files: list[Path], splits: dict[str, str]) -> Iterator[Line]:
    with closing(Grouped()) as grouped:
        for file in files:
            grouped.add((one.image or "", (one.place, one.text, one.lang)) for one in _captions(file))
        for place, line, _ in grouped[""]:
            yield Line(place, None, f"it is no picture and caption: {line[:80]}")
        for image in grouped:
            if image:
                found = grouped[image]
                captions = [{"text": text, "lang": lang} for _, text, lang in found]
                values = {"file_name": image, "captions": captions}
                yield Line(found[0][0], values | ({"split": splits[image]} if image in splits else {}))


def _captions(path: Path) -> Iterator[_Caption]:
    with open(path, encoding="utf-8-sig", newline="", errors="surrogateescape") as file:
        header = file.readline(MAX_LINE_BYTES)
        names = [name.strip().lower() for name in header.split(",")]
        if names in _HEADERS:
            csv.field_size_limit(MAX_LINE_BYTES)
            rows = csv.reader(file)
            for row in rows:
                place = f"{path.name}:{rows.line_num + 1}"
                if len(row) >= 2 and row[0]:
                    # Captions with commas that nobody quoted.
                    yield _Caption(place, row[0].strip(), ",".join(row[1:]).strip())
                elif row:
                    yield _Caption(place, None, ",".join(row))
            return
        line, number = header, 0
        while line:
            number += 1
            if line.strip():
                found = _NUMBERED.match(line.rstrip("\r\n"))
                place = f"{path.name}:{number}"
                lang = found[2].lower() if found and found[2] else None
                yield _Caption(place, found[1], found[3].strip(), lang) if found else _Caption(place, None, line)
            line = file.readline(MAX_LINE_BYTES)
