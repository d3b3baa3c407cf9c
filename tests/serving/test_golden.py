"""Golden requests from predictions that are written down here, so that every expected number is in sight."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcore import params
from mmcore.data import store
from mmcore.data.store import read_table
from mmcore.serving.golden import write_golden
from mmcore.settings import Settings
from mmcore.tasks import table
from mmcore.workspace import hash_folder, read_json, write_json
from tests.conftest import ROOT

MEDIA = {"a": b"picture-1", "b": b"picture-2", "c": b"picture-3", "d": b"picture-1"}


@pytest.fixture
def settings() -> Settings:
    loaded = params.load(ROOT / "params.yaml")
    tasks = ["retrieval", "captioning", "summarisation"]
    return dataclasses.replace(loaded, tasks=tasks, release=dataclasses.replace(loaded.release, golden=2))


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """A store with four pictures (the first and the last are equal) and a clip, and what evaluation says of them."""
    said = {name: [{"text": f"{word} {name}", "lang": "en"} for word in ("find", "see")] for name in MEDIA}
    rows = [store.row(id=name, image=content, captions=said[name]) for name, content in MEDIA.items()]
    rows.append(store.row(id="clip", video=b"moving", transcript="so it moves"))
    store.write_shards(tmp_path / "data", "test", rows)
    (tmp_path / "validated").mkdir()
    accepted = [
        {"id": row["id"], "split": "test", "shard": "test/part-00000.parquet", "row": number, "verdict": "ok"}
        for number, row in enumerate(rows)
    ]
    pq.write_table(pa.Table.from_pylist(accepted), tmp_path / "validated" / "accepted.parquet")
    evaluation = tmp_path / "evaluation"
    (evaluation / "predictions").mkdir(parents=True)
    (evaluation / "embeddings").mkdir()
    write(evaluation, "retrieval", [ranked("a", ["c", "b", "a", "d"], [0.9, 0.5, 0.2, 0.1])])
    write(evaluation, "captioning", [{"id": name, "input_id": name, "prediction": f"it is {name}"} for name in "abc"])
    write(evaluation, "summarisation", [{"id": "clip", "input_id": "clip", "prediction": "it moved"}])
    for name, ids in (("text", ["a#0", "a#1"]), ("image", list("abcd"))):
        np.save(evaluation / "embeddings" / f"retrieval.{name}.npy", np.eye(4, dtype=np.float32)[: len(ids)])
        pq.write_table(pa.table({"id": ids}), evaluation / "embeddings" / f"retrieval.{name}.parquet")
    for task in ("retrieval", "captioning", "summarisation"):
        write_json(tmp_path / "tasks" / task / "config.json", {"heads": {}, "answers_by": None})
    folders = {name: tmp_path / name for name in ("data", "validated", "tasks")}
    return {**folders, "evaluation": evaluation}


def ranked(identity: str, top: list[str], scores: list[float]) -> dict[str, Any]:
    return {
        "id": f"text_to_image/{identity}",
        "input_id": identity,
        "query_id": f"{identity}#0",
        "direction": "text_to_image",
        "query": f"find {identity}",
        "top": top,
        "top_scores": scores,
    }


def write(evaluation: Path, task: str, rows: list[dict[str, Any]]) -> None:
    pq.write_table(table(rows), evaluation / "predictions" / f"{task}.parquet")


def golden(places: dict[str, Path], settings: Settings, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    write_golden(folder, **places, settings=settings)
    requests: dict[str, Any] = read_json(folder / "requests.json")["tasks"]
    return requests


def test_ranked_media_are_sent_in_the_order_of_their_hashes(
    places: dict[str, Path], settings: Settings, tmp_path: Path
) -> None:
    (request,) = golden(places, settings, tmp_path / "golden")["retrieval"]
    candidates = request["candidates"]
    assert candidates["keys"] == sorted(candidates["keys"])
    # Best first: c, b, a. The equal picture d is sent only once.
    assert [request["candidates"]["ids"][place] for place in request["order"]] == ["c", "b", "a"]
    assert [request["scores"][place] for place in request["order"]] == pytest.approx([0.9, 0.5, 0.2])
    assert request["query"] == {"modality": "text", "key": "find a", "id": "a#0"}


def test_media_are_the_bytes_of_the_store_each_once(
    places: dict[str, Path], settings: Settings, tmp_path: Path
) -> None:
    golden(places, settings, tmp_path / "golden")
    media = read_table(tmp_path / "golden" / "media.parquet").to_pylist()
    assert sorted(row["content"] for row in media) == [b"moving", b"picture-1", b"picture-2", b"picture-3"]


def test_expected_vectors_are_those_of_the_evaluation(
    places: dict[str, Path], settings: Settings, tmp_path: Path
) -> None:
    (request,) = golden(places, settings, tmp_path / "golden")["retrieval"]
    rows = read_table(tmp_path / "golden" / "vectors.parquet").to_pylist()
    vectors = {row["key"]: row["vector"] for row in rows}
    assert vectors["find a"] == [1, 0, 0, 0]
    sent = request["candidates"]
    assert [vectors[key].index(1) for key in sent["keys"]] == ["abcd".index(name) for name in sent["ids"]]


def test_of_scores_that_lie_too_close_only_one_is_asked_about(
    places: dict[str, Path], settings: Settings, tmp_path: Path
) -> None:
    write(places["evaluation"], "retrieval", [ranked("a", ["c", "b", "a"], [0.9, 0.899999, 0.2])])
    (request,) = golden(places, settings, tmp_path / "golden")["retrieval"]
    assert [request["candidates"]["ids"][place] for place in request["order"]] == ["c", "a"]


def test_requests_are_spread_over_the_split_and_no_more_than_asked_for(
    places: dict[str, Path], settings: Settings, tmp_path: Path
) -> None:
    requests = golden(places, settings, tmp_path / "golden")["captioning"]
    assert [(request["id"], request["prediction"]) for request in requests] == [("a", "it is a"), ("c", "it is c")]


def test_a_summary_is_asked_for_with_the_transcript(
    places: dict[str, Path], settings: Settings, tmp_path: Path
) -> None:
    (request,) = golden(places, settings, tmp_path / "golden")["summarisation"]
    assert (request["transcript"], request["prediction"], request["kind"]) == ("so it moves", "it moved", "video")


def test_every_direction_between_two_modalities_is_asked_about(
    places: dict[str, Path], settings: Settings, tmp_path: Path
) -> None:
    text = ranked("a", ["c", "b"], [0.9, 0.5])
    image = text | {"direction": "image_to_text", "query_id": "b", "input_id": "b", "query": "b", "top": ["a#1", "a#0"]}
    between = text | {"direction": "en_to_zh", "top": ["a#1", "a#0"]}
    write(places["evaluation"], "retrieval", [text, image, between])
    _, request = golden(places, settings, tmp_path / "golden")["retrieval"]
    assert request["query"]["modality"] == "image"
    assert request["candidates"] == {"modality": "text", "keys": ["find a", "see a"], "ids": ["a#0", "a#1"]}
    assert (request["order"], request["scores"]) == ([1, 0], pytest.approx([0.5, 0.9]))
    rows = read_table(tmp_path / "golden" / "vectors.parquet").to_pylist()
    vectors = {row["key"]: row["vector"] for row in rows}
    assert vectors[request["query"]["key"]] == [0, 1, 0, 0]
    assert [vectors[key] for key in ("find a", "see a")] == [[1, 0, 0, 0], [0, 1, 0, 0]]


def test_a_text_that_the_service_would_not_read_is_no_candidate(
    places: dict[str, Path], settings: Settings, tmp_path: Path
) -> None:
    image = ranked("b", ["a#1", "a#0"], [0.9, 0.5]) | {"direction": "image_to_text", "query_id": "b"}
    write(places["evaluation"], "retrieval", [image])
    short = dataclasses.replace(settings, serve=dataclasses.replace(settings.serve, max_characters=5))
    (request,) = golden(places, short, tmp_path / "golden")["retrieval"]
    assert request["candidates"]["keys"] == ["see a"]


def test_equal_inputs_give_equal_bytes(places: dict[str, Path], settings: Settings, tmp_path: Path) -> None:
    golden(places, settings, tmp_path / "one")
    golden(places, settings, tmp_path / "two")
    assert hash_folder(tmp_path / "one") == hash_folder(tmp_path / "two")


def test_a_task_about_recordings_is_left_out_since_no_endpoint_of_it_takes_them(places, settings, tmp_path):
    task = dict(settings.finetune["captioning"].task, of="audio")
    heard = dataclasses.replace(settings.finetune["captioning"], task=task)
    own = dataclasses.replace(settings, finetune={**settings.finetune, "captioning": heard})
    assert set(golden(places, own, tmp_path / "golden")) == {"retrieval", "summarisation"}
