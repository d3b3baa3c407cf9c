"""Whether docs/coverage.md's tests see that a component does nothing: `python -m tests.faults.identity [TEXT]`.

For every row (whose words hold TEXT) and every file of ours that it names, the tests of the row are run in a copy of
the project in which what that file does gives back what it is given: `forward` of its modules, `loss` of its
objectives, else all of its public functions and methods; these, too, where a file has several components and no test of
the row sees the first. One of the tests has to fail. Half an hour on one core.
"""

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import ROOT
from tests.test_coverage import Row, covered

SECONDS = 600
# What a component does, by the name of the method; the first of these that a file has is replaced.
DOES = ("forward", "loss", "__call__")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def replaced(source: str, *, public: bool = False) -> str:
    """The source of a file whose component, or all that is `public` in it, gives back what it is given."""
    tree = ast.parse(source)
    inside = [node for kind in tree.body if isinstance(kind, ast.ClassDef) for node in kind.body]
    methods = [node for node in inside if isinstance(node, Function)]
    does = next((name for name in DOES if any(node.name == name for node in methods)), None)
    if does is not None and not public:
        chosen = [node for node in methods if node.name == does]
    else:
        outside = [node for node in tree.body if isinstance(node, Function)]
        chosen = [node for node in (*outside, *methods) if not node.name.startswith("_")]
    for node in chosen:
        _give_back(node)
    return ast.unparse(ast.fix_missing_locations(tree))


def _give_back(node: Function) -> None:
    named = [one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    given = [name for name in named if name not in ("self", "cls")]
    value: ast.expr = ast.Name(given[0], ast.Load()) if given else ast.Constant(None)
    yields = any(isinstance(part, ast.Yield | ast.YieldFrom) for part in ast.walk(node))
    node.body = [ast.Expr(ast.Yield(value)) if yields else ast.Return(value)]


def fails(row: Row, place: str, copy: Path) -> bool:
    """Whether a test of `row` fails in `copy` when the component in the file `place` gives back what it is given."""
    before = (copy / place).read_text(encoding="utf-8")
    ways = dict.fromkeys((replaced(before), replaced(before, public=True)))
    return any(_fails(row, copy / place, before, way, copy) for way in ways)


def _fails(row: Row, path: Path, before: str, after: str, copy: Path) -> bool:
    path.write_text(after, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider", *row.tests]
    try:
        own = {**os.environ, "PYTHONPATH": str(copy)}
        done = subprocess.run(command, cwd=copy, env=own, capture_output=True, timeout=SECONDS, check=False)
        return done.returncode != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_text(before, encoding="utf-8")


def main() -> int:
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    unseen, tried = [], 0
    with tempfile.TemporaryDirectory(prefix="mmcore-identity-") as folder:
        copy = Path(folder) / "mmcore"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".venv*", ".mmcore", "artifacts", "__pycache__"))
        for row in covered():
            places = [place for place in row.places if place.endswith(".py") and wanted in row.what]
            for place in places:
                tried += 1
                seen = fails(row, place, copy)
                print("seen  " if seen else "UNSEEN", row.what[:60], place, flush=True)
                if not seen:
                    unseen.append(place)
    print(f"{tried} replaced, {len(unseen)} unseen")
    return bool(unseen)


if __name__ == "__main__":
    sys.exit(main())
