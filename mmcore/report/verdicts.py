"""What a run came to, in words, and what a person types next: the same on the page and in the terminal."""

from dataclasses import dataclass, field

from mmcore.report.readers import Run, Verdict, read_failure
from mmcore.workspace import Workspace


@dataclass(frozen=True)
class Banner:
    """`kind` is good, bad, same, busy or none: it chooses sign and colour. `release`: the version the page is about."""

    kind: str
    title: str
    sentence: str
    reasons: list[str] = field(default_factory=list)
    release: str = ""


@dataclass(frozen=True)
class Step:
    command: str
    purpose: str


def banner(workspace: Workspace, run: Run | None, verdict: Verdict | None) -> Banner:
    """The outcome of the last run; a failed step outweighs a verdict, which is then an earlier run's."""
    if run is not None and run.failed is not None:
        # A stage has left its own words; those of the step around it quote its log, too.
        reason = read_failure(workspace, run.failed.name) or run.failed.reason
        sentence = f"The step {run.failed.name} failed. What was finished before it is kept and will not be repeated."
        return Banner("bad", "Failed", sentence, reason.splitlines())
    if verdict is None:
        return Banner("none", "No verdict yet", "No candidate has come as far as the promotion gate.")
    stays = f"The champion {verdict.champion} stays." if verdict.champion else "There is no champion yet."
    release = run.release if run is not None else ""
    match verdict.verdict:
        case "promote":
            sentence = "The candidate passed the promotion gate."
            sentence += f" It is released as {release}." if release else ""
            return Banner("good", "Promote", sentence, verdict.reasons, release)
        case "waiting":
            sentence = f"The candidate passed the promotion gate, and a person decides whether it is released. {stays}"
            return Banner("busy", "Waiting", sentence, verdict.reasons)
        case "declined":
            sentence = f"The candidate passed the promotion gate, and a person declined to release it. {stays}"
            return Banner("bad", "Declined", sentence, verdict.reasons)
        case "unanswered":
            sentence = f"The candidate passed the promotion gate, and nobody said that it may be released. {stays}"
            return Banner("none", "Unanswered", sentence, verdict.reasons)
        case "reject":
            return Banner("bad", "Reject", f"The candidate did not pass the promotion gate. {stays}", verdict.reasons)
        case "unchanged":
            # The gate's only reason says just this.
            same = verdict.reasons[0] if verdict.reasons else "The candidate is the champion, byte for byte."
            return Banner("same", "Unchanged", same, verdict.reasons[1:], verdict.champion)
        case _:
            sentence = f"The promotion gate could not decide. {stays}"
            return Banner("none", verdict.verdict.capitalize(), sentence, verdict.reasons)


def next_steps(run: Run | None, verdict: Verdict | None) -> list[Step]:
    """The commands that make sense now, the likeliest first."""
    if run is not None and run.failed is not None:
        again = Step("mmcore run", "goes on from there; finished steps are not repeated")
        if run.failed.name not in run.planned:  # a step around the stages, which cannot be run by itself
            return [again]
        debug = f"mmcore run debug {run.name} {run.failed.name}"
        return [Step(debug, "opens the step as it failed in the debugger"), again]
    if verdict is None:
        return [
            Step("mmcore check", "whether settings, data and machine are fit for a run"),
            Step("mmcore run", "the whole chain, from the data to a release"),
        ]
    if verdict.verdict == "waiting":
        return [
            Step("mmcore run approve", "releases the candidate"),
            Step('mmcore run decline --reason "..."', "does not"),
        ]
    if verdict.verdict == "unanswered":
        return [Step("mmcore run", "asks again; finished steps are not repeated")]
    plan = Step("mmcore plan", "what a run would do now, why, and for how long")
    releases = Step("mmcore release list", "all releases and which of them is the champion")
    if verdict.verdict in ("promote", "unchanged"):
        return [
            Step("mmcore serve", "serves the champion, with a page to try it"),
            releases,
            Step("mmcore monitor BATCH", "compares new data with the drift reference"),
            plan,
        ]
    return [
        Step("mmcore run --set section.key=value", "tries another setting; only the steps that read it run again"),
        Step("mmcore run compare A B", "parameters, data and scores of two runs side by side"),
        releases,
        plan,
    ]
