"""The drift reference: the test samples in numbers, and how far two halves of them differ when nothing has changed.

The distance of a column is the Kolmogorov-Smirnov test's p-value, as Evidently computes it in `drift`. One threshold
is calibrated so that over all columns together a batch without drift is called drifted as often as
`monitor.false_alarm_rate` says: the reference is halved at random many times, and the threshold is the quantile of
the smallest p-value of each halving. Correlated columns are accounted for, and so are columns with many equal values.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from mmcore.data.corpus import Corpus
from mmcore.data.modalities import media
from mmcore.data.store import row_texts
from mmcore.quality import compared, components, probe
from mmcore.quality.kinds import fields_of, find_kinds, kind_of
from mmcore.settings import Settings
from mmcore.workspace import hash_file, write_json

SCHEMA_VERSION = 1
SPLIT = "test"
NUMBERS, WORDS, CALIBRATION = "reference.parquet", "words.parquet", "calibration.json"

Floats = NDArray[np.float64]


def reference(
    prepared: Path, validated: Path, tasks_folder: Path, evaluation: Path, output: Path, settings: Settings
) -> None:
    """Fill the empty folder `output` with what a batch is compared with:

    `reference.parquet` (id and one column per number, of at most `reference.rows` accepted test samples),
    `words.parquet` (the words of the training texts), `embeddings.<modality>.npy` and `components.<modality>.npy`
    (float64 [1 + K, E]: the mean and the K principal axes) of the retrieval embeddings that `evaluate` stored, if it
    did, `calibration.json` (per column its threshold). Depends on the settings `seed`, `reference`, `validate` and
    `monitor.false_alarm_rate`.
    """
    corpus = Corpus(prepared, SPLIT)
    chosen = sorted(np.random.default_rng(settings.seed).permutation(len(corpus))[: settings.reference.rows].tolist())
    rows = [corpus.rows[index] for index in chosen]
    facts = {row["id"]: row for row in _profile(validated)}
    known = set(_training_words(prepared))
    points = components.fit(evaluation, output, [row["id"] for row in rows], settings.reference.components)
    held = [_held(row, facts[row["id"]]) for row in rows]
    kinds = find_kinds(held)
    numbers = [
        compared.named(
            compared.compared(facts[row["id"]], probe.texts_of(row), known, points.get(row["id"], {})),
            kind_of(has, kinds),
        )
        for row, has in zip(rows, held, strict=True)
    ]
    table = number_table([row["id"] for row in rows], numbers)
    threshold = calibrate(
        table, rate=settings.monitor.false_alarm_rate, splits=settings.reference.splits, seed=settings.seed
    )
    pq.write_table(table, output / NUMBERS, compression="zstd")
    pq.write_table(pa.table({"word": sorted(known)}), output / WORDS, compression="zstd")
    model = tasks_folder / components.TASK / "model.safetensors"
    write_json(
        output / CALIBRATION,
        {
            "schema_version": SCHEMA_VERSION,
            "rows": table.num_rows,
            "method": "ks",
            "false_alarm_rate": settings.monitor.false_alarm_rate,
            "splits": settings.reference.splits,
            "columns": {name: _column(table[name], threshold) for name in table.column_names[1:]},
            "kinds": [asdict(kind) for kind in kinds],
            "limits": asdict(settings.validate),
            "embeddings_of": hash_file(model) if points else None,
        },
    )


def number_table(ids: list[str], numbers: list[dict[str, float]]) -> pa.Table:
    """Column `id`, then the numbers by name, float64; null where a sample lacks one."""
    names = sorted({name for row in numbers for name in row})
    columns = {name: pa.array([row.get(name) for row in numbers], pa.float64()) for name in names}
    return pa.table({"id": pa.array(ids, pa.string()), **columns})


def _profile(validated: Path) -> list[dict[str, Any]]:
    """Of the accepted samples: one that was rejected may have the same id."""
    accepted = pq.read_table(validated / "accepted.parquet", filters=[("split", "=", SPLIT)]).select(["shard", "row"])
    profile = pq.read_table(validated / "profile.parquet", filters=[("split", "=", SPLIT)])
    places = set(zip(*accepted.to_pydict().values(), strict=True))
    return [row for row in profile.to_pylist() if (row["shard"], row["row"]) in places]


def _held(row: dict[str, Any], facts: dict[str, Any]) -> tuple[str, ...]:
    """What a prepared sample holds: its row has the texts, its profile says which media there were."""
    return fields_of(row | {name: facts[f"{name}_sha256"] for name in media()})


def _training_words(prepared: Path) -> Iterator[str]:
    for row in Corpus(prepared, "train").rows:
        for text in row_texts(row):
            yield from compared.words(text)


def _column(values: pa.ChunkedArray, threshold: float) -> dict[str, float]:
    present = np.array(values.drop_null())
    return {"rows": len(present), "mean": probe.rounded(float(present.mean())), "threshold": threshold}


# Calibration --------------------------------------------------------------------------------------------------------


def calibrate(table: pa.Table, *, rate: float, splits: int, seed: int) -> float:
    """The p-value that the smallest one over all columns falls to in the share `rate` of `splits` random halvings.

    Samples that have the same columns are halved by themselves, so each column falls into two halves each time.
    ValueError if `splits` are too few to tell.
    """
    place = int(rate * splits)
    if place < 1:
        raise ValueError(
            f"reference.splits {splits} are too few for monitor.false_alarm_rate {rate};"
            f" at least {int(np.ceil(1 / rate))} give a threshold, ten times as many a steady one"
        )
    names = table.column_names[1:]
    values_NC = np.stack([table[name].to_numpy() for name in names], axis=1).astype(np.float64)
    present_NC = ~np.isnan(values_NC)
    patterns = np.unique(present_NC, axis=0, return_inverse=True)[1].reshape(-1)
    strata = [np.flatnonzero(patterns == pattern) for pattern in np.unique(patterns)]
    groups = [_Group(values_NC, columns, rows) for rows, columns in _alike(present_NC)]
    rng = np.random.default_rng([seed, len(names)])
    smallest = np.ones(splits)
    for split in range(splits):
        in_first = np.zeros(len(values_NC), bool)
        for stratum in strata:
            half = (len(stratum) + int(rng.integers(2))) // 2
            in_first[rng.permutation(stratum)[:half]] = True
        smallest[split] = min(group.p_value(in_first) for group in groups)
    return probe.rounded(float(np.sort(smallest)[place - 1]))


def _alike(present_NC: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rows and columns of each set of columns that the same samples have."""
    patterns = np.unique(present_NC, axis=1, return_inverse=True)[1].reshape(-1)
    for pattern in np.unique(patterns):
        columns = np.flatnonzero(patterns == pattern)
        yield np.flatnonzero(present_NC[:, columns[0]]), columns


class _Group:
    """Columns that the same samples have: for these the largest distance has the smallest p-value."""

    def __init__(self, values_NC: Floats, columns: NDArray[np.intp], rows: NDArray[np.intp]) -> None:
        self.rows = rows
        self.values_NC = values_NC[np.ix_(rows, columns)]
        self.order_NC = np.argsort(self.values_NC, axis=0, kind="stable")
        ordered = np.take_along_axis(self.values_NC, self.order_NC, axis=0)
        # The distribution functions are compared where a value ends, not inside a run of equal ones.
        self.ends_NC = np.concatenate([ordered[1:] != ordered[:-1], np.ones((1, len(columns)), bool)])
        self.known: dict[tuple[int, int], float] = {}

    def p_value(self, in_first: NDArray[np.bool_]) -> float:
        """The smallest p-value of the columns when the samples fall into two parts."""
        first = in_first[self.rows]
        num_first, num_second = int(first.sum()), int((~first).sum())
        if not num_first or not num_second:
            return 1.0
        counts_NC = np.cumsum(first[self.order_NC], axis=0)
        seen_N = np.arange(1, len(first) + 1)[:, None]
        # In units of 1 / (num_first * num_second), so that equal distances are equal numbers.
        gaps_NC = np.abs(counts_NC * num_second - (seen_N - counts_NC) * num_first) * self.ends_NC
        gaps_C = gaps_NC.max(axis=0)
        widest = int(gaps_C.argmax())
        key = (num_first, int(gaps_C[widest]))
        if key not in self.known:
            values = self.values_NC[:, widest]
            self.known[key] = float(ks_2samp(values[first], values[~first]).pvalue)
        return self.known[key]
