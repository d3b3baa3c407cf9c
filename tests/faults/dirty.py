"""Runs the media gate on the hostile set and counts what it catches, what it misses, and what it wrongly stops.

`python -m tests.faults.dirty --seeds 11-15`. Exit status 1 if less is caught than `FAMILIES` asks for, if a kind is
missed altogether, if sound rows are stopped, if a row is in no list at all, or if a bomb costs too much.
"""

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mmcore import params
from mmcore.data import store
from mmcore.data.importers import ImportOptions
from mmcore.data.importing import import_data
from mmcore.data.modalities import media
from mmcore.stages import STAGES, Call
from mmcore.workspace import Workspace
from tests.conftest import ROOT
from tests.faults import dirty_memory
from tests.faults.dirty_clean import encoded, photo
from tests.faults.dirty_images import described
from tests.faults.dirty_kinds import FAMILIES, HARD, caught
from tests.faults.dirty_set import KINDS, DirtySet, Truth

MAX_CLEAN_REJECTED = 0.001
MAX_CLEAN_FLAGGED = 0.005
MAX_GROWTH = 64 << 20
MAX_SECONDS = 2.0
GRAVITY = ("ok", "repaired", "flag", "reject")


@dataclass
class Outcome:
    """`kinds`: (family, kind) -> verdict -> rows; `caught`: rows with an acceptable verdict; `lost`: in no list;
    `stopped`: sound rows that were flagged or rejected, with the reason."""

    kinds: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    caught: Counter[tuple[str, str]] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)

    def add(self, truth: Truth, verdict: str | None, reason: str) -> None:
        key = (truth.family, truth.kind)
        self.kinds.setdefault(key, Counter())[verdict or "lost"] += 1
        if verdict is None:
            self.lost.append(f"{truth.kind} {truth.names[0]}")
        elif truth.family == "clean":
            if verdict in ("flag", "reject"):
                self.stopped.append(f"{verdict} {truth.names[0]}: {reason}")
        else:
            self.caught[key] += caught(truth.expected, verdict)

    def share(self, family: str) -> tuple[int, int]:
        """Caught rows and all rows of a family."""
        keys = [key for key in self.kinds if key[0] == family]
        return sum(self.caught[key] for key in keys), sum(self.kinds[key].total() for key in keys)

    def missed(self) -> list[tuple[str, str]]:
        """The kinds, but for the hard ones, of which no row is caught although most of their family must be."""
        return [key for key in self.kinds if FAMILIES.get(key[0]) and not self.caught[key] and key[1] not in HARD]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1-5", help="one seed, or the first and the last: 11-15")
    parser.add_argument("--clean", type=int, default=1000, help="sound rows per seed")
    parser.add_argument("--copies", type=int, default=2, help="rows of each kind of damage per seed")
    parser.add_argument("--no-costs", action="store_true", help="leave out the seconds and the memory of each bomb")
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    outcome = Outcome()
    for seed in range(int(first), int(last or first) + 1):
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            judge(DirtySet(seed, clean=arguments.clean, copies=arguments.copies), Path(folder), outcome)
        print(f"seed {seed}: {time.monotonic() - started:.0f} s", flush=True)
    failures = report(outcome)
    if not arguments.no_costs:
        failures += report_costs(costs(int(first)))
    for failure in failures:
        print(f"FAILED: {failure}")
    sys.exit(1 if failures else 0)


# One set through import and gate -------------------------------------------------------------------------------------


def judge(dirty: DirtySet, folder: Path, outcome: Outcome) -> None:
    """Import the source of `dirty`, add its other rows, validate, and add what became of every row to `outcome`."""
    dirty.write_source(folder / "place" / "source")
    data = folder / "project" / "data"
    import_data(folder / "place" / "source", data, format="imagefolder", options=ImportOptions())
    dirty.add_rows(data)
    found = verdicts(folder / "project")
    for truth in dirty.truth:
        known = [found[name] for name in truth.names if name in found]
        verdict, reason = max(known, key=lambda one: GRAVITY.index(one[0]), default=(None, ""))
        outcome.add(truth, verdict, reason)


def verdicts(project: Path) -> dict[str, tuple[str, str]]:
    """Id -> gravest verdict and its reason, from the files that the stage `validate` leaves for `project`/data."""
    output, logs = project / "validated", project / "logs"
    for place in (output, logs):
        place.mkdir(parents=True)
    shutil.copyfile(ROOT / "params.yaml", project / "params.yaml")
    shutil.copytree(ROOT / "validation", project / "validation")
    settings = params.load(project / "params.yaml")
    settings = replace(settings, validate=replace(settings.validate, min_accepted_share=0.0, min_rows=1))
    try:
        STAGES["validate"].run(Call(output, Workspace(project), settings, "", logs, project / "checkpoints"))
    except ValueError as error:
        # A store of one split is refused at the end; its quarantine is written all the same.
        if "no sample of the split" not in str(error):
            raise
        output = logs
    found: dict[str, tuple[str, str]] = {}
    if (output / "accepted.parquet").is_file():
        accepted = store.read_table(output / "accepted.parquet", ["id", "verdict"]).to_pylist()
        found = {row["id"]: (row["verdict"], "") for row in accepted}
    for row in store.read_table(output / "quarantine.parquet").to_pylist():
        name = row["id"] or ""
        reason = f"{', '.join(row['problems'])} ({(row['detail'] or '')[:120]})"
        # Of two rows under one id, the graver verdict; the quarantine has the reason.
        found[name] = max((row["verdict"], reason), found.get(name, ("ok", "")), key=lambda one: GRAVITY.index(one[0]))
    return found


# What a bomb costs ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """Processor seconds beyond those of the sound rows beside it, how far memory grew beyond what was in use, and how
    large the row itself is, both in bytes."""

    kind: str
    verdict: str
    seconds: float
    growth: int
    size: int


def costs(seed: int) -> list[Cost]:
    """The cost of validating each bomb, one at a time, in one fresh process that has validated before."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (seed,))


def _measure(seed: int) -> list[Cost]:
    usual = min(_cost(seed, number, None).seconds for number in range(3))
    bombs = [kind.name for kind in KINDS.values() if kind.family == "bomb"]
    found = [_cost(seed, number, name) for number, name in enumerate(bombs, 3)]
    return [replace(one, seconds=max(0.0, one.seconds - usual)) for one in found]


def _cost(seed: int, number: int, name: str | None) -> Cost:
    chances = [np.random.default_rng([seed, number, place]) for place in range(9)]
    rows = [store.row(id=f"sound-{n}", **described(rng, encoded(photo(rng)))) for n, rng in enumerate(chances[1:])]
    size = 0
    if name:
        rows.append(store.row(id="bomb", **KINDS[name].make(chances[0])))
        size = sum(len(rows[-1][column] or b"") for column in media()) + len(rows[-1]["captions"][0]["text"])
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        store.write_shards(project / "data", "train", rows)
        store.write_manifest(project / "data")
        del rows
        before = dirty_memory.settled()
        started = time.process_time()
        verdict, _ = verdicts(project).get("bomb", ("ok", ""))
        return Cost(name or "", verdict, time.process_time() - started, dirty_memory.peak() - before, size)


# Report --------------------------------------------------------------------------------------------------------------


def report(outcome: Outcome) -> list[str]:
    """Print the table; returns what is not as it should be, a sentence each."""
    for (family, kind), found in sorted(outcome.kinds.items(), key=lambda item: [*FAMILIES, "clean"].index(item[0][0])):
        if family == "clean":
            continue
        mark = "" if outcome.caught[family, kind] == found.total() else "   MISSED"
        said = ", ".join(f"{verdict} {count}" for verdict, count in found.items())
        print(f"{family:12} {kind:42} {outcome.caught[family, kind]:3} of {found.total():3}   {said}{mark}")
    failures = []
    if outcome.lost:
        failures.append(f"{len(outcome.lost)} rows are neither accepted nor in quarantine: {outcome.lost[:5]}")
    for family, least in FAMILIES.items():
        right, total = outcome.share(family)
        print(f"{family:12} {right} of {total} caught")
        if least is not None and right < least * total:
            failures.append(f"{family}: {right} of {total} caught, {least:.0%} needed")
    failures += [f"{family}: no row of the kind {kind} is caught" for family, kind in outcome.missed()]
    return failures + _report_clean(outcome)


def _report_clean(outcome: Outcome) -> list[str]:
    found = outcome.kinds["clean", "clean"]
    for line in outcome.stopped:
        print(f"sound, but {line}")
    print(f"clean        {dict(found)}")
    shares = {"reject": MAX_CLEAN_REJECTED, "flag": MAX_CLEAN_FLAGGED}
    return [
        f"{found[verdict]} of {found.total()} sound rows have the verdict {verdict}, at most {most:.1%} may"
        for verdict, most in shares.items()
        if found[verdict] > most * found.total()
    ]


def report_costs(found: Iterable[Cost]) -> list[str]:
    """Print what each bomb costs; returns those that cost too much beside their own bytes."""
    failures = []
    for one in sorted(found, key=lambda cost: -cost.growth):
        print(f"{one.kind:28} {one.verdict:8} {one.seconds:6.2f} s {one.growth / 2**20:8.1f} MiB  ({one.size:,} bytes)")
        if one.growth - one.size > MAX_GROWTH or one.seconds > MAX_SECONDS:
            failures.append(f"{one.kind} costs {one.seconds:.1f} s and {one.growth / 2**20:.0f} MiB")
    return failures


if __name__ == "__main__":
    main()
