import json
import os
import resource
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from flows import steps
from mmcore import params, prefect_server, runs
from mmcore.data.importers import ImportOptions
from mmcore.data.importing import import_data
from mmcore.ledger import Ledger
from mmcore.report.readers import validation_folder
from mmcore.runs import FAILED, FINISHED, NOTHING_NEW, Run
from mmcore.stages import stage_names
from mmcore.workspace import Workspace, read_json, write_json
from tests.conftest import git
from tests.data.test_ingest import add
from tests.projects import copy_project, environment, mmcore, stop_server


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project of forty pictures that come in at `inbox`, and whose last run finished."""
    root = copy_project(tmp_path_factory.mktemp("runs") / "project")
    add(root / "inbox", *range(40))
    (root / ".git" / "info" / "exclude").write_text("/inbox/\n")
    import_data(
        root / "inbox", root / "data", format="imagefolder", options=ImportOptions(), replace=True
    )  # fmt: skip
    Ledger(root).add_data()
    params.change(root / "params.yaml", assignments=["data.source=inbox", "data.format=imagefolder"])
    params.rename(root, "pictures")
    git(root, "commit", "--quiet", "-am", "pictures")
    finish_a_run(root)
    yield root
    stop_server(root)


def finish_a_run(root: Path) -> None:
    """The record of a run whose outputs are empty folders: DVC writes the lock, as after a real one."""
    assert mmcore(root, "stage", "code").returncode == 0
    run = Run(Workspace(root))
    for name in (
        "validated",
        "prepared",
        "pretrained",
        "evaluation",
        "reference",
        *(f"tasks/{t}" for t in run.settings.tasks),
    ):
        (root / "artifacts" / name).mkdir(parents=True, exist_ok=True)
        (root / "artifacts" / name / "made").write_text(name)
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "commit", "--force", *stages(run)], cwd=root, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run.end(FINISHED)
    (root / "dvc.lock").unlink()


def stages(run: Run) -> list[str]:
    return [name for name in stage_names(run.settings) if name != "code"]


def test_the_record_says_which_step_is_at_work_and_whose_process_it_is(project: Path) -> None:
    run = Run(Workspace(project))
    run.begin("prepare")
    record = read_json(run.folder / "run.json")
    assert (record["now"]["name"], record["process"]) == ("prepare", os.getpid())
    assert record["planned"] == stage_names(run.settings)
    with steps.step(run, "pretrain"):
        assert read_json(run.folder / "run.json")["now"]["name"] == "pretrain"
    record = read_json(run.folder / "run.json")
    assert (record["now"], record["stages"][0]["state"]) == (None, "done")
    run.end(FAILED)


def news(root: Path) -> list[str]:
    assert mmcore(root, "stage", "code").returncode == 0
    run = Run(Workspace(root))
    found = [f"{change.stage}: {'; '.join(change.reasons)}" for change in run.news(stages(run))]
    run.end(FAILED)
    return found


def test_all_that_a_run_would_read_is_what_the_last_finished_one_read(project: Path):
    assert news(project) == []


def test_new_settings_new_code_and_new_data_are_news(project: Path):
    try:
        params.change(project / "params.yaml", assignments=["seed=7"])
        assert news(project) == ["run: its settings are new"]
        git(project, "checkout", "params.yaml")
        with open(project / "mmcore" / "tasks" / "captioning.py", "a") as source:
            source.write("\nANSWER = 42\n")
        assert {line.partition(":")[0] for line in news(project)} == {"finetune@captioning", "evaluate"}
        git(project, "checkout", "mmcore")
        (project / "data" / "note.txt").write_text("more")
        assert "validate: data is modified" in news(project)
    finally:
        git(project, "checkout", "params.yaml", "mmcore")
        (project / "data" / "note.txt").unlink(missing_ok=True)


def test_before_the_first_run_everything_is_news(toy: Path):
    (toy / "params.yaml").write_bytes((Path(__file__).parents[1] / "params.yaml").read_bytes())
    assert [change.reasons for change in Run(Workspace(toy)).news(["double"])] == [["no run has finished yet"]]


def test_a_run_says_how_it_ended(project: Path):
    run = Run(Workspace(project))
    assert runs.find(run.workspace, run.name)["state"] == "running"
    run.end(FAILED)
    assert runs.find(run.workspace, run.name)["state"] == "failed"
    assert not (run.folder / "dvc.lock").exists()


def test_an_undone_failure_is_not_a_stages_last_word(project: Path):
    workspace = Workspace(project)
    logs = workspace.logs("validate")
    write_json(logs / "summary.json", {})
    write_json(logs / "status.json", {"state": "failed", "reason": "the split 'test' has no samples", "error": ""})
    assert validation_folder(workspace) == logs
    last = next(folder for folder in (project / ".mmcore" / "runs").iterdir() if (folder / "dvc.lock").is_file())
    shutil.copy(last / "dvc.lock", project)
    try:
        with disable_run_logger():
            steps._reproduce(Run(workspace), "validate")  # unchanged, so the stage itself says nothing
    finally:
        (project / "dvc.lock").unlink()
        shutil.rmtree(workspace.artifacts / "logs")
    assert validation_folder(workspace) == workspace.validated


# The flow, as a deployment starts it ----------------------------------------------------------------------------------


def scheduled(root: Path) -> tuple[str, dict[str, Any], float]:
    """Run the flow as the nightly deployment does; Prefect's name of its last state, our record, and the seconds of a
    processor that it took (the clock's would count what else the machine does)."""
    start = "from pathlib import Path; from mmcore import prefect_server as p; from mmcore.workspace import Workspace\n"
    start += "w = Workspace(Path.cwd()); print(p.wait(p.start(w), w).api)"
    api = subprocess.run(
        [sys.executable, "-c", start], cwd=root, env=environment(root), capture_output=True, text=True, check=True
    ).stdout.strip()
    client = environment(root) | prefect_server.environment(Workspace(root), api)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "flows.retrain"], cwd=root, capture_output=True, text=True, check=False,
        env=client | {"PREFECT__RUNTIME__DEPLOYMENT__ID": "nightly"},
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    question = urllib.request.Request(
        f"{api}/flow_runs/filter", json.dumps({"sort": "START_TIME_DESC", "limit": 1}).encode(),
        {"Content-Type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(question, timeout=10) as answer:
        (flow_run,) = json.loads(answer.read())
    newest = sorted((root / ".mmcore" / "runs").iterdir())[-1]
    print(done.stdout, done.stderr)
    return flow_run["state"]["name"], read_json(newest / "run.json"), seconds


def branches(root: Path) -> list[str]:
    return git(root, "branch", "--list", "mmcore/*", "--format=%(refname:short)", "--sort=refname").split()


@pytest.mark.prefect
def test_with_nothing_new_a_scheduled_run_ends_at_once_in_a_state_of_its_own(project: Path):
    state, record, seconds = scheduled(project)
    assert (state, record["state"]) == ("Nothing new", NOTHING_NEW)
    assert {step["name"] for step in record["stages"]} == {"data", "ingest", "plan"}
    assert seconds < 20
    assert not list((project / ".mmcore" / "workspaces").iterdir())
    assert branches(project) == []


@pytest.mark.prefect
def test_what_scheduled_runs_take_in_is_a_branch_for_a_person_to_merge(project: Path):
    """These runs fail in `check`, since no task can be learned from such pictures; the new rows are not lost."""
    before = git(project, "rev-parse", "HEAD"), (project / "data.dvc").read_bytes()
    add(project / "inbox", 40, 41, 42)
    state, record, _ = scheduled(project)
    assert (state, record["state"]) == ("Failed", FAILED)
    (first,) = branches(project)
    assert first == f"mmcore/ingest-{record['run']}"
    assert git(project, "diff", "--name-only", "HEAD", first) == "data.dvc\n"
    assert "3 new rows" in git(project, "log", "-1", "--format=%s", first)

    add(project / "inbox", 43)
    scheduled(project)
    second = branches(project)[-1]
    assert git(project, "rev-parse", f"{second}~") == git(project, "rev-parse", first)
    assert "1 new row " in git(project, "log", "-1", "--format=%s", second)
    assert (git(project, "rev-parse", "HEAD"), (project / "data.dvc").read_bytes()) == before
    assert git(project, "status", "--short") == ""

    git(project, "merge", "--quiet", second)
    assert Ledger(project).data_state() == "changed"
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "checkout", "data.dvc"], cwd=project, capture_output=True, check=False
    )
    assert done.returncode == 0
    manifest = read_json(project / "data" / "manifest.json")
    assert sum(shard["rows"] for shard in manifest["shards"]) == 44


@pytest.mark.prefect
def test_while_one_retrain_works_another_waits_whatever_deployment_it_belongs_to(
    toy: Path, monkeypatch: pytest.MonkeyPatch
):
    from prefect.logging import disable_run_logger

    from flows import workspaces

    monkeypatch.setenv("MMCORE_PROJECT", str(toy))
    monkeypatch.setattr(workspaces, "PATIENCE_SECONDS", 0.0)

    def retrain(name: str) -> AbstractContextManager[Workspace]:
        monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__NAME", name)
        return workspaces.fresh_workspace(None, [])

    with disable_run_logger():
        with retrain("nightly") as work:
            assert work.root.name == "nightly"
            with pytest.raises(BlockingIOError, match="the retrain nightly"), retrain("manual"):
                pass
            assert not (toy / ".mmcore" / "workspaces" / "manual").exists()
        with retrain("manual") as work:
            assert work.root.name == "manual"
