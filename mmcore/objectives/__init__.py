"""What a model is pretrained on: one file per objective, its class is `Objective`, the folder is the registry.

An objective says which inputs it needs (`inputs`), with which `weight` it counts, how often it runs (`every`) and on
how many samples (`batch_size`, null for that of the training). `heads` are the parts that it adds to the model, and
`loss(model, batch)` gives its losses by the names in `terms`, already weighted. `Mixture` is a sum of objectives.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmcore.data.batches import Rows
from mmcore.registry import Table
from mmcore.settings import Component

OBJECTIVES: Table[Any] = Table("objective", folder="mmcore.objectives", attribute="Objective")


@dataclass(frozen=True, kw_only=True)
class Base:
    """What every objective has."""

    weight: float
    every: int
    batch_size: int | None

    @property
    def encoded(self) -> tuple[str, ...]:
        """Those of its `inputs` whose tokens it looks at; vectors in the shared space may cost less."""
        inputs: tuple[str, ...] = self.inputs  # type: ignore[attr-defined]
        return inputs

    @property
    def lacks(self) -> tuple[str, ...]:
        """The labels that its rows are not to have."""
        return ()

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        """The heads that the model needs for it, by name."""
        return {}

    def told(self, losses: Mapping[str, float]) -> Mapping[str, float]:
        """What else validation says, made from its losses, which are weighted and by term."""
        return {}

    def labels(self, heads: Mapping[str, Component]) -> Mapping[str, int] | None:
        """Where it asks questions: the number of each answer, as the model's `heads` number them."""
        return None
