"""Makes a Bento of the task models: code, weights and pinned requirements, built by BentoML outside the checkout."""

import contextlib
import dataclasses
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmcore.data.modalities import MODALITIES, media
from mmcore.fingerprint import fingerprint
from mmcore.serving import weights
from mmcore.serving.identity import choosing, code_files, digest, reading, versions
from mmcore.settings import ServeSettings
from mmcore.workspace import hash_file, read_json, run_lock, sync_folder, write_json

ENTRY = "mmcore.serving.bento"
ENCODERS = "mmcore.models.encoders"
# Found by name when a model is loaded, so that no import statement leads to them.
FOLDERS = ("mmcore.data.modalities", ENCODERS, "mmcore.serving.predictor")
BUILD_SECONDS = 300


def package(
    tasks_folder: Path,
    tasks: Sequence[str],
    *,
    name: str,
    version: str,
    model_hash: str,
    bentofile: Path,
    requirements: Path,
    store: Path,
    serve: ServeSettings,
    plugins: Sequence[str] = (),
) -> str:
    """Build the Bento `name:version` of the models `tasks_folder/<task>` into the Bento store; returns its tag.

    A Bento of that tag with equal content is left as it is, one with other content is replaced. `model_hash` is what
    the release is known by; `GET /identity` gives it back beside the hashes of what is loaded. `plugins`: modules of
    one's own that the models need; they are packed too. `requirements`: the folder of the pins; those of transformers,
    which few models need, lie apart there.
    """
    tag, store = f"{name.lower()}:{version}", store.resolve()
    # The context lies outside the store: BentoML reads nothing below a hidden folder, and a project's store is in one.
    alone = run_lock(store / "build.lock", f"the build of {tag}", patience=BUILD_SECONDS)
    place = Path(tempfile.gettempdir())
    with alone, _folder(store, ".build-") as home, _folder(place, f"mmcore-{_short(store)}-") as context:
        known_as = {"name": name, "version": version, "model_hash": model_hash}
        made_of = {"tasks": list(tasks), "plugins": list(plugins)}
        identity = known_as | made_of | _assemble(context, tasks_folder, tasks, plugins, serve)
        shutil.copyfile(bentofile, context / "bentofile.yaml")
        (context / "requirements.txt").write_text(_pins(requirements, tasks_folder, tasks), encoding="utf-8")
        identity["content_hash"] = digest(_files(context))
        write_json(context / "release" / "identity.json", identity)
        there = bento_path(store, tag)
        if not _intact(there, identity):
            built = _build(context, home, tag)
            shutil.rmtree(there, ignore_errors=True)
            there.parent.mkdir(parents=True, exist_ok=True)
            os.replace(built, there)
            sync_folder(there.parent)
    return tag


def _pins(requirements: Path, tasks_folder: Path, tasks: Sequence[str]) -> str:
    """What a Bento of these models needs installed."""
    pins = (requirements / "bento.txt").read_text(encoding="utf-8")
    encoders = {
        f"{ENCODERS}.{encoder['name']}"
        for task in tasks
        for encoder in read_json(tasks_folder / task / "config.json")["model"]["encoders"].values()
    }
    shipped = [name for name in sorted(encoders) if importlib.util.find_spec(name)]  # what plugins need, they say
    libraries: Any = fingerprint(shipped)["libraries"]
    if "transformers" in libraries:
        pins += "\n" + (requirements / "bento-transformers.txt").read_text(encoding="utf-8")
    return pins


def bento_path(store: Path, tag: str) -> Path:
    """The folder of a Bento in the store, whether it is there or not."""
    name, _, version = tag.partition(":")
    return store / "bentos" / name / version


def code_hash(plugins: Sequence[str] = ()) -> str:
    """The hash of the code of mmcore that a Bento made now holds."""
    found = {name.removeprefix("mmcore/"): path for name, path in _code(plugins).items() if name.startswith("mmcore/")}
    return digest({name: hash_file(path) for name, path in found.items()})


def _code(plugins: Sequence[str]) -> dict[str, Path]:
    """The files of mmcore and of the plugins that the service can import, and its pages, by their name in the Bento."""
    tops = ["mmcore", *sorted({plugin.partition(".")[0] for plugin in plugins})]
    places = {top: _place(top) for top in tops}
    roots = [ENTRY, *plugins]
    for name in FOLDERS:
        folder = places["mmcore"].joinpath(*name.split("."))
        roots += [f"{name}.{path.stem}" for path in sorted(folder.glob("*.py"))] if folder.is_dir() else [name]
    names = [f"mmcore/serving/page/{page}" for page in ("index.html", "docs.html")]
    reached: Any = fingerprint(roots, own=tops)["modules"]
    for module in reached:
        name = module.replace(".", "/")
        is_package = (places[module.partition(".")[0]] / name).is_dir()
        names.append(f"{name}/__init__.py" if is_package else f"{name}.py")
    return {name: places[name.partition("/")[0].removesuffix(".py")] / name for name in sorted(set(names))}


def _place(top: str) -> Path:
    """The folder that a top-level module or package lies in."""
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None:
        raise LookupError(f"the plugin '{top}' cannot be found; is its folder on the Python path?")
    origin = Path(spec.origin)
    return origin.parent.parent if origin.name == "__init__.py" else origin.parent


def _assemble(
    context: Path, tasks_folder: Path, tasks: Sequence[str], plugins: Sequence[str], serve: ServeSettings
) -> dict[str, Any]:
    """Fill the folder with code and models; returns what they are, by content."""
    for name, path in _code(plugins).items():
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, context / name)
    release = context / "release"
    release.mkdir()
    weights_hash = weights.store(tasks_folder, tasks, release)
    write_json(release / "serve.json", dataclasses.asdict(serve))
    reads = reading(tasks_folder, tasks)
    return {
        "reads": reads,
        "chooses": choosing(tasks_folder, tasks),
        "suffixes": {name: list(MODALITIES[name].suffixes) for name in media() if name in set().union(*reads.values())},
        "weights_hash": weights_hash,
        "code_hash": digest(code_files(context / "mmcore")),
        "versions": versions(),
        "files": _files(context),
    }


def _files(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in paths}


def _intact(bento: Path, identity: dict[str, Any]) -> bool:
    """Whether the Bento is there with that very content, each file of it unharmed."""
    source = bento / "src"
    if not (source / "release" / "identity.json").is_file():
        return False
    files: dict[str, str] = identity["files"]
    return bool(read_json(source / "release" / "identity.json") == identity) and all(
        (source / name).is_file() and hash_file(source / name) == wanted for name, wanted in files.items()
    )


def _build(context: Path, home: Path, tag: str) -> Path:
    name, _, version = tag.partition(":")
    _bentoml(["build", "--name", name, "--version", version, str(context)], home, context)
    return bento_path(home, tag)


def _bentoml(arguments: list[str], home: Path, folder: Path) -> None:
    """Run `bentoml ARGUMENTS` in `folder` with nothing of ours importable but what lies there."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MMCORE_API_KEY")}
    environment |= {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", *arguments], cwd=folder, env=environment, check=False, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=BUILD_SECONDS,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"bentoml {arguments[0]} failed:\n{done.stdout[-4000:]}")


@contextlib.contextmanager
def _folder(place: Path, prefix: str) -> Iterator[Path]:
    """A temporary folder in `place`; what a killed build left there under that prefix is removed first."""
    place.mkdir(parents=True, exist_ok=True)
    for stale in place.glob(f"{prefix}*"):
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=place) as name:
        yield Path(name)


def _short(store: Path) -> str:
    return hashlib.sha256(str(store).encode()).hexdigest()[:12]
