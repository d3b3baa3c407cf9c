"""One profile row per sample: its media decoded and measured once, its texts counted, nothing judged.

`probe_shard` is a pure function of a shard's bytes and of the limits, so shards can be probed anywhere, in any order.
"""

import hashlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmcore.data import columns, store
from mmcore.data.engine import ShardWork
from mmcore.data.modalities import MODALITIES, Limits, media
from mmcore.quality import fingerprints
from mmcore.quality.probes import formats, texts
from mmcore.quality.probes.numbers import rounded
from mmcore.quality.probes.pictures import PictureLimits, probe_image, probe_video
from mmcore.quality.probes.sounds import probe_audio
from mmcore.quality.probes.texts import KINDS as TEXTS
from mmcore.quality.probes.texts import texts_of
from mmcore.settings import ValidateSettings

__all__ = ["ROWS_AT_ONCE", "TEXTS", "combined", "described", "probe_row", "probe_rows", "rounded", "schema", "texts_of"]

# Rows that others read at a time.
ROWS_AT_ONCE = 100
ROWS_IN_BLOCK, BLOCK_BYTES = 1000, 16 << 20
PROFILE = "profile.parquet"
# No length in seconds reaches this; a whole number beyond the range of floats could not even be divided by.
_LONGEST = 1e12

_TEXT_FINGERPRINT = pa.binary(fingerprints.EXACT_BYTES + fingerprints.NUM_PERMUTATIONS)
_PICTURE: list[tuple[str, pa.DataType]] = [
    ("format", pa.string()), ("width", pa.int64()), ("height", pa.int64()), ("pixels", pa.int64()),
    ("side", pa.int64()), ("aspect", pa.float64()),
]  # fmt: skip
_ABOUT: list[tuple[str, pa.DataType]] = [
    ("id", pa.string()), ("split", pa.string()), ("shard", pa.string()), ("row", pa.int64()),
    ("group", pa.string()), ("source", pa.string()),
    ("sha256", pa.string()), ("hash_ok", pa.bool_()),
]  # fmt: skip
# Of every medium: whether it could be decoded, or why not, and whether its name says what it is.
_OF_MEDIA: list[tuple[str, pa.DataType]] = [
    ("sha256", pa.string()), ("ok", pa.bool_()), ("error", pa.string()), ("name_ok", pa.bool_()),
    ("fingerprint", pa.int64()),
]  # fmt: skip
_FACTS: list[tuple[str, pa.DataType]] = [
    ("text_fingerprint", _TEXT_FINGERPRINT),
    *((f"image_{key}", kind) for key, kind in _PICTURE),
    ("image_moves", pa.bool_()), ("image_exif_ok", pa.bool_()), ("image_hides", pa.bool_()),
    ("image_unpacking", pa.float64()), ("image_damage", pa.string()), ("image_range", pa.float64()),
    ("image_grey_end", pa.float64()),
    *((f"video_{key}", kind) for key, kind in _PICTURE),
    ("num_frames", pa.int64()), ("video_rate", pa.float64()), ("video_still", pa.bool_()),
    ("audio_format", pa.string()), ("audio_rate", pa.int64()), ("audio_channels", pa.int64()),
    ("audio_missing", pa.float64()), ("audio_range", pa.float64()), ("audio_offset", pa.float64()),
    ("audio_clipping", pa.float64()), ("audio_quiet", pa.float64()),
    ("repairs", pa.list_(pa.string())),
    ("meta_ok", pa.bool_()), ("stated_seconds", pa.float64()), ("duration_error", pa.float64()),
    *((name, pa.int64()) for name in texts.COUNTED),
    # Filled in by `validate`, which sees all shards: see `duplicates`.
    ("duplicate_of", pa.string()), ("leaked_from", pa.string()),
    ("near_duplicate_of", pa.string()), ("near_leaked_from", pa.string()), ("torn_from", pa.string()),
]  # fmt: skip


def described() -> tuple[str, ...]:
    """The numbers by which samples are compared, of media and of texts."""
    return _described(media())


@cache
def _described(media: tuple[str, ...]) -> tuple[str, ...]:
    return (*(f"{name}_{key}" for name in media for key in MODALITIES[name].numbers), *texts.described())


def schema() -> pa.Schema:
    """The columns of the profile."""
    return _schema(media())


@cache
def _schema(media: tuple[str, ...]) -> pa.Schema:
    has = [(f"has_{name}", pa.bool_()) for name in (*media, "text", "any")]
    of_media = [(f"{name}_{key}", kind) for name in media for key, kind in _OF_MEDIA]
    return pa.schema([*_ABOUT, *has, *of_media, *_FACTS, *((name, pa.float64()) for name in _described(media))])


@dataclass(frozen=True)
class ProbeOptions:
    """How many rows of a shard are probed, and what of them is not decoded."""

    rows: int
    pictures: PictureLimits
    max_seconds: float

    @classmethod
    def of(cls, settings: ValidateSettings, rows: int) -> "ProbeOptions":
        limits = PictureLimits(settings.max_pixels, settings.max_frames, settings.max_unpacking)
        return cls(rows, limits, settings.max_seconds)


def probe_shard(work: ShardWork, output: Path) -> None:
    """Write `profile.parquet` (`schema`) of the first rows of a shard; where the shard lies is left null, since the
    same bytes may lie in two places."""
    options: ProbeOptions = work.options
    profile = []
    for start, stop in _blocks(work.shard, options.rows):
        rows = store.read_rows(work.shard, start=start, stop=stop)
        facts = _probe_rows(rows, options.pictures, options.max_seconds)
        for place, one in enumerate(facts, start):
            one["row"] = place
        profile += facts
    pq.write_table(profile_table(profile), output / PROFILE, compression="zstd")


def _blocks(shard: Path, num_rows: int) -> Iterator[tuple[int, int]]:
    """Runs of whole row groups that hold a thousand rows or a few MiB: what bounds the memory of a worker."""
    start = stop = size = 0
    metadata = pq.read_metadata(shard)
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        if stop > start and (
            stop - start + group.num_rows > ROWS_IN_BLOCK or size + group.total_byte_size > BLOCK_BYTES
        ):
            yield start, stop
            start, size = stop, 0
        stop, size = min(stop + group.num_rows, num_rows), size + group.total_byte_size
        if stop == num_rows:
            break
    if stop > start:
        yield start, stop


def probe_rows(rows: Sequence[store.Row], settings: ValidateSettings) -> list[dict[str, Any]]:
    """What can be said about each sample; never raises on bad media, whose reason goes into `<modality>_error`."""
    options = ProbeOptions.of(settings, len(rows))
    return _probe_rows(rows, options.pictures, options.max_seconds)


def probe_row(row: store.Row, settings: ValidateSettings) -> dict[str, Any]:
    """What can be said about one sample: see `probe_rows`."""
    return probe_rows([row], settings)[0]


def _probe_rows(rows: Sequence[store.Row], limits: PictureLimits, max_seconds: float) -> list[dict[str, Any]]:
    with warnings.catch_warnings():
        # Decoders warn about what they can live with; what they cannot is recorded.
        warnings.simplefilter("ignore")
        return _facts(rows, limits, max_seconds)


def _facts(rows: Sequence[store.Row], limits: PictureLimits, max_seconds: float) -> list[dict[str, Any]]:
    found = texts.measure(rows)
    prints = fingerprints.of_texts([texts.looked_at(row) for row in rows])
    for row, facts, text_fingerprint in zip(rows, found, prints, strict=True):
        content_hash = store.sample_hash(row)
        facts |= {
            # A blank id is none.
            "id": row["id"] if row["id"] and row["id"].strip() else None,
            "group": row["group"], "source": row["source"],
            "sha256": content_hash, "hash_ok": row["sha256"] == content_hash, "repairs": [],
            "text_fingerprint": text_fingerprint,
        }  # fmt: skip
        meta = texts.meta_of(row)
        _probe_media(row, limits, max_seconds, facts)
        facts |= _probe_meta(meta, facts)
        if meta is not None:
            _compare_name(meta.get("file_name"), facts)
        facts["has_any"] = any(facts[f"has_{name}"] for name in (*media(), "text"))
        if facts["num_unnormalised_texts"]:
            facts["repairs"].append("normalised_unicode")
    return found


def _probe_media(row: store.Row, limits: PictureLimits, max_seconds: float, facts: dict[str, Any]) -> None:
    for name in media():
        data = row[name]
        facts[f"has_{name}"] = data is not None
        if data is None:
            continue
        facts[f"{name}_sha256"] = hashlib.sha256(data).hexdigest()
        try:
            if name == "image":
                probe_image(data, limits, facts)
            elif name == "video":
                probe_video(data, limits, facts)
            elif name == "audio":
                probe_audio(data, max_seconds, facts)
            else:
                _probe_own(name, data, Limits(limits.max_pixels, max_seconds, limits.max_frames), facts)
        except Exception as error:  # decoders raise whatever they like on broken bytes
            reason = str(error) or type(error).__name__
            seems = formats.looks_like(data) if "unknown" in reason or "no known kind" in reason else None
            facts |= {f"{name}_ok": False, f"{name}_error": reason + (f" (it looks like {seems})" if seems else "")}


def _probe_own(name: str, data: bytes, limits: Limits, facts: dict[str, Any]) -> None:
    """Add what a modality of one's own measures; ValueError with the reason if it cannot be decoded within the limits.

    One number that is none makes the sample undecodable: nothing can be compared with it.
    """
    modality = MODALITIES[name]()
    numbers = modality.describe(modality.decode(data, limits))
    if sorted(numbers) != sorted(modality.numbers) or not np.isfinite(list(numbers.values())).all():
        raise ValueError(f"the modality {name} states {', '.join(modality.numbers)} and measures {numbers}")
    facts |= {f"{name}_ok": True, **{f"{name}_{key}": rounded(float(value)) for key, value in numbers.items()}}


def _compare_name(file_name: Any, facts: dict[str, Any]) -> None:
    """Compare the format with the name of the source's file, where there is one file only."""
    present = [name for name in media() if facts[f"has_{name}"]]
    if len(present) == 1 and isinstance(file_name, str) and facts.get(f"{present[0]}_format"):
        facts[f"{present[0]}_name_ok"] = formats.fits_name(facts[f"{present[0]}_format"], file_name)


def _probe_meta(meta: dict[str, Any] | None, facts: dict[str, Any]) -> dict[str, Any]:
    """The stated length (`meta.duration`, seconds) of the clip, or of the sound where there is none, and its error:
    the share of the stated length by which the real one differs."""
    if meta is None:
        return {"meta_ok": False}
    stated = meta.get("duration")
    actual = facts.get("video_seconds") or facts.get("audio_seconds")
    if stated is None or actual is None:
        return {"meta_ok": True}
    if not isinstance(stated, int | float) or not 0 < stated < _LONGEST:
        return {"meta_ok": True, "duration_error": 1.0}
    return {"meta_ok": True, "stated_seconds": float(stated), "duration_error": rounded(abs(actual - stated) / stated)}


# As a table -----------------------------------------------------------------------------------------------------------


def profile_table(rows: Iterable[dict[str, Any]]) -> pa.Table:
    """Profile rows as a table of `schema`; what a row lacks is null."""
    rows = list(rows)
    present = set().union(*rows)
    found = [
        _column([row.get(field.name) for row in rows], field.type)
        if field.name in present or pa.types.is_list(field.type)
        else _nulls(len(rows), field.type)
        for field in schema()
    ]
    return pa.Table.from_arrays(found, schema=schema())


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_list(kind):
        return columns.column([value or [] for value in values], kind)
    if pa.types.is_string(kind):
        return columns.column(values, kind)
    validity = None
    if None in values:
        present = np.array([value is not None for value in values], bool)
        if not present.any():
            return _nulls(len(values), kind)
        validity = pa.py_buffer(np.packbits(present, bitorder="little"))
        nothing = bytes(kind.byte_width) if pa.types.is_fixed_size_binary(kind) else 0
        values = [nothing if value is None else value for value in values]
    if pa.types.is_boolean(kind):
        content = np.packbits(np.array(values, bool), bitorder="little")
    elif pa.types.is_fixed_size_binary(kind):
        content = np.frombuffer(b"".join(values), np.uint8)
    else:
        content = np.array(values, kind.to_pandas_dtype())
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(content)])


@cache
def _zeros(size: int) -> pa.Buffer:
    return pa.py_buffer(bytes(size))


def _nulls(length: int, kind: pa.DataType) -> pa.Array:
    """Nulls that share one buffer: most samples have one modality, and columns for all of them."""
    buffers = [_zeros((length + 7) // 8)]
    if pa.types.is_string(kind):
        buffers += [_zeros((length + 1) * 4), _zeros(0)]
    else:
        buffers.append(_zeros(length * (kind.byte_width if pa.types.is_fixed_size_binary(kind) else 8)))
    return pa.Array.from_buffers(kind, length, buffers, null_count=length)


def read_part(folder: Path, *, split: str, shard: str) -> pa.Table:
    """What `probe_shard` left in `folder`, with the place of the shard filled in."""
    with pq.ParquetFile(folder / PROFILE) as file:
        table = file.read()
    # Read, each column of nulls would hold memory of its own.
    table = combined([table])
    for name, value in (("split", split), ("shard", shard)):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.repeat(value, table.num_rows))
    return table


def combined(parts: Sequence[pa.Table]) -> pa.Table:
    """The tables one below the other, each column in one piece."""
    table = pa.concat_tables(parts)
    found = [
        _nulls(len(column), column.type) if 0 < len(column) == column.null_count else column.combine_chunks()
        for column in table.columns
    ]
    return pa.Table.from_arrays(found, schema=table.schema)
