"""The media gate: every sample is probed, checked and given a verdict; what is not sound is kept aside with reasons.

Verdicts: `ok`, `repaired` (decoding changes it, as recorded), `flag` (kept, doubtful), `reject` (not used).
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmcore.data import store
from mmcore.data.parallel import map_processes
from mmcore.quality import duplicates, expectations, probe
from mmcore.quality.problems import PROBLEMS, VERDICTS, verdict_of
from mmcore.quality.thumbnails import thumbnails
from mmcore.settings import DataSettings, ValidateSettings
from mmcore.workspace import Progress, write_json

REFUSED = "refused.parquet"
SCHEMA_VERSION = 1
ACCEPTED_SCHEMA = pa.schema(
    [("id", pa.string()), ("split", pa.string()), ("shard", pa.string()), ("row", pa.int64()), ("verdict", pa.string())]
)
QUARANTINE_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("verdict", pa.string()),
        ("problems", pa.list_(pa.string())),
        ("detail", pa.string()),
        ("split", pa.string()),
        ("thumbnail", pa.binary()),
    ]
)

Facts = dict[str, Any]
# What the verdicts and the counts need to know of every sample.
_JUDGED = ["id", "split", "shard", "row", "repairs", *(f"has_{name}" for name in (*store.MEDIA, "text"))]


def validate(
    data: Path,
    output: Path,
    logs: Path,
    settings: ValidateSettings,
    data_settings: DataSettings,
    *,
    processes: int | None = None,
) -> None:
    """Judge the store `data` and leave in the empty folder `output`:

    `accepted.parquet` (id, split, shard, row, verdict), `quarantine.parquet` (every sample whose verdict is not `ok`,
    and every row refused at import), `profile.parquet` (all samples), `summary.json` (counts). Data Docs go to
    `logs/data_docs`. A ValueError names the first shard that is not what the manifest says. Where too few samples
    survive, the quarantine and the summary go to `logs` and a ValueError says why.
    """
    for left in ("quarantine.parquet", "summary.json"):
        (logs / left).unlink(missing_ok=True)
    store.verify(data)
    profile = _probe(data, settings, data_settings.limit, processes)
    findings = expectations.check(profile, settings, logs / "data_docs")
    if findings.errors:
        raise RuntimeError("Great Expectations could not check the profile: " + "; ".join(findings.errors))
    samples = profile.select(_JUDGED).to_pylist()
    problems = _problems(samples, findings.problems)
    refused = _refused(data, data_settings.limit)
    quarantine = _quarantine(data, profile, problems, settings) + refused
    accepted = [
        {**facts, "verdict": verdict_of(codes)}
        for facts, codes in zip(samples, problems, strict=True)
        if verdict_of(codes) != "reject"
    ]
    summary = _summary(samples, problems, quarantine, findings)
    reasons = list(findings.failures) + _shortage(accepted, len(samples) + len(refused), settings)
    folder = logs if reasons else output
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "quarantine.parquet", quarantine, QUARANTINE_SCHEMA)
    write_json(folder / "summary.json", summary)
    if reasons:
        raise ValueError(_refusal(reasons, summary, logs))
    _write(folder / "accepted.parquet", accepted, ACCEPTED_SCHEMA)
    pq.write_table(profile, folder / "profile.parquet", compression="zstd")


def _probe(data: Path, settings: ValidateSettings, limit: int | None, processes: int | None) -> pa.Table:
    """The profile of the first `limit` samples of each split, in the order of the manifest, duplicates marked."""
    work = []
    taken: Counter[str] = Counter()
    for shard in store.shards(data):
        num_rows = shard.rows if limit is None else min(shard.rows, limit - taken[shard.split])
        taken[shard.split] += num_rows
        if num_rows > 0:
            work.append((data / shard.path, num_rows))
    progress = Progress("probing", total=sum(taken.values()), unit="samples")
    # Columns, not rows: a million rows as dicts would not fit.
    parts = [probe.profile_table([])]
    for part in map_processes(partial(probe.probe_shard, settings=settings), work, processes=processes):
        parts.append(probe.profile_table(part))
        progress.advance(len(part))
    profile = pa.concat_tables(parts).combine_chunks()
    for name, values in (
        ("duplicate_of", duplicates.within_splits(profile)),
        ("leaked_from", duplicates.across_splits(profile)),
    ):
        profile = profile.set_column(profile.schema.get_field_index(name), name, pa.array(values, pa.string()))
    return profile


def _problems(samples: Sequence[Facts], found: dict[int, tuple[str, ...]]) -> list[list[str]]:
    """The problem codes of each sample. Of several samples with one id the first may stay: that of the test split,
    else that of validation."""
    problems = [[*found.get(index, ()), *(facts["repairs"] or ())] for index, facts in enumerate(samples)]
    first: dict[str, int] = {}
    for index, codes in enumerate(problems):
        if "duplicate_id" in codes:
            rank = duplicates.KEPT_FIRST.index(samples[index]["split"])
            other = first.setdefault(samples[index]["id"], index)
            if rank < duplicates.KEPT_FIRST.index(samples[other]["split"]):
                first[samples[index]["id"]] = index
    for index in first.values():
        problems[index].remove("duplicate_id")
    return problems


# Quarantine ---------------------------------------------------------------------------------------------------------


def _quarantine(
    data: Path, profile: pa.Table, problems: Sequence[list[str]], settings: ValidateSettings
) -> list[Facts]:
    chosen = [index for index, codes in enumerate(problems) if codes]
    samples = profile.take(chosen).to_pylist() if chosen else []
    pictures = thumbnails(data, [(facts["shard"], facts["row"]) for facts in samples], settings)
    return [
        {
            "id": facts["id"],
            "verdict": verdict_of(problems[index]),
            "problems": problems[index],
            "detail": "; ".join(dict.fromkeys(_detail(code, facts, settings) for code in problems[index])),
            "split": facts["split"],
            "thumbnail": picture,
        }
        for index, facts, picture in zip(chosen, samples, pictures, strict=True)
    ]


def _detail(code: str, facts: Facts, settings: ValidateSettings) -> str:
    """One clause with the numbers behind a problem."""
    media = next((name for name in ("image", "video") if facts[f"{name}_width"] is not None), "image")
    seconds = facts["video_seconds"] if facts["video_seconds"] is not None else facts["audio_seconds"]
    match code:
        case "undecodable_image" | "undecodable_audio" | "undecodable_video":
            return str(facts[f"{code.removeprefix('undecodable_')}_error"])
        case "too_small" | "too_large":
            return f"the {media} has {facts[f'{media}_width']} x {facts[f'{media}_height']} pixels"
        case "too_long":
            return f"it lasts {seconds} seconds in {facts['num_frames'] or 0} frames"
        case "empty_caption":
            return f"{facts['num_blank_captions']} of {facts['num_captions']} captions are blank"
        case "wrong_duration":
            return f"it lasts {seconds} seconds where {facts['stated_seconds']} are stated"
        case "too_long_text":
            return f"a text has {facts['longest_text']} characters, more than {settings.max_characters}"
        case "duplicate_within_split":
            return f"same as {facts['duplicate_of']}"
        case "duplicate_across_splits":
            return f"same media as {facts['leaked_from']}"
        case _:
            return PROBLEMS[code].meaning


def _refused(data: Path, limit: int | None) -> list[Facts]:
    """What the importer refused, as quarantine rows; none where only the first samples are asked for."""
    path = data / REFUSED
    if limit is not None or not path.is_file():
        return []
    rows = pq.read_table(path, columns=["id", "problems", "detail", "split"]).to_pylist()
    return [{**row, "verdict": "reject", "thumbnail": None} for row in rows]


# Outcome ------------------------------------------------------------------------------------------------------------


def _shortage(accepted: Sequence[Facts], num_rows: int, settings: ValidateSettings) -> list[str]:
    reasons = []
    if len(accepted) < settings.min_rows:
        reasons.append(f"{len(accepted)} samples are usable, fewer than {settings.min_rows} (validate.min_rows)")
    if len(accepted) < settings.min_accepted_share * num_rows:
        share = len(accepted) / num_rows
        reasons.append(
            f"only {share:.0%} of {num_rows} samples are usable, less than {settings.min_accepted_share:.0%}"
            " (validate.min_accepted_share)"
        )
    for split in store.SPLITS:
        if not any(facts["split"] == split for facts in accepted):
            reasons.append(f"no sample of the split '{split}' is usable")
    return reasons


def _summary(
    samples: Sequence[Facts],
    problems: Sequence[list[str]],
    quarantine: Sequence[Facts],
    findings: expectations.Findings,
) -> Facts:
    """Counts of samples: per split and verdict, per modality, per problem; refused rows count as rejected."""
    num_refused = len(quarantine) - sum(bool(codes) for codes in problems)
    verdicts = [verdict_of(codes) for codes in problems]
    kept = [facts for facts, verdict in zip(samples, verdicts, strict=True) if verdict != "reject"]
    codes = Counter(code for row in quarantine for code in row["problems"])
    order = [*PROBLEMS, *sorted(set(codes) - set(PROBLEMS))]
    splits = {}
    for split in store.SPLITS:
        mine = Counter(verdict for facts, verdict in zip(samples, verdicts, strict=True) if facts["split"] == split)
        splits[split] = {"rows": mine.total()} | {verdict: mine[verdict] for verdict in VERDICTS}
    return {
        "schema_version": SCHEMA_VERSION,
        "rows": len(samples) + num_refused,
        "accepted": len(kept),
        "refused_at_import": num_refused,
        "splits": splits,
        "modalities": {
            name: {
                "rows": sum(facts[f"has_{name}"] for facts in samples),
                "accepted": sum(facts[f"has_{name}"] for facts in kept),
            }
            for name in (*store.MEDIA, "text")
        },
        "verdicts": {verdict: verdicts.count(verdict) + num_refused * (verdict == "reject") for verdict in VERDICTS},
        "problems": {
            code: {"rows": codes[code], "verdict": verdict_of([code]), "meaning": _meaning(code)}
            for code in order
            if codes[code]
        },
        "expectations": {
            "checked": findings.checked,
            "failures": list(findings.failures),
            "warnings": list(findings.warnings),
        },
    }


def _meaning(code: str) -> str:
    return PROBLEMS[code].meaning if code in PROBLEMS else "refused at import"


def _refusal(reasons: Sequence[str], summary: Facts, logs: Path) -> str:
    most = sorted(summary["problems"].items(), key=lambda item: -item[1]["rows"])[:3]
    causes = ", ".join(f"{code} {entry['rows']}" for code, entry in most)
    return (
        f"the data cannot be used: {'; '.join(dict.fromkeys(reasons))}"
        + (f". Most frequent problems: {causes}" if causes else "")
        + f". Every row with its reason: {logs / 'quarantine.parquet'}; correct the source and import it again"
    )


def _write(path: Path, rows: Sequence[Facts], schema: pa.Schema) -> None:
    pq.write_table(pa.Table.from_pylist(list(rows), schema), path, compression="zstd")
