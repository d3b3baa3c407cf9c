"""A modality of one's own, as a user adds it: a file with an encoder, named under `plugins` and in `model.encoders`."""

import dataclasses
import importlib
import sys

import pytest
import torch

from mmcore.data.batches import Batch
from mmcore.models.encoders import ENCODERS
from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives import OBJECTIVES
from mmcore.training.optim import Optimiser, Weights
from tests.tiny import COLOURS, MODEL, model, optim, processor

PLUGIN = '''
"""Readings of a sensor, `channels` numbers at each moment."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmcore.models.encoders import ENCODERS
from mmcore.models.layers import Block, positions


@ENCODERS.add("sensor")
class Encoder(nn.Module):
    """Readings [B, T, C] of at most `moments` and mask [B, T] to tokens [B, T / `stride`, D]."""

    def __init__(
        self, *, channels: int, moments: int, stride: int, layers: int, width: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.stride = stride
        self.join = nn.Linear(channels * stride, width)
        self.place = positions(-(-moments // stride), width)
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
SENSOR = {"name": "sensor", "channels": 3, "moments": 12, "stride": 4, "layers": 1}
SETTINGS = dataclasses.replace(MODEL, encoders={"text": MODEL.encoders["text"], "sensor": SENSOR})
EACH = {"weight": 1.0, "every": 1, "batch_size": None}
OBJECTIVES_OF_IT = [
    {"name": "contrast", "among": ["sensor", "text"], "formula": "clip", **EACH},
    {"name": "caption", "of": "sensor", "smoothing": 0.0, **EACH},
]


@pytest.fixture(autouse=True)
def plugin(tmp_path, monkeypatch):
    monkeypatch.setattr(ENCODERS, "_members", dict(ENCODERS._members))
    (tmp_path / "my_sensor.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_sensor", raising=False)
    importlib.import_module("my_sensor")
    yield
    sys.modules.pop("my_sensor")


def batch(*, without=()):
    """Each colour is a wave in a channel of its own, of a length of its own, and named in the text."""
    values, lengths = 0.1 * torch.randn(3, 11, 3, generator=torch.Generator().manual_seed(2)), torch.tensor([11, 6, 9])
    for number in range(3):
        values[number, :, number] += torch.arange(11).sin()
    mask = torch.arange(11) < lengths[:, None]
    for row in without:
        mask[row] = False
    texts = processor().texts([f"a {colour} square" for colour in COLOURS])
    return Batch(list(COLOURS), {"sensor": (values, mask), "text": texts}, torch.eye(3, dtype=torch.bool))


def test_it_takes_fewer_than_forty_lines():
    assert len(PLUGIN.strip().splitlines()) < 40


def test_it_is_learned_by_the_objectives_that_there_are():
    made, part = model(settings=SETTINGS), batch()
    objectives = [OBJECTIVES.build(spec) for spec in OBJECTIVES_OF_IT]
    weights = Weights(made, "fp32")
    optimiser, losses = Optimiser(weights, optim(), made.rates), []
    for _ in range(60):
        made.zero_grad()
        total = sum(value for objective in objectives for value in objective.loss(made, part).values())
        total.backward()
        weights.collect()
        optimiser.step(1e-2)
        losses.append(float(total.detach()))
    assert losses[-1] < 0.3 * losses[0]
    similar = made.embed("sensor", *part.inputs["sensor"]) @ made.embed("text", *part.inputs["text"]).T
    assert similar.argmax(1).tolist() == [0, 1, 2]
    assert made.generate({"sensor": part.inputs["sensor"]}) == [f"a {colour} square" for colour in COLOURS]


def test_a_row_without_it_changes_no_other_and_has_no_tokens():
    made = model(settings=SETTINGS)
    whole, holed = (made.embed("sensor", *batch(without=rows).inputs["sensor"]) for rows in ((), (1,)))
    torch.testing.assert_close(whole[[0, 2]], holed[[0, 2]])
    assert not holed[1].any()


def test_a_model_with_it_is_saved_and_loaded(tmp_path):
    made = model(settings=SETTINGS)
    (tmp_path / "model").mkdir()
    made.save(tmp_path / "model")
    loaded = MultimodalModel.load(tmp_path / "model")
    pair = batch().inputs["sensor"]
    assert torch.equal(made.embed("sensor", *pair), loaded.embed("sensor", *pair))
