"""Reads what lies under artifacts/ into small records; every reader returns None where its file is not there."""

import csv
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmcore.metrics import lower_is_better
from mmcore.workspace import MEASURED, Workspace, hash_file, read_json, read_yaml, why_skipped

TRAINING = ("pretrain", "finetune@")


@dataclass(frozen=True)
class StageRun:
    """One step of the last run: `state` is done, unchanged or failed, `reason` what it said when it failed."""

    name: str
    seconds: float
    state: str
    reason: str = ""


@dataclass(frozen=True)
class Run:
    """What the flow wrote about the run itself (artifacts/run.json). `planned`: those of its steps that are stages."""

    name: str
    release: str
    commit: str
    facts: dict[str, str]
    stages: list[StageRun]
    planned: list[str]

    @property
    def failed(self) -> StageRun | None:
        return next((stage for stage in self.stages if stage.state == "failed"), None)

    @property
    def seconds(self) -> float:
        """What this run took: a step that was unchanged is listed with what it cost when it last ran."""
        return sum(stage.seconds for stage in self.stages if stage.state != "unchanged")


@dataclass(frozen=True)
class Comparison:
    """The gate's look at one metric; `needed` is the smallest value that passes, None where there is none."""

    metric: str
    needed: float | None
    champion: float | None
    passed: bool | None


@dataclass(frozen=True)
class Verdict:
    verdict: str
    reasons: list[str]
    comparisons: list[Comparison]
    champion: str
    candidate: str


@dataclass(frozen=True)
class Metric:
    """One number of the evaluation beside the marks it is judged by; `slices`: value and baseline by language."""

    task: str
    name: str
    value: float
    baseline: float | None
    champion: float | None
    count: int | None
    signature: str
    references: dict[str, float]
    slices: dict[str, tuple[float, float | None]]
    needed: float | None
    passed: bool | None

    @property
    def key(self) -> str:
        return f"{self.task}.{self.name}"

    @property
    def smaller_is_better(self) -> bool:
        return lower_is_better(self.name)

    @property
    def is_rank(self) -> bool:
        """Whether the value is a place from 1 and no percentage."""
        return self.name.endswith("_rank")


@dataclass(frozen=True)
class Curves:
    """A training of one stage: name of the curve -> (step, value) points; losses, validation marks and what was
    measured beside them (of `workspace.MEASURED` what the file has) apart. It is the `member`-th of the `members` that
    the stage averages, counted from 1."""

    stage: str
    losses: dict[str, list[tuple[float, float]]]
    validation: dict[str, list[tuple[float, float]]]
    measured: dict[str, list[tuple[float, float]]]
    member: int = 1
    members: int = 1


@dataclass(frozen=True)
class Lineage:
    """Everything the run was made of; values are full hashes, the page shortens them."""

    data: dict[str, str]
    code: dict[str, str]
    models: dict[str, str]
    settings: str


def read_run(workspace: Workspace) -> Run | None:
    """The last run's name, machine and times."""
    path = workspace.artifacts / "run.json"
    return to_run(_object(path)) if path.is_file() else None


def to_run(content: Mapping[str, Any]) -> Run:
    """A run as its record tells it."""
    shown = ("started", "device", "threads", "precision", "memory")
    stages = [
        StageRun(
            str(stage.get("name", "?")), number(stage.get("seconds")) or 0.0, str(stage.get("state", "done")),
            str(stage.get("reason") or ""),
        )
        for stage in content.get("stages") or []
    ]  # fmt: skip
    facts = {key: str(content[key]) for key in shown if content.get(key) not in (None, "")}
    name, release, commit = (str(content.get(key) or "") for key in ("run", "release", "commit"))
    return Run(name, release, commit, facts, stages, [str(stage) for stage in content.get("planned") or []])


def read_verdict(workspace: Workspace) -> Verdict | None:
    """The promotion gate's answer."""
    if not workspace.verdict.is_file():
        return None
    content = _object(workspace.verdict)
    comparisons = [
        Comparison(str(row["metric"]), number(row.get("needed")), number(row.get("champion")), row.get("passed"))
        for row in content.get("comparisons") or []
    ]
    return Verdict(
        str(content["verdict"]), [str(reason) for reason in content.get("reasons") or []], comparisons,
        str(content.get("champion") or ""), str(content.get("candidate") or ""),
    )  # fmt: skip


def read_metrics(workspace: Workspace, verdict: Verdict | None) -> list[Metric] | None:
    """Every number of the evaluation in the file's order, with the gate's marks where it has some."""
    path = workspace.evaluation / "metrics.json"
    if not path.is_file():
        return None
    judged = {comparison.metric: comparison for comparison in verdict.comparisons} if verdict else {}
    # The gate compares nothing where the candidate is the champion: then the champion's numbers are these.
    same = verdict is not None and verdict.verdict == "unchanged"
    rows = []
    for task, metrics in _object(path).items():
        for name, score in metrics.items():
            value = number(score.get("value"))
            if value is None:
                continue
            gate = judged.get(f"{task}.{name}", Comparison("", None, None, None))
            count, references = number(score.get("n")), score.get("references") or {}
            rows.append(
                Metric(
                    task,
                    name,
                    value,
                    baseline=number(score.get("baseline")),
                    champion=value if same else gate.champion,
                    count=None if count is None else int(count),
                    signature=str(score.get("signature") or ""),
                    references={str(key): mark for key in references if (mark := number(references[key])) is not None},
                    slices={
                        str(lang): (part, number(own.get("baseline")))
                        for lang, own in (score.get("slices") or {}).items()
                        if (part := number(own.get("value"))) is not None
                    },
                    needed=gate.needed,
                    passed=gate.passed,
                )
            )
    return rows


def read_headline(workspace: Workspace) -> list[str]:
    """The `task.metric` names of scores.json, in its order."""
    path = workspace.evaluation / "scores.json"
    return list(_object(path)) if path.is_file() else []


def read_curves(workspace: Workspace, since: float = 0.0) -> list[Curves]:
    """The curves of pretraining and of each fine-tuning, in this order, each training of a task by itself; those that
    were last written before `since` are left out, and stages without curves."""
    found = [
        _curves(path, stage, member, len(paths))
        for stage, paths in curve_files(workspace).items()
        for member, path in enumerate(paths, 1)
        if path.is_file() and path.stat().st_mtime >= since
    ]
    return [curves for curves in found if curves.losses or curves.validation]


def curve_files(workspace: Workspace) -> dict[str, list[Path]]:
    """Of every stage that trains and has curves, where those of its members lie, or will; an earlier training may have
    had more members, and their files do not count."""
    logs = workspace.artifacts / "logs"
    names = sorted(path.parent.name for path in logs.glob("*/curves.csv") if path.parent.name.startswith(TRAINING))
    names.sort(key=lambda name: name != "pretrain")
    settings = read_yaml(workspace.params) if workspace.params.is_file() else {}
    sections = settings.get("finetune") or {}
    files = {}
    for name in names:
        members = (sections.get(name.partition("@")[2]) or {}).get("members", 1)
        files[name] = [logs / name / (f"member-{member}" if member else "") / "curves.csv" for member in range(members)]
    return files


def read_logged(path: Path) -> dict[str, list[tuple[float, float]]]:
    """What a curves.csv holds: of every column its numbers by step, but for those that cannot be read."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns: dict[str, dict[float, float]] = {}
    for row in rows:
        step = _parse(row.pop("step", None))
        for key, text in row.items():
            value = _parse(text)
            # A resumed training writes some steps again: the later line counts.
            if key is not None and step is not None and value is not None:
                columns.setdefault(key, {})[step] = value
    return {key: sorted(points.items()) for key, points in columns.items()}


def _curves(path: Path, stage: str, member: int, members: int) -> Curves:
    curves = read_logged(path)
    measured = {key: curves.pop(key) for key in MEASURED if key in curves}
    validation = {key: curves.pop(key) for key in list(curves) if key.startswith("validation")}
    return Curves(stage, curves, validation, measured, member, members)


def read_skipped(workspace: Workspace) -> list[str]:
    """A sentence for each task that was skipped."""
    settings = read_yaml(workspace.params) if workspace.params.is_file() else {}
    reasons = {task: why_skipped(workspace.tasks / task) for task in settings.get("tasks", [])}
    return [f"{sentence(task)}: skipped, {reason}." for task, reason in reasons.items() if reason]


def read_failure(workspace: Workspace, stage: str) -> str:
    """What a stage said when it failed, in its own words; empty where it left none."""
    path = workspace.logs(stage) / "status.json"
    return str(_object(path).get("reason") or "") if path.is_file() else ""


def validation_folder(workspace: Workspace) -> Path:
    """Where validation left its counts and its quarantine: its output, or its log where it refused the data."""
    logs = workspace.logs("validate")
    refused = (logs / "status.json").is_file() and _object(logs / "status.json").get("state") == "failed"
    return logs if refused and (logs / "summary.json").is_file() else workspace.validated


def read_summary(folder: Path) -> dict[str, Any] | None:
    """The counts that validation left in `folder`."""
    path = folder / "summary.json"
    return _object(path) if path.is_file() else None


def read_table(path: Path, columns: Collection[str] | None = None) -> pa.Table | None:
    """The Parquet file at `path`; with `columns`, only those of them that it has."""
    if not path.is_file():
        return None
    with pq.ParquetFile(path) as file:
        wanted = None if columns is None else [name for name in file.schema_arrow.names if name in columns]
        return file.read(columns=wanted)


def read_lineage(workspace: Workspace) -> Lineage:
    """Hashes of data, code and models, and the settings as they stand."""
    data: dict[str, str] = {}
    pointer = workspace.root / "data.dvc"
    if pointer.is_file():
        for out in (read_yaml(pointer) or {}).get("outs") or []:
            data |= {key: str(out[key]) for key in ("md5", "size", "nfiles") if key in out}
    codes = sorted((workspace.artifacts / "code").glob("*.json"))
    code = {path.stem: str(_object(path).get("sha256") or "") for path in codes}
    folders = [workspace.pretrained, *sorted(workspace.tasks.glob("*"))]
    models = {
        folder.relative_to(workspace.artifacts).as_posix(): hash_file(folder / "model.safetensors")
        for folder in folders
        if (folder / "model.safetensors").is_file()
    }
    settings = workspace.params.read_text(encoding="utf-8") if workspace.params.is_file() else ""
    return Lineage(data, code, models, settings)


def project_name(workspace: Workspace) -> str:
    """The name in params.yaml, else the folder's."""
    if workspace.params.is_file():
        values = read_yaml(workspace.params)
        if isinstance(values, dict) and values.get("name"):
            return str(values["name"])
    return workspace.root.resolve().name


# Words and numbers ---------------------------------------------------------------------------------------------------


def number(value: Any) -> float | None:
    """`value` as a finite float, None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def metric_label(name: str) -> str:
    """How people write a metric: `text_to_image_recall@1` -> `Text to image, recall@1`, `bleu4` -> `BLEU-4`."""
    scored = re.fullmatch(r"(bleu|rouge)(\w+)", name)
    if scored:
        return f"{scored[1].upper()}-{scored[2]}"
    found = re.fullmatch(r"(\w+?)(_reranked)?_(recall@\d+|median_rank)", name)
    if found:
        stage = " re-ranked," if found[2] else ""
        return f"{sentence(found[1])},{stage} {found[3].replace('_', ' ')}"
    return sentence(name)


def sentence(name: str) -> str:
    """`image_to_text` -> `Image to text`."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def duration(seconds: float) -> str:
    """`0.4 s`, `38 s`, `4 min 05 s`, `2 h 03 min`, `12 days`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 2 * 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{round(whole / 86400):,} days"


def _object(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} holds no JSON object")
    return content


def _parse(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
