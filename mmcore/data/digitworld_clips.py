"""DigitWorld's clips: one object to which two things happen, a summary of it, and somebody talking over it."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mmcore.data.digitworld_objects import COLOURS, KINDS, SIDE, apng, background, finish, mask, paint, shade, stencil
from mmcore.data.digitworld_scenes import meta
from mmcore.data.store import Row

FRAMES = 6
MILLISECONDS = 200
EVENTS = ("left", "right", "up", "down", "grow", "shrink")
STEPS = {"left": (-14, 0), "right": (14, 0), "up": (0, -14), "down": (0, 14), "grow": (0, 0), "shrink": (0, 0)}
SCALES = {"grow": 1.6, "shrink": 0.6}
SIDE_AT_START = 16
# How far each of the two events has come in each frame.
PROGRESS = ((0.0, 0.5, 1.0, 1.0, 1.0, 1.0), (0.0, 0.0, 0.0, 1 / 3, 2 / 3, 1.0))

SAID = {
    "left": ("moves left", "goes to the left", "slides left"),
    "right": ("moves right", "goes to the right", "slides right"),
    "up": ("moves up", "goes up", "rises"),
    "down": ("moves down", "goes down", "sinks"),
    "grow": ("grows", "gets bigger", "becomes larger"),
    "shrink": ("shrinks", "gets smaller", "becomes smaller"),
}
SUMMARIES = (
    "the {what} {one} and then {two}",
    "a {what} {one} , then it {two}",
    "first the {what} {one} and after that it {two}",
    "a {what} {one} before it {two}",
)
FILLERS = ("um", "uh", "well", "okay", "so", "you know", "i mean", "like")
ASIDES = (
    "i had some coffee this morning",
    "let me turn the sound up",
    "can everybody hear me",
    "this is not a long one",
    "wait a moment please",
    "it is quite dark in here",
    "i hope the picture is sharp",
)
# How often the speaker says what there is to see; otherwise the clip alone tells.
TELLS = 0.75


def clip_row(rng: np.random.Generator, split: str, index: int) -> Row:
    """The columns of one clip: three captions in free words, and a summary in one fixed style, so that its score
    against a single reference says what was understood and not which wording was guessed."""
    kind, colour = KINDS[int(rng.integers(len(KINDS)))], tuple(COLOURS)[int(rng.integers(len(COLOURS)))]
    events = [EVENTS[int(number)] for number in rng.permutation(len(EVENTS))[:2]]
    frames = render(rng, kind, colour, events, split)
    texts = summarise(rng, f"{colour} {kind}", events)
    return {
        "video": apng(frames, MILLISECONDS),
        "captions": [{"text": text, "lang": "en"} for text in texts],
        "summary": SUMMARIES[0].format(what=f"{colour} {kind}", one=SAID[events[0]][0], two=SAID[events[1]][0]),
        "transcript": talk(rng, kind, colour, events),
        "meta": meta(FRAMES * MILLISECONDS / 1000),
    }


def render(rng: np.random.Generator, kind: str, colour: str, events: list[str], split: str) -> NDArray[np.uint8]:
    """uint8 [6, 48, 48, 3]."""
    still = background(rng)
    form, paintwork = stencil(rng, kind, split), shade(rng, colour)
    done = np.array(PROGRESS)
    moves = np.array([STEPS[event] for event in events])
    path = done.T @ moves
    # The middle of the way is near the middle of the picture, so nothing leaves it.
    path += SIDE // 2 - (path.min(axis=0) + path.max(axis=0)) / 2 + rng.integers(-3, 4, 2)
    scale = np.prod([1 + (SCALES.get(event, 1.0) - 1) * part for event, part in zip(events, done, strict=True)], axis=0)
    sides = np.round((SIDE_AT_START + int(rng.integers(-1, 2))) * scale).astype(int)
    frames = []
    for centre, side in zip(np.round(path).astype(int), sides, strict=True):
        canvas = still.copy()
        paint(canvas, mask(form, int(side)), (int(centre[0]), int(centre[1])), paintwork)
        frames.append(finish(canvas))
    assert all((before != after).any() for before, after in pairwise(frames))
    return np.stack(frames)


def summarise(rng: np.random.Generator, what: str, events: list[str]) -> list[str]:
    """Three sentences that say the same in different words."""
    sentences = []
    for number in rng.permutation(len(SUMMARIES))[:3]:
        one, two = (SAID[event][int(rng.integers(len(SAID[event])))] for event in events)
        sentences.append(SUMMARIES[number].format(what=what, one=one, two=two))
    return sentences


def talk(rng: np.random.Generator, kind: str, colour: str, events: list[str]) -> str:
    """Three to six sentences of somebody who fills pauses, digresses, and sometimes leaves out what is to be seen."""

    def says(event: str) -> str:
        return SAID[event][int(rng.integers(len(SAID[event])))] if rng.random() < TELLS else "does something"

    what = kind if rng.random() < TELLS else "thing"
    hue = f"{colour} " if rng.random() < TELLS else ""
    sentences = [f"here we have a {hue}{what}", f"now the {what} {says(events[0])}", f"and then it {says(events[1])}"]
    for number in rng.permutation(len(ASIDES))[: int(rng.integers(4))]:
        sentences.insert(int(rng.integers(len(sentences) + 1)), ASIDES[int(number)])
    return " ".join(f"{_with_filler(rng, sentence)} ." for sentence in sentences)


def _with_filler(rng: np.random.Generator, sentence: str) -> str:
    words = sentence.split()
    for _ in range(int(rng.integers(3))):
        words.insert(int(rng.integers(len(words) + 1)), FILLERS[int(rng.integers(len(FILLERS)))])
    return " ".join(words)
