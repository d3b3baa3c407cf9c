"""What the media gate costs: headers with SHA-256, whole probes of photographs, and a million captions validated.

    python benchmarks/probe.py [--captions 1000000]

Speeds are per second of one core's processor time, beside what the decoders alone need for the same pictures; the
captions are validated by the whole stage, in a process of its own, whose time and memory are reported.
"""

import argparse
import hashlib
import io
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from mmcore import params
from mmcore.data import store
from mmcore.data.modalities.image import read_header
from mmcore.quality import probe
from mmcore.settings import DataSettings

ROOT = Path(__file__).parents[1]
PICTURES, ROUNDS = 300, 5
ROWS_PER_SHARD = 10_000
THINGS = (
    "dog",
    "cat",
    "child",
    "man",
    "woman",
    "horse",
    "bird",
    "car",
    "train",
    "boat",
    "kite",
    "ball",
    "bench",
    "tree",
    "house",
    "river",
    "hill",
    "street",
)
DOINGS = ("stands", "runs", "sits", "lies", "jumps", "waits", "plays", "looks", "turns", "rests")
PLACES = ("grass", "sand", "snow", "water", "road", "roof", "bridge", "field", "beach", "wall")


def photographs(count: int) -> list[bytes]:
    """JPEGs of about 25 kB, with an EXIF block as cameras write it in every second one."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 1
    found = []
    for number in range(count):
        coarse = rng.integers(0, 256, (20, 26, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((312, 240), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 6, (240, 312, 1))
        array = np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(array).save(file, "JPEG", quality=86, **({"exif": exif} if number % 2 else {}))
        found.append(file.getvalue())
    return found


def captions(count: int) -> Iterator[store.Row]:
    rng = np.random.default_rng(1)
    for number in range(count):
        first, second = (THINGS[place] for place in rng.integers(len(THINGS), size=2))
        words = f"a {first} {DOINGS[number % 10]} on the {PLACES[number // 10 % 10]} near a {second} , number {number}"
        yield store.row(id=f"row-{number}", captions=[{"text": words, "lang": "en"}])


def per_second(function: Callable[[Sequence[Any]], object], items: Sequence[Any]) -> float:
    """The best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        function(items)
        best = min(best, time.process_time() - start)
    return len(items) / best


def pictures() -> None:
    files = photographs(PICTURES)
    settings = params.load(ROOT / "params.yaml").validate
    rows = [
        store.row(id=f"p{number}", image=data, captions=[{"text": "a dog runs over the grass", "lang": "en"}])
        for number, data in enumerate(files)
    ]
    print(f"{PICTURES} JPEGs of {np.mean([len(data) for data in files]) / 1000:.1f} kB, 312 x 240, per second and core")
    for name, function, items in (
        ("header and SHA-256", lambda all: [(read_header(one), hashlib.sha256(one).hexdigest()) for one in all], files),
        (
            "  without EXIF",
            lambda all: [(read_header(one), hashlib.sha256(one).hexdigest()) for one in all],
            files[::2],
        ),
        ("Pillow alone", lambda all: [np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in all], files),
        ("simplejpeg alone", lambda all: [simplejpeg.decode_jpeg(one, "RGB") for one in all], files),
        ("whole probe", lambda all: probe.probe_rows(all, settings), rows),
    ):
        print(f"  {name:<20} {per_second(function, items):10,.0f}")


def validate_captions(count: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="probe-"))
    try:
        every = captions(count)
        for split, share in (("train", 0.8), ("validation", 0.1), ("test", 0.1)):
            rows = (row for _, row in zip(range(round(share * count)), every, strict=False))
            store.write_shards(folder / "data", split, rows, rows_per_shard=ROWS_PER_SHARD)
        store.write_manifest(folder / "data")
        start = time.monotonic()
        subprocess.run([sys.executable, "-W", "ignore", __file__, "--validate", str(folder)], check=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"{count:,} captions validated in {time.monotonic() - start:.1f} s,"
            f" {used.ru_utime + used.ru_stime:.1f} s of processor time; the largest process took"
            f" {used.ru_maxrss / 2**20:.2f} GiB"
        )
    finally:
        shutil.rmtree(folder)


def validate(folder: Path) -> None:
    """The stage, without DVC around it."""
    from mmcore.quality.validate import validate

    settings = params.load(ROOT / "params.yaml").validate
    everything = DataSettings(source=None, format=None, fields={}, limit=None, engine="local", max_decoded_bytes=None)
    output = folder / "validated"
    output.mkdir()
    validate(
        folder / "data", ROOT / "validation", output, folder / "logs", settings, everything, cache=folder / "cache"
    )  # fmt: skip
    print((output / "summary.json").read_text().split('"verdicts": ')[1].partition("}")[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=1_000_000, help="how many captions; 0 for none")
    parser.add_argument("--validate", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.validate:
        validate(arguments.validate)
    else:
        pictures()
        if arguments.captions:
            validate_captions(arguments.captions)
