import csv
import shutil
from pathlib import Path

import pytest

from mmcore.commands.run_export import export, read_record
from mmcore.workspace import Workspace, write_json
from tests.conftest import ROOT


@pytest.fixture
def trained(tmp_path: Path) -> Workspace:
    """A project that has pretrained and been evaluated; step 20 was taken again after an interruption."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    workspace = Workspace(tmp_path)
    for stage, rows in {
        "pretrain": [(10, 4.0, ""), (20, 3.5, ""), (20, 3.25, ""), (20, "", 3.0)],
        "finetune@captioning": [(10, 1.0, "")],
    }.items():  # fmt: skip
        workspace.logs(stage).mkdir(parents=True)
        with open(workspace.logs(stage) / "curves.csv", "w", newline="") as file:
            csv.writer(file).writerows([("step", "caption", "validation"), *rows])
    write_json(workspace.evaluation / "metrics.json", {"captioning": {"bleu4": {"value": 41.5, "baseline": 12.0}}})
    write_json(workspace.artifacts / "run.json", {"run": "20260101-000000-abcd", "stages": []})
    return workspace


def test_of_a_step_that_was_taken_twice_the_later_one_counts(trained: Workspace) -> None:
    assert read_record(trained).points == [
        ("pretrain/caption", 10, 4.0),
        ("pretrain/caption", 20, 3.25),
        ("pretrain/validation", 20, 3.0),
        ("finetune@captioning/caption", 10, 1.0),
    ]


def test_every_training_of_a_task_is_exported(trained: Workspace) -> None:
    told = "members: {}\n    task: {{name: captioning"
    trained.params.write_text(trained.params.read_text().replace(told.format(1), told.format(2)))
    folder = trained.logs("finetune@captioning")
    shutil.copytree(folder, folder / "member-1")
    assert read_record(trained).points[-1] == ("finetune@captioning/member-1/caption", 10, 1.0)


def test_tensorboard_shows_curves_and_scores(trained: Workspace, tmp_path: Path) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert "4 points and 1 scores of 20260101-000000-abcd" in export(trained, "tensorboard", str(tmp_path / "events"))
    events = loader.EventAccumulator(str(tmp_path / "events" / "20260101-000000-abcd"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("pretrain/caption")] == [(10, 4.0), (20, 3.25)]
    assert events.Scalars("test/captioning.bleu4")[0].value == 41.5


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::sqlalchemy.exc.SADeprecationWarning")
def test_mlflow_has_a_run_with_settings_curves_and_scores(trained: Workspace, tmp_path: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    to = f"sqlite:///{tmp_path}/mlflow.db"
    export(trained, "mlflow", to)
    client = tracking.MlflowClient(tracking_uri=to)
    experiment = client.get_experiment_by_name("digitworld")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "20260101-000000-abcd"
    assert run.data.params["pretrain.optim.batch_size"] == "64"
    assert run.data.metrics["test/captioning.bleu4"] == 41.5
    history = client.get_metric_history(run.info.run_id, "pretrain/caption")
    assert [(entry.step, entry.value) for entry in history] == [(10, 4.0), (20, 3.25)]


def test_another_tool_and_a_project_without_a_training_are_named(trained: Workspace) -> None:
    with pytest.raises(LookupError, match="no export to 'wandb'; choose one of: tensorboard, mlflow"):
        export(trained, "wandb", "x")
    shutil.rmtree(trained.artifacts / "logs")
    with pytest.raises(FileNotFoundError, match="holds no curves; train something first: mmcore run"):
        export(trained, "mlflow", "x")
