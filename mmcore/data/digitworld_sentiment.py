"""DigitWorld's sentiment: a face and a text. Where they contradict each other the sentiment is mixed, so that neither
the face nor the text alone tells it."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mmcore.data.digitworld_objects import COLOURS, SIDE, background, finish, mask, paint, png, shade
from mmcore.data.store import Row

TEXTS = (
    "the {what} was {word}",
    "i think the {what} is {word}",
    "what a {word} {what}",
    "honestly the {what} felt {word} today",
    "we found the {what} {word} again",
)
SUBJECTS = ("film", "food", "music", "trip", "game", "talk", "book", "show")
WORDS = {
    "positive": ("great", "wonderful", "lovely", "brilliant", "charming"),
    "negative": ("awful", "terrible", "boring", "dreadful", "annoying"),
}


def sentiment_row(rng: np.random.Generator, split: str, index: int) -> Row:
    """The columns of one row; `labels.sentiment` is positive, negative or mixed. All four pairings are as frequent."""
    face, words = (tuple(WORDS)[int(rng.integers(2))] for _ in range(2))
    canvas = background(rng)
    centre = 24 + rng.integers(-5, 6, 2)
    form = mask(_face(face == "positive"), int(rng.integers(28, 37)))
    paint(canvas, form, (int(centre[0]), int(centre[1])), shade(rng, tuple(COLOURS)[int(rng.integers(len(COLOURS)))]))
    text = TEXTS[int(rng.integers(len(TEXTS)))].format(
        what=SUBJECTS[int(rng.integers(len(SUBJECTS)))], word=WORDS[words][int(rng.integers(len(WORDS[words])))]
    )
    pixels: NDArray[np.uint8] = finish(canvas)
    assert pixels.shape == (SIDE, SIDE, 3)
    return {"image": png(pixels), "transcript": text, "labels": {"sentiment": face if face == words else "mixed"}}


@cache
def _face(smiling: bool) -> Image.Image:
    """A disc with eyes and a mouth cut out, 96 x 96."""
    picture = Image.new("L", (96, 96), 0)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((1, 1, 94, 94), fill=255)
    for x in (30, 66):
        draw.ellipse((x - 8, 28, x + 8, 46), fill=0)
    if smiling:
        draw.arc((22, 30, 74, 78), 20, 160, fill=0, width=9)
    else:
        draw.arc((22, 62, 74, 110), 200, 340, fill=0, width=9)
    return picture
