"""A packaged Bento with a modality of one's own, served where only it is at hand."""

import dataclasses
import importlib
import io
import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from mmcore import params
from mmcore.data.modalities import MODALITIES
from mmcore.models.encoders import ENCODERS
from mmcore.models.multimodal import MultimodalModel
from mmcore.serving.client import Client, Sent, form
from mmcore.serving.package import package
from mmcore.serving.smoke_test import served
from tests import tiny
from tests.conftest import ROOT
from tests.test_plugins import PLUGIN, readings

pytestmark = pytest.mark.bento
HEADS = {
    "falls": {
        "name": "classes", "inputs": ["sensor", "text"], "classes": ["fallen", "safe"], "fusion": {"name": "gated"},
    }
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MultimodalModel]:
    """Hears a sensor of the user's own, and reads texts."""
    place = tmp_path_factory.mktemp("plugin")
    (place / "own_sensor.py").write_text(PLUGIN)
    with pytest.MonkeyPatch.context() as patch:
        for table in (MODALITIES, ENCODERS):
            patch.setattr(table, "_members", dict(table._members))
        patch.syspath_prepend(str(place))
        patch.delitem(sys.modules, "own_sensor", raising=False)
        importlib.import_module("own_sensor")
        encoders = {"text": tiny.MODEL.encoders["text"], "sensor": {"name": "sensor", "stride": 4, "layers": 1}}
        made = tiny.model(settings=dataclasses.replace(tiny.MODEL, encoders=encoders, decoder=None))
        made.add_heads(HEADS)
        yield made
        sys.modules.pop("own_sensor")


@pytest.fixture(scope="module")
def client(model: MultimodalModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    root = tmp_path_factory.mktemp("own")
    for task, answers_by in (("retrieval", None), ("falls", "falls")):
        model.answers_by = answers_by
        (root / "tasks" / task).mkdir(parents=True)
        model.save(root / "tasks" / task)
    tag = package(
        root / "tasks", ["retrieval", "falls"], name="own", version="1", model_hash="h", plugins=["own_sensor"],
        bentofile=ROOT / "bentofile.yaml", requirements=ROOT / "requirements", store=root / "bentos",
        serve=dataclasses.replace(params.load(ROOT / "params.yaml").serve, max_pixels=100, max_seconds=3.0),
    )  # fmt: skip
    with served(tag, root / "bentos", root / "bento.log") as client:
        yield client


def npy(values: Any) -> tuple[str, bytes]:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=True)
    return "a.npy", file.getvalue()


def refused(client: Client, path: str, fields: list[Sent]) -> str:
    content_type, body = form(fields)
    status, answer = client.request("POST", path, body, {"Content-Type": content_type})
    assert status == 400, answer
    return str(json.loads(answer)["error"])


def test_its_files_get_the_vectors_that_the_model_gives_them(client: Client, model: MultimodalModel) -> None:
    sent = [readings(number) for number in range(4)]
    found = client.post("/embed", [("texts", "it shakes"), *(("sensors", npy(one)) for one in sent)])
    with torch.inference_mode():
        for one, vector in zip(sent, found[1:], strict=True):
            values = torch.from_numpy(one[:24])[None]
            own = model.embed("sensor", values, torch.ones(values.shape[:2], dtype=torch.bool))
            assert vector == pytest.approx(own[0].tolist(), abs=1e-5)
    likeness = np.array(found[2:]) @ np.array(found[1])
    ranked = client.post("/rank", [("sensor", npy(sent[0])), *(("sensors", npy(one)) for one in sent[1:])])
    assert ranked["scores"] == pytest.approx(likeness.tolist(), abs=1e-5)
    assert client.get("/identity")["suffixes"] == {"sensor": [".npy"]}


def test_a_task_that_chooses_by_it_is_asked_with_a_file_or_without(client: Client, model: MultimodalModel) -> None:
    assert client.get("/identity")["chooses"] == {"falls": ["sensor", "text"]}
    (both,) = client.post("/choose", [("task", "falls"), ("sensor", npy(readings(1))), ("text", "it shakes")])
    (alone,) = client.post("/choose", [("task", "falls"), ("text", "it shakes")])
    values, there = torch.from_numpy(readings(1)[:24])[None], torch.ones(1, min(24, len(readings(1))), dtype=torch.bool)
    text = model.encode("text", *model.processor.texts(["it shakes"]))
    with torch.inference_mode():
        for answer, mask in ((both, there), (alone, ~there)):
            shares = model.answer("falls", {"sensor": model.encode("sensor", values, mask), "text": text}).softmax(1)
            expected = dict(zip(["fallen", "safe"], shares[0].tolist(), strict=True))
            assert answer["classes"] == pytest.approx(expected, abs=1e-5)
    assert both["classes"] != pytest.approx(alone["classes"], abs=1e-5)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (npy(np.zeros((20, 4), np.float32)), "the series has the shape (20, 4), not (moments, 3)"),
        (npy(np.zeros((31, 3), np.float32)), "the series lasts 3.1 seconds, more than 3"),
        (npy(np.zeros((34, 3), np.float32)), "the file holds 102 numbers, more than 100"),
        (npy(np.array([{}], object)), "the file holds object, not numbers of at most 8 bytes"),
        (("a.npy", npy(np.zeros((9, 3)))[1][:-9]), "the file holds 207 bytes of numbers where its header promises 216"),
        (("a.npy", b""), "the file is empty (0 bytes)"),
    ],
)
def test_what_is_no_file_of_it_is_refused_by_name(client: Client, content: tuple[str, bytes], sentence: str) -> None:
    assert refused(client, "/embed", [("texts", "fine"), ("sensors", content)]) == f"sensors[0]: {sentence}"
    assert refused(client, "/rank", [("sensor", content), ("texts", "fine")]) == f"sensor: {sentence}"


def test_a_modality_that_it_does_not_read_is_refused_with_those_that_it_does(client: Client) -> None:
    said = refused(client, "/embed", [("images", ("a.png", b"1"))])
    assert said == "/embed of this release has no field 'images'; send sensors (files) or texts"
