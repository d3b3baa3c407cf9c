"""How badly a caption fits its picture or clip, as a trained retrieval model sees it.

The cosine of a pair alone would punish captions that say little and pictures that show little. So it is seen as a
standard score in three ways: among all pairs, among what the picture has with the captions of other rows, and among
what the caption has with the pictures of other rows. Shapes: N media, P pairs, R rows to compare with, E shared space.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# So many other rows, evenly spread, stand for all others.
COMPARED_WITH = 1000
_BLOCK = 4096
# Spreads below this are none: a pair that has no others like it gets no standard score.
_NO_SPREAD = 1e-6

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """The captions of one split and the media they belong to, embedded.

    `ids` [N]; `media_NE`, `texts_PE`: float32, rows of length 1; `owner` [P]: the place of each caption's medium;
    `texts`, `langs` [P]; `keys` [N]: media of one key are not compared with each other's captions.
    """

    ids: list[str]
    keys: list[str]
    media_NE: NDArray[np.float32]
    texts_PE: NDArray[np.float32]
    owner: NDArray[np.int64]
    texts: list[str]
    langs: list[str]


def misfits(pairs: Pairs) -> _Floats:
    """[P]: how badly each caption fits its medium: higher is worse, about 0 is usual, a unit is one standard deviation.

    Captions are compared with those of their own language; media and captions of one key are never compared.
    """
    found = np.zeros(len(pairs.texts))
    languages = np.array(pairs.langs)
    for language in sorted(set(pairs.langs)):
        chosen = np.flatnonzero(languages == language)
        found[chosen] = _misfits(pairs, chosen)
    return found


def _misfits(pairs: Pairs, chosen: NDArray[np.int64]) -> _Floats:
    keys = _numbered(pairs.keys)
    texts, owner = pairs.texts_PE[chosen], pairs.owner[chosen]
    own = np.einsum("pe,pe->p", texts, pairs.media_NE[owner], dtype=np.float64)
    # One caption of each row: its first one in this language.
    speakers, first = np.unique(owner, return_index=True)
    spread = _evenly(len(speakers), COMPARED_WITH)
    others, other_texts = speakers[spread], texts[first[spread]]
    by_text = _standard(own, *_unrelated(texts, keys[owner], pairs.media_NE[others], keys[others]))
    media = pairs.media_NE[speakers]
    to_speaker = np.searchsorted(speakers, owner)
    mean, deviation = _unrelated(media, keys[speakers], other_texts, keys[others])
    by_medium = _standard(own, mean[to_speaker], deviation[to_speaker])
    among_all = _standard(own, own.mean(), np.asarray(own.std()))
    return -(among_all + (by_text + by_medium) / 2)


def _unrelated(
    queries_QE: NDArray[np.float32],
    query_keys: NDArray[np.int64],
    others_RE: NDArray[np.float32],
    other_keys: NDArray[np.int64],
) -> tuple[_Floats, _Floats]:
    """Mean and standard deviation [Q] of each query's cosines with the others that have another key; 0 and 0 where
    there are none."""
    mean, deviation = np.zeros(len(queries_QE)), np.zeros(len(queries_QE))
    for start in range(0, len(queries_QE), _BLOCK):
        part = slice(start, start + _BLOCK)
        cosines = (queries_QE[part] @ others_RE.T).astype(np.float64)
        unrelated = query_keys[part, None] != other_keys[None]
        count = np.maximum(unrelated.sum(axis=1), 1)
        mean[part] = (cosines * unrelated).sum(axis=1) / count
        deviation[part] = np.sqrt((((cosines - mean[part, None]) * unrelated) ** 2).sum(axis=1) / count)
    return mean, deviation


def _standard(values: _Floats, mean: Any, deviation: _Floats) -> _Floats:
    usable = deviation > _NO_SPREAD
    return np.where(usable, (values - mean) / np.where(usable, deviation, 1), 0.0)


def _evenly(count: int, most: int) -> NDArray[np.int64]:
    """At most `most` of `count` places, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _numbered(names: Sequence[str]) -> NDArray[np.int64]:
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def check_model(folder: Path) -> Path:
    """The folder of the trained retrieval model; FileNotFoundError says how to get one."""
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} holds no trained model; train one with the task retrieval first: mmcore run")
    return folder
