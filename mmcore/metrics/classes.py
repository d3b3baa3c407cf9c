"""Whether the right class was chosen."""

from collections import Counter
from collections.abc import Sequence

from sklearn import __version__ as version
from sklearn.metrics import f1_score

from mmcore.metrics import Measured, check_pairs


def choices(predictions: list[str], references: list[list[str]]) -> Measured:
    """`accuracy`: the share of predictions that are one of their references, in percent. `f1_macro`: the mean over all
    classes of the harmonic mean of precision and recall, in percent; of several references the one that was chosen, or
    the first, counts."""
    check_pairs(predictions, references)
    right = [prediction in own for prediction, own in zip(predictions, references, strict=True)]
    truth = [chosen if hit else own[0] for chosen, hit, own in zip(predictions, right, references, strict=True)]
    f1 = 100 * float(f1_score(truth, predictions, average="macro", zero_division=0))
    return Measured({"accuracy": 100 * sum(right) / len(right), "f1_macro": f1}, f"choices|sklearn:{version}")


def commonest(labels: Sequence[tuple[str, str]], asked: Sequence[str]) -> list[str]:
    """What one would answer without looking: for each of `asked` the commonest label of that question among `labels`
    (question, label), or of all where the question is new; of equally common ones the first in the alphabet."""
    overall = _commonest(Counter(label for _, label in labels))
    counts: dict[str, Counter[str]] = {}
    for question, label in labels:
        counts.setdefault(question, Counter())[label] += 1
    best = {question: _commonest(found) for question, found in counts.items()}
    return [best.get(question, overall) for question in asked]


def _commonest(counts: Counter[str]) -> str:
    return min(counts, key=lambda label: (-counts[label], label), default="")
