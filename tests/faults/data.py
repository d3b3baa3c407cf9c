"""Damages what is stored, kills pushes, and shows that nothing wrong is used, nothing lost: `make faults-data`.

180 corruptions: six kinds, thirty of each, in data/, the cache or the remote, with and without an intact copy
elsewhere. Each must be refused by the name of the file, or repaired from the intact copy and said so; afterwards
data/ holds no wrong byte. 50 pushes killed with SIGKILL at a seeded step, the first ten before the first object has
arrived: one more push, and a clean clone elsewhere holds every byte.
"""

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from mmcore import remotes
from mmcore.data import store
from mmcore.objects import Version
from mmcore.workspace import Workspace
from tests.faults import storage

EARLY_KILLS = 10
WHAT = ("refused", "repaired")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corruptions", type=int, default=180, help="spread evenly over kinds and places")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        box = make_box(Path(folder) / "box")
        misses = corruptions(box, arguments.corruptions, random.Random(arguments.seed))
        misses += kills(box, arguments.kills, random.Random(arguments.seed))
    if misses:
        sys.exit(f"{misses} trials failed")


def make_box(box: Path) -> Path:
    """A folder with a project and the remote it has been pushed to; a copy of it is a world of its own."""
    storage.make_project(box / "project", "../../store")
    remotes.push(Workspace(box / "project"))
    return box


# Corruptions ------------------------------------------------------------------------------------------------------


def corruptions(box: Path, count: int, chance: random.Random) -> int:
    """Run `count` trials and print a table; returns how many failed."""
    outcomes: Counter[tuple[str, str, str]] = Counter()
    misses = 0
    for number in range(count):
        kind = list(storage.DAMAGE)[number % len(storage.DAMAGE)]
        place = storage.PLACES[number // len(storage.DAMAGE) % len(storage.PLACES)]
        world = box.with_name(f"world-{number}")
        shutil.copytree(box, world, copy_function=shutil.copy2)
        try:
            outcomes[kind, place, corruption(world, kind, place, chance)] += 1
        except AssertionError as error:
            misses += 1
            print(f"trial {number}, {kind} in {place}: {error}", flush=True)
        shutil.rmtree(world)
    print(f"\n{'damage':<10}" + "".join(f"{place + ' ' + what:>18}" for place in storage.PLACES for what in WHAT))
    for kind in storage.DAMAGE:
        cells = [outcomes[kind, place, what] for place in storage.PLACES for what in WHAT]
        print(f"{kind:<10}" + "".join(f"{cell:>18}" for cell in cells))
    refused, repaired = (sum(number for (_, _, how), number in outcomes.items() if how == what) for what in WHAT)
    print(f"{count} corruptions: {refused} refused by name, {repaired} repaired by name, {misses} missed\n", flush=True)
    return misses


def corruption(world: Path, kind: str, place: str, chance: random.Random) -> str:
    """Damage one file (two, if they are swapped) in one place; `refused` or `repaired`, AssertionError if neither."""
    project = world / "project"
    version = storage.version(project)
    before = storage.contents(project)
    victim, other = chance.sample([path for path in version.files if path != store.MANIFEST], 2)
    hit = [victim, other] if kind == "swap" else [victim]
    files = {path: located(world, version, path) for path in (victim, other)}
    storage.DAMAGE[kind](files[victim][place], files[other][place], chance)
    if place == "remote":
        return remote_damage(world, hit, before, version)
    if place == "data":
        read_is_refused(files[victim]["data"], victim)
    # Where the copies elsewhere are intact, too, they must be used; where there is none, that must be said.
    alone = chance.random() < 0.5
    for path in hit if alone else []:
        for elsewhere in set(storage.PLACES) - {place}:
            files[path][elsewhere].unlink()
    verified = told(lambda: remotes.verify(Workspace(project)))
    pulled = told(lambda: remotes.pull(Workspace(project)))
    left = storage.contents(project)
    for path in hit:
        missing_in_cache = place == "cache" and kind == "delete"
        assert path in verified or missing_in_cache, f"verify does not name {path}: {verified}"
        assert path in pulled, f"pull does not name {path}: {pulled}"
    wrong = [path for path, content in left.items() if before.get(path) != content]
    assert not wrong, f"data/ holds wrong bytes: {wrong}"
    if pulled.startswith("refused"):
        assert alone, f"pull refuses although there is an intact copy: {pulled}"
        return "refused"
    assert left == before, f"data/ is not whole after the pull: {pulled}"
    return "repaired"


def remote_damage(world: Path, hit: list[str], before: dict[str, bytes], version: Version) -> str:
    """The remote is refused by a clone and by `verify`; a push that reads back mends it; then the clone gets all."""
    clone = storage.clone(world / "project", world / "clone")
    for what, said in {
        "pull": told(lambda: remotes.pull(Workspace(clone))),
        "verify": told(lambda: remotes.verify_remote(Workspace(world / "project"))),
    }.items():
        assert said.startswith("refused"), f"{what} does not refuse: {said}"
        assert all(path in said for path in hit), f"{what} does not name {hit}: {said}"
    assert not (clone / "data").exists(), "the refused pull left data/ behind"
    pushed = told(lambda: remotes.push(Workspace(world / "project"), read_back=True))
    assert all(path in pushed for path in hit), f"push does not name {hit}: {pushed}"
    remotes.pull(Workspace(clone))
    assert storage.contents(clone) == before, "the clone is not whole"
    return "refused"


def located(world: Path, version: Version, path: str) -> dict[str, Path]:
    """Where the file `path` of data/ lies in each place."""
    name = version.files[path]
    return {
        "data": world / "project" / "data" / path,
        "cache": world / "project" / ".dvc" / "cache" / "files" / "md5" / name[:2] / name[2:],
        "remote": world / "store" / "files" / "md5" / name[:2] / name[2:],
    }


def read_is_refused(file: Path, path: str) -> None:
    """Reading the shard, as every stage does, is refused with its name."""
    said = told(lambda: [str(store.read_table(file).num_rows)])
    assert said.startswith("refused"), f"the damaged {path} is read without complaint"
    assert path in said, f"the refused read does not name {path}: {said}"


def told(work: Callable[[], list[str]]) -> str:
    """The lines that `work` returns, or `refused: ` and its error."""
    try:
        return "\n".join(work())
    except (ValueError, LookupError, OSError) as error:
        return f"refused: {error}"


# Kills ------------------------------------------------------------------------------------------------------------


def kills(box: Path, count: int, chance: random.Random) -> int:
    """Run `count` trials and print a line each; returns how many failed."""
    first, last = undisturbed(box)
    misses = 0
    for number in range(count):
        step = chance.randint(1, first) if number < EARLY_KILLS else chance.randint(1, last)
        world = box.with_name(f"world-{number}")
        try:
            print(f"{number + 1:3d}  killed at step {step:4d} of {last}: {killed(box, world, step)}", flush=True)
        except AssertionError as error:
            misses += 1
            print(f"{number + 1:3d}  killed at step {step:4d} of {last}: {error}", flush=True)
        shutil.rmtree(world)
    print(f"{count} killed pushes: {count - misses} completed by the next one, {misses} missed")
    return misses


def undisturbed(box: Path) -> tuple[int, int]:
    """The steps of a push to an empty remote: the one that brings the first object there, and the last."""
    world = empty_remote(box, box.with_name("undisturbed"))
    done = storage.push_killed_at(world / "project", 0, world)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(world)
    first, last = done.stdout.splitlines()[-1].split()
    return int(first), int(last)


def empty_remote(box: Path, world: Path) -> Path:
    """A copy of the box in which nothing has been pushed yet."""
    shutil.copytree(box, world, copy_function=shutil.copy2)
    shutil.rmtree(world / "store")
    return world


def killed(box: Path, world: Path, step: int) -> str:
    """One kill, one more push, one clone; AssertionError if the clone lacks a byte."""
    empty_remote(box, world)
    project = world / "project"
    done = storage.push_killed_at(project, step, world)
    assert done.returncode == -9, f"the push was not killed: {done.stdout}{done.stderr}"
    arrived = sum(path.is_file() and path.suffix != ".tmp" for path in (world / "store").rglob("*"))
    remotes.push(Workspace(project))
    clone = storage.clone(project, world / "clone")
    remotes.pull(Workspace(clone))
    before = storage.contents(project)
    assert storage.contents(clone) == before, "the clone is not whole"
    return f"{arrived:3d} objects had arrived, the clone holds all {len(before)} files"


if __name__ == "__main__":
    main()
