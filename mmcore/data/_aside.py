"""The folder that an import fills beside the store. It outlives a kill, so that the import can go on from there."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from mmcore.data import store
from mmcore.data.frozen import FROZEN
from mmcore.workspace import hash_file, read_json, write_bytes, write_folder, write_json

_WORDS = "words.json"
_JOURNAL = "shards.jsonl"


class Aside:
    """`.<name>.import` beside the store `<name>`: what was asked for, the new store, and its complete shards by hash.

    `words` is what must be the same for an import to go on: source, format, options, and what it adds to.
    """

    def __init__(self, destination: Path, words: dict[str, Any]) -> None:
        self._destination = destination
        self._words = words
        self._folder = destination.with_name(f".{destination.name}.import")
        self.store = self._folder / "store"
        self._open: dict[str, Path] = {}
        self._next: dict[str, str] = {}

    def begin(self) -> None:
        """An empty folder; what an earlier import left is removed."""
        self.remove()
        self.store.mkdir(parents=True)
        # Half an import is nothing to commit, whatever the project's .gitignore says.
        write_bytes(self._folder / ".gitignore", b"*\n")
        write_json(self._folder / _WORDS, self._words)

    def resume(self) -> set[str]:
        """The ids in the complete shards of the interrupted import, all else of which is removed.

        None where there is nothing to go on with; ValueError if the interrupted import was another one.
        """
        if not (self._folder / _WORDS).is_file():
            self.begin()
            return set()
        if differing := [name for name, word in read_json(self._folder / _WORDS).items() if self._words[name] != word]:
            raise ValueError(
                f"the interrupted import was another one ({', '.join(differing)} differ); give the same words again, "
                "or leave out --resume to start from the beginning"
            )
        complete = self._complete()
        for path in [path for path in self.store.rglob("*") if path.is_file()]:
            if path.relative_to(self.store).as_posix() not in complete:
                path.unlink()
        write_bytes(self._folder / _JOURNAL, b"".join(_line(path, sha256) for path, sha256 in complete.items()))
        return {row["id"] for path in complete for row in store.read_rows(self.store / path, ["id"])}

    def bring(self, shards: list[store.Shard]) -> None:
        """Put shards of the store into the new one. They never change, so a link will do."""
        if (self._destination / FROZEN).is_file():
            shutil.copyfile(self._destination / FROZEN, self.store / FROZEN)
        for shard in shards:
            new, old = self.store / shard.path, (self._destination / shard.path).resolve()
            new.parent.mkdir(exist_ok=True)
            try:
                os.link(old, new)
            except OSError:  # on another file system or mount, or on one that has no links
                shutil.copyfile(old, new)

    def note(self, split: str) -> None:
        """Write down the shard of `split` that has become complete, if the next one has been begun."""
        if split not in self._open:
            self._open[split] = max((self.store / split).glob("part-*.parquet"))
            self._next[split] = str(_after(self._open[split]))
        # Asked for every row, so as a plain string.
        if not os.path.exists(self._next[split]):
            return
        shard = self._open[split]
        line = _line(shard.relative_to(self.store).as_posix(), hash_file(shard))
        with open(self._folder / _JOURNAL, "ab") as file:
            file.write(line)
        self._open[split] = _after(shard)
        self._next[split] = str(_after(_after(shard)))

    def put(self) -> None:
        """Let the new store take the place of the old one."""
        with write_folder(self._destination) as final:
            for path in sorted(self.store.iterdir()):
                os.replace(path, final / path.name)
        self.remove()

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def has_complete_shards(self) -> bool:
        return (self._folder / _JOURNAL).is_file()

    def _complete(self) -> dict[str, str]:
        """Shard -> SHA-256 of those that are as they were written down, of each split up to the first that is not."""
        journal = self._folder / _JOURNAL
        complete: dict[str, str] = {}
        broken: set[str] = set()
        for line in journal.read_bytes().splitlines() if journal.is_file() else ():
            try:
                path, sha256 = json.loads(line)
            except ValueError:  # the kill hit this very line
                break
            split = path.partition("/")[0]
            whole = (self.store / path).is_file() and hash_file(self.store / path) == sha256
            if split in broken or not whole:
                broken.add(split)
            else:
                complete[path] = sha256
        return complete


def _after(shard: Path) -> Path:
    return store.shard_path(shard.parent.parent, shard.parent.name, int(shard.stem.removeprefix("part-")) + 1)


def _line(path: str, sha256: str) -> bytes:
    return json.dumps([path, sha256]).encode() + b"\n"
