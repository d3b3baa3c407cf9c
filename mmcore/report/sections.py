"""Turns what was read into what the template shows: words, rounded numbers, charts."""

import statistics
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mmcore.report import figures
from mmcore.report.media import Pictures
from mmcore.report.readers import Curves, Lineage, Metric, Run, duration, metric_label, sentence

DASH = "–"
# Profile numbers worth a histogram, in this order, with their names and units; which of them exist depends on the data.
PROFILED = {
    "image_brightness": ("Image brightness", ""), "image_contrast": ("Image contrast", ""),
    "image_colourfulness": ("Image colourfulness", ""), "image_width": ("Image width", " px"),
    "image_height": ("Image height", " px"), "audio_seconds": ("Length of sound", " s"),
    "audio_loudness": ("Loudness", " dB"), "video_seconds": ("Length of clips", " s"), "video_motion": ("Motion", ""),
    "caption_words": ("Words in a caption", ""), "summary_words": ("Words in a summary", ""),
    "transcript_words": ("Words in a transcript", ""),
}  # fmt: skip
HISTOGRAMS = 8
VERDICTS = {"ok": "OK", "repaired": "Repaired", "flag": "Flagged", "reject": "Rejected"}
HELD = 8
THUMBNAILS_BUDGET = 400_000


def facts(run: Run | None) -> list[str]:
    """One line of facts about the run."""
    if run is None:
        return []
    known = run.facts
    precision = known.get("precision", "")
    words = [
        run.name and f"Run {run.name}",
        known.get("started", "").replace("T", " ").replace("+00:00", " UTC"),
        known.get("device", ""),
        known.get("memory", ""),
        f"{known['threads']} thread{'' if known['threads'] == '1' else 's'}" if "threads" in known else "",
        "" if precision == "auto" else precision,
        duration(run.seconds) if run.stages else "",
    ]
    return [word for word in words if word]


# Results -------------------------------------------------------------------------------------------------------------


def results(metrics: list[Metric], headline: list[str]) -> dict[str, Any]:
    """The metric tables, one per task, the figures at a glance, and how they were computed."""
    has_marks = any(metric.references or metric.slices for metric in metrics)
    has_champion = any(metric.champion is not None for metric in metrics)
    has_gate = any(metric.needed is not None for metric in metrics)
    tables = []
    for task in dict.fromkeys(metric.task for metric in metrics):
        rows = [_metric_row(metric) for metric in metrics if metric.task == task]
        counts = {metric.count for metric in metrics if metric.task == task and metric.count}
        title = sentence(task) + (f", {counts.pop():,} samples" if len(counts) == 1 else "")
        tables.append({"title": title, "rows": rows})
    signatures = {metric.signature: metric for metric in reversed(metrics) if metric.signature}
    return {
        "tables": tables,
        "tiles": _tiles(metrics, headline),
        "has_marks": has_marks,
        "has_ranks": any(metric.is_rank for metric in metrics),
        "has_champion": has_champion,
        "has_gate": has_gate,
        "num_columns": 4 + has_champion + has_gate + has_marks,
        "signatures": [
            {"label": metric_label(metric.name), "signature": signature}
            for signature, metric in reversed(signatures.items())
        ],
    }


def _metric_row(metric: Metric) -> dict[str, Any]:
    marks = {
        name: mark for name, mark in (("baseline", metric.baseline), ("champion", metric.champion)) if mark is not None
    }
    said = ", ".join(f"{name} {mark:.1f}" for name, mark in {"value": metric.value, **marks}.items())
    bar = figures.bar(metric.value, label=said, marks=marks, top=max(100.0, metric.value))
    sign = "≤" if metric.smaller_is_better else "≥"
    return {
        "key": metric.key,
        "label": metric_label(metric.name),
        "value": points(metric.value),
        "baseline": points(metric.baseline),
        "champion": points(metric.champion),
        "needed": f"{sign} {metric.needed:.1f}" if metric.needed is not None else DASH,
        "passed": metric.passed if metric.needed is not None else None,
        "marks": ", ".join(
            [f"{name} {points(mark)}" for name, mark in metric.references.items()]
            + [f"{lang} {points(part)} (baseline {points(mark)})" for lang, (part, mark) in metric.slices.items()]
        ),
        "bar": "" if metric.is_rank else bar,
    }


def _tiles(metrics: list[Metric], headline: list[str]) -> list[dict[str, str]]:
    """For each task the first of its headline scores."""
    by_key = {metric.key: metric for metric in metrics}
    first: dict[str, Metric] = {}
    for key in [*headline, *by_key]:
        if key in by_key:
            first.setdefault(by_key[key].task, by_key[key])
    return [
        {
            "task": sentence(metric.task),
            "label": metric_label(metric.name),
            "value": points(metric.value),
            "beside": ", ".join(
                [f"baseline {points(metric.baseline)}"] * (metric.baseline is not None)
                + [f"champion {points(metric.champion)}"] * (metric.champion is not None)
            ),
        }
        for metric in first.values()
    ]


def points(value: float | None) -> str:
    """One digit after the point, a dash for none."""
    return DASH if value is None else f"{value:.1f}"


# Learning and time ---------------------------------------------------------------------------------------------------


def training(curves: Curves) -> dict[str, Any]:
    """The charts of one training: its losses, and its validation marks (losses apart from scores)."""
    stage, _, task = curves.stage.partition("@")
    title = "Pretraining" if stage == "pretrain" else f"Fine-tuning for {task}"
    if curves.members > 1:
        title += f", training {curves.member} of {curves.members}"
    end = max((line[-1][0] for lines in (curves.losses, curves.validation) for line in lines.values()), default=0.0)
    charts = [_chart(title, "Training loss", curves.losses, end, dots=False)] if curves.losses else []
    if curves.validation:
        said = "Validation, by which the best weights are chosen"
        charts.append(_chart(title, said, curves.validation, end, dots=True))
    return {"title": title, "facts": _effort(curves), "charts": charts}


def _effort(curves: Curves) -> list[str]:
    """What the training took and how fast it was, by the median of its rows; of what its file lacks, nothing."""
    typical = {name: statistics.median(value for _, value in points) for name, points in curves.measured.items()}
    facts = []
    if "seconds" in curves.measured:
        step, seconds = curves.measured["seconds"][-1]
        facts.append(f"{step:,.0f} steps in {duration(seconds)}")
    if "samples_per_second" in typical:
        facts.append(f"{figures.short(typical['samples_per_second'])} samples a second")
    if "teraflops" in typical:
        facts.append(f"{figures.short(typical['teraflops'])} teraflops")
    if "mfu" in typical:
        facts.append(f"{typical['mfu']:.0%} of what the device can do")
    if "data_wait" in typical:
        facts.append(f"{typical['data_wait']:.1%} of the time waited for data")
    if "memory_mb" in curves.measured:
        facts.append(f"{curves.measured['memory_mb'][-1][1] / 1000:.1f} GB of memory")
    return facts


def _chart(
    stage: str, title: str, lines: dict[str, list[tuple[float, float]]], end: float, *, dots: bool
) -> dict[str, Any]:
    values = [value for points in lines.values() for _, value in points]
    log = min(values) > 0 and max(values) > 50 * min(values)
    ends = ", ".join(
        f"{name} from {figures.short(line[0][1])} to {figures.short(line[-1][1])}" for name, line in lines.items()
    )
    legend = [
        {"name": name.replace("_", " "), "last": figures.short(line[-1][1]), "swatch": figures.swatch(place)}
        for place, (name, line) in enumerate(lines.items(), 1)
    ]
    svg = figures.line_chart(lines, label=f"{stage}, {title.lower()}: {ends}", log=log, dots=dots, end=end)
    return {"title": title + (", logarithmic" if log else ""), "svg": svg, "legend": legend}


def time(run: Run | None) -> dict[str, Any]:
    """What the run cost, step by step."""
    if run is None or not run.stages:
        return {"stages": [], "stages_sentence": ""}
    longest = max(stage.seconds for stage in run.stages)
    unchanged = sum(stage.state == "unchanged" for stage in run.stages)
    said = f"This run took {duration(run.seconds)}"
    if unchanged:
        said += f". {unchanged} of its {len(run.stages)} steps were unchanged: they stand here with their last cost"
    stages = [
        {
            "name": stage.name, "time": duration(stage.seconds), "state": stage.state,
            "svg": figures.share(stage.seconds, longest, label=f"{stage.name}: {duration(stage.seconds)}"),
        }
        for stage in run.stages
    ]  # fmt: skip
    return {"stages": stages, "stages_sentence": said + "."}


# Data ----------------------------------------------------------------------------------------------------------------


def data(summary: dict[str, Any] | None) -> dict[str, Any] | None:
    """Counts per split and per modality."""
    if summary is None:
        return None
    refused = int(summary.get("refused_at_import") or 0)
    said = f"{summary['accepted']:,} of {summary['rows']:,} samples passed validation"
    said += f"; {refused:,} of them had been refused at import." if refused else "."
    splits, modalities = summary["splits"], summary["modalities"]
    verdicts = [name for name in VERDICTS if any(counts.get(name) for counts in splits.values())]
    return {
        "sentence": said,
        "tables": [
            {
                "title": "Split",
                "columns": ["Samples", *(VERDICTS[name] for name in verdicts)],
                "rows": [
                    {"name": sentence(split), "counts": [counts.get(name, 0) for name in ("rows", *verdicts)]}
                    for split, counts in splits.items()
                ],
            },
            {
                "title": "Modality",
                "columns": ["Samples", "Accepted"],
                "rows": [
                    {"name": sentence(name), "counts": [counts["rows"], counts["accepted"]]}
                    for name, counts in modalities.items()
                    if counts["rows"]
                ],
            },
        ],
    }


def histograms(profile: pa.Table | None) -> list[dict[str, Any]]:
    """How some of the profile's numbers are distributed; constants are left out."""
    if profile is None:
        return []
    made: list[dict[str, Any]] = []
    for name, (title, unit) in PROFILED.items():
        if name not in profile.column_names or len(made) == HISTOGRAMS:
            continue
        column = profile[name].cast(pa.float64())
        values = pc.filter(column, pc.is_finite(column)).to_pylist()
        if not values or min(values) == max(values):
            continue
        median = figures.short(statistics.median(values))
        label = f"{title}: {len(values):,} values from {figures.short(min(values))} to {figures.short(max(values))}"
        made.append(
            {
                "title": title,
                "median": median + unit,
                "svg": figures.histogram(values, label=f"{label}, median {median}"),
            }
        )
    return made


def quarantine(table: pa.Table | None, summary: dict[str, Any] | None) -> dict[str, Any] | None:
    """What was held back: how often each problem occurs and what it means, and samples of every kind of them."""
    if table is None:
        return None
    # Thousands of thumbnails may lie there; only those shown are taken out.
    rows = table.select(["id", "verdict", "problems", "detail", "split"]).to_pylist()
    known = (summary or {}).get("problems", {})
    counts = Counter(code for row in rows for code in row["problems"])
    verdicts = Counter(str(row["verdict"]) for row in rows)
    words = {"reject": "rejected", "flag": "kept with a flag", "repaired": "kept after a repair"}
    said = ", ".join(f"{verdicts[key]:,} {words[key]}" for key in words if verdicts[key])
    pictures = Pictures(THUMBNAILS_BUDGET)
    return {
        "count": len(rows),
        "sentence": f"{len(rows):,} samples have a problem: {said}.",
        "problems": [
            {
                "name": sentence(code), "count": count, "meaning": str(known.get(code, {}).get("meaning", "")),
                "svg": figures.share(count, max(counts.values()), label=f"{count} samples"),
            }
            for code, count in counts.most_common()
        ],
        "samples": [
            {
                "id": str(row["id"]), "verdict": str(row["verdict"]), "split": str(row["split"]),
                "problems": [sentence(code) for code in row["problems"]], "detail": str(row["detail"] or ""),
                "picture": pictures.make(table["thumbnail"][place].as_py()),
            }
            for place, row in _one_of_each(rows)
        ],
    }  # fmt: skip


def _one_of_each(rows: list[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """At most HELD rows with their places: the first, second ... of each kind of problem in turn, so that all show."""
    seen: Counter[str] = Counter()
    order = []
    for place, row in enumerate(rows):
        kind = str(row["problems"][0]) if row["problems"] else ""
        order.append((seen[kind], place))
        seen[kind] += 1
    return [(place, rows[place]) for _, place in sorted(order)[:HELD]]


def lineage(found: Lineage) -> dict[str, Any] | None:
    """Hashes and settings, where there are any."""
    if not (found.data or found.code or found.models or found.settings):
        return None
    size = ""
    if "size" in found.data:
        size = f"{int(found.data['size']) / 1e6:,.0f} MB in {int(found.data.get('nfiles', 1)):,} files"
    return {"data": found.data, "size": size, "models": found.models, "code": found.code, "settings": found.settings}
