"""What code a stage is made of: a hash that a changed statement changes and a changed comment does not.

The hash goes over the syntax trees, without docstrings, of every module of this package (and of the user's
plugins) that a stage can import, and over the versions of the libraries those modules name. So a stage is run
again when its own code changes, and only then, wherever mmcore happens to be installed.
"""

import ast
import hashlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from mmcore.settings import Component

# Distribution names that differ from the import name.
DISTRIBUTIONS = {"PIL": "pillow", "yaml": "pyyaml", "sklearn": "scikit-learn", "ruamel": "ruamel-yaml"}


def fingerprint(roots: Iterable[str], *, own: Iterable[str] = ("mmcore",)) -> dict[str, object]:
    """`{"modules": {name: hash}, "libraries": {name: version}, "sha256": ...}` of the modules that `roots` reach.

    `own`: the top-level packages whose source counts; everything else counts by its version.
    """
    packages = set(own)
    modules: dict[str, str] = {}
    libraries: dict[str, str] = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in modules:
            continue
        path = _source(name)
        if path is None:
            raise LookupError(f"the module '{name}' cannot be found; is the plugin's folder on the Python path?")
        tree_hash, imports = _read(path, name)
        modules[name] = tree_hash
        # A module brings in the packages above it.
        waiting.extend(name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1))
        for imported in imports:
            top = imported.partition(".")[0]
            if top in packages:
                waiting.extend(_existing(imported))
            elif top not in sys.stdlib_module_names:
                libraries[top] = _version(top)
    content = {"modules": dict(sorted(modules.items())), "libraries": dict(sorted(libraries.items()))}
    digest = hashlib.sha256(repr(content).encode()).hexdigest()
    return {"sha256": digest, **content}


def exists(module: str) -> bool:
    """Whether a module of that name can be found (it is not imported)."""
    return _source(module) is not None


def modules_of(folder: str, specs: Iterable[Component]) -> list[str]:
    """The modules of components that are found by name in a folder of mmcore; those of plugins count elsewhere."""
    names = (f"mmcore.{folder}.{spec['name']}" for spec in specs)
    return [name for name in names if exists(name)]


def modules_of_task(spec: Component) -> list[str]:
    """The module of a task, and those of the objectives that train it."""
    learned_by = {"retrieval": ["contrast"], "zero_shot": ["contrast"], "matching": ["contrast", "matching"]}
    objectives = [{"name": name} for name in learned_by.get(spec["name"], ())]
    return [*modules_of("tasks", [spec]), *modules_of("objectives", objectives)]


@cache
def _read(path: Path, name: str) -> tuple[str, tuple[str, ...]]:
    tree = ast.parse(path.read_bytes())
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    imports: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
                base = f"{above}.{base}".rstrip(".")
            imports.extend(f"{base}.{alias.name}" for alias in node.names)
        _drop_docstring(node)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(imports)


def _drop_docstring(node: ast.AST) -> None:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return
    body = node.body
    first = body[0].value if body and isinstance(body[0], ast.Expr) else None
    if isinstance(first, ast.Constant) and isinstance(first.value, str):
        node.body = body[1:]


def _existing(imported: str) -> list[str]:
    """`a.b.c` may be a module or a name inside the module `a.b`."""
    if _source(imported) is not None:
        return [imported]
    return [imported.rpartition(".")[0]]


@cache
def _source(name: str) -> Path | None:
    """The file of a module, found without importing it."""
    parts = name.split(".")
    spec = importlib.util.find_spec(parts[0])
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin)
    if len(parts) == 1:
        return path
    base = path.parent.joinpath(*parts[1:])
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _version(library: str) -> str:
    """The version without its local part: a CPU and a CUDA build of one version count as the same code."""
    try:
        return importlib.metadata.version(DISTRIBUTIONS.get(library, library)).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
