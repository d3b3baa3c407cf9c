"""The whole chain as a person runs it, in miniature: real Prefect, DVC, Great Expectations and BentoML."""

import contextlib
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmcore import params, questions, releases, stages
from mmcore.workspace import Workspace, hash_file, read_json
from tests.conftest import git
from tests.faults import chain
from tests.projects import copy_project, environment, mmcore, stop_server

pytestmark = pytest.mark.chain


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose first run has been released."""
    root = copy_project(tmp_path_factory.mktemp("chain") / "project")
    try:
        done = mmcore(root, *chain.RUN)
        assert done.returncode == 0, done.stdout + done.stderr
        (root / "first.txt").write_text(done.stdout)
        git(root, "add", "params.yaml")
        git(root, "commit", "--quiet", "-m", "nano")
        (root / "first.txt").rename(root / ".mmcore" / "first.txt")
        yield root
    finally:
        stop_server(root)


def plan(root: Path) -> list[str]:
    """The stages that a run would bring up to date."""
    return re.findall(r"→ (\S+)", mmcore(root, "plan").stdout)


def test_the_first_run_ends_with_a_release_and_a_report(project: Path):
    output = (project / ".mmcore" / "first.txt").read_text()
    champion = releases.champion(project, "digitworld")
    assert champion is not None
    assert champion.version == "v0.1.0"
    assert read_json(project / "artifacts" / "verdict.json")["verdict"] == "promote"
    for word in ("validate", "pretrain", "finetune@captioning", "smoke_test", "release", "bleu4", "promote"):
        assert word in output
    page = (project / "artifacts" / "report" / "index.html").read_text()
    assert "v0.1.0" in page


def test_the_release_holds_the_models_that_were_judged(project: Path, tmp_path: Path):
    champion = releases.champion(project, "digitworld")
    assert champion is not None
    words = ["artifacts", "get", str(project), "digitworld", "--stage", "champion", "--out", "got"]
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    from mmcore.evaluation.gate import model_hash

    assert model_hash(tmp_path / "got", ["retrieval", "captioning", "summarisation"]) == champion.model_hash


def test_a_pretraining_can_start_from_the_champion(project: Path):
    settings = params.load(project / "params.yaml")
    warm = dataclasses.replace(settings, pretrain=dataclasses.replace(settings.pretrain, init="champion"))
    workspace = Workspace(project)
    for _ in range(2):
        start = stages._start(workspace, warm, "pretrain")
        assert start is not None
        assert hash_file(start / "model.safetensors") == hash_file(workspace.pretrained / "model.safetensors")
    assert stages._start(workspace, dataclasses.replace(warm, name="nothing-yet"), "pretrain") is None
    shutil.rmtree(start)


def test_a_second_run_does_nothing_and_leaves_the_checkout_clean(project: Path):
    before = (project / "dvc.lock").read_bytes()
    done = mmcore(project, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    states = {step["name"]: step["state"] for step in read_json(project / "artifacts" / "run.json")["stages"]}
    assert {state for name, state in states.items() if name not in ("gate", "report")} == {"unchanged"}
    assert read_json(project / "artifacts" / "verdict.json")["verdict"] == "unchanged"
    assert (project / "dvc.lock").read_bytes() == before
    assert git(project, "status", "--short") == "?? dvc.lock\n"
    assert len(git(project, "tag").split()) == 2


def test_a_changed_setting_concerns_its_stage_and_those_after_it(project: Path):
    try:
        params.change(project / "params.yaml", assignments=["finetune.captioning.optim.lr=7.0e-4"])
        assert "finetune.captioning" in mmcore(project, "plan").stdout
        assert plan(project) == ["finetune@captioning", "evaluate", "reference"]
    finally:
        git(project, "checkout", "params.yaml")


def test_a_comment_concerns_nothing_and_a_statement_its_stages(project: Path):
    source = project / "mmcore" / "tasks" / "captioning.py"
    try:
        source.write_text(source.read_text() + "\n# A comment.\n")
        assert plan(project) == []
        source.write_text(source.read_text() + "\nANSWER = 42\n")
        assert plan(project) == ["finetune@captioning", "evaluate", "reference"]
    finally:
        git(project, "checkout", "mmcore")


@pytest.mark.parametrize("stage", ["prepare", "reference"])
def test_a_stage_leaves_the_same_bytes_twice(project: Path, stage: str):
    done = mmcore(project, "stage", stage)
    assert done.returncode == 0, done.stderr
    assert plan(project) == []


def test_a_candidate_that_loses_is_rejected_and_a_task_without_rows_is_skipped(project: Path):
    champion, lock = releases.champion(project, "digitworld"), (project / "dvc.lock").read_bytes()
    try:
        done = mmcore(
            project, "run", "--set", "finetune.summarisation.optim.lr=1.0e-6",
            "--set", "gate.max_loss={summarisation.rougeL: -100.0}", "--set", "gate.min_over_baseline={}",
            "--set", "tasks=[retrieval, captioning, summarisation, sentiment]",
            "--set", "finetune.sentiment.task.inputs=[image, video]",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        verdict = read_json(project / "artifacts" / "verdict.json")
        assert verdict["verdict"] == "reject"
        assert "summarisation.rougeL" in verdict["reasons"][0]
        assert "reject" in done.stdout
        assert "skipped: no row of train, validation, test has image and video and labels" in done.stdout
        assert "Sentiment: skipped, no row of" in (project / "artifacts" / "report" / "index.html").read_text()
        assert "sentiment" not in read_json(project / "artifacts" / "evaluation" / "metrics.json")
        assert releases.champion(project, "digitworld") == champion
        assert len(git(project, "for-each-ref", "refs/exps").splitlines()) >= 2
    finally:
        git(project, "checkout", "params.yaml")
        # DVC keeps what it knows of stages that are gone.
        (project / "dvc.lock").write_bytes(lock)
        shutil.rmtree(project / "artifacts" / "tasks" / "sentiment")


def test_where_the_gate_asks_a_person_releases_and_a_kill_while_it_waits_costs_nothing(project: Path):
    workspace, lock = Workspace(project), (project / "dvc.lock").read_bytes()
    words = ["--set", "gate.ask=true", "--set", "finetune.captioning.optim.lr=7.0e-4", "--set", "gate.max_loss={}"]
    run = subprocess.Popen(
        [sys.executable, "-m", "mmcore", "run", *words], cwd=project, env=environment(project),
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not questions.unanswered(workspace):
            assert run.poll() is None, "it ended without asking"
            time.sleep(0.2)
        assert read_json(workspace.verdict)["verdict"] == "waiting"
        chain.kill(run, "group")
        assert [release.version for release in releases.releases(project, "digitworld")] == ["v0.1.0"]
        said = mmcore(project, "run", "approve", "--by", "Ada", "--reason", "it reads well")
        assert said.stdout.startswith("Approved by Ada"), said.stderr
        done = mmcore(project, "run")
        assert done.returncode == 0, done.stdout + done.stderr
        states = {step["name"]: step["state"] for step in read_json(project / "artifacts" / "run.json")["stages"]}
        assert states["finetune@captioning"] == "unchanged"
        champion = releases.champion(project, "digitworld")
        assert champion is not None
        assert champion.version == "v0.2.0"
        assert "Approved by Ada" in git(project, "log", "-1", "--format=%B", champion.commit)
        assert read_json(workspace.verdict)["decision"]["reason"] == "it reads well"
        assert "Approved by Ada" in workspace.report.read_text()
    finally:
        if run.poll() is None:  # it would wait for hours
            os.killpg(run.pid, signal.SIGKILL)
        git(project, "checkout", "params.yaml")
        (project / "dvc.lock").write_bytes(lock)
    git(project, "tag", "-d", "digitworld@v0.2.0", "digitworld#champion#2")


def test_two_runs_or_releases_are_compared_side_by_side(project: Path):
    names = sorted(path.name for path in (project / ".mmcore" / "runs").iterdir())
    saved = [ref.rsplit("/", 1)[1] for ref in git(project, "for-each-ref", "--format=%(refname)", "refs/exps").split()]
    first, last = (name for name in (names[0], names[-1]) if name in saved)
    done = mmcore(project, "run", "compare", first, last)
    assert done.returncode == 0, done.stderr
    assert "finetune.captioning.optim.lr" in done.stdout


def test_a_second_run_in_one_checkout_is_refused(project: Path):
    from mmcore.workspace import run_lock

    with run_lock(project / ".mmcore" / "run.lock", "another run"):
        done = mmcore(project, "run")
    assert done.returncode == 1
    assert "is at work in this folder" in done.stdout + done.stderr


def test_a_flipped_byte_in_a_shard_stops_the_run_by_name(project: Path):
    shard = sorted((project / "data" / "test").glob("*.parquet"))[0]
    content = bytearray(shard.read_bytes())
    whole = bytes(content)
    content[len(content) // 2] ^= 1
    shard.unlink()
    shard.write_bytes(content)
    try:
        done = mmcore(project, "run")
        assert done.returncode == 1
        assert "data/ is not what data.dvc names" in done.stdout + done.stderr
        done = mmcore(project, "stage", "validate")
        assert done.returncode == 1
        assert shard.name in done.stderr
    finally:
        shard.unlink()
        shard.write_bytes(whole)


def test_a_scheduled_run_works_in_a_workspace_of_its_own(project: Path):
    settings = (project / "params.yaml").read_bytes()
    worker = subprocess.Popen(
        [sys.executable, "-m", "mmcore", "schedule"], cwd=project, env=environment(project), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    script = (
        "from prefect.deployments import run_deployment\n"
        "settings = {'settings': ['evaluate.derangements=3']}\n"
        "run = run_deployment('retrain/manual', parameters=settings, timeout=240, poll_interval=1)\n"
        "print(run.state.type.value, run.state.message)"
    )
    try:
        record = read_json(project / ".mmcore" / "prefect" / "server.json")
        client = environment(project) | {"PREFECT_API_URL": f"http://127.0.0.1:{record['port']}/api"}
        deadline = time.monotonic() + 90
        while True:
            done = subprocess.run(
                [sys.executable, "-c", script], env=client, capture_output=True, text=True, check=False
            )
            if done.returncode == 0 or time.monotonic() > deadline:
                break
        assert done.stdout.startswith("COMPLETED"), done.stdout + done.stderr
    finally:
        os.killpg(worker.pid, signal.SIGTERM)
        worker.wait(timeout=60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
    assert (project / "params.yaml").read_bytes() == settings
    assert not list((project / ".mmcore" / "workspaces").iterdir())
    assert git(project, "status", "--short") == "?? dvc.lock\n"


def test_a_killed_run_goes_on_and_dvc_alone_writes_the_same_lock(project: Path):
    """One trial of `make faults-chain`, ended by `dvc repro` with no Prefect at all."""
    mmcore(project, "run")
    lock = (project / "dvc.lock").read_bytes()
    assert "killed at" in chain.trial(project, lock, "group", 20.0)
    chain.forget(project)
    activated = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["dvc", "repro"], cwd=project, env=environment(project) | activated, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project / "dvc.lock").read_bytes() == lock


def test_a_project_of_ones_own_plans_the_same_chain(project: Path, tmp_path: Path):
    made = mmcore(project, "init", str(tmp_path / "own"))
    assert made.returncode == 0, made.stderr
    own = tmp_path / "own"
    git(own, "add", "-A")
    git(own, "commit", "--quiet", "-m", "start")
    assert plan(own)[1:] == plan(project) or "validate" in plan(own)
    again = mmcore(project, "init", str(own))
    assert again.returncode == 1
    assert "is not empty" in again.stderr
