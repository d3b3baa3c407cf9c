"""docs/coverage.md holds what it says: every test and every file that a row names is there."""

import ast
import re
from dataclasses import dataclass
from functools import cache

from tests.conftest import ROOT

PAGE = ROOT / "docs" / "coverage.md"


@dataclass(frozen=True)
class Row:
    what: str
    status: str
    places: list[str]
    tests: list[str]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def tables() -> list[tuple[list[str], list[list[str]]]]:
    """The head and the rows of every table of the page."""
    found: list[tuple[list[str], list[list[str]]]] = []
    before = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("|") and not before.startswith("|"):
            found.append((cells(line), []))
        elif line.startswith("|") and not line.startswith("|---"):
            found[-1][1].append(cells(line))
        before = line
    return found


def covered() -> list[Row]:
    rows = [row for head, rows in tables() if head == ["what", "status", "where", "shown by"] for row in rows]
    return [Row(what, status, quoted(where), quoted(shown)) for what, status, where, shown in rows]


@cache
def names_in(file: str) -> frozenset[str]:
    """The names of the test functions of a file, those of classes after `Class::`; none if there is no such file."""
    path = ROOT / file
    if not path.is_file():
        return frozenset()
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {prefix + one.name for one in inner if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
    return frozenset(name for name in found if name.rpartition("::")[2].startswith("test_"))


def exists(test: str) -> bool:
    """Whether there is a test of this id; of `file::test[case]` the function counts."""
    file, _, name = test.partition("::")
    return name.partition("[")[0] in names_in(file)


def test_every_table_of_the_page_is_read():
    heads = [head for head, _ in tables()]
    assert heads.count(["what", "why"]) == 1
    assert all(head in (["what", "status", "where", "shown by"], ["what", "why"]) for head in heads)
    assert all(len(row) == len(head) and all(row[:2]) for head, rows in tables() for row in rows)
    assert len(covered()) > 100


def test_nothing_is_named_twice():
    names = [row[0] for _, rows in tables() for row in rows]
    assert [name for name in names if names.count(name) > 1] == []


def test_every_row_has_a_status_and_says_what_is_missing():
    odd = {row.what: row.status for row in covered() if not re.fullmatch("yes|not yet|partly: .+", row.status)}
    assert odd == {}


def test_every_named_test_exists():
    assert [f"{row.what}: {test}" for row in covered() for test in row.tests if not exists(test)] == []


def test_every_named_place_exists():
    assert [f"{row.what}: {place}" for row in covered() for place in row.places if not (ROOT / place).exists()] == []


def test_what_is_there_names_its_place_and_a_test():
    """`yes` and `partly` name both; `not yet` has nothing to name."""
    bare = [row.what for row in covered() if row.status != "not yet" and not (row.places and row.tests)]
    assert bare == []
    assert [row.what for row in covered() if row.status == "not yet" and (row.places or row.tests)] == []


def test_a_test_that_is_not_there_is_noticed():
    own = "tests/test_coverage.py"
    assert exists(f"{own}::test_nothing_is_named_twice")
    assert exists(f"{own}::test_nothing_is_named_twice[a case]")
    assert not exists(f"{own}::test_nothing")
    assert not exists(f"{own}::covered")
    assert not exists(own)
    assert not exists("tests/test_nowhere.py::test_nothing_is_named_twice")
