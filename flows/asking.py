"""A person decides: the flow pauses before a release and waits for an answer.

It is given in the Prefect UI (Resume), or by `mmcore run approve` and `mmcore run decline`, which enter it in the run's
folder and call this module to wake the flow: `python -m flows.asking RUN`. A run that is killed while it waits is
simply run again: what was said meanwhile counts, else it asks anew and takes the earlier question back.
"""

import contextlib
import math
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.exceptions import FlowPauseTimeout, NotPausedError, ObjectNotFound
from prefect.flow_runs import pause_flow_run, resume_flow_run
from prefect.input import RunInput, read_flow_run_input
from prefect.input.run_input import keyset_from_base_key
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Running
from pydantic import Field

from flows.steps import named, step
from mmcore import questions
from mmcore.console import console
from mmcore.evaluation import gate as gates
from mmcore.evaluation.gate import Decision, Verdict
from mmcore.questions import Question
from mmcore.report.build import build
from mmcore.runs import Run
from mmcore.workspace import Workspace

POLL_SECONDS = 2
# How long a flow may take from its question to its pause.
PAUSE_SECONDS = 20.0
KEY = "ask"


class Answer(RunInput):
    """The form in the Prefect UI."""

    approve: bool = Field(description="Release the candidate? No leaves the champion as it is.")
    by: str = Field(min_length=1, description="Your name, for the record.")
    reason: str = Field(default="", description="In a sentence.")

    def decision(self) -> Decision:
        return Decision(self.approve, self.by, self.reason, _iso(datetime.now(UTC)))


@named("ask")
def ask(run: Run) -> str:
    """Let a person decide on a candidate that passed; returns the verdict: promote, declined or unanswered."""
    work = run.workspace
    with step(run, "ask") as line:
        passed = gates.read(work.verdict)
        subject = questions.about(passed)
        decision = questions.decision_on(work, subject) or _take_over(work, subject)
        if decision is None:
            until = datetime.now(UTC) + timedelta(hours=run.settings.gate.ask_hours)
            question = Question(run.name, subject, str(flow_run.get_id()), _iso(until))
            decision = _wait(run, question, passed)
            run.changed = True  # what a person has said, or has not, is part of the record
            verdict = gates.decided(passed, decision) if decision else gates.unanswered(passed, question.until)
        else:
            verdict = gates.decided(passed, decision)
        gates.write(verdict, work.verdict)
        line.note = verdict.reasons[0]
    return verdict.verdict


def _wait(run: Run, question: Question, passed: Verdict) -> Decision | None:
    """What a person says in time, None if nobody does."""
    work = run.workspace
    gates.write(gates.waiting(passed, question.until), work.verdict)
    run.write()
    page = build(work)
    questions.ask(work, question)
    console.print(_invitation(question, str(page.relative_to(work.root))), markup=False)
    form = Answer.with_initial_data(description="\n".join([f"# {run.settings.name}", *passed.reasons, str(page)]))
    seconds = math.ceil(run.settings.gate.ask_hours * 3600)
    try:
        answer = pause_flow_run(wait_for_input=form, timeout=seconds, poll_interval=POLL_SECONDS, key=KEY)
    except FlowPauseTimeout:
        # The server has ended the flow run, or is about to.
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(UUID(question.flow_run), Running(), force=True)
        questions.withdraw(work, question)
        return None
    if questions.decision(work, question.run) is None:  # it was given in the UI
        questions.decide(work, question, answer.decision())
    return questions.decision(work, question.run)


def _invitation(question: Question, page: str) -> str:
    ui = str(PREFECT_API_URL.value()).removesuffix("/api")
    return (
        f"    The candidate passed the gate and waits for you until {question.until}: {page}\n"
        "      mmcore run approve              releases it\n"
        '      mmcore run decline --reason "..."  does not\n'
        f"      {ui}/runs/flow-run/{question.flow_run}  does either (Resume)"
    )


def _take_over(work: Workspace, subject: str) -> Decision | None:
    """What was said in the UI to an earlier run that was killed while it asked the same; its questions are closed."""
    for question in questions.unanswered(work):
        if question.verdict != subject:
            continue
        earlier = UUID(question.flow_run)
        said: Any = read_flow_run_input(keyset_from_base_key(f"paused-{KEY}")["response"], flow_run_id=earlier)
        if said:
            questions.decide(work, question, Answer(**said).decision())
            return questions.decision(work, question.run)
        with contextlib.suppress(ObjectNotFound), get_client(sync_client=True) as client:
            state = client.read_flow_run(earlier).state
            if state is not None and not state.is_final():
                client.set_flow_run_state(earlier, Cancelled(message="A later run asks the same."), force=True)
        questions.withdraw(work, question)
    return None


def wake(work: Workspace, run: str) -> None:
    """Hand the decision on the question of that run to the flow that waits for it, if one does."""
    question, decision = questions.find(work, run), questions.decision(work, run)
    assert decision is not None
    answer = {"approve": decision.approved, "by": decision.by, "reason": decision.reason}
    deadline = time.monotonic() + PAUSE_SECONDS
    while time.monotonic() < deadline:
        try:
            resume_flow_run(UUID(question.flow_run), run_input=answer)
            return
        except (ObjectNotFound, FlowPauseTimeout):
            return
        except (NotPausedError, RuntimeError):  # it is over, or has not paused yet
            if _is_over(question):
                return
        time.sleep(0.5)


def _is_over(question: Question) -> bool:
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(question.flow_run)).state
    return state is None or state.is_final()


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


if __name__ == "__main__":
    wake(Workspace(Path.cwd()), sys.argv[1])
