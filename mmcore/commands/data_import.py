"""`mmcore data import`: a person's data become data/, data.dvc names them, and the project carries their name."""

import argparse
import html
from pathlib import Path

from mmcore import params
from mmcore.data.importers import ImportOptions
from mmcore.data.importing import import_data
from mmcore.data.survey import SourceSummary, describe_source
from mmcore.ledger import Ledger
from mmcore.workspace import Workspace, run_lock, write_bytes

PREVIEW = """\
<!doctype html><meta charset="utf-8"><title>Import preview</title>
<style>body{{font:16px/1.5 system-ui;margin:2rem auto;max-width:60rem;color-scheme:light dark}}
main{{display:grid;grid-template-columns:repeat(auto-fill,minmax(14rem,1fr));gap:1.5rem}}
img{{width:100%;border-radius:6px}}figure{{margin:0}}small{{opacity:.7}}</style>
<h1>What would be imported</h1><main>{figures}</main>
"""


def run(workspace: Workspace, arguments: argparse.Namespace) -> str:
    """Import, or with `--dry-run` only look; returns what was found, in lines for a person."""
    source = Path(arguments.source)
    options = ImportOptions(
        map=dict(_pair(words) for words in arguments.map),
        lang=arguments.lang,
        lang_field=arguments.lang_field,
        group=arguments.group,
        positives=arguments.positives,
        limit=arguments.limit,
    )
    if arguments.dry_run:
        summary = describe_source(source, arguments.format, options)
        page = workspace.artifacts / "import" / "index.html"
        write_bytes(page, _preview(summary).encode())
        return f"{_lines(summary)}\npictures: {page.relative_to(workspace.root)}\nnothing was changed (--dry-run)"
    settings = params.load(workspace.params)
    if settings.data.source == "digitworld" and not arguments.name:
        raise ValueError(
            "name your data, so that their models never compete with those of the built-in data: --name NAME"
        )
    with run_lock(workspace.state / "run.lock", "an import"):
        report = import_data(
            source, workspace.data, format=arguments.format, options=options,
            replace=arguments.replace, append=arguments.append,
        )  # fmt: skip
        Ledger(workspace.root).add_data()
        changes = ["data.source=null"] if arguments.format != "digitworld" else []
        params.change(workspace.params, assignments=changes)
        if arguments.name:
            params.rename(workspace.root, arguments.name)
    imported = ", ".join(f"{count} {split}" for split, count in report.rows.items())
    refused = ", ".join(f"{count} {code}" for code, count in report.refused.items())
    return "\n".join(
        [
            f"imported {imported} rows" + (f"; refused {refused} (they go to quarantine)" if refused else ""),
            "data.dvc names them now; commit it: "
            f"git add data.dvc params.yaml dvc.yaml && git commit -m 'Import {source.name}'",
            "next: mmcore check",
        ]
    )


def _pair(words: str) -> tuple[str, str]:
    column, found, field = words.partition("=")
    if not found or not column or not field:
        raise ValueError(f"--map {words}: write it as COLUMN=FIELD, for example captions=captions_zh")
    return column, field


def _lines(summary: SourceSummary) -> str:
    lines = ["fields   " + ", ".join(f"{field} → {column}" for field, column in summary.fields.items())]
    lines.append("rows     " + ", ".join(f"{count} {split}" for split, count in summary.rows.items()))
    lines.append("columns  " + ", ".join(f"{name} ({count})" for name, count in summary.columns.items()))
    if summary.refused:
        lines.append("refused  " + ", ".join(f"{count} {code}" for code, count in summary.refused.items()))
    for task, missing in summary.tasks.items():
        lines.append(f"task     {task}: {missing or 'can be trained'}")
    lines += [f"doubt    {doubt}" for doubt in summary.doubts]
    return "\n".join(lines)


def _preview(summary: SourceSummary) -> str:
    figures = []
    for example in summary.examples:
        picture = f'<img src="{example.thumbnail}" alt="">' if example.thumbnail else ""
        texts = "<br>".join(html.escape(text) for text in example.texts)
        note = f"<small>{html.escape(example.id)} · {html.escape(example.split or '')}</small>"
        figures.append(f"<figure>{picture}<figcaption>{texts}<br>{note}</figcaption></figure>")
    return PREVIEW.format(figures="\n".join(figures))
