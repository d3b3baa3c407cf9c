"""Where the files of a data set lie that comes as lists and folders of pictures beside them."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from mmcore.data.importers import SPLIT_FOLDERS


def folder_of(source: Path, name: str, *, first: Iterable[str], beside: Path) -> Path:
    """The folder below `source` that holds one of the files `first`: the usual places for the pictures of a list
    called `name` that lies in the folder `beside`; `source` itself if none does."""
    places = [
        source / name, source / "images" / name, source / "Images" / name, source / name / "images", beside / "images",
        source / "images", source / "Images", beside, source,
    ]  # fmt: skip
    names = list(first)
    for place in places:
        # A name that leads elsewhere is refused later, when it is opened.
        if any(one and "\0" not in one and (place / one).is_file() for one in names):
            return place
    return source


def split_in(name: str) -> str | None:
    """The split that a name tells, as in `captions_train2017.json` or `shards-val-0001.tar`; None if it tells none."""
    for word in re.split(r"[^A-Za-z]+", name):
        if word.lower() in SPLIT_FOLDERS:
            return SPLIT_FOLDERS[word.lower()]
    return None


def need_folder(source: Path, what: str) -> None:
    """ValueError unless `source` is a folder; `what` says what it must hold."""
    if not source.is_dir():
        reason = "is a file, not a folder" if source.exists() else "does not exist"
        raise ValueError(f"{source} {reason}; give the folder that holds {what}")


def regular(paths: Iterable[Path]) -> Iterator[Path]:
    """The paths, sorted; ValueError if one is a symbolic link or no file."""
    for path in sorted(set(paths)):
        if path.is_symlink() or not path.is_file():
            raise ValueError(f"{path} is no regular file; symbolic links are not followed")
        yield path
