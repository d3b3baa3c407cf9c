"""What a run came to, for the terminal: the headline metrics, the verdict, and what to type next."""

import io
import shutil
import sys

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mmcore.report.readers import Metric, metric_label, read_headline, read_metrics, read_run, read_verdict, sentence
from mmcore.report.verdicts import banner, next_steps
from mmcore.workspace import Workspace

STYLES = {"good": "bold green", "bad": "bold red", "same": "bold", "none": "bold yellow"}
WIDEST = 110


def closing_table(workspace: Workspace, *, colour: bool | None = None) -> str:
    """The text that ends a run: metric, value, baseline, champion; the verdict with its reasons; the next commands.

    `colour`: with ANSI codes or without, by default as standard output is a terminal or not.
    """
    run, verdict = read_run(workspace), read_verdict(workspace)
    console = Console(
        file=io.StringIO(), force_terminal=sys.stdout.isatty() if colour is None else colour, highlight=False,
        width=min(shutil.get_terminal_size().columns, WIDEST), legacy_windows=False,
    )  # fmt: skip
    metrics = _shown(read_metrics(workspace, verdict) or [], read_headline(workspace))
    console.print()
    if metrics:
        console.print(_table(metrics))
        console.print()
    outcome = banner(workspace, run, verdict)
    console.print(Text.assemble((outcome.title, STYLES[outcome.kind]), "  ", outcome.sentence))
    for reason in outcome.reasons:
        console.print(Padding(Text(f"- {reason}"), (0, 0, 0, 2), expand=False))
    console.print()
    steps = Table.grid(padding=(0, 3))
    for step in next_steps(run, verdict):
        steps.add_row(Text(step.command, "cyan"), Text(step.purpose, "dim"))
    console.print(Text("Next", "bold"))
    console.print(Padding(steps, (0, 0, 0, 2), expand=False))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def _shown(metrics: list[Metric], headline: list[str]) -> list[Metric]:
    """The headline metrics in their order; all of them where none is named."""
    by_key = {metric.key: metric for metric in metrics}
    return [by_key[key] for key in headline if key in by_key] or metrics


def _table(metrics: list[Metric]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("task")
    table.add_column("metric")
    for name in ("value", "baseline", "champion"):
        table.add_column(name, justify="right")
    for metric in metrics:
        value, baseline, champion = (_number(mark) for mark in (metric.value, metric.baseline, metric.champion))
        label = Text(metric_label(metric.name))
        table.add_row(Text(sentence(metric.task), "dim"), label, Text(value, "bold"), Text(baseline), Text(champion))
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
