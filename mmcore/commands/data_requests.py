"""`mmcore data requests`: what the service was unsure of, and what a person says is right, as rows to train on."""

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from mmcore import params, project
from mmcore.data.importers import ImportOptions
from mmcore.data.importing import import_data
from mmcore.ledger import Ledger
from mmcore.plugins import load_settings
from mmcore.serving import requests
from mmcore.serving.requests import Kept
from mmcore.workspace import Workspace, run_lock

_SHOWN = 50
# The columns of the texts that a request may hold; a question is part of `qa`.
_COLUMNS = {"text": "captions", "transcript": "transcript"}


def run(workspace: Workspace, arguments: argparse.Namespace) -> str:
    """List or show the kept requests, or decide on them; returns the lines to print."""
    folder = requests.place(workspace.state)
    match arguments.doing:
        case "list":
            return _list(folder)
        case "show":
            return _show(folder, requests.find(folder, arguments.id))
        case "accept":
            chosen = [requests.find(folder, id) for id in dict.fromkeys(arguments.id)]
            return _accept(workspace, folder, chosen, arguments.answer, new_class=arguments.new_class)
        case _:
            unwanted = [requests.find(folder, id) for id in dict.fromkeys(arguments.id)]
            for one in unwanted:
                requests.remove(folder, one.id)
            return f"removed {_counted(len(unwanted))}"


def _list(folder: Path) -> str:
    found = requests.kept(folder)
    if not found:
        return "no request is kept; with serve.ask_below the service keeps those that it is unsure of"
    lines = [
        f"{one.id}  {one.probability:.2f}  {one.task}: {one.answer}  ({', '.join([*one.files, *one.texts])}, {one.at})"
        for one in found[:_SHOWN]
    ]
    if len(found) > _SHOWN:
        lines.append(f"... and {len(found) - _SHOWN} more")
    return "\n".join([*lines, "one with what was sent: mmcore data requests show ID"])


def _show(folder: Path, one: Kept) -> str:
    told = [
        ("id", one.id),
        ("task", one.task),
        ("answered", f"{one.answer} ({one.probability:.2f})"),
        *(("class", f"{name} ({share:.2f})") for name, share in one.classes.items()),
        *((name, _printable(text)) for name, text in one.texts.items()),
        *((name, str(folder / one.id / file)) for name, file in one.files.items()),
        ("model", one.model[:12]),
        ("at", one.at),
    ]
    lines = [f"{name:<12}{value}" for name, value in told]
    return "\n".join([*lines, f"right, or not: mmcore data requests accept {one.id} [--answer X]; or reject {one.id}"])


def _printable(text: str) -> str:
    """What anybody may have sent, with whatever a terminal would obey as an escape."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def _accept(workspace: Workspace, folder: Path, chosen: list[Kept], answer: str | None, *, new_class: bool) -> str:
    """Append the requests to data/ as training rows, record them in data.dvc, and only then remove them."""
    for one in chosen:
        if "question" not in one.texts and answer is not None and answer not in one.classes and not new_class:
            raise ValueError(
                f"'{answer}' is no class of the task {one.task}; there are: {', '.join(one.classes)}; "
                "a class that the model is to learn goes with --new-class"
            )
    settings = load_settings(workspace)  # a plugin's modality is a column of the rows
    with run_lock(workspace.state / "run.lock", "accepting requests"):
        project.ensure_data(workspace, settings)
        with tempfile.TemporaryDirectory() as place:
            source = Path(place) / "requests"
            for one in chosen:
                shutil.copytree(folder / one.id, source / one.id)
            lines = [json.dumps(_row(one, answer or one.answer), ensure_ascii=False) for one in chosen]
            (source / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
            report = import_data(
                source, workspace.data, format="table", options=ImportOptions(), append=True, only_new=True
            )
        Ledger(workspace.root).add_data()
        if settings.data.source == "digitworld":  # data that a person has added to are never generated again
            params.change(workspace.params, assignments=["data.source=null"])
    if report.refused:
        refused = ", ".join(f"{count} {code}" for code, count in report.refused.items())
        raise ValueError(f"of {_counted(len(chosen))} some became no row ({refused}); all of them are kept")
    for one in chosen:
        requests.remove(folder, one.id)
    known = f"; {report.known} were in data/ already, as they had been accepted" if report.known else ""
    return (
        f"accepted {_counted(len(chosen))}: {report.rows['train']} new training rows in data/{known}\n"
        "data.dvc names them now; commit it: git commit -m 'Take in requests' data.dvc params.yaml\n"
        "the next run learns from them: mmcore run"
    )


def _row(one: Kept, answer: str) -> dict[str, Any]:
    """The line of a table that `mmcore data import` reads: what was sent, with the right answer."""
    row: dict[str, Any] = {name: f"{one.id}/{file}" for name, file in one.files.items()}
    row |= {_COLUMNS[name]: text for name, text in one.texts.items() if name in _COLUMNS}
    if question := one.texts.get("question"):
        row["qa"] = [{"question": question, "answers": [answer]}]
    else:
        row["labels"] = {one.label: answer}
    # A test on what the model was unsure of would be another test.
    return row | {
        "id": f"request-{one.id}", "split": "train", "asked_at": one.at, "answered": one.answer,
        "probability": one.probability, "model": one.model,
    }  # fmt: skip


def _counted(count: int) -> str:
    return "1 request" if count == 1 else f"{count} requests"
