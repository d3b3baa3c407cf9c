"""What pretraining adds to each task, and what each fusion adds to sentiment, on the test split; what each optimiser
reaches, on the validation split.

    python benchmarks/effects.py [--project FOLDER] [--seeds 1 2 3] [--only transfer|fusions|optimisers]

`--project` (default: here): where a run has left artifacts/prepared and artifacts/pretrained. Each task is trained from
the pretrained model and from scratch for the steps that its settings say, nothing else changed; sentiment with each
fusion, the decision of each modality by itself (`votes`), and with one modality alone. Optimisers pretrain for half and
for all of the steps, each at the rate that was chosen for it.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmcore import params
from mmcore.data.corpus import Corpus
from mmcore.models.fusion import FUSIONS
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives._mixture import Mixture
from mmcore.settings import Settings
from mmcore.tasks import TASKS
from mmcore.training.device import choose
from mmcore.training.fit import fit
from mmcore.workspace import Workspace

SHOWN = {
    "retrieval": "text_to_image_recall@1", "captioning": "bleu4", "summarisation": "rougeL", "questions": "accuracy",
    "classification": "accuracy",
}  # fmt: skip
# Chosen on the validation split when AdamW was the default.
ADAMW_RATE = 2e-3
# What a fusion needs beside its name.
OPTIONS: Mapping[str, dict[str, Any]] = {
    "low_rank": {"rank": 4}, "cross_attention": {"layers": 1}, "co_attention": {"layers": 1},
    "transformer": {"layers": 1},
}  # fmt: skip


def trained(
    workspace: Workspace, settings: Settings, section: str, task: Mapping[str, Any], *, init: str, seed: int
) -> float:
    """The score on the test split of the task, trained as its section says."""
    own = settings.finetune[section]
    learner = TASKS.build(task)
    device = choose(settings.train)
    train, validation, test = (Corpus(workspace.prepared, split) for split in ("train", "validation", "test"))
    torch.manual_seed(seed)
    if init == "pretrained":
        model = MultimodalModel.load(workspace.pretrained)
    else:
        model = MultimodalModel(settings.model, Processor.load(workspace.prepared, settings.prepare))
    learner.configure(model)
    with tempfile.TemporaryDirectory() as folder:
        fit(
            model, learner, train, validation, optim=own.optim, augment=own.augment, device=device, seed=seed,
            checkpoints=Path(folder) / "checkpoints", logs=Path(folder) / "logs", phase=f"{section} {init}",
        )  # fmt: skip
    found = learner.predict(model, test, batch_size=settings.evaluate.batch_size, device=device.torch)
    scores = learner.score(found, train, settings=settings.evaluate, seed=seed)
    return float(scores[SHOWN[str(task["name"])]].value)


def line(name: str, values: Sequence[float]) -> None:
    spread = f"{min(values):6.1f} to {max(values):.1f}" if len(values) > 1 else ""
    print(f"  {name:40} {np.mean(values):6.2f}  {spread}", flush=True)


def transfer(workspace: Workspace, settings: Settings, seeds: Sequence[int]) -> None:
    for section in settings.tasks:
        task = settings.finetune[section].task
        if task["name"] in SHOWN:
            metric = SHOWN[task["name"]]
            print(f"{section}, {metric} after {settings.finetune[section].optim.steps} steps")
            for init in ("pretrained", "scratch"):
                line(init, [trained(workspace, settings, section, task, init=init, seed=seed) for seed in seeds])


def fusions(workspace: Workspace, settings: Settings, seeds: Sequence[int]) -> None:
    task = settings.finetune["sentiment"].task
    heads: dict[str, tuple[list[str], dict[str, Any]]] = {
        f"{name} alone": ([name], {"name": "classes", "fusion": {"name": "concat"}}) for name in task["inputs"]
    }
    for name in FUSIONS.names():
        heads[name] = (task["inputs"], {"name": "classes", "fusion": {"name": name, **OPTIONS.get(name, {})}})
    for rule in ("mean", "product"):
        heads[f"votes, {rule}"] = (task["inputs"], {"name": "votes", "rule": rule})
    print(f"sentiment, accuracy after {settings.finetune['sentiment'].optim.steps} steps")
    for name, (inputs, head) in heads.items():
        own = {**task, "inputs": inputs, "head": head}
        line(name, [trained(workspace, settings, "sentiment", own, init="pretrained", seed=seed) for seed in seeds])


def optimisers(workspace: Workspace, settings: Settings, seeds: Sequence[int]) -> None:
    own = settings.pretrain
    train, validation = (Corpus(workspace.prepared, split) for split in ("train", "validation"))
    retrieval = TASKS.build(settings.finetune["retrieval"].task)
    device = choose(settings.train)
    for algorithm, rate, steps in (
        ("muon", own.optim.lr, own.optim.steps // 2), ("muon", own.optim.lr, own.optim.steps),
        ("adamw", ADAMW_RATE, own.optim.steps // 2), ("adamw", ADAMW_RATE, own.optim.steps),
    ):  # fmt: skip
        optim = replace(own.optim, algorithm=algorithm, lr=rate, steps=steps, validate_every=steps)
        losses, reciprocals = [], []
        for seed in seeds:
            torch.manual_seed(seed)
            model = MultimodalModel(settings.model, Processor.load(workspace.prepared, settings.prepare))
            with tempfile.TemporaryDirectory() as folder:
                result = fit(
                    model, Mixture(own.objectives, train), train, validation, optim=optim, augment=own.augment,
                    device=device, seed=seed, checkpoints=Path(folder) / "checkpoints", logs=Path(folder) / "logs",
                    phase=f"{algorithm} {steps}",
                )  # fmt: skip
            losses.append(result.validation["loss"])
            reciprocals.append(
                retrieval.validate(model, validation, batch_size=settings.evaluate.batch_size)["mean_reciprocal_rank"]
            )
        print(f"{algorithm}, {steps} steps of pretraining")
        line("validation loss", losses)
        line("mean reciprocal rank of retrieval", reciprocals)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--only", choices=["transfer", "fusions", "optimisers"])
    arguments = parser.parse_args()
    work = Workspace(arguments.project.resolve())
    loaded = params.load(work.params)
    if arguments.only in (None, "transfer"):
        transfer(work, loaded, arguments.seeds)
    if arguments.only in (None, "fusions") and "sentiment" in loaded.tasks:
        fusions(work, loaded, arguments.seeds)
    if arguments.only == "optimisers":
        optimisers(work, loaded, arguments.seeds)
