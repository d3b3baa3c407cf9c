"""Everything that the settings name, built once before any work: what would fail at night fails here."""

import copy
import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmcore.data import store
from mmcore.data.batches import columns_of
from mmcore.data.engine import check_engine
from mmcore.data.modalities import media
from mmcore.data.schema import schema
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives import OBJECTIVES
from mmcore.settings import Settings
from mmcore.tasks import TASKS
from mmcore.training.adapters import ADAPTERS
from mmcore.training.beside import check_guesses, check_terms
from mmcore.training.blend import check_share
from mmcore.training.compress import check_compress
from mmcore.training.costs import FEW, Imagined
from mmcore.training.device import choose
from mmcore.training.finetune import INITS
from mmcore.training.soup import check_members


def rehearse(data: Path, settings: Settings) -> str:
    """One line on the device, the model, and the tasks that will be skipped because data/ has nothing for them.

    ValueError or LookupError for what cannot be built, where there are data for no task, or where their shards cannot
    be worked on.
    """
    check_engine(settings.data.engine)
    device = choose(settings.train)
    objectives = [OBJECTIVES.build(spec) for spec in settings.pretrain.objectives]
    check_guesses(None, objectives)
    check_share(settings.pretrain.optim, "pretrain", settings.pretrain.init)
    tasks: dict[str, Any] = {}
    needs: dict[str, Sequence[str]] = {}
    looked_at = [(" and ".join(one.terms), columns_of(one.inputs)) for one in objectives if one.weight]
    for name in settings.tasks:
        own = settings.finetune[name]
        tasks[name] = task = TASKS.build(own.task)
        beside = [OBJECTIVES.build(spec) for spec in own.beside]
        needs[name] = task.needs
        looked_at += [(name, columns) for columns in task.looks_at]
        looked_at += [(f"{name}, beside it", columns_of(one.inputs)) for one in beside if one.weight]
        check_terms(task, [term for one in beside for term in one.terms])
        check_guesses(task, beside)
        check_share(own.optim, f"finetune.{name}", own.init)
        check_members(own.members, f"finetune.{name}", own.init)
        if own.init not in INITS:
            raise ValueError(f"finetune.{name}.init is '{own.init}'; choose {' or '.join(INITS)}")
        if own.optim.steps and not task.learns:
            raise ValueError(f"the task '{name}' learns nothing of its own: set finetune.{name}.optim.steps to 0")
    _check_columns([*looked_at, *needs.items()])
    _check_encoders(data, looked_at, settings)
    lacking = store.lacking_columns(data, {column for columns in needs.values() for column in columns})
    skipped = {task: sorted(lacking & set(columns)) for task, columns in needs.items() if lacking & set(columns)}
    told = ", ".join(f"{task} (no {' and '.join(columns)})" for task, columns in skipped.items())
    if needs and len(skipped) == len(needs):
        raise ValueError(f"data/ has rows for none of the tasks: {told}; set others, or import rows that have them")
    # In real memory: the meta device would cost four seconds of imports, these models half a second.
    model = MultimodalModel(settings.model, Processor.made_up(settings.prepare))
    for name in settings.tasks:
        if (adapter := settings.finetune[name].adapter) is not None:
            ADAPTERS.build(adapter).check(model)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    for name in settings.tasks:
        own = settings.finetune[name]
        check_compress(own, f"finetune.{name}", copy.deepcopy(model))
        if settings.train.shard and own.compress is not None and own.compress.prune:
            raise ValueError(
                f"train.shard is true, and finetune.{name}.compress.prune needs all weights on every device; set shard "
                "to false, or prune to 0"
            )
    _check_heads(data, {name: task for name, task in tasks.items() if name not in skipped}, objectives, model, settings)
    line = f"{device.name}; a model of {parameters / 1e6:.2f} M parameters over {', '.join(settings.model.encoders)}"
    return line + (f"; skipped: {told}" if told else "")


def _check_columns(looked_at: Iterable[tuple[str, Sequence[str]]]) -> None:
    """ValueError for a name that no column has: its rows would be missing, and it be skipped without a word."""
    known = schema().names
    for name, columns in looked_at:
        for column in columns:
            if column not in known:
                near = difflib.get_close_matches(column, known, n=1)
                raise ValueError(
                    f"{name} looks at '{column}', which no row can have"
                    + (f"; did you mean '{near[0]}'?" if near else f"; there are: {', '.join(known)}")
                )


def _check_heads(
    data: Path, tasks: Mapping[str, Any], objectives: Sequence[Any], model: MultimodalModel, settings: Settings
) -> None:
    """Build the heads of pretraining, then of each task beside them; ValueError or LookupError for what is wrong with
    one, a label that no row has, or a second stage of retrieval that the model has nothing for."""
    labels = store.label_names(data, {task.label for task in tasks.values() if hasattr(task, "label")})
    few = Imagined(model.processor, FEW, sorted(labels))
    pretrained = {name: spec for one in objectives if one.weight for name, spec in one.heads(few).items()}
    model.add_heads(pretrained)
    for name, task in tasks.items():
        scratch = settings.finetune[name].init == "scratch"
        model.heads.clear()
        model.head_specs.clear()
        try:
            model.add_heads({**({} if scratch else pretrained), **task.heads(few)})
            # A champion that a pretraining begins with may have heads that its objectives do not ask for.
            if scratch or settings.pretrain.init == "scratch":
                task.configure(model)
        except (ValueError, LookupError) as error:
            raise type(error)(f"finetune.{name}: {error.args[0]}") from None


def _check_encoders(data: Path, looked_at: Sequence[tuple[str, Sequence[str]]], settings: Settings) -> None:
    """ValueError for an objective or a task with rows to look at, but a medium that the model has no encoder for."""
    encoded = settings.model.encoders
    unencoded = [
        (name, columns, own) for name, columns in looked_at if (own := (set(columns) & set(media())) - set(encoded))
    ]
    lacking = store.lacking_columns(data, {column for _, columns, _ in unencoded for column in columns})
    for name, columns, own in unencoded:
        if not lacking & set(columns):
            raise ValueError(
                f"{name} needs an encoder for {' and '.join(sorted(own))}, and the model has {', '.join(encoded)}; "
                f"add model.encoders.{min(own)}, or leave it out"
            )
