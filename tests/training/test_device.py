import dataclasses
import time

import pytest
import torch

from mmcore import hardware
from mmcore.settings import TrainSettings
from mmcore.training.device import Device, choose, peak

TRAIN = TrainSettings(device="cpu", devices=1, nodes=1, threads=torch.get_num_threads(), precision="auto", shard=False)


def test_a_cpu_computes_in_bf16_only_where_it_can_unless_told_otherwise(tmp_path, monkeypatch):
    processors = tmp_path / "cpuinfo"
    monkeypatch.setattr(hardware, "PROCESSORS", processors)
    assert choose(TRAIN).precision == "fp32"
    processors.write_text("processor: 0\nflags\t\t: fpu avx2\n")
    assert choose(TRAIN).precision == "fp32"
    processors.write_text("processor: 0\nflags\t\t: fpu avx512f avx512_bf16\n")
    assert choose(TRAIN).precision == "bf16"
    assert choose(dataclasses.replace(TRAIN, precision="fp32")).precision == "fp32"
    assert choose(TRAIN).torch == torch.device("cpu")
    assert torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(("key", "value"), [("device", "gpu"), ("precision", "fp8")])
def test_an_unknown_choice_is_named(key, value):
    with pytest.raises(ValueError, match=rf"train\.{key} is '{value}'"):
        choose(dataclasses.replace(TRAIN, **{key: value}))


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch can use the GPU here")
def test_a_visible_gpu_that_torch_cannot_use_is_an_error_with_the_fix(tmp_path, monkeypatch):
    driver = tmp_path / "version"
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.1\nGCC version: 13\n")
    monkeypatch.setattr(hardware, "NVIDIA_DRIVER", driver)
    monkeypatch.setattr(hardware, "gpu_visible", lambda: True)
    with pytest.raises(ValueError, match=r"Kernel Module  580\.1.*train\.device to cpu"):
        choose(dataclasses.replace(TRAIN, device="auto"))
    assert choose(TRAIN).torch.type == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch can use the GPU here")
def test_cuda_without_a_gpu_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(hardware, "NVIDIA_DRIVER", tmp_path / "none")
    with pytest.raises(ValueError, match="shows no NVIDIA GPU"):
        choose(dataclasses.replace(TRAIN, device="cuda"))


@pytest.mark.parametrize(
    ("name", "bf16", "fp32"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12, 156e12), ("NVIDIA H100 80GB HBM3", 989.4e12, 494.7e12),
        ("NVIDIA H100 PCIe", 756e12, 378e12), ("NVIDIA H200", 989.4e12, 494.7e12), ("NVIDIA L4", 121e12, 60e12),
        ("NVIDIA L40S", 362e12, 183e12), ("NVIDIA A10", 125e12, 62.5e12), ("Tesla T4", None, 8.1e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12, 82.6e12), ("NVIDIA GeForce RTX 4090 Laptop GPU", None, None),
        ("NVIDIA A10G", None, None), ("NVIDIA L40", None, None), ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None, None),
    ],
)  # fmt: skip
def test_what_a_gpu_can_do_is_told_by_its_name_or_not_at_all(name, bf16, fp32):
    assert hardware.gpu_peak(name, "bf16") == bf16
    assert hardware.gpu_peak(name, "fp32") == fp32


def test_what_a_processor_can_do_is_measured():
    most = peak(Device(torch.device("cpu"), "fp32", "CPU"))
    matrix = torch.ones(1024, 1024)
    took = min(_seconds(matrix) for _ in range(5))
    # Beside other work either may be several times too slow.
    assert 0.1 < most * took / (2 * 1024**3) < 10


def _seconds(matrix):
    began = time.perf_counter()
    matrix @ matrix
    return time.perf_counter() - began
