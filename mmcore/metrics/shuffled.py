"""The shuffled baseline: what the same predictions score when they are read against other inputs' references.

A model that ignores its input scores exactly this, however fluent it is; only what lies above was seen.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mmcore.metrics import Measured, Score

Metric = Callable[[list[str], list[list[str]]], Measured]


def derangements(n: int, count: int, seed: int) -> list[NDArray[np.int64]]:
    """`count` seeded permutations of 0..n-1 without a fixed point, uniform among all such permutations."""
    if n < 2:
        raise ValueError(f"a shuffled baseline needs at least 2 test samples, found {n}")
    if count < 1:
        raise ValueError(f"evaluate.derangements is {count}; it must be at least 1")
    random = np.random.default_rng([seed, n])
    found: list[NDArray[np.int64]] = []
    places = np.arange(n)
    while len(found) < count:
        # One permutation in e (2.7) has no fixed point, so drawing again is both uniform and short.
        order = random.permutation(n).astype(np.int64)
        if not (order == places).any():
            found.append(order)
    return found


def shuffled_baseline(
    metric: Metric, predictions: list[str], references: list[list[str]], *, count: int, seed: int
) -> dict[str, float]:
    """The mean of each of the metric's values over `count` derangements of the references."""
    totals: dict[str, float] = {}
    for order in derangements(len(predictions), count, seed):
        for name, value in metric(predictions, [references[i] for i in order]).values.items():
            totals[name] = totals.get(name, 0.0) + value
    return {name: total / count for name, total in totals.items()}


def against_shuffled(
    metric: Metric, predictions: list[str], references: list[list[str]], *, count: int, seed: int
) -> dict[str, Score]:
    """Each value of the metric as a Score whose baseline is the shuffled one; the signature says how many."""
    measured = metric(predictions, references)
    baseline = shuffled_baseline(metric, predictions, references, count=count, seed=seed)
    signature = f"{measured.signature}|baseline:shuffled({count})"
    return {name: Score(value, baseline[name], len(predictions), signature) for name, value in measured.values.items()}
