"""The training loop: the only one, for anything with a `loss`.

It sees a `Learner`: something that makes batches, tells the losses of one, and scores a model on the validation
rows. Pretraining, fine-tuning and whatever is trained later differ in their learner alone.
"""

import csv
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from mmcore.data import ranks
from mmcore.data.batches import Rows
from mmcore.models.layers import widened
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.settings import AugmentSettings, Component, OptimSettings
from mmcore.training import checkpoint as checkpoints_of
from mmcore.training.checkpoint import Checkpoint, Saver
from mmcore.training.device import Device, most_memory, peak
from mmcore.training.operations import Effort
from mmcore.training.optim import Average, Optimiser, Weights, clip, learning_rate
from mmcore.workspace import MEASURED, Progress

LOG_EVERY = 10
MAX_SKIPPED = 3


class Source(Protocol):
    """Batches by number; a batch has `ids`, a length, `to(device)` and a `kind`: the steps on batches of one kind take
    about as many operations."""

    def at(self, number: int) -> Any: ...


class Learner(Protocol):
    """What can be trained. `terms`: the names of its losses; `headline`: the name of the validation number that
    decides which weights are best, and `min` or `max`; `heads`: what it adds to the model, by name."""

    headline: tuple[str, str]

    @property
    def terms(self) -> list[str]: ...

    def heads(self, corpus: Any) -> Mapping[str, Component]: ...

    def batches(
        self, corpus: Any, processor: Processor, *, batch_size: int, seed: int, augment: AugmentSettings
    ) -> Source: ...

    def loss(self, model: MultimodalModel, batch: Any) -> dict[str, Tensor]: ...

    def validate(self, model: MultimodalModel, corpus: Any, *, batch_size: int) -> dict[str, float]: ...


class Interrupted(Exception):
    """Training was asked to stop; its state is saved, and the same call goes on from there."""


@dataclass(frozen=True)
class FitResult:
    """How a training ended: `steps` taken, of which `skipped` for a loss that was no number, and the validation
    numbers at `best_step`, whose weights the model now has."""

    steps: int
    skipped: int
    best_step: int
    validation: dict[str, float]


def fit(
    model: MultimodalModel,
    learner: Learner,
    train: Rows,
    validation: Rows,
    *,
    optim: OptimSettings,
    augment: AugmentSettings,
    device: Device,
    seed: int,
    checkpoints: Path,
    logs: Path,
    phase: str,
) -> FitResult:
    """Train `model` in place and leave it with the weights that were best on `validation`.

    checkpoints: a folder of this very training (the caller keys it by everything that matters); what lies there is
        continued, bit for bit on a CPU. A checkpoint is written at each validation and when the process is told to
        stop (SIGTERM), which raises `Interrupted` after it.
    logs: `curves.csv` is appended there.
    phase: what the progress reports call this training.
    Three losses in a row that are no number raise ValueError with the ids of the samples.
    """
    model.chunk = optim.chunk
    model.add_heads(learner.heads(train))
    source = learner.batches(train, model.processor, batch_size=optim.batch_size, seed=seed, augment=augment)
    state = _State(model, learner, optim, device, seed)
    state.resume(checkpoints)
    saver = Saver(checkpoints, sharded=state.weights.together)
    log = Log(logs / "curves.csv", learner.terms, phase, optim.steps, done=state.step)
    if not optim.steps:
        state.validate(validation)  # what is judged is the model as it came
    with _stop_requests() as stop, _drawn_ahead(source, optim.steps) as drawn:
        while state.step < optim.steps and not state.out_of_time():
            began = time.perf_counter()
            batch = drawn(state.step)
            values = state.take(batch, stop, waited=time.perf_counter() - began)
            log.advance(values)
            last = state.step == optim.steps or state.out_of_time()
            if state.step % LOG_EVERY == 0 or last:
                log.append(state.row())
            if state.step % optim.validate_every == 0 or last:
                log.append({"step": state.step, "validation": state.validate(validation)})
                saver.save(state.checkpoint())
            elif state.stopping:
                saver.save(state.checkpoint())
            if state.stopping and not last:
                saver.wait()
                raise Interrupted(f"{phase} was stopped after step {state.step} of {optim.steps}; it can go on")
    saver.wait()
    return state.finish()


def validated(
    model: MultimodalModel, learner: Learner, corpus: Rows, *, batch_size: int, together: bool = False
) -> dict[str, float]:
    """The numbers of `model`, which is in evaluation mode, on `corpus`; rank 0 finds them for all, or, `together`, each
    rank the same ones."""
    numbers: dict[str, float] = {}
    if together or ranks.rank() == 0:
        with ranks.alone():
            numbers = learner.validate(model, corpus, batch_size=batch_size)
    return ranks.from_first(numbers)


class _State:
    """Everything that changes while training, and how it is saved."""

    def __init__(
        self, model: MultimodalModel, learner: Learner, optim: OptimSettings, device: Device, seed: int
    ) -> None:
        self.learner, self.optim, self.device, self.seed = learner, optim, device, seed
        self.weights = _weights(model.train(), device)
        self.model = cast(MultimodalModel, self.weights.model)
        self.optimiser = Optimiser(self.weights, optim, model.rates)
        self.average = Average(self.weights.state(), optim.ema) if optim.ema is not None else None
        self.effort, self.peak = Effort(), peak(device)
        self.step = self.skipped = self.samples = self.operations = 0
        self.seconds = self._logged_seconds = 0.0
        self.failing: list[str] = []
        self.failures = 0
        self.stopping = False
        self.best: dict[str, Tensor] = {}
        self.best_step, self.best_validation = 0, dict[str, float]()
        self._losses: dict[str, list[float]] = {}
        self._rate = self._norm = self._took = self._waited = 0.0

    def out_of_time(self) -> bool:
        return self.optim.max_seconds is not None and self.seconds >= self.optim.max_seconds

    def take(self, batch: Any, stop: threading.Event, *, waited: float) -> dict[str, float]:
        """One step of the optimiser on a batch that was `waited` for so many seconds; returns the loss to show."""
        began = time.perf_counter()
        self.weights.clear()
        # What a step draws depends on its number alone: a resumed training draws the same, with nothing saved.
        torch.manual_seed(self.seed * 1_000_003 + self.step)
        with self.effort.of(batch.kind):
            losses = self.weights.run(lambda: self.learner.loss(self.model, batch.to(self.device.torch)))
            total = torch.stack([widened(value) for value in losses.values()]).sum()
            total.backward()  # type: ignore[no-untyped-call]
        norm = self.weights.collect()
        own = torch.tensor([float(stop.is_set()), self._took], device=total.device, dtype=total.dtype)
        news = torch.cat([torch.stack([total, *losses.values()]).detach(), own])
        ranks.average([news])
        shown, *values, asked, took = news.tolist()
        # One clock for all ranks: the time decides how large a step is, and when the training ends.
        self.seconds += took
        self.stopping, self._norm = asked > 0, float(norm)
        if math.isfinite(shown) and math.isfinite(self._norm):
            self._rate = learning_rate(self.optim, self.step, self.seconds)
            clip(self.weights.gradients, norm, self.optim.clip_norm)
            self.optimiser.step(self._rate)
            if self.average is not None:
                self.average.update(self.weights.state())
            for name, value in zip(losses, values, strict=True):
                self._losses.setdefault(name, []).append(value)
            self.failing, self.failures = [], 0
        else:
            self._skip(batch.ids)
        self.step += 1
        self.samples += len(batch)
        self.operations += self.effort[batch.kind]
        self._took = time.perf_counter() - began + waited
        self._waited += waited
        return {"loss": shown}

    def _skip(self, ids: Sequence[str]) -> None:
        self.skipped += 1
        self.failures += 1
        self.failing.extend(ids)
        if self.failures == MAX_SKIPPED:
            raise ValueError(
                f"the loss was no number {MAX_SKIPPED} times in a row, up to step {self.step + 1}; the samples were: "
                f"{', '.join(self.failing)}. Look at them, or lower lr"
            )

    def row(self) -> dict[str, Any]:
        """Means since the last row, for the curves."""
        means = {name: sum(values) / len(values) for name, values in self._losses.items()}
        # The last step's time is known to all ranks only after the next one.
        seconds = max(self.seconds + self._took - self._logged_seconds, 1e-9)
        speed = self.operations / seconds
        row = {
            "step": self.step, "loss": sum(means.values()) if means else None,
            "seconds": round(self.seconds + self._took, 3), "lr": self._rate, "grad_norm": self._norm,
            "samples_per_second": round(self.samples / seconds, 1),
            "teraflops": float(f"{speed * ranks.size() / 1e12:.4g}"),
            "mfu": None if self.peak is None else round(speed / self.peak, 4),
            "data_wait": round(self._waited / seconds, 4), "memory_mb": round(most_memory(self.device.torch)), **means,
        }  # fmt: skip
        self._losses, self.samples, self.operations, self._waited = {}, 0, 0, 0.0
        self._logged_seconds = self.seconds + self._took
        return row

    def validate(self, corpus: Rows) -> float:
        """The headline number on `corpus`; the weights are kept if it is the best so far."""
        name, direction = self.learner.headline
        with self._evaluating():
            size, together = self.optim.batch_size, self.weights.together
            numbers = self.weights.run(
                lambda: validated(self.model, self.learner, corpus, batch_size=size, together=together)
            )
        value, best = numbers[name], self.best_validation.get(name)
        if best is None or (value < best if direction == "min" else value > best):
            self.best = {key: tensor.detach().clone() for key, tensor in self._counting().items()}
            self.best_step, self.best_validation = self.step, numbers
        return value

    def _counting(self) -> dict[str, Tensor]:
        """The weights that count: the average where there is one."""
        return dict(self.average.weights) if self.average is not None else self.weights.state()

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        own = None
        if self.average is not None:
            own = {name: tensor.clone() for name, tensor in self.weights.state().items()}
            self.weights.load(self.average.weights)
        self.model.eval()
        yield
        self.model.train()
        if own is not None:
            self.weights.load(own)

    def checkpoint(self) -> Checkpoint:
        """All of this that the rank is to save."""
        parts: dict[str, dict[str, Tensor]] = {"model": self.weights.state(), "best": self.best}
        if self.average is not None:
            parts["average"] = self.average.weights
        for name, slots in self.optimiser.slots.items():
            for slot, tensor in slots.items():
                parts.setdefault(f"optimiser.{slot}", {})[name] = tensor
        tensors = {
            f"{kind}.{name}": tensor
            for kind, part in parts.items()
            for name, tensor in part.items()
            if self.weights.saved(name, tensor)
        }
        numbers = {
            "seconds": self.seconds, "skipped": self.skipped, "failures": self.failures, "failing": self.failing,
            "best_step": self.best_step, "best_validation": self.best_validation,
            "updates": self.average.updates if self.average is not None else 0,
        }  # fmt: skip
        return Checkpoint(self.step, tensors, numbers)

    def resume(self, folder: Path) -> None:
        """Take over the newest complete checkpoint in `folder`, if there is one."""
        found = checkpoints_of.latest(folder)
        step = 0 if found is None else found.step
        if (first := ranks.from_first({"step": step})["step"]) != step:
            raise ValueError(
                f"the checkpoints of this machine end at step {step}, those of the first one at {first:.0f}; put "
                ".mmcore on a disk that all machines share (MMCORE_STATE), or remove .mmcore/checkpoints on all of them"
            )
        if found is None:
            return
        model = {key.removeprefix("model."): found.tensors[key] for key in found.tensors if key.startswith("model.")}
        self.model.check_weights(model, f"checkpoint {folder}")
        parts: dict[str, dict[str, Tensor]] = {}
        for key, tensor in found.tensors.items():
            kind, _, name = key.partition(".")
            slot, _, name = name.partition(".") if kind == "optimiser" else ("", "", name)
            own = self.weights.share(name, tensor).to(self.device.torch)
            (self.optimiser.slots if slot else parts).setdefault(name if slot else kind, {})[slot or name] = own
        self.weights.load(parts["model"])
        self.best = parts.get("best", {})
        if self.average is not None:
            self.average.load(parts["average"], found.numbers["updates"])
        self.step, self.seconds = found.step, found.numbers["seconds"]
        self.skipped, self.failures = found.numbers["skipped"], found.numbers["failures"]
        self.failing = list(found.numbers["failing"])
        self.best_step, self.best_validation = found.numbers["best_step"], found.numbers["best_validation"]
        self._logged_seconds = self.seconds

    def finish(self) -> FitResult:
        self.weights.restore(self.best)
        return FitResult(self.step, self.skipped, self.best_step, self.best_validation)


def _weights(model: MultimodalModel, device: Device) -> Weights:
    if not device.shard or ranks.size() == 1:
        return Weights(model.to(device.torch), device.precision, model.masks)
    from mmcore.training.sharding import ShardedWeights  # noqa: PLC0415 (it imports torch's compiler: seconds)

    return ShardedWeights(model, device)


class Log:
    """What people see of a training: its progress, and `curves.csv` with one row per logged step. Rank 0 writes it.

    A continued training appends; steps that an ended process had taken after its last checkpoint then stand there
    twice, the later row counts.
    """

    def __init__(self, path: Path, terms: Sequence[str], phase: str, steps: int, *, done: int) -> None:
        self.path = path
        self.columns = [*MEASURED, *terms, "validation"]
        self.progress = None if ranks.rank() else Progress(phase, total=steps, unit="steps")
        self._speed: dict[str, float] = {}
        if self.progress is None:
            return
        self.progress.advance(done)
        path.parent.mkdir(parents=True, exist_ok=True)
        if done == 0 or not path.exists():
            with open(path, "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(self.columns)

    def advance(self, values: dict[str, float]) -> None:
        if self.progress is not None:
            self.progress.advance(1, {**values, **self._speed})

    def append(self, row: dict[str, Any]) -> None:
        if row.get("mfu") is not None:
            self._speed = {"mfu": row["mfu"]}
        if self.progress is not None:
            with open(self.path, "a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self.columns).writerow(row)


@contextmanager
def _drawn_ahead(source: Source, steps: int) -> Iterator[Callable[[int], Any]]:
    """The batch of a step; that of the next one is drawn, by one thread, while this one is computed."""
    ahead: dict[int, Future[Any]] = {}
    with ThreadPoolExecutor(1, "batches") as thread:

        def drawn(number: int) -> Any:
            batch = ahead.pop(number).result() if number in ahead else source.at(number)
            if number + 1 < steps:
                ahead[number + 1] = thread.submit(source.at, number + 1)
            return batch

        yield drawn


@contextmanager
def _stop_requests() -> Iterator[threading.Event]:
    """An event that SIGTERM sets while the block runs."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)
