import csv
import os
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
