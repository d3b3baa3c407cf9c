"""Makes artifacts/report/index.html: one self-contained page about whatever lies in a workspace."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jinja2
import yaml

from mmcore import __version__
from mmcore.report import card, sections
from mmcore.report.examples import described, galleries, language
from mmcore.report.media import Pictures, Store
from mmcore.report.readers import (
    project_name,
    read_curves,
    read_headline,
    read_lineage,
    read_metrics,
    read_run,
    read_skipped,
    read_summary,
    read_table,
    read_verdict,
    sentence,
    validation_folder,
)
from mmcore.report.verdicts import banner, next_steps
from mmcore.workspace import Workspace, write_bytes

TEMPLATES = Path(__file__).parent / "templates"
# Of the examples. With those of the data strip and the quarantine pictures take 3.6 MB at most; the page stays below
# 4 MB, which leaves ample room for words and charts.
PICTURES_BUDGET = 2_900_000
EXAMPLES = 3
DESCRIBED = 6
# A text longer than this is cut: the page shows samples, the files hold the whole.
CHARACTERS = 600

T = TypeVar("T")
# What reading a file that is broken, cut off or of another shape raises.
UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError)


def build(workspace: Workspace) -> Path:
    """Write the page and return its path.

    Every part is made from the files that are there; what is missing or cannot be read is named at the page's end.
    Equal files give equal bytes.
    """
    html = environment().get_template("report.html.j2").render(page=_page(workspace))
    write_bytes(workspace.report, html.encode())
    return workspace.report


def environment() -> jinja2.Environment:
    """Jinja with the templates of this folder: everything that comes from data is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"readable": readable, "sentence": sentence, "language": language}
    return environment


def readable(text: Any) -> str:
    """`text` without the control characters that no page can show, cut where it is very long."""
    clean = "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in str(text))
    return clean if len(clean) <= CHARACTERS else clean[:CHARACTERS].rstrip() + " …"


class _Reading:
    """Reads part after part and keeps one plain line for each that is missing or broken."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def part(self, name: str, read: Callable[..., T | None], *arguments: Any, missing: str = "") -> T | None:
        """What `read` gives; None where there is nothing (`missing` is noted) or it cannot be read (why is noted)."""
        try:
            found = read(*arguments)
        except UNREADABLE as error:
            lines = str(error).splitlines() or [type(error).__name__]
            self.notes.append(f"{name} could not be read: {lines[0]}")
            return None
        if not found and missing:
            self.notes.append(missing)
        return found


def _page(workspace: Workspace) -> dict[str, Any]:
    """Everything that the template shows."""
    reading = _Reading()
    run = reading.part("The run's record", read_run, workspace)
    verdict = reading.part("The verdict", read_verdict, workspace)
    metrics = reading.part(
        "The evaluation", read_metrics, workspace, verdict, missing="No metrics: nothing is evaluated."
    )
    headline = reading.part("The headline scores", read_headline, workspace)
    curves = reading.part("The curves", read_curves, workspace, missing="No learning curves: nothing is trained.")
    page: dict[str, Any] = {
        "name": reading.part("The project's name", project_name, workspace) or workspace.root.resolve().name,
        "version": __version__,
        "run": run,
        "facts": sections.facts(run),
        "banner": reading.part("The failure", banner, workspace, run, verdict) or banner(workspace, None, verdict),
        "steps": next_steps(run, verdict),
        "trainings": [sections.training(one) for one in curves or []],
        **sections.results(metrics or [], headline or []),
        **sections.time(run),
        **_examples(workspace, reading),
        **_data(workspace, reading),
    }
    page["lineage"] = reading.part("The lineage", lambda: sections.lineage(read_lineage(workspace)))
    page["notes"] = [*reading.notes, *(reading.part("The skipped tasks", read_skipped, workspace) or [])]
    page["contents"] = _contents(page)
    return page


def _examples(workspace: Workspace, reading: _Reading) -> dict[str, Any]:
    """Galleries and described pictures from every file of predictions."""
    made: dict[str, Any] = {"galleries": [], "described": []}
    files = sorted((workspace.evaluation / "predictions").glob("*.parquet"))
    if not files:
        reading.notes.append("No examples: there are no predictions.")
        return made
    accepted = reading.part(
        "The list of accepted samples", read_table, workspace.validated / "accepted.parquet",
        missing="No pictures in the examples: the list of accepted samples is missing.",
    )  # fmt: skip
    store, pictures = Store(workspace.data, accepted), Pictures(PICTURES_BUDGET)
    for file in files:
        name = f"The file of predictions {file.name}"
        table = reading.part(name, read_table, file)
        if table is None or table.num_rows == 0:
            continue
        if table["direction"].null_count < table.num_rows:
            made["galleries"] += reading.part(name, galleries, table, store, pictures, EXAMPLES) or []
        else:
            shown = reading.part(name, described, table, store, pictures, DESCRIBED) or []
            made["described"].append(
                {"id": file.stem, "title": sentence(file.stem), "count": table.num_rows, "examples": shown}
            )
    if pictures.left_out:
        reading.notes.append(f"{pictures.left_out} pictures, left out to keep this page small.")
    return made


def _data(workspace: Workspace, reading: _Reading) -> dict[str, Any]:
    """Counts, distributions and quarantine."""
    folder = reading.part("The state of validation", validation_folder, workspace) or workspace.validated
    summary = reading.part("The data summary", read_summary, folder, missing="No counts: no data have been validated.")
    profile = reading.part("The profile", read_table, folder / "profile.parquet", sections.PROFILED)
    held = reading.part("The quarantine", read_table, folder / "quarantine.parquet")
    contents = reading.part("The contents of data/", card.read_contents, workspace.data)
    return {
        "card": reading.part("The contents of data/", card.card, contents, summary),
        "strip": reading.part("The example strip", card.strip, workspace.data, folder) or [],
        "data": reading.part("The data summary", sections.data, summary),
        "histograms": reading.part("The profile", sections.histograms, profile) or [],
        "quarantine": reading.part("The quarantine", sections.quarantine, held, summary),
    }


def _contents(page: dict[str, Any]) -> list[tuple[str, str]]:
    """Ids and titles of the sections that the page has, in its order."""
    listed = [
        ("results", "Results", page["tables"]), ("learning", "Learning", page["trainings"]),
        ("retrieval", "Retrieval", page["galleries"]),
        *((part["id"], part["title"], part) for part in page["described"]),
        ("data", "Data", page["data"]), ("quarantine", "Quarantine", page["quarantine"]),
        ("lineage", "Lineage", page["lineage"]), ("cost", "Time", page["stages"]), ("next", "Next", True),
        ("missing", "Not in this report", page["notes"]),
    ]  # fmt: skip
    return [(id, title) for id, title, shown in listed if shown]
