"""A baseline for text-to-image retrieval that sees nothing but colours: ridge regression from words to histograms.

What a model finds beyond it, it found by looking at shapes, things and places. N images, Q texts, W words, H bins.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmcore.metrics.words import split_words

Floats = NDArray[np.float64]

LEVELS = 4  # per colour channel: 64 bins
WORDS = 1000
RIDGE = 100.0
SIDE = 64  # pixels looked at along each side
BLOCK = 2048  # captions held as word counts at once


def colour_histograms(images: Iterable[NDArray[np.uint8]]) -> Floats:
    """Square roots [N, 64] of the shares of each image's pixels (uint8 [height, width, 3]) in 4 x 4 x 4 colours."""
    rows = []
    for image in images:
        step = (max(1, image.shape[0] // SIDE), max(1, image.shape[1] // SIDE))
        level = (image[:: step[0], :: step[1]] // (256 // LEVELS)).reshape(-1, 3).astype(np.int64)
        counts = np.bincount(level @ (LEVELS**2, LEVELS, 1), minlength=LEVELS**3)
        rows.append(np.sqrt(counts / counts.sum()))
    return np.stack(rows)


@dataclass(frozen=True)
class ColourBaseline:
    """A fitted baseline; both kinds of vector have length 1, so that their dot product is a cosine.

    Histograms are centred and scaled by what words leave unexplained: bins that vary for no reason count less.
    """

    vocabulary: dict[str, int]
    weights_WH: Floats
    offset_H: Floats
    mean_H: Floats
    scale_HH: Floats

    def embed_texts(self, texts: Sequence[str]) -> Floats:
        """The histogram that each text's words predict [Q, H]."""
        return self._embed(_bags(texts, self.vocabulary) @ self.weights_WH + self.offset_H)

    def embed_histograms(self, histograms_NH: Floats) -> Floats:
        """[N, H]"""
        return self._embed(histograms_NH)

    def _embed(self, histograms_NH: Floats) -> Floats:
        scaled = (histograms_NH - self.mean_H) @ self.scale_HH
        unit: Floats = scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1e-12)
        return unit


def fit(captions: Sequence[Sequence[str]], histograms_NH: Floats) -> ColourBaseline:
    """The baseline trained on images' histograms and the captions of each."""
    assert len(captions) == len(histograms_NH)
    vocabulary = _vocabulary(captions)
    texts = [text for own in captions for text in own]
    images = np.repeat(np.arange(len(captions)), [len(own) for own in captions])
    if not texts:
        raise ValueError("the colour baseline has no caption to learn from")
    # Products of words and bins, summed up block by block; a column of ones carries the means.
    size, bins = len(vocabulary) + 1, histograms_NH.shape[1]
    words_words, words_bins, bins_bins = np.zeros((size, size)), np.zeros((size, bins)), np.zeros((bins, bins))
    for start in range(0, len(texts), BLOCK):
        bags = _bags(texts[start : start + BLOCK], vocabulary)
        bags = np.hstack([bags, np.ones((len(bags), 1))])
        found = histograms_NH[images[start : start + BLOCK]]
        words_words += bags.T @ bags
        words_bins += bags.T @ found
        bins_bins += found.T @ found
    penalty = np.diag([RIDGE] * len(vocabulary) + [0.0])
    weights = np.linalg.solve(words_words + penalty, words_bins).astype(np.float64)
    unexplained = bins_bins - weights.T @ words_bins - words_bins.T @ weights + weights.T @ words_words @ weights
    # A bin that never varies leaves nothing unexplained; the small term keeps the matrix invertible.
    covariance = unexplained / len(texts) + 1e-4 * np.eye(bins)
    scale: Floats = np.linalg.cholesky(np.linalg.inv(covariance)).astype(np.float64)
    return ColourBaseline(vocabulary, weights[:-1], weights[-1], words_bins[-1] / len(texts), scale)


def _vocabulary(captions: Sequence[Sequence[str]]) -> dict[str, int]:
    """The most frequent words; among equally frequent ones the alphabet decides."""
    counts = Counter(word for own in captions for text in own for word in set(split_words(text)))
    chosen = sorted(counts, key=lambda word: (-counts[word], word))[:WORDS]
    return {word: place for place, word in enumerate(chosen)}


def _bags(texts: Sequence[str], vocabulary: dict[str, int]) -> Floats:
    """Which words [Q, W] each text has, 0 or 1."""
    bags = np.zeros((len(texts), len(vocabulary)))
    for row, text in enumerate(texts):
        bags[row, [vocabulary[word] for word in split_words(text) if word in vocabulary]] = 1.0
    return bags
