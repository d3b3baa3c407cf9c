"""The real server in a real empty place: one Bento as it should be, and ones that are not."""

import json
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import psutil
import pytest

from mmcore.serving.package import bento_path, code_hash
from mmcore.serving.smoke_test import SmokeResult, ask, check_identity, served, smoke_test
from mmcore.workspace import read_json, write_json
from tests.serving.conftest import World

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
    assert result.counts == {"retrieval": 20, "captioning": 20, "summarisation": 20}
    assert read_json(tmp_path / "smoke_test.json")["passed"] is True
    assert "Service mmcore initialized" in (tmp_path / "bento.log").read_text()
    assert leftovers() <= before


@pytest.mark.bento
def test_wrong_answers_are_found_and_named(world: World, tmp_path: Path) -> None:
    """One server, asked with golden requests that expect something else."""
    cases = {}
    for name in ("prediction", "order", "vector"):
        shutil.copytree(world.golden, tmp_path / name)
        cases[name] = read_json(tmp_path / name / "requests.json")
    cases["prediction"]["tasks"]["captioning"][3]["prediction"] += "!"
    cases["order"]["tasks"]["retrieval"][0]["order"].reverse()
    cases["vector"]["tolerance"] = -1.0
    for name, requests in cases.items():
        write_json(tmp_path / name / "requests.json", requests)
    with served(world.tag, world.store, tmp_path / "bento.log") as client:
        found = {name: ask(client, tmp_path / name) for name in cases}
        host_gone = (client.host, client.port)
    counts, problem = found["prediction"]
    assert counts["captioning"] == 19
    assert problem.startswith(f"captioning, golden request {cases['prediction']['tasks']['captioning'][3]['id']}: ")
    assert "the order is" in found["order"][1]
    assert "an embedding differs" in found["vector"][1]
    assert host_gone[0] == "127.0.0.1"


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
    import os
    import sys

    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MMCORE_API_KEY")}
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "serve", world.tag, "--host", "0.0.0.0", "--port", "0"], cwd=tmp_path,
        env=environment | {"BENTOML_HOME": str(world.store)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "set the environment variable MMCORE_API_KEY" in done.stderr
