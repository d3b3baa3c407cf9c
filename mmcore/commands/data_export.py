"""`mmcore data export`: data/ in a format that others read."""

import argparse
from pathlib import Path

from mmcore.data import store
from mmcore.data.exporters import export_data
from mmcore.plugins import load_settings
from mmcore.workspace import Workspace


def run(workspace: Workspace, arguments: argparse.Namespace) -> str:
    """Write the splits asked for, or all; returns how many rows of each were written, and how to read them back."""
    load_settings(workspace)
    destination = Path(arguments.destination)
    splits = [split for split in store.SPLITS if split in (arguments.split or store.SPLITS)]
    counts = export_data(workspace.data, destination, format=arguments.format, splits=splits)
    written = ", ".join(f"{count} {split}" for split, count in counts.items())
    return f"exported {written} rows\nread them back: mmcore data import {destination} --format {arguments.format}"
