"""What pretraining adds to each task, each fusion to sentiment, a teacher to a model of a quarter of its size, and what
compression takes from each task and what each adapter reaches, on the test split; what each optimiser reaches, on the
validation split.

    python benchmarks/effects.py [--project FOLDER] [--seeds 1 2 3]
        [--only transfer|fusions|distillation|optimisers|compression|adapters|ensembles|pseudo_labels]

`--project` (default: here): where a run has left artifacts/prepared and artifacts/pretrained. Each task is trained from
the pretrained model and from scratch for the steps that its settings say, nothing else changed; sentiment with each
fusion, the decision of each modality by itself (`votes`), and with one modality alone. Optimisers pretrain for half and
for all of the steps, each at the rate that was chosen for it. The teacher is the run's retrieval model; its pupils see
pictures and texts for as many steps as a pretraining has, by a contrast alone, and with what the teacher says besides.
Compression: each task is fine-tuned as its section says and once more for each way to make it smaller; the times are
those of predictions for one row and for 64, in turns with the model as it is, in seconds of the processor. Adapters are
tried on retrieval and on sentiment; ensembles of one member for each seed on questions and on retrieval.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmcore import params
from mmcore.data.corpus import Corpus
from mmcore.metrics.ranking import auroc
from mmcore.models.compression import to_int8
from mmcore.models.ensemble import Ensemble
from mmcore.models.fusion import FUSIONS
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives._mixture import Mixture
from mmcore.settings import Component, CompressSettings, FinetuneSettings, OptimSettings, Settings
from mmcore.tasks import TASKS
from mmcore.tasks._mixed import EQUALLY
from mmcore.training.adapters import ADAPTERS
from mmcore.training.beside import Beside
from mmcore.training.device import choose
from mmcore.training.finetune import finetune
from mmcore.training.fit import FitResult, fit
from mmcore.workspace import Workspace

SHOWN = {
    "retrieval": "text_to_image_recall@1", "captioning": "bleu4", "summarisation": "rougeL", "questions": "accuracy",
    "classification": "accuracy",
}  # fmt: skip
# Chosen on the validation split when AdamW was the default.
ADAMW_RATE = 2e-3
# Adapters; the rates of 1, 4 and 16 times that of the task were tried on the validation split of retrieval.
LORA: Component = {"name": "lora", "rank": 8, "scale": 16.0}
BOTTLENECK: Component = {"name": "bottleneck", "size": 16}
BOTTLENECK_FASTER = 4
# Of how many rows of training the label is kept, and how the others are guessed at.
LABELLED = (25, 50, 100)
GUESSING: Component = {"threshold": 0.95, "hide": 0.3, "weight": 1.0, "every": 1, "batch_size": None}
# What a fusion needs beside its name.
OPTIONS: Mapping[str, dict[str, Any]] = {
    "low_rank": {"rank": 4}, "cross_attention": {"layers": 1}, "co_attention": {"layers": 1},
    "transformer": {"layers": 1},
}  # fmt: skip

NOTHING = CompressSettings(prune=0.0, drop_layers={}, int8=False)
SMALLER = {
    "as it is": NOTHING, "half pruned": replace(NOTHING, prune=0.5), "nine tenths pruned": replace(NOTHING, prune=0.9),
    "a layer less": replace(NOTHING, drop_layers={"text": 1}),
}  # fmt: skip
# What int8 leaves is what was learned, rounded, so nothing is trained for it.
WHOLE = {"int8": "as it is", "a layer less, int8": "a layer less"}


def trained(
    workspace: Workspace, settings: Settings, section: str, task: Mapping[str, Any], *, init: str, seed: int,
    split: str = "test", train: Corpus | None = None,
) -> float:  # fmt: skip
    """The score on a split of the task, trained as its section says (on other rows than the training split's)."""
    own = settings.finetune[section]
    learner = TASKS.build(task)
    device = choose(settings.train)
    train = train or Corpus(workspace.prepared, "train")
    validation, judged = (Corpus(workspace.prepared, name) for name in ("validation", split))
    learned = Beside(learner, own.beside, train) if own.beside else learner
    torch.manual_seed(seed)
    if init == "pretrained":
        model = MultimodalModel.load(workspace.pretrained)
    else:
        model = MultimodalModel(settings.model, Processor.load(workspace.prepared, settings.prepare))
    learner.configure(model)
    adapter = None if own.adapter is None else ADAPTERS.build(own.adapter)
    if adapter is not None:
        heads = learned.heads(train)
        model.add_heads(heads)
        adapter.attach(model, set(heads))
    with tempfile.TemporaryDirectory() as folder:
        fit(
            model, learned, train, validation, optim=own.optim, augment=own.augment, device=device, seed=seed,
            checkpoints=Path(folder) / "checkpoints", logs=Path(folder) / "logs", phase=f"{section} {init}",
        )  # fmt: skip
    if adapter is not None:
        adapter.fold(model)
    found = learner.predict(model, judged, batch_size=settings.evaluate.batch_size, device=device.torch)
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


def pretrained(
    workspace: Workspace, settings: Settings, optim: OptimSettings, objectives: Sequence[Component], *, seed: int
) -> tuple[MultimodalModel, FitResult]:
    """A model that was trained from scratch on the objectives."""
    train, validation = (Corpus(workspace.prepared, split) for split in ("train", "validation"))
    torch.manual_seed(seed)
    model = MultimodalModel(settings.model, Processor.load(workspace.prepared, settings.prepare))
    with tempfile.TemporaryDirectory() as folder:
        result = fit(
            model, Mixture(objectives, train), train, validation, optim=optim, augment=settings.pretrain.augment,
            device=choose(settings.train), seed=seed, checkpoints=Path(folder) / "checkpoints",
            logs=Path(folder) / "logs", phase=f"{optim.algorithm} {optim.steps}",
        )  # fmt: skip
    return model, result


def optimisers(workspace: Workspace, settings: Settings, seeds: Sequence[int]) -> None:
    own = settings.pretrain.optim
    retrieval = TASKS.build(settings.finetune["retrieval"].task)
    validation = Corpus(workspace.prepared, "validation")
    for algorithm, rate, steps in (
        ("muon", own.lr, own.steps // 2), ("muon", own.lr, own.steps),
        ("adamw", ADAMW_RATE, own.steps // 2), ("adamw", ADAMW_RATE, own.steps),
    ):  # fmt: skip
        optim = replace(own, algorithm=algorithm, lr=rate, steps=steps, validate_every=steps)
        losses, reciprocals = [], []
        for seed in seeds:
            model, result = pretrained(workspace, settings, optim, settings.pretrain.objectives, seed=seed)
            losses.append(result.validation["loss"])
            found = retrieval.validate(model, validation, batch_size=settings.evaluate.batch_size)
            reciprocals.append(found["mean_reciprocal_rank"])
        print(f"{algorithm}, {steps} steps of pretraining")
        line("validation loss", losses)
        line("mean reciprocal rank of retrieval", reciprocals)


def adapters(workspace: Workspace, settings: Settings, seeds: Sequence[int], split: str = "test") -> None:
    for section, among in (("retrieval", ["text", "image", "audio", "video"]), ("sentiment", ["text", "image"])):
        own = settings.finetune[section]
        task = own.task | ({"rerank": None} if section == "retrieval" else {})
        steps = own.optim.steps
        print(f"{section}, {SHOWN[str(task['name'])]} on the {split} split after {steps} steps, by what learns")
        as_it_was = replace(settings, finetune={section: replace(own, optim=replace(own.optim, steps=0))})
        if section == "retrieval":
            line("nothing", [trained(workspace, as_it_was, section, task, init="pretrained", seed=1, split=split)])
        for spec in (None, {"name": "heads"}, LORA, {**BOTTLENECK, "among": among}):
            if spec == {"name": "heads"} and section == "retrieval":
                continue
            rate = own.optim.lr * (BOTTLENECK_FASTER if spec is not None and spec["name"] == "bottleneck" else 1)
            tuned = replace(own, adapter=spec, optim=replace(own.optim, lr=rate))
            changed = replace(settings, finetune={section: tuned})
            scores = [
                trained(workspace, changed, section, task, init="pretrained", seed=seed, split=split) for seed in seeds
            ]
            line(f"{'all weights' if spec is None else spec['name']}, {learning(workspace, tuned, task):.1f} %", scores)


def learning(workspace: Workspace, own: FinetuneSettings, task: Mapping[str, Any]) -> float:
    """The share of weights that learn among those of the pretrained model, in percent."""
    model = MultimodalModel.load(workspace.pretrained)
    weights = sum(one.numel() for one in model.parameters())
    heads = TASKS.build(task).heads(Corpus(workspace.prepared, "train"))
    model.add_heads(heads)
    if own.adapter is not None:
        ADAPTERS.build(own.adapter).attach(model, set(heads))
    return 100 * sum(one.numel() for one in model.parameters() if one.requires_grad) / weights


def ensembles(workspace: Workspace, settings: Settings, seeds: Sequence[int]) -> None:
    train, test = (Corpus(workspace.prepared, name) for name in ("train", "test"))
    device = choose(settings.train)
    with tempfile.TemporaryDirectory() as folder:
        for section in ("questions", "retrieval"):
            own = settings.finetune[section]
            own = replace(own, task=own.task | ({"rerank": None} if section == "retrieval" else {}))
            task, metric = TASKS.build(own.task), SHOWN[str(own.task["name"])]

            def model(seed: int, members: int, section: str = section, own: FinetuneSettings = own) -> Path:
                output = Path(folder) / f"{section}-{seed}-{members}"
                output.mkdir()
                changed = replace(own, members=members)
                finetune(
                    section, workspace.prepared, workspace.pretrained, output,
                    replace(settings, seed=seed, finetune={section: changed}),
                    checkpoints=output / "checkpoints", logs=output / "logs",
                )  # fmt: skip
                return output

            def score(made: Any, task: Any = task, metric: str = metric) -> tuple[float, Any]:
                found = task.predict(made, test, batch_size=settings.evaluate.batch_size, device=device.torch)
                scores = task.score(found, train, settings=settings.evaluate, seed=1)
                return float(scores[metric].value), found

            print(f"{section}, {metric} of {len(seeds)} members on the test split")
            folders = [model(seed, 1) for seed in seeds]
            line("each alone", [score(MultimodalModel.load(path))[0] for path in folders])
            soup = MultimodalModel.load(model(seeds[0], len(seeds)))
            line("mean of the weights (members)", [score(soup)[0]])
            ensemble = Ensemble.load(folders)
            value, found = score(ensemble)
            line("together (Ensemble)", [value])
            if section == "questions":
                apart(ensemble, task, test, found.table.to_pylist(), settings.evaluate.batch_size)


def apart(ensemble: Ensemble, task: Any, test: Corpus, rows: Sequence[Mapping[str, Any]], batch_size: int) -> None:
    """How well wrong answers are told from right ones, by disagreement and by the probability of the answer."""
    batches = task._in_order(ensemble, task.view(test), batch_size)
    parts = []
    with torch.inference_mode():
        for number in range(len(batches)):
            batch = batches.at(number)
            encoded = {name: ensemble.encode(name, *batch.inputs[name]) for name in task.sources}
            parts.append(ensemble.disagreement(task.answered_by, encoded))
    wrong = np.array([row["prediction"] not in row["references"] for row in rows])
    doubt = -np.array([row["score"] for row in rows])
    for name, values in (("disagreement", torch.cat(parts).numpy()), ("1 - probability", doubt)):
        line(f"AUROC of {name}, {wrong.sum()} wrong of {len(wrong)}", [auroc(values[~wrong], values[wrong])])


def distillation(workspace: Workspace, settings: Settings, seeds: Sequence[int]) -> None:
    paired = {"among": ["image", "text"], "formula": "clip", **EQUALLY}
    contrast = {"name": "contrast", **paired}
    teacher = workspace.tasks / "retrieval"
    distil = {
        "name": "distil", "teacher": str(teacher), "among": ["image", "text"], "similarity": 1.0, "features": 1000.0,
        **EQUALLY,
    }  # fmt: skip
    encoders = {
        "text": {"name": "text_transformer", "layers": 1},
        "image": {"name": "conv_vit", "patch": 4, "channels": [32], "residuals": 2, "layers": 1},
    }
    small = replace(settings, model=replace(settings.model, width=48, encoders=encoders, decoder=None))
    retrieval = TASKS.build({"name": "retrieval", "contrasts": [paired], "also": [], "rerank": None})
    train, test = (Corpus(workspace.prepared, split) for split in ("train", "test"))

    def score(model: MultimodalModel) -> float:
        found = retrieval.predict(model, test, batch_size=settings.evaluate.batch_size, device=torch.device("cpu"))
        scores = retrieval.score(found, train, settings=settings.evaluate, seed=1)
        return float(scores["text_to_image_recall@1"].value)

    large = MultimodalModel.load(teacher)
    parts = [part[name] for part in (large.encoders, large.projections) for name in ("image", "text")]
    seen = sum(one.numel() for part in parts for one in part.parameters())
    print(f"text to image recall@1 of a teacher ({seen / 1e6:.2f} M parameters for pictures and texts) and its pupils")
    line("teacher", [score(large)])
    for name, objectives in (("contrast alone", [contrast]), ("contrast and teacher", [contrast, distil])):
        optim = replace(settings.pretrain.optim, validate_every=settings.pretrain.optim.steps)
        models = [pretrained(workspace, small, optim, objectives, seed=seed)[0] for seed in seeds]
        size = sum(one.numel() for part in (models[0].encoders, models[0].projections) for one in part.parameters())
        line(f"{name}, {size / 1e6:.2f} M", [score(model) for model in models])


class First(Corpus):
    """No more than the first `most` rows of the test split, of those with this `label` where there is one."""

    def __init__(self, prepared: Path, most: int, label: str | None) -> None:
        super().__init__(prepared, "test")
        self.most, self.label = most, label

    def with_(self, *columns: str) -> list[int]:
        found = super().with_(*columns)
        return [row for row in found if self.label is None or self.label in self.rows[row]["labels"]][: self.most]


class Partly(Corpus):
    """The training split, of whose rows with this `label` only `known`, drawn by the seed, keep it (null: all)."""

    def __init__(self, prepared: Path, label: str, known: int | None, seed: int) -> None:
        super().__init__(prepared, "train")
        having = [row for row in self.rows if row["labels"].get(label)]
        for place in np.random.default_rng(seed).permutation(len(having))[known or len(having) :]:
            having[place]["labels"] = {name: value for name, value in having[place]["labels"].items() if name != label}


def pseudo_labels(workspace: Workspace, settings: Settings, seeds: Sequence[int], split: str = "test") -> None:
    for section in settings.tasks:
        own = settings.finetune[section]
        if own.task["name"] != "classification":
            continue
        same = {name: own.task[name] for name in ("inputs", "label", "head")}
        guessing = [{"name": "pseudo_labels", **same, **GUESSING}]
        print(f"{section}, accuracy on the {split} split after {own.optim.steps} steps, by rows with a label")
        for known in (*LABELLED, None):
            for beside in ([], guessing) if known else ([],):
                changed = replace(settings, finetune={section: replace(own, beside=beside)})
                scores = [
                    trained(
                        workspace, changed, section, own.task, init="pretrained", seed=seed, split=split,
                        train=Partly(workspace.prepared, own.task["label"], known, seed),
                    )
                    for seed in seeds
                ]  # fmt: skip
                line(f"{known or 'all'}, {'with pseudo-labels' if beside else 'alone'}", scores)


def compression(workspace: Workspace, settings: Settings, seeds: Sequence[int]) -> None:
    test, train = Corpus(workspace.prepared, "test"), Corpus(workspace.prepared, "train")
    options: dict[str, Any] = {"batch_size": settings.evaluate.batch_size, "device": torch.device("cpu")}
    for section in settings.tasks:
        own = settings.finetune[section]
        learner, metric = TASKS.build(own.task), SHOWN[str(own.task["name"])]
        print(f"{section}: {metric}; size of the file; times for one row and for 64, that as it is being 1")
        found: dict[str, list[tuple[float, ...]]] = {name: [] for name in (*SMALLER, *WHOLE)}
        for seed in seeds:
            with tempfile.TemporaryDirectory() as folder:
                models = {}
                for name in found:
                    output = Path(folder) / name
                    output.mkdir()
                    if name in WHOLE:
                        made = MultimodalModel.load(Path(folder) / WHOLE[name])
                        assert made.compression is not None
                        made.compression = {**made.compression, "int8": True}
                        to_int8(made)
                        made.save(output)
                    else:
                        finetune(
                            section, workspace.prepared, workspace.pretrained, output,
                            replace(settings, seed=seed, finetune={section: replace(own, compress=SMALLER[name])}),
                            checkpoints=Path(folder) / "checkpoints", logs=Path(folder) / "logs",
                        )  # fmt: skip
                    model = models[name] = MultimodalModel.load(output)
                    scores = learner.score(
                        learner.predict(model, test, **options), train, settings=settings.evaluate, seed=1
                    )
                    size = (output / "model.safetensors").stat().st_size / 1e6
                    found[name].append((float(scores[metric].value), size))
                for rows in (1, 64):
                    took = in_turns(learner, models, First(workspace.prepared, rows, own.task.get("label")), **options)
                    for name in found:
                        found[name][-1] = (*found[name][-1], took[name] / took["as it is"])
        for name, values in found.items():
            score, size, one, many = np.mean(values, axis=0)
            print(f"  {name:20} {score:6.2f}  {size:5.2f} MB  {one:5.2f} {many:5.2f}", flush=True)


def in_turns(
    learner: Any, models: Mapping[str, MultimodalModel], rows: Corpus, *, turns: int = 9, **options: Any
) -> dict[str, float]:
    """The least seconds of the processor that each model's predictions for the rows take."""
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(turns):
        for name, model in models.items():
            start = time.process_time()
            learner.predict(model, rows, **options)
            seconds[name].append(time.process_time() - start)
    return {name: min(values) for name, values in seconds.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parts = (
        "transfer", "fusions", "distillation", "optimisers", "compression", "adapters", "ensembles", "pseudo_labels",
    )  # fmt: skip
    parser.add_argument("--only", choices=parts)
    arguments = parser.parse_args()
    work = Workspace(arguments.project.resolve())
    loaded = params.load(work.params)
    if arguments.only in (None, "transfer"):
        transfer(work, loaded, arguments.seeds)
    if arguments.only in (None, "fusions") and "sentiment" in loaded.tasks:
        fusions(work, loaded, arguments.seeds)
    if arguments.only == "optimisers":
        optimisers(work, loaded, arguments.seeds)
    if arguments.only == "distillation":
        distillation(work, loaded, arguments.seeds)
    if arguments.only == "compression":
        compression(work, loaded, arguments.seeds)
    if arguments.only == "adapters":
        adapters(work, loaded, arguments.seeds)
    if arguments.only == "ensembles":
        ensembles(work, loaded, arguments.seeds)
    if arguments.only == "pseudo_labels":
        pseudo_labels(work, loaded, arguments.seeds)
