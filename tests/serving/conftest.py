"""One release for all serving tests: a tiny world with a store, models with random weights, their offline predictions,
the golden requests and the Bento."""

import dataclasses
import io
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from mmcore import params
from mmcore.data import store as stores
from mmcore.data.corpus import Corpus
from mmcore.data.prepare import prepare
from mmcore.evaluation.evaluate import evaluate
from mmcore.evaluation.gate import model_hash
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.serving.golden import write_golden
from mmcore.serving.package import bento_path, package
from mmcore.settings import Settings
from mmcore.tasks import TASKS
from tests import tiny
from tests.conftest import ROOT

CHOOSING: dict[str, dict[str, Any]] = {
    "questions": {
        "name": "questions", "of": "image", "most": 4,
        "head": {"name": "classes", "fusion": {"name": "cross_attention", "layers": 1}},
    },
    "where": {
        "name": "classification", "inputs": ["image", "text"], "label": "place",
        "head": {"name": "classes", "fusion": {"name": "gated"}},
    },
    "heard": {
        "name": "classification", "inputs": ["audio"], "label": "place",
        "head": {"name": "classes", "fusion": {"name": "concat"}},
    },
    "anomalies": {"name": "anomalies", "nearest": 3, "most": 8, "false_alarms": 0.25},
    **{
        f"odd_{of}": {"name": "anomalies", "of": of, "nearest": 3, "most": 8, "false_alarms": 0.25}
        for of in ("image", "audio", "text")
    },
}  # fmt: skip


@dataclass(frozen=True)
class World:
    """Everything that a release comes from and is."""

    root: Path
    settings: Settings
    model_hash: str
    tag: str

    @property
    def tasks(self) -> Path:
        return self.root / "tasks"

    @property
    def store(self) -> Path:
        return self.root / "bentos"

    @property
    def golden(self) -> Path:
        return self.root / "golden"

    @property
    def release(self) -> Path:
        return bento_path(self.store, self.tag) / "src" / "release"


def png(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def apng(frames: Any) -> bytes:
    file = io.BytesIO()
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(file, "PNG", save_all=True, append_images=others, duration=100)
    return file.getvalue()


def wav(samples: Any) -> bytes:
    """16 bits, 8 kHz, of samples from -1 to 1."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 8000, len(samples), "NONE", ""))
        sound.writeframes((32767 * samples).astype("<i2").tobytes())
    return file.getvalue()


def fill_store(data: Path, validated: Path, *, scenes: int, clips: int) -> None:
    """The tiny world as a store, all of it accepted."""
    accepted = []
    for split in stores.SPLITS:
        made = tiny.corpus(scenes=scenes, clips=clips)
        rows = []
        for row, media in zip(made.rows, made.media, strict=True):
            row = {**row, "id": f"{split}-{row['id']}"}
            if media["image"] is not None:
                row["image"] = png(media["image"])
            if media["video"] is not None:
                row["video"] = apng(media["video"])
            if media["audio"] is not None:
                pitch = 300 * (1 + media["audio"].mean(0).argmax())
                row["audio"] = wav(0.5 * np.sin(np.arange(800 * len(media["audio"]) // 10) * 2 * np.pi * pitch / 8000))
            rows.append(stores.row(**row))
        stores.write_shards(data, split, rows)
        shard = f"{split}/part-00000.parquet"
        accepted += [
            {"id": row["id"], "split": split, "shard": shard, "row": number, "verdict": "ok"}
            for number, row in enumerate(rows)
        ]
    stores.write_manifest(data)
    validated.mkdir()
    pq.write_table(pa.Table.from_pylist(accepted), validated / "accepted.parquet")


def save_models(prepared: Path, tasks: Path, settings: Settings) -> None:
    """Random models that share their encoders and differ in the rest, as fine-tuned ones may."""
    processor = Processor.load(prepared, tiny.PREPARE)
    for number, name in enumerate(settings.tasks):
        torch.manual_seed(0)
        model = MultimodalModel(tiny.MODEL, processor)
        torch.manual_seed(number + 1)
        assert model.decoder is not None
        with torch.no_grad():
            for weight in [*model.decoder.parameters(), *model.projections.parameters()]:
                weight.add_(0.3 * torch.randn_like(weight))
        learner = TASKS.build(settings.finetune[name].task)
        model.add_heads(learner.heads(Corpus(prepared, "train")))
        learner.configure(model)
        learner.conclude(model, Corpus(prepared, "train"), Corpus(prepared, "validation"), batch_size=8)
        (tasks / name).mkdir(parents=True)
        model.save(tasks / name)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A packaged release."""
    root = tmp_path_factory.mktemp("serving")
    loaded = params.load(ROOT / "params.yaml")
    settings = dataclasses.replace(
        loaded,
        name="tiny",
        tasks=["retrieval", "captioning", "summarisation", *CHOOSING],
        finetune=loaded.finetune
        | {name: dataclasses.replace(loaded.finetune["captioning"], task=spec) for name, spec in CHOOSING.items()},
        prepare=tiny.PREPARE,
        model=tiny.MODEL,
        train=dataclasses.replace(loaded.train, device="cpu", threads=2),
        evaluate=dataclasses.replace(loaded.evaluate, headline=[]),
        release=dataclasses.replace(loaded.release, golden=20),
        serve=dataclasses.replace(loaded.serve, max_body_bytes=2_000_000, max_items=16, max_pixels=1_000_000),
    )
    fill_store(root / "data", root / "validated", scenes=30, clips=24)
    for name in ("prepared", "evaluation", "golden"):
        (root / name).mkdir()
    prepare_without_profile(root)
    save_models(root / "prepared", root / "tasks", settings)
    evaluate(root / "prepared", root / "tasks", root / "evaluation", settings)
    write_golden(
        root / "golden", data=root / "data", validated=root / "validated", tasks=root / "tasks",
        evaluation=root / "evaluation", settings=settings,
    )  # fmt: skip
    known_as = model_hash(root / "tasks", settings.tasks)
    tag = pack(root, root / "tasks", settings, known_as)
    return World(root, settings, known_as, tag)


def prepare_without_profile(root: Path) -> None:
    pq.write_table(pq.read_table(root / "validated" / "accepted.parquet"), root / "validated" / "profile.parquet")
    prepare(root / "data", root / "validated", root / "prepared", tiny.PREPARE, processes=1)


def pack(root: Path, tasks: Path, settings: Settings, known_as: str) -> str:
    return package(
        tasks,
        settings.tasks,
        name=settings.name,
        version=known_as[:12],
        model_hash=known_as,
        bentofile=ROOT / "bentofile.yaml",
        requirements=ROOT / "requirements",
        store=root / "bentos",
        serve=settings.serve,
    )


def noise(side: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 255, (side, side, 3)).astype(np.uint8)
