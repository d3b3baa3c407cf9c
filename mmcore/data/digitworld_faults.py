"""Rows of DigitWorld that are broken on purpose, as real data sets are, so that one sees what validation does."""

import json
from dataclasses import replace

import numpy as np

from mmcore.data.digitworld_objects import COLOURS, seeded
from mmcore.data.digitworld_scenes import describe, draw_scene, scene_row
from mmcore.data.store import Row

KINDS = ("undecodable_image", "empty_caption", "wrong_duration", "duplicate_across_splits", "swapped_attribute")


def fault_kind(index: int) -> str:
    """What is wrong with fault `index` of any split."""
    return KINDS[index % len(KINDS)]


def fault_row(rng: np.random.Generator, split: str, index: int) -> Row:
    """The columns of one broken row: a scene of its own, except for the copies."""
    kind = fault_kind(index)
    if kind == "duplicate_across_splits":
        return _copy(split, index // len(KINDS))
    scene = draw_scene(rng)
    told = scene
    if kind == "swapped_attribute":
        others = [colour for colour in COLOURS if colour != scene.first.colour]
        told = replace(scene, first=replace(scene.first, colour=others[int(rng.integers(len(others)))]))
    values = describe(rng, scene, told, split)
    if kind == "undecodable_image":
        values["image"] = values["image"][: len(values["image"]) // 3]
    elif kind == "empty_caption":
        values["captions"][int(rng.integers(len(values["captions"])))]["text"] = ""
    elif kind == "wrong_duration":
        stated = json.loads(values["meta"])["duration"]
        values["meta"] = json.dumps({"duration": round(stated * float(rng.uniform(1.6, 3)), 3)})
    return values


def _copy(split: str, number: int) -> Row:
    """A scene of another split: of the test split, in training also of the validation split."""
    other = "validation" if split == "train" and number % 2 else "test"
    return scene_row(seeded("scene", other, number), other, number)
