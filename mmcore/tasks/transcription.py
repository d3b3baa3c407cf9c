"""Transcription: the words that are spoken in a recording, written down."""

from dataclasses import dataclass
from typing import Any

from mmcore.data.batches import Rows
from mmcore.metrics import Score
from mmcore.settings import EvaluateSettings
from mmcore.tasks import Predictions
from mmcore.tasks._writing import Writing


@dataclass(frozen=True, kw_only=True)
class Task(Writing):
    """What recordings say (`speech_text`)."""

    column = "speech_text"
    term = "transcript"
    sources = ("audio",)

    def score(
        self, predictions: Predictions, train: Rows, *, settings: EvaluateSettings, seed: int
    ) -> dict[str, Score]:
        """Word and character error rates, beside those of the same transcripts of other recordings."""
        from mmcore.metrics.errors import error_rates  # noqa: PLC0415 (rapidfuzz, which no training needs)
        from mmcore.metrics.shuffled import against_shuffled  # noqa: PLC0415

        columns: dict[str, list[Any]] = predictions.table.select(["prediction", "references"]).to_pydict()
        return against_shuffled(
            error_rates, columns["prediction"], columns["references"], count=settings.derangements, seed=seed
        )
