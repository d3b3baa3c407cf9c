"""Several processes for one training: torchrun starts them, this waits for them. Imports no torch."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from mmcore.settings import TrainSettings

OWNER = "MMCORE_STAGE_PROCESS"


def spread(train: TrainSettings) -> bool:
    """Whether a training is to be spread over ranks and this process is none of them."""
    return train.devices * train.nodes > 1 and "TORCHELASTIC_RUN_ID" not in os.environ


def launch(words: Sequence[str], train: TrainSettings, *, keep: Sequence[int] = ()) -> None:
    """Run `python -m mmcore WORDS` on every rank, `train.devices` on this machine, and wait for all of them.

    `keep`: open files that torchrun is given, too: the leases on the GPUs, which it may use longer than this process.

    Over several machines (`train.nodes`) each runs the same stage; they meet at the address in MMCORE_RENDEZVOUS. A
    rank that dies takes the others with it, and all start again from the last checkpoint, three times at most.
    SIGTERM is handed on: the ranks save their state first. Raises RuntimeError if the training failed.
    """
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={train.devices}", "--max-restarts=3"]
    if train.nodes == 1:
        torchrun.append("--standalone")
    else:
        meeting = os.environ.get("MMCORE_RENDEZVOUS")
        if not meeting:
            raise ValueError(f"train.nodes is {train.nodes}; set MMCORE_RENDEZVOUS to HOST:PORT of one of the machines")
        torchrun += [f"--nnodes={train.nodes}", "--rdzv-backend=c10d", f"--rdzv-endpoint={meeting}"]
    environment = os.environ | {
        "OMP_NUM_THREADS": str(train.threads), OWNER: str(os.getpid()),
        # Otherwise ranks that start again read the addresses of those before them, and may wait for these for half an
        # hour (pytorch/pytorch#135712).
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }  # fmt: skip
    process = subprocess.Popen([*torchrun, "-m", "mmcore", *words], env=environment, pass_fds=tuple(keep))
    asked: list[int] = []

    def hand_on(number: int, _: object) -> None:
        asked.append(number)
        process.send_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, hand_on)
    try:
        status = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    if asked:
        raise KeyboardInterrupt
    if status:
        raise RuntimeError(f"a rank of the training failed (torchrun ended with {status}); its error stands above")
