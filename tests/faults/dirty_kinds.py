"""What a kind of damage is: how a row of it is made, how bad it is, and what a gate has to say of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Columns = dict[str, Any]
Maker = Callable[[np.random.Generator], Columns]

# How bad it is, and which share of its rows must be caught; null: printed, not judged. Of the doubtful rows of seeds 1
# to 3 the gate caught 264 of 270, all but half of `HARD`; of the repairable ones 36 of 36.
FAMILIES: dict[str, float | None] = {
    "undecodable": 1.0,
    "bomb": 1.0,
    "unusable": 0.98,
    "doubtful": 0.95,
    "repairable": 0.95,
    "bystander": None,
}
# Some rows of these kinds look like captions: "A photo of {}", "qwertyuiop asdf". Of every other kind that is judged at
# least one row must be caught.
HARD = ("template", "keyboard_noise")
# What a gate may say of a row that is expected to be ...; a bystander is the sound half of a pair.
ACCEPTABLE = {
    "reject": {"reject"},
    "flag": {"repaired", "flag", "reject"},
    "repaired": {"repaired", "flag"},
    "any": {"ok", "repaired", "flag", "reject"},
}


@dataclass(frozen=True)
class Kind:
    """`make` gives the columns of one row; `extension` is what the source calls its picture (with a dot)."""

    name: str
    family: str
    expected: str
    make: Maker
    extension: str = ".png"


class Kinds(dict[str, Kind]):
    """Kinds by name. As a decorator, `kinds("bomb", "reject")`, it adds a function that makes rows under its name."""

    def __call__(self, family: str, expected: str, *, extension: str = ".png") -> Callable[[Maker], Maker]:
        assert family in FAMILIES
        assert expected in ACCEPTABLE

        def add(make: Maker) -> Maker:
            name = make.__name__.strip("_")
            assert name not in self, name
            self[name] = Kind(name, family, expected, make, extension)
            return make

        return add


def caught(expected: str, verdict: str) -> bool:
    """Whether `verdict` is an answer to a row of which `expected` is expected."""
    return verdict in ACCEPTABLE[expected]
