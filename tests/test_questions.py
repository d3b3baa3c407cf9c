import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmcore import params, prefect_server, questions
from mmcore.evaluation import gate
from mmcore.evaluation.gate import Decision, Verdict
from mmcore.questions import Question
from mmcore.workspace import Workspace, read_json
from tests.conftest import ROOT, git
from tests.projects import environment, mmcore, stop_server

ADA = Decision(True, "Ada", "it reads well", "2030-01-02T03:04:05+00:00")
NO = Decision(False, "Ben", "too few birds", "2030-01-03T03:04:05+00:00")


def passed(candidate: str = "9c1f") -> Verdict:
    return Verdict("promote", ["captioning.bleu4 is 9.00"], [], "v0.1.0", candidate)


def asked(workspace: Workspace, run: str, verdict: Verdict) -> Question:
    question = Question(run, questions.about(verdict), "7d7c1f6e-0000-0000-0000-000000000000", "2030-01-02")
    questions.ask(workspace, question)
    return question


def test_a_decision_counts_for_its_verdict_and_no_other_and_the_last_one_does(tmp_path: Path):
    workspace = Workspace(tmp_path)
    questions.decide(workspace, asked(workspace, "a", passed()), ADA)
    asked(workspace, "b", passed("another"))
    assert questions.decision_on(workspace, questions.about(passed())) == ADA
    assert questions.decision_on(workspace, questions.about(passed("another"))) is None
    questions.decide(workspace, asked(workspace, "c", passed()), NO)
    assert questions.decision_on(workspace, questions.about(passed())) == NO


def test_the_question_that_is_meant_is_the_only_one_or_is_named(tmp_path: Path):
    workspace = Workspace(tmp_path)
    with pytest.raises(LookupError, match=r"no run waits for a decision; with gate\.ask"):
        questions.find(workspace, None)
    first = asked(workspace, "a", passed())
    assert questions.find(workspace, None) == first
    second = asked(workspace, "b", passed("another"))
    with pytest.raises(LookupError, match="name the one that you mean: b, a"):
        questions.find(workspace, None)
    assert questions.find(workspace, "a") == first
    with pytest.raises(LookupError, match="no question of a run 'x'; unanswered are: b, a"):
        questions.find(workspace, "x")
    questions.decide(workspace, first, ADA)
    assert questions.find(workspace, None) == second
    questions.withdraw(workspace, second)
    assert questions.unanswered(workspace) == []


# A flow that waits, and those who answer it ---------------------------------------------------------------------------

FLOW = """
from pathlib import Path
from prefect import flow
from flows import asking, steps
from mmcore.evaluation import gate
from mmcore.runs import Run
from mmcore.workspace import Workspace

@flow(name="retrain")
def retrain() -> str:
    run = Run(Workspace(Path.cwd()))
    gate.write(gate.Verdict("promote", ["because"], [], "v0.1.0", "CANDIDATE"), run.workspace.verdict)
    return asking.ask(run)

raise SystemExit(steps.quietly(retrain))
"""


class Project:
    """A project with a Prefect server, in which every flow asks about one candidate."""

    def __init__(self, root: Path) -> None:
        self.root, self.workspace = root, Workspace(root)
        self.flows: list[subprocess.Popen[str]] = []
        shutil.copy(ROOT / "params.yaml", root)
        for name in ("flows", "mmcore"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        (root / ".dvc").mkdir()
        shutil.copy(ROOT / ".dvc" / "config", root / ".dvc")
        (root / ".gitignore").write_text("/.mmcore/\n/artifacts/\n/.dvc/tmp\n__pycache__/\n")
        params.change(root / "params.yaml", assignments=["gate.ask=true"])
        git(root, "init", "--quiet")
        git(root, "add", "-A")
        git(root, "commit", "--quiet", "-m", "start")
        git(root, "config", "user.name", "Cleo")
        # In a process of its own: the server outlives its Popen.
        start = "from pathlib import Path; from mmcore import prefect_server as p\n"
        start += "w = p.Workspace(Path.cwd()); print(p.wait(p.start(w), w).api)"
        self.api = subprocess.run(
            [sys.executable, "-c", start], cwd=root, env=environment(root), stdout=subprocess.PIPE, text=True,
            check=True,
        ).stdout.strip()  # fmt: skip

    def start(self, candidate: str) -> "subprocess.Popen[str]":
        server = prefect_server.environment(self.workspace, self.api)
        flow = subprocess.Popen(
            [sys.executable, "-c", FLOW.replace("CANDIDATE", candidate)], cwd=self.root,
            env=environment(self.root) | server, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.flows.append(flow)
        return flow

    def wait(self, flow: "subprocess.Popen[str]") -> Question:
        """The question of the flow, once Prefect has paused it."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert flow.poll() is None, flow.communicate()[0]
            for question in questions.unanswered(self.workspace):
                record = read_json(self.workspace.state / "runs" / question.run / "run.json")
                if record["process"] == flow.pid and self.state(question) == "Paused":
                    return question
            time.sleep(0.2)
        raise AssertionError("the flow does not ask")

    def state(self, question: Question) -> str:
        return str(self.ask_prefect(f"flow_runs/{question.flow_run}")["state"]["name"])

    def resume(self, question: Question, **answer: Any) -> Any:
        """What the form in the UI sends."""
        return self.ask_prefect(f"flow_runs/{question.flow_run}/resume", {"run_input": answer})

    def ask_prefect(self, path: str, content: object = None) -> Any:
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"{self.api}/{path}", body, {"Content-Type": "application/json"})
        while True:
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return json.loads(answer.read())
            except urllib.error.HTTPError as error:
                if error.code != 503:  # its database is busy: Prefect's own clients ask again, too
                    raise
            time.sleep(0.5)

    def ended(self, flow: "subprocess.Popen[str]") -> tuple[str, Verdict]:
        output, _ = flow.communicate(timeout=60)
        assert flow.returncode == 0, output
        return output, gate.read(self.workspace.verdict)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    root = tmp_path_factory.mktemp("asking")
    project = Project(root)
    yield project
    for flow in project.flows:  # one whose test failed would wait for hours
        if flow.poll() is None:
            kill(flow)
    stop_server(root)


def kill(flow: "subprocess.Popen[str]") -> None:
    os.killpg(flow.pid, signal.SIGKILL)
    flow.communicate()


@pytest.mark.prefect
def test_a_run_waits_and_goes_on_with_what_is_said_in_the_ui(project: Project):
    flow = project.start("first")
    question = project.wait(flow)
    while_waiting = gate.read(project.workspace.verdict)
    assert (while_waiting.verdict, while_waiting.decision) == ("waiting", None)
    page = project.workspace.report.read_text()
    assert "a person decides whether it is released" in page
    assert "mmcore run decline" in page
    assert project.resume(question, approve=True, by="", reason="")["status"] == "REJECT"  # nobody is no name
    project.resume(question, approve=True, by="Ada", reason="it reads well")
    output, verdict = project.ended(flow)
    assert "mmcore run approve" in output
    assert question.flow_run in output
    assert verdict.verdict == "promote"
    assert verdict.decision is not None
    assert (verdict.decision.by, verdict.decision.reason) == ("Ada", "it reads well")
    assert verdict.reasons[0].startswith("Approved by Ada at 20")
    assert project.state(question) == "Completed"


@pytest.mark.prefect
def test_a_run_goes_on_with_what_is_said_on_the_command_line(project: Project):
    flow = project.start("second")
    project.wait(flow)
    refused = mmcore(project.root, "run", "decline")
    assert refused.returncode == 2
    assert "--reason" in refused.stderr
    done = mmcore(project.root, "run", "decline", "--reason", "too few birds")
    assert done.stdout.startswith("Declined by Cleo at 20"), done.stderr
    _, verdict = project.ended(flow)
    assert verdict.verdict == "declined"
    assert verdict.decision is not None
    assert (verdict.decision.by, verdict.decision.reason) == ("Cleo", "too few birds")
    # It is not asked again; who changes their mind says so.
    assert project.ended(project.start("second"))[1] == verdict
    run = verdict_run(project)
    assert mmcore(project.root, "run", "approve", run, "--by", "Ada").returncode == 0
    assert project.ended(project.start("second"))[1].verdict == "promote"


def verdict_run(project: Project) -> str:
    """The run whose question was answered last."""
    return max(path.parent.name for path in project.workspace.state.glob("runs/*/decision.json"))


@pytest.mark.prefect
def test_what_was_said_to_a_run_that_was_killed_while_it_waited_counts(project: Project):
    flow = project.start("third")
    question = project.wait(flow)
    kill(flow)
    project.resume(question, approve=True, by="Ada", reason="")
    _, verdict = project.ended(project.start("third"))
    assert verdict.verdict == "promote"
    assert verdict.decision is not None
    assert verdict.decision.by == "Ada"
    flow = project.start("fourth")
    project.wait(flow)
    kill(flow)
    assert mmcore(project.root, "run", "decline", "--reason", "no").returncode == 0
    assert project.ended(project.start("fourth"))[1].verdict == "declined"


@pytest.mark.prefect
def test_a_run_after_one_that_was_killed_asks_anew_and_takes_the_old_question_back(project: Project):
    flow = project.start("fifth")
    first = project.wait(flow)
    kill(flow)
    flow = project.start("fifth")
    second = project.wait(flow)
    assert second.run != first.run
    assert questions.unanswered(project.workspace) == [second]
    assert project.state(first) == "Cancelled"
    project.resume(second, approve=False, by="Ben")
    assert project.ended(flow)[1].verdict == "declined"


@pytest.mark.prefect
def test_without_an_answer_in_time_nothing_is_released(project: Project):
    params.change(project.root / "params.yaml", assignments=["gate.ask_hours=0.002"])
    try:
        flow = project.start("sixth")
        question = project.wait(flow)
        _, verdict = project.ended(flow)
    finally:
        git(project.root, "checkout", "params.yaml")
    assert (verdict.verdict, verdict.decision) == ("unanswered", None)
    assert verdict.reasons[0] == f"Nobody answered until {question.until}."
    assert project.state(question) == "Completed"
    assert questions.unanswered(project.workspace) == []
