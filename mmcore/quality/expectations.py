"""What is expected of the samples, as a Great Expectations suite over their profile.

Importing Great Expectations takes 6 seconds: this module is for the stage `validate` alone.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import great_expectations as gx
import great_expectations.expectations as gxe
import pyarrow as pa
from great_expectations.checkpoint import UpdateDataDocsAction
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.expectations.row_conditions import Column

from mmcore.data.store import MEDIA, SPLITS
from mmcore.quality.problems import PROBLEMS
from mmcore.settings import ValidateSettings

NAME = "samples"
INDEX = "index"


@dataclass(frozen=True)
class Findings:
    """What the suite found.

    `problems`: codes by profile row, sorted by row, rows without any left out; `failures`: sentences about the whole
    set that forbid its use; `warnings`: sentences worth reading; `errors`: expectations that could not be checked,
    which says nothing about the data; `checked`: how many expectations there were.
    """

    problems: dict[int, tuple[str, ...]]
    failures: tuple[str, ...]
    warnings: tuple[str, ...]
    errors: tuple[str, ...]
    checked: int


def check(profile: pa.Table, settings: ValidateSettings, docs: Path) -> Findings:
    """Check the profile rows (`probe.SCHEMA`, `duplicate_of`, `leaked_from`); Data Docs are left in `docs` as HTML."""
    frame = profile.drop_columns(["repairs"]).append_column(INDEX, pa.array(range(profile.num_rows), pa.int64()))
    context = _context(docs)
    batch = context.data_sources.add_pandas(NAME).add_dataframe_asset(NAME).add_batch_definition_whole_dataframe(NAME)
    suite = context.suites.add(gx.ExpectationSuite(NAME, expectations=expectations(settings, _kinds(profile))))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=NAME, data=batch, suite=suite))
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name=NAME,
            validation_definitions=[definition],
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [INDEX]},
            actions=[UpdateDataDocsAction(name="docs", site_names=[NAME])],
        )
    )
    outcome = checkpoint.run(batch_parameters={"dataframe": frame.to_pandas()})
    (result,) = outcome.run_results.values()
    return _findings(result.results)


def expectations(settings: ValidateSettings, kinds: Iterable[str]) -> list[gxe.Expectation]:
    """The suite: what each sample must be (meta: its problem code) and what the set must be (meta: a sentence).

    `kinds`: the modalities that training will see.
    """
    each = [
        _each("no_id", gxe.ExpectColumnValuesToNotBeNull, "id"),
        _each("duplicate_id", gxe.ExpectColumnValuesToBeUnique, "id"),
        _true("wrong_hash", "hash_ok"),
        _true("no_modality", "has_any"),
        *(_true(f"undecodable_{name}", f"{name}_ok") for name in MEDIA),
        *(_between("too_small", f"{name}_side", min_value=settings.min_side) for name in ("image", "video")),
        *(_between("too_large", f"{name}_pixels", max_value=settings.max_pixels) for name in ("image", "video")),
        *(_between("too_long", f"{name}_seconds", max_value=settings.max_seconds) for name in ("audio", "video")),
        _between("too_long", "num_frames", max_value=settings.max_frames),
        _between("empty_caption", "num_blank_captions", max_value=0),
        _between("wrong_duration", "duration_error", max_value=settings.duration_tolerance),
        _between("too_long_text", "longest_text", max_value=settings.max_characters),
        _true("bad_meta", "meta_ok"),
        _each("duplicate_within_split", gxe.ExpectColumnValuesToBeNull, "duplicate_of"),
        _each("duplicate_across_splits", gxe.ExpectColumnValuesToBeNull, "leaked_from"),
    ]
    whole = [_rows(f"the set has fewer than {settings.min_rows} samples (validate.min_rows)", settings.min_rows)]
    for split in SPLITS:
        whole.append(_rows(f"the split '{split}' has no samples", 1, row_condition=Column("split") == split))
        for kind in kinds:
            sentence = f"the split '{split}' has no {kind}, which the split 'train' has"
            whole.append(
                gxe.ExpectColumnSumToBeBetween(
                    column=f"has_{kind}", min_value=1, row_condition=Column("split") == split, severity="warning",
                    meta={"whole": "warning", "sentence": sentence},
                )
            )  # fmt: skip
    return each + whole


def _each(code: str, kind: type[Any], column: str, **limits: Any) -> gxe.Expectation:
    severity = "critical" if PROBLEMS[code].verdict == "reject" else "warning"
    return kind(column=column, severity=severity, meta={"code": code, "meaning": PROBLEMS[code].meaning}, **limits)


def _true(code: str, column: str) -> gxe.Expectation:
    return _each(code, gxe.ExpectColumnValuesToBeInSet, column, value_set=[True])


def _between(code: str, column: str, **limits: float) -> gxe.Expectation:
    return _each(code, gxe.ExpectColumnValuesToBeBetween, column, **limits)


def _rows(sentence: str, min_value: int, **condition: Any) -> gxe.Expectation:
    meta = {"whole": "failure", "sentence": sentence}
    return gxe.ExpectTableRowCountToBeBetween(min_value=min_value, meta=meta, **condition)


def _kinds(profile: pa.Table) -> list[str]:
    """The modalities of the training split."""
    training = [split == "train" for split in profile["split"].to_pylist()]
    return [
        name
        for name in (*MEDIA, "text")
        if any(has and trains for has, trains in zip(profile[f"has_{name}"].to_pylist(), training, strict=True))
    ]


def _context(docs: Path) -> Any:
    """A context in memory, without progress bars, whose only Data Docs site is the folder `docs`, emptied."""
    shutil.rmtree(docs, ignore_errors=True)
    site = {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.resolve())},
    }
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        data_docs_sites={NAME: site},
        progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def _findings(results: Iterable[Any]) -> Findings:
    problems: dict[int, list[str]] = {}
    sentences: dict[str, list[str]] = {"failure": [], "warning": []}
    errors = []
    checked = 0
    for one in results:
        checked += 1
        meta = one.expectation_config.meta
        reason = _exception(one.exception_info)
        if reason is not None:
            errors.append(f"{one.expectation_config.type} ({meta.get('code') or meta['sentence']}): {reason}")
        elif not one.success and "code" in meta:
            for unexpected in one.result["unexpected_index_list"]:
                problems.setdefault(int(unexpected[INDEX]), []).append(meta["code"])
        elif not one.success:
            sentences[meta["whole"]].append(meta["sentence"])
    order = list(PROBLEMS)
    return Findings(
        problems={row: tuple(sorted(set(codes), key=order.index)) for row, codes in sorted(problems.items())},
        failures=tuple(sorted(sentences["failure"])),
        warnings=tuple(sorted(sentences["warning"])),
        errors=tuple(sorted(errors)),
        checked=checked,
    )


def _exception(info: dict[str, Any]) -> str | None:
    """Why an expectation could not be checked, None if it was. Great Expectations reports one such reason directly,
    or one for each of the numbers that the expectation needed."""
    reports = [info] if "raised_exception" in info else list(info.values())
    for report in reports:
        if report["raised_exception"]:
            return str(report["exception_message"]).strip().splitlines()[0]
    return None
