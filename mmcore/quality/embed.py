"""The embeddings of a batch, by the model whose embeddings of the test split are in the drift reference."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmcore.data.batches import gathered
from mmcore.data.modalities import MODALITIES
from mmcore.models.multimodal import MultimodalModel
from mmcore.quality import components, probe
from mmcore.quality.batch import kinds_of, limits_of, read_batch
from mmcore.quality.kinds import fields_of, kind_of
from mmcore.quality.reference import CALIBRATION
from mmcore.workspace import hash_file, read_json

BATCH_SIZE = 64


@torch.inference_mode()
def embed_batch(batch: Path, reference: Path, model: Path) -> components.Embeddings:
    """Per modality the places of the batch's samples that have one, and float32 [N, E]; of texts the first captions.

    Empty where the reference holds no embeddings. ValueError if `model` is not the one that made them.
    """
    made_by = read_json(reference / CALIBRATION)["embeddings_of"]
    if made_by is None:
        return {}
    if hash_file(model / "model.safetensors") != made_by:
        raise ValueError(f"{model} is not the model of the drift reference; run the stage reference again")
    network = MultimodalModel.load(model)
    values = _values(batch, reference, network, components.modalities(reference))
    return {modality: (places, embed_items(network, modality, items)) for modality, (places, items) in values.items()}


def _values(
    batch: Path, reference: Path, network: MultimodalModel, wanted: list[str]
) -> dict[str, tuple[list[int], list[Any]]]:
    """Per modality that the batch has, the places and the decoded media or the texts; unreadable media are left out.

    As in the evaluation, only of kinds of samples that have both a caption and media that the model embeds.
    """
    limits, kinds = limits_of(reference), kinds_of(reference)
    found: dict[str, tuple[list[int], list[Any]]] = {}
    for place, row in enumerate(read_batch(batch)):
        kind = kind_of(fields_of(row), kinds)
        if kind is None or "caption" not in kind.has or not set(wanted) & set(kind.has):
            continue
        for modality in wanted:
            item: Any = None
            if modality == "text":
                item = probe.texts_of(row).get("caption")
            elif row[modality] is not None:
                reader = MODALITIES[modality]()
                try:
                    item = reader.transform(reader.decode(row[modality], limits), network.processor.prepare)
                except ValueError:
                    continue  # counted by the column `<modality>_readable`
            if item is not None:
                places, items = found.setdefault(modality, ([], []))
                places.append(place)
                items.append(item)
    return found


@torch.inference_mode()
def embed_items(network: MultimodalModel, modality: str, items: Sequence[Any]) -> NDArray[np.float32]:
    """[N, E]: the embeddings of N texts, or of N prepared media."""
    parts = []
    for start in range(0, len(items), BATCH_SIZE):
        chosen = items[start : start + BATCH_SIZE]
        if modality == "text":
            values, mask = network.processor.texts(chosen)
        else:
            values, mask = gathered(modality, chosen)
        parts.append(network.embed(modality, values.to(network.device), mask.to(network.device)).float().cpu().numpy())
    return np.concatenate(parts)
