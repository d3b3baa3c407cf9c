"""A corpus seen otherwise: one row per question of a sample, or with one of its labels as a column of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmcore.data.batches import LABEL, Rows
from mmcore.data.modalities import media


class View:
    """Some rows of a corpus, any of them several times, with further columns.

    `entries`: for each row of the view, the place of its sample in `corpus`, what follows its id (empty: nothing), and
    its further columns. `owners`: the ids of the rows' samples.
    """

    def __init__(self, corpus: Rows, entries: Sequence[tuple[int, str, Mapping[str, Any]]]) -> None:
        self._corpus, self._places = corpus, [place for place, _, _ in entries]
        self.owners = [str(corpus.ids[place]) for place in self._places]
        self.ids = [f"{corpus.ids[place]}{suffix}" for place, suffix, _ in entries]
        self.rows = [{**corpus.rows[place], **more} for place, _, more in entries]

    def __len__(self) -> int:
        return len(self.rows)

    def array(self, name: str, index: int) -> Any:
        return self._corpus.array(name, self._places[index])

    def with_(self, *columns: str) -> list[int]:
        """The rows that have all of the columns: media present, texts and labels not empty."""
        present = set(self._corpus.with_(*(column for column in columns if column in media())))
        texts = [column for column in columns if column not in media()]
        return [
            index
            for index, (place, row) in enumerate(zip(self._places, self.rows, strict=True))
            if place in present and all(row[column] for column in texts)
        ]


def questions(corpus: Rows) -> View:
    """One row per question that has an answer: it is alone under `qa`, its text is the `question`, the first of its
    `answers` the `label`."""
    return View(
        corpus,
        [
            (place, f"#{number}", {"qa": [pair], **pair, LABEL: pair["answers"][0]})
            for place, row in enumerate(corpus.rows)
            for number, pair in enumerate(row["qa"])
            if pair["answers"]
        ],
    )


def labelled(corpus: Rows, label: str) -> View:
    """The samples with what `labels` says under `label` as the column `label`, null where it says nothing."""
    return View(corpus, [(place, "", {LABEL: row["labels"].get(label)}) for place, row in enumerate(corpus.rows)])


def lacking(corpus: Rows, labels: Sequence[str]) -> Rows:
    """The samples whose `labels` say nothing under any of these names; without a name all of them."""
    if not labels:
        return corpus
    kept = [place for place, row in enumerate(corpus.rows) if not any(row["labels"].get(name) for name in labels)]
    return View(corpus, [(place, "", {}) for place in kept])


def classes(view: Rows, most: int | None = None) -> list[str]:
    """The labels of a view, the commonest first (at most so many)."""
    found, counts = np.unique([row[LABEL] for row in view.rows if row[LABEL]], return_counts=True)
    return [str(found[place]) for place in np.lexsort((found, -counts))][:most]
