"""Small pictures of samples, for people who look through the quarantine or the review."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from mmcore.data import store
from mmcore.data.modalities import MODALITIES, Limits
from mmcore.quality.probe import ROWS_AT_ONCE

SIDE = 96
QUALITY = 80

Place = tuple[str, int]


def thumbnails(
    data: Path, places: Sequence[Place], limits: Limits, *, side: int = SIDE
) -> dict[Place, tuple[str, bytes | None]]:
    """By place (shard, row) of the store, the id of the row that lies there and its `thumbnail`.

    A place that the store does not have is left out.
    """
    found: dict[Place, tuple[str, bytes | None]] = {}
    chunks = sorted({(shard, row // ROWS_AT_ONCE * ROWS_AT_ONCE) for shard, row in places})
    wanted = set(places)
    for shard, start in chunks:
        if not (data / shard).is_file():
            continue
        rows = store.read_rows(data / shard, ["id", "image", "video"], start=start, stop=start + ROWS_AT_ONCE)
        for offset, row in enumerate(rows):
            if (shard, start + offset) in wanted:
                found[shard, start + offset] = row["id"], thumbnail(row, limits, side=side)
    return found


def thumbnail(row: store.Row, limits: Limits, *, side: int = SIDE) -> bytes | None:
    """A JPEG of at most `side` pixels a side of the row's image, else of its clip's middle frame; None if there is none
    that can be decoded within the limits."""
    for name in ("image", "video"):
        if row[name] is None:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decoders warn about what they can live with
            try:
                array = MODALITIES[name]().decode(row[name], limits).array
            except ValueError:
                continue
        picture = Image.fromarray(array if name == "image" else array[len(array) // 2])
        picture.thumbnail((side, side))
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=QUALITY)
        return file.getvalue()
    return None
