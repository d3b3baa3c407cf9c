"""mmcore: a model made from settings, an objective, and the one loop of every training."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import reference as work
from mmcore.data.batches import NO_AUGMENTATION, Batch
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives import OBJECTIVES
from mmcore.settings import ModelSettings, OptimSettings, PrepareSettings, TrainSettings
from mmcore.training.device import choose
from mmcore.training.fit import Source, fit

PREPARE = PrepareSettings(
    image_size=work.SIDE, image_resize=None, video_size=work.SIDE, video_frames=1, audio_rate=8000, audio_mels=8,
    audio_seconds=1.0, tokenizer=None, vocabulary=work.VOCABULARY, lowercase=False, context=work.TOKENS,
    transcript_context=work.TOKENS,
)  # fmt: skip
MODEL = ModelSettings(
    width=work.WIDTH, heads=work.HEADS, embed_dim=work.SPACE, dropout=0.0, fusion=None, decoder=None,
    encoders={
        "image": {
            "name": "vit", "patch": work.PATCH, "layers": work.PICTURE_LAYERS, "patch_dropout": 0.0, "pretrained": None,
            "train": "all", "layer_decay": 1.0, "pool": "first",
        },
        "text": {"name": "text_transformer", "layers": work.TEXT_LAYERS, "pool": "first"},
    },
)  # fmt: skip
CONTRAST = {"name": "contrast", "among": ["image", "text"], "formula": "clip", "weight": 1.0, "every": 1,
            "batch_size": None}  # fmt: skip


def model() -> MultimodalModel:
    return MultimodalModel(MODEL, Processor.made_up(PREPARE))


def batch_of(samples: int, start: int = 0) -> Batch:
    """So many rows of the work from `start` on, again from the first where there are no more."""
    rows = torch.arange(start, start + samples) % work.ROWS
    ids, there = work.texts()[rows], torch.ones(samples, dtype=torch.bool)
    inputs = {"image": (work.pictures()[rows], there), "text": (ids, torch.ones_like(ids, dtype=torch.bool))}
    return Batch([str(row) for row in range(samples)], inputs, torch.eye(samples, dtype=torch.bool))


class Ready:
    """Batches that lie ready in memory, as bytes."""

    def __init__(self) -> None:
        self.batches = [batch_of(work.BATCH, start) for start in range(0, work.ROWS, work.BATCH)]

    def at(self, number: int) -> Batch:
        return self.batches[number % len(self.batches)]


class Learner:
    """Contrast on the batches of `source`; tells of every step that has been taken."""

    headline = ("loss", "min")

    def __init__(self, took: Callable[[], None], source: Source) -> None:
        self.objective = OBJECTIVES.build(CONTRAST)
        self.terms = self.objective.terms
        self.took, self.source, self.begun = took, source, False

    def heads(self, corpus: Any) -> Mapping[str, Any]:
        return {}

    def batches(self, corpus: Any, processor: Any, **_: Any) -> "Learner":
        return self

    def at(self, number: int) -> Any:
        return self.source.at(number)

    def loss(self, model: MultimodalModel, batch: Batch) -> dict[str, Tensor]:
        if self.begun:
            self.took()  # the step before
        self.begun = True
        return dict(self.objective.loss(model, batch))

    def validate(self, *_: Any, **__: Any) -> dict[str, float]:
        return {"loss": 0.0}


def train(precision: str, count: int, took: Callable[[], None], source: Source | None = None) -> None:
    """`source`: where the batches come from, null for memory."""
    optim = OptimSettings(
        algorithm="adamw", steps=count + 1, max_seconds=None, batch_size=work.BATCH, lr=work.RATE,
        weight_decay=work.DECAY, warmup_steps=0, clip_norm=1.0, ema=None, start_share=0.0, chunk=None,
        validate_every=count + 1,
    )  # fmt: skip
    settings = TrainSettings(
        device="cpu", devices=1, nodes=1, threads=torch.get_num_threads(), precision=precision, shard=False
    )
    with tempfile.TemporaryDirectory(prefix="mmcore-bench-") as folder:
        fit(
            model(), Learner(took, source or Ready()), None, None, optim=optim, device=choose(settings), seed=0,
            augment=NO_AUGMENTATION, checkpoints=Path(folder) / "checkpoints", logs=Path(folder),
            phase="bench",
        )  # fmt: skip
