"""`mmcore run export`: the last run's curves and scores for the tools that a team already watches. One way only."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mmcore.registry import Table
from mmcore.workspace import Workspace, read_json, read_yaml

TOOLS: Table[Any] = Table("tool to export to")


class Point(NamedTuple):
    """A number of a stage at a step: `pretrain`, `caption`, 120, 3.1."""

    stage: str
    name: str
    step: int
    value: float


def export(workspace: Workspace, tool: str, to: str) -> str:
    """Write the curves and scores of the last run here where `tool` finds them; returns a line on what was written.

    `to`: for tensorboard a folder, for mlflow a tracking URI (a server's address, or `sqlite:///FILE`). LookupError for
    another tool, FileNotFoundError if nothing has been trained here, ValueError if the tool is not installed,
    RuntimeError if it refuses.
    """
    write = TOOLS.build({"name": tool})
    points = list(curves(workspace))
    if not points:
        raise FileNotFoundError(f"{workspace.artifacts / 'logs'} holds no curves; train something first: mmcore run")
    record = workspace.artifacts / "run.json"
    name = read_json(record)["run"] if record.exists() else workspace.root.name
    scores = scores_of(workspace)
    write(name, points, scores, _flat(read_yaml(workspace.params)), to)
    return f"{len(points):,} points of {len({point.stage for point in points})} trainings, {len(scores)} scores: {to}"


def curves(workspace: Workspace) -> Iterator[Point]:
    """Every number that trainings have logged, of a step that was taken twice the later one."""
    for path in sorted((workspace.artifacts / "logs").glob("*/curves.csv")):
        found: dict[tuple[str, int], float] = {}
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                step = int(row.pop("step"))
                found |= {(name, step): float(value) for name, value in row.items() if value}
        for (name, step), value in found.items():
            yield Point(path.parent.name, name, step, value)


def scores_of(workspace: Workspace) -> dict[str, float]:
    """The scores on the test split by `task.metric`; empty before an evaluation."""
    path = workspace.evaluation / "metrics.json"
    if not path.exists():
        return {}
    tasks = read_json(path).items()
    return {f"{task}.{metric}": score["value"] for task, scores in tasks for metric, score in scores.items()}


def _flat(settings: Any, above: str = "") -> dict[str, str]:
    if not isinstance(settings, dict):
        return {above: str(settings)}
    return {
        key: value
        for name, part in settings.items()
        for key, value in _flat(part, f"{above}.{name}" if above else str(name)).items()
    }


@TOOLS.add("tensorboard")
class TensorBoard:
    """Event files: one folder for the run, every stage's numbers under its name."""

    def __call__(
        self, run: str, points: list[Point], scores: dict[str, float], settings: dict[str, str], to: str
    ) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ValueError("tensorboard is not installed: pip install 'mmcore[tensorboard]'") from None
        with SummaryWriter(str(Path(to) / run)) as writer:
            for point in points:
                writer.add_scalar(f"{point.stage}/{point.name}", point.value, point.step)
            for name, value in scores.items():
                writer.add_scalar(f"test/{name}", value)
            table = "\n".join(f"| {name} | {value} |" for name, value in settings.items())
            writer.add_text("settings", f"| setting | value |\n|---|---|\n{table}")


@TOOLS.add("mlflow")
class Mlflow:
    """One run of the experiment that is named like the project."""

    # So many a server takes in one call.
    METRICS, PARAMS = 1000, 100

    def __call__(
        self, run: str, points: list[Point], scores: dict[str, float], settings: dict[str, str], to: str
    ) -> None:
        try:
            from mlflow.entities import Metric, Param
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient
        except ImportError:
            raise ValueError("mlflow is not installed: pip install 'mmcore[mlflow]'") from None
        metrics = [Metric(_plain(f"{p.stage}/{p.name}"), p.value, 0, p.step) for p in points]
        metrics += [Metric(_plain(f"test/{name}"), value, 0, 0) for name, value in scores.items()]
        params = [Param(_plain(name), value[:500]) for name, value in settings.items()]
        try:
            client = MlflowClient(tracking_uri=to)
            known = client.get_experiment_by_name(settings["name"])
            experiment = known.experiment_id if known else client.create_experiment(settings["name"])
            made = client.create_run(experiment, run_name=run).info.run_id
            for start in range(0, len(metrics), self.METRICS):
                client.log_batch(made, metrics=metrics[start : start + self.METRICS])
            for start in range(0, len(params), self.PARAMS):
                client.log_batch(made, params=params[start : start + self.PARAMS])
            client.set_terminated(made)
        except MlflowException as error:
            raise RuntimeError(f"mlflow at {to} does not take the run: {error}") from error


def _plain(name: str) -> str:
    """The name without what MLflow does not take in one."""
    return name.replace("@", "_")
