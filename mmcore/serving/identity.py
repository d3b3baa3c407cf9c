"""What a Bento is made of, computed again from what is loaded: the proof that it is the release it claims to be."""

import hashlib
import platform
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

import mmcore
from mmcore.data.modalities import media
from mmcore.workspace import hash_file, read_json

LIBRARIES = ("bentoml", "numpy", "pillow", "safetensors", "tokenizers", "torch")
CODE = (".py", ".html")


def code_files(package: Path) -> dict[str, str]:
    """SHA-256 of every code file below the folder of the package, by relative name."""
    files = sorted(path for path in package.rglob("*") if path.suffix in CODE)
    return {path.relative_to(package).as_posix(): hash_file(path) for path in files}


def digest(hashes: Mapping[str, str] | Iterable[tuple[str, str]]) -> str:
    """One SHA-256 over names and hashes, whatever order they come in."""
    pairs = sorted(hashes.items() if isinstance(hashes, Mapping) else hashes)
    return hashlib.sha256("".join(f"{name}\0{value}\n" for name, value in pairs).encode()).hexdigest()


def choosing(tasks_folder: Path, tasks: Iterable[str]) -> dict[str, list[str]]:
    """Of the saved models of `tasks` those that choose among classes, and the inputs that they choose by."""
    configs = {task: read_json(tasks_folder / task / "config.json") for task in tasks}
    return {
        task: list(config["heads"][config["answers_by"]]["inputs"])
        for task, config in configs.items()
        if config.get("answers_by") is not None
    }


def reading(tasks_folder: Path, tasks: Iterable[str]) -> dict[str, list[str]]:
    """The modalities that the saved model of each of `tasks` encodes, texts last."""
    configs = {task: read_json(tasks_folder / task / "config.json") for task in tasks}
    return {
        task: [name for name in (*media(), "text") if name in config["model"]["encoders"]]
        for task, config in configs.items()
    }


def loaded_code(beside: Path) -> dict[str, object]:
    """Where the running mmcore came from, relative to the folder `beside`, and the hash of its code.

    `strays` names modules of mmcore that were loaded from any other place than the package's own folder.
    """
    package = Path(str(mmcore.__file__)).resolve().parent
    strays = []
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.partition(".")[0] == "mmcore" and file and package not in Path(file).resolve().parents:
            strays.append(name)
    inside = package.is_relative_to(beside.resolve())
    return {
        "mmcore": package.relative_to(beside.resolve()).as_posix() if inside else str(package),
        "strays": strays,
        "code_hash": digest(code_files(package)),
    }


def versions() -> dict[str, str]:
    """The running Python and libraries."""
    return {"python": platform.python_version(), "mmcore": mmcore.__version__} | {
        name: version(name) for name in LIBRARIES
    }
