"""What captioning and summarisation share: learning to write a text about inputs, and writing it."""

import torch
from torch import Tensor

from mmcore.data.batches import Batch, Batches, Rows, texts_of
from mmcore.models.losses import next_token_loss
from mmcore.models.multimodal import MultimodalModel
from mmcore.tasks import Predictions, table


def writing_loss(model: MultimodalModel, batch: Batch, sources: list[str], *, smoothing: float) -> Tensor:
    """Mean cross-entropy of each next token of the batch's texts, given its inputs `sources`."""
    ids_BT, mask_BT = batch.inputs["text"]
    encoded = {name: model.encode(name, *batch.inputs[name]) for name in sources}
    return next_token_loss(model.write(ids_BT[:, :-1], encoded), ids_BT, mask_BT, smoothing=smoothing)


@torch.inference_mode()
def validation_loss(model: MultimodalModel, batches: Batches, sources: list[str]) -> float:
    """Cross-entropy per token on each row's first text, without smoothing."""
    total = tokens = 0.0
    for number in range(len(batches)):
        batch = batches.at(number).to(model.device)
        count = float(batch.inputs["text"][1][:, 1:].sum())
        total += count * float(writing_loss(model, batch, sources, smoothing=0.0))
        tokens += count
    return total / tokens


def write_all(model: MultimodalModel, batches: Batches, sources: list[str], corpus: Rows, column: str) -> Predictions:
    """One text for every row of `batches`, beside the row's own texts of `column`."""
    rows = []
    places = iter(batches.indices)
    for number in range(len(batches)):
        batch = batches.at(number).to(model.device)
        texts = model.generate({name: batch.inputs[name] for name in sources})
        for identity, text in zip(batch.ids, texts, strict=True):
            row = corpus.rows[next(places)]
            references = texts_of(row, column)
            tags = {entry["text"]: entry["lang"] for entry in row[column]} if column == "captions" else {}
            rows.append({
                "id": identity, "input_id": identity, "prediction": text, "references": references,
                "reference_langs": [tags.get(one) for one in references],
            })  # fmt: skip
    return Predictions(table(rows))
