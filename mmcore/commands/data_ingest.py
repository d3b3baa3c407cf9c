"""`mmcore data ingest`: the new rows of `data.source` are appended to data/, and data.dvc names them."""

import argparse

from mmcore import project
from mmcore.data.ingest import ingest
from mmcore.ledger import Ledger
from mmcore.plugins import load_settings
from mmcore.workspace import Workspace, run_lock


def run(workspace: Workspace, arguments: argparse.Namespace) -> str:
    """Append, or with `--dry-run` only count; returns what was found, in lines for a person."""
    settings = load_settings(workspace)
    with run_lock(workspace.state / "run.lock", "an ingest"):
        project.ensure_data(workspace, settings)
        report = ingest(workspace, settings, dry_run=arguments.dry_run)
        lines = [f"{report.source}: {report.describe()}"]
        if arguments.dry_run:
            return "\n".join([*lines, "nothing was changed (--dry-run)"])
        if report.changed:
            Ledger(workspace.root).add_data()
            lines.append("data.dvc names them now; commit it: git commit -m 'Take in new rows' data.dvc")
    return "\n".join(lines)
