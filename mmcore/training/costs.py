"""What a pretraining takes: parameters, operations, memory and time, told by one step on made-up samples."""

import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmcore.data.batches import Batch
from mmcore.data.modalities import MODALITIES
from mmcore.data.tokenizer import SPECIALS
from mmcore.models.layers import widened
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives._mixture import Mixture, Stream
from mmcore.settings import Settings
from mmcore.training.device import Device, choose
from mmcore.training.operations import Operations
from mmcore.training.optim import Optimiser, Weights

# Samples of a trial; the larger one only where the smaller one took no more than so many seconds.
FEW, MANY, BRIEF = 2, 16, 1.0
# Bytes for each weight that learns: exact, its gradient, two averages of AdamW (Muon has one) and the best so far; in
# bf16 also the rounded one and its gradient.
LEARNING = {"fp32": 20, "bf16": 24}
AVERAGE = 4  # of an average of its own
FROZEN = 8  # of a weight that does not learn: itself and among the best so far


@dataclass(frozen=True)
class Costs:
    """`parameters` by part of the model. Of an average step: `samples`, `operations` (multiplications and additions,
    forwards and backwards, again where `optim.chunk` computes again), and `seconds` if each of the ranks is a `device`
    like this one and exchanges nothing, as in a trial with `tried` samples. In bytes, for each rank: `learning` for
    weights, gradients and optimiser, with `train.shard` its part of them and what is gathered at once; `activations`
    for what a step keeps until it goes backwards."""

    parameters: Mapping[str, int]
    samples: float
    operations: float
    seconds: float
    tried: int
    learning: float
    activations: float
    device: Device
    ranks: int


def costs(settings: Settings) -> Costs:
    """What the pretraining of `settings` takes, if the data have all that its objectives need.

    Nothing is read and nothing written: a step on a few samples is counted and timed, and scaled to the batches of the
    settings. What a device does faster in large batches is not seen. ValueError for what cannot be built.
    """
    device = choose(settings.train)
    torch.manual_seed(settings.seed)
    processor = Processor.made_up(settings.prepare)
    few = Imagined(processor, FEW)
    model = MultimodalModel(settings.model, processor)
    model.add_heads(Mixture(settings.pretrain.objectives, few).heads(few))
    model.to(device.torch).train()
    parameters: Counter[str] = Counter()
    for name, one in model.named_parameters():
        parameters[".".join(name.split(".")[: 2 if name.startswith("encoders.") else 1])] += one.numel()
    optim, weights = settings.pretrain.optim, Weights(model, device.precision)
    turning = Optimiser(weights, optim, model.rates).turning
    each = LEARNING[device.precision] + (0 if optim.ema is None else AVERAGE)
    learning = 1.0 * sum(
        one.numel() * (each - AVERAGE * (name in turning) if one.requires_grad else FROZEN)
        for name, one in weights.own.items()
    )
    ranks = settings.train.devices * settings.train.nodes
    if settings.train.shard:
        learning = learning / ranks + _gathered(model, device)
    trial, tried = _trial(settings, model, few, device), FEW
    if trial.took < BRIEF:
        trial, tried = _trial(settings, model, Imagined(processor, MANY), device), MANY
    return Costs(
        parameters, trial.samples, trial.operations, trial.seconds, tried, learning, trial.activations, device, ranks
    )


def _gathered(model: MultimodalModel, device: Device) -> int:
    """The bytes of weights, and their gradients, that a step gathers at once: all outside of layers, and a layer."""
    from mmcore.training.sharding import layers_of  # noqa: PLC0415 (it imports torch's compiler: seconds)

    layers = [sum(one.numel() for one in layer.parameters()) for layer in layers_of(model)]
    whole = sum(one.numel() for one in model.parameters())
    return (whole - sum(layers) + max(layers, default=0)) * (4 if device.precision == "bf16" else 8)


@dataclass
class _Trial:
    """Sums over the streams of an average step; `took`: the seconds of the trial itself."""

    samples: float = 0.0
    operations: float = 0.0
    seconds: float = 0.0
    activations: float = 0.0
    took: float = 0.0


def _trial(settings: Settings, model: MultimodalModel, rows: "Imagined", device: Device) -> _Trial:
    found, optim = _Trial(), settings.pretrain.optim
    ranks = settings.train.devices * settings.train.nodes
    for stream in Mixture(settings.pretrain.objectives, rows).streams:
        most = 0.0
        for part, often in stream.turns():
            whole = (part.objectives[0].batch_size or optim.batch_size) / ranks
            batches = part.batches(rows, model.processor, model.head_specs, batch_size=len(rows), seed=0)
            batch = batches.at(0, part.inputs).to(device.torch)
            # What is kept for all samples lies outside of the encoders; what is inside, for a chunk.
            kept = _step(model, part, batch)
            model.chunk = None if optim.chunk is None else max(1, len(batch) // 2)
            outside = kept if model.chunk is None else _step(model, part, batch)
            with Operations() as counted:
                _step(model, part, batch)
            _wait(device)
            start = time.perf_counter()
            _step(model, part, batch)
            _wait(device)
            took = time.perf_counter() - start
            model.chunk = None
            scale = whole / len(batch)
            found.samples += whole * ranks * often
            found.operations += counted.total * scale * ranks * often
            found.seconds += took * scale * often
            at_once = scale if optim.chunk is None else min(scale, optim.chunk / len(batch))
            most = max(most, outside * scale + max(kept - outside, 0) * at_once)
            found.took += took
        found.activations += most
    return found


def _wait(device: Device) -> None:
    if device.torch.type == "cuda":
        torch.cuda.synchronize()


def _step(model: MultimodalModel, stream: Stream, batch: Batch) -> int:
    """One step forwards and backwards; returns the bytes that were kept in between."""
    kept: dict[int, int] = {}
    weights = {parameter.data_ptr() for parameter in model.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    model.zero_grad(set_to_none=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses = stream.loss(model, batch)
    torch.stack([widened(value) for value in losses.values()]).sum().backward()  # type: ignore[no-untyped-call]
    return sum(kept.values())


class Imagined:
    """`count` samples that have everything, of the sizes that `processor` leaves at most, and these `labels`."""

    def __init__(self, processor: Processor, count: int, labels: Collection[str] = ("label",)) -> None:
        random = np.random.default_rng(0)
        self.prepare = prepare = processor.prepare

        def text(tokens: int) -> str:
            words = random.integers(len(SPECIALS), processor.vocabulary, tokens)
            return str(processor.tokenizer.decode(words.tolist()))

        self.ids = [str(number) for number in range(count)]
        self.rows = [
            {
                "positives": None, "labels": dict.fromkeys(labels, str(number % 2)), "summary": text(prepare.context),
                "captions": [{"text": text(prepare.context), "lang": "en"}], "speech_text": text(prepare.context),
                "transcript": text(prepare.transcript_context),
                "qa": [{"question": text(prepare.context), "answers": [str(number % 2)]}],
            }
            for number in range(count)
        ]  # fmt: skip

    def __len__(self) -> int:
        return len(self.ids)

    def with_(self, *columns: str) -> list[int]:
        return list(range(len(self)))

    def array(self, name: str, index: int) -> Any:
        return np.full_like(MODALITIES[name]().largest(self.prepare), index)
