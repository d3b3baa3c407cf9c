"""A fixed test split: while it is frozen, new rows go to train or validation, and none of its groups grows.

`<root>/frozen.json` holds the number of test rows and one hash over all of them, so it travels with data/ through
data.dvc. The rows themselves are the list.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

from mmcore.data import store
from mmcore.data.importers import Refused
from mmcore.workspace import read_json, write_json

FROZEN = "frozen.json"


@dataclass(frozen=True)
class Frozen:
    """`rows`: how many the test split has; `sha256`: over their ids and contents, whatever their order."""

    rows: int
    sha256: str


def read(root: Path) -> Frozen | None:
    """The record of the store at `root`; None while its test split is open."""
    path = root / FROZEN
    return Frozen(**read_json(path)) if path.is_file() else None


def freeze(root: Path) -> Frozen:
    """Fix the test split as it is now; a ValueError if it is fixed already or has no rows."""
    if read(root) is not None:
        raise ValueError("the test split is frozen already; to fix it anew: mmcore data freeze --thaw, then freeze")
    record = _test_split(root)
    if not record.rows:
        raise ValueError(f"{root} has no row of the split test to freeze")
    write_json(root / FROZEN, asdict(record))
    return record


def thaw(root: Path) -> None:
    """Let the test split grow again; a ValueError if it is not frozen."""
    if read(root) is None:
        raise ValueError("the test split is not frozen")
    (root / FROZEN).unlink()


def check(root: Path) -> None:
    """Raise a ValueError if the test split is frozen and is not what it was then."""
    record = read(root)
    if record is None:
        return
    found = _test_split(root)
    if found != record:
        raise ValueError(
            f"the test split is frozen at {record.rows} rows ({record.sha256[:12]}) but {root} has {found.rows} "
            f"({found.sha256[:12]}); restore it (dvc checkout data.dvc --force), or thaw it: mmcore data freeze --thaw"
        )


class Placement:
    """Decides on the split of each new row.

    It is what the source says, else where its group lies already, else a pure function of its group
    (`store.split_of`); so only a source that states its splits can tear a group apart, and validation then rejects
    what training must not see. While the test split is frozen, a row that would fall into it goes where its group
    lies, or, by its key alone, to train (8 of 9) or validation (1 of 9); and a row whose group has rows in the frozen
    split is refused, because learning from it would leak what the test asks.
    """

    def __init__(self, root: Path | None) -> None:
        """Take the groups of the store at `root`; None for a store that begins anew."""
        self._test: set[str] | None = set() if root is not None and read(root) is not None else None
        # Only the groups that do not lie where their hash says: few, unless the source states its splits.
        self._astray: dict[str, str] = {}
        if root is not None and (root / store.MANIFEST).is_file():
            for shard in store.shards(root):
                self._take(shard.split, set(store.column(root / shard.path, "group")))

    def place(self, row: store.Row, stated: str | None) -> str | Refused:
        """The split of `row`, or why it is refused; `stated`: the split that the source says, if it says one."""
        group = row["group"]
        split = stated or self._astray.get(group) or store.split_of(group)
        if self._test is not None:
            if group in self._test:
                detail = f"its group '{group}' is in the frozen test split"
                return Refused(row["id"], "frozen_group", detail, split)
            if split == "test":
                split = self._astray.get(group) or _open_split(group)
        self._remember(group, split)
        return split

    def _take(self, split: str, groups: set[str]) -> None:
        if split == "test" and self._test is not None:
            self._test |= groups
        for group in groups:
            self._remember(group, split)

    def _remember(self, group: str, split: str) -> None:
        if split != store.split_of(group):
            self._astray.setdefault(group, split)


def _open_split(group: str) -> str:
    """Train or validation by the group's key alone: where it falls, or 8 to 1 if that is test."""
    if store.split_of(group) != "test":
        return store.split_of(group)
    digest = hashlib.sha256(b"not test\0" + group.encode()).digest()
    return "train" if int.from_bytes(digest[:8], "big") / 2**64 < 8 / 9 else "validation"


def _test_split(root: Path) -> Frozen:
    lines = []
    for shard in store.shards(root, "test"):
        ids, hashes = store.column(root / shard.path, "id"), store.column(root / shard.path, "sha256")
        lines += [f"{id}\0{content}\n" for id, content in zip(ids, hashes, strict=True)]
    return Frozen(len(lines), hashlib.sha256("".join(sorted(lines)).encode()).hexdigest())
