"""A batch against the drift reference, compared by Evidently column by column with calibrated thresholds.

Importing Evidently takes 6 to 10 seconds: this module is for the flow `monitor` alone.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from evidently import DataDefinition, Dataset, Report
from evidently.metrics import ValueDrift

from mmcore.quality.reference import CALIBRATION, NUMBERS
from mmcore.settings import MonitorSettings
from mmcore.workspace import read_json

DRIFT, NO_DRIFT, TOO_FEW = "drift", "no drift", "too few rows"


@dataclass(frozen=True)
class ColumnDrift:
    """One column: `score` is the p-value of the Kolmogorov-Smirnov test, `drifted` where it is at most `threshold`.

    `distance`: the largest gap between the two distribution functions, 0 to 1. `rows`: batch samples that have it.
    """

    column: str
    drifted: bool
    score: float
    threshold: float
    distance: float
    reference_mean: float
    batch_mean: float
    rows: int


@dataclass(frozen=True)
class DriftVerdict:
    """`verdict`: `drift`, `no drift` or `too few rows`. `columns`: those compared, the most drifted first.

    `not_compared`: columns of the reference that too few samples of the batch have.
    """

    verdict: str
    rows: int
    reference_rows: int
    min_rows: int
    false_alarm_rate: float
    columns: tuple[ColumnDrift, ...]
    not_compared: tuple[str, ...]

    @property
    def drifted(self) -> tuple[ColumnDrift, ...]:
        return tuple(column for column in self.columns if column.drifted)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def describe(self) -> str:
        """The verdict for people, in Markdown."""
        if self.verdict == TOO_FEW:
            return (
                f"**{TOO_FEW}**: the batch has {self.rows} samples, the reference {self.reference_rows}; a number is"
                f" compared where both have {self.min_rows} samples of the same kind (monitor.min_rows)"
            )
        head = (
            f"**{self.verdict}**: {len(self.drifted)} of {len(self.columns)} columns differ,"
            f" {self.rows} samples against {self.reference_rows} of the reference"
            f" (false alarms: {self.false_alarm_rate:.1%} of batches)"
        )
        if not self.drifted:
            return head
        lines = [
            f"| {one.column} | {one.reference_mean:.4g} | {one.batch_mean:.4g} | {one.distance:.2f} |"
            f" {one.score:.1e} | {one.threshold:.1e} |"
            for one in self.drifted
        ]
        table = ["| column | reference | batch | distance | p | threshold |", "|---|---|---|---|---|---|", *lines]
        return "\n".join([head, "", *table])


def compare(reference: Path, batch: pa.Table, settings: MonitorSettings, html: Path) -> DriftVerdict:
    """Compare the numbers of a batch (`profile_batch`) with those in the folder `reference`; Evidently's report is
    written to `html`, unless too few samples have any number. ValueError if the thresholds were calibrated for
    another false-alarm rate."""
    calibration = read_json(reference / CALIBRATION)
    if calibration["false_alarm_rate"] != settings.false_alarm_rate:
        raise ValueError(
            f"the drift reference was calibrated for the false-alarm rate {calibration['false_alarm_rate']}, not for"
            f" monitor.false_alarm_rate {settings.false_alarm_rate}; run the stage reference again"
        )
    expected = pq.read_table(reference / NUMBERS)
    chosen = [
        name
        for name, column in calibration["columns"].items()
        if name in batch.column_names and min(column["rows"], _count(batch[name])) >= settings.min_rows
    ]
    columns = _scores(expected.select(chosen), batch.select(chosen), calibration["columns"], html) if chosen else []
    verdict = TOO_FEW if not chosen else DRIFT if any(column.drifted for column in columns) else NO_DRIFT
    return DriftVerdict(
        verdict=verdict,
        rows=batch.num_rows,
        reference_rows=expected.num_rows,
        min_rows=settings.min_rows,
        false_alarm_rate=settings.false_alarm_rate,
        columns=tuple(sorted(columns, key=lambda one: (not one.drifted, -one.distance, one.column))),
        not_compared=tuple(name for name in calibration["columns"] if name not in chosen),
    )


def _scores(expected: pa.Table, batch: pa.Table, calibrated: dict[str, Any], html: Path) -> list[ColumnDrift]:
    names = expected.column_names
    definition = DataDefinition(numerical_columns=names)
    report = Report(
        [ValueDrift(column=name, method="ks", threshold=calibrated[name]["threshold"]) for name in names],
        include_tests=True,
    )
    snapshot = report.run(
        Dataset.from_pandas(batch.to_pandas(), data_definition=definition),
        Dataset.from_pandas(expected.to_pandas(), data_definition=definition),
    )
    html.parent.mkdir(parents=True, exist_ok=True)
    snapshot.save_html(str(html))
    scores = {metric["config"]["column"]: float(metric["value"]) for metric in snapshot.dict()["metrics"]}
    found = []
    for name in names:
        before, now = (np.array(table[name].drop_null()) for table in (expected, batch))
        threshold = float(calibrated[name]["threshold"])
        found.append(
            ColumnDrift(
                column=name, drifted=scores[name] <= threshold, score=scores[name], threshold=threshold,
                distance=_distance(before, now), reference_mean=float(before.mean()), batch_mean=float(now.mean()),
                rows=len(now),
            )
        )  # fmt: skip
    return found


def _distance(before: "np.ndarray[Any, Any]", now: "np.ndarray[Any, Any]") -> float:
    places = np.sort(np.concatenate([before, now]))
    shares = (np.searchsorted(np.sort(values), places, side="right") / len(values) for values in (before, now))
    return float(np.abs(np.subtract(*shares)).max())


def _count(column: pa.ChunkedArray) -> int:
    return len(column) - int(column.null_count)
