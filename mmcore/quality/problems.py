"""The codes that say what is wrong with a sample, what each leads to, and the verdict that several of them give."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

VERDICTS = ("ok", "repaired", "flag", "reject")


@dataclass(frozen=True)
class Problem:
    """`verdict`: what a sample with this problem gets; `meaning`: one clause for people."""

    verdict: str
    meaning: str


def _all(verdict: str, **meanings: str) -> dict[str, Problem]:
    return {code: Problem(verdict, meaning) for code, meaning in meanings.items()}


# What decoding and preparation change in a sample that is sound.
_REPAIRED = _all(
    "repaired",
    rotated_by_exif="the image is turned upright as its EXIF orientation says",
    flattened_alpha="the image's transparent parts are laid over white",
    converted_colours="the image's colours (palette, CMYK, 16 bit ...) are converted to RGB",
    resampled="the recording's sample rate is an unusual one and is converted",
    mixed_down="the recording's channels are mixed to one",
    normalised_unicode="a text is brought into Unicode's composed form",
)
# Kept, but worth a look.
_FLAGGED = _all(
    "flag",
    released_by_person="a person released this sample from quarantine",
    duplicate_within_split="another group of this split holds the same media and texts",
    near_duplicate_within_split="another group of this split holds nearly the same media or text",
    wrong_extension="the file is of another format than its name says",
    animated_image="the image has several frames; the first one is used",
    broken_exif="the image's EXIF block cannot be read",
    hidden_content="an archive, a program or a script follows the image's data",
    grey_end="the lower part of the image is a decoder's filling",
    no_frame_rate="the clip states no frame rate",
    clipped_audio="parts of the recording are cut off at its peak",
    offset_audio="the recording's samples do not swing around zero",
    mostly_silent="next to nothing of the recording is sound",
    html_entities="a text holds HTML entities such as &amp;",
    private_characters="a text holds characters of Unicode's private areas",
    wrong_language="the captions are surely in another language than is stated",
    unknown_language="the stated language of a text is no language code",
    too_long_text="a text is longer than validate.max_characters",
    bad_meta="the column meta is no JSON object",
)
# Not used.
_REJECTED = _all(
    "reject",
    dropped_by_person="a person dropped this sample",
    no_id="the sample has no id",
    duplicate_id="another sample has the same id",
    wrong_hash="the content does not fit the sample's stored SHA-256",
    no_modality="the sample holds neither media nor text",
    undecodable_image="the image cannot be decoded",
    undecodable_audio="the audio cannot be decoded",
    undecodable_video="the video cannot be decoded",
    damaged_image="the image can be shown, but its data are damaged",
    truncated_audio="the recording has fewer samples than its header says",
    too_small="a side of the picture is shorter than validate.min_side",
    too_large="the picture has more pixels than validate.max_pixels",
    too_long="the recording is longer than validate.max_seconds or validate.max_frames",
    too_short="the recording is too short to hold anything",
    decompression_bomb="a small file unpacks to a huge image (validate.max_unpacking)",
    extreme_shape="the picture is a strip: one side is many times the other",
    blank_image="the image shows one even colour",
    still_video="all frames of the clip are the same, or there is only one",
    impossible_frame_rate="the clip states a frame rate that cannot be",
    silent_audio="the recording is silent",
    distorted_audio="most of the recording is cut off at its peak",
    low_sample_rate="the recording's sample rate is too low for speech",
    wrong_duration="the length differs from meta.duration by more than duration_tolerance",
    empty_caption="a caption is empty or blank",
    empty_text="a text other than a caption is blank, or a question has no answer",
    placeholder_text="a text stands in for one: 'untitled', 'n/a', a file name, a link, a number",
    broken_text="a text went through a wrong encoding, or characters of it were lost",
    control_characters="a text holds control characters or overrides the writing direction",
    markup_text="a text is or holds markup, a template or escaped characters",
    repeated_text="a text is the same letters or words over and over",
    wrong_script="a text is not in the script of its stated language",
    huge_text="a text is far too long for what it should be",
    duplicate_across_splits="a split that training must not see holds the same media",
    near_duplicate_across_splits="a split that training must not see holds nearly the same media or text",
    torn_group="a split that training must not see holds another sample of its group",
    # Refused at import: such a row has never been in the store.
    missing_file="the file that the source names is missing",
    unsafe_path="the path leads out of the source folder",
    bad_manifest_line="a line of the source's list cannot be read",
    no_split="the source names no split for it, or one that is not known",
    truncated_archive="the archive is cut off",
    duplicate_member="the archive holds two files of one name",
    frozen_group="its group is in the frozen test split",
)
PROBLEMS: dict[str, Problem] = {**_REPAIRED, **_FLAGGED, **_REJECTED}


BOMB = "decompression_bomb"
UNDECODABLE = "undecodable_"  # and the modality
RELEASED, DROPPED = "released_by_person", "dropped_by_person"


def verdict_of(codes: Collection[str], problems: Mapping[str, Problem] = PROBLEMS) -> str:
    """The gravest verdict among the problems `codes`, `ok` if there are none; a code not listed rejects. What a person
    released is flagged, whatever else is wrong with it."""
    if RELEASED in codes:
        return problems[RELEASED].verdict
    verdicts = (problems[code].verdict if code in problems else "reject" for code in codes)
    return max(verdicts, key=VERDICTS.index, default="ok")
