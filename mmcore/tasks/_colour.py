"""The colour-histogram baseline of image retrieval: what colours and words alone tell, without any network."""

from typing import Any

import numpy as np

from mmcore.data.batches import Rows, texts_of
from mmcore.metrics.ranking import positive_sets, search
from mmcore.models.processor import Processor

Array = np.ndarray[Any, Any]
LEVELS = 4
RIDGE = 1.0


def colour_ranks(train: Rows, test: Rows, processor: Processor) -> Array:
    """Rank [N] of each test row's image for its first caption.

    A ridge regression from a bag of words to the colour histogram is fitted on the training rows; test images are
    ordered by the cosine between their histogram and the one that the caption leads to expect.
    """
    words, colours = _features(train, processor)
    middle = colours.mean(0)
    weights = np.linalg.solve(words.T @ words + RIDGE * np.eye(words.shape[1]), words.T @ (colours - middle))
    words, colours = _features(test, processor)
    indices = test.with_("image", "captions")
    keys = [test.rows[i].get("positives") or str(test.ids[i]) for i in indices]
    expected, found = _unit(words @ weights), _unit(colours - middle)
    return search(expected, found, positive_sets(keys, keys)).ranks


def _features(corpus: Rows, processor: Processor) -> tuple[Array, Array]:
    """Word counts [N, V] of the first captions and colour histograms [N, LEVELS^3] of the images."""
    indices = corpus.with_("image", "captions")
    words = np.zeros((len(indices), processor.vocabulary))
    colours = np.zeros((len(indices), LEVELS**3))
    encoded = processor.encode([texts_of(corpus.rows[i], "captions")[0] for i in indices])
    for place, (index, ids) in enumerate(zip(indices, encoded, strict=True)):
        np.add.at(words[place], ids, 1.0)
        levels = corpus.image(index).reshape(-1, 3).astype(np.int64) * LEVELS // 256
        bins = levels @ np.array([LEVELS**2, LEVELS, 1])
        colours[place] = np.sqrt(np.bincount(bins, minlength=LEVELS**3) / len(bins))
    return words, colours


def _unit(rows: Array) -> Array:
    unit: Array = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return unit
