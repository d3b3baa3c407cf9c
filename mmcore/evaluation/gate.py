"""The promotion gate: whether a candidate may take the champion's place, by numbers and with every reason in words.

Pure functions on what the evaluation wrote. The candidate must lie above its baselines by a margin; where there is a
champion, it may also lose at most so much against it on the same test split.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mmcore.metrics import lower_is_better
from mmcore.settings import GateSettings
from mmcore.workspace import MODEL_FILES, hash_file, read_json, trained, write_json

# {task: {metric: {"value": ..., "baseline": ..., "n": ...}}}, as metrics.json holds it.
Metrics = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Comparison:
    """One metric at the gate. `needed` is the value that just passes; null where there is no such number."""

    metric: str
    value: float | None
    baseline: float | None
    champion: float | None
    needed: float | None
    passed: bool


@dataclass(frozen=True)
class Decision:
    """What a person has said of a candidate that passed: whether it is released, who says so, the reason (may be empty)
    and when (ISO 8601, UTC)."""

    approved: bool
    by: str
    reason: str
    at: str

    def describe(self) -> str:
        """`Approved by Ada at 2030-01-02T03:04:05+00:00: the captions read well.`"""
        said = "Approved" if self.approved else "Declined"
        return f"{said} by {self.by} at {self.at}" + (f": {self.reason.rstrip('.')}." if self.reason else ".")


@dataclass(frozen=True)
class Verdict:
    """`verdict`: promote, reject, no decision or unchanged; where a person decides also waiting, declined or
    unanswered. `reasons` are sentences. `champion` is the version it was compared with, null before the first release;
    `candidate` the hash of the judged model; `decision` what a person has said, null where nobody has."""

    verdict: str
    reasons: list[str]
    comparisons: list[Comparison]
    champion: str | None
    candidate: str
    decision: Decision | None = None


def judge(
    metrics: Metrics, champion_metrics: Metrics | None, gate: GateSettings, *, same_model: bool, candidate: str,
    champion: str | None,
) -> Verdict:  # fmt: skip
    """The verdict on the model with hash `candidate` and these metrics.

    `champion` is the version of the present champion, `champion_metrics` what it scores on the same test split;
    both are null before the first release. A metric of the gate that the candidate should have and has not is a
    reject; metrics of tasks that neither model has are not judged.
    """
    if same_model:
        reason = f"The candidate is the champion {champion}, byte for byte; there is nothing to release."
        return Verdict("unchanged", [reason], [], champion, candidate)
    if champion is not None and champion_metrics is None:
        reason = f"The champion {champion} was not scored on this test split, so nothing can be compared with it."
        return Verdict("no decision", [reason], [], champion, candidate)
    comparisons: list[Comparison] = []
    passed: list[str] = []
    failed: list[str] = []
    unjudged: list[str] = []
    for metric in _gated(gate, compared=champion is not None):
        score, champion_score = _find(metrics, metric), _find(champion_metrics or {}, metric)
        if score is None and champion_score is None and metric.partition(".")[0] not in metrics:
            unjudged.append(f"{metric} is not judged: this run has no such task.")
            continue
        if score and champion_score and score["n"] != champion_score["n"]:
            reason = (
                f"{metric} was measured on {score['n']} samples for the candidate and on {champion_score['n']} for "
                f"the champion {champion}; the two cannot be compared."
            )
            return Verdict("no decision", [reason], [], champion, candidate)
        comparison, reason = _compare(metric, score, champion_score, gate, champion)
        comparisons.append(comparison)
        (passed if comparison.passed else failed).append(reason)
    if failed:
        return Verdict("reject", failed, comparisons, champion, candidate)
    if not passed:
        reason = "The gate names no metric that this run has; add one under gate.min_over_baseline."
        return Verdict("no decision", [reason, *unjudged], comparisons, champion, candidate)
    return Verdict("promote", [*passed, *unjudged], comparisons, champion, candidate)


def waiting(passed: Verdict, until: str) -> Verdict:
    """The verdict `passed`, while a person is asked for a decision until then."""
    return replace(passed, verdict="waiting", reasons=[f"A person is asked until {until}.", *passed.reasons])


def decided(passed: Verdict, decision: Decision) -> Verdict:
    """The verdict `passed` after a person's decision: promote, or declined."""
    verdict = "promote" if decision.approved else "declined"
    return replace(passed, verdict=verdict, reasons=[decision.describe(), *passed.reasons], decision=decision)


def unanswered(passed: Verdict, until: str) -> Verdict:
    """The verdict `passed`, on which nobody has decided in time."""
    return replace(passed, verdict="unanswered", reasons=[f"Nobody answered until {until}.", *passed.reasons])


def write(verdict: Verdict, path: Path) -> None:
    """Write the verdict as JSON, atomically."""
    write_json(path, asdict(verdict))


def read(path: Path) -> Verdict:
    """The verdict that `write` wrote."""
    content = read_json(path)
    comparisons = [Comparison(**row) for row in content.pop("comparisons")]
    decision = content.pop("decision")
    return Verdict(**content, comparisons=comparisons, decision=Decision(**decision) if decision else None)


def model_hash(tasks_folder: Path, tasks: Sequence[str]) -> str:
    """SHA-256 over weights, config and tokenizer of the models of `tasks`, in whatever order, in hex; tasks that were
    skipped have none."""
    digest = hashlib.sha256()
    for task in sorted(trained(tasks_folder, tasks)):
        for name in MODEL_FILES:
            digest.update(f"{task}/{name}\0{hash_file(tasks_folder / task / name)}\n".encode())
    return digest.hexdigest()


def _gated(gate: GateSettings, *, compared: bool) -> list[str]:
    """The metrics that have a margin over the baseline and, where there is a champion, those with a limit of loss."""
    return list(dict.fromkeys([*gate.min_over_baseline, *(gate.max_loss if compared else [])]))


def _find(metrics: Metrics, metric: str) -> Mapping[str, Any] | None:
    task, _, name = metric.partition(".")
    return metrics.get(task, {}).get(name)


def _compare(
    metric: str, score: Mapping[str, Any] | None, champion_score: Mapping[str, Any] | None, gate: GateSettings,
    champion: str | None,
) -> tuple[Comparison, str]:  # fmt: skip
    """One metric against all rules that hold for it, and what was found as a sentence, broken rules first."""
    theirs = None if champion_score is None else float(champion_score["value"])
    if score is None:
        held = "" if theirs is None else f"; the champion {champion} has {theirs:.2f}"
        reason = f"{metric} is missing from the candidate's scores, and the gate asks for it{held}."
        return Comparison(metric, None, None, theirs, None, False), reason
    value, baseline = float(score["value"]), float(score["baseline"])
    # Ranks and error rates are better when lower: with the sign turned, the same rules hold.
    sign = -1.0 if lower_is_better(metric) else 1.0
    rules = list(_rules(metric, value, baseline, theirs, gate, champion))
    # Scores are rounded to six decimals, and so are the sums they are compared with.
    kept = [round(sign * (value - bound), 6) >= 0 for bound, _ in rules]
    parts = [text for _, (_, text) in sorted(zip(kept, rules, strict=True), key=lambda pair: pair[0])]
    if champion is not None and theirs is None:
        parts.append(f"the champion {champion} has no such number")
    needed = round(sign * max(sign * bound for bound, _ in rules), 6) if rules else None
    reason = f"{metric} is {value:.2f}: {'; '.join(parts)}."
    return Comparison(metric, value, baseline, theirs, needed, all(kept)), reason


def _rules(
    metric: str, value: float, baseline: float, theirs: float | None, gate: GateSettings, champion: str | None
) -> Iterator[tuple[float, str]]:
    """The value that each rule asks for, and what it finds, in words."""
    sign, better, worse = (-1.0, "below", "above") if lower_is_better(metric) else (1.0, "above", "below")
    margin, loss = gate.min_over_baseline.get(metric), gate.max_loss.get(metric)
    if margin is not None:
        gain = sign * (value - baseline)
        side = better if gain >= 0 else worse
        yield (
            baseline + sign * margin,
            f"{abs(gain):.2f} {side} its baseline of {baseline:.2f}, at least {margin:.2f} {better} it is needed",
        )
    if loss is not None and theirs is not None:
        lost = sign * (theirs - value)
        side = worse if lost > 0 else better
        yield (
            theirs - sign * loss,
            f"{abs(lost):.2f} {side} the champion {champion}'s {theirs:.2f}, it may lose at most {loss:.2f}",
        )
