"""`mmcore data import`: a person's data become data/, data.dvc names them, and the project carries their name."""

import argparse
import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from mmcore import params
from mmcore.data import store
from mmcore.data.importers import ImportOptions
from mmcore.data.importing import ImportReport, import_data
from mmcore.data.survey import TASK_COLUMNS, describe_source
from mmcore.data.survey_page import preview_lines, preview_page
from mmcore.ledger import Ledger
from mmcore.plugins import load_settings
from mmcore.workspace import Workspace, run_lock, write_bytes

_COMMIT = "data.dvc names them now; commit it: git add data.dvc params.yaml dvc.yaml && git commit -m {}"
# The presets for data of one kind, and what their rows have.
PRESETS = {"photos": {"image", "captions"}, "questions": {"image", "qa"}, "sounds": {"audio", "labels"}}


def run(workspace: Workspace, arguments: argparse.Namespace) -> str:
    """Import, or with `--dry-run` only look; returns what was found, in lines for a person."""
    settings = load_settings(workspace)
    source = Path(arguments.source)
    options = ImportOptions(
        map=_fields(arguments.map),
        lang=_languages(arguments.lang),
        lang_field=arguments.lang_field,
        group=arguments.group,
        positives=arguments.positives,
        limit=arguments.limit,
    )
    if arguments.dry_run:
        summary = describe_source(source, arguments.format, options)
        page = workspace.artifacts / "import" / "index.html"
        write_bytes(page, preview_page(summary).encode())
        shown = f"pictures: {page.relative_to(workspace.root)}"
        return "\n".join([*preview_lines(summary), shown, "nothing was changed (--dry-run)"])
    if settings.data.source == "digitworld" and not arguments.name:
        raise ValueError(
            "name your data, so that their models never compete with those of the built-in data: --name NAME"
        )
    if arguments.retry_failed and not options.words():
        options = ImportOptions.from_words(settings.data.fields, limit=arguments.limit)
    with run_lock(workspace.state / "run.lock", "an import"):
        report = import_data(
            source, workspace.data, format=arguments.format, options=options,
            replace=arguments.replace, append=arguments.append, only_new=arguments.only_new,
            retry_failed=arguments.retry_failed, resume=arguments.resume,
        )  # fmt: skip
        Ledger(workspace.root).add_data()
        # What is added to others leaves alone where those come from, and how they are read.
        is_first = not (arguments.append or arguments.retry_failed) or settings.data.source == "digitworld"
        is_own = is_first and arguments.format != "digitworld"
        if is_own:
            fields = json.dumps(options.words())
            words = [f"data.format={arguments.format}", f"data.fields={fields}", "data.source=null"]
            params.change(workspace.params, assignments=words)
        if arguments.name:
            params.rename(workspace.root, arguments.name)
    lines = [*_told(report, arguments), _COMMIT.format(shlex.quote(f"Import {source.resolve().name}"))]
    if is_own and source.exists():
        where = shlex.quote(f"data.source={source.resolve()}")
        lines.append(f"to let every run look there for new rows: mmcore run --set {where}")
    return "\n".join([*lines, "to keep a copy elsewhere: mmcore data push", _next(workspace, settings.tasks)])


def _told(report: ImportReport, arguments: argparse.Namespace) -> list[str]:
    """What came in and what did not."""
    imported = ", ".join(f"{count} {split}" for split, count in report.rows.items())
    refused = ", ".join(f"{count} {code}" for code, count in report.refused.items())
    lines = [f"imported {imported} rows" + (f"; refused {refused} (they go to quarantine)" if refused else "")]
    if arguments.resume:
        lines.append(f"{report.resumed} of them had been imported before the interruption")
    if report.known:
        lines.append(f"{report.known} rows were passed over: they are in data/ already")
    if report.untried:
        lines.append(f"{report.untried} rows are new in the source and were left alone: --append --only-new adds them")
    if report.guessed:
        told = ", ".join(f"{count} {lang}" for lang, count in report.guessed.items() if lang)
        unknown = report.guessed.get("", 0)
        lines.append(
            f"no language was stated for {sum(report.guessed.values())} captions; guessed from their script: "
            + (told or "none") + (f" ({unknown} cannot be told)" if unknown else "") + "; say it with --lang CODE"
        )  # fmt: skip
    return lines


def _next(workspace: Workspace, tasks: Sequence[str]) -> str:
    """What a person does now: where data/ lacks what a task needs, with settings that do without it."""
    needs = {task: TASK_COLUMNS[task] for task in tasks if task in TASK_COLUMNS}
    asked = {column for columns in (*needs.values(), *PRESETS.values()) for column in columns}
    lacking = store.lacking_columns(workspace.data, asked)
    unfit = {task: columns for task, columns in needs.items() if lacking & set(columns)}
    fitting = [preset for preset, columns in PRESETS.items() if not lacking & columns]
    if not unfit or not fitting:
        return "next: mmcore check"
    missing = sorted({column for columns in unfit.values() for column in columns if column in lacking})
    return (
        f"next: mmcore run --preset {fitting[0]}, which leaves out what data/ has nothing for: {', '.join(unfit)} "
        f"(no row has {' or '.join(missing)})"
    )


def _fields(words: list[str]) -> dict[str, str | list[str]]:
    """Column -> its field, or its fields in the order given."""
    named: dict[str, list[str]] = {}
    for word in words:
        column, found, field = word.partition("=")
        if not found or not column or not field:
            raise ValueError(f"--map {word}: write it as COLUMN=FIELD, for example captions=captions_zh")
        named.setdefault(column, []).append(field)
    return {column: fields if len(fields) > 1 else fields[0] for column, fields in named.items()}


def _languages(words: list[str]) -> str | dict[str, str] | None:
    """The language of all captions, or field -> language."""
    of_all = [word for word in words if "=" not in word]
    if len(of_all) > 1 or (of_all and len(words) > 1):
        raise ValueError(
            f"--lang {' --lang '.join(words)}: give one code for all captions, or FIELD=CODE for each field"
        )
    if of_all:
        return of_all[0]
    return dict(_pair(word) for word in words) or None


def _pair(word: str) -> tuple[str, str]:
    field, _, code = word.partition("=")
    if not field or not code:
        raise ValueError(f"--lang {word}: write it as FIELD=CODE, for example captions_zh=zh")
    return field, code
