"""`mmcore data freeze`: the test split is fixed, so that scores stay comparable while the data grow."""

import argparse

from mmcore import params, project
from mmcore.data import frozen
from mmcore.ledger import Ledger
from mmcore.workspace import Workspace, run_lock


def run(workspace: Workspace, arguments: argparse.Namespace) -> str:
    """Freeze the test split of data/, or thaw it, and record that in data.dvc; returns lines for a person."""
    with run_lock(workspace.state / "run.lock", "a freeze"):
        project.ensure_data(workspace, params.load(workspace.params))
        if arguments.thaw:
            frozen.thaw(workspace.data)
            said = "the test split is open: new rows whose group falls into it are added to it"
        else:
            record = frozen.freeze(workspace.data)
            said = (
                f"the test split is fixed at {record.rows:,} row{'s' * (record.rows != 1)} ({record.sha256[:12]}): "
                "new rows go to train and "
                "validation, those of its groups are refused"
            )
        Ledger(workspace.root).add_data()
    message = "Thaw the test split" if arguments.thaw else "Freeze the test split"
    return f"{said}\ndata.dvc names this now; commit it: git commit -m '{message}' data.dvc"
