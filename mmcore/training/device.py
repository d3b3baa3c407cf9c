"""Where training runs, chosen once and never silently somewhere else."""

import ctypes
import os
import resource
import time
from dataclasses import dataclass
from functools import lru_cache

import torch

from mmcore import hardware
from mmcore.settings import TrainSettings


@dataclass(frozen=True)
class Device:
    """A device, the precision of its matrix products (`fp32` or `bf16`) and a line that names it to people. `shard`:
    whether it is to hold its share of what is trained alone, where there are others."""

    torch: torch.device
    precision: str
    name: str
    shard: bool = False


def choose(train: TrainSettings) -> Device:
    """The device that the settings ask for, set up for repeatable results.

    ValueError if the settings are wrong, or if an NVIDIA GPU is visible that torch cannot use (unless the settings
    say cpu).
    """
    if train.device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"train.device is '{train.device}'; choose auto, cpu or cuda")
    if train.precision not in ("auto", "fp32", "bf16"):
        raise ValueError(f"train.precision is '{train.precision}'; choose auto, fp32 or bf16")
    torch.set_num_threads(train.threads)
    if not hardware.gpu_wanted(train.device):
        _repeatable()
        native = "bf16" if hardware.cpu_has_bf16() else "fp32"
        precision = native if train.precision == "auto" else train.precision
        threads = f"{train.threads} thread{'s' * (train.threads > 1)}"
        return Device(torch.device("cpu"), precision, f"CPU, {threads}, {precision}", train.shard)
    if not torch.cuda.is_available():
        raise ValueError(_why_not())
    # cuBLAS repeats its results only with a fixed workspace, which it reads when it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    _repeatable()
    torch.set_float32_matmul_precision("high")
    precision = "bf16" if train.precision == "auto" else train.precision
    number = int(os.environ.get("LOCAL_RANK", 0))
    torch.cuda.set_device(number)
    name = f"{torch.cuda.get_device_name()}, {precision}"
    return Device(torch.device("cuda", number), precision, name, train.shard)


def _why_not() -> str:
    if not hardware.NVIDIA_DRIVER.exists():
        return "train.device is 'cuda', but this machine shows no NVIDIA GPU; set train.device to cpu or auto"
    driver = hardware.NVIDIA_DRIVER.read_text().splitlines()[0].strip()
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    return (
        f"an NVIDIA GPU is visible but torch {torch.__version__} ({built}) cannot use it ({driver}); install a torch "
        "that was built for this driver's CUDA (https://pytorch.org/get-started/locally), or set train.device to cpu"
    )


def _repeatable() -> None:
    # The same switch as use_deterministic_algorithms, which would import the compiler first: seconds in every process.
    torch.set_deterministic_debug_mode("error")
    # Uninitialised memory is never read here; filling it costs time at every allocation.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    keep_freed_memory()


def most_memory(device: torch.device) -> float:
    """The most memory in MB that was used on the GPU so far, or by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def peak(device: Device) -> float | None:
    """Operations a second that the device could do at most: a GPU's by its data sheet, None where it is not known; of a
    processor the fastest of some products of matrices, with the threads and in the precision of the training. That
    takes a tenth of a second or two, and is too low where other programs compute meanwhile."""
    if device.torch.type == "cuda":
        return hardware.gpu_peak(torch.cuda.get_device_name(device.torch), device.precision)
    return _speed_of_products(device.precision, torch.get_num_threads())


@lru_cache
def _speed_of_products(precision: str, threads: int) -> float:
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    best, size, end = 0.0, 256, time.perf_counter() + 0.1
    matrix = torch.ones(size, size, dtype=dtype)
    while time.perf_counter() < end:
        began = time.perf_counter()
        matrix @ matrix
        took = time.perf_counter() - began
        best = max(best, 2 * size**3 / took)
        if took < 0.005:
            size *= 2
            matrix = torch.ones(size, size, dtype=dtype)
    return best


def keep_freed_memory() -> None:
    """Let glibc reuse freed blocks instead of handing each back to the kernel: a training step allocates and frees
    the same tens of megabytes every time, and page faults were a tenth of its time. A no-op elsewhere."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        library.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD
