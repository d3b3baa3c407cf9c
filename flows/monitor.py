"""The monitor flow: a batch from production against the drift reference of the last run.

By hand: `mmcore monitor BATCH`, where BATCH is a Parquet file of the store's schema or a folder of pictures.
"""

import sys
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.steps import quietly
from mmcore.plugins import load_settings
from mmcore.quality import batch, drift
from mmcore.quality.embed import embed_batch
from mmcore.workspace import Workspace, write_json


@flow(name="monitor", validate_parameters=True)
def monitor(batch_path: str) -> str:
    """Compare the batch with artifacts/reference; returns `drift`, `no drift` or `too few rows`."""
    workspace = Workspace(Path.cwd())
    settings = load_settings(workspace)
    folder = workspace.artifacts / "monitor"
    folder.mkdir(parents=True, exist_ok=True)
    source, model = Path(batch_path), workspace.tasks / "retrieval"
    embeddings = embed_batch(source, workspace.reference, model) if model.is_dir() else None
    rows = batch.profile_batch(source, workspace.reference, embeddings=embeddings)
    found = drift.compare(workspace.reference, rows, settings.monitor, folder / "index.html")
    write_json(folder / "verdict.json", found.to_json())
    create_markdown_artifact(found.describe(), key="drift")
    print(found.describe().replace("**", ""))
    print(f"Evidently's report: {folder / 'index.html'}")
    return found.verdict


if __name__ == "__main__":
    raise SystemExit(quietly(lambda: monitor(sys.argv[1])))
