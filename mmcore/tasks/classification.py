"""Classification: which of the values of a label fits a sample, from any set of its modalities."""

from collections.abc import Mapping
from dataclasses import dataclass

from mmcore.data.batches import Rows, columns_of
from mmcore.data.views import View, classes, labelled
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
        found = classes(self.view(corpus))
        if not found:
            known = ", ".join(sorted({key for row in corpus.rows for key in row["labels"]})) or "none"
            raise ValueError(f"no row of the training split has the label '{self.label}'; there are: {known}")
        return {self.label: {**self.head, "inputs": self.inputs, "classes": found}}
