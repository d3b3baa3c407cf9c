"""The expensive imports, each made once, and a small chain up to the drift reference."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mmcore import params
from mmcore.data import store
from mmcore.data.corpus import Corpus
from mmcore.data.prepare import prepare
from mmcore.quality import probe
from mmcore.quality.reference import reference
from mmcore.settings import MonitorSettings, ReferenceSettings, Settings
from tests import tiny
from tests.conftest import ROOT
from tests.quality.samples import LIMITS, captions, clip, image, sound


@pytest.fixture(scope="session")
def expectations() -> ModuleType:
    """mmcore.quality.expectations: Great Expectations takes 6 s and uses deprecated modules."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mmcore.quality import expectations
    return expectations


@pytest.fixture(scope="session")
def gate(expectations: ModuleType) -> ModuleType:
    from mmcore.quality import validate

    return validate


@pytest.fixture(scope="session")
def drift() -> ModuleType:
    """mmcore.quality.drift: Evidently takes 7 s and uses deprecated modules."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mmcore.quality import drift
    return drift


@dataclass(frozen=True)
class Chain:
    """A finished chain: `data`, `validated`, `prepared`, `tasks`, `evaluation`, `reference` below `root`."""

    root: Path
    settings: Settings

    def make_reference(self, output: Path) -> Path:
        output.mkdir()
        folders = (self.root / name for name in ("prepared", "validated", "tasks", "evaluation"))
        reference(*folders, output, self.settings)
        return output


def world(split: str, num_rows: int, *, seed: int, brighter: int = 0, slower: float = 1.0, thing: str = "ball"):
    """Rows with a grey picture, its caption and, every second one, a sound; every fourth has a clip instead."""
    rng = np.random.default_rng(seed)
    for number in range(num_rows):
        name = f"{split}-{seed}-{number}"
        value = int(rng.integers(60, 140)) + brighter
        width, seconds = int(rng.integers(18, 30)), float(rng.uniform(0.2, 0.6)) * slower
        text = " ".join(["a", *("big" for _ in range(rng.integers(3))), ("dark", "pale")[value > 100], thing])
        if number % 4 == 3:
            media = {"video": clip(value, value + int(rng.integers(1, 9))), "summary": f"{text} fades"}
        else:
            media = {"image": image(value, width=width), "audio": sound(seconds) if number % 2 else None}
        yield store.row(id=name, captions=captions(text, f"{text} again"), **media)


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    root = tmp_path_factory.mktemp("chain")
    for place, (split, num_rows) in enumerate({"train": 24, "validation": 4, "test": 120}.items()):
        store.write_shards(root / "data", split, world(split, num_rows, seed=place))
    store.write_manifest(root / "data")
    shards = store.shards(root / "data")
    rows = [
        {"split": shard.split, "shard": shard.path, "row": number} | probe.probe_row(row, LIMITS)
        for shard in shards
        for number, row in enumerate(store.read_rows(root / "data" / shard.path))
    ]
    for folder in ("validated", "prepared"):
        (root / folder).mkdir()
    pq.write_table(probe.profile_table(rows), root / "validated" / "profile.parquet")
    accepted = [{name: row[name] for name in ("id", "split", "shard", "row")} | {"verdict": "ok"} for row in rows]
    pq.write_table(pa.Table.from_pylist(accepted), root / "validated" / "accepted.parquet")
    prepare(root / "data", root / "validated", root / "prepared", tiny.PREPARE, processes=1)
    _evaluate(root)
    settings = replace(
        params.load(ROOT / "params.yaml"),
        reference=ReferenceSettings(rows=100, components=2, splits=500),
        monitor=MonitorSettings(false_alarm_rate=0.01, min_rows=20),
        validate=LIMITS,
    )
    made = Chain(root, settings)
    made.make_reference(root / "reference")
    return made


def _evaluate(root: Path) -> None:
    """A model that has learned nothing, and its embeddings of the test pictures and their captions."""
    model = tiny.model()
    (root / "tasks" / "retrieval").mkdir(parents=True)
    model.save(root / "tasks" / "retrieval")
    corpus = Corpus(root / "prepared", "test")
    places = corpus.with_("image", "captions")
    images = torch.from_numpy(np.stack([corpus.array("image", place) for place in places]))
    texts = [
        (f"{corpus.ids[place]}#{k}", corpus.rows[place]["captions"][k]["text"]) for place in places for k in (0, 1)
    ]
    folder = root / "evaluation" / "embeddings"
    folder.mkdir(parents=True)
    with torch.inference_mode():
        vectors = {
            "image": model.embed("image", images, torch.ones(len(places), dtype=torch.bool)),
            "text": model.embed("text", *model.processor.texts([text for _, text in texts])),
        }
    ids = {"image": [corpus.ids[place] for place in places], "text": [name for name, _ in texts]}
    for name, found in vectors.items():
        np.save(folder / f"retrieval.{name}.npy", found.numpy())
        pq.write_table(pa.table({"id": ids[name]}), folder / f"retrieval.{name}.parquet")
