"""`mmcore data verify`: hash data/ and the cache, or what lies on a remote, and compare it with data.dvc."""

import argparse

from mmcore.remotes import verify, verify_remote
from mmcore.workspace import Workspace


def run(workspace: Workspace, arguments: argparse.Namespace) -> str:
    """One line if every byte is right; the ValueError names every file that is not."""
    if arguments.remote is None:
        return "\n".join(verify(workspace))
    return "\n".join(verify_remote(workspace, arguments.remote or None))
