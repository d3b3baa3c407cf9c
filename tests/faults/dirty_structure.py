"""Damage that no single sound file shows: copies, torn groups, lies about a row, and paths that lead elsewhere."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from tests.faults.dirty_bombs import told
from tests.faults.dirty_clean import Rng, clip, encoded, frames, photo, voice, wav
from tests.faults.dirty_images import described
from tests.faults.dirty_kinds import Columns
from tests.faults.dirty_media import heard


@dataclass(frozen=True)
class Part:
    """One row of a kind that takes several: its columns, its split, and what is expected of it.

    `after` changes the finished row as no importer would leave it.
    """

    columns: Columns
    split: str
    expected: str
    after: Callable[[Columns], None] | None = None


Pairs = dict[str, tuple[str, Callable[[Rng], list[Part]]]]
PAIRS: Pairs = {}


def _pair(family: str) -> Callable[[Callable[[Rng], list[Part]]], Callable[[Rng], list[Part]]]:
    def add(make: Callable[[Rng], list[Part]]) -> Callable[[Rng], list[Part]]:
        PAIRS[make.__name__] = (family, make)
        return make

    return add


def _leak(train: Columns, test: Columns) -> list[Part]:
    """The copy in training has to go; the test split stays as it is."""
    return [Part(test, "test", "any"), Part(train, "train", "reject")]


# Copies --------------------------------------------------------------------------------------------------------------


@_pair("unusable")
def same_picture_in_two_splits(rng: Rng) -> list[Part]:
    image = encoded(photo(rng), "JPEG")
    return _leak(described(rng, image), described(rng, image))


@_pair("unusable")
def same_recording_in_two_splits(rng: Rng) -> list[Part]:
    audio = wav(voice(rng, 1.5, 16000) * 0.5, 16000)
    return _leak(heard(rng, audio), heard(rng, audio))


@_pair("unusable")
def same_clip_in_two_splits(rng: Rng) -> list[Part]:
    video = clip(frames(rng, 8), 100)
    return _leak(told(rng, video), told(rng, video))


@_pair("unusable")
def picture_saved_anew_in_two_splits(rng: Rng) -> list[Part]:
    """Compressed harder: other bytes, the same picture to the eye."""
    picture = photo(rng, 200, 160)
    saved = [described(rng, encoded(picture, "JPEG", quality=quality)) for quality in (60, 92)]
    return _leak(*saved)


@_pair("unusable")
def picture_made_smaller_in_two_splits(rng: Rng) -> list[Part]:
    picture = photo(rng, 240, 180)
    small = picture.resize((160, 120), Image.Resampling.LANCZOS)
    return _leak(described(rng, encoded(small)), described(rng, encoded(picture, "JPEG", quality=90)))


@_pair("unusable")
def picture_in_another_format_in_two_splits(rng: Rng) -> list[Part]:
    picture = photo(rng, 180, 180)
    return _leak(described(rng, encoded(picture, "WEBP", quality=80)), described(rng, encoded(picture)))


@_pair("doubtful")
def same_row_twice(rng: Rng) -> list[Part]:
    row = described(rng, encoded(photo(rng)))
    return [Part(row, "train", "any"), Part(dict(row), "train", "flag")]


@_pair("doubtful")
def picture_saved_anew_in_one_split(rng: Rng) -> list[Part]:
    picture, text = photo(rng, 200, 160), described(rng, b"")["captions"]
    made = [{"image": encoded(picture, "JPEG", quality=quality), "captions": text} for quality in (65, 90)]
    return [Part(made[0], "train", "any"), Part(made[1], "train", "flag")]


@_pair("bystander")
def one_picture_two_descriptions(rng: Rng) -> list[Part]:
    """Two people described it: no damage, or a conflict; whatever a gate says is shown."""
    image = encoded(photo(rng))
    return [Part(described(rng, image), "train", "any"), Part(described(rng, image), "train", "any")]


@_pair("doubtful")
def group_in_two_splits(rng: Rng) -> list[Part]:
    """Two views of one thing that its source put on both sides of the fence."""
    group = f"thing-{rng.integers(1 << 40)}"
    rows = [{**described(rng, encoded(photo(rng))), "group": group} for _ in range(2)]
    return [Part(rows[0], "test", "any"), Part(rows[1], "train", "flag")]


# Lies about a row ----------------------------------------------------------------------------------------------------


def _row(rng: Rng, expected: str, after: Callable[[Columns], None]) -> list[Part]:
    return [Part(described(rng, encoded(photo(rng))), "train", expected, after)]


@_pair("doubtful")
def meta_no_json(rng: Rng) -> list[Part]:
    broken = str(rng.choice(["{'a': 1}", "{", "taken in 1998", "", '{"a": NaN}}']))
    return _row(rng, "flag", lambda row: row.update(meta=broken))


@_pair("doubtful")
def meta_no_object(rng: Rng) -> list[Part]:
    return _row(rng, "flag", lambda row: row.update(meta=str(rng.choice(["[1, 2]", "17", '"a"', "null"]))))


@_pair("unusable")
def wrong_hash(rng: Rng) -> list[Part]:
    """The picture was replaced after its hash was taken."""
    other = encoded(photo(rng))
    return _row(rng, "reject", lambda row: row.update(image=other))


@_pair("unusable")
def no_id(rng: Rng) -> list[Part]:
    return _row(rng, "reject", lambda row: row.update(id=""))


@_pair("unusable")
def nothing_at_all(rng: Rng) -> list[Part]:
    return [Part({"labels": {"kind": "7"}, "meta": {"taken": 1998}}, "train", "reject")]


@_pair("unusable")
def no_words_and_no_media_but_blanks(rng: Rng) -> list[Part]:
    return [Part({"transcript": " \n", "captions": [{"text": "", "lang": "en"}]}, "train", "reject")]


# The source ----------------------------------------------------------------------------------------------------------

Line = dict[str, Any]
# What happens to a sound line whose picture lies in the folder: it changes them, and may give the line's bytes itself.
Spoil = Callable[[Path, Line], bytes | None]


def _missing(folder: Path, line: Line) -> None:
    (folder / line["file_name"]).unlink()


def _parent(folder: Path, line: Line) -> None:
    outside = folder.parent.parent / f"outside-{line['file_name']}"
    (folder / line["file_name"]).rename(outside)
    line["file_name"] = f"../../{outside.name}"


def _parent_and_back(folder: Path, line: Line) -> None:
    line["file_name"] = f"../{folder.name}/{line['file_name']}"


def _windows_parent(folder: Path, line: Line) -> None:
    line["file_name"] = f"..\\..\\{line['file_name']}"


def _absolute(folder: Path, line: Line) -> None:
    line["file_name"] = str((folder / line["file_name"]).absolute())


def _system_file(folder: Path, line: Line) -> None:
    line["file_name"] = "/etc/passwd"


def _link(folder: Path, line: Line) -> None:
    path = folder / line["file_name"]
    path.rename(folder.parent.parent / f"target-{path.name}")
    path.symlink_to(folder.parent.parent / f"target-{path.name}")


def _link_inside(folder: Path, line: Line) -> None:
    path = folder / line["file_name"]
    path.rename(path.with_name(f"target-{path.name}"))
    path.symlink_to(f"target-{path.name}")


def _dangling_link(folder: Path, line: Line) -> None:
    path = folder / line["file_name"]
    path.unlink()
    path.symlink_to("nothing-is-here.png")


def _linked_folder(folder: Path, line: Line) -> None:
    outside = folder.parent.parent / f"album-{line['file_name']}"
    outside.mkdir()
    (folder / line["file_name"]).rename(outside / "a.png")
    (folder / outside.name).symlink_to(outside, target_is_directory=True)
    line["file_name"] = f"{outside.name}/a.png"


def _folder(folder: Path, line: Line) -> None:
    (folder / line["file_name"]).unlink()
    (folder / line["file_name"]).mkdir()


def _pipe(folder: Path, line: Line) -> None:
    """Whoever opens it waits for ever."""
    (folder / line["file_name"]).unlink()
    os.mkfifo(folder / line["file_name"])


def _sparse_giant(folder: Path, line: Line) -> None:
    """Three gigabytes that take no room."""
    with open(folder / line["file_name"], "r+b") as file:
        file.truncate(3 << 30)


def _zero_byte_in_name(folder: Path, line: Line) -> None:
    line["file_name"] = f"{line['file_name']}\0.png"


def _address(folder: Path, line: Line) -> None:
    line["file_name"] = f"https://example.org/{line['file_name']}"


def _file_address(folder: Path, line: Line) -> None:
    line["file_name"] = f"file://{(folder / line['file_name']).absolute()}"


def _overlong_name(folder: Path, line: Line) -> None:
    line["file_name"] = "a" * 5000 + ".png"


def _no_name(folder: Path, line: Line) -> None:
    (folder / line.pop("file_name")).unlink()


def _number_as_name(folder: Path, line: Line) -> None:
    (folder / line["file_name"]).unlink()
    line["file_name"] = 17


def _no_json(folder: Path, line: Line) -> bytes:
    (folder / line["file_name"]).unlink()
    return json.dumps(line)[:-9].encode()


def _list_for_object(folder: Path, line: Line) -> bytes:
    (folder / line["file_name"]).unlink()
    return json.dumps(list(line.values())).encode()


def _deep_json(folder: Path, line: Line) -> bytes:
    return json.dumps(line)[:-1].encode() + b', "notes": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"


def _no_utf8(folder: Path, line: Line) -> bytes:
    (folder / line["file_name"]).unlink()
    return json.dumps({**line, "captions": ["ein Café"]}, ensure_ascii=False).encode("latin-1")


def _surrogate(folder: Path, line: Line) -> bytes:
    return json.dumps({**line, "captions": ["half a character: \ud83d and no more"]}).encode()


def _caption_is_number(folder: Path, line: Line) -> None:
    line["captions"] = 42


def _captions_in_captions(folder: Path, line: Line) -> None:
    line["captions"] = [[line["captions"]]]


def _huge_number(folder: Path, line: Line) -> bytes:
    """More digits than Python turns into a number."""
    return json.dumps(line)[:-1].encode() + b', "size": ' + b"9" * 10_000 + b"}"


SPOILED: dict[str, Spoil] = {
    "missing_file": _missing, "parent_path": _parent, "parent_path_and_back": _parent_and_back,
    "windows_parent_path": _windows_parent, "absolute_path": _absolute, "system_file": _system_file,
    "symbolic_link": _link, "symbolic_link_inside": _link_inside, "dangling_link": _dangling_link,
    "linked_folder": _linked_folder, "folder_for_file": _folder, "pipe_for_file": _pipe, "sparse_giant": _sparse_giant,
    "zero_byte_in_name": _zero_byte_in_name, "address_for_name": _address, "file_address_for_name": _file_address,
    "overlong_name": _overlong_name, "no_file_name": _no_name, "number_for_name": _number_as_name, "no_json": _no_json,
    "list_for_object": _list_for_object, "deep_json": _deep_json, "no_utf8": _no_utf8, "lone_surrogate": _surrogate,
    "number_for_captions": _caption_is_number, "captions_in_captions": _captions_in_captions,
    "huge_number": _huge_number,
}  # fmt: skip
