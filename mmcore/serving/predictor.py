"""The models of a release, answering: everything the service computes, without any server around it.

Media and texts go through the very functions that prepared the training data, so an uploaded file becomes exactly
the array that evaluation saw. Shapes: B batch, N items, E shared space.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmcore.data.batches import gathered
from mmcore.data.modalities import MODALITIES, Limits, media
from mmcore.models.multimodal import MultimodalModel
from mmcore.serving import weights
from mmcore.serving.identity import loaded_code, versions
from mmcore.serving.uploads import Item
from mmcore.settings import PrepareSettings, ServeSettings
from mmcore.workspace import read_json

# The type codes of the safetensors layout.
KINDS = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
# What a class is chosen by: decoded media and texts, by the name of the input.
Inputs = Mapping[str, str | NDArray[Any] | None]


class Predictor:
    """Loads the folder `release` that `package.py` wrote; equal weights of several tasks are in memory once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.released: dict[str, Any] = read_json(folder / "identity.json")
        serve = ServeSettings(**read_json(folder / "serve.json"))
        self.limits = Limits(serve.max_pixels, serve.max_seconds, serve.max_frames, whole=True)
        self.max_batch = serve.max_batch
        # Calls run side by side in `threads` threads: each gets its share of the cores, not all of them.
        torch.set_num_threads(max(1, torch.get_num_threads() // (serve.threads * serve.workers)))
        for plugin in self.released["plugins"]:
            importlib.import_module(plugin)
        self._weights = weights.load(folder, self.released["tasks"])
        self.models = {task: _build(folder / "models" / task, own) for task, own in self._weights.items()}
        self.prepare: PrepareSettings = next(iter(self.models.values())).processor.prepare
        models = self.models.values()
        self._modalities = {
            name: MODALITIES[name]() for name in media() if any(name in model.encoders for model in models)
        }
        assert all(model.processor.prepare == self.prepare for model in models)

    def decode(self, modality: str, data: bytes) -> NDArray[Any]:
        """A file as the array that the encoder of its modality reads, such as uint8 [S, S, 3] of an image; ValueError
        with the reason if it is none, or if no model reads that modality."""
        if modality not in self._modalities:
            raise ValueError(f"this release reads no {modality}; it reads: {', '.join(self._modalities)}")
        reader = self._modalities[modality]
        prepared: NDArray[Any] = reader.transform(reader.decode(data, self.limits), self.prepare)
        return prepared

    def embed(self, items: Sequence[Item]) -> NDArray[np.float32]:
        """[N, E]: the vector of length 1 of each item."""
        model = self._model("retrieval")
        vectors = np.zeros((len(items), model.settings.embed_dim), np.float32)
        for modality, places in self._by_modality(items):
            values, mask = _gathered(model, modality, [items[place].value for place in places])
            with torch.inference_mode():
                vectors[places] = model.embed(modality, values, mask).float().numpy()
        return vectors

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[N, E], rows of length 1."""
        return self.embed([Item("text", text) for text in texts])

    def rank(self, query: Item, candidates: Sequence[Item]) -> tuple[list[int], list[float]]:
        """Places of the candidates by their likeness to the query, best first, and the cosine of each as it came."""
        vectors = self.embed([query, *candidates]).astype(np.float64)
        scores_N = (vectors[1:] @ vectors[0]).astype(np.float32)
        return np.argsort(-scores_N, kind="stable").tolist(), scores_N.tolist()

    def caption(self, images: Sequence[bytes]) -> list[str]:
        """One sentence for each image file."""
        return self.caption_all([Item("image", self.decode("image", image)) for image in images])

    def caption_all(self, items: Sequence[Item]) -> list[str]:
        """One sentence for each decoded image and clip."""
        model = self._model("captioning")
        captions = [""] * len(items)
        for modality, places in self._by_modality(items):
            written = model.generate({modality: _gathered(model, modality, [items[place].value for place in places])})
            for place, text in zip(places, written, strict=True):
                captions[place] = text
        return captions

    def summarise(self, clip: bytes | None, transcript: str | None) -> str:
        """The summary of a clip file with its transcript; either may be missing."""
        return self.summarise_all([(None if clip is None else self.decode("video", clip), transcript)])[0]

    def summarise_all(self, pairs: Sequence[tuple[NDArray[Any] | None, str | None]]) -> list[str]:
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
        if name not in self._modalities:
            context = self.prepare.transcript_context if name == "transcript" else self.prepare.context
            texts = [str(row.get(name) or "") for row in rows]
            encoded = [model.processor.encode([one], context=context)[0] if one else [] for one in texts]
            return model.processor.pad(encoded)
        absent = self._modalities[name].largest(self.prepare)
        if self._modalities[name].varies:
            absent = absent[:1]
        given: list[Any] = [row.get(name) for row in rows]
        values, mask = gathered(name, [absent if one is None else one for one in given])
        there = torch.tensor([one is not None for one in given])
        return values, mask & there.reshape(-1, *[1] * (mask.ndim - 1))

    def identity(self) -> dict[str, Any]:
        """What this release is and what is running, hashed again from memory and from the loaded code's files."""
        return {
            "name": self.released["name"],
            "version": self.released["version"],
            "model_hash": self.released["model_hash"],
            "content_hash": self.released["content_hash"],
            "tasks": list(self.models),
            **{key: self.released[key] for key in ("reads", "chooses", "suffixes")},
            "weights_hash": weights.hash_models(self.folder, self._keys()),
            **loaded_code(self.folder.parent),
            "versions": versions(),
            "released": {key: self.released[key] for key in ("weights_hash", "code_hash", "versions")},
        }

    def warm_up(self) -> None:
        """Answer once per task, so that the first request finds everything ready."""
        largest = [Item(name, reader.largest(self.prepare)) for name, reader in self._modalities.items()]
        if "retrieval" in self.models:
            read = self.models["retrieval"].encoders
            self.embed([item for item in [*largest, Item("text", "a")] if item.modality in read])
        if "captioning" in self.models:
            seen = [name for name in ("image", "video") if name in self.models["captioning"].encoders]
            self.caption_all([item for item in largest if item.modality in seen[:1]])
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

    def _by_modality(self, items: Sequence[Item]) -> Iterator[tuple[str, list[int]]]:
        """Modalities, each with the places of some items of it, as many as may be computed at once."""
        for modality in sorted({item.modality for item in items}):
            for places in self._chunks([place for place, item in enumerate(items) if item.modality == modality]):
                yield modality, places

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


def _gathered(model: MultimodalModel, modality: str, values: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """What `model` takes for texts, or arrays of one modality, with their mask."""
    return model.processor.texts(values) if modality == "text" else gathered(modality, values)
