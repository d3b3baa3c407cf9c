"""Training from pictures on disk beside training from batches that lie ready in memory: samples a second.

    python benchmarks/disk.py [--turns 4]

4,096 JPEGs of 256 x 256 pixels with captions go through import, validation and preparation, as a project's data do; the
model of benchmarks/reference is then trained on what `prepare` has left, drawn at random, and on the first batches of
the same, kept in memory. Before each run the files are dropped from the page cache. Three processes of training each
turn, in float32 on one thread: from memory, from disk, and from the JPEGs in the shards themselves, as sets are read
that do not fit decoded (`data.max_decoded_bytes`). Five minutes.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch

import reference as work
from data import HERE, bring_data, make_images
from mmcore import params
from mmcore.data.batches import Batch, Batches
from mmcore.data.corpus import Corpus
from mmcore.data.prepare import prepare
from mmcore.models.processor import Processor
from reference.mmcore_fit import train

ROWS, SIDE, STEPS, WARM = 4096, 256, 12, 3
FROM = ("memory", "disk", "shards")


class Kept:
    """The first batches of another source, drawn before."""

    def __init__(self, source: Batches) -> None:
        self.batches: Sequence[Batch] = [source.at(number) for number in range(STEPS + WARM + 1)]

    def at(self, number: int) -> Batch:
        return self.batches[number]


def make_project(project: Path) -> None:
    project.mkdir()
    sizes = [f"prepare.image_size={work.SIDE}", f"prepare.context={work.TOKENS}"]
    params.change(shutil.copy(HERE / "params.yaml", project / "params.yaml"), assignments=sizes)
    shutil.copytree(HERE / "validation", project / "validation")
    make_images(project.parent / "source", 0, ROWS, SIDE)
    bring_data({}, "", project, "local")
    (project / "streamed").mkdir()
    own = params.load(project / "params.yaml").prepare
    prepare(project / "data", project / "validated", project / "streamed", own, max_decoded_bytes=0)
    os.sync()  # what is not yet on the disk would stay in the cache


def measure(project: Path, where: str) -> None:
    """Train in this process; prints the samples a second of processor time, and of the clock."""
    torch.set_num_threads(1)
    folder = project / ("streamed" if where == "shards" else "prepared")
    processor = Processor.load(project / "prepared", params.load(project / "params.yaml").prepare)
    corpus = Corpus(folder, "train", data=project / "data")
    source = Batches(corpus, processor, ("image", "captions"), batch_size=work.BATCH)
    corpus.array("image", 0)  # a shard is hashed before it is read
    for path in [*folder.rglob("*.npy"), *(project / "data").rglob("*.parquet")]:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    at: list[tuple[float, float]] = []
    train(
        "fp32", WARM + STEPS, lambda: at.append((time.process_time(), time.perf_counter())),
        Kept(source) if where == "memory" else source,
    )  # fmt: skip
    took = [[after[kind] - before[kind] for before, after in pairwise(at[WARM - 1 :])] for kind in (0, 1)]
    print(json.dumps([work.BATCH / statistics.median(seconds) for seconds in took]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--where", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.where:
        measure(Path(arguments.where[0]), arguments.where[1])
        return
    speeds: dict[str, list[list[float]]] = {where: [] for where in FROM}
    with tempfile.TemporaryDirectory(prefix="mmcore-bench-") as folder:
        project = Path(folder) / "project"
        make_project(project)
        for turn in range(arguments.turns):
            for where in FROM[:: -1 if turn % 2 else 1]:
                output = subprocess.run(
                    [sys.executable, __file__, "--where", str(project), where], capture_output=True, check=True,
                    env=os.environ | {"MMCORE_PROGRESS": os.devnull},
                )  # fmt: skip
                speeds[where].append(json.loads(output.stdout.splitlines()[-1]))
    print(f"{ROWS:,} JPEGs of {SIDE} x {SIDE}, read at {work.SIDE} x {work.SIDE}; {arguments.turns} turns")
    for where, found in speeds.items():
        print(f"  {where:<7} {statistics.median(clock for _, clock in found):6.1f} samples/s")
    for where in FROM[1:]:
        for kind, name in enumerate(("CPU time", "the clock")):
            ratios = [one[kind] / other[kind] for one, other in zip(speeds[where], speeds["memory"], strict=True)]
            spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
            print(f"  {where} over memory, {name}: {statistics.median(ratios):.3f} ({spread})")


if __name__ == "__main__":
    main()
