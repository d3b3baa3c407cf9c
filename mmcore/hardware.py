"""What this machine can compute with, told without importing torch."""

import os
from pathlib import Path

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
PROCESSORS = Path("/proc/cpuinfo")


def gpu_visible() -> bool:
    """Whether the machine shows an NVIDIA GPU to this process, usable by torch or not."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    return NVIDIA_DRIVER.exists() and any(Path("/dev").glob("nvidia[0-9]*")) and hidden not in ("", "-1")


def cpu_has_bf16() -> bool:
    """Whether the processor multiplies bf16 itself (AVX-512 BF16 or AMX; Linux tells). Elsewhere it is emulated."""
    if not PROCESSORS.exists():
        return False
    flags = next((line for line in PROCESSORS.read_text().splitlines() if line.startswith("flags")), "")
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags.split())
