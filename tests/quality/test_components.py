import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcore.quality.components import apply, fit, modalities, nearest, principal_axes, project

# Along (3, 4, 0) / 5 most, along the third axis less, around (1, 1, 1).
POINTS = np.array([[1, 1, 1], [7, 9, 1], [-5, -7, 1], [1, 1, 3], [1, 1, -1]], np.float32)
UNIT = np.array([[1, 0, 0], [0.6, 0.8, 0], [0, 1, 0], [0, 0, 1]], np.float32)


def test_axes_come_by_variance_with_their_largest_entry_positive():
    axes = principal_axes(POINTS, 2)
    assert axes == pytest.approx(np.array([[1, 1, 1], [0.6, 0.8, 0], [0, 0, 1]]), abs=1e-6)
    assert principal_axes(-POINTS, 2)[1:] == pytest.approx(axes[1:])


def test_coordinates_are_distances_along_the_axes():
    assert project(POINTS, principal_axes(POINTS, 2)) == pytest.approx(
        np.array([[0, 0], [10, 0], [-10, 0], [0, 2], [0, -2]]), abs=1e-4
    )


def test_the_nearest_sample_is_another_one():
    assert nearest(UNIT) == pytest.approx([0.6, 0.8, 0.8, 0], abs=1e-6)
    assert nearest(UNIT[:1], UNIT[1:]) == pytest.approx([0.6], abs=1e-6)
    assert nearest(UNIT[:1], UNIT) == pytest.approx([1])


def test_many_samples_are_compared_block_by_block():
    vectors = np.random.default_rng(0).normal(size=(1100, 3)).astype(np.float32)
    cosines = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    np.fill_diagonal(cosines, -1)
    assert nearest(vectors) == pytest.approx(cosines.max(axis=1))


def test_the_stored_embeddings_of_the_chosen_samples_are_fitted(tmp_path):
    folder = tmp_path / "evaluation" / "embeddings"
    folder.mkdir(parents=True)
    np.save(folder / "retrieval.image.npy", POINTS)
    pq.write_table(pa.table({"id": list("abcde")}), folder / "retrieval.image.parquet")
    # Of a sample's texts the first counts.
    np.save(folder / "retrieval.text.npy", np.repeat(POINTS, 2, axis=0) * np.array([[1], [9]] * 5, np.float32))
    texts = pa.table({"id": [f"{name}#{k}" for name in "abcde" for k in (0, 1)]})
    pq.write_table(texts, folder / "retrieval.text.parquet")
    points = fit(tmp_path / "evaluation", tmp_path, ["e", "b", "a", "c", "d", "unknown"], 1)
    assert sorted(points) == list("abcde")
    assert {name: points["b"][name] for name in ("image_component_1", "caption_component_1")} == pytest.approx(
        {"image_component_1": 10, "caption_component_1": 10}, abs=1e-4
    )
    assert points["b"]["image_caption_similarity"] == 7 * 7 + 9 * 9 + 1
    assert points["b"]["image_nearest"] == 7 + 9 + 3
    assert modalities(tmp_path) == ["image", "text"]


def test_ids_of_samples_may_end_like_those_of_texts(tmp_path):
    folder = tmp_path / "evaluation" / "embeddings"
    folder.mkdir(parents=True)
    names = ["clip#0", "clip#1", "clip", "C#/x", "e"]
    np.save(folder / "retrieval.video.npy", POINTS)
    pq.write_table(pa.table({"id": names}), folder / "retrieval.video.parquet")
    np.save(folder / "retrieval.text.npy", POINTS)
    pq.write_table(pa.table({"id": [f"{name}#0" for name in names]}), folder / "retrieval.text.parquet")
    points = fit(tmp_path / "evaluation", tmp_path, names, 1)
    assert [points[name]["video_caption_similarity"] for name in names] == [3, 131, 75, 11, 3]


def test_a_batch_is_measured_against_what_was_fitted(tmp_path):
    np.save(tmp_path / "components.image.npy", np.array([[0, 0, 0], [0, 1, 0]], np.float64))
    np.save(tmp_path / "embeddings.image.npy", UNIT[:1])
    again = apply(tmp_path, ["x", "y"], {"image": ([1], UNIT[1:2]), "audio": ([0], UNIT[:1])})
    assert again == {"y": pytest.approx({"image_component_1": 0.8, "image_nearest": 0.6}, abs=1e-6)}


def test_without_stored_embeddings_there_are_no_components(tmp_path):
    assert fit(tmp_path / "nowhere", tmp_path, ["a"], 2) == {}
    assert modalities(tmp_path) == []
