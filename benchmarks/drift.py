"""How often the monitor raises a false alarm, and what it notices: the figures of docs/monitoring.md.

    python benchmarks/drift.py [--splits 500] [--batches 20]

Draws fresh DigitWorld rows in the mix of the test split, so nothing has to be there before; where `artifacts/` holds a
run on DigitWorld, its model's embeddings are tried, too. About four minutes on two cores.
"""

import argparse
import contextlib
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from mmcore import params
from mmcore.data import digitworld, store
from mmcore.data.digitworld_objects import COLOURS, apng, png
from mmcore.data.digitworld_speech import RATE, wav
from mmcore.data.modalities import MODALITIES, UNLIMITED
from mmcore.data.parallel import map_processes
from mmcore.quality import compared, drift, probe
from mmcore.quality.batch import profile_batch
from mmcore.quality.components import TASK, modalities
from mmcore.quality.embed import embed_batch
from mmcore.quality.kinds import fields_of, find_kinds, kind_of
from mmcore.quality.reference import CALIBRATION, NUMBERS, calibrate, number_table
from mmcore.settings import Settings, ValidateSettings
from mmcore.workspace import write_json

ROOT = Path(__file__).parents[1]
MIX = {"scene": 500, "clip": 300, "sentiment": 200}
POOL = 4
SIZES = (100, 200, 400)
RATE_OF_ALARMS = 0.01
# So many null splits share one reference and its threshold.
SHARING = 50
NEW_COLOURS = {
    "orange": (245, 150, 40), "teal": (20, 150, 150), "brown": (135, 85, 45), "olive": (130, 135, 50),
    "pink": (245, 160, 195), "grey": (150, 150, 150),
}  # fmt: skip
NEW_WORDS = dict(zip(COLOURS, NEW_COLOURS, strict=True))

Change = Callable[[store.Row], store.Row]


# What may change in production ---------------------------------------------------------------------------------------


def repainted(row: store.Row, *, gain: float = 1.0, hue: float = 0.0, blur: bool = False) -> store.Row:
    """Pictures and clips brighter by the factor `gain`, with hues turned by `hue` degrees, or out of focus."""

    def change(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        values = pixels.astype(np.float32) @ turn(hue) * gain
        if blur:
            values = (values + np.roll(values, 1, axis=-2) + np.roll(values, 1, axis=-3)) / 3
        return np.clip(np.round(values), 0, 255).astype(np.uint8)

    if row["image"] is not None:
        row = row | {"image": png(change(MODALITIES["image"]().decode(row["image"], UNLIMITED).array))}
    if row["video"] is not None:
        clip = MODALITIES["video"]().decode(row["video"], UNLIMITED)
        row = row | {"video": apng(change(clip.array), round(1000 / clip.rate))}
    return row


def turn(degrees: float) -> NDArray[np.float32]:
    """[3, 3]: the rotation of RGB around grey, which changes hues and keeps the mean of the channels."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees)) / np.sqrt(3)
    third = (1 - cosine) / 3
    rows = [
        [cosine + third, third + sine, third - sine],
        [third - sine, cosine + third, third + sine],
        [third + sine, third - sine, cosine + third],
    ]
    return np.array(rows, np.float32)


def spoken(row: store.Row, *, slower: float = 1.0, gain: float = 1.0) -> store.Row:
    """Speech stretched by the factor `slower`, louder by `gain`."""
    if row["audio"] is None:
        return row
    samples = MODALITIES["audio"]().decode(row["audio"], UNLIMITED).array * gain
    places = np.arange(round(len(samples) * slower)) / slower
    stretched = np.interp(places, np.arange(len(samples)), samples)
    assert RATE == 8000
    return row | {"audio": wav(np.round(np.clip(stretched, -1, 1) * 32767).astype(np.int16))}


def reworded(row: store.Row, words: dict[str, str]) -> store.Row:
    """All texts with some words put for others."""

    def change(text: str | None) -> str | None:
        return text and re.sub(r"\w+", lambda word: words.get(word[0], word[0]), text)

    return row | {
        **{name: change(row[name]) for name in ("transcript", "summary", "speech_text")},
        "captions": [caption | {"text": change(caption["text"])} for caption in row["captions"]],
        "qa": [pair | {"question": change(pair["question"])} for pair in row["qa"]],
    }


def unchanged(row: store.Row) -> store.Row:
    return row


CHANGES: dict[str, Change] = {
    "nothing": unchanged,
    "pictures 10 % brighter": partial(repainted, gain=1.1),
    "pictures 30 % brighter": partial(repainted, gain=1.3),
    "out of focus": partial(repainted, blur=True),
    "hues turned by 35 degrees": partial(repainted, hue=35),
    "new colours, old words": partial(reworded, words={new: old for old, new in NEW_WORDS.items()}),
    "old colours, new words": partial(reworded, words=NEW_WORDS),
    "new colours, new words": unchanged,
    "speech 10 % slower": partial(spoken, slower=1.1),
    "speech 25 % slower": partial(spoken, slower=1.25),
    "speech 3 dB quieter": partial(spoken, gain=0.708),
}


@contextlib.contextmanager
def palette(colours: dict[str, tuple[int, int, int]]) -> Iterator[None]:
    """DigitWorld in other colours."""
    usual = dict(COLOURS)
    COLOURS.clear()
    COLOURS.update(colours)
    yield
    COLOURS.clear()
    COLOURS.update(usual)


# Numbers of many rows ------------------------------------------------------------------------------------------------


def numbers_of(work: tuple[str, int, int], *, limits: ValidateSettings, known: Sequence[str]) -> list[dict[str, float]]:
    """The compared numbers of rows drawn for one change, from `first` on, in the mix of the test split."""
    name, first, count = work
    vocabulary = set(known)
    kinds = find_kinds([fields_of(digitworld.make(content, "test", 0)) for content in MIX for _ in range(MIX[content])])
    found = []
    with palette(NEW_COLOURS if name.startswith("new colours") else dict(COLOURS)):
        for content, share in MIX.items():
            for index in range(first * share // 1000, (first + count) * share // 1000):
                # Beyond what the test split holds of anything: no row of it is drawn again.
                row = CHANGES[name](digitworld.make(content, "test", 1000 + index))
                numbers = compared.compared(probe.probe_row(row, limits), probe.texts_of(row), vocabulary, {})
                found.append(compared.named(numbers, kind_of(fields_of(row), kinds)))
    return found


def draw(name: str, num_rows: int, limits: ValidateSettings, known: Sequence[str]) -> pa.Table:
    work = [(name, first, 100) for first in range(0, num_rows, 100)]
    parts = map_processes(partial(numbers_of, limits=limits, known=known), work, processes=2)
    rows = [row for part in parts for row in part]
    order = np.random.default_rng(0).permutation(len(rows))
    return number_table([str(place) for place in order], [rows[place] for place in order])


def training_words() -> list[str]:
    texts = [
        text
        for content in MIX
        for index in range(400)
        for text in probe.texts_of(digitworld.make(content, "train", index)).values()
    ]
    return sorted({word for text in texts for word in compared.words(text)})


# Measuring -----------------------------------------------------------------------------------------------------------


def smallest(reference: pa.Table, batch: pa.Table, min_rows: int) -> tuple[float, str]:
    """The smallest p-value over the columns and its column: what `drift.compare` decides by (a test holds it)."""
    best = (1.0, "")
    for name in reference.column_names[1:]:
        if name in batch.column_names:
            before, now = (np.array(table[name].drop_null()) for table in (reference, batch))
            if min(len(before), len(now)) >= min_rows and np.ptp(np.concatenate([before, now])) > 0:
                best = min(best, (float(ks_2samp(before, now).pvalue), name))
    return best


def false_alarms(pool: pa.Table, settings: Settings, splits: int) -> list[dict[str, Any]]:
    """The share of null splits that alarm: a reference and a disjoint batch, drawn from one pool, `splits` times."""
    rng = np.random.default_rng(1)
    rows = []
    for size in SIZES:
        alarms = 0
        for number in range(splits):
            order = rng.permutation(pool.num_rows)
            if number % SHARING == 0:
                reference = pool.take(order[:1000])
                rest = order[1000:]
                threshold = calibrate(reference, rate=RATE_OF_ALARMS, splits=settings.reference.splits, seed=number)
            batch = pool.take(rng.permutation(rest)[:size])
            alarms += smallest(reference, batch, settings.monitor.min_rows)[0] <= threshold
        rows.append({"batch rows": size, "null splits": splits, "alarms": alarms, "rate": f"{alarms / splits:.2%}"})
    return rows


def detections(pool: pa.Table, settings: Settings, batches: int, known: list[str]) -> list[dict[str, Any]]:
    """The share of shifted batches that alarm, by shift and size, and the column that told it most often."""
    reference = pool.slice(0, 1000)
    threshold = calibrate(reference, rate=RATE_OF_ALARMS, splits=settings.reference.splits, seed=0)
    rng = np.random.default_rng(2)
    rows = []
    for name in list(CHANGES)[1:]:
        shifted = draw(name, 600, settings.validate, known)
        row: dict[str, Any] = {"shift": name}
        told: Counter[str] = Counter()
        for size in SIZES:
            found = [
                smallest(reference, shifted.take(rng.permutation(shifted.num_rows)[:size]), settings.monitor.min_rows)
                for _ in range(batches)
            ]
            row[f"{size} rows"] = f"{sum(p <= threshold for p, _ in found) / batches:.0%}"
            told.update(column for p, column in found if p <= threshold)
        row["told by"] = told.most_common(1)[0][0] if told else "nothing"
        rows.append(row)
    return rows


def with_evidently(pool: pa.Table, settings: Settings, known: list[str]) -> list[str]:
    """The verdict of the monitor itself, Evidently's report included, on a batch like the reference and a new one."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        reference = pool.slice(0, 1000)
        threshold = calibrate(
            reference, rate=settings.monitor.false_alarm_rate, splits=settings.reference.splits, seed=0
        )
        pq.write_table(reference, Path(folder) / NUMBERS)
        columns = {
            name: {"rows": len(reference[name].drop_null()), "threshold": threshold}
            for name in reference.column_names[1:]
        }
        write_json(
            Path(folder) / CALIBRATION,
            {"false_alarm_rate": settings.monitor.false_alarm_rate, "columns": columns},
        )
        for name in ("nothing", "new colours, new words"):
            batch = pool.slice(1000, 300) if name == "nothing" else draw(name, 300, settings.validate, known)
            started = time.perf_counter()
            verdict = drift.compare(Path(folder), batch, settings.monitor, Path(folder) / "report.html")
            seconds = time.perf_counter() - started
            lines.append(f"\n### Changed: {name} ({seconds:.1f} s)\n\n{verdict.describe()}")
    return lines


def with_embeddings(artifacts: Path, settings: Settings) -> list[dict[str, Any]]:
    """The smallest p-values of 100 fresh scenes, with and without the embeddings of the run's retrieval model."""
    reference = artifacts / "reference"
    expected = pq.read_table(reference / NUMBERS)
    of_model = [name for name in expected.column_names if re.search("_component_|_nearest$|_similarity$", name)]
    others = [name for name in expected.column_names if name not in of_model]
    rows = []
    for name in ("nothing", "hues turned by 35 degrees", "new colours, old words", "old colours, new words"):
        with tempfile.TemporaryDirectory() as folder:
            with palette(NEW_COLOURS if name.startswith("new colours") else dict(COLOURS)):
                fresh = [CHANGES[name](digitworld.make("scene", "test", 5000 + index)) for index in range(100)]
            store.write_shards(Path(folder), "test", fresh)
            batch = Path(folder) / "test" / "part-00000.parquet"
            embeddings = embed_batch(batch, reference, artifacts / "tasks" / TASK)
            numbers = profile_batch(batch, reference, embeddings=embeddings)
        row: dict[str, Any] = {"shift": name}
        for title, names in (("with embeddings", ["id", *of_model]), ("without", others)):
            p, column = smallest(expected.select(names), numbers, settings.monitor.min_rows)
            row[title] = f"{p:.0e} ({column})"
        rows.append(row)
    return rows


def markdown(rows: list[dict[str, Any]]) -> str:
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    return "\n".join([*lines, *("| " + " | ".join(str(value) for value in row.values()) + " |" for row in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=500, help="null splits per batch size")
    parser.add_argument("--batches", type=int, default=20, help="shifted batches per shift and size")
    arguments = parser.parse_args()
    settings = params.load(ROOT / "params.yaml")
    known = training_words()
    pool = draw("nothing", 1000 * POOL, settings.validate, known)
    print(f"## False alarms (target {RATE_OF_ALARMS:.0%})\n")
    print(markdown(false_alarms(pool, settings, arguments.splits)), flush=True)
    print("\n## Detected shifts\n")
    print(markdown(detections(pool, settings, arguments.batches, known)), flush=True)
    if (ROOT / "artifacts" / "reference").is_dir() and modalities(ROOT / "artifacts" / "reference"):
        print("\n## Smallest p-values of 100 scenes\n")
        print(markdown(with_embeddings(ROOT / "artifacts", settings)), flush=True)
    print("\n## The monitor's verdicts")
    print("\n".join(with_evidently(pool, settings, known)))


if __name__ == "__main__":
    main()
