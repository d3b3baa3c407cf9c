"""COCO: `annotations/captions_*.json` with captions, `instances_*.json` with categories, folders of pictures beside.

Files are read as a stream. An image's captions come together; its categories become labels: name -> how many there
are of it. An annotation file in the folder of its pictures (`train/_annotations.coco.json`) is read as well.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from mmcore.data.importers import SPLIT_FOLDERS, ImportOptions, Refused, Sample
from mmcore.data.importers._fields import Fields
from mmcore.data.importers._folders import folder_of, need_folder, regular, split_in
from mmcore.data.importers._grouped import Grouped
from mmcore.data.importers._json_arrays import elements
from mmcore.data.importers._lines import Line
from mmcore.data.importers._samples import Section, columns_of, samples

KINDS = ("captions", "instances")
_OTHERS = ("person_keypoints", "stuff", "panoptic", "image_info", "labels")
_MIXED = "_annotations.coco"


@dataclass(frozen=True)
class _Set(Section):
    """The annotation files of one set of pictures; the first one names the pictures."""

    files: tuple[Path, ...]


class Importer:
    """Pictures with captions, and how many things of which category they show."""

    def read(self, source: Path, options: ImportOptions) -> Iterator[Sample | Refused]:
        """One sample per image of every set, in the order of its annotation file."""
        fields = Fields(options)
        for one in _sets(source):
            yield from samples(source, one, _lines(one), fields, options)
        fields.check_all_seen()

    def fields(self, source: Path, options: ImportOptions) -> dict[str, str]:
        """Field -> column, from the first images of every set."""
        found: dict[str, str] = {}
        for one in _sets(source):
            found |= columns_of(_lines(one), Fields(options))
        return found

    def doubts(self, source: Path) -> list[str]:
        """Annotation files that are not read."""
        read = {file for one in _sets(source) for file in one.files}
        others = sorted(path.name for path in _json_files(source) if path not in read)
        return [f"these files are not read: {', '.join(others)}"] if others else []


def _sets(source: Path) -> list[_Set]:
    need_folder(source, "annotations/ and the pictures")
    by_name: dict[tuple[str, Path], list[Path]] = {}
    for path in regular(_json_files(source)):
        kind, _, rest = path.stem.partition("_")
        if path.stem == _MIXED:
            by_name.setdefault((path.parent.name, path.parent), []).append(path)
        elif not path.stem.startswith(_OTHERS):
            by_name.setdefault((rest if kind in KINDS and rest else path.stem, path.parent), []).append(path)
    found = []
    for (name, folder), files in by_name.items():
        first = [str(image.get("file_name")) for image in islice(_images(files[0]), 1)]
        place = folder_of(source, name, first=first, beside=folder)
        found.append(_Set(place, split_in(name), tuple(files)))
    if not found:
        raise ValueError(f"{source} holds no annotations/captions_*.json or instances_*.json; is coco its format?")
    return found


def _json_files(source: Path) -> list[Path]:
    folders = [source / "annotations", source]
    folders += [path for path in source.iterdir() if path.name.lower() in SPLIT_FOLDERS and path.is_dir()]
    return [path for folder in folders for path in folder.glob("*.json")]


def _images(file: Path) -> Iterator[dict[str, Any]]:
    for _, image in elements(file, "images"):
        if isinstance(image, dict):
            yield image


def _lines(one: _Set) -> Iterator[Line]:
    categories: dict[str, str] = {}
    with closing(Grouped()) as grouped:
        for file in one.files:
            grouped.add(_annotations(file, categories))
        for number, image in enumerate(_images(one.files[0])):
            place = f"{one.files[0].name}:images[{number}]"
            if not isinstance(image.get("file_name"), str):
                yield Line(place, None, "it has no file_name")
                continue
            values = {name: value for name, value in image.items() if name != "id"} | {"image_id": image.get("id")}
            found = grouped[image.get("id")]
            captions = [caption for caption, _ in found if caption is not None]
            counts = Counter(categories[str(category)] for _, category in found if str(category) in categories)
            values |= {"captions": captions} if captions else {}
            values |= {"labels": dict(counts)} if counts else {}
            yield Line(place, values)


def _annotations(file: Path, categories: dict[str, str]) -> Iterator[tuple[Any, tuple[Any, Any]]]:
    """Image id, and a caption or the id of a category; the names of categories go to `categories`."""
    for array, one in elements(file, "annotations", "categories"):
        if not isinstance(one, dict):
            continue
        if array == "categories":
            categories[str(one.get("id"))] = str(one.get("name"))
        elif "caption" in one or "category_id" in one:
            yield one.get("image_id"), (one.get("caption"), one.get("category_id"))
