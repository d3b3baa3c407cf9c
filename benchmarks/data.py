"""What the data plane costs at scale: the figures of docs/scale.md.

    python benchmarks/data.py [--images 2000 | --full] [--engine local] [--keep FOLDER]

Makes small photographs with captions (`--full`: 200,000), imports, validates and prepares them; adds 1,000 and does it
again; reads the store at random beside a memory-mapped tar of the same bytes. Prints a table and writes data.json
beside what it made. Half a minute for 2,000 images on two cores, about ten minutes for 200,000.
"""

import argparse
import io
import json
import mmap
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
from PIL import Image

from mmcore import params
from mmcore.data import store
from mmcore.data.corpus import Corpus
from mmcore.data.media_index import MediaReader, index_shard
from mmcore.data.prepare import prepare

HERE = Path(__file__).parent.parent
FULL, ADDED = 200_000, 1000
SIDE = 64
PER_FOLDER = 1000
READS, ROUNDS = 20_000, 31


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--full", action="store_true", help=f"{FULL:,} images")
    parser.add_argument("--engine", default="local")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it")
    words = parser.parse_args()
    images = FULL if words.full else words.images
    with tempfile.TemporaryDirectory(prefix="mmcore-bench-") as folder:
        root = words.keep or Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        figures = measure(root, images, words.engine)
        (root / "data.json").write_text(json.dumps(figures, indent=2) + "\n")
    for name, value in figures.items():
        print(
            f"{name:<46} {value:>16,.3f}".rstrip("0").rstrip(".") if not isinstance(value, list) else f"{name}  {value}"
        )


def measure(root: Path, images: int, engine: str) -> dict[str, Any]:
    """Every figure by its name."""
    figures: dict[str, Any] = {"images": images, "images added": ADDED}
    source, project = root / "source", root / "project"
    project.mkdir()
    shutil.copy(HERE / "params.yaml", project)
    shutil.copytree(HERE / "validation", project / "validation")
    make_images(source, 0, images)
    figures["source, MB"] = size_of(source) / 1e6
    bring_data(figures, "", project, engine)
    figures["import, images a second"] = images / figures["import, seconds"]
    figures["decoded map, MB"] = sum(path.stat().st_size for path in project.glob("prepared/*/*/*.npy")) / 1e6
    figures["import, peak disk over source"] = figures["import, peak disk MB"] / figures["source, MB"]
    figures["all, (peak disk - decoded map) over source"] = (
        max(figures[f"{step}, peak disk MB"] for step in ("import", "validate", "prepare")) - figures["decoded map, MB"]
    ) / figures["source, MB"]
    before = rows_done(project / "cache")
    make_images(source, images, ADDED)
    bring_data(figures, "added: ", project, engine)
    total = sum(shard.rows for shard in store.shards(project / "data"))
    for name, done in rows_done(project / "cache").items():
        figures[f"added: share done again by {name}"] = (done - before[name]) / total
    return figures | random_reads(root, project / "data") | training_reads(project)


# The set -------------------------------------------------------------------------------------------------------------


def make_images(source: Path, first: int, count: int, side: int = SIDE) -> None:
    """Add `count` JPEGs of coloured patches, no two alike, with captions, to the imagefolder `source`."""
    with open_list(source) as file:
        for number in range(first, first + count):
            random = np.random.default_rng(number)
            name = f"{number // PER_FOLDER:04d}/{number:07d}.jpg"
            path = source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            patches = Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8))
            content = io.BytesIO()
            patches.resize((side, side), Image.Resampling.BICUBIC).save(content, "JPEG", quality=90)
            path.write_bytes(content.getvalue())
            words = " ".join(WORDS[place] for place in random.integers(0, len(WORDS), 10))
            file.write(json.dumps({"file_name": name, "text": f"photograph {number} of {words}"}) + "\n")


WORDS = ["".join(np.random.default_rng(n).choice(list("abcdefghiklmnoprstuw"), 3 + n % 6)) for n in range(3000)]


@contextmanager
def open_list(source: Path) -> Iterator[Any]:
    source.mkdir(parents=True, exist_ok=True)
    with open(source / "metadata.jsonl", "a", encoding="utf-8") as file:
        yield file


# The steps, each in a process of its own, started in the project's folder ---------------------------------------------

IMPORT = """
from pathlib import Path
from mmcore.data.importers import ImportOptions
from mmcore.data.importing import import_data
more = Path("data").exists()
import_data(Path("../source"), Path("data"), format="imagefolder", options=ImportOptions(lang="en"), append=more,
            only_new=more)
"""
VALIDATE = """
import dataclasses, sys
from pathlib import Path
from mmcore import params
from mmcore.quality.validate import validate
settings = params.load(Path("params.yaml"))
where = dataclasses.replace(settings.data, engine=sys.argv[1])
validate(Path("data"), Path("validation"), Path("new"), Path("logs"), settings.validate, where, cache=Path("cache"))
"""
PREPARE = """
import sys
from pathlib import Path
from mmcore import params
from mmcore.data.prepare import prepare
settings = params.load(Path("params.yaml"))
prepare(Path("data"), Path("validated"), Path("new"), settings.prepare, cache=Path("cache"), engine=sys.argv[1])
"""


def bring_data(figures: dict[str, Any], name: str, project: Path, engine: str) -> None:
    """Import, validate, prepare: the figures of each under `name`, and their seconds together."""
    run_step(figures, f"{name}import", IMPORT, project, engine, curve=True)
    for step, code, folder in (("validate", VALIDATE, "validated"), ("prepare", PREPARE, "prepared")):
        # The old output is there until the new one is whole, as in a stage.
        (project / "new").mkdir()
        run_step(figures, f"{name}{step}", code, project, engine)
        shutil.rmtree(project / folder, ignore_errors=True)
        (project / "new").rename(project / folder)
    steps = ("import", "validate", "prepare")
    figures[f"{name}ready for training, seconds"] = sum(figures[f"{name}{step}, seconds"] for step in steps)


# Measuring -----------------------------------------------------------------------------------------------------------


def run_step(figures: dict[str, Any], name: str, code: str, project: Path, engine: str, *, curve: bool = False) -> None:
    """Run a step; note its seconds, the memory of its processes together, and the most disk that the project took.

    `curve`: also the memory at every tenth of the time.
    """
    memory, disk = [0], [0]
    over = threading.Event()
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code, engine], cwd=project)
    watchers = [
        threading.Thread(target=watch, args=(over, 0.1, lambda: memory.append(memory_of(process.pid)))),
        threading.Thread(target=watch, args=(over, 1.0, lambda: disk.append(size_of(project)))),
    ]
    for watcher in watchers:
        watcher.start()
    failed = process.wait()
    figures[f"{name}, seconds"] = time.perf_counter() - start
    over.set()
    for watcher in watchers:
        watcher.join()
    if failed:
        raise SystemExit(f"{name} failed; see above")
    figures[f"{name}, peak memory MB"] = max(memory) / 1e6
    figures[f"{name}, peak disk MB"] = max(*disk, size_of(project)) / 1e6
    if curve:
        tenths = [memory[len(memory) * tenth // 10] for tenth in range(1, 10)]
        figures[f"{name}, memory at every tenth, MB"] = [round(size / 1e6) for size in tenths]


def watch(over: threading.Event, pause: float, look: Callable[[], object]) -> None:
    while not over.wait(pause):
        look()


def memory_of(process: int | None) -> int:
    """Resident bytes of a process and what it has started; 0 once it is gone."""
    try:
        own = psutil.Process(process)
        return sum(one.memory_info().rss for one in (own, *own.children(recursive=True)))
    except psutil.NoSuchProcess:
        return 0


def size_of(folder: Path) -> int:
    """Bytes of all files below, those with several names once."""
    sizes: dict[int, int] = {}
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.stat(os.path.join(where, name))
            except FileNotFoundError:
                continue  # it has been renamed meanwhile
            sizes[status.st_ino] = status.st_size
    return sum(sizes.values())


def rows_done(cache: Path) -> dict[str, int]:
    """By function, the rows of all shards whose result is in the cache."""
    return {
        folder.name: sum(pq.read_metadata(next(entry.glob("*.parquet"))).num_rows for entry in folder.iterdir())
        for folder in sorted(cache.iterdir())
        if folder.name != "near_copies"
    }


# Reading -------------------------------------------------------------------------------------------------------------


class Tar:
    """The files of a tar by number, from a list of where they are: what the store is compared with."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as file:
            members = file.getmembers()
        self._offsets = array("q", [member.offset_data for member in members])
        self._ends = array("q", [member.offset_data + member.size for member in members])
        with open(path, "rb") as opened:
            self._content = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        self._content.madvise(mmap.MADV_RANDOM)

    def __getitem__(self, number: int) -> bytes:
        return self._content[self._offsets[number] : self._ends[number]]


def random_reads(root: Path, data: Path) -> dict[str, float]:
    """Reads a second of both, the same rows in the same order in turns; the ratio is the median of the rounds."""
    paths = [data / shard.path for shard in store.shards(data, "train")]
    reader = MediaReader(paths, [index_shard(path)["image"] for path in paths])
    with tarfile.open(root / "reads.tar", "w") as file:
        for number in range(len(reader)):
            content = reader[number] or b""
            member = tarfile.TarInfo(f"{number:07d}.jpg")
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    tar = Tar(root / "reads.tar")
    assert all(reader[number] == tar[number] for number in range(len(reader)))
    order = [int(n) for n in np.random.default_rng(0).integers(0, len(reader), READS)]
    pairs = [
        (seconds(reader, order), seconds(tar, order))
        if turn % 2
        else (seconds(tar, order), seconds(reader, order))[::-1]
        for turn in range(ROUNDS)
    ]
    return {
        "random reads, store, a second": READS / statistics.median(own for own, _ in pairs),
        "random reads, tar, a second": READS / statistics.median(other for _, other in pairs),
        "random reads, store over tar": statistics.median(other / own for own, other in pairs),
    }


def seconds(reader: Any, order: Sequence[int]) -> float:
    """Of processor time: both only copy bytes that are in memory, and other processes are none of their business."""
    start = time.process_time()
    for number in order:
        reader[number]
    return time.process_time() - start


def training_reads(project: Path) -> dict[str, float]:
    """Pictures a second that training draws: from the decoded map, and decoded from the shards (one core)."""
    figures = {}
    settings = params.load(project / "params.yaml").prepare
    (project / "streamed").mkdir()
    prepare(project / "data", project / "validated", project / "streamed", settings, max_decoded_bytes=0)
    for name in ("prepared", "streamed"):
        corpus = Corpus(project / name, "train", data=project / "data")
        order = np.random.default_rng(0).permutation(len(corpus.ids))[:2000]
        start = time.perf_counter()
        for index in order:
            corpus.array("image", int(index))
        figures[f"{name}: pictures a second"] = len(order) / (time.perf_counter() - start)
    return figures


if __name__ == "__main__":
    main()
