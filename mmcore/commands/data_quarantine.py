"""`mmcore data quarantine`: the rows that validation kept aside, and a person's decisions on them."""

import argparse
from collections import Counter
from typing import Any

from mmcore.data.store import as_rows, read_table
from mmcore.quality.decisions import FILE, Decision, decide, read_decisions
from mmcore.report.readers import validation_folder
from mmcore.workspace import Workspace, write_bytes

_SHOWN = 50
_WIDTH = 100


def run(workspace: Workspace, arguments: argparse.Namespace) -> str:
    """List or show rows of the quarantine, or decide on them; returns the lines to print."""
    match arguments.doing:
        case "list":
            return _list(workspace, arguments.problem, arguments.verdict)
        case "show":
            return _show(workspace, arguments.id)
        case _:
            return _decide(workspace, arguments.doing, arguments.id, arguments.reason)


def _list(workspace: Workspace, problem: str | None, verdict: str | None) -> str:
    rows = [
        row
        for row in _rows(workspace, ["id", "split", "verdict", "problems", "detail"])
        if problem in (None, *row["problems"]) and verdict in (None, row["verdict"])
    ]
    if not rows:
        return "no such row is in quarantine"
    lines = [_line(row) for row in rows[:_SHOWN]]
    if len(rows) > _SHOWN:
        lines.append(f"... and {len(rows) - _SHOWN} more")
    counts = Counter(row["verdict"] for row in rows)
    lines.append(", ".join(f"{count} {name}" for name, count in counts.items()))
    return "\n".join([*lines, "one row with its picture: mmcore data quarantine show ID"])


def _line(row: dict[str, Any]) -> str:
    detail = row["detail"] if len(row["detail"]) <= _WIDTH else row["detail"][: _WIDTH - 1] + "…"
    return f"{row['verdict']:<8}  {row['split'] or '':<10}  {row['id']}  {', '.join(row['problems'])}: {detail}"


def _show(workspace: Workspace, id: str) -> str:
    lines = []
    rows = [row for row in _rows(workspace, None) if row["id"] == id]
    if not rows:
        raise _absent(id)
    decision = read_decisions(workspace.root / "validation" / FILE).get(id)
    for number, row in enumerate(rows):
        lines += [f"id       {row['id']}", f"split    {row['split'] or ''}", f"verdict  {row['verdict']}"]
        lines += [f"problem  {code}" for code in row["problems"]] + [f"detail   {row['detail']}"]
        if decision is not None:
            void = "" if decision.sha256 == row["sha256"] else " (void: it was about other content)"
            lines.append(f"decided  {decision.decision}{void}" + (f": {decision.reason}" if decision.reason else ""))
        if row["thumbnail"] is not None:
            picture = workspace.artifacts / "quarantine" / f"{number}.jpg"
            write_bytes(picture, row["thumbnail"])
            lines.append(f"picture  {picture.relative_to(workspace.root)}")
    return "\n".join(lines)


def _decide(workspace: Workspace, doing: str, ids: list[str], reason: str) -> str:
    held = _rows(workspace, ["id", "sha256"])
    profile = workspace.validated / "profile.parquet"
    # A person may see more than the gate does: any row may be dropped.
    known = as_rows(read_table(profile, ["id", "sha256"])) if doing == "drop" and profile.is_file() else []
    # Of one id a row may be in data/ and another one refused: what is there is what can be decided on.
    refused = [row for row in held if row["sha256"] is None]
    hashes = {row["id"]: row["sha256"] for row in [*refused, *known, *(row for row in held if row["sha256"])]}
    for id in ids:
        if id not in hashes:
            raise _absent(id)
        if hashes[id] is None:
            raise ValueError(f"{id} was refused at import and is not in data/; correct the source and import it again")
    file = workspace.root / "validation" / FILE
    decide(file, [Decision(id, doing, hashes[id], reason) for id in ids])
    done = "released" if doing == "release" else "dropped"
    rows = "1 row" if len(ids) == 1 else f"{len(ids)} rows"
    return f"{done} {rows} in {file.relative_to(workspace.root)}; the next run heeds it: mmcore run"


def _absent(id: str) -> LookupError:
    return LookupError(f"no row '{id}' is in quarantine; mmcore data quarantine list shows those that are")


def _rows(workspace: Workspace, columns: list[str] | None) -> list[dict[str, Any]]:
    """The quarantine of the last validation."""
    path = validation_folder(workspace) / "quarantine.parquet"
    if not path.is_file():
        raise FileNotFoundError("nothing has been validated here yet; mmcore run, or mmcore stage validate, does it")
    return as_rows(read_table(path, columns))
