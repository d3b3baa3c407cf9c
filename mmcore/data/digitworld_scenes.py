"""DigitWorld's scenes: two objects and how they lie to each other, in pixels, words, sound, questions and answers."""

import json
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mmcore.data import digitworld_objects as objects
from mmcore.data.digitworld_objects import COLOURS, KINDS, NOISE, SIDE
from mmcore.data.digitworld_speech import RATE, speak, wav
from mmcore.data.store import Row

SIZES = {"small": 13, "large": 21}
SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
RELATIONS = {
    "left": ("left of", "to the left of"),
    "right": ("right of", "to the right of"),
    "above": ("above", "over", "on top of"),
    "below": ("below", "under", "beneath"),
}
CONVERSE = {"left": "right", "right": "left", "above": "below", "below": "above"}
# Each says everything: kind, colour and size of both objects, and the relation of {a} to {b}.
TEMPLATES = (
    "a {a} is {how} a {b}",
    "there is a {a} {how} a {b}",
    "the {a} is {how} the {b}",
    "a {a} {how} a {b}",
    "we can see a {a} {how} a {b}",
    "a picture of a {a} {how} a {b}",
    "{how} the {b} there is a {a}",
    "a {b} with a {a} {how} it",
    "this image shows a {a} {how} a {b}",
    "in this scene a {a} sits {how} a {b}",
)
NUM_CAPTIONS = 5


@dataclass(frozen=True)
class Thing:
    kind: str
    colour: str
    size: str


@dataclass(frozen=True)
class Scene:
    """`first` lies `relation` of `second`: left, right, above or below."""

    first: Thing
    second: Thing
    relation: str


def scene_row(rng: np.random.Generator, split: str, index: int) -> Row:
    """The columns of one scene."""
    scene = draw_scene(rng)
    return describe(rng, scene, scene, split)


def describe(rng: np.random.Generator, scene: Scene, told: Scene, split: str) -> Row:
    """The columns of a row that shows `scene` and whose captions tell `told`."""
    pixels = render(rng, scene, split)
    captions = tell(rng, told)
    spoken = captions[int(rng.integers(len(captions)))]
    samples = speak(rng, spoken)
    return {
        "image": objects.png(pixels),
        "audio": wav(samples),
        "captions": [{"text": text, "lang": "en"} for text in captions],
        "speech_text": spoken,
        "qa": ask(rng, told),
        "meta": meta(len(samples) / RATE),
    }


def meta(seconds: float) -> str:
    """What the source states about a recording or clip: its length."""
    return json.dumps({"duration": round(seconds, 3)})


def draw_scene(rng: np.random.Generator) -> Scene:
    """Two objects of different kinds, everything else free."""
    kinds = rng.permutation(len(KINDS))[:2]
    colours, sizes = tuple(COLOURS), tuple(SIZES)
    first, second = (
        Thing(KINDS[kind], colours[int(rng.integers(len(colours)))], sizes[int(rng.integers(len(sizes)))])
        for kind in kinds
    )
    return Scene(first, second, tuple(RELATIONS)[int(rng.integers(4))])


def render(rng: np.random.Generator, scene: Scene, split: str) -> NDArray[np.uint8]:
    """uint8 [48, 48, 3]."""
    canvas = objects.background(rng)
    apart = np.array({"left": (-11, 0), "right": (11, 0), "above": (0, -11), "below": (0, 11)}[scene.relation])
    for thing, side_of in ((scene.first, 1), (scene.second, -1)):
        across = rng.integers(-6, 7, 2) * (apart == 0)
        along = rng.integers(-1, 2, 2) * (apart != 0)
        centre = SIDE // 2 + side_of * apart + across + along
        form = objects.mask(objects.stencil(rng, thing.kind, split), SIZES[thing.size] + int(rng.integers(-1, 2)))
        objects.paint(canvas, form, (int(centre[0]), int(centre[1])), objects.shade(rng, thing.colour))
    canvas += rng.integers(-NOISE // 2, NOISE // 2 + 1, canvas.shape)
    return objects.finish(canvas)


def tell(rng: np.random.Generator, scene: Scene) -> list[str]:
    """Five captions in different words; every one of them determines the whole scene."""
    captions = []
    for number in rng.permutation(len(TEMPLATES))[:NUM_CAPTIONS]:
        one = scene
        if rng.integers(2):
            one = Scene(scene.second, scene.first, CONVERSE[scene.relation])
        how = RELATIONS[one.relation]
        captions.append(
            TEMPLATES[number].format(
                a=_phrase(rng, one.first), b=_phrase(rng, one.second), how=how[int(rng.integers(len(how)))]
            )
        )
    return captions


def _phrase(rng: np.random.Generator, thing: Thing) -> str:
    words = SIZE_WORDS[thing.size]
    return f"{words[int(rng.integers(len(words)))]} {thing.colour} {thing.kind}"


def ask(rng: np.random.Generator, scene: Scene) -> list[Row]:
    """Four questions with their answers: colour, kind, size, existence."""
    things = [scene.first, scene.second]
    coloured, sized = things[int(rng.integers(2))], things[int(rng.integers(2))]
    one = scene if rng.integers(2) else Scene(scene.second, scene.first, CONVERSE[scene.relation])
    sought = things[int(rng.integers(2))]
    there = bool(rng.integers(2))
    if not there:
        others = [colour for colour in COLOURS if colour != sought.colour]
        sought = replace(sought, colour=others[int(rng.integers(len(others)))])
    pairs = (
        (f"what colour is the {coloured.kind}?", coloured.colour),
        (f"what is {RELATIONS[one.relation][0]} the {one.second.kind}?", one.first.kind),
        (f"is the {sized.kind} small or large?", sized.size),
        (f"is there a {sought.colour} {sought.kind}?", "yes" if there else "no"),
    )
    return [{"question": question, "answers": [answer]} for question, answer in pairs]
