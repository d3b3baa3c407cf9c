"""Work on the shards of the store: a pure function of one shard at a time, done in parallel, kept and not done again.

What a function makes of a shard is a folder in a cache. Its key covers all that can change it: the function's code, the
shard's SHA-256 and the options. An entry is whole or is not there: it is written aside and renamed, and one whose files
are not what its own list says is made again.
"""

import errno
import hashlib
import importlib
import json
import os
import pkgutil
import platform
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache as once
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmcore import fingerprint
from mmcore.data import modalities
from mmcore.data.modalities import modules_of_own, own_media
from mmcore.data.parallel import map_processes
from mmcore.workspace import hash_file, read_json, sync_folder, write_json

ENGINES = ("local", "ray")
FILES = "files.json"
UNUSED_SECONDS = 30 * 24 * 3600
STALE_SECONDS = 24 * 3600


@dataclass(frozen=True)
class ShardWork:
    """One shard and what is to be done with it. `sha256`: of the shard's bytes, as the manifest says.

    `options`: a frozen dataclass or whatever JSON can hold; with the bytes they decide the result.
    """

    shard: Path
    sha256: str
    options: Any


Function = Callable[[ShardWork, Path], None]


def map_shards(
    function: Function,
    work: Sequence[ShardWork],
    *,
    cache: Path | None,
    engine: str = "local",
    processes: int | None = None,
) -> Generator[Path, None, None]:
    """For every item of `work`, in order, the folder that `function(item, folder)` has filled.

    `function` stands at the top of a module and depends on the shard's bytes and the options alone. Its results are
    kept in `<cache>/<its name>/<key>/`, those unused for 30 days are removed; without a `cache` they last until the
    iteration ends. The folders belong to the cache: read them, or take their files over with `link_files`.

    `engine`: `local` uses so many `processes` of this machine (null: one for each core, at most eight), `ray` the
    cluster that RAY_ADDRESS names; the results are the same. What `function` raises is raised here; what is finished
    by then stays finished. ValueError if the engine cannot be used (`check_engine`) and there is work for it.
    """
    if cache is None:
        with tempfile.TemporaryDirectory(prefix="mmcore-") as folder:
            yield from map_shards(function, work, cache=Path(folder), engine=engine, processes=processes)
        return
    code = code_of(function.__module__)
    entries = [cache / function.__name__ / _key(function, item, code) for item in work]
    whole = _find_whole(entries)
    # Two equal shards have one entry.
    missing = {entry: item for entry, item in zip(entries, work, strict=True) if entry not in whole}
    _prune(cache)
    made = _make_all(function, missing, engine, processes)
    for entry in entries:
        while entry not in whole:
            whole.add(next(made))
        yield entry


def check_engine(engine: str) -> None:
    """ValueError with the fix if there is no such engine, if it is not installed, or if no cluster is named for it."""
    if engine not in ENGINES:
        raise ValueError(f"data.engine is '{engine}'; choose one of: {', '.join(ENGINES)}")
    if engine == "ray" and find_spec("ray") is None:
        raise ValueError(
            "data.engine is ray, and Ray is not installed; in mmcore's checkout: pip install -e '.[ray]', "
            "or choose local"
        )
    if engine == "ray" and own_media():
        raise ValueError(
            f"data.engine is ray, whose machines do not have the plugin that reads {' and '.join(own_media())}; "
            "choose local"
        )
    if engine == "ray" and not os.environ.get("RAY_ADDRESS"):
        raise ValueError("data.engine is ray, but RAY_ADDRESS names no cluster (host:port); set it, or choose local")


def link_files(entry: Path, folder: Path) -> None:
    """Make `folder` hold the files of a finished entry: as hard links, or as copies on another file system."""
    folder.mkdir(parents=True)
    for name in read_json(entry / FILES):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(entry / name, target)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
                raise
            shutil.copyfile(entry / name, target)


def _make_all(function: Function, missing: dict[Path, ShardWork], engine: str, processes: int | None) -> Iterator[Path]:
    tasks = [(function, item, entry) for entry, item in missing.items()]
    if not tasks:
        return iter(())
    check_engine(engine)
    if engine == "local":
        own = modules_of_own()
        return map_processes(_make, [(*task, own) for task in tasks], processes=processes)
    # By name: the fingerprint of a stage must not depend on whether Ray is installed, nor does what it makes.
    made: Iterator[Path] = importlib.import_module("mmcore.data.engine_ray").make_all(tasks)
    return made


def _make(task: tuple[Function, ShardWork, Path, tuple[str, ...]]) -> Path:
    """`task` ends with the modules that a fresh process has to import, so that their modalities are known by name."""
    function, item, entry, plugins = task
    for plugin in plugins:
        importlib.import_module(plugin)
    with new_entry(entry) as folder:
        function(item, folder)
    return entry


# The cache ------------------------------------------------------------------------------------------------------------


def _key(function: Function, item: ShardWork, code: str) -> str:
    options = asdict(item.options) if is_dataclass(item.options) else item.options  # type: ignore[arg-type]
    made_of = [code, function.__module__, function.__qualname__, item.sha256, options]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]


def code_of(module: str) -> str:
    """The fingerprint of the code that a function of `module` may run."""
    return _code_of(module, modules_of_own())


@once
def _code_of(module: str, plugins: tuple[str, ...]) -> str:
    own = ("mmcore", *(name.partition(".")[0] for name in (module, *plugins)))
    return str(fingerprint.fingerprint(_modules(module, plugins), own=own)["sha256"])


def _modules(module: str, plugins: tuple[str, ...]) -> list[str]:
    """With the modalities: they are found by name, so no import leads to them."""
    found = (f"{modalities.__name__}.{one.name}" for one in pkgutil.iter_modules(modalities.__path__))
    return [module, *found, *plugins]


@contextmanager
def new_entry(entry: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it becomes `entry`, with a list of its files, when the block ends well.

    Another run may make the same entry at the same time: the first to finish it keeps its own.
    """
    entry.parent.mkdir(parents=True, exist_ok=True)
    aside = entry.parent / f".{entry.name}.{_writer(os.getpid())}.{uuid.uuid4().hex}.tmp"
    aside.mkdir()
    try:
        yield aside
        listed = {}
        for file in sorted(path for path in aside.rglob("*") if path.is_file()):
            # Outputs are links to these files: nobody may change one through the other.
            file.chmod(0o444)
            with open(file, "rb") as opened:
                os.fsync(opened.fileno())
            listed[file.relative_to(aside).as_posix()] = {"bytes": file.stat().st_size, "sha256": hash_file(file)}
        write_json(aside / FILES, listed)
        try:
            os.rename(aside, entry)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        sync_folder(entry.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _find_whole(entries: list[Path]) -> set[Path]:
    """The entries that are there and undamaged, marked as used now; damaged ones are removed."""
    there = [entry for entry in dict.fromkeys(entries) if entry.exists()]
    whole = set()
    with ThreadPoolExecutor() as threads:
        for entry, good in zip(there, threads.map(_is_whole, there), strict=True):
            if good:
                os.utime(entry / FILES)
                whole.add(entry)
            else:
                shutil.rmtree(entry)
    return whole


def _is_whole(entry: Path) -> bool:
    try:
        listed = {entry / name: (one["bytes"], one["sha256"]) for name, one in read_json(entry / FILES).items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # whatever is left of a damaged list
        return False
    sizes = all(file.is_file() and file.stat().st_size == size for file, (size, _) in listed.items())
    return sizes and all(hash_file(file) == sha256 for file, (_, sha256) in listed.items())


def _writer(process: int | str) -> str:
    """What names a process among those of all machines that may share a cache."""
    return f"{_numbered_in()}-{process}"


@once
def _numbered_in() -> str:
    """Where a number means one process: a machine since its start, or a container on it; names may be given twice."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # not Linux
        return platform.node().replace(".", "-")


def _is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # somebody else's, but there
        pass
    return False


def _prune(cache: Path) -> None:
    """Remove entries that nothing has used for long, and what killed writers left aside: of this machine those that
    are gone, of others after a day."""
    now = time.time()
    for folder in cache.glob("*/*"):
        aside = folder.name.startswith(".")
        writer = folder.name.split(".")[2] if aside and folder.name.count(".") >= 4 else ""
        if writer.startswith(_writer("")) and _is_gone(int(writer.rpartition("-")[2])):
            shutil.rmtree(folder, ignore_errors=True)
        marked = folder if aside else folder / FILES
        if marked.exists() and now - marked.stat().st_mtime > (STALE_SECONDS if aside else UNUSED_SECONDS):
            shutil.rmtree(folder, ignore_errors=True)
