"""The stage `evaluate`: what every fine-tuned model predicts for the test split, and how good that is."""

import dataclasses
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmcore.data.corpus import Corpus
from mmcore.data.prepare import prepare
from mmcore.evaluation.histogram import colour_histograms, fit
from mmcore.metrics import Score
from mmcore.metrics.ranking import positive_sets, recall_at, search
from mmcore.models.multimodal import MultimodalModel
from mmcore.settings import PrepareSettings, Settings
from mmcore.tasks import TASKS, Predictions
from mmcore.training.device import choose
from mmcore.workspace import Progress, trained, write_json

MAX_HEADLINE = 12
COLOURED = re.compile(r"text_to_image_recall@(\d+)")

# The prepare settings that shape the arrays; the others belong to the tokenizer, which every model brings along.
MEDIA_SETTINGS = (
    "image_size", "image_resize", "video_size", "video_frames", "audio_rate", "audio_mels", "audio_seconds"
)  # fmt: skip


def evaluate(
    prepared: Path, tasks_folder: Path, output: Path, settings: Settings, *, data: Path | None = None,
    validated: Path | None = None,
) -> None:  # fmt: skip
    """Score the models in `tasks_folder/<task>` on the test split and fill the existing, empty folder `output`.

    Leaves `metrics.json`, `scores.json` (the headline), `predictions/<task>.parquet` and, for tasks that embed,
    `embeddings/<task>.<name>.npy` with `<task>.<name>.parquet` (their ids); nothing of tasks that were skipped. Texts
    go through each model's own tokenizer.

    `data` and `validated` are given for the models of another run, a champion's: tasks it does not have are left out,
    and where it reads media of another size than `prepared` holds, the split is prepared for it anew. Without
    them such a model is a ValueError.
    """
    if len(settings.evaluate.headline) > MAX_HEADLINE:
        raise ValueError(
            f"evaluate.headline names {len(settings.evaluate.headline)} metrics; keep at most {MAX_HEADLINE}"
        )
    device = choose(settings.train)
    source = None if data is None or validated is None else (data, validated)
    tasks = [name for name in settings.finetune if (tasks_folder / name).is_dir()] if source else settings.tasks
    tasks = trained(tasks_folder, tasks)
    train = Corpus(prepared, "train")
    splits = _TestSplits(prepared, source, output)
    progress = Progress("evaluate", total=2 * len(tasks), unit="steps")
    metrics: dict[str, dict[str, Any]] = {}
    for name in tasks:
        model = MultimodalModel.load(tasks_folder / name, device.torch)
        corpus = splits.fitting(model.processor.prepare, tasks_folder / name)
        task = TASKS.build(settings.finetune[name].task)
        predictions: Predictions = task.predict(
            model, corpus, batch_size=settings.evaluate.batch_size, device=device.torch
        )
        progress.advance()
        scores: dict[str, Score] = task.score(predictions, train, settings=settings.evaluate, seed=settings.seed)
        if source is None:
            scores = _with_colours(scores, predictions, train, corpus)
        metrics[name] = {metric: score.to_json() for metric, score in scores.items()}
        _write(output, name, predictions)
        progress.advance()
    splits.remove()
    write_json(output / "metrics.json", metrics)
    write_json(output / "scores.json", _headline(metrics, settings.evaluate.headline))


class _TestSplits:
    """The test split as a model wants it: the prepared one, or one made for models that read other sizes."""

    def __init__(self, prepared: Path, source: tuple[Path, Path] | None, output: Path) -> None:
        self._prepared, self._source = prepared, source
        self._aside = output / ".prepared"
        self._corpora = {_media(Corpus(prepared, "test").settings): Corpus(prepared, "test")}

    def fitting(self, wanted: PrepareSettings, model: Path) -> Corpus:
        """The split in the sizes that `model` was trained on."""
        key = _media(dataclasses.asdict(wanted))
        if key not in self._corpora:
            if self._source is None:
                raise ValueError(
                    f"the model in {model} reads media as {_named(key)}, but {self._prepared} holds them as "
                    f"{_named(next(iter(self._corpora)))}; fine-tune it again on what is prepared now"
                )
            folder = self._aside / str(len(self._corpora))
            folder.mkdir(parents=True)
            prepare(*self._source, folder, wanted)
            self._corpora[key] = Corpus(folder, "test")
        return self._corpora[key]

    def remove(self) -> None:
        """Remove what was prepared anew."""
        if self._aside.exists():
            shutil.rmtree(self._aside)


def _media(settings: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(settings[name] for name in MEDIA_SETTINGS)


def _named(values: tuple[Any, ...]) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(MEDIA_SETTINGS, values, strict=True))


def _with_colours(scores: dict[str, Score], predictions: Predictions, train: Corpus, test: Corpus) -> dict[str, Score]:
    """The scores; those of finding pictures by text also carry what the colour-histogram baseline reaches."""
    if not any(COLOURED.fullmatch(name) for name in scores):
        return scores
    rows = predictions.table.filter(pc.equal(predictions.table["direction"], "text_to_image")).to_pylist()
    shown = train.with_("image", "captions")
    baseline = fit(
        [[caption["text"] for caption in train.rows[i]["captions"]] for i in shown],
        colour_histograms(_image(train, i) for i in shown),
    )
    candidates = predictions.ids["image"]
    place = {name: number for number, name in enumerate(test.ids)}
    histograms = colour_histograms(_image(test, place[name]) for name in candidates)
    right = [np.concatenate(positive_sets(row["references"], candidates)) for row in rows]
    found = search(
        baseline.embed_texts([row["query"] for row in rows]), baseline.embed_histograms(histograms), right
    ).ranks
    marked = {}
    for name, score in scores.items():
        k = COLOURED.fullmatch(name)
        mark = {"colour histogram": recall_at(found, int(k[1]))} if k else {}
        marked[name] = dataclasses.replace(score, references={**score.references, **mark})
    return marked


def _image(corpus: Corpus, index: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    image = corpus.array("image", index)
    assert image is not None
    return image


def _write(output: Path, task: str, predictions: Predictions) -> None:
    for folder in ("predictions", "embeddings"):
        (output / folder).mkdir(exist_ok=True)
    pq.write_table(predictions.table, output / "predictions" / f"{task}.parquet", compression="zstd")
    for name, vectors in predictions.embeddings.items():
        stem = f"{task}.{name}"
        np.save(output / "embeddings" / f"{stem}.npy", vectors)
        ids = pa.table({"id": pa.array(predictions.ids[name], pa.string())})
        pq.write_table(ids, output / "embeddings" / f"{stem}.parquet", compression="zstd")


def _headline(metrics: Mapping[str, Mapping[str, Any]], names: list[str]) -> dict[str, float]:
    """The values of the named metrics; those of tasks that this run does not have are left out."""
    chosen = {}
    for name in names:
        task, _, metric = name.partition(".")
        if task in metrics:
            if metric not in metrics[task]:
                raise ValueError(
                    f"evaluate.headline names '{name}', which was not measured; there are: {', '.join(metrics[task])}"
                )
            chosen[name] = float(metrics[task][metric]["value"])
    return chosen
