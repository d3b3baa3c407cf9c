"""The real server in a real empty place: one Bento as it should be, and ones that are not."""

import dataclasses
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcore.data.store import read_table
from mmcore.evaluation.evaluate import evaluate
from mmcore.evaluation.gate import model_hash
from mmcore.models.compression import to_int8
from mmcore.models.multimodal import MultimodalModel
from mmcore.serving.client import Client
from mmcore.serving.golden import write_golden
from mmcore.serving.package import bento_path, code_hash
from mmcore.serving.smoke_test import SmokeResult, ask, check_identity, served, smoke_test
from mmcore.serving.smoke_test import _choosing as choosing_check
from mmcore.serving.smoke_test import _Golden as Golden
from mmcore.settings import ReleaseSettings
from mmcore.workspace import read_json, write_json
from tests.serving.conftest import World, pack

IDENTITY = {
    "mmcore": "mmcore", "strays": [], "model_hash": "m", "code_hash": "c", "weights_hash": "w",
    "released": {"weights_hash": "w"},
}  # fmt: skip


def test_an_identity_as_released_has_no_problem() -> None:
    assert check_identity(IDENTITY, "m", "c") == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mmcore": "/somewhere/mmcore"}, "mmcore runs from /somewhere/mmcore"),
        ({"strays": ["mmcore.models"]}, "not from the Bento"),
        ({"model_hash": "x"}, "holds the model x, not m"),
        ({"weights_hash": "x"}, "loaded weights are not the packaged ones"),
        ({"code_hash": "x"}, "runs the code x, not c"),
    ],
)
def test_any_other_identity_has_one(change: dict[str, object], words: str) -> None:
    assert words in check_identity({**IDENTITY, **change}, "m", "c")


def try_bento(world: World, store: Path, logs: Path, golden: Path | None = None) -> SmokeResult:
    return smoke_test(
        world.tag,
        store=store,
        golden=golden or world.golden,
        expected_model_hash=world.model_hash,
        expected_code_hash=code_hash(),
        logs=logs,
    )


def leftovers() -> set[str]:
    """Servers and folders of smoke tests that are there now."""
    folders = {str(path) for path in Path(tempfile.gettempdir()).glob("mmcore-smoke-*")}
    servers = {
        str(process.pid) for process in psutil.process_iter(["cmdline"])
        if any("mmcore-smoke-" in word for word in process.info["cmdline"] or [])
    }  # fmt: skip
    return folders | servers


@pytest.mark.bento
def test_the_bento_answers_as_the_offline_predictions_do(world: World, tmp_path: Path) -> None:
    before = leftovers()
    result = try_bento(world, world.store, tmp_path)
    assert result.passed, result.problem
    assert result.counts == dict.fromkeys(world.settings.tasks, 20)
    assert read_json(tmp_path / "smoke_test.json")["passed"] is True
    assert "Service mmcore initialized" in (tmp_path / "bento.log").read_text()
    assert leftovers() <= before


@pytest.mark.bento
def test_a_bento_of_int8_models_answers_as_their_offline_predictions_do(world: World, tmp_path: Path) -> None:
    tasks = ["retrieval", "captioning", "questions"]
    settings = dataclasses.replace(world.settings, tasks=tasks, release=ReleaseSettings(golden=5))
    for task in tasks:
        model = MultimodalModel.load(world.tasks / task)
        to_int8(model)
        model.compression = {"prune": 0.0, "drop_layers": {}, "int8": True}
        (tmp_path / "tasks" / task).mkdir(parents=True)
        model.save(tmp_path / "tasks" / task)
    for name in ("evaluation", "golden", "logs"):
        (tmp_path / name).mkdir()
    evaluate(world.root / "prepared", tmp_path / "tasks", tmp_path / "evaluation", settings)
    write_golden(
        tmp_path / "golden", data=world.root / "data", validated=world.root / "validated", tasks=tmp_path / "tasks",
        evaluation=tmp_path / "evaluation", settings=settings,
    )  # fmt: skip
    known_as = model_hash(tmp_path / "tasks", tasks)
    packed = World(tmp_path, settings, known_as, pack(tmp_path, tmp_path / "tasks", settings, known_as))
    result = try_bento(packed, packed.store, tmp_path / "logs")
    assert result.passed, result.problem
    assert result.counts == dict.fromkeys(tasks, 5)


@pytest.fixture(scope="module")
def client(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with served(world.tag, world.store, tmp_path_factory.mktemp("logs") / "bento.log") as client:
        yield client


def other_text(query: dict[str, str]) -> dict[str, str]:
    assert query["modality"] == "text"
    return query | {"key": query["key"] + " one"}


@pytest.mark.bento
def test_a_recording_that_is_heard_otherwise_than_offline_is_found_and_named(
    world: World, client: Client, tmp_path: Path
) -> None:
    """In place of a recording that golden requests send as query or candidate, another one is sent."""
    shutil.copytree(world.golden, tmp_path / "golden")
    asked = [
        request for request in read_json(tmp_path / "golden" / "requests.json")["tasks"]["retrieval"]
        if request["query"]["modality"] == "audio"
    ]  # fmt: skip
    assert {request["candidates"]["modality"] for request in asked} == {"text", "image"}
    key = asked[0]["query"]["key"]
    media = pq.read_table(tmp_path / "golden" / "media.parquet")
    rows = media.to_pylist()
    other = next(row["content"] for row in rows if row["kind"] == "audio" and row["key"] != key)
    changed = [row | {"content": other} if row["key"] == key else row for row in rows]
    pq.write_table(pa.Table.from_pylist(changed, media.schema), tmp_path / "golden" / "media.parquet")
    counts, problem = ask(client, tmp_path / "golden")
    assert counts["retrieval"] < 20
    assert "an embedding differs by" in problem


@pytest.mark.bento
@pytest.mark.parametrize(
    ("task", "change", "words"),
    [
        ("captioning", lambda request: {"prediction": request["prediction"] + "!"}, "the answer is"),
        ("summarisation", lambda request: {"prediction": "nothing happens"}, "offline 'nothing happens'"),
        ("questions", lambda request: {"prediction": "perhaps"}, "offline 'perhaps'"),
        ("where", lambda request: {"score": request["score"] / 2}, "a probability differs by"),
        ("retrieval", lambda request: {"order": request["order"][::-1]}, "the order is"),
        ("retrieval", lambda request: {"scores": [1.01] * len(request["scores"])}, "a score differs by"),
        ("retrieval", lambda request: {"query": other_text(request["query"])}, "an embedding differs by"),
    ],
)
def test_a_wrong_answer_is_found_and_named(
    world: World, client: Client, tmp_path: Path, task: str, change: Callable[[Any], Any], words: str
) -> None:
    """The server is right: it is the golden request that expects something else."""
    shutil.copytree(world.golden, tmp_path / "golden")
    content = read_json(tmp_path / "golden" / "requests.json")
    request = content["tasks"][task][0]
    if task == "retrieval":
        vectors = read_table(tmp_path / "golden" / "vectors.parquet").to_pylist()
        (own,) = [row for row in vectors if row["key"] == request["query"]["key"]]
        vectors.append({"key": other_text(request["query"])["key"], "vector": own["vector"]})
        pq.write_table(pa.Table.from_pylist(vectors), tmp_path / "golden" / "vectors.parquet")
    request |= change(request)
    write_json(tmp_path / "golden" / "requests.json", content)
    counts, problem = ask(client, tmp_path / "golden")
    assert counts[task] == 19
    assert problem.startswith(f"{task}, golden request {request['id']}: ")
    assert words in problem


@pytest.mark.bento
def test_metrics_count_what_was_asked(client: Client) -> None:
    status, body = client.request("GET", "/metrics")
    assert status == 200
    assert b'bentoml_service_request_total{endpoint="/readyz"' in body


@pytest.mark.bento
def test_the_server_listens_on_loopback_only(client: Client) -> None:
    addresses = {
        connection.laddr.ip for connection in psutil.net_connections("tcp") if connection.laddr.port == client.port
    }
    assert addresses == {"127.0.0.1"}


@pytest.mark.bento
def test_a_bento_with_one_changed_weight_fails(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.store, tmp_path / "store")
    tensors = bento_path(tmp_path / "store", world.tag) / "src" / "release" / "tensors.safetensors"
    content = bytearray(tensors.read_bytes())
    length = int.from_bytes(content[:8], "little")
    index = read_json(tensors.parent / "models" / "captioning" / "index.json")
    begin = 8 + length + json.loads(content[8 : 8 + length])[index["decoder.bias"]]["data_offsets"][0]
    (before,) = struct.unpack("<f", content[begin : begin + 4])
    content[begin : begin + 4] = struct.pack("<f", before + 0.001)
    tensors.write_bytes(content)
    result = try_bento(world, tmp_path / "store", tmp_path / "logs")
    assert not result.passed
    assert result.problem == "the loaded weights are not the packaged ones: their hashes differ"


@pytest.mark.bento
def test_a_bento_that_cannot_start_fails_with_its_last_words(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.store, tmp_path / "store")
    before = leftovers()
    (bento_path(tmp_path / "store", world.tag) / "src" / "release" / "tensors.safetensors").unlink()
    result = try_bento(world, tmp_path / "store", tmp_path / "logs")
    assert not result.passed
    assert result.problem.startswith("the Bento did not become ready:")
    assert "tensors.safetensors" in result.problem
    assert leftovers() <= before


@pytest.mark.bento
def test_a_bento_that_is_open_to_others_without_a_key_refuses_to_start(world: World, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MMCORE_API_KEY")}
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "serve", world.tag, "--host", "0.0.0.0", "--port", "0"], cwd=tmp_path,
        env=environment | {"BENTOML_HOME": str(world.store)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "set the environment variable MMCORE_API_KEY" in done.stderr


class Says:
    """A service that chooses `usual` with this probability."""

    def __init__(self, probability: float) -> None:
        classes = {"usual": probability, "unusual": 1 - probability}
        best = max(classes, key=classes.__getitem__)
        self.answer = {"answer": best, "probability": classes[best], "classes": classes}

    def post(self, path: str, fields: object) -> object:
        return [self.answer]


@pytest.mark.parametrize(("probability", "problem"), [(0.50001, ""), (0.5002, "the answer is 'usual', offline")])
def test_of_two_classes_that_are_as_probable_either_may_be_the_answer(
    world: World, probability: float, problem: str
) -> None:
    request = {"task": "odd", "texts": {}, "media": {}, "prediction": "unusual", "score": 0.5}
    said = choosing_check(cast("Client", Says(probability)), request, Golden(world.golden))
    assert said.startswith(problem)
    assert bool(said) == bool(problem)
