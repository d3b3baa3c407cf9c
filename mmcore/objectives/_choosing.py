"""Choosing one of some classes: what the tasks that do so and the pretraining on questions share."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mmcore.data.batches import LABEL, Batch, Rows
from mmcore.data.views import classes, labelled, questions
from mmcore.models.losses import token_loss
from mmcore.models.multimodal import MultimodalModel
from mmcore.settings import Component


def choosing_loss(model: MultimodalModel, batch: Batch, inputs: Sequence[str], head: str) -> Tensor:
    """Mean cross-entropy of the batch's labels, of those that are known and have any of the inputs to tell them by."""
    labels_B, known_B = batch.inputs[LABEL]
    asked_B = known_B & torch.stack([batch.present(name) for name in inputs]).any(0)
    return token_loss(logits(model, batch, inputs, head)[:, None], labels_B.masked_fill(~asked_B, -100)[:, None])


def logits(model: MultimodalModel, batch: Batch, inputs: Sequence[str], head: str) -> Tensor:
    """What the head says [B, C] about the batch's inputs."""
    return model.answer(head, {name: model.encode(name, *batch.inputs[name]) for name in inputs})


def answers_head(corpus: Rows, *, of: str, most: int, head: Component) -> dict[str, Component]:
    """The head, by its name, that answers questions about `of` by one of the `most` commonest answers of `corpus`. It
    is the same for pretraining and for the task, which so goes on with what pretraining has learned."""
    known = classes(questions(corpus), most)
    if not known:
        raise ValueError("no question of the training rows has an answer; answers are what is learned")
    return {f"answers_{of}": {**head, "inputs": ["question", of], "classes": known}}


def label_head(corpus: Rows, label: str, *, inputs: Sequence[str], head: Component) -> dict[str, Component]:
    """The head, by its name, that tells which of the values in `corpus` a label has. It is the same for the task and
    for what is trained beside it."""
    known = classes(labelled(corpus, label))
    if not known:
        there = ", ".join(sorted({key for row in corpus.rows for key in row["labels"]})) or "none"
        raise ValueError(f"no row of the training split has the label '{label}'; there are: {there}")
    return {label: {**head, "inputs": list(inputs), "classes": known}}


def numbers(heads: Mapping[str, Component], head: str) -> dict[str, int]:
    """The number of each class of a head."""
    return {name: number for number, name in enumerate(heads[head]["classes"])}
