"""What the metrics cost beside the libraries they stand on, and ranking beside a full sort: ratios of processor time.

    python benchmarks/metrics.py

Values are compared before anything is timed.
"""

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
from rouge_score import rouge_scorer
from sacrebleu.metrics.bleu import BLEU

from mmcore.metrics.bleu import corpus_bleu
from mmcore.metrics.ranking import search
from mmcore.metrics.rouge import NAMES, rouge
from mmcore.metrics.shuffled import derangements

SAMPLES, REFERENCES, DERANGEMENTS = 500, 5, 3
WORDS = ["a", "the", "small", "tiny", "red", "blue", "green", "circle", "star", "nine", "seven", "left", "of", "and"]


def texts(count: int, seed: int) -> list[str]:
    """Sentences of 6 to 14 words drawn from a small vocabulary, as templated captions are."""
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, random.integers(6, 15))) for _ in range(count)]


def once(*functions: Callable[[], Any], rounds: int = 3) -> list[float]:
    """The least processor time of each of the functions in seconds, taken in turns."""
    best = [float("inf")] * len(functions)
    for _ in range(rounds):
        for place, function in enumerate(functions):
            start = time.process_time()
            function()
            best[place] = min(best[place], time.process_time() - start)
    return best


def bleu_four_times(predictions: list[str], references: list[list[str]]) -> list[float]:
    """BLEU-1 to 4 as sacrebleu gives them, one corpus score for each order."""
    streams = [list(stream) for stream in zip(*references, strict=True)]
    return [
        BLEU(max_ngram_order=order, lowercase=True, force=True).corpus_score(predictions, streams).score
        for order in range(1, 5)
    ]


def rouge_directly(predictions: list[str], references: list[list[str]]) -> list[float]:
    """ROUGE with rouge-score's own tokenizer."""
    scorer = rouge_scorer.RougeScorer(list(NAMES))
    found = [scorer.score_multi(own, text) for text, own in zip(predictions, references, strict=True)]
    return [100 * float(np.mean([scores[name].fmeasure for scores in found])) for name in NAMES]


def sorted_ranks(queries: np.ndarray[Any, Any], candidates: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The place of candidate i for query i in a full sort of the whole score matrix."""
    order = np.argsort(-(queries @ candidates.T), axis=1)
    places: np.ndarray[Any, Any] = np.argmax(order == np.arange(len(queries))[:, None], axis=1) + 1
    return places


def peak(function: Callable[[], Any]) -> int:
    """The most memory in bytes that was allocated at once."""
    tracemalloc.start()
    function()
    size = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return size


def main() -> None:
    predictions = texts(SAMPLES, 0)
    references = [texts(REFERENCES, 1 + place) for place in range(SAMPLES)]
    pairings = [references, *([references[i] for i in order] for order in derangements(SAMPLES, DERANGEMENTS, 1))]

    def bleus() -> list[float]:
        return list(corpus_bleu(predictions, references, tokenize="13a", lowercase=True).values.values())

    np.testing.assert_allclose(bleus(), bleu_four_times(predictions, references), rtol=1e-12)
    ours, theirs = once(bleus, lambda: bleu_four_times(predictions, references))
    print(f"BLEU-1 to 4 of {SAMPLES} x {REFERENCES}: {ours / theirs:.2f} of four sacrebleu scores; equal values")

    def rouges() -> list[list[float]]:
        return [list(rouge(predictions, pairing, tokenize="words").values.values()) for pairing in pairings]

    def rouges_directly() -> list[list[float]]:
        return [rouge_directly(predictions, pairing) for pairing in pairings]

    np.testing.assert_allclose(rouges(), rouges_directly(), rtol=1e-12)
    ours, theirs = once(rouges, rouges_directly)
    print(f"ROUGE with {DERANGEMENTS} derangements: {ours / theirs:.2f} of rouge-score's own; equal values")

    random = np.random.default_rng(0)
    count = 6000
    queries, candidates = (random.normal(size=(count, 128)).astype(np.float32) for _ in range(2))
    right = [np.array([place]) for place in range(count)]

    def searched() -> np.ndarray[Any, Any]:
        return search(queries, candidates, right).ranks

    def by_sorting() -> np.ndarray[Any, Any]:
        return sorted_ranks(queries, candidates)

    # Scores that are equal as float32 count against; a sort puts one of them first.
    further = searched() - sorted_ranks(queries.astype(np.float64), candidates.astype(np.float64))
    assert further.min() == 0
    assert further.max() <= 1
    ours, theirs = once(searched, by_sorting)
    memory = peak(searched) / peak(by_sorting)
    print(f"ranks and top 10 of {count} x {count}: {ours / theirs:.2f} of the time of a full sort, "
          f"{memory:.2f} of its memory; {int((further > 0).sum())} ranks differ by a tie")  # fmt: skip


if __name__ == "__main__":
    main()
