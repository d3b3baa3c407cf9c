"""What a person decided on samples in quarantine: lines of `validation/decisions.jsonl`, the last word on each sample.

A decision holds for the very content that the person saw: once the sample's hash is another, it is void.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mmcore.workspace import write_bytes

FILE = "decisions.jsonl"
DECISIONS = ("release", "drop")


@dataclass(frozen=True)
class Decision:
    """`decision`: release (use the sample all the same) or drop (never use it); `sha256`: of the sample's content."""

    id: str
    decision: str
    sha256: str
    reason: str


def read_decisions(path: Path) -> dict[str, Decision]:
    """The decisions in the file `path` by the samples' ids; none if there is no file. ValueError names a line that is
    none."""
    found: dict[str, Decision] = {}
    if not path.is_file():
        return found
    # Not `splitlines`: a reason may hold one of the further signs that it takes for the end of a line.
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            one = Decision(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{path}: line {number} is no decision: {error}; write id, decision, sha256, reason"
            ) from None
        if one.decision not in DECISIONS:
            raise ValueError(f"{path}: line {number}: '{one.decision}' is no decision; write release or drop")
        found[one.id] = one
    return found


def decide(path: Path, decisions: Iterable[Decision]) -> None:
    """Add decisions to the file `path`, in the place of earlier ones on the same samples; lines are in order of id."""
    known: Mapping[str, Decision] = read_decisions(path) | {one.id: one for one in decisions}
    lines = [json.dumps(asdict(known[id]), ensure_ascii=False) + "\n" for id in sorted(known)]
    write_bytes(path, "".join(lines).encode())
