"""The questions of runs whose candidate passed the gate and waits for a person, and what was decided.

Both lie in the run's folder, `question.json` and `decision.json`, so that they outlive a process that is killed while
it waits. A decision counts for the verdict on which it was asked, in whatever run that verdict is reached again: the
same models, compared with the same champion, by the same numbers.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from mmcore.evaluation.gate import Decision, Verdict
from mmcore.workspace import Workspace, read_json, write_json


@dataclass(frozen=True)
class Question:
    """What the run `run` asks until then (ISO 8601, UTC): `verdict` is the hash of what it is about, `flow_run` the id
    of the flow run in Prefect that waits for the answer."""

    run: str
    verdict: str
    flow_run: str
    until: str


def about(verdict: Verdict) -> str:
    """SHA-256 of everything that a person is shown of a verdict that passed, in hex."""
    return hashlib.sha256(json.dumps(asdict(verdict), sort_keys=True).encode()).hexdigest()


def ask(workspace: Workspace, question: Question) -> None:
    """Enter that the run waits for an answer."""
    write_json(_folder(workspace, question.run) / "question.json", asdict(question))


def withdraw(workspace: Workspace, question: Question) -> None:
    """Take back a question that nobody has answered."""
    (_folder(workspace, question.run) / "question.json").unlink(missing_ok=True)


def decide(workspace: Workspace, question: Question, decision: Decision) -> None:
    """Enter the answer; a later one takes the place of an earlier one."""
    write_json(_folder(workspace, question.run) / "decision.json", asdict(decision))


def decision(workspace: Workspace, run: str) -> Decision | None:
    """The answer to the question of that run, None before there is one."""
    path = _folder(workspace, run) / "decision.json"
    return Decision(**read_json(path)) if path.exists() else None


def decision_on(workspace: Workspace, verdict: str) -> Decision | None:
    """The last decision on the verdict of that hash, in whatever run it was asked for; None before there is one."""
    made = [said for question in _all(workspace) if question.verdict == verdict
            if (said := decision(workspace, question.run))]  # fmt: skip
    return max(made, key=lambda said: said.at, default=None)


def unanswered(workspace: Workspace) -> list[Question]:
    """The questions that nobody has answered, the newest first."""
    return [question for question in _all(workspace) if decision(workspace, question.run) is None]


def find(workspace: Workspace, run: str | None) -> Question:
    """The question of the run `run`, by default the only one that is unanswered; a LookupError says which there are."""
    waiting = unanswered(workspace)
    if run is None:
        if len(waiting) == 1:
            return waiting[0]
        if not waiting:
            raise LookupError("no run waits for a decision; with gate.ask a run asks before it releases")
        raise LookupError(f"several runs ask; name the one that you mean: {', '.join(q.run for q in waiting)}")
    for question in _all(workspace):
        if question.run == run:
            return question
    raise LookupError(
        f"there is no question of a run '{run}'; unanswered are: {', '.join(q.run for q in waiting) or 'none'}"
    )


def _all(workspace: Workspace) -> Iterator[Question]:
    """Every question that was asked, the newest first; names of runs sort by time."""
    for path in sorted(workspace.state.glob("runs/*/question.json"), reverse=True):
        yield Question(**read_json(path))


def _folder(workspace: Workspace, run: str) -> Path:
    return workspace.state / "runs" / run
