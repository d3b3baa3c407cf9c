import csv
import os
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from mmcore.data import ranks
from mmcore.training.fit import Interrupted
from mmcore.workspace import MEASURED
from tests.data.two_ranks import train
from tests.tiny import EVERY_OBJECTIVE


def by_two_ranks(folder):
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "tests.data.two_ranks"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *words, str(folder)], check=True, env=environment, timeout=120)


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """The same training by two ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    by_two_ranks(folder)
    return folder


def curve(folder):
    with open(folder / "logs" / "curves.csv", newline="") as file:
        return [
            [
                float(value or 0)
                for name, value in row.items()
                if name not in MEASURED or name in ("step", "lr", "grad_norm")
            ]
            for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """And by one."""
    folder = tmp_path_factory.mktemp("one")
    train(folder)
    return folder


def test_two_ranks_learn_what_one_does(together, apart):
    alone, spread = (torch.tensor(curve(folder), dtype=torch.float64) for folder in (together, apart))
    assert len(alone) == 3 + 2
    torch.testing.assert_close(spread, alone, rtol=1e-6, atol=1e-9)
    mine, theirs = (load_file(folder / "weights.safetensors") for folder in (together, apart))
    for name, weight in mine.items():
        torch.testing.assert_close(theirs[name], weight, rtol=1e-6, atol=1e-8, msg=name)


def test_a_training_that_one_process_began_two_ranks_end_alike(together, tmp_path):
    with pytest.raises(Interrupted):
        train(tmp_path, stop=7)
    by_two_ranks(tmp_path)
    mine, theirs = (load_file(folder / "weights.safetensors") for folder in (together, tmp_path))
    for name, weight in mine.items():
        torch.testing.assert_close(theirs[name], weight, rtol=1e-6, atol=1e-8, msg=name)


@pytest.mark.parametrize("name", EVERY_OBJECTIVE)
def test_over_two_ranks_the_gradient_of_an_objective_is_that_of_the_whole_batch(name, together, apart):
    mine, theirs = (load_file(folder / "gradients.safetensors")[name] for folder in (together, apart))
    assert mine.abs().sum() > 0
    torch.testing.assert_close(theirs, mine, rtol=1e-9, atol=1e-12)


def test_alone_nothing_is_exchanged():
    rows = torch.arange(4.0)
    assert ranks.size() == 1
    assert ranks.gathered(rows, 4) is rows
    assert ranks.share(4) == slice(0, 4)
    assert ranks.from_first({"loss": 0.1}) == {"loss": 0.1}


def by_two_machines(*folders):
    """One rank on each of two machines, as it were: they meet at an address, and each has a folder of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        meeting = f"127.0.0.1:{free.getsockname()[1]}"
    words = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d",
        f"--rdzv-endpoint={meeting}", "--rdzv-id=test", "--local-addr=127.0.0.1", "-m", "tests.data.two_ranks",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen([*words, str(folder)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for folder in folders
    ]
    return [(one.communicate(timeout=120)[0].decode(), one.returncode) for one in started]


def test_two_machines_end_with_the_same_model_each_in_its_own_folder(apart, tmp_path):
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    assert [status for _, status in by_two_machines(*folders)] == [0, 0]
    for name in ("weights.safetensors", "gradients.safetensors"):
        contents = {(folder / name).read_bytes() for folder in (*folders, apart)}
        assert len(contents) == 1


def test_machines_whose_checkpoints_differ_say_so_instead_of_waiting_for_each_other(tmp_path):
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    with pytest.raises(Interrupted):
        train(folders[0], stop=7)
    told = by_two_machines(*folders)
    assert all(status for _, status in told)
    assert any("the checkpoints of this machine end at step" in output for output, _ in told)
