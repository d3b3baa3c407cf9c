"""`mmcore data review`: the captions that fit their pictures least, as the trained retrieval model sees it."""

import argparse

from mmcore.data.store import SPLITS, read_table
from mmcore.plugins import load_settings
from mmcore.quality.components import TASK
from mmcore.quality.consistency import check_model, misfits
from mmcore.quality.embed_shards import embed_pairs
from mmcore.quality.review import PAGE, TABLE, review_table, write_review
from mmcore.training.device import choose
from mmcore.workspace import Workspace, write_folder


def run(workspace: Workspace, arguments: argparse.Namespace) -> str:
    """Score every caption, write the table and the page; returns where they are and what to do with them."""
    settings = load_settings(workspace)
    if TASK not in settings.finetune:
        raise LookupError(f"params.yaml has no task '{TASK}', whose model compares captions with pictures")
    model = check_model(workspace.tasks / TASK)
    medium = settings.finetune[TASK].medium
    accepted = read_table(workspace.validated / "accepted.parquet", ["id", "split", "shard", "row"])
    scored = {}
    for split in [name for name in SPLITS if name in (arguments.split or SPLITS)]:
        pairs = embed_pairs(
            workspace.data, accepted, model, split, medium, plugins=settings.plugins,
            device=str(choose(settings.train).torch), cache=workspace.state / "cache",
        )  # fmt: skip
        scored[split] = (pairs, misfits(pairs))
    table = review_table(scored)
    output = workspace.artifacts / "review"
    with write_folder(output) as folder:
        write_review(
            folder, table, name=settings.name, data=workspace.data, accepted=accepted, limit=arguments.limit
        )  # fmt: skip
    shown = output.relative_to(workspace.root)
    return "\n".join(
        [
            f"scored {table.num_rows} captions; the least fitting ones: {shown / PAGE}, all of them: {shown / TABLE}",
            "next: look at the page, then drop what is wrong: mmcore data quarantine drop ID",
        ]
    )
