"""What classification and question answering share: choosing one of some classes, and how well that was done."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from mmcore.data.batches import LABEL, Batches, Rows
from mmcore.metrics import Score
from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives._choosing import logits
from mmcore.tasks import Predictions, table


@torch.inference_mode()
def accuracy_and_loss(model: MultimodalModel, batches: Batches, inputs: Sequence[str], head: str) -> dict[str, float]:
    """`accuracy` (0 to 100; a label that the model does not know is wrong) and `loss` over all rows."""
    right = loss = 0.0
    for number in range(len(batches)):
        batch = batches.at(number).to(model.device)
        labels_B, known_B = batch.inputs[LABEL]
        answers_BC = logits(model, batch, inputs, head)
        right += float(((answers_BC.argmax(1) == labels_B) & known_B).sum())
        loss += float(F.cross_entropy(answers_BC[known_B], labels_B[known_B], reduction="sum"))
    return {"accuracy": 100 * right / len(batches.indices), "loss": loss / len(batches.indices)}


@torch.inference_mode()
def choose_all(model: MultimodalModel, batches: Batches, inputs: Sequence[str], head: str, corpus: Rows) -> Predictions:
    """The likeliest class of every row of `batches`, its probability, and what would have been right."""
    classes = model.head_specs[head]["classes"]
    places = iter(batches.indices)
    rows = []
    for number in range(len(batches)):
        batch = batches.at(number).to(model.device)
        best = logits(model, batch, inputs, head).softmax(1).max(1)
        for identity, share, chosen in zip(batch.ids, best.values.tolist(), best.indices.tolist(), strict=True):
            row = corpus.rows[next(places)]
            rows.append({
                "id": identity, "input_id": identity.partition("#")[0], "query": row.get("question"),
                "prediction": classes[chosen], "references": row.get("answers") or [row[LABEL]], "score": share,
            })  # fmt: skip
    return Predictions(table(rows))


def score_choices(predictions: Predictions, train: Rows) -> dict[str, Score]:
    """Accuracy and macro F1, beside answering what is commonest in `train` (for the very question, where one is asked)
    without looking at anything."""
    from mmcore.metrics.classes import choices, commonest  # noqa: PLC0415 (sklearn, which no training needs)

    columns = predictions.table.select(["query", "prediction", "references"]).to_pydict()
    known = [(row.get("question") or "", row[LABEL]) for row in train.rows if row[LABEL]]
    blind = commonest(known, [query or "" for query in columns["query"]])
    own, prior = (choices(chosen, columns["references"]) for chosen in (columns["prediction"], blind))
    signature = f"{own.signature}|baseline:commonest"
    return {name: Score(value, prior.values[name], len(blind), signature) for name, value in own.values.items()}
