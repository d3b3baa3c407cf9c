"""The codes that say what is wrong with a sample, what each leads to, and the verdict that several of them give."""

from collections.abc import Iterable
from dataclasses import dataclass

VERDICTS = ("ok", "repaired", "flag", "reject")


@dataclass(frozen=True)
class Problem:
    """`verdict`: what a sample with this problem gets; `meaning`: one clause for people."""

    verdict: str
    meaning: str


PROBLEMS: dict[str, Problem] = {
    # What decoding changes in a picture that is readable but no upright, opaque RGB.
    "rotated_by_exif": Problem("repaired", "the image is turned upright as its EXIF orientation says"),
    "flattened_alpha": Problem("repaired", "the image's transparent parts are laid over white"),
    "converted_colours": Problem("repaired", "the image's colours (CMYK, 16 bit ...) are converted to RGB"),
    # Kept, but worth a look.
    "duplicate_within_split": Problem("flag", "another group of this split holds the same media and texts"),
    "too_long_text": Problem("flag", "a text is longer than validate.max_characters"),
    "bad_meta": Problem("flag", "the column meta is no JSON object"),
    # Not used.
    "no_id": Problem("reject", "the sample has no id"),
    "duplicate_id": Problem("reject", "another sample has the same id"),
    "wrong_hash": Problem("reject", "the content does not fit the sample's stored SHA-256"),
    "no_modality": Problem("reject", "the sample holds neither media nor text"),
    "undecodable_image": Problem("reject", "the image cannot be decoded"),
    "undecodable_audio": Problem("reject", "the audio cannot be decoded"),
    "undecodable_video": Problem("reject", "the video cannot be decoded"),
    "too_small": Problem("reject", "a side of the picture is shorter than validate.min_side"),
    "too_large": Problem("reject", "the picture has more pixels than validate.max_pixels"),
    "too_long": Problem("reject", "the recording is longer than validate.max_seconds or validate.max_frames"),
    "empty_caption": Problem("reject", "a caption is empty or blank"),
    "wrong_duration": Problem("reject", "the length differs from meta.duration by more than duration_tolerance"),
    "duplicate_across_splits": Problem("reject", "a split that training must not see holds the same media"),
    # Refused at import: such a row has never been in the store.
    "missing_file": Problem("reject", "the file that the source names is missing"),
    "unsafe_path": Problem("reject", "the path leads out of the source folder"),
    "bad_manifest_line": Problem("reject", "a line of the source's list cannot be read"),
}


def verdict_of(codes: Iterable[str]) -> str:
    """The gravest verdict among the problems `codes`, `ok` if there are none; a code not listed here rejects."""
    verdicts = (PROBLEMS[code].verdict if code in PROBLEMS else "reject" for code in codes)
    return max(verdicts, key=VERDICTS.index, default="ok")
