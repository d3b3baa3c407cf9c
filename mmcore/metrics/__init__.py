"""What a number is: a score never stands without the baseline it has to be read against."""

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Measured:
    """The numbers of one metric family by name (`bleu1` ... `bleu4`), 0 to 100, and how they were computed."""

    values: dict[str, float]
    signature: str


@dataclass(frozen=True)
class Score:
    """One number with what it must be compared with.

    `value` and `baseline` are percentages from 0 to 100 (ranks are places from 1); `n` is how many samples were
    scored; `signature` names the method and its version; `references` holds further marks ("ceiling", "colour
    histogram") in the same unit as `value`; `slices` holds the same number by language, where there are several.
    """

    value: float
    baseline: float
    n: int
    signature: str
    references: dict[str, float] = field(default_factory=dict)
    slices: "dict[str, Score]" = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, number in {"value": self.value, "baseline": self.baseline, **self.references}.items():
            if not math.isfinite(number):
                raise ValueError(f"the {name} of a score is {number}; a prediction or embedding is not finite")

    def to_json(self) -> dict[str, Any]:
        """The score as it stands in metrics.json, numbers rounded to six decimals; `slices` where there are any."""
        slices = {language: score.to_json() for language, score in self.slices.items()}
        return {
            "value": round(float(self.value), 6),
            "baseline": round(float(self.baseline), 6),
            "n": self.n,
            "signature": self.signature,
            "references": {name: round(float(number), 6) for name, number in self.references.items()},
            **({"slices": slices} if slices else {}),
        }


def lower_is_better(metric: str) -> bool:
    """Whether a smaller value of the metric (`median_rank`, `task.word_error_rate`) is the better one."""
    return metric.endswith(("_rank", "_error_rate"))


def check_pairs(predictions: list[str], references: list[list[str]]) -> None:
    """Raise ValueError unless there is at least one prediction and each has at least one reference."""
    if not predictions:
        raise ValueError("there are no predictions to score; the test split holds no sample of this task")
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions but {len(references)} lists of references")
    for index, texts in enumerate(references):
        if not texts:
            raise ValueError(f"prediction {index} has no reference; leave samples without one out of the task")
