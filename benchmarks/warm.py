"""How many steps a pretraining saves that starts from the champion after 2 % new rows.

    python benchmarks/warm.py [--project FOLDER] [--steps 400] [--seeds 1 2 3]

`--project` (default: here): where a run has left artifacts/prepared. A model is pretrained on 98 % of the training
rows; then, on all of them, one from scratch and one that goes on from that model, with a fifth of the steps and half
the rate. Each is asked for the test pictures by their captions as pretraining leaves it, with no fine-tuning.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import torch

from mmcore import params
from mmcore.data.batches import Rows
from mmcore.data.corpus import Corpus
from mmcore.data.views import View
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives._mixture import Mixture
from mmcore.settings import OptimSettings, Settings
from mmcore.tasks import TASKS
from mmcore.training.device import choose
from mmcore.training.fit import fit
from mmcore.workspace import Workspace

KNOWN, SHARE = 0.98, 0.2


def pretrained(
    model: MultimodalModel, rows: Rows, validation: Rows, settings: Settings, optim: OptimSettings, seed: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fit(
            model, Mixture(settings.pretrain.objectives, rows), rows, validation, optim=optim,
            augment=settings.pretrain.augment, device=choose(settings.train), seed=seed,
            checkpoints=Path(folder) / "checkpoints", logs=Path(folder) / "logs", phase="pretrain",
        )  # fmt: skip


def recalls(model: MultimodalModel, test: Rows, settings: Settings) -> str:
    task = TASKS.build(settings.finetune["retrieval"].task)
    found = task.predict(model, test, batch_size=128, device=choose(settings.train).torch)
    scores = task.score(found, test, settings=settings.evaluate, seed=1)
    return ", ".join(f"{k} {scores[f'text_to_image_recall@{k}'].value:5.1f}" for k in (1, 10))


def compare(workspace: Workspace, settings: Settings, steps: int, seed: int) -> None:
    train, validation, test = (Corpus(workspace.prepared, split) for split in ("train", "validation", "test"))
    old = np.sort(np.random.default_rng(seed).permutation(len(train))[: round(KNOWN * len(train))])
    known = View(train, [(int(place), "", {}) for place in old])
    whole = dataclasses.replace(settings.pretrain.optim, steps=steps, validate_every=steps)
    warm = dataclasses.replace(whole, steps=round(SHARE * steps), validate_every=round(SHARE * steps), lr=whole.lr / 2)

    def fresh() -> MultimodalModel:
        torch.manual_seed(seed)
        return MultimodalModel(settings.model, Processor.load(workspace.prepared, settings.prepare))

    champion, scratch = fresh(), fresh()
    pretrained(champion, known, validation, settings, whole, seed)
    print(f"seed {seed}: text to image, recall at", flush=True)
    print(f"  {len(known):,} rows, {steps} steps                {recalls(champion, test, settings)}", flush=True)
    pretrained(scratch, train, validation, settings, whole, seed + 100)
    print(f"  {len(train):,} rows from scratch, {steps} steps   {recalls(scratch, test, settings)}", flush=True)
    pretrained(champion, train, validation, settings, warm, seed + 200)
    print(f"  {len(train):,} rows going on, {warm.steps} steps         {recalls(champion, test, settings)}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    work = Workspace(arguments.project.resolve())
    for one in arguments.seeds:
        compare(work, params.load(work.params), arguments.steps, one)
