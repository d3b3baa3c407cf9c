"""Summarisation: one sentence about a clip, from its frames and, where there is one, the transcript of its talk."""

from dataclasses import dataclass
from typing import Any

from mmcore.data.batches import Batches, Rows
from mmcore.models.processor import Processor
from mmcore.tasks._writing import Writing


@dataclass(frozen=True, kw_only=True)
class Task(Writing):
    """Summaries of clips. `wordings`: the text columns that training draws its targets from (`summary`, perhaps
    `captions` where they say the same in other words); `choice`: `any` of them, or the one of `consensus`."""

    wordings: list[str]
    choice: str

    column = "summary"
    term = "summary"
    sources = ("video", "transcript")

    def batches(self, corpus: Rows, processor: Processor, **options: Any) -> Batches:
        return self._batches(corpus, processor, ("video", *self.wordings), choice=self.choice, **options)
