"""Makes artifacts/diff/index.html: what differs between two versions of the data, with pictures of examples."""

from pathlib import Path
from typing import Any

from mmcore.data.difference import KINDS, Difference, Sample, table
from mmcore.data.store import read_rows
from mmcore.report.build import environment
from mmcore.report.media import Pictures
from mmcore.workspace import write_bytes

PICTURES_BUDGET = 2_000_000


def build(found: Difference, path: Path, *, name: str, before: str, after: str) -> None:
    """Write the page to `path`. `before`, `after`: what a person called the two versions."""
    pictures = Pictures(PICTURES_BUDGET)
    page: dict[str, Any] = {
        "name": name, "before": before, "after": after, "kinds": KINDS,
        "lines": [{"name": name.strip(), "part": name.startswith(" "), "counts": counts}
                  for name, counts in table(found)],
        "total": {kind: found.rows[kind].total() for kind in KINDS},
        "samples": {kind: [_shown(sample, pictures) for sample in found.samples[kind]] for kind in KINDS},
        "same": found.same_shards, "read": found.read_shards,
    }  # fmt: skip
    write_bytes(path, environment().get_template("changes.html.j2").render(page=page).encode())


def _shown(sample: Sample, pictures: Pictures) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if set(sample.modalities) & {"image", "video"}:
        (content,) = read_rows(sample.shard, ["image", "video"], start=sample.place, stop=sample.place + 1)
    return {
        "id": sample.id, "split": sample.split, "details": sample.details,
        "marks": ", ".join((*sample.modalities, *sample.languages)),
        "picture": pictures.make(content.get("image") or content.get("video")),
    }  # fmt: skip
