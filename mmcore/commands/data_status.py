"""`mmcore data status`: where data/, data.dvc, the cache and a remote agree, and what to type next."""

import argparse
from dataclasses import dataclass

from mmcore.objects import fault
from mmcore.remotes import Copies, recorded
from mmcore.workspace import Workspace


def run(workspace: Workspace, arguments: argparse.Namespace) -> str:
    """A table of the places, then one line on what to do."""
    found = status(workspace, arguments.remote)
    width = max(len(place.name) for place in found.places)
    rows = [
        f"{place.name:<{width}}  {place.count:>7} files  {place.size / 1e6:>10.1f} MB  {place.state}"
        for place in found.places
    ]
    return "\n".join([*rows, f"next: {found.advice}"])


@dataclass(frozen=True)
class Place:
    """One row of the table: a place, how many of the files or objects it has, their bytes, and how it stands."""

    name: str
    count: int
    size: int
    state: str


@dataclass(frozen=True)
class Status:
    """Where the data lie, and what to do next."""

    places: list[Place]
    advice: str


def status(workspace: Workspace, remote_name: str | None = None) -> Status:
    """Where data/, data.dvc, the cache and a remote agree, by names and sizes alone (`verify` reads the bytes).

    Nothing is changed.
    """
    copies = Copies.of(workspace)
    remote = copies.remote(remote_name) if remote_name else copies.ledger.remote()
    state = copies.ledger.data_state()
    files = [file.stat().st_size for file in copies.data.rglob("*") if file.is_file()]
    words = {"same": "as data.dvc says", "changed": "not what data.dvc says", "absent": "absent"}
    places = [Place("data/", len(files), sum(files), words[state])]
    try:
        version = recorded(copies, remote)
    except (LookupError, ValueError, ConnectionError) as error:
        return Status(places, str(error))
    held = {name: copies.cache.path(name) for name in version.objects}
    sizes = {name: path.stat().st_size for name, path in held.items() if path.is_file()}
    # The list of the files alone has been read: a damaged one counts as none, or the remote would seem to be wrong.
    damaged = version.name in sizes and fault(version.name, copies.reader.read(held[version.name]))
    if damaged:
        del sizes[version.name]
    places.append(_place("cache", sizes, len(held), 0))
    advice = {
        "changed": "see what differs: mmcore data verify; take back what data.dvc names: mmcore data pull; "
        "or record the change, if it is meant: dvc add data",
        "absent": "mmcore data pull",
    }.get(state, "mmcore data pull" if damaged else "")
    if remote is None:
        return Status(places, advice or "add a remote to keep the data elsewhere, too: dvc remote add -d NAME URL")
    there = remote.sizes(list(held))
    short = sum(there[name] != size for name, size in sizes.items() if name in there)
    places.append(_place(f"remote '{remote.name}' {remote.url}", there, len(held), short))
    if not advice and (short or len(there) < len(held)):
        advice = f"mmcore data push --remote {remote.name}"
    return Status(places, advice or "nothing; mmcore data verify reads every byte, with --remote those on the remote")


def _place(name: str, sizes: dict[str, int], required: int, wrong: int) -> Place:
    lacking = required - len(sizes)
    troubles = [f"{lacking} of {required} missing"] * bool(lacking) + [f"{wrong} of another size"] * bool(wrong)
    return Place(name, len(sizes), sum(sizes.values()), ", ".join(troubles) or "complete")
