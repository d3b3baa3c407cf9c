"""`mmcore data pull`: make data/ what data.dvc names, from the cache or a remote, every byte hashed."""

import argparse

from mmcore.remotes import pull
from mmcore.workspace import Workspace, run_lock


def run(workspace: Workspace, arguments: argparse.Namespace) -> str:
    """What was done, a line each; errors name every file that is not intact."""
    with run_lock(workspace.state / "run.lock", "mmcore data pull"):
        return "\n".join(pull(workspace, arguments.remote))
