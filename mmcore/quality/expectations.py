"""What is expected of the samples, as a Great Expectations suite over their profile, read from a file of the project.

Importing Great Expectations takes 6 seconds: this module is for the stage `validate` alone.
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import great_expectations as gx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from great_expectations.checkpoint import UpdateDataDocsAction
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.expectations.expectation import (
    ColumnMapExpectation,
    ColumnPairMapExpectation,
    MulticolumnMapExpectation,
)
from great_expectations.expectations.registry import get_expectation_impl

from mmcore.data.modalities import media, own_media
from mmcore.quality.problems import PROBLEMS, UNDECODABLE, VERDICTS, Problem
from mmcore.settings import ValidateSettings

NAME = "samples"
INDEX = "index"
SPLIT = "split"
_PARAMETER = "$PARAMETER"
# Those that say which rows do not meet them.
_OF_ROWS = (ColumnMapExpectation, ColumnPairMapExpectation, MulticolumnMapExpectation)
_ADVICE = "docs/validation.md says how to write an expectation"


@dataclass(frozen=True)
class Findings:
    """What the suite found.

    `problems`: codes by profile row, sorted by row, rows without any left out; `failures`: sentences about the whole
    set that forbid its use; `warnings`: sentences worth reading; `errors`: expectations that could not be checked,
    which says nothing about the data; `checked`: how many expectations there were; `codes`: all problems there are,
    those of the suite included.
    """

    problems: dict[int, tuple[str, ...]]
    failures: tuple[str, ...]
    warnings: tuple[str, ...]
    errors: tuple[str, ...]
    checked: int
    codes: dict[str, Problem]


@dataclass(frozen=True)
class Suite:
    """A suite that has been read: Great Expectations' own objects, the columns that they need, the problem codes."""

    expectations: list[Any]
    columns: tuple[str, ...]
    codes: dict[str, Problem]


def check(profile: pa.Table, suite: Suite, settings: ValidateSettings, docs: Path) -> Findings:
    """Check the profile rows (`probe.schema`, copies marked); Data Docs are left in `docs` as HTML."""
    context = _context(docs)
    batch = context.data_sources.add_pandas(NAME).add_dataframe_asset(NAME).add_batch_definition_whole_dataframe(NAME)
    whole = context.suites.add(gx.ExpectationSuite(NAME, expectations=suite.expectations))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=NAME, data=batch, suite=whole))
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name=NAME,
            validation_definitions=[definition],
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [INDEX]},
            actions=[UpdateDataDocsAction(name="docs", site_names=[NAME])],
        )
    )
    # The library takes the rows that are not null again and again: most often all of them, which need no copying.
    with pd.option_context("mode.copy_on_write", True):
        outcome = checkpoint.run(
            batch_parameters={"dataframe": _frame(profile, suite.columns)},
            expectation_parameters=_parameters(settings, profile),
        )
    (result,) = outcome.run_results.values()
    return _findings(result.results, suite.codes)


# The file -------------------------------------------------------------------------------------------------------------


def read_suite(path: Path, settings: ValidateSettings, columns: Iterable[str]) -> Suite:
    """The suite in the file `path`, in Great Expectations' own JSON form.

    An expectation's `meta` says what a sample that does not meet it has (`code`, for codes of one's own also `verdict`
    and `meaning`), or what is to be said of the whole set (`failure` or `warning`: a sentence). `{"$PARAMETER": name}`
    stands for a setting of `validate`, or for `needed_<modality>`: 1 if the training split has it, else 0. That a
    modality of one's own can be decoded is always expected. A ValueError says in one sentence which expectation cannot
    be used, and why.
    """
    entries = [*_entries(path), *map(_decodable, own_media())]
    known = tuple(columns)
    parameters = tuple(_parameters(settings, None))
    codes = dict(PROBLEMS)
    found, needed = [], set()
    for number, entry in enumerate(entries, start=1):
        where = f"{path}: expectation {number} ({entry.get('type') if isinstance(entry, dict) else 'no object'})"
        try:
            own = list(_used_columns(entry["kwargs"]))
            _check_names(own, known, "column")
            _check_names(_used_parameters(entry["kwargs"]), parameters, "parameter")
            codes |= _code(entry.get("meta") or {})
            get_expectation_impl(entry["type"])
            # One at a time, so that the sentence can name it; the library raises whatever it likes.
            one = gx.ExpectationSuite(NAME, expectations=[entry]).expectations[0]
            if "code" in (entry.get("meta") or {}) and not isinstance(one, _OF_ROWS):
                raise ValueError("it is about the set, which has no 'code' but a sentence 'failure' or 'warning'")
            found.append(one)
        except Exception as error:
            reason = f"it has no {error}" if isinstance(error, KeyError) else _first_line(str(error)) or repr(error)
            raise ValueError(f"{where} cannot be used: {reason}; {_ADVICE}") from None
        needed.update(own)
    return Suite(found, tuple(name for name in known if name in needed), codes)


def _entries(path: Path) -> list[Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: it says what is expected of the data; mmcore init writes it")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no valid JSON: {error}") from None
    entries = content.get("expectations") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path} holds no list 'expectations'; {_ADVICE}")
    return entries


def _decodable(medium: str) -> dict[str, Any]:
    return {
        "type": "expect_column_values_to_be_in_set",
        "kwargs": {"column": f"{medium}_ok", "value_set": [True]},
        "meta": {
            "code": f"{UNDECODABLE}{medium}", "verdict": "reject", "meaning": f"the {medium} cannot be decoded"
        },
        "severity": "critical",
    }  # fmt: skip


def _used_columns(kwargs: dict[str, Any]) -> Iterator[str]:
    for key, value in kwargs.items():
        if key in ("column", "column_A", "column_B"):
            yield value
        elif key in ("column_list", "column_set"):
            yield from value
        elif key == "row_condition":
            if not isinstance(value, dict) or "column" not in value:
                raise ValueError('write row_condition as {"type": "comparison", "column": {"name": ...}, ...}')
            yield value["column"]["name"]


def _used_parameters(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == _PARAMETER:
                yield inner
            else:
                yield from _used_parameters(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _used_parameters(inner)


def _check_names(names: Iterable[str], known: tuple[str, ...], what: str) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"there is no {what} '{name}'; there are: {', '.join(known)}")


def _code(meta: dict[str, Any]) -> dict[str, Problem]:
    """The problem that an expectation's meta names; none where it speaks of the whole set."""
    if "code" not in meta:
        if not isinstance(meta.get("failure", meta.get("warning")), str):
            raise ValueError("its meta has no 'code' (of a sample) and no sentence 'failure' or 'warning' (of the set)")
        return {}
    code = meta["code"]
    usual = PROBLEMS.get(code)
    verdict = meta.get("verdict", usual.verdict if usual else None)
    meaning = meta.get("meaning", usual.meaning if usual else None)
    if verdict not in VERDICTS[1:] or not meaning:
        raise ValueError(
            f"the code '{code}' is new: its meta needs 'verdict' ({', '.join(VERDICTS[1:])}) and 'meaning'"
        )
    return {code: Problem(verdict, meaning)}


def _parameters(settings: ValidateSettings, profile: pa.Table | None) -> dict[str, Any]:
    """What `$PARAMETER` may name; without a profile only the names matter."""
    parameters = asdict(settings)
    for kind in (*media(), "text"):
        trained = profile is not None and pc.any(pc.and_(pc.equal(profile[SPLIT], "train"), profile[f"has_{kind}"]))
        parameters[f"needed_{kind}"] = int(bool(trained and trained.as_py()))
    return parameters


# Checking -------------------------------------------------------------------------------------------------------------


def _frame(profile: pa.Table, columns: tuple[str, ...]) -> pd.DataFrame:
    """The columns of the suite and the row numbers. What is absent is NaN, which an expectation of a column leaves out;
    truth values are 1 and 0, so that only texts are kept as objects."""
    found: dict[str, Any] = {INDEX: np.arange(profile.num_rows)}
    for name in columns:
        column = profile[name]
        if column.null_count == len(column):
            found[name] = np.full(len(column), np.nan, np.float32)
        elif pa.types.is_string(column.type):
            found[name] = (column.dictionary_encode() if name == SPLIT else column).to_pandas()
        else:
            found[name] = (column.cast(pa.uint8()) if pa.types.is_boolean(column.type) else column).to_numpy()
    return pd.DataFrame(found)


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


def _findings(results: Iterable[Any], codes: dict[str, Problem]) -> Findings:
    problems: dict[int, list[str]] = {}
    sentences: dict[str, list[str]] = {"failure": [], "warning": []}
    errors = []
    checked = 0
    for one in results:
        checked += 1
        meta = one.expectation_config.meta
        reason = _exception(one.exception_info)
        if reason is not None:
            named = meta.get("code") or meta.get("failure") or meta.get("warning")
            errors.append(f"{one.expectation_config.type} ({named}): {reason}")
        elif not one.success and "code" in meta:
            for unexpected in one.result["unexpected_index_list"]:
                problems.setdefault(int(unexpected[INDEX]), []).append(meta["code"])
        elif not one.success:
            kind = "failure" if "failure" in meta else "warning"
            sentences[kind].append(meta[kind])
    order = {code: place for place, code in enumerate(codes)}
    return Findings(
        problems={row: tuple(sorted(set(found), key=order.__getitem__)) for row, found in sorted(problems.items())},
        failures=tuple(sorted(sentences["failure"])),
        warnings=tuple(sorted(sentences["warning"])),
        errors=tuple(sorted(errors)),
        checked=checked,
        codes=codes,
    )


def _exception(info: dict[str, Any]) -> str | None:
    """Why an expectation could not be checked, None if it was. Great Expectations reports one such reason directly,
    or one for each of the numbers that the expectation needed."""
    reports = [info] if "raised_exception" in info else list(info.values())
    for report in reports:
        if report["raised_exception"]:
            return _first_line(str(report["exception_message"])) or "for a reason that it does not give"
    return None


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")
