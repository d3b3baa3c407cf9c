"""Values put together by a key, on disk: captions by image, answers by question, however many there are."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any


class Grouped:
    """What was added under each key, in the order in which it was added.

    Kept in a temporary file that has no name and ends with the object. All adding comes before all asking.
    """

    def __init__(self) -> None:
        self._base = sqlite3.connect("", isolation_level=None)
        self._base.execute("pragma journal_mode = off")
        self._base.execute("create table entries (number integer primary key, key blob, value text)")
        self._asked = False

    def add(self, entries: Iterable[tuple[object, Any]]) -> None:
        """Add pairs of a key (taken as text, of whatever characters) and a value of JSON."""
        assert not self._asked, "all adding comes before all asking"
        rows = ((_blob(key), json.dumps(value)) for key, value in entries)
        self._base.execute("begin")
        self._base.executemany("insert into entries (key, value) values (?, ?)", rows)
        self._base.execute("commit")

    def __getitem__(self, key: object) -> list[Any]:
        """The values of a key; none if nothing was added under it."""
        self._index()
        found = self._base.execute("select value from entries where key = ? order by number", (_blob(key),))
        return [json.loads(value) for (value,) in found]

    def __iter__(self) -> Iterator[str]:
        """The keys, in the order in which they were first added."""
        self._index()
        for (key,) in self._base.execute("select key from entries group by key order by min(number)"):
            yield key.decode("utf-8", "surrogatepass")

    def close(self) -> None:
        """Give the space back."""
        self._base.close()

    def __enter__(self) -> "Grouped":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _index(self) -> None:
        if not self._asked:
            self._base.execute("create index by_key on entries (key, number)")
            self._asked = True


def _blob(key: object) -> bytes:
    """A key as bytes: file names that are no UTF-8 come as characters that SQLite takes for no text."""
    return str(key).encode("utf-8", "surrogatepass")
