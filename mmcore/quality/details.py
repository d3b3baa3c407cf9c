"""One clause with the numbers behind a problem of a sample."""

from collections.abc import Callable, Mapping
from typing import Any

from mmcore.data.modalities import media
from mmcore.quality.problems import UNDECODABLE, Problem
from mmcore.settings import ValidateSettings

_NEEDED = (
    "id", "split", "sha256", "image_format", "audio_format", "video_format", "image_width", "image_height",
    "image_side", "image_pixels", "image_aspect", "video_width",
    "video_height", "video_side", "video_pixels", "video_aspect", "num_frames", "audio_seconds",
    "video_seconds", "stated_seconds", "num_captions", "num_blank_captions", "longest_text", "duplicate_of",
    "leaked_from", "near_duplicate_of", "near_leaked_from", "torn_from", "image_damage", "image_unpacking",
    "image_grey_end", "video_rate", "audio_rate", "audio_channels", "audio_missing", "audio_clipping", "audio_offset",
)  # fmt: skip


def detailed() -> list[str]:
    """The columns of the profile that the clauses need."""
    return [*_NEEDED, *(f"{name}_error" for name in media())]


def detail(code: str, facts: Mapping[str, Any], codes: Mapping[str, Problem], settings: ValidateSettings) -> str:
    """The clause for the problem `code` of the sample with these profile columns (`detailed`)."""
    match code:
        case _ if code.startswith(UNDECODABLE):
            return str(facts[f"{code.removeprefix(UNDECODABLE)}_error"])
        case "too_small":
            return _size(facts, "side", min)
        case "too_large":
            return _size(facts, "pixels", max)
        case "extreme_shape":
            return _size(facts, "aspect", max)
        case "decompression_bomb":
            size = f"the image has {facts['image_width']} x {facts['image_height']} pixels"
            return f"{size}, {facts['image_unpacking']:g} bytes for each byte of the file"
        case "damaged_image":
            return f"the image is damaged: {facts['image_damage']}"
        case "wrong_extension":
            formats = [facts[f"{name}_format"] for name in ("image", "audio", "video") if facts[f"{name}_format"]]
            return f"the file's name says something else than {', '.join(formats)}"
        case "grey_end":
            return f"{facts['image_grey_end']:.0%} of the image's height are filling"
        case "too_long":
            sound, film = facts["audio_seconds"], facts["video_seconds"]
            said = [f"the recording lasts {sound} seconds"] if sound is not None else []
            said += [f"the clip lasts {film} seconds in {facts['num_frames']} frames"] if film is not None else []
            return ", ".join(said)
        case "too_short":
            return f"the recording lasts {facts['audio_seconds']} seconds"
        case "impossible_frame_rate":
            return f"the clip states {facts['video_rate']:g} frames a second"
        case "truncated_audio":
            return f"{facts['audio_missing']:.0%} of the samples that the header promises are missing"
        case "clipped_audio" | "distorted_audio":
            return f"{facts['audio_clipping']:.0%} of the recording is cut off at its peak"
        case "offset_audio":
            return f"the samples swing around {facts['audio_offset']:.2g} of full scale"
        case "low_sample_rate" | "resampled":
            return f"the recording has {facts['audio_rate']} samples a second"
        case "mixed_down":
            return f"the recording's {facts['audio_channels']} channels are mixed to one"
        case "empty_caption":
            return f"{facts['num_blank_captions']} of {facts['num_captions']} captions are blank"
        case "wrong_duration":
            seconds = facts["video_seconds"] or facts["audio_seconds"]
            stated = facts["stated_seconds"]
            return f"it lasts {seconds} seconds where {'no number' if stated is None else stated} is stated"
        case "too_long_text":
            return f"a text has {facts['longest_text']} characters, more than {settings.max_characters}"
        case "duplicate_within_split" | "near_duplicate_within_split":
            near = code.startswith("near_")
            return f"nearly the same as {facts['near_duplicate_of']}" if near else f"same as {facts['duplicate_of']}"
        case "duplicate_across_splits":
            return f"same media as {facts['leaked_from']}"
        case "torn_group":
            return f"its group has {facts['torn_from']}, too"
        case "near_duplicate_across_splits":
            return f"nearly the same as {facts['near_leaked_from']}"
        case _:
            return codes[code].meaning


def _size(facts: Mapping[str, Any], measure: str, worst: Callable[..., str]) -> str:
    """The size of the sample's image or clip: of the one whose `measure` is the worst."""
    measured = {media: facts[f"{media}_{measure}"] for media in ("image", "video")}
    media = worst((one for one in measured if measured[one] is not None), key=measured.__getitem__, default="image")
    return f"the {media} has {facts[f'{media}_width']} x {facts[f'{media}_height']} pixels"
