"""Fetches single samples from the store and turns their pictures and clips into data URIs of a bounded total size."""

import base64
import io
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image, ImageOps, ImageSequence

from mmcore.data import store
from mmcore.data.modalities.image import open_picture

Row = dict[str, Any]
PIXELS_LIMIT = 50_000_000
# Pictures up to the side SMALL keep their pixels (PNG); larger ones are shrunk to LARGE (JPEG), moving ones to MOVING.
SMALL, LARGE, MOVING = 96, 320, 128
FRAMES = 12


@dataclass(frozen=True)
class Picture:
    """`src` shows, and moves where the file has several frames; `still` is its first frame."""

    src: str
    still: str
    width: int
    height: int

    @property
    def moving(self) -> bool:
        return self.src != self.still

    @property
    def coarse(self) -> bool:
        """Whether its pixels are few enough to be shown as squares."""
        return max(self.width, self.height) <= SMALL


class Store:
    """Rows of data/ by id, found through the accepted rows of validation; only the needed row groups are read.

    Without a list of accepted rows nothing is found.
    """

    def __init__(self, data: Path, accepted: pa.Table | None) -> None:
        self._data = data
        self._accepted = accepted

    def rows(self, ids: Iterable[str], columns: list[str]) -> dict[str, Row]:
        """The rows that are there among `ids`, with those of `columns` that the store has."""
        if self._accepted is None:
            return {}
        wanted = pa.array(sorted(set(ids)), pa.string())
        places = self._accepted.filter(pc.is_in(self._accepted["id"], value_set=wanted))
        by_shard: dict[Path, dict[int, str]] = {}
        for place in places.select(["id", "shard", "row"]).to_pylist():
            shard = self._data / str(place["shard"])
            if shard.is_file():
                by_shard.setdefault(shard, {})[int(place["row"])] = str(place["id"])
        found: dict[str, Row] = {}
        for shard in sorted(by_shard):
            found |= _read(shard, by_shard[shard], columns)
        return found


def _read(shard: Path, ids: dict[int, str], columns: list[str]) -> dict[str, Row]:
    """The rows of one shard by id; `ids` maps the row's number in the file to its id."""
    found: dict[str, Row] = {}
    store.check_shard(shard)
    with pq.ParquetFile(shard) as file:
        wanted = [name for name in columns if name in file.schema_arrow.names]
        start = 0
        for group in range(file.num_row_groups):
            stop = start + file.metadata.row_group(group).num_rows
            inside = sorted(row for row in ids if start <= row < stop)
            if inside:
                table = file.read_row_group(group, columns=wanted).take([row - start for row in inside])
                for row, values in zip(inside, table.to_pylist(), strict=True):
                    found[ids[row]] = values
            start = stop
    return found


class Pictures:
    """Makes data URIs until `budget` bytes are spent; `left_out` counts what came after."""

    def __init__(self, budget: int) -> None:
        self.left_out = 0
        self._left = budget
        self._made: dict[bytes, Picture | None] = {}

    def make(self, content: bytes | None) -> Picture | None:
        """The picture or moving picture in `content`; None where there is none that Pillow reads, or no room."""
        if not content:
            return None
        if content not in self._made:
            self._made[content] = _picture(content)
        picture = self._made[content]
        if picture is None:
            return None
        size = len(picture.src) + (len(picture.still) if picture.moving else 0)
        if size > self._left:
            self.left_out += 1
            return None
        self._left -= size
        return picture


def _picture(content: bytes) -> Picture | None:
    try:
        with warnings.catch_warnings():
            # Pillow warns of very large pictures; they are refused below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = open_picture(content, "picture")
        with image:
            if image.width * image.height * getattr(image, "n_frames", 1) > PIXELS_LIMIT:
                return None
            frames = _frames(image)
    except Exception:
        # Decoders raise whatever they like on broken bytes; the page then shows a placeholder.
        return None
    still = _still(frames[0][0])
    moving = _moving(frames) if len(frames) > 1 else still
    return Picture(moving, still, *frames[0][0].size)


def _frames(image: Image.Image) -> list[tuple[Image.Image, int]]:
    """At most FRAMES evenly chosen frames with the milliseconds each of them is shown."""
    count = getattr(image, "n_frames", 1)
    if count == 1:
        return [(_fit(image, LARGE), 0)]
    step = -(-count // FRAMES)
    frames = []
    for index, frame in enumerate(ImageSequence.Iterator(image)):
        if index % step == 0:
            frames.append((_fit(frame, MOVING), round(float(frame.info.get("duration", 100)) * step)))
    return frames


def _fit(image: Image.Image, side: int) -> Image.Image:
    """Upright, on white where it was transparent, no larger than the page shows it, and without metadata."""
    upright = ImageOps.exif_transpose(image).convert("RGBA")
    ground = Image.new("RGBA", upright.size, "white")
    plain = Image.alpha_composite(ground, upright).convert("RGB")
    if max(plain.size) > SMALL:
        plain.thumbnail((side, side))
    return plain


def _still(image: Image.Image) -> str:
    file = io.BytesIO()
    if max(image.size) <= SMALL:
        image.save(file, "PNG")
        return _uri("png", file)
    image.save(file, "JPEG", quality=80)
    return _uri("jpeg", file)


def _moving(frames: list[tuple[Image.Image, int]]) -> str:
    file = io.BytesIO()
    images = [image for image, _ in frames]
    # Frames that are shown for no time at all would be dropped by some browsers and slowed down by others.
    times = [milliseconds or 100 for _, milliseconds in frames]
    images[0].save(file, "PNG", save_all=True, append_images=images[1:], duration=times, loop=0)
    return _uri("png", file)


def _uri(kind: str, file: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
