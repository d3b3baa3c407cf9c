"""The media gate: every sample is probed, checked and given a verdict; what is not sound is kept aside with reasons.

Verdicts: `ok`, `repaired` (decoding changes it, as recorded), `flag` (kept, doubtful), `reject` (not used).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmcore.data import store
from mmcore.data.engine import ShardWork, map_shards
from mmcore.data.modalities import Limits, media
from mmcore.quality import decisions, duplicates, probe
from mmcore.quality.details import detail, detailed
from mmcore.quality.problems import BOMB, DROPPED, RELEASED, VERDICTS, Problem, verdict_of
from mmcore.quality.thumbnails import thumbnails
from mmcore.settings import DataSettings, ValidateSettings
from mmcore.workspace import Progress, write_json

if TYPE_CHECKING:
    from mmcore.quality.expectations import Findings, Suite

REFUSED = "refused.parquet"
SUITE = "suite.json"
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
        ("sha256", pa.string()),
        ("thumbnail", pa.binary()),
    ]
)

Facts = dict[str, Any]
# Codes by profile row; rows without any are left out.
Problems = dict[int, list[str]]


def validate(
    data: Path,
    rules: Path,
    output: Path,
    logs: Path,
    settings: ValidateSettings,
    data_settings: DataSettings,
    *,
    cache: Path | None = None,
    processes: int | None = None,
) -> None:
    """Judge the store `data` by the files in `rules` (`suite.json`, `decisions.jsonl`); leave in the empty `output`:

    `accepted.parquet` (id, split, shard, row, verdict), `quarantine.parquet` (every sample whose verdict is not `ok`,
    and every row refused at import), `profile.parquet` (all samples), `summary.json` (counts). Data Docs go to
    `logs/data_docs`, what the probe finds of each shard to `cache`. A ValueError names the first shard that is not what
    the manifest says. Where too few samples survive, the quarantine and the summary go to `logs` and a ValueError says
    why.
    """
    for left in ("quarantine.parquet", "summary.json"):
        (logs / left).unlink(missing_ok=True)
    decided = decisions.read_decisions(rules / decisions.FILE)
    store.verify(data)
    with ThreadPoolExecutor(1) as aside:
        reading = aside.submit(_read_suite, rules / SUITE, settings)
        profile = _probe(data, settings, data_settings, cache, processes, reading)
        suite = reading.result()
    profile, uncompared = _mark_copies(profile, data, cache)
    from mmcore.quality import expectations  # noqa: PLC0415 (see `_read_suite`)

    findings = expectations.check(profile, suite, settings, logs / "data_docs")
    if findings.errors:
        raise RuntimeError("Great Expectations could not check the profile: " + "; ".join(findings.errors))
    problems = _decided(profile, _problems(profile, findings.problems), decided)
    verdicts = np.full(profile.num_rows, "ok", object)
    for index, codes in problems.items():
        verdicts[index] = verdict_of(codes, findings.codes)
    refused = _refused(data, data_settings.limit)
    quarantine = _quarantine(data, profile, problems, verdicts, findings.codes, settings) + refused
    summary = _summary(profile, verdicts, quarantine, len(refused), findings)
    if uncompared:
        summary["expectations"]["warnings"].append(
            f"{uncompared} more pairs of samples look alike and were not compared"
        )
    reasons = list(findings.failures) + _shortage(summary, settings)
    folder = logs if reasons else output
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "quarantine.parquet", quarantine, QUARANTINE_SCHEMA)
    write_json(folder / "summary.json", summary)
    if reasons:
        raise ValueError(_refusal(reasons, summary, logs))
    accepted = profile.select(ACCEPTED_SCHEMA.names[:-1]).append_column("verdict", pa.array(verdicts, pa.string()))
    pq.write_table(accepted.filter(pa.array(verdicts != "reject")), folder / "accepted.parquet", compression="zstd")
    pq.write_table(profile, folder / "profile.parquet", compression="zstd")


# Looking --------------------------------------------------------------------------------------------------------------


def _read_suite(path: Path, settings: ValidateSettings) -> "Suite":
    """For a thread: importing Great Expectations takes five seconds, in which the workers of the probe begin."""
    from mmcore.quality import expectations  # noqa: PLC0415

    return expectations.read_suite(path, settings, probe.schema().names)


def _probe(
    data: Path,
    settings: ValidateSettings,
    data_settings: DataSettings,
    cache: Path | None,
    processes: int | None,
    reading: "Future[Suite]",
) -> pa.Table:
    """The profile of the first `limit` samples of each split, in the order of the manifest; ends early where the suite
    turns out to be none."""
    work, shards = [], []
    taken: Counter[str] = Counter()
    for shard in store.shards(data):
        limit = data_settings.limit
        num_rows = shard.rows if limit is None else min(shard.rows, limit - taken[shard.split])
        if num_rows > 0:
            taken[shard.split] += num_rows
            shards.append(shard)
            work.append(ShardWork(data / shard.path, shard.sha256, probe.ProbeOptions.of(settings, num_rows)))
    progress = Progress("probing", total=taken.total(), unit="samples")
    parts = [probe.profile_table([])]
    with closing(
        map_shards(probe.probe_shard, work, cache=cache, engine=data_settings.engine, processes=processes)
    ) as found:
        for shard, folder in zip(shards, found, strict=True):
            parts.append(probe.read_part(folder, split=shard.split, shard=shard.path))
            progress.advance(parts[-1].num_rows)
            if reading.done():
                reading.result()
    return probe.combined(parts)


def _mark_copies(profile: pa.Table, data: Path, cache: Path | None) -> tuple[pa.Table, int]:
    """The profile with what is there more than once, and how many pairs that look alike were not compared."""
    near = duplicates.near_copies(profile, data, cache)
    for name, values in (
        ("duplicate_of", duplicates.within_splits(profile)),
        ("leaked_from", duplicates.across_splits(profile)),
        ("near_duplicate_of", near.within),
        ("near_leaked_from", near.across),
        ("torn_from", duplicates.torn_groups(profile)),
    ):
        profile = profile.set_column(profile.schema.get_field_index(name), name, pa.array(values, pa.string()))
    return profile, near.uncompared


# Judging --------------------------------------------------------------------------------------------------------------


def _problems(profile: pa.Table, found: Mapping[int, Sequence[str]]) -> Problems:
    """The problem codes of each sample. Of several samples with one id the first may stay: that of the test split,
    else that of validation."""
    problems = {index: list(codes) for index, codes in found.items()}
    repaired = np.flatnonzero(pc.list_value_length(profile["repairs"]).to_numpy())
    for index, repairs in zip(repaired.tolist(), profile["repairs"].take(pa.array(repaired)).to_pylist(), strict=True):
        problems[index] = problems.get(index, []) + repairs
    twins = [index for index, codes in problems.items() if "duplicate_id" in codes]
    first: dict[str, tuple[int, int]] = {}
    for index, facts in zip(
        twins, profile.select(["id", "split"]).take(pa.array(twins, pa.int64())).to_pylist(), strict=True
    ):
        rank = (duplicates.KEPT_FIRST.index(facts["split"]), index)
        first[facts["id"]] = min(first.get(facts["id"], rank), rank)
    for _, index in first.values():
        problems[index].remove("duplicate_id")
    return {index: codes for index, codes in sorted(problems.items()) if codes}


def _decided(profile: pa.Table, problems: Problems, decided: Mapping[str, decisions.Decision]) -> Problems:
    """The problems with a person's decisions. What cannot be decoded stays rejected: nothing could be made of it."""
    if not decided:
        return problems
    chosen = np.flatnonzero(pc.is_in(profile["id"], value_set=pa.array(list(decided), pa.string())).to_numpy())
    columns = ["id", "sha256", *(f"has_{name}" for name in media()), *(f"{name}_ok" for name in media())]
    for index, facts in zip(chosen.tolist(), profile.select(columns).take(pa.array(chosen)).to_pylist(), strict=True):
        decision = decided[facts["id"]]
        if decision.sha256 != facts["sha256"]:
            continue
        codes = problems.get(index, [])
        if decision.decision == "drop":
            problems[index] = [*codes, DROPPED]
        elif codes and all(facts[f"{name}_ok"] for name in media() if facts[f"has_{name}"]):
            problems[index] = [*codes, RELEASED]
    return dict(sorted(problems.items()))


# Quarantine ---------------------------------------------------------------------------------------------------------


def _quarantine(
    data: Path,
    profile: pa.Table,
    problems: Problems,
    verdicts: NDArray[Any],
    codes: Mapping[str, Problem],
    settings: ValidateSettings,
) -> list[Facts]:
    """A row for each sample that has problems. What was merely repaired is sound and needs no picture."""
    chosen = pa.array(list(problems), pa.int64())
    samples = profile.select(detailed()).take(chosen).to_pylist()
    # A bomb was refused by its header, and is not unpacked for its picture either.
    shown = [index for index in problems if verdicts[index] != "repaired" and BOMB not in problems[index]]
    places = profile.select(["shard", "row"]).take(pa.array(shown, pa.int64())).to_pylist()
    place_of = {index: (place["shard"], place["row"]) for index, place in zip(shown, places, strict=True)}
    limits = Limits(settings.max_pixels, settings.max_seconds, settings.max_frames)
    pictures = thumbnails(data, list(place_of.values()), limits)
    return [
        {
            "id": facts["id"],
            "verdict": verdicts[index],
            "problems": problems[index],
            "detail": "; ".join(dict.fromkeys(detail(code, facts, codes, settings) for code in problems[index])),
            "split": facts["split"],
            "sha256": facts["sha256"],
            "thumbnail": pictures[place_of[index]][1] if index in place_of else None,
        }
        for index, facts in zip(problems, samples, strict=True)
    ]


def _refused(data: Path, limit: int | None) -> list[Facts]:
    """What the importer refused, as quarantine rows; none where only the first samples are asked for."""
    path = data / REFUSED
    if limit is not None or not path.is_file():
        return []
    rows = pq.read_table(path, columns=["id", "problems", "detail", "split"]).to_pylist()
    return [{**row, "verdict": "reject", "sha256": None, "thumbnail": None} for row in rows]


# Outcome ------------------------------------------------------------------------------------------------------------


def _shortage(summary: Facts, settings: ValidateSettings) -> list[str]:
    reasons = []
    accepted, num_rows = summary["accepted"], summary["rows"]
    if accepted < settings.min_rows:
        reasons.append(f"{accepted} samples are usable, fewer than {settings.min_rows} (validate.min_rows)")
    if accepted < settings.min_accepted_share * num_rows:
        reasons.append(
            f"only {accepted / num_rows:.0%} of {num_rows} samples are usable, less than"
            f" {settings.min_accepted_share:.0%} (validate.min_accepted_share)"
        )
    for split, counts in summary["splits"].items():
        if counts["rows"] == counts["reject"]:
            reasons.append(f"no sample of the split '{split}' is usable")
    return reasons


def _summary(
    profile: pa.Table,
    verdicts: NDArray[Any],
    quarantine: Sequence[Facts],
    num_refused: int,
    findings: "Findings",
) -> Facts:
    """Counts of samples: per split and verdict, per modality, per problem; refused rows count as rejected."""
    split_of = np.asarray(profile["split"].to_pylist(), object)
    kept = pa.array(verdicts != "reject")
    total = Counter(verdicts.tolist())
    codes = Counter(code for row in quarantine for code in row["problems"])
    order = [*findings.codes, *sorted(set(codes) - set(findings.codes))]
    splits = {}
    for split in store.SPLITS:
        mine = Counter(verdicts[split_of == split].tolist())
        splits[split] = {"rows": mine.total()} | {verdict: mine[verdict] for verdict in VERDICTS}
    return {
        "schema_version": SCHEMA_VERSION,
        "rows": profile.num_rows + num_refused,
        "accepted": profile.num_rows - total["reject"],
        "refused_at_import": num_refused,
        "splits": splits,
        "modalities": {name: _modality(profile[f"has_{name}"], kept) for name in (*media(), "text")},
        "verdicts": {verdict: total[verdict] + num_refused * (verdict == "reject") for verdict in VERDICTS},
        "problems": {
            code: {
                "rows": codes[code],
                "verdict": verdict_of([code], findings.codes),
                "meaning": findings.codes[code].meaning if code in findings.codes else "refused at import",
            }
            for code in order
            if codes[code]
        },
        "expectations": {
            "checked": findings.checked,
            "failures": list(findings.failures),
            "warnings": list(findings.warnings),
        },
    }


def _modality(has: pa.ChunkedArray, kept: pa.Array) -> dict[str, int]:
    return {"rows": pc.sum(has).as_py() or 0, "accepted": pc.sum(has.filter(kept)).as_py() or 0}


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
