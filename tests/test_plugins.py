"""A modality of one's own from files to scores, as a user brings it: a plugin, a folder, the commands."""

import argparse
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from mmcore import params
from mmcore.cli import main
from mmcore.commands import data_requests
from mmcore.data import engine, store
from mmcore.data.corpus import Corpus
from mmcore.data.exporters import export_data
from mmcore.data.importers import IMPORTERS, ImportOptions, content
from mmcore.data.modalities import BUILT_IN, MODALITIES, media
from mmcore.data.schema import schema
from mmcore.models.encoders import ENCODERS
from mmcore.serving import requests
from mmcore.serving.requests import Kept
from mmcore.workspace import Workspace, read_json
from tests.conftest import ROOT

PLUGIN = '''
"""Readings of a sensor: three numbers at each of at most 24 moments, ten a second."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmcore.data.modalities import MODALITIES
from mmcore.data.series import Series
from mmcore.models.encoders import ENCODERS
from mmcore.models.layers import Block, positions


@MODALITIES.add("sensor")
class Sensor(Series):
    channels, moments, rate = 3, 24, 10.0


@ENCODERS.add("sensor")
class Encoder(nn.Module):
    """Readings [B, T, C] and mask [B, T] to tokens [B, T / `stride`, D]."""

    def __init__(self, *, stride: int, layers: int, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.stride = stride
        self.join = nn.Linear(Sensor.channels * stride, width)
        self.place = positions(-(-Sensor.moments // stride), width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        values = F.pad(values * mask[..., None], (0, 0, 0, -values.shape[1] % self.stride))
        spans = values.unflatten(1, (-1, self.stride)).flatten(2)
        mask, tokens = mask[:, :: self.stride], self.join(spans.to(self.place.dtype))
        tokens = tokens + self.place[: tokens.shape[1]]
        for block in self.blocks:
            tokens = block(tokens, mask)
        return self.norm(tokens), mask
'''
EACH = "weight: 1.0, every: 1, batch_size: null"
SETTINGS = f"""
tasks: [retrieval]
plugins: [own_sensor]
train: {{device: cpu, precision: fp32}}
model:
  width: 32
  embed_dim: 32
  encoders:
    text: {{name: text_transformer, layers: 1}}
    sensor: {{name: sensor, stride: 4, layers: 1}}
    image: null
    audio: null
    video: null
  decoder: null
pretrain:
  objectives: [{{name: contrast, among: [sensor, text], formula: clip, {EACH}}}]
  optim: {{steps: 40, batch_size: 16, warmup_steps: 4, validate_every: 20}}
finetune:
  retrieval:
    task: {{contrasts: [{{among: [sensor, text], formula: clip, {EACH}}}], also: [], rerank: null}}
    optim: {{steps: 10, batch_size: 16, warmup_steps: 2, validate_every: 10}}
evaluate: {{headline: [retrieval.text_to_sensor_recall@1]}}
reference: {{rows: 100, splits: 200}}
"""
STAGES = ("code", "validate", "prepare", "pretrain", "finetune@retrieval", "evaluate", "reference")
IMPORT = ["data", "import", "readings", "--format", "table", "--name", "shakes", "--lang", "en", "--replace"]
AXES, SPEEDS = ("left", "up", "front"), {"slowly": 0.3, "quickly": 1.2}


def readings(number: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A wave on one axis, slow or quick, in noise: what the caption says."""
    random = np.random.default_rng(number)
    values = 0.1 * random.standard_normal((int(random.integers(14, 30)), 3))
    values[:, number % 3] += np.sin(list(SPEEDS.values())[number // 3 % 2] * np.arange(len(values)) + random.random())
    return values.astype(np.float32)


def line(number: int) -> dict[str, Any]:
    axis, speed = AXES[number % 3], list(SPEEDS)[number // 3 % 2]
    split = "train" if number < 60 else "validation" if number < 72 else "test"
    return {
        "file_name": f"{number}.npy", "captions": [f"it shakes {speed} to the {axis}"], "split": split,
        "positives": f"{axis} {speed}",
    }  # fmt: skip


@pytest.fixture
def project(toy: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with the plugin, and a folder of readings beside it of which two files are not what they should be."""
    for table in (MODALITIES, ENCODERS):
        monkeypatch.setattr(table, "_members", dict(table._members))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_sensor", raising=False)
    monkeypatch.chdir(toy)
    for name in ("params.yaml", "dvc.yaml", "validation/suite.json"):
        (toy / name).parent.mkdir(exist_ok=True)
        (toy / name).write_bytes((ROOT / name).read_bytes())
    (toy / "own_sensor.py").write_text(PLUGIN)
    (toy / "settings.yaml").write_text(SETTINGS)
    source = toy / "readings"
    source.mkdir()
    for number in range(84):
        np.save(source / f"{number}.npy", readings(number))
    np.save(source / "pickled.npy", np.array([{"a": 1}], object), allow_pickle=True)
    np.save(source / "wide.npy", np.zeros((20, 4), np.float32))
    others = [{**line(0), "file_name": name} for name in ("pickled.npy", "wide.npy", "../elsewhere.npy")]
    lines = [*map(line, range(84)), *others]
    (source / "metadata.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    yield toy
    sys.modules.pop("own_sensor", None)


def test_the_plugin_takes_fewer_than_forty_lines() -> None:
    assert len(PLUGIN.strip().splitlines()) < 40


@pytest.mark.gx
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_readings_are_imported_judged_learned_searched_and_reported(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params.change(project / "params.yaml", presets=[project / "settings.yaml"])
    assert main(IMPORT) == 0
    assert "imported 62 train, 12 validation, 12 test rows; refused 1 unsafe_path" in capsys.readouterr().out
    assert main(["check"]) == 0
    assert "parameters over text, sensor" in capsys.readouterr().out
    for stage in STAGES:
        assert main(["stage", stage]) == 0, (stage, capsys.readouterr().err)
    assert main(["report"]) == 0

    work = Workspace(project)
    quarantine = pq.read_table(work.validated / "quarantine.parquet").to_pylist()
    why = {row["id"]: (row["problems"], row["detail"]) for row in quarantine if row["verdict"] == "reject"}
    assert why["pickled.npy"] == (["undecodable_sensor"], "the file holds object, not numbers of at most 8 bytes")
    assert why["wide.npy"] == (["undecodable_sensor"], "the series has the shape (20, 4), not (moments, 3)")
    assert read_json(work.validated / "summary.json")["modalities"]["sensor"] == {"rows": 86, "accepted": 84}
    test = Corpus(work.prepared, "test")
    for index in range(12):
        assert np.array_equal(test.array("sensor", index), readings(72 + index)[:24])
    scores = read_json(work.evaluation / "metrics.json")["retrieval"]
    for direction in ("text_to_sensor", "sensor_to_text"):
        found = scores[f"{direction}_recall@1"]
        assert found["value"] > found["baseline"] + 40, scores
    assert "sensor_mean" in read_json(work.reference / "calibration.json")["columns"]
    asked = read_json(work.reference / "golden" / "requests.json")["tasks"]["retrieval"]
    assert {(one["query"]["modality"], one["candidates"]["modality"]) for one in asked} == {
        ("text", "sensor"), ("sensor", "text")
    }  # fmt: skip
    assert "sensor" in (work.artifacts / "report" / "index.html").read_text()


def test_a_request_with_a_file_of_it_that_the_service_was_unsure_of_becomes_a_row(project: Path) -> None:
    params.change(project / "params.yaml", presets=[project / "settings.yaml"])
    assert main(IMPORT) == 0
    work, file = Workspace(project), (project / "readings" / "1.npy").read_bytes()
    name = requests.file_name("sensor", file)
    classes = {"fallen": 0.6, "safe": 0.4}
    request = Kept("a", "falls", "falls", "fallen", 0.6, classes, "h", "2030-01-02T03:04:05", {}, {"sensor": name})
    requests.keep(requests.place(work.state), request, {"sensor": file}, most=1, most_bytes=10_000)
    for table in (MODALITIES, ENCODERS):  # as in a process of its own
        del table._members["sensor"]
    del sys.modules["own_sensor"]
    data_requests.run(work, argparse.Namespace(doing="accept", id=["a"], answer="safe", new_class=False))
    rows = [row for shard in store.shards(work.data) for row in store.read_rows(work.data / shard.path)]
    (row,) = (row for row in rows if row["id"] == "request-a")
    assert (name, row["sensor"], dict(row["labels"])) == ("sensor.npy", file, {"falls": "safe"})


def test_a_store_whose_modality_is_not_known_is_refused_by_name(project: Path) -> None:
    sys.path.insert(0, str(project))
    importlib.import_module("own_sensor")
    store.write_shards(project / "own", "train", [store.row(id="a", sensor=b"1")])
    store.write_manifest(project / "own")
    store.verify(project / "own")
    del MODALITIES._members["sensor"]
    assert media() == BUILT_IN
    with pytest.raises(ValueError, match="has a column 'sensor', and no modality is called so; name the module that"):
        store.verify(project / "own")


def test_rows_of_before_the_plugin_keep_their_hash_and_lack_the_modality(project: Path) -> None:
    before = store.row(id="a", image=b"picture")
    store.write_shards(project / "own", "train", [before])
    sys.path.insert(0, str(project))
    importlib.import_module("own_sensor")
    assert schema().names[3:7] == ["image", "audio", "video", "sensor"]
    (read,) = store.read_rows(project / "own" / "train" / "part-00000.parquet")
    assert read["sensor"] is None
    assert store.sample_hash(read) == before["sha256"]
    assert store.row(id="a", image=b"picture", sensor=b"1")["sha256"] != before["sha256"]


@pytest.mark.parametrize("format", ["imagefolder", "webdataset"])
def test_what_is_exported_is_imported_again(project: Path, format: str) -> None:
    sys.path.insert(0, str(project))
    importlib.import_module("own_sensor")
    row = store.row(id="a", sensor=b"1", image=b"\x89PNG", captions=[{"text": "it shakes", "lang": "en"}])
    store.write_shards(project / "own", "test", [row])
    store.write_manifest(project / "own")
    export_data(project / "own", project / "exported", format=format)
    (read,) = IMPORTERS[format]().read(project / "exported", ImportOptions())
    assert (read["id"], content(read["sensor"]), content(read["image"])) == ("a", b"1", b"\x89PNG")
    with pytest.raises(ValueError, match="has a 'sensor', for which Hugging Face has no type; export as imagefolder"):
        export_data(project / "own", project / "huggingface", format="huggingface")


def test_the_machines_of_a_cluster_are_said_not_to_have_the_plugin(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sys.path.insert(0, str(project))
    importlib.import_module("own_sensor")
    monkeypatch.setattr(engine, "find_spec", lambda name: object())
    monkeypatch.setenv("RAY_ADDRESS", "somewhere:1")
    with pytest.raises(ValueError, match="whose machines do not have the plugin that reads sensor; choose local"):
        engine.check_engine("ray")


@pytest.mark.parametrize("name", ["text", "image", "captions", "Radar", "in_front", "clip", "images", "clips"])
def test_a_name_that_is_taken_or_no_column_is_refused(project: Path, name: str) -> None:
    def add() -> None:
        MODALITIES.add(name)(object)
        media()

    with pytest.raises(
        ValueError, match=f"there are two modalitys named '{name}'|a modality cannot be called '{name}'"
    ):
        add()
