"""`mmcore run export`: the last run's curves and scores for the tools that a team already watches. One way only."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from mmcore.evaluation.compare import flat, values
from mmcore.report.readers import curve_files, read_logged
from mmcore.workspace import Workspace, read_json, read_yaml


class Record(NamedTuple):
    """A run: its name, its numbers as (`stage/column`, step, value), its scores by `task.metric` and its settings by
    `section.key`."""

    run: str
    points: list[tuple[str, int, float]]
    scores: Mapping[str, float]
    settings: Mapping[str, str]


def export(workspace: Workspace, tool: str, to: str) -> str:
    """Write the curves and scores of the last run here where `tool` finds them; returns a line on what was written.

    `to`: for tensorboard a folder, for mlflow a tracking URI (a server's address, or `sqlite:///FILE`). LookupError for
    another tool, FileNotFoundError if nothing has been trained here, ValueError if the tool is not installed,
    RuntimeError if it refuses.
    """
    if tool not in TOOLS:
        raise LookupError(f"there is no export to '{tool}'; choose one of: {', '.join(TOOLS)}")
    record = read_record(workspace)
    if not record.points:
        raise FileNotFoundError(f"{workspace.artifacts / 'logs'} holds no curves; train something first: mmcore run")
    TOOLS[tool](record, to)
    return f"{len(record.points):,} points and {len(record.scores)} scores of {record.run}: {to}"


def read_record(workspace: Workspace) -> Record:
    """What the last run has left: all numbers of all trainings, no scores before an evaluation."""
    points = [
        (f"{path.parent.relative_to(workspace.artifacts / 'logs').as_posix()}/{column}", int(step), value)
        for paths in curve_files(workspace).values()
        for path in paths
        if path.is_file()
        for column, entries in read_logged(path).items()
        for step, value in entries
    ]
    run, metrics = workspace.artifacts / "run.json", workspace.evaluation / "metrics.json"
    return Record(
        read_json(run)["run"] if run.exists() else workspace.root.name,
        points,
        values(read_json(metrics)) if metrics.exists() else {},
        {key: str(value) for key, value in flat(read_yaml(workspace.params)).items()},
    )


def _tensorboard(record: Record, to: str) -> None:
    """Event files: one folder for the run, every stage's numbers under its name."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError("tensorboard is missing; in mmcore's checkout: pip install -e '.[tensorboard]'") from None
    with SummaryWriter(str(Path(to) / record.run)) as writer:
        for name, step, value in record.points:
            writer.add_scalar(name, value, step)
        for name, value in record.scores.items():
            writer.add_scalar(f"test/{name}", value)
        table = "\n".join(f"| {name} | {value} |" for name, value in record.settings.items())
        writer.add_text("settings", f"| setting | value |\n|---|---|\n{table}")


def _mlflow(record: Record, to: str) -> None:
    """One run of the experiment that is named like the project."""
    try:
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise ValueError("mlflow is missing; in mmcore's checkout: pip install -e '.[mlflow]'") from None
    metrics = [Metric(_plain(name), value, 0, step) for name, step, value in record.points]
    metrics += [Metric(_plain(f"test/{name}"), value, 0, 0) for name, value in record.scores.items()]
    params = [Param(_plain(name), value[:500]) for name, value in record.settings.items()]
    try:
        client = MlflowClient(tracking_uri=to)
        known = client.get_experiment_by_name(record.settings["name"])
        experiment = known.experiment_id if known else client.create_experiment(record.settings["name"])
        made = client.create_run(experiment, run_name=record.run).info.run_id
        # So many a server takes in one call.
        for start in range(0, len(metrics), 1000):
            client.log_batch(made, metrics=metrics[start : start + 1000])
        for start in range(0, len(params), 100):
            client.log_batch(made, params=params[start : start + 100])
        client.set_terminated(made)
    except MlflowException as error:
        raise RuntimeError(f"mlflow at {to} does not take the run: {error}") from error


def _plain(name: str) -> str:
    """The name without what MLflow does not take in one."""
    return name.replace("@", "_")


TOOLS: Mapping[str, Callable[[Record, str], None]] = {"tensorboard": _tensorboard, "mlflow": _mlflow}
