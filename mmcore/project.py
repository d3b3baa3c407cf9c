"""What must hold before the first stage: the data that data.dvc names are there, and the settings can be built here."""

import hashlib
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

from mmcore import __version__, hardware, remotes
from mmcore.data import digitworld
from mmcore.ledger import Ledger, check_git
from mmcore.settings import Settings
from mmcore.workspace import Workspace, hash_file, write_folder

MIN_FREE_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Machine:
    """Where a run takes place, as its first line and its report name it."""

    device: str
    memory: str
    threads: int
    precision: str

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        return f"{self.device} · {self.memory} · {self.precision} · {threads}"


def ensure_data(workspace: Workspace, settings: Settings) -> str:
    """Make data/ be what data.dvc names: as it lies there, from the cache or remote, or generated.

    Returns one line on what was done. Raises ValueError, LookupError or ConnectionError if the data differ or cannot
    be had; data that a person imported are never replaced by generated ones.
    """
    ledger = Ledger(workspace.root)
    state = ledger.data_state()
    if state == "changed":
        raise ValueError(
            "data/ is not what data.dvc names. If the change is meant, record it: dvc add data; "
            "if not, see what differs and take it back: mmcore data verify, mmcore data pull"
        )
    if state == "same":
        # DVC goes by the times of files. The manifest is hashed here, each shard when it is first read.
        remotes.check_manifest(workspace)
        return "unchanged"
    why = ""
    try:
        return remotes.pull(workspace)[-1]
    except (ValueError, LookupError, ConnectionError) as error:
        if settings.data.source != "digitworld":
            raise
        if not isinstance(error, LookupError):
            why = f", as they could not be fetched ({str(error).splitlines()[0]})"
    expected = ledger.data_hash()
    with write_folder(workspace.data) as folder:
        digitworld.generate(folder)
    ledger.add_data()
    if ledger.data_hash() != expected:
        why += "; their bytes differ from the committed data.dvc (other library versions), going on with them"
    return f"generated{why}"


def check(workspace: Workspace, settings: Settings) -> None:
    """Raise a ValueError that lists everything that would stop the run, each with its fix."""
    problems: list[str] = []
    try:
        check_git(workspace.root)
    except FileNotFoundError as error:
        problems.append(str(error))
    free = shutil.disk_usage(workspace.root).free
    if free < MIN_FREE_BYTES:
        problems.append(
            f"only {free / 1e9:.1f} GB are free on the disk of {workspace.root}, and a run needs about "
            f"{MIN_FREE_BYTES / 1e9:.0f} GB; free some, or drop old experiments: dvc exp remove -A && dvc gc -A"
        )
    if not (workspace.data / "manifest.json").is_file():
        problems.append(
            "data/ holds no manifest.json; import data first: mmcore data import SOURCE --format imagefolder"
        )
    if problems:
        raise ValueError("\n".join(problems))


def checked(workspace: Workspace, settings: Settings) -> Path:
    """The mark that these settings, on these data, with this version, have been built once without a complaint."""
    manifest = workspace.data / "manifest.json"
    content = f"{__version__} {settings!r} {hash_file(manifest) if manifest.is_file() else ''}"
    return workspace.state / "checked" / hashlib.sha256(content.encode()).hexdigest()[:16]


def machine(settings: Settings) -> Machine:
    """The device as the driver tells it (torch is not asked: importing it costs seconds), memory and threads."""
    device = f"{platform.machine()} CPU, {os.cpu_count()} cores"
    memory = f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    if settings.train.device != "cpu" and hardware.gpu_visible() and shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
        answer = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip().splitlines()
        if answer:
            device, _, memory = answer[0].partition(", ")
    precision = settings.train.precision
    if precision == "auto":
        precision = "bf16" if "CPU" not in device or hardware.cpu_has_bf16() else "fp32"
    return Machine(device, memory, settings.train.threads, precision)
