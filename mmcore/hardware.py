"""What this machine can compute with, told without importing torch."""

import os
import re
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
# Of products of matrices, in units of 1e12 operations a second as the vendor's data sheets promise them: in bf16 summed
# in fp32, and in fp32, which is TF32 where there is that; none of it by zeros that are left out. The first name that
# fits counts.
GPUS: tuple[tuple[str, float | None, float], ...] = (
    ("H200 NVL", 835.5, 417.5), ("H200", 989.4, 494.7),
    ("H100 NVL", 835.5, 417.5), ("H100 PCIe", 756.0, 378.0), ("H100", 989.4, 494.7),
    ("A100", 312.0, 156.0), ("A10", 125.0, 62.5), ("L40S", 362.0, 183.0), ("L4", 121.0, 60.0),
    ("T4", None, 8.1), ("RTX 4090", 165.2, 82.6), ("RTX 3090", 71.0, 35.6),
)  # fmt: skip


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


def gpu_peak(name: str, precision: str) -> float | None:
    """Operations a second of the GPU that torch calls `name`, as its maker promises; None where that is not known."""
    for model, bf16, fp32 in GPUS:
        # A slice of a GPU, and what is only called alike, do less.
        if re.search(rf"\b{model}\b(?!.*\b(?:Ti|D|Laptop|MIG)\b)", name):
            found = bf16 if precision == "bf16" else fp32
            return None if found is None else found * 1e12
    return None
