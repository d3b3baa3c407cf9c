"""How far the memory of this process grows while it does something (Linux)."""

import ctypes
from pathlib import Path

import psutil
import pyarrow as pa


def settled() -> int:
    """Bytes in use by this process after what is free was given back; forgets the peak so far."""
    pa.default_memory_pool().release_unused()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return int(psutil.Process().memory_info().rss)


def peak() -> int:
    """The most bytes in use since `settled`."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
