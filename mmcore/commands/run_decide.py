"""`mmcore run approve` and `mmcore run decline`: a person's decision on the run that waits for one."""

import getpass
import subprocess
from datetime import UTC, datetime

from mmcore import questions
from mmcore.evaluation.gate import Decision
from mmcore.workspace import Workspace


def decide(workspace: Workspace, run: str | None, *, approved: bool, by: str | None, reason: str) -> tuple[str, str]:
    """Enter the decision on the question of `run`, by default of the only run that waits; returns the name of that run
    and a line to print.

    `by`: who decides, by default the name that git knows. LookupError if no run waits, or several do.
    """
    question = questions.find(workspace, run)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    decision = Decision(approved, by or _name(workspace), reason.strip(), at)
    questions.decide(workspace, question, decision)
    return question.run, f"{decision.describe()} The run goes on with it, or the next one: mmcore run"


def _name(workspace: Workspace) -> str:
    """The person's name as git knows it, else that of the account."""
    words = ["git", "-C", str(workspace.root), "config", "user.name"]
    known = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    return known or getpass.getuser()
