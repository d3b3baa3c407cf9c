"""Leases on GPUs, host-wide: a stage has those that it trains on to itself, whoever else works on the machine.

A lease is a lock of the kernel (flock) on a file for each device, in a folder for all users. It ends with the processes
that hold it, however they end.
"""

import contextlib
import fcntl
import os
import re
import signal
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from mmcore import hardware
from mmcore.settings import TrainSettings
from mmcore.workspace import locked

# Not the temporary folder of this user or job: all users of the machine must come to the same place.
FOLDER = Path("/tmp/mmcore-leases")
LOOK_SECONDS, TELL_SECONDS = 1.0, 60.0
_TURN = "turn"


@dataclass(frozen=True)
class Lease:
    """The names of the leased devices, and open files: a process that has these holds the lease. A child that is given
    them (pass_fds) goes on holding it after its parent."""

    devices: tuple[str, ...] = ()
    handles: tuple[int, ...] = ()


def gpus(train: TrainSettings, count: int, holder: str) -> Lease:
    """Lease `count` of the GPUs that CUDA shows here, and hide the others from this process and its children; nothing
    where the settings mean a processor. To be called before the process asks CUDA anything. Raises as `lease` does."""
    names = hardware.gpus() if count and hardware.gpu_wanted(train.device) else []
    if not names:  # or torch cannot use the GPU, which training says itself
        return Lease()
    held = lease(names, count, holder)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(held.devices)
    return held


def lease(devices: Sequence[str], count: int, holder: str) -> Lease:
    """Hold `count` of `devices`, which have these names for every process of the machine, until this process ends.

    While fewer are free none is held, and a line on stderr says every minute who holds the others, in the words that
    they gave as `holder`; SIGTERM then raises KeyboardInterrupt. The locks lie in `FOLDER`, or where MMCORE_LEASES
    says. ValueError if there are not so many devices, OSError if the folder cannot be used.
    """
    names = list(dict.fromkeys(devices))
    if count > len(names):
        raise ValueError(
            f"{count} GPUs are wanted (train.devices), and {len(names)} can be seen: {', '.join(names)}; lower "
            "train.devices, or let CUDA_VISIBLE_DEVICES show more"
        )
    folder = _folder(Path(os.environ.get("MMCORE_LEASES") or FOLDER))
    # systemd-tmpfiles, which removes what is old, passes over a folder that is locked.
    fcntl.flock(folder, fcntl.LOCK_SH)
    since = time.strftime("%Y-%m-%d %H:%M")
    words = f"{psutil.Process().username()}, {holder} (process {os.getpid()}, since {since})"
    files = _awaited(folder, names, count, words)
    return Lease(tuple(files), (folder, *files.values()))


def _awaited(folder: int, names: Sequence[str], count: int, words: str) -> dict[str, int]:
    """The locked files of the first `count` devices that are free together."""
    began, tell = time.monotonic(), 0.0
    with _sigterm_interrupts():
        while True:
            files, holders = _taken(folder, names, count, words)
            waited = time.monotonic() - began
            if files:
                if tell:
                    _say(f"got {', '.join(files)} after {waited:.0f} s")
                return files
            if waited >= tell:
                tell = waited + TELL_SECONDS
                held = "; ".join(f"{name} is held by {other}" for name, other in holders.items())
                _say(f"waiting for {count} of {len(names)} GPUs: {held}")
            time.sleep(LOOK_SECONDS)


def _taken(folder: int, names: Sequence[str], count: int, words: str) -> tuple[dict[str, int], dict[str, str]]:
    """The files of `count` devices, locked and with `words` in them, or of none; and in whose words others are held."""
    files: dict[str, int] = {}
    holders: dict[str, str] = {}
    turn = _opened(folder, _TURN)
    try:
        # One process at a time: two that each want all would otherwise find some with each other, over and over.
        if not locked(turn):
            return {}, {"the turn to look for free ones": "another process"}
        for name in names:
            file = _opened(folder, re.sub(r"[^\w.-]", "_", name) + ".lock")
            if locked(file):
                files[name] = file
            else:
                holders[name] = _said(file)
                os.close(file)
            if len(files) == count:
                for taken in files.values():
                    os.truncate(taken, 0)
                    os.write(taken, words.encode())
                return files, holders
        for file in files.values():
            os.close(file)
    finally:
        os.close(turn)
    return {}, holders


def _folder(path: Path) -> int:
    """The open folder for the locks; whoever comes first makes it, for all users."""
    try:
        with contextlib.suppress(FileExistsError), _open_to_all():
            path.mkdir(mode=0o1777)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise _unusable(str(path), error.strerror) from error


def _opened(folder: int, name: str) -> int:
    """The open plain file `name` in the folder, made where it is missing, for all users to lock and to write."""
    flags, handle = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, -1
    try:
        while handle < 0:
            # The kernel may let nobody open another's file in a folder for all who would also make it
            # (fs.protected_regular), so these are two calls.
            with contextlib.suppress(FileExistsError), _open_to_all():
                handle = os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=folder)
            with contextlib.suppress(FileNotFoundError):
                handle = os.open(name, flags, dir_fd=folder) if handle < 0 else handle
    except OSError as error:
        raise _unusable(name, error.strerror) from error
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(handle)
        raise _unusable(name, "it is no plain file")
    return handle


def _unusable(what: str, why: str | None) -> OSError:
    return OSError(
        f"a GPU cannot be leased by '{what}': {why}; remove it, or let MMCORE_LEASES name another folder that "
        "there is, the same for all users of this machine"
    )


@contextlib.contextmanager
def _open_to_all() -> Iterator[None]:
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt("stopped while waiting for GPUs")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _said(file: int) -> str:
    """The holder's words, without what would steer a terminal: another user has written them."""
    words = "".join(letter for letter in os.read(file, 500).decode(errors="replace") if letter.isprintable())
    return words or "a process that has not said who it is"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
