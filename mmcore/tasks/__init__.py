"""What a model is fine-tuned and judged on: one file per task, its class is `Task`, the folder is the registry.

A task is a learner of the training loop (`terms`, `headline`, `batches`, `loss`, `validate`) that besides says which
columns a row `needs`, makes `predict`ions for the rows of a split, and `score`s them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from mmcore.data.batches import Rows
from mmcore.registry import Table
from mmcore.settings import Component

TASKS: Table[Any] = Table("task", folder="mmcore.tasks", attribute="Task")

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("input_id", pa.string()),
        ("direction", pa.string()),
        ("query", pa.string()),
        ("query_id", pa.string()),
        ("lang", pa.string()),
        ("prediction", pa.string()),
        ("references", pa.list_(pa.string())),
        ("reference_langs", pa.list_(pa.string())),
        ("score", pa.float32()),
        ("rank", pa.int64()),
        ("reranked", pa.int64()),
        ("candidates", pa.int64()),
        ("top", pa.list_(pa.string())),
        ("top_scores", pa.list_(pa.float32())),
    ]
)


class Base:
    """What a task does unless it says otherwise. `learns`: whether it has a loss to train on."""

    learns = True

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns that a row has to have."""
        raise NotImplementedError

    @property
    def looks_at(self) -> list[Sequence[str]]:
        """Sets of columns: of rows that have all of one, the model looks at these."""
        return [self.needs]

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        """The heads that the model needs for it, by name."""
        return {}

    def configure(self, model: Any) -> None:
        """Set what the model keeps for the task beside its weights."""

    def conclude(self, model: Any, train: Rows, validation: Rows, *, batch_size: int) -> None:
        """Leave in the trained model what is told from data rather than learned."""


@dataclass(frozen=True)
class Predictions:
    """What a model says about a split.

    `table` has the columns of `SCHEMA`, null where a task has no such thing: `query_id` is the query's id in `ids`,
    `lang` the language that its texts are in, `reference_langs` that of each reference, `candidates` among how many
    the `rank` was found, `reranked` the rank after a second stage. `embeddings[name]` float32 [N, E] belong to
    `ids[name]`. `marks[metric]` are further numbers that this metric is to be read beside.
    """

    table: pa.Table
    embeddings: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    ids: Mapping[str, list[str]] = field(default_factory=dict)
    marks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows of predictions as a table; columns that a row lacks are null."""
    return pa.Table.from_pylist(rows, schema=SCHEMA)
