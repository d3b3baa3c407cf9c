"""How well `mmcore data review` tells captions that do not fit: area under the ROC curve.

    python benchmarks/consistency.py [--project FOLDER] [--photos FOLDER DATA]

`--project` (default: here): where a run on DigitWorld has left artifacts/; rows whose first colour was swapped on
purpose are told from all other rows. `--photos`: a project trained on Flickr8k with the preset photos, and the folder
with image_text_matching/test.jsonl (file_name, text, label 1 or 0, negative_from); wrong captions that come from other
splits are left out, since the model may have learned them by heart.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mmcore.data.store import SPLITS, read_table
from mmcore.models.multimodal import MultimodalModel
from mmcore.quality.consistency import Pairs, misfits
from mmcore.quality.embed_shards import embed_pairs
from mmcore.workspace import Workspace, read_json

FAULTS = Path(__file__).parents[1] / "tests" / "data" / "planted_faults.json"


def auroc(wrong: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """The share of (wrong, right) couples in which the wrong one has the higher score; ties count half."""
    right = np.sort(scores[~wrong])
    below, upto = (np.searchsorted(right, scores[wrong], side) for side in ("left", "right"))
    return float((below + upto).mean() / 2 / len(right))


def embedded(workspace: Workspace, split: str) -> Pairs:
    accepted = read_table(workspace.validated / "accepted.parquet", ["id", "split", "shard", "row"])
    return embed_pairs(workspace.data, accepted, workspace.tasks / "retrieval", split, "image")


def digitworld(workspace: Workspace) -> None:
    faults = read_json(FAULTS)
    everything: list[tuple[NDArray[np.bool_], NDArray[np.float64]]] = []
    for split in SPLITS:
        pairs = embedded(workspace, split)
        scores = misfits(pairs)
        rows = np.bincount(pairs.owner, scores) / np.bincount(pairs.owner)
        wrong = np.array([faults.get(name) == "swapped_attribute" for name in pairs.ids])
        everything.append((wrong, rows))
        _report(f"digitworld {split}", wrong, rows)
        _report(f"digitworld {split}, cosine", wrong, np.bincount(pairs.owner, -_cosines(pairs)))
    _report("digitworld, all", *(np.concatenate(parts) for parts in zip(*everything, strict=True)))


def flickr8k(workspace: Workspace, model: MultimodalModel, data: Path) -> None:
    pairs = embedded(workspace, "test")
    place = {Path(name).name: number for number, name in enumerate(pairs.ids)}
    lines = (data / "image_text_matching" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    judged = [row for row in map(json.loads, lines) if row["label"] == 1 or row["negative_from"] == "test"]
    texts = [row["text"] for row in judged]
    with torch.inference_mode():
        parts = [
            model.embed("text", *model.processor.texts(texts[start : start + 128])).float().numpy()
            for start in range(0, len(texts), 128)
        ]
    owner = np.array([place[Path(row["file_name"]).name] for row in judged])
    both = replace(
        pairs,
        texts_PE=np.concatenate([pairs.texts_PE, *parts]),
        owner=np.concatenate([pairs.owner, owner]),
        texts=[*pairs.texts, *texts],
        langs=["en"] * (len(pairs.texts) + len(texts)),
    )
    wrong = np.array([row["label"] == 0 for row in judged])
    _report("flickr8k test", wrong, misfits(both)[-len(judged) :])
    _report("flickr8k test, cosine", wrong, -_cosines(both)[-len(judged) :])


def _cosines(pairs: Pairs) -> NDArray[np.float64]:
    return np.einsum("pe,pe->p", pairs.texts_PE, pairs.media_NE[pairs.owner], dtype=np.float64)


def _report(name: str, wrong: NDArray[np.bool_], scores: NDArray[np.float64]) -> None:
    found = f"{auroc(wrong, scores):.4f}" if wrong.any() else "no wrong ones"
    print(f"{name:<30} {int(wrong.sum()):>5} wrong of {len(wrong):>5}   AUROC {found}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--photos", type=Path, nargs=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    workspace = Workspace(arguments.photos[0] if arguments.photos else arguments.project)
    if not (workspace.tasks / "retrieval").is_dir():
        print(f"{workspace.tasks} holds no retrieval model to measure; mmcore run trains one")
        return
    if arguments.photos:
        flickr8k(workspace, MultimodalModel.load(workspace.tasks / "retrieval"), arguments.photos[1])
    else:
        digitworld(workspace)


if __name__ == "__main__":
    main()
