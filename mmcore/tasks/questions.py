"""Question answering: one of the answers that training knows, to a question about a medium."""

from collections.abc import Mapping
from dataclasses import dataclass

from mmcore.data.batches import Rows
from mmcore.data.views import View, questions
from mmcore.objectives._choosing import answers_head
from mmcore.settings import Component
from mmcore.tasks._choosing import Choosing


@dataclass(frozen=True, kw_only=True)
class Task(Choosing):
    """Answers to questions about the medium `of`: one of the `most` commonest ones of the training split."""

    of: str
    most: int

    term = "answers"

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.of, "qa")

    @property
    def sources(self) -> list[str]:
        return ["question", self.of]

    @property
    def answered_by(self) -> str:
        return f"answers_{self.of}"

    def view(self, corpus: Rows) -> View:
        return questions(corpus)

    def heads(self, corpus: Rows) -> Mapping[str, Component]:
        return answers_head(corpus, of=self.of, most=self.most, head=self.head)
