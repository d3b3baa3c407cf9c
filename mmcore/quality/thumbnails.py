"""Small pictures of samples, for people who look through the quarantine."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from mmcore.data import store
from mmcore.data.modalities import MODALITIES, Limits
from mmcore.quality.probe import ROWS_AT_ONCE
from mmcore.settings import ValidateSettings

SIDE = 96
QUALITY = 80


def thumbnails(data: Path, places: Sequence[tuple[str, int]], settings: ValidateSettings) -> list[bytes | None]:
    """For each place (shard, row) of the store, a JPEG of its image or its clip's first frame; None if there is none
    that can be decoded within the limits."""
    found: dict[tuple[str, int], bytes | None] = {}
    chunks = sorted({(shard, row // ROWS_AT_ONCE * ROWS_AT_ONCE) for shard, row in places})
    wanted = set(places)
    for shard, start in chunks:
        rows = store.read_rows(data / shard, ["image", "video"], start=start, stop=start + ROWS_AT_ONCE)
        for offset, row in enumerate(rows):
            if (shard, start + offset) in wanted:
                found[shard, start + offset] = thumbnail(row, settings)
    return [found[place] for place in places]


def thumbnail(row: store.Row, settings: ValidateSettings) -> bytes | None:
    """A JPEG of at most 96 pixels a side of the row's image, else of its clip's first frame."""
    limits = Limits(settings.max_pixels, settings.max_seconds, settings.max_frames)
    for name in ("image", "video"):
        if row[name] is None:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                array = MODALITIES[name]().decode(row[name], limits).array
            except ValueError:
                continue
        picture = Image.fromarray(array if name == "image" else array[0])
        picture.thumbnail((SIDE, SIDE))
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=QUALITY)
        return file.getvalue()
    return None
