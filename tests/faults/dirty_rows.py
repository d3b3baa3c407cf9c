"""Sound rows of every sort: pictures, recordings, clips and texts, alone and together, with what is said of them."""

from typing import Any

from tests.faults import dirty_clean, dirty_containers
from tests.faults.dirty_captions import captions, text_row
from tests.faults.dirty_clean import Rng
from tests.faults.dirty_kinds import Columns


def sound_row(rng: Rng) -> tuple[Columns, str]:
    """The columns of a sound row, `meta` as a dict, and the extension of its file (empty for texts)."""
    what = rng.random()
    meta: dict[str, Any] = {"licence": "CC0", "taken": 2000 + int(rng.integers(25))} if rng.random() < 0.5 else {}
    if what < 0.08:
        return {**text_row(rng), "meta": meta}, ""
    made: Columns = {"captions": captions(rng)}
    extension, seconds = "", 0.0
    if what < 0.75:
        made["image"], extension = dirty_clean.sound_picture(rng)
    if 0.68 < what < 0.88:
        made["audio"], seconds, own = _recording(rng)
        extension = extension or own
    if what >= 0.88:
        made["video"], seconds, extension = _clip(rng)
    if seconds and rng.random() < 0.5:
        meta["duration"] = round(seconds, 2)
    if rng.random() < 0.2:
        made["labels"] = {"kind": str(rng.integers(10))}
    return {**made, "meta": meta}, extension


def _recording(rng: Rng) -> tuple[bytes, float, str]:
    if rng.random() < 0.25:
        return dirty_containers.sound_recording(rng)
    data, seconds = dirty_clean.sound_recording(rng)
    return data, seconds, ".wav"


def _clip(rng: Rng) -> tuple[bytes, float, str]:
    return (dirty_containers if rng.random() < 0.4 else dirty_clean).sound_clip(rng)
