"""Samples as a person would look at them: a small picture, frames of a clip, the outline of a sound, the texts."""

import base64
import io
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmcore.data.importers import Sample, content
from mmcore.data.modalities import MODALITIES, Limits, media

SIDE = 320
# Pictures up to this side keep their pixels.
SMALL = 96
NUM_BARS = 72
_LIMITS = Limits(max_pixels=50_000_000, max_seconds=120.0, max_frames=4000)


@dataclass(frozen=True)
class Example:
    """One sample.

    `thumbnail`: its picture, or four frames of its clip, as a data URI; null if it has none that can be read.
    `wave`: its sound's loudness from start to end, 0 to 1; empty if it has none. `texts`: its captions and other texts.
    `questions`: with their answers. `facts`: sizes and lengths. `problems`: why a medium cannot be read.
    """

    id: str
    split: str
    thumbnail: str | None = None
    coarse: bool = False
    wave: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    facts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def example(sample: Sample, split: str) -> Example:
    """The example of a sample, its media decoded within limits."""
    named = [sample.get(name) for name in ("transcript", "summary", "speech_text")]
    one = Example(
        id=sample["id"],
        split=split,
        texts=[caption["text"] for caption in sample["captions"]] + [text for text in named if text],
        questions=[_question(pair) for pair in sample.get("qa") or []],
        labels=dict(sample.get("labels") or {}),
    )
    picture = None
    for name in media():
        if sample.get(name) is None:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of decoders, about what they can live with
                found = MODALITIES[name]().decode(content(sample[name]), _LIMITS)
        except (ValueError, OSError) as error:
            one.problems.append(str(error))
            continue
        if name == "image":
            picture = found.array
            one.facts.append(f"{found.width} × {found.height}")
        elif name == "video":
            picture = four_frames(found.array) if picture is None else picture
            one.facts.append(f"{found.width} × {found.height}, {len(found.array)} frames, {found.seconds:.1f} s")
        elif name == "audio":
            one.wave.extend(outline(found.array))
            one.facts.append(f"{found.seconds:.1f} s, {found.rate / 1000:g} kHz")
        else:
            one.facts.append(f"{name} of {' × '.join(map(str, found.array.shape))} numbers")
    if picture is None:
        return one
    coarse = max(picture.shape[:2]) <= SMALL
    return Example(**{**vars(one), "thumbnail": _uri(picture, coarse), "coarse": coarse})


def four_frames(array: NDArray[Any]) -> NDArray[Any]:
    """uint8 [2 H + gap, 2 W + gap, 3]: four frames of uint8 [F, H, W, 3] from first to last, in reading order; of a
    clip of one frame, that frame."""
    if len(array) == 1:
        return np.asarray(array[0])
    height, width = array.shape[1:3]
    gap = max(height, width) // 80 + 1
    sheet = np.full((2 * height + gap, 2 * width + gap, 3), 235, np.uint8)
    for place in range(4):
        top, left = place // 2 * (height + gap), place % 2 * (width + gap)
        sheet[top : top + height, left : left + width] = array[round(place * (len(array) - 1) / 3)]
    return sheet


def outline(samples: NDArray[np.float32], num_bars: int = NUM_BARS) -> list[float]:
    """The peak of each of `num_bars` parts of a sound, the loudest being 1; all 0 if it is silent."""
    parts = np.array_split(np.abs(samples), min(num_bars, len(samples)))
    peaks = np.array([part.max() for part in parts])
    return [round(float(peak), 3) for peak in peaks / max(float(peaks.max()), 1e-6)]


def _question(pair: dict[str, Any]) -> str:
    answers = list(dict.fromkeys(pair["answers"]))
    return f"{pair['question']} → {', '.join(answers)}" if answers else str(pair["question"])


def _uri(array: NDArray[Any], coarse: bool) -> str:
    picture = Image.fromarray(array)
    picture.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    kind = "PNG" if coarse else "JPEG"
    picture.save(file, kind, quality=82)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
