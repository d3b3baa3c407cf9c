import itertools

import numpy as np
import pytest

from mmcore.data import digitworld_clips as clips
from mmcore.data.digitworld import make
from mmcore.data.modalities import UNLIMITED
from mmcore.data.modalities.video import Modality

FIRST, SECOND = (0, 2), (2, 5)
WORDS = {phrase: event for event, phrases in clips.SAID.items() for phrase in phrases}


def seen(pixels: np.ndarray) -> tuple[float, float, float]:
    """Middle (x, y) and area of the red object."""
    places = np.argwhere(pixels[..., 0].astype(int) - pixels[..., 2] > 80)
    return float(places[:, 1].mean()), float(places[:, 0].mean()), float(len(places))


@pytest.mark.parametrize("events", list(itertools.permutations(clips.EVENTS, 2)))
def test_the_frames_show_both_events_in_order(events: tuple[str, str]) -> None:
    frames = clips.render(np.random.default_rng(2), "circle", "red", list(events), "train")
    assert frames.shape == (6, 48, 48, 3)
    for event, (start, end) in zip(events, (FIRST, SECOND), strict=True):
        (x0, y0, area0), (x1, y1, area1) = seen(frames[start]), seen(frames[end])
        step = np.array(clips.STEPS[event])
        assert np.allclose((x1 - x0, y1 - y0), step, atol=1.5)
        assert area1 / area0 == pytest.approx(clips.SCALES.get(event, 1.0) ** 2, rel=0.25)


def test_texts_tell_both_events_in_order() -> None:
    for index in range(50):
        row = make("clip", "train", index)
        assert row["summary"].split()[0] == "the"
        assert " and then " in row["summary"]
        told = set()
        for text in (row["summary"], *(caption["text"] for caption in row["captions"])):
            found = sorted((text.find(phrase), event) for phrase, event in WORDS.items() if phrase in text)
            told.add(tuple(event for _, event in found))
        assert len(row["captions"]) == 3
        assert len(told) == 1
        assert len(told.pop()) == 2


def test_transcripts_have_three_to_six_sentences_and_sometimes_hide_what_happens() -> None:
    transcripts = [make("clip", "train", index)["transcript"] for index in range(60)]
    assert {transcript.count(" .") for transcript in transcripts} == {3, 4, 5, 6}
    assert 5 < sum("does something" in transcript for transcript in transcripts) < 45
    assert any(filler in transcripts[0] + transcripts[1] for filler in clips.FILLERS)


def test_a_clip_is_an_animated_png_of_six_frames_and_1_2_seconds() -> None:
    for index in range(20):
        media = Modality().decode(make("clip", "test", index)["video"], UNLIMITED)
        assert media.array.shape == (6, 48, 48, 3)
        assert media.seconds == 1.2
