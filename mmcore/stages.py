"""The stages of the chain and what each is wired from. Read this first: everything else is called from here.

A stage is a plain function with paths in and one folder out. `run` gives it what surrounds every stage: the lock,
the log, an output that is complete or absent, its lineage and its last word (`status.json`).
"""

import contextlib
import hashlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcore import fingerprint, leases, owner
from mmcore.fingerprint import modules_of, modules_of_task
from mmcore.models.card import card
from mmcore.plugins import import_plugins, load_settings
from mmcore.settings import Settings
from mmcore.training.launch import OWNER, launch, spread
from mmcore.workspace import (
    SKIPPED,
    Workspace,
    hash_file,
    hash_folder,
    read_json,
    read_yaml,
    run_lock,
    write_bytes,
    write_folder,
    write_json,
)

# A stage whose run was killed a moment ago may still be writing its last checkpoint.
LAST_SAVE_SECONDS = 20.0
# Settings that change no more than the rounding of what is learned.
SPREAD = ("train.devices", "train.nodes", "train.shard")


@dataclass(frozen=True)
class Call:
    """What a stage function receives: the folder it fills and where everything else is.

    `item`: the task of `finetune@<task>`, else empty. `checkpoints` belongs to this very combination of code,
    inputs and settings. `start`: the model that a pretraining goes on from, null for none. `keep`: the `handles` of
    the stage's `Lease`.
    """

    output: Path
    workspace: Workspace
    settings: Settings
    item: str
    logs: Path
    checkpoints: Path
    start: Path | None = None
    keep: tuple[int, ...] = ()


@dataclass(frozen=True)
class Stage:
    """`run` fills the folder; `output` says which one; `modules` are the roots of the stage's code fingerprint.
    `gpus`: how many GPUs it computes on, where it is not to be a processor."""

    run: Callable[[Call], None]
    output: Callable[[Workspace, str], Path]
    modules: Callable[[Settings, str], list[str]]
    leaves_model: bool = False
    gpus: Callable[[Settings], int] = lambda settings: 0


def _code(call: Call) -> None:
    own = ["mmcore", *sorted({plugin.partition(".")[0] for plugin in call.settings.plugins})]
    for name in stage_names(call.settings):
        if name != "code":
            stage, item = _find(name)
            roots = [*stage.modules(call.settings, item), *call.settings.plugins]
            write_json(call.output / f"{name}.json", fingerprint.fingerprint(roots, own=own))


def _validate(call: Call) -> None:
    from mmcore.quality.validate import validate

    work = call.workspace
    validate(
        work.data, work.root / "validation", call.output, call.logs, call.settings.validate, call.settings.data,
        cache=work.state / "cache",
    )  # fmt: skip


def _prepare(call: Call) -> None:
    from mmcore.data.prepare import prepare

    work, data = call.workspace, call.settings.data
    prepare(
        work.data, work.validated, call.output, call.settings.prepare, max_decoded_bytes=data.max_decoded_bytes,
        cache=work.state / "cache", engine=data.engine,
    )  # fmt: skip


def _pretrain(call: Call) -> None:
    if spread(call.settings.train):
        return _launch(call, "pretrain", *([] if call.start is None else ["--init", str(call.start)]))
    from mmcore.training.pretrain import pretrain

    pretrain(
        call.workspace.prepared, call.output, call.settings, start=call.start, checkpoints=call.checkpoints,
        logs=call.logs,
    )  # fmt: skip


def _finetune(call: Call) -> None:
    from mmcore.training.finetune import finetune, lacking

    if reason := lacking(call.item, call.workspace.prepared, call.settings):
        print(f"{call.item} is skipped: {reason}")
        (call.logs / "curves.csv").unlink(missing_ok=True)  # of a time when it was not
        return write_json(call.output / SKIPPED, {"reason": reason})
    if spread(call.settings.train):
        return _launch(call, f"finetune@{call.item}")
    finetune(
        call.item, call.workspace.prepared, call.workspace.pretrained, call.output, call.settings,
        checkpoints=call.checkpoints, logs=call.logs,
    )  # fmt: skip


def _launch(call: Call, name: str, *words: str) -> None:
    launch(["stage", name, "--rank", str(call.output), *words], call.settings.train, keep=call.keep)


def _evaluate(call: Call) -> None:
    from mmcore.evaluation.evaluate import evaluate

    evaluate(call.workspace.prepared, call.workspace.tasks, call.output, call.settings)


def _reference(call: Call) -> None:
    from mmcore.quality.reference import reference
    from mmcore.serving.golden import write_golden

    work = call.workspace
    reference(work.prepared, work.validated, work.tasks, work.evaluation, call.output, call.settings)
    golden = call.output / "golden"
    golden.mkdir()
    write_golden(
        golden, data=work.data, validated=work.validated, tasks=work.tasks, evaluation=work.evaluation,
        settings=call.settings,
    )  # fmt: skip


# Where shards are worked on does not change what is made of them.
RAY = "mmcore.data.engine_ray"
MODALITIES = [f"mmcore.data.modalities.{name}" for name in ("audio", "image", "text", "video")]

STAGES: dict[str, Stage] = {
    "code": Stage(_code, lambda work, item: work.artifacts / "code", lambda settings, item: []),
    "validate": Stage(
        _validate, lambda work, item: work.validated, lambda settings, item: ["mmcore.quality.validate", *MODALITIES]
    ),
    "prepare": Stage(
        _prepare, lambda work, item: work.prepared, lambda settings, item: ["mmcore.data.prepare", *MODALITIES]
    ),
    "pretrain": Stage(
        _pretrain,
        lambda work, item: work.pretrained,
        lambda settings, item: [
            "mmcore.training.pretrain",
            *modules_of("objectives", settings.pretrain.objectives),
            *modules_of("models.encoders", settings.model.encoders.values()),
            *MODALITIES,
        ],
        leaves_model=True,
        gpus=lambda settings: settings.train.devices,
    ),
    "finetune": Stage(
        _finetune,
        lambda work, item: work.tasks / item,
        lambda settings, item: [
            "mmcore.training.finetune",
            *modules_of_task(settings.finetune[item].task),
            *modules_of("objectives", settings.finetune[item].beside),
            *modules_of("models.encoders", settings.model.encoders.values()),
            *MODALITIES,
        ],
        leaves_model=True,
        gpus=lambda settings: settings.train.devices,
    ),
    "evaluate": Stage(
        _evaluate,
        lambda work, item: work.evaluation,
        lambda settings, item: [
            "mmcore.evaluation.evaluate",
            *(name for task in settings.tasks for name in modules_of_task(settings.finetune[task].task)),
            *modules_of("models.encoders", settings.model.encoders.values()),
            *MODALITIES,
        ],
        gpus=lambda settings: 1,
    ),
    "reference": Stage(
        _reference,
        lambda work, item: work.reference,
        lambda settings, item: ["mmcore.quality.reference", "mmcore.serving.golden", *MODALITIES],
    ),
}


def stage_names(settings: Settings) -> list[str]:
    """The stages of a run in the order in which DVC runs them, `finetune` once per task."""
    names: list[str] = []
    for name in STAGES:
        names += [f"finetune@{task}" for task in settings.tasks] if name == "finetune" else [name]
    return names


def run(root: Path, name: str) -> None:
    """Run one stage of the project in `root`; its output folder is complete afterwards, or as it was before.

    Raises what the stage raises; `artifacts/logs/<stage>/status.json` then holds the state and the reason.
    """
    stage, item = _find(name)
    workspace = Workspace(root)
    owner.end_with_run(os.environ.get(OWNER))
    with _own_output(), run_lock(workspace.lock, f"the stage {name}", patience=LAST_SAVE_SECONDS):
        logs = workspace.logs(name)
        logs.mkdir(parents=True, exist_ok=True)
        if name != "code":
            (logs / "progress.jsonl").unlink(missing_ok=True)
        try:
            settings = load_settings(workspace)
            start = _start(workspace, settings, name)
            lineage = {} if name == "code" else _lineage(workspace, name, item, start)
            checkpoints = _checkpoints(workspace, name, lineage)
            held = leases.gpus(settings.train, stage.gpus(settings), f"the stage {name} of {root}")
            with write_folder(stage.output(workspace, item)) as output, _only_listed_code(workspace, name):
                stage.run(Call(output, workspace, settings, item, logs, checkpoints, start, held.handles))
                if lineage:
                    write_json(output / "lineage.json", lineage)
                if stage.leaves_model and not (output / SKIPPED).exists():
                    write_bytes(output / "README.md", card(output, settings.name, name, lineage).encode())
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Interrupted"
            state = "interrupted" if interrupted else "failed"
            reason = str(error) or type(error).__name__
            write_json(logs / "status.json", {"state": state, "reason": reason, "error": type(error).__name__})
            traceback.print_exc()
            raise
        mark_done(workspace, name)


def mark_done(workspace: Workspace, name: str) -> None:
    """Leave word in the stage's log that its output stands: it has run well, or it need not run.

    Without the second, an earlier failure would be taken for the stage's last word for ever.
    """
    write_json(workspace.logs(name) / "status.json", {"state": "done", "reason": "", "error": ""})


def rank(root: Path, name: str, output: Path, start: Path | None) -> None:
    """Take part in a training stage that another process runs and has spread over ranks; it looks after the rest, and
    has found the model that a pretraining is to `start` from."""
    stage, item = _find(name)
    workspace = Workspace(root)
    owner.end_with_run(os.environ.get(OWNER))
    settings = load_settings(workspace)
    checkpoints = _checkpoints(workspace, name, _lineage(workspace, name, item, start))
    stage.run(Call(output, workspace, settings, item, workspace.logs(name), checkpoints, start))


def score(root: Path, tasks: Path, output: Path) -> None:
    """Evaluate the models in `tasks` (a champion's, say) on this project's test split; their scores fill `output`."""
    from mmcore.evaluation.evaluate import evaluate

    workspace = Workspace(root)
    settings = load_settings(workspace)
    with _own_output(), write_folder(output) as folder:
        leases.gpus(settings.train, 1, f"the evaluation of {tasks}")
        evaluate(workspace.prepared, tasks, folder, settings, data=workspace.data, validated=workspace.validated)


def rehearse(workspace: Workspace, settings: Settings) -> str:
    """Build everything the settings name, without data or memory for it; returns a line that describes the model.

    Raises ValueError or LookupError for a component or option that does not exist, a device that cannot be used, a
    model to start from that cannot be had, and where data/ has rows for none of the tasks. Leaves a mark, so that the
    next run need not do it again.
    """
    from mmcore import project
    from mmcore.training.rehearsal import rehearse as build

    import_plugins(workspace, settings)
    if settings.pretrain.init != "champion":  # which is fetched when it is needed
        _start(workspace, settings, "pretrain")
    line = build(workspace.data, settings)
    mark = project.checked(workspace, settings)
    write_json(mark, {"model": line})
    return line


@contextlib.contextmanager
def _only_listed_code(workspace: Workspace, name: str) -> Iterator[None]:
    """Hold every run to the fingerprint: a module that shaped the output and is not counted would go unnoticed."""
    before = set(sys.modules)
    yield
    used = {module for module in set(sys.modules) - before - {RAY} if module.partition(".")[0] == "mmcore"}
    missing = used - set(read_json(workspace.code(name))["modules"]) if name != "code" else set()
    assert not missing, f"the code fingerprint of {name} lacks {', '.join(sorted(missing))}; add them to STAGES"


def _checkpoints(workspace: Workspace, name: str, lineage: dict[str, Any]) -> Path:
    """Where a stage's checkpoints lie: another lineage is another training, but on how many devices it is done."""
    settings = {name: value for name, value in lineage.get("settings", {}).items() if name not in SPREAD}
    key = hashlib.sha256(json.dumps({**lineage, "settings": settings}, sort_keys=True).encode()).hexdigest()[:16]
    return workspace.state / "checkpoints" / name / key


def _find(name: str) -> tuple[Stage, str]:
    base, _, item = name.partition("@")
    if base not in STAGES or bool(item) != (base == "finetune"):
        choices = ", ".join("finetune@TASK" if stage == "finetune" else stage for stage in STAGES)
        raise LookupError(f"there is no stage '{name}'; choose one of: {choices}")
    return STAGES[base], item


def _start(workspace: Workspace, settings: Settings, name: str) -> Path | None:
    """For the stage `pretrain` the folder of the model that it goes on from, see `starts.find`; null for the others."""
    if name != "pretrain" or settings.pretrain.init == "scratch":
        return None
    # Not at the top: what it needs takes seconds to import, and its code has no part in what a model learns.
    from mmcore import starts

    return starts.find(workspace, settings)


def _lineage(workspace: Workspace, name: str, item: str, start: Path | None) -> dict[str, Any]:
    """What the output of a stage is made of, as dvc.yaml declares it: code, inputs and settings, all by content; of a
    pretraining that starts from a model also that."""
    base = name.partition("@")[0]
    declared = read_yaml(workspace.root / "dvc.yaml")["stages"][base]
    declared = declared.get("do", declared)
    inputs: dict[str, str] = {}
    for path in (dep.replace("${item}", item) for dep in declared["deps"]):
        place = workspace.root / path
        if place.suffix == ".json":
            inputs[path] = str(read_json(place)["sha256"])
        elif path == "data":
            inputs[path] = hash_file(place / "manifest.json")
        elif records := sorted(place.rglob("lineage.json")):
            for record in records:
                inputs[record.parent.relative_to(workspace.root).as_posix()] = hash_file(record)
        else:
            inputs[path] = hash_folder(place)
    values = read_yaml(workspace.params)
    used: dict[str, Any] = {}
    for key in (key.replace("${item}", item) for key in declared.get("params", [])):
        value: Any = values
        for part in key.split("."):
            value = value[part]
        used[key] = value
    if start is not None:
        inputs["start"] = hash_file(start / "model.safetensors")
        inputs["start_tokenizer"] = hash_file(start / "tokenizer.json")
    return {"stage": name, "inputs": inputs, "settings": used}


@contextlib.contextmanager
def _own_output() -> Iterator[None]:
    """Send everything this process and its children print to the file that `MMCORE_STAGE_LOG` names, if set."""
    path = os.environ.get("MMCORE_STAGE_LOG")
    if path:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
    yield
