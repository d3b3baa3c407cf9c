"""A world small enough to train on in a second: plain squares in three colours, and clips in which they move."""

import atexit
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from mmcore.data.modalities import media
from mmcore.data.parts import ROW_SCHEMA
from mmcore.data.tokenizer import train
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.settings import AugmentSettings, ModelSettings, OptimSettings, PrepareSettings
from mmcore.training.device import Device
from mmcore.training.fit import FitResult, fit
from mmcore.workspace import write_json

COLOURS = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220)}
PLACES = {"left": 0, "right": 8}
PREPARE = PrepareSettings(
    image_size=16, image_resize=None, video_size=16, video_frames=2, audio_rate=8000, audio_mels=8, audio_seconds=1.0,
    tokenizer=None, vocabulary=320, lowercase=True, context=12, transcript_context=16,
)  # fmt: skip
MODEL = ModelSettings(
    width=16, heads=2, embed_dim=8, dropout=0.0,
    encoders={
        "text": {"name": "text_transformer", "layers": 1},
        "image": {"name": "conv_vit", "patch": 2, "channels": [8], "residuals": 1, "layers": 1},
        "video": {"name": "frames", "layers": 1, "tokens_per_frame": 4},
        "audio": {"name": "log_mel", "layers": 1},
    },
    fusion=None, decoder={"name": "cross_attention", "layers": 1},
)  # fmt: skip
AUGMENT = AugmentSettings(shift=1, flip=False, bands=0, mute=0.0)
CPU = Device(torch.device("cpu"), "fp32", "CPU")
OBJECTIVES: list[dict[str, Any]] = [
    {"name": "contrast", "among": ["image", "text"], "formula": "clip", "weight": 1.0, "every": 1, "batch_size": None},
    {"name": "caption", "of": "image", "smoothing": 0.1, "weight": 1.0, "every": 1, "batch_size": None},
    {"name": "masked_language", "share": 0.3, "given": None, "weight": 0.5, "every": 1, "batch_size": None},
    {"name": "contrast", "among": ["video", "text"], "formula": "clip", "weight": 0.5, "every": 2, "batch_size": 4},
    {"name": "caption", "of": "video", "smoothing": 0.1, "weight": 0.5, "every": 2, "batch_size": 4},
]


def alone(**options: Any) -> dict[str, Any]:
    return {**options, "weight": 1.0, "every": 1, "batch_size": None}


# Every objective with every kind of options that it has, by a name to show.
EVERY_OBJECTIVE: dict[str, dict[str, Any]] = {
    "contrast": alone(name="contrast", among=["image", "text"], formula="clip"),
    "contrast_video": alone(name="contrast", among=["video", "text"], formula="clip"),
    "contrast_three": alone(name="contrast", among=["image", "audio", "text"], formula="clip"),
    "one_way": alone(name="contrast", among=["text", "image"], formula="one_way"),
    "siglip": alone(name="contrast", among=["image", "text"], formula="siglip"),
    "vc": alone(name="contrast", among=["image", "text"], formula="vc"),
    "moments": alone(name="moments"),
    "matching": alone(name="matching", between=["image", "text"], fusion={"name": "cross_attention", "layers": 1}),
    "matching_media": alone(name="matching", between=["audio", "image"], fusion={"name": "concat"}),
    "caption": alone(name="caption", of="image", smoothing=0.1),
    "caption_video": alone(name="caption", of="video", smoothing=0.1),
    "masked_language": alone(name="masked_language", share=0.3, given=None),
    "masked_language_image": alone(name="masked_language", share=0.3, given="image"),
    "masked_language_audio": alone(name="masked_language", share=0.3, given="audio"),
    "masked_image": alone(name="masked_image", share=0.5, patch=4, given=None),
    "masked_image_text": alone(name="masked_image", share=0.5, patch=4, given="text"),
    "masked_audio": alone(name="masked_audio", share=0.4),
    "language": alone(name="language", smoothing=0.1),
    "distil": alone(name="distil", teacher="wider", among=["image", "text"], similarity=1.0, features=20.0),
    "distil_alike": alone(name="distil", teacher="alike", among=["audio", "text"], similarity=0.0, features=20.0),
    "questions": alone(
        name="questions", of="image", most=4,
        head={"name": "classes", "fusion": {"name": "cross_attention", "layers": 1}},
    ),
    # Clips, of which none says where its square is, as scenes do.
    "pseudo_labels": alone(
        name="pseudo_labels", inputs=["video", "audio"], label="place", threshold=0.0, hide=0.0,
        head={"name": "classes", "fusion": {"name": "concat"}},
    ),
}  # fmt: skip


class TinyCorpus:
    """Rows made in memory, with the interface of a prepared split."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        empty = {
            "positives": None, "captions": [], "summary": None, "transcript": None, "speech_text": None, "qa": [],
            "labels": {},
        }  # fmt: skip
        self.rows = [{**empty, **{k: v for k, v in row.items() if k not in media()}} for row in rows]
        self.media = [{name: row.get(name) for name in media()} for row in rows]
        self.ids = [row["id"] for row in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def array(self, name: str, index: int) -> Any:
        return self.media[index][name]

    def with_(self, *columns: str) -> list[int]:
        def has(index: int, column: str) -> bool:
            if column in media():
                return self.media[index].get(column) is not None
            return bool(self.rows[index][column])

        return [index for index in range(len(self)) if all(has(index, column) for column in columns)]


def picture(colour: str, place: str, seed: int = 0) -> Any:
    """uint8 [16, 16, 3]: a square on grey noise."""
    pixels = np.random.default_rng(seed).integers(80, 110, (16, 16, 3)).astype(np.uint8)
    pixels[4:12, PLACES[place] : PLACES[place] + 8] = COLOURS[colour]
    return pixels


def caption(text: str) -> dict[str, str]:
    return {"text": text, "lang": "en"}


def tone(colour: str, seed: int) -> Any:
    """float16 [T, 8], T from 9 to 14: a colour sounds in a band of its own."""
    bands = np.random.default_rng(seed).normal(0, 0.1, (9 + seed % 6, PREPARE.audio_mels))
    bands[:, list(COLOURS).index(colour)] += 1
    return bands.astype(np.float16)


def scene(number: int) -> dict[str, Any]:
    """A picture with two captions, its colour spoken, a question about it, and where the square is as a label."""
    colour, place = list(COLOURS)[number % 3], list(PLACES)[number // 3 % 2]
    captions = [caption(f"a {colour} square on the {place}"), caption(f"on the {place} there is {colour}")]
    return {
        "id": f"scene-{number}", "image": picture(colour, place, number), "captions": captions,
        "audio": tone(colour, number), "speech_text": colour, "labels": {"place": place},
        "qa": [
            {"question": "which colour is it?", "answers": [colour]},
            {"question": "is it on the left?", "answers": ["yes" if place == "left" else "no"]},
        ],
    }  # fmt: skip


def moving_tone(places: Sequence[str], seed: int) -> Any:
    """float16 [T, 8], T from 9 to 14: each place sounds in a band of its own, as long as the square is there."""
    bands = np.random.default_rng(seed).normal(0, 0.1, (9 + seed % 6, PREPARE.audio_mels))
    for part, place in zip(np.array_split(bands, len(places)), places, strict=True):
        part[:, 4 + 2 * PLACES[place] // 8] += 1
    return bands.astype(np.float16)


def clip(number: int) -> dict[str, Any]:
    """A square that moves, and is heard to; every third clip has no transcript."""
    colour, places = list(COLOURS)[number % 3], list(PLACES)[:: 1 if number % 2 else -1]
    frames = np.stack([picture(colour, place, number) for place in places])
    summary = f"the {colour} square goes {places[1]}"
    talk = f"well this {colour} thing goes" if number % 3 else None
    return {
        "id": f"clip-{number}", "video": frames, "audio": moving_tone(places, number), "summary": summary,
        "transcript": talk,
        "captions": [caption(summary), caption(f"{colour} moves {places[1]}")],
    }  # fmt: skip


def corpus(*, scenes: int = 24, clips: int = 12) -> TinyCorpus:
    return TinyCorpus([scene(i) for i in range(scenes)] + [clip(i) for i in range(clips)])


def processor() -> Processor:
    texts = [c["text"] for row in corpus().rows for c in row["captions"]] + ["well this thing goes"]
    return Processor(train(texts * 2, vocabulary=PREPARE.vocabulary, lowercase=True), PREPARE)


def objective(name: str) -> dict[str, Any]:
    """The objective of `EVERY_OBJECTIVE`, with a teacher where it needs one."""
    spec = EVERY_OBJECTIVE[name]
    return {**spec, "teacher": teacher(spec["teacher"])} if "teacher" in spec else spec


@cache
def teacher(name: str) -> str:
    """The folder of a saved model, `wider` than the tiny one or `alike`; it is gone when the process ends."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    settings = replace(MODEL, width=24, embed_dim=12) if name == "wider" else MODEL
    model(seed=5, settings=settings).save(Path(folder))
    return folder


def model(*, seed: int = 0, settings: ModelSettings = MODEL) -> MultimodalModel:
    torch.manual_seed(seed)
    return MultimodalModel(settings, processor()).eval()


def optim(**changes: Any) -> OptimSettings:
    values: dict[str, Any] = {
        "algorithm": "adamw", "steps": 6, "max_seconds": None, "batch_size": 6, "lr": 3e-3, "weight_decay": 0.05,
        "warmup_steps": 2, "clip_norm": 1.0, "ema": None, "start_share": 0.0, "chunk": None, "validate_every": 3,
    }  # fmt: skip
    return OptimSettings(**{**values, **changes})


def fitted(task: Any, made: MultimodalModel, rows: TinyCorpus, folder: Path, **changes: Any) -> FitResult:
    """How a training of the model for `task` ended that was validated on its own rows; it leaves the model in place."""
    return fit(
        made, task, rows, rows, optim=optim(batch_size=16, lr=5e-3, **changes), augment=AUGMENT, device=CPU, seed=1,
        checkpoints=folder / "checkpoints", logs=folder, phase="tiny",
    )  # fmt: skip


def write_prepared(folder: Path, *, clips: int = 12) -> Path:
    """What the stage prepare leaves, for this world."""
    processor_ = processor()
    folder.mkdir(parents=True)
    processor_.tokenizer.save(str(folder / "tokenizer.json"))
    splits = {}
    for split, scenes in (("train", 24), ("validation", 12), ("test", 12)):
        made = corpus(scenes=scenes, clips=clips)
        part = folder / split / "part-00000"
        part.mkdir(parents=True)
        rows = [{**row, "labels": list(row["labels"].items())} for row in made.rows]
        pq.write_table(pa.Table.from_pylist(rows, ROW_SCHEMA), part / "rows.parquet")
        for name in ("image", "video"):
            present = made.with_(name)
            if present:
                np.save(part / f"{name}.npy", np.stack([made.media[i][name] for i in present]))
                index = np.full(len(made), -1, np.int64)
                index[present] = np.arange(len(present))
                np.save(part / f"{name}.index.npy", index)
        spoken = made.with_("audio")
        lengths = [len(made.media[i]["audio"]) for i in spoken]
        np.save(part / "audio.npy", np.concatenate([made.media[i]["audio"] for i in spoken]))
        places = np.full((len(made), 2), -1, np.int64)
        places[spoken] = np.stack([np.cumsum(lengths) - lengths, lengths], axis=1)
        np.save(part / "audio.index.npy", places)
        splits[split] = {"rows": len(made), "parts": [f"{split}/part-00000"]}
    write_json(folder / "prepared.json", {"schema_version": 1, "modalities": {}, "splits": splits, "settings": {}})
    return folder
