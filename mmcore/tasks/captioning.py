"""Captioning: a sentence about a picture, a clip or a recording, written word by word."""

from dataclasses import dataclass
from typing import Any

from mmcore.data.batches import Batches, Rows
from mmcore.models.processor import Processor
from mmcore.tasks._writing import Writing


@dataclass(frozen=True, kw_only=True)
class Task(Writing):
    """Captions of the medium `of` (`image`, `video` or `audio`). `choice`: training draws `any` of a row's captions, or
    the one of `consensus`."""

    of: str
    choice: str

    column = "captions"
    term = "caption"

    @property
    def sources(self) -> list[str]:
        return [self.of]

    def batches(self, corpus: Rows, processor: Processor, **options: Any) -> Batches:
        return super().batches(corpus, processor, choice=self.choice, **options)
