"""Embeddings in a few numbers: their coordinates on the principal axes of the reference's embeddings.

Raw dimensions are never compared one by one: hundreds of columns cost minutes and drown the ones that matter.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

# The task whose model embeds; its embeddings of the test split lie beside the evaluation's predictions.
TASK = "retrieval"
# A text's embedding is that of the sample's first caption.
_COLUMN = {"text": "caption"}

Points = dict[str, dict[str, float]]
# Per modality: the places of the samples that have one, float32 [N, E].
Embeddings = Mapping[str, tuple[Sequence[int], NDArray[np.float32]]]


def fit(evaluation: Path, output: Path, ids: Sequence[str], count: int) -> Points:
    """The coordinates of the samples `ids` on `count` axes for each modality that `evaluate` has embedded, by id and
    column; the axes are written to `output`. Empty if nothing was embedded."""
    found: Points = {}
    for modality, (names, stored_NE) in _stored(evaluation).items():
        place = {name: index for index, name in enumerate(names)}
        own = [name for name in ids if name in place]
        if len(own) > count:
            own_NE = stored_NE[[place[name] for name in own]]
            axes = principal_axes(own_NE, count)
            np.save(output / f"components.{modality}.npy", axes)
            _add(found, own, project(own_NE, axes), modality)
    return found


def apply(reference: Path, ids: Sequence[str], embeddings: Embeddings) -> Points:
    """The coordinates of a batch with these ids on the axes in `reference`, by id and column."""
    found: Points = {}
    for modality, (places, stored_NE) in embeddings.items():
        path = reference / f"components.{modality}.npy"
        if path.is_file() and len(places):
            _add(found, [ids[place] for place in places], project(stored_NE, np.load(path)), modality)
    return found


def modalities(reference: Path) -> list[str]:
    """The modalities whose embeddings the reference holds."""
    return sorted(path.name.split(".")[1] for path in reference.glob("components.*.npy"))


def principal_axes(embeddings_NE: NDArray[np.float32], count: int) -> NDArray[np.float64]:
    """float64 [1 + count, E]: the mean, then the axes of largest variance, each with its largest entry positive."""
    mean_E = embeddings_NE.astype(np.float64).mean(axis=0)
    axes_KE = np.linalg.svd(embeddings_NE - mean_E, full_matrices=False)[2][:count]
    largest_K = np.abs(axes_KE).argmax(axis=1)
    axes_KE = axes_KE * np.sign(axes_KE[np.arange(len(axes_KE)), largest_K])[:, None]
    return np.round(np.concatenate([mean_E[None], axes_KE]), 6)


def project(embeddings_NE: NDArray[np.float32], axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N, K]: embeddings as coordinates on `axes` ([1 + K, E], the first row the origin)."""
    return np.asarray((embeddings_NE.astype(np.float64) - axes[0]) @ axes[1:].T)


def _stored(evaluation: Path) -> dict[str, tuple[list[str], NDArray[np.float32]]]:
    """Per modality the sample ids and the embeddings that `evaluate` left; of several texts the first one's."""
    found = {}
    for path in sorted((evaluation / "embeddings").glob(f"{TASK}.*.npy")):
        modality = path.name.removeprefix(f"{TASK}.").removesuffix(".npy")
        names = pq.read_table(path.with_suffix(".parquet"), columns=["id"])["id"].to_pylist()
        keep = [index for index, name in enumerate(names) if "#" not in name or name.endswith("#0")]
        found[modality] = ([names[index].removesuffix("#0") for index in keep], np.load(path)[keep])
    return found


def _add(found: Points, ids: Sequence[str], points_NK: NDArray[np.float64], modality: str) -> None:
    column = _COLUMN.get(modality, modality)
    for name, point in zip(ids, points_NK.tolist(), strict=True):
        found.setdefault(name, {}).update({f"{column}_component_{k + 1}": value for k, value in enumerate(point)})
