"""What this machine can compute with, told without importing torch."""

import os
import subprocess
import sys
from pathlib import Path

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
PROCESSORS = Path("/proc/cpuinfo")
_ASK_CUDA = """
import torch
for number in range(torch.cuda.device_count()):
    print(f"GPU-{torch.cuda.get_device_properties(number).uuid}")
"""


def gpu_visible() -> bool:
    """Whether the machine shows an NVIDIA GPU to this process, usable by torch or not."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    return NVIDIA_DRIVER.exists() and any(Path("/dev").glob("nvidia[0-9]*")) and hidden not in ("", "-1")


def gpu_wanted(device: str) -> bool:
    """Whether the setting `train.device` means a GPU on this machine."""
    return device == "cuda" or (device == "auto" and gpu_visible())


def gpus() -> list[str]:
    """The GPUs that CUDA shows to this process, in its order, by the names that CUDA_VISIBLE_DEVICES takes and that are
    the same for every process of the machine; none where torch cannot use any. RuntimeError if CUDA fails.

    Another process is asked: one that has asked CUDA itself can no longer choose among them. Parts of a GPU (MIG) have
    to stand in CUDA_VISIBLE_DEVICES, by their names.
    """
    shown = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    if any(name.startswith("MIG-") for name in shown):
        return shown
    done = subprocess.run([sys.executable, "-c", _ASK_CUDA], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"CUDA does not name the GPUs of this machine: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.split()


def cpu_has_bf16() -> bool:
    """Whether the processor multiplies bf16 itself (AVX-512 BF16 or AMX; Linux tells). Elsewhere it is emulated."""
    if not PROCESSORS.exists():
        return False
    flags = next((line for line in PROCESSORS.read_text().splitlines() if line.startswith("flags")), "")
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags.split())
