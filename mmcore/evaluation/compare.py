"""Two runs side by side: the settings that differ, the version of the data, every score."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import yaml

from mmcore.evaluation.gate import Metrics


class Versions(Protocol):
    """What is asked of the ledger."""

    def experiments(self) -> dict[str, str]: ...
    def read(self, revision: str, path: str) -> str: ...
    def data_hash(self, revision: str) -> str: ...


@dataclass(frozen=True)
class RunFacts:
    """What a run was made of and what came of it."""

    name: str
    settings: Mapping[str, Any]
    data: str
    metrics: Metrics


@dataclass(frozen=True)
class Row:
    """One line of a comparison; `section` is settings, data or scores, null stands for what a run does not have."""

    section: str
    name: str
    a: Any
    b: Any


def compare(a: RunFacts, b: RunFacts) -> list[Row]:
    """The settings that differ, the data of both, and all scores of either, in the order of `a`'s files."""
    rows = [
        Row("settings", key, own, other) for key, own, other in _side_by_side(flat(a.settings), flat(b.settings))
        if own != other
    ]  # fmt: skip
    rows.append(Row("data", "version", a.data, b.data))
    scores = _side_by_side(values(a.metrics), values(b.metrics))
    return rows + [Row("scores", key, own, other) for key, own, other in scores]


def print_comparison(ledger: Versions, a: str, b: str) -> str:
    """The comparison of two runs or releases (`NAME@v0.2.0`) as text; LookupError for a run that is not recorded."""
    rows = compare(read_facts(ledger, a), read_facts(ledger, b))
    lines = [("", a, b, "")]
    for section in ("settings", "data", "scores"):
        own = [row for row in rows if row.section == section]
        lines.append((section if own else f"{section}: no difference", "", "", ""))
        lines += [_line(row) for row in own]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _line(row: Row) -> tuple[str, str, str, str]:
    """The name, both values and, of scores, the difference."""
    show = "{:.2f}".format if row.section == "scores" else str
    a, b = ("-" if value is None else show(value) for value in (row.a, row.b))
    change = f"{row.b - row.a:+.2f}" if row.section == "scores" and None not in (row.a, row.b) else ""
    return f"  {row.name}", a, b, change


def read_facts(ledger: Versions, name: str) -> RunFacts:
    """The facts of the experiment, or of the release or other revision, `name`."""
    known = ledger.experiments()
    if name not in known and "@" not in name:
        latest = ", ".join(sorted(known)[-5:]) or "none yet"
        raise LookupError(f"there is no run '{name}'; the latest: {latest}; the releases: mmcore release list")
    revision = known.get(name, name)
    return RunFacts(
        name=name,
        settings=yaml.safe_load(ledger.read(revision, "params.yaml")),
        data=ledger.data_hash(revision).removesuffix(".dir")[:12],
        metrics=yaml.safe_load(ledger.read(revision, "artifacts/evaluation/metrics.json")),
    )


def flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested settings as `section.key`; lists are values."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = value
    return found


def values(metrics: Metrics) -> dict[str, float]:
    return {f"{task}.{name}": float(score["value"]) for task, own in metrics.items() for name, score in own.items()}


def _side_by_side(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(key, a.get(key), b.get(key)) for key in dict.fromkeys([*a, *b])]
