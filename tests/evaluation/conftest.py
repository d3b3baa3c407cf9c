"""A small prepared corpus and one untrained model for each task, made once."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mmcore import params
from mmcore.data import digitworld
from mmcore.data.prepare import prepare
from mmcore.data.store import shards
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.settings import Settings

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class World:
    """Where things lie; tests only read it."""

    data: Path
    validated: Path
    prepared: Path
    tasks: Path
    settings: Settings

    @staticmethod
    def save_model(folder: Path, prepared: Path, settings: Settings, seed: int) -> None:
        """An untrained model: what it says is arbitrary, but always the same."""
        folder.mkdir(parents=True)
        torch.manual_seed(seed)
        MultimodalModel(settings.model, Processor.load(prepared, settings.prepare)).eval().save(folder)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("world")
    settings = params.load(ROOT / "params.yaml")
    settings = dataclasses.replace(
        settings,
        tasks=["retrieval", "captioning", "summarisation"],
        model=dataclasses.replace(settings.model, width=16, heads=2, embed_dim=8),
        prepare=dataclasses.replace(settings.prepare, image_size=16, video_size=16, video_frames=2, context=12),
        train=dataclasses.replace(settings.train, device="cpu"),
        evaluate=dataclasses.replace(settings.evaluate, derangements=2),
    )
    made = World(root / "data", root / "validated", root / "prepared", root / "tasks", settings)
    digitworld.generate(
        made.data, scenes=(30, 2, 12), clips=(6, 2, 5), sentiments=(0, 0, 0), faults=(0, 0, 0), processes=1
    )
    accept_all(made.data, made.validated)
    made.prepared.mkdir()
    prepare(made.data, made.validated, made.prepared, settings.prepare, processes=1)
    for number, task in enumerate(settings.tasks):
        made.save_model(made.tasks / task, made.prepared, settings, seed=number)
    return made


def accept_all(data: Path, validated: Path) -> None:
    """What `validate` leaves where nothing is wrong."""
    rows = [
        {"id": name, "split": Path(shard.path).parent.name, "shard": shard.path, "row": place, "verdict": "ok"}
        for shard in shards(data)
        for place, name in enumerate(pq.read_table(data / shard.path, columns=["id"])["id"].to_pylist())
    ]
    validated.mkdir()
    for name in ("accepted", "profile"):
        pq.write_table(pa.Table.from_pylist(rows), validated / f"{name}.parquet")
