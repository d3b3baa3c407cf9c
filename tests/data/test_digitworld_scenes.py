import json
import re

import numpy as np
import pytest

from mmcore.data import digitworld_scenes as scenes
from mmcore.data.digitworld import make
from mmcore.data.digitworld_objects import COLOURS, KINDS, seeded
from mmcore.data.digitworld_scenes import Scene, Thing

SIZE_OF = {word: size for size, words in scenes.SIZE_WORDS.items() for word in words}
RELATION_OF = {phrase: name for name, phrases in scenes.RELATIONS.items() for phrase in phrases}
THING = rf"({'|'.join(SIZE_OF)}) ({'|'.join(COLOURS)}) ({'|'.join(KINDS)})"


def understood(caption: str) -> Scene:
    """The scene that a caption tells, its things in alphabetical order of kind."""
    things = [Thing(kind, colour, SIZE_OF[size]) for size, colour, kind in re.findall(THING, caption)]
    phrases = sorted((phrase for phrase in RELATION_OF if f" {phrase} " in f" {caption} "), key=len)
    relation = RELATION_OF[phrases[-1]]
    # "left of the b there is a c" and "a b with a c above it" tell of c first.
    if caption.split()[0] not in ("a", "the", "there", "we", "this", "in") or " with " in caption:
        things.reverse()
    first, second = things
    if first.kind > second.kind:
        return Scene(second, first, scenes.CONVERSE[relation])
    return Scene(first, second, relation)


def test_every_caption_tells_the_whole_scene() -> None:
    for index in range(200):
        rng = seeded("scene", "test", index)
        captions = scenes.tell(rng, scenes.draw_scene(rng))
        assert len(set(captions)) == 5
        assert len({understood(caption) for caption in captions}) == 1


def test_all_templates_and_synonyms_make_a_small_vocabulary() -> None:
    words: set[str] = set()
    for index in range(400):
        rng = seeded("scene", "train", index)
        words.update(word for caption in scenes.tell(rng, scenes.draw_scene(rng)) for word in caption.split())
    assert len(words) == 53


@pytest.mark.parametrize(
    ("relation", "axis", "sign"), [("left", 1, -1), ("right", 1, 1), ("above", 0, -1), ("below", 0, 1)]
)
def test_objects_lie_as_the_relation_says(relation: str, axis: int, sign: int) -> None:
    scene = Scene(Thing("circle", "red", "large"), Thing("square", "blue", "small"), relation)
    pixels = scenes.render(np.random.default_rng(3), scene, "train").astype(int)
    red = np.argwhere(pixels[..., 0] - pixels[..., 2] > 80).mean(axis=0)
    blue = np.argwhere(pixels[..., 2] - pixels[..., 0] > 80).mean(axis=0)
    assert sign * (red[axis] - blue[axis]) > 15


def test_large_is_larger_than_small() -> None:
    scene = Scene(Thing("circle", "red", "large"), Thing("circle", "blue", "small"), "left")
    pixels = scenes.render(np.random.default_rng(4), scene, "train").astype(int)
    red, blue = (pixels[..., 0] - pixels[..., 2] > 80).sum(), (pixels[..., 2] - pixels[..., 0] > 80).sum()
    assert red > 1.8 * blue


def test_questions_are_answered_by_the_captions() -> None:
    for index in range(100):
        rng = seeded("scene", "train", index)
        scene = scenes.draw_scene(rng)
        things = {thing.kind: thing for thing in (scene.first, scene.second)}
        colour, kind, size, there = scenes.ask(rng, scene)
        asked = colour["question"].removeprefix("what colour is the ").rstrip("?")
        assert colour["answers"] == [things[asked].colour]
        assert kind["answers"][0] in things
        assert kind["answers"][0] not in kind["question"]
        assert size["answers"] == [things[size["question"].split()[2]].size]
        *_, hue, sought = there["question"].rstrip("?").split()
        assert there["answers"] == ["yes" if things[sought].colour == hue else "no"]


def test_a_row_has_picture_sound_and_words() -> None:
    row = make("scene", "validation", 3)
    assert row["speech_text"] in [caption["text"] for caption in row["captions"]]
    assert row["video"] is None
    assert row["labels"] == {}
    seconds = (len(row["audio"]) - 44) / 16000
    assert json.loads(row["meta"]) == {"duration": pytest.approx(seconds, abs=0.001)}
