"""The models of a release, answering: everything the service computes, without any server around it.

Media and texts go through the very functions that prepared the training data, so an uploaded file becomes exactly
the array that evaluation saw. Shapes: B batch, E shared space, S side, F frames, T steps of a recording.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmcore.data.batches import padded
from mmcore.data.modalities import MODALITIES, Limits
from mmcore.data.modalities.audio import frame_size
from mmcore.models.multimodal import MultimodalModel
from mmcore.serving import weights
from mmcore.serving.identity import loaded_code, versions
from mmcore.serving.uploads import Item, Kind
from mmcore.settings import PrepareSettings, ServeSettings
from mmcore.workspace import read_json

# The type codes of the safetensors layout.
KINDS = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
Pixels = NDArray[np.uint8]
# What a class is chosen by: decoded media and texts, by the name of the input.
Inputs = Mapping[str, Item | None]


class Predictor:
    """Loads the folder `release` that `package.py` wrote; equal weights of several tasks are in memory once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.released: dict[str, Any] = read_json(folder / "identity.json")
        serve = ServeSettings(**read_json(folder / "serve.json"))
        self.limits = Limits(max_pixels=serve.max_pixels, max_seconds=serve.max_seconds, max_frames=serve.max_frames)
        self.max_batch = serve.max_batch
        # Calls run side by side in `threads` threads: each gets its share of the cores, not all of them.
        torch.set_num_threads(max(1, torch.get_num_threads() // (serve.threads * serve.workers)))
        for plugin in self.released["plugins"]:
            importlib.import_module(plugin)
        self._weights = weights.load(folder, self.released["tasks"])
        self.models = {task: _build(folder / "models" / task, own) for task, own in self._weights.items()}
        self.prepare: PrepareSettings = next(iter(self.models.values())).processor.prepare
        models = self.models.values()
        self.reads = [
            kind for kind in ("text", "image", "video", "audio") if all(kind in model.encoders for model in models)
        ]
        self._modalities = {kind: MODALITIES[kind]() for kind in self.reads}
        assert all(model.processor.prepare == self.prepare for model in models)

    def decode(self, kind: Kind, data: bytes) -> NDArray[Any]:
        """An image file as uint8 [S, S, 3], a clip as uint8 [F, S, S, 3], a recording as float16 [T, mels]; ValueError
        with the reason if it is none."""
        if kind not in self.reads:
            raise ValueError(f"this release reads {', '.join(self.reads)}, not {kind}")
        modality = self._modalities[kind]
        prepared: NDArray[Any] = modality.transform(modality.decode(data, self.limits), self.prepare)
        return prepared

    def embed(self, items: Sequence[Item]) -> NDArray[np.float32]:
        """[N, E]: the vector of length 1 of each text, decoded image and decoded clip."""
        model = self._model("retrieval")
        vectors = np.zeros((len(items), model.settings.embed_dim), np.float32)
        kinds = [_kind(item) for item in items]
        for kind in sorted(set(kinds)):
            of_kind = [place for place, other in enumerate(kinds) if other == kind]
            for places in self._chunks(of_kind):
                chosen: list[Any] = [items[place] for place in places]
                values, mask = model.processor.texts(chosen) if kind == "text" else _media(chosen)
                with torch.inference_mode():
                    vectors[places] = model.embed(kind, values, mask).float().numpy()
        return vectors

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[N, E], rows of length 1."""
        return self.embed(texts)

    def rank(self, query: Item, candidates: Sequence[Item]) -> tuple[list[int], list[float]]:
        """Places of the candidates by their likeness to the query, best first, and the cosine of each as it came."""
        vectors = self.embed([query, *candidates]).astype(np.float64)
        scores_N = (vectors[1:] @ vectors[0]).astype(np.float32)
        return np.argsort(-scores_N, kind="stable").tolist(), scores_N.tolist()

    def caption(self, images: Sequence[bytes]) -> list[str]:
        """One sentence for each image file."""
        return self.caption_all([self.decode("image", image) for image in images])

    def caption_all(self, items: Sequence[Pixels]) -> list[str]:
        """One sentence for each decoded image and clip."""
        model = self._model("captioning")
        captions = [""] * len(items)
        for kind in ("image", "video"):
            of_kind = [place for place, item in enumerate(items) if _kind(item) == kind]
            for places in self._chunks(of_kind):
                written = model.generate({kind: _media([items[place] for place in places])})
                for place, text in zip(places, written, strict=True):
                    captions[place] = text
        return captions

    def summarise(self, clip: bytes | None, transcript: str | None) -> str:
        """The summary of a clip file with its transcript; either may be missing."""
        return self.summarise_all([(None if clip is None else self.decode("video", clip), transcript)])[0]

    def summarise_all(self, pairs: Sequence[tuple[Pixels | None, str | None]]) -> list[str]:
        """One summary for each pair of a decoded clip and a transcript."""
        model = self._model("summarisation")
        rows = [dict(zip(("video", "transcript"), pair, strict=True)) for pair in pairs]
        summaries: list[str] = []
        for places in self._chunks(range(len(pairs))):
            chosen = [rows[place] for place in places]
            summaries += model.generate({name: self._column(model, name, chosen) for name in ("video", "transcript")})
        return summaries

    def choose_all(self, asked: Sequence[tuple[str, Inputs]]) -> list[dict[str, Any]]:
        """For each task with its inputs by name, of which some may be missing: the likeliest class as `answer`, its
        `probability`, and those of all `classes`."""
        answers: list[dict[str, Any]] = [{} for _ in asked]
        for task in sorted({task for task, _ in asked}):
            for places in self._chunks([place for place, (other, _) in enumerate(asked) if other == task]):
                found = self._choose(task, [asked[place][1] for place in places])
                for place, answer in zip(places, found, strict=True):
                    answers[place] = answer
        return answers

    @torch.inference_mode()
    def _choose(self, task: str, rows: Sequence[Inputs]) -> list[dict[str, Any]]:
        model = self._model(task)
        assert model.answers_by is not None
        head = model.head_specs[model.answers_by]
        encoded = {name: model.encode(name, *self._column(model, name, rows)) for name in head["inputs"]}
        found = []
        for row in model.answer(model.answers_by, encoded).softmax(1).tolist():
            classes = dict(sorted(zip(head["classes"], row, strict=True), key=lambda pair: -pair[1]))
            answer, probability = next(iter(classes.items()))
            found.append({"answer": answer, "probability": probability, "classes": classes})
        return found

    def _column(self, model: MultimodalModel, name: str, rows: Sequence[Inputs]) -> tuple[Tensor, Tensor]:
        """One input of several requests, masked where it is missing."""
        if name == "audio":
            nothing = np.zeros((1, frame_size(self.prepare)), np.float16)
            heard: list[Any] = [row.get(name) for row in rows]
            values, mask = padded([nothing if one is None else one for one in heard])
            return values, mask & torch.tensor([one is not None for one in heard])[:, None]
        if name in ("image", "video"):
            side = self.prepare.image_size if name == "image" else self.prepare.video_size
            shape = (side, side, 3) if name == "image" else (self.prepare.video_frames, side, side, 3)
            absent = np.zeros(shape, np.uint8)
            given: list[Any] = [row.get(name) for row in rows]
            values, _ = _media([absent if one is None else one for one in given])
            return values, torch.tensor([one is not None for one in given])
        context = self.prepare.transcript_context if name == "transcript" else self.prepare.context
        texts = [str(row.get(name) or "") for row in rows]
        return model.processor.pad([model.processor.encode([one], context=context)[0] if one else [] for one in texts])

    def identity(self) -> dict[str, Any]:
        """What this release is and what is running, hashed again from memory and from the loaded code's files."""
        return {
            "name": self.released["name"],
            "version": self.released["version"],
            "model_hash": self.released["model_hash"],
            "content_hash": self.released["content_hash"],
            "tasks": list(self.models),
            "chooses": self.released["chooses"],
            "weights_hash": weights.hash_models(self.folder, self._keys()),
            **loaded_code(self.folder.parent),
            "versions": versions(),
            "released": {key: self.released[key] for key in ("weights_hash", "code_hash", "versions")},
        }

    def warm_up(self) -> None:
        """Answer once per task, so that the first request finds everything ready."""
        image = np.zeros((self.prepare.image_size, self.prepare.image_size, 3), np.uint8)
        if "retrieval" in self.models:
            self.embed(["a", *([image] if "image" in self.reads else [])])
        if "captioning" in self.models and "image" in self.reads:
            self.caption_all([image])
        if "summarisation" in self.models:
            self.summarise_all([(None, "a")])
        self.choose_all([(task, {}) for task in self.released["chooses"]])

    def _keys(self) -> dict[str, dict[str, str]]:
        """The content key of each parameter as it is in memory."""
        known: dict[int, str] = {}
        for parameters in self._weights.values():
            for tensor in parameters.values():
                if id(tensor) not in known:
                    content = tensor.contiguous().flatten().view(torch.uint8).numpy()
                    known[id(tensor)] = weights.content_key(KINDS[tensor.dtype], tuple(tensor.shape), content)
        return {task: {name: known[id(tensor)] for name, tensor in own.items()} for task, own in self._weights.items()}

    def _model(self, task: str) -> MultimodalModel:
        if task not in self.models:
            raise LookupError(f"this release has no model for {task}; it has: {', '.join(self.models)}")
        return self.models[task]

    def _chunks(self, places: Sequence[int]) -> list[list[int]]:
        return [list(places[start : start + self.max_batch]) for start in range(0, len(places), self.max_batch)]


def _build(folder: Path, parameters: dict[str, Tensor]) -> MultimodalModel:
    """The model over the given tensors themselves: none is copied, so what models share stays shared.

    It is made with numbers, which the tensors then replace: buffers that are not saved (positions, colour means) have
    to be what their makers make them.
    """
    model = MultimodalModel.made(read_json(folder / "config.json"), folder)
    model.load_state_dict(parameters, assign=True)
    return model.requires_grad_(False).eval()


def _kind(item: Item) -> str:
    if isinstance(item, str):
        return "text"
    return "image" if item.ndim == 3 else "video"


def _media(arrays: Sequence[Pixels]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(np.stack(arrays)), torch.ones(len(arrays), dtype=torch.bool)
