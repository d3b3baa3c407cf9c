import dataclasses
import re

import numpy as np
import pyarrow.parquet as pq
import pytest

from mmcore.data.prepare import prepare
from mmcore.evaluation.evaluate import evaluate
from mmcore.workspace import hash_folder, read_json


@pytest.fixture(scope="module")
def scored(world, tmp_path_factory):
    output = tmp_path_factory.mktemp("scored")
    evaluate(world.prepared, world.tasks, output, world.settings)
    return output


def with_headline(settings, *names):
    return dataclasses.replace(settings, evaluate=dataclasses.replace(settings.evaluate, headline=list(names)))


def test_every_number_stands_beside_its_baseline(world, scored):
    metrics = read_json(scored / "metrics.json")
    assert list(metrics) == world.settings.tasks
    for own in metrics.values():
        for score in own.values():
            assert {"value", "baseline", "n", "signature"} <= set(score)
    recall = metrics["retrieval"]["text_to_image_recall@1"]
    assert recall["n"] == 12
    assert recall["baseline"] == pytest.approx(100 / 12, abs=1e-4)
    assert 0 <= recall["references"]["colour histogram"] <= 100
    assert set(metrics["captioning"]) == {f"bleu{n}" for n in range(1, 5)} | {"rouge1", "rouge2", "rougeL"}
    assert "shuffled(2)" in metrics["summarisation"]["rougeL"]["signature"]


def test_the_headline_is_a_flat_choice_of_the_metrics(world, scored):
    scores, metrics = read_json(scored / "scores.json"), read_json(scored / "metrics.json")
    named = world.settings.evaluate.headline
    assert list(scores) == [name for name in named if name.partition(".")[0] in world.settings.tasks]
    assert scores["captioning.bleu4"] == metrics["captioning"]["bleu4"]["value"]


def test_predictions_and_embeddings_are_kept_for_all_samples(scored):
    captions = pq.read_table(scored / "predictions" / "captioning.parquet")
    assert captions.num_rows == 12
    assert {"id", "input_id", "prediction", "references", "score", "rank"} <= set(captions.column_names)
    vectors = np.load(scored / "embeddings" / "retrieval.image.npy")
    ids = pq.read_table(scored / "embeddings" / "retrieval.image.parquet")["id"].to_pylist()
    assert vectors.shape == (12, 8)
    assert len(set(ids)) == 12
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_the_written_recall_follows_from_the_written_ranks(scored):
    rows = pq.read_table(scored / "predictions" / "retrieval.parquet").to_pylist()
    for direction in ("text_to_image", "image_to_text"):
        ranks = np.array([row["rank"] for row in rows if row["direction"] == direction])
        score = read_json(scored / "metrics.json")["retrieval"][f"{direction}_recall@5"]
        assert score["value"] == pytest.approx(100 * (ranks <= 5).mean(), abs=1e-4)


def test_the_same_models_give_the_same_bytes(world, scored, tmp_path):
    evaluate(world.prepared, world.tasks, tmp_path, world.settings)
    assert hash_folder(tmp_path) == hash_folder(scored)


def test_a_misspelt_headline_metric_is_named(world, tmp_path):
    captioning = dataclasses.replace(world.settings, tasks=["captioning"])
    with pytest.raises(ValueError, match=r"evaluate\.headline names 'captioning\.blue4', .* there are: bleu1"):
        evaluate(world.prepared, world.tasks, tmp_path, with_headline(captioning, "captioning.blue4"))
    with pytest.raises(ValueError, match="names 13 metrics; keep at most 12"):
        evaluate(world.prepared, world.tasks, tmp_path, with_headline(world.settings, *["captioning.bleu4"] * 13))


def test_headline_metrics_of_tasks_that_are_not_run_are_left_out(world, tmp_path):
    settings = dataclasses.replace(world.settings, tasks=["captioning"])
    evaluate(world.prepared, world.tasks, tmp_path, settings)
    assert list(read_json(tmp_path / "scores.json")) == ["captioning.bleu4", "captioning.rougeL"]


def test_a_model_of_other_sizes_is_refused_unless_its_split_can_be_made(world, tmp_path):
    sizes = dataclasses.replace(world.settings.prepare, image_size=24, video_size=24, vocabulary=300)
    settings = dataclasses.replace(world.settings, prepare=sizes)
    (tmp_path / "prepared").mkdir()
    prepare(world.data, world.validated, tmp_path / "prepared", sizes, processes=1)
    world.save_model(tmp_path / "tasks" / "retrieval", tmp_path / "prepared", settings, seed=5)
    refused, champion, own = (tmp_path / name for name in ("refused", "champion", "own"))
    for folder in (refused, champion, own):
        folder.mkdir()
    retrieval = dataclasses.replace(settings, tasks=["retrieval"])
    with pytest.raises(ValueError, match=re.escape("image_size 24") + ".*" + re.escape("image_size 16")):
        evaluate(world.prepared, tmp_path / "tasks", refused, retrieval)

    evaluate(world.prepared, tmp_path / "tasks", champion, world.settings, data=world.data, validated=world.validated)
    evaluate(tmp_path / "prepared", tmp_path / "tasks", own, retrieval)
    expected, found = (
        {name: score["value"] for name, score in read_json(folder / "metrics.json")["retrieval"].items()}
        for folder in (own, champion)
    )
    assert found == expected
    assert sorted(path.name for path in champion.iterdir()) == [
        "embeddings", "metrics.json", "predictions", "scores.json"
    ]  # fmt: skip


def test_a_champion_of_the_same_sizes_is_scored_on_what_is_prepared(world, scored, tmp_path):
    evaluate(world.prepared, world.tasks, tmp_path, world.settings, data=world.data, validated=world.validated)
    own, champion = (read_json(folder / "metrics.json") for folder in (scored, tmp_path))
    for task, scores in own.items():
        assert {name: s["value"] for name, s in scores.items()} == {n: s["value"] for n, s in champion[task].items()}
