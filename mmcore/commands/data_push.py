"""`mmcore data push`: send the data to a remote, complete what an interrupted push left, compare what lies there."""

import argparse

from mmcore.remotes import push
from mmcore.workspace import Workspace, run_lock


def run(workspace: Workspace, arguments: argparse.Namespace) -> str:
    """What was done, a line each; errors name every file that is not intact."""
    with run_lock(workspace.state / "run.lock", "mmcore data push"):
        return "\n".join(push(workspace, arguments.remote, read_back=arguments.verify))
