"""Classification: which of the values of a label fits a sample, from any set of its modalities."""

from collections.abc import Mapping
from dataclasses import dataclass

from mmcore.data.batches import Rows, columns_of
from mmcore.data.views import View, labelled
from mmcore.objectives._choosing import label_head
from mmcore.settings import Component
from mmcore.tasks._choosing import Choosing


@dataclass(frozen=True, kw_only=True)
class Task(Choosing):
    """Which value `label` has (a key of the samples' labels), told from `inputs`."""

    inputs: list[str]
    label: str

    term = "label"

    @property
    def needs(self) -> tuple[str, ...]:
        return (*columns_of(self.inputs), "labels")

    @property
    def sources(self) -> list[str]:
        return self.inputs

    @property
    def answered_by(self) -> str:
        return self.label

    def view(self, corpus: Rows) -> View:
        return labelled(corpus, self.label)

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        return label_head(corpus, self.label, inputs=self.inputs, head=self.head)
