"""Embeddings in a few numbers per sample.

Raw dimensions are never compared one by one: hundreds of columns cost minutes and drown the ones that matter. What
stands for them: the coordinates on the principal axes of the reference's embeddings (`image_component_1` ...), the
cosine to the nearest reference sample (`image_nearest`: low for what the model has seen nothing like), and the cosine
between a sample's media and its caption (`image_caption_similarity`: low where the two no longer agree).
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
_BLOCK = 1024

Points = dict[str, dict[str, float]]
# Per modality: the places of the samples that have one, float32 [N, E], rows of length 1.
Embeddings = Mapping[str, tuple[Sequence[int], NDArray[np.float32]]]


def fit(evaluation: Path, output: Path, ids: Sequence[str], count: int) -> Points:
    """The numbers of the samples `ids`, by id and column, with `count` axes for each modality that `evaluate` has
    embedded. The axes and the embeddings are written to `output`. Empty if nothing was embedded."""
    found: Points = {}
    own: dict[str, dict[str, NDArray[np.float32]]] = {}
    for modality, stored in _stored(evaluation).items():
        chosen = {name: stored[name] for name in ids if name in stored}
        if len(chosen) > count:
            own[modality] = chosen
            vectors_NE = np.stack(list(chosen.values()))
            axes = principal_axes(vectors_NE, count)
            np.save(output / f"components.{modality}.npy", axes)
            np.save(output / f"embeddings.{modality}.npy", vectors_NE)
            _add(found, modality, list(chosen), project(vectors_NE, axes), nearest(vectors_NE))
    _add_pairs(found, own)
    return found


def apply(reference: Path, ids: Sequence[str], embeddings: Embeddings) -> Points:
    """The numbers of a batch with these ids, by id and column, for the modalities that `reference` knows."""
    found: Points = {}
    own: dict[str, dict[str, NDArray[np.float32]]] = {}
    for modality in modalities(reference):
        places, vectors_NE = embeddings.get(modality, ((), np.zeros((0, 0), np.float32)))
        if len(places):
            names = [ids[place] for place in places]
            own[modality] = dict(zip(names, vectors_NE, strict=True))
            axes, known_ME = (np.load(reference / f"{kind}.{modality}.npy") for kind in ("components", "embeddings"))
            _add(found, modality, names, project(vectors_NE, axes), nearest(vectors_NE, known_ME))
    _add_pairs(found, own)
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


def nearest(embeddings_NE: NDArray[np.float32], among_ME: NDArray[np.float32] | None = None) -> NDArray[np.float64]:
    """[N]: the largest cosine to any of `among`; without it, to any other one of the embeddings themselves."""
    known_EM = (embeddings_NE if among_ME is None else among_ME).astype(np.float64).T
    found = np.empty(len(embeddings_NE))
    for start in range(0, len(embeddings_NE), _BLOCK):
        cosines = embeddings_NE[start : start + _BLOCK].astype(np.float64) @ known_EM
        if among_ME is None:
            rows = np.arange(len(cosines))
            cosines[rows, start + rows] = -1
        found[start : start + _BLOCK] = cosines.max(axis=1)
    return found


def _stored(evaluation: Path) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Per modality the embeddings that `evaluate` left, by sample id; of several texts the first one's."""
    found = {}
    for path in sorted((evaluation / "embeddings").glob(f"{TASK}.*.npy")):
        names = pq.read_table(path.with_suffix(".parquet"), columns=["id"])["id"].to_pylist()
        vectors_NE = np.load(path)
        modality = path.name.removeprefix(f"{TASK}.").removesuffix(".npy")
        if modality == "text":
            chosen = {name.removesuffix("#0"): place for place, name in enumerate(names) if name.endswith("#0")}
        else:
            chosen = {name: place for place, name in enumerate(names)}
        found[modality] = {name: vectors_NE[place] for name, place in chosen.items()}
    return found


def _add(
    found: Points, modality: str, ids: Sequence[str], points_NK: NDArray[np.float64], nearest_N: NDArray[np.float64]
) -> None:
    column = _COLUMN.get(modality, modality)
    for name, point, cosine in zip(ids, points_NK.tolist(), nearest_N.tolist(), strict=True):
        numbers = {f"{column}_component_{k + 1}": value for k, value in enumerate(point)}
        found.setdefault(name, {}).update(numbers | {f"{column}_nearest": cosine})


def _add_pairs(found: Points, embeddings: Mapping[str, Mapping[str, NDArray[np.float32]]]) -> None:
    texts = embeddings.get("text", {})
    for modality in sorted(set(embeddings) - {"text"}):
        for name, vector_E in embeddings[modality].items():
            if name in texts:
                cosine = float(vector_E.astype(np.float64) @ texts[name].astype(np.float64))
                found[name][f"{modality}_caption_similarity"] = cosine
