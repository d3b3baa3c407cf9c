"""One profile row per sample: its media decoded and measured once, its texts counted, nothing judged.

`probe_shard` is a pure function of a shard's bytes and of the limits, so shards can be probed anywhere, in any order.
"""

import hashlib
import json
import math
import struct
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from mmcore.data import store
from mmcore.data.modalities import MODALITIES, Limits, Media
from mmcore.data.modalities.image import open_picture
from mmcore.settings import ValidateSettings

# Rows read at a time: what bounds the memory of a worker.
ROWS_AT_ONCE = 100
_MODALITY = {name: MODALITIES[name]() for name in (*store.MEDIA, "text")}
TEXTS = ("caption", "transcript", "summary", "speech_text", "question")
_EXIF_ORIENTATION = 0x0112
_PLAIN_MODES = ("1", "L", "P", "RGB", "LA", "PA", "RGBA", "RGBX")

_FACTS: list[tuple[str, pa.DataType]] = [
    ("id", pa.string()), ("split", pa.string()), ("shard", pa.string()), ("row", pa.int64()),
    ("group", pa.string()), ("source", pa.string()),
    ("sha256", pa.string()), ("hash_ok", pa.bool_()),
    ("has_image", pa.bool_()), ("has_audio", pa.bool_()), ("has_video", pa.bool_()), ("has_text", pa.bool_()),
    ("has_any", pa.bool_()),
    ("image_sha256", pa.string()), ("audio_sha256", pa.string()), ("video_sha256", pa.string()),
    ("image_ok", pa.bool_()), ("audio_ok", pa.bool_()), ("video_ok", pa.bool_()),
    ("image_error", pa.string()), ("audio_error", pa.string()), ("video_error", pa.string()),
    ("image_format", pa.string()), ("image_width", pa.int64()), ("image_height", pa.int64()),
    ("image_pixels", pa.int64()), ("image_side", pa.int64()),
    ("video_format", pa.string()), ("video_width", pa.int64()), ("video_height", pa.int64()),
    ("video_pixels", pa.int64()), ("video_side", pa.int64()), ("num_frames", pa.int64()), ("audio_rate", pa.int64()),
    ("repairs", pa.list_(pa.string())),
    ("meta_ok", pa.bool_()), ("stated_seconds", pa.float64()), ("duration_error", pa.float64()),
    ("num_captions", pa.int64()), ("num_blank_captions", pa.int64()), ("longest_text", pa.int64()),
    # Filled in by `validate`, which sees all shards: see `duplicates`.
    ("duplicate_of", pa.string()), ("leaked_from", pa.string()),
]  # fmt: skip


def _described() -> list[str]:
    """The columns that `describe` gives, found by describing the smallest of samples."""
    samples = {
        "image": Media(np.zeros((2, 2, 3), np.uint8)),
        "audio": Media(np.zeros(2, np.float32), 1.0, 2.0),
        "video": Media(np.zeros((2, 2, 2, 3), np.uint8), 1.0, 2.0),
    }
    columns = [f"{name}_{key}" for name in store.MEDIA for key in _MODALITY[name].describe(samples[name])]
    text_keys = _MODALITY["text"].describe("")
    return columns + [f"{name}_{key}" for name in TEXTS for key in text_keys]


DESCRIBED: tuple[str, ...] = tuple(_described())
SCHEMA: pa.Schema = pa.schema(_FACTS + [(name, pa.float64()) for name in DESCRIBED])


def probe_shard(work: tuple[Path, int], settings: ValidateSettings) -> list[dict[str, Any]]:
    """Profile rows (`SCHEMA`) of the first rows of a shard; `work`: its path `<split>/<name>`, how many rows."""
    path, num_rows = work
    place = {"split": path.parent.name, "shard": f"{path.parent.name}/{path.name}"}
    profile = []
    for start in range(0, num_rows, ROWS_AT_ONCE):
        rows = store.read_rows(path, start=start, stop=min(start + ROWS_AT_ONCE, num_rows))
        profile += [place | {"row": start + offset} | probe_row(row, settings) for offset, row in enumerate(rows)]
    return profile


def profile_table(rows: Iterable[dict[str, Any]]) -> pa.Table:
    """Profile rows as a table of `SCHEMA`; what a row lacks is null."""
    return pa.Table.from_pylist(list(rows), SCHEMA)


def probe_row(row: store.Row, settings: ValidateSettings) -> dict[str, Any]:
    """What can be said about one sample; never raises on bad media, whose reason goes into `<modality>_error`."""
    content_hash = store.sample_hash(row)
    facts: dict[str, Any] = {
        "id": row["id"], "group": row["group"], "source": row["source"],
        "sha256": content_hash, "hash_ok": row["sha256"] == content_hash,
    }  # fmt: skip
    with warnings.catch_warnings():
        # Decoders warn about what they can live with; what they cannot is recorded.
        warnings.simplefilter("ignore")
        for name, probe in _PROBES.items():
            data = row[name]
            facts[f"has_{name}"] = data is not None
            if data is None:
                continue
            facts[f"{name}_sha256"] = hashlib.sha256(data).hexdigest()
            try:
                probe(data, settings, facts)
            except Exception as error:  # decoders raise whatever they like on broken bytes
                facts |= {f"{name}_ok": False, f"{name}_error": str(error) or type(error).__name__}
    facts |= _probe_texts(row)
    facts |= _probe_meta(row["meta"], facts)
    facts["has_any"] = any(facts[f"has_{name}"] for name in (*store.MEDIA, "text"))
    return facts


# Media: each probe adds to `facts` what it learns, and stops before decoding what its header shows to be too much -----


def _probe_image(data: bytes, settings: ValidateSettings, facts: dict[str, Any]) -> None:
    with open_picture(data, "image") as picture:
        facts |= _size_facts("image", picture, 1)
        if facts["image_pixels"] <= settings.max_pixels:
            _decode("image", data, settings, facts)
            facts["repairs"] = _repairs(picture)


def _probe_video(data: bytes, settings: ValidateSettings, facts: dict[str, Any]) -> None:
    with open_picture(data, "video") as picture:
        facts["num_frames"] = int(getattr(picture, "n_frames", 1))
        facts |= _size_facts("video", picture, facts["num_frames"])
    if facts["num_frames"] <= settings.max_frames and facts["video_pixels"] <= settings.max_pixels:
        _decode("video", data, settings, facts)


def _probe_audio(data: bytes, settings: ValidateSettings, facts: dict[str, Any]) -> None:
    seconds = _wav_seconds(data)
    if seconds > 2 * settings.max_seconds:
        facts["audio_seconds"] = rounded(seconds)
    else:
        facts["audio_rate"] = round(_decode("audio", data, settings, facts).rate)


_PROBES: dict[str, Callable[[bytes, ValidateSettings, dict[str, Any]], None]] = {
    "image": _probe_image, "audio": _probe_audio, "video": _probe_video
}  # fmt: skip


def _decode(name: str, data: bytes, settings: ValidateSettings, facts: dict[str, Any]) -> Media:
    """Decode all of it and describe it. Length is measured here and judged by the suite, like everything else."""
    media: Media = _MODALITY[name].decode(data, Limits(settings.max_pixels, math.inf, settings.max_frames))
    facts[f"{name}_ok"] = True
    facts |= {f"{name}_{key}": rounded(value) for key, value in _MODALITY[name].describe(media).items()}
    return media


def _size_facts(name: str, picture: Image.Image, num_frames: int) -> dict[str, Any]:
    """Format and size as the header states them; `<name>_pixels` counts all frames."""
    width, height = picture.size
    return {
        f"{name}_format": picture.format, f"{name}_width": width, f"{name}_height": height,
        f"{name}_side": min(width, height), f"{name}_pixels": width * height * num_frames,
    }  # fmt: skip


def _repairs(picture: Image.Image) -> list[str] | None:
    """What decoding changed beyond unpacking, as problem codes."""
    found = []
    # Asking a PNG without EXIF for its EXIF would decode it once more.
    if "exif" in picture.info and picture.getexif().get(_EXIF_ORIENTATION, 1) not in (0, 1):
        found.append("rotated_by_exif")
    if picture.mode not in _PLAIN_MODES:
        found.append("converted_colours")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        lowest = picture.convert("RGBA").getchannel("A").getextrema()[0]
        if isinstance(lowest, int) and lowest < 255:
            found.append("flattened_alpha")
    return found or None


def _wav_seconds(data: bytes) -> float:
    """About how long a WAV is, by the bytes a second that its header states; 0 where there is no such header."""
    place = data.find(b"fmt ", 12, 4096)
    if place < 0 or len(data) < place + 20:
        return 0.0
    bytes_a_second = struct.unpack_from("<I", data, place + 16)[0]
    return len(data) / bytes_a_second if bytes_a_second else 0.0


# Texts and meta -----------------------------------------------------------------------------------------------------


def _probe_texts(row: store.Row) -> dict[str, Any]:
    captions = [caption["text"] or "" for caption in row["captions"]]
    questions = [pair["question"] or "" for pair in row["qa"]]
    answers = [answer or "" for pair in row["qa"] for answer in pair["answers"]]
    named = texts_of(row)
    everything = [*captions, *questions, *answers, *named.values()]
    facts: dict[str, Any] = {
        "has_text": any(text.strip() for text in everything),
        "num_captions": len(captions),
        "num_blank_captions": sum(not text.strip() for text in captions),
        "longest_text": max(map(len, everything), default=0),
    }
    for name, text in named.items():
        facts |= {f"{name}_{key}": rounded(value) for key, value in _MODALITY["text"].describe(text).items()}
    return facts


def texts_of(row: store.Row) -> dict[str, str]:
    """One text of each kind that the sample has: its first caption, its first question, and so on."""
    first = {
        "caption": row["captions"][0]["text"] if row["captions"] else None,
        "question": row["qa"][0]["question"] if row["qa"] else None,
    }
    texts = {name: first[name] if name in first else row[name] for name in TEXTS}
    return {name: text for name, text in texts.items() if text is not None}


def _probe_meta(meta: str | None, facts: dict[str, Any]) -> dict[str, Any]:
    """The stated length (`meta.duration`, seconds) of the clip, or of the sound where there is none, and its error:
    the share of the stated length by which the real one differs."""
    try:
        content = json.loads(meta or "{}")
    except json.JSONDecodeError:
        content = None
    if not isinstance(content, dict):
        return {"meta_ok": False}
    stated = content.get("duration")
    actual = facts.get("video_seconds", facts.get("audio_seconds"))
    if stated is None or actual is None:
        return {"meta_ok": True}
    if not isinstance(stated, int | float) or not 0 < stated < math.inf:
        return {"meta_ok": True, "duration_error": 1.0}
    return {"meta_ok": True, "stated_seconds": float(stated), "duration_error": rounded(abs(actual - stated) / stated)}


def rounded(value: float) -> float:
    """Six significant digits: the last bits of a float differ between processors, the profile must not."""
    return float(f"{value:.6g}")
