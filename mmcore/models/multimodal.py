"""The model: encoders by modality, one shared space, one decoder, heads for tasks, and how it is saved.

Shapes: B batch, T tokens, D width, E shared space, V vocabulary. An input is `(values, mask)`: images uint8
[B, S, S, 3], clips uint8 [B, F, S, S, 3], texts int64 [B, T], recordings [B, T, mels]; the mask says which rows [B],
for texts and recordings which tokens [B, T], are there. A plain module: transformers' base class takes six seconds to
import, in every process.
"""

import dataclasses
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmcore.data import ranks
from mmcore.data.batches import READ
from mmcore.models.bottlenecks import Bottlenecks
from mmcore.models.compression import in_float, to_int8
from mmcore.models.decoder import DECODERS
from mmcore.models.encoders import ENCODERS
from mmcore.models.encoders._pool import FIRST
from mmcore.models.explanation import explain
from mmcore.models.fusion import FUSIONS
from mmcore.models.heads import HEADS, First, Projection, Words
from mmcore.models.layers import initialise
from mmcore.models.processor import Processor
from mmcore.settings import Component, ModelSettings, PrepareSettings
from mmcore.workspace import read_json, write_json

MODEL_TYPE = "mmcore_multimodal"
# What models do not say that are older than the setting.
_OLDER = {"image_resize": None, "tokenizer": None}
Input = tuple[Tensor, Tensor]


class MultimodalModel(nn.Module):
    """Encodes each modality, embeds it in the shared space and writes text about any set of them.

    All texts go through the same text encoder: the inputs `transcript` and `question` are texts, too. Tasks and
    objectives add `heads` of their own, which are saved with the model.
    """

    def __init__(
        self, settings: ModelSettings, processor: Processor, heads: Mapping[str, Component] | None = None
    ) -> None:
        super().__init__()
        self.processor = processor
        given: dict[str, Any] = {
            "width": settings.width, "heads": settings.heads, "dropout": settings.dropout,
            "embed_dim": settings.embed_dim,
            "prepare": processor.prepare, "vocabulary": processor.vocabulary, "tokenizer": processor.tokenizer,
            "context": processor.prepare.context,
        }  # fmt: skip
        self.encoders = nn.ModuleDict()
        # Images first, since clips look through the image encoder, whatever the order in the file.
        for modality in sorted(settings.encoders, key=lambda name: (name != "image", name)):
            given["image"] = self.encoders["image"] if modality != "image" and "image" in settings.encoders else None
            self.encoders[modality] = ENCODERS.build(settings.encoders[modality], **given)
        # What a saved model is made of again, without the folder that an encoder's first weights came from.
        made_of = {
            name: spec | getattr(self.encoders[name], "resolved", {}) for name, spec in settings.encoders.items()
        }
        self.settings = dataclasses.replace(settings, encoders=made_of)
        self.projections = nn.ModuleDict(
            {
                modality: First(settings.width, settings.embed_dim)
                if self.speaks_first(modality)
                else Projection(settings.width, settings.heads, settings.embed_dim)
                for modality in self.encoders
            }
        )
        given["modalities"] = [*self.encoders, *READ]
        self.fusion = None if settings.fusion is None else FUSIONS.build(settings.fusion, **given)
        self.kinds = nn.ParameterDict({kind: torch.zeros(settings.width) for kind in given["modalities"]})
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        words = getattr(self.encoders["text"], "embedding", None) if "text" in self.encoders else None
        self.words = None if words is None else Words(settings.width, processor.vocabulary, words.embedding_dim)
        self.decoder = None if settings.decoder is None else DECODERS.build(settings.decoder, **given)
        initialise(self)
        self.beams = 1
        self.chunk: int | None = None
        # The head that a task which chooses among classes has left the answer to.
        self.answers_by: str | None = None
        # How it was made smaller (`CompressSettings`), and of what is zero and is to stay so what may move.
        self.compression: dict[str, Any] | None = None
        self.masks: dict[str, Tensor] = {}
        self._given = given
        # Factors on the learning rate, where they are not 1, by the parameter's name.
        self.rates = {
            f"encoders.{modality}.{name}": rate
            for modality, encoder in self.encoders.items()
            for name, rate in getattr(encoder, "rates", {}).items()
        }
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(self.rates.get(name, 1.0) > 0)
        self.heads = nn.ModuleDict()
        self.head_specs: dict[str, Component] = {}
        self.add_heads(heads or {})
        self.bottlenecks: Bottlenecks | None = None
        self.bottleneck_options: dict[str, Any] | None = None

    @property
    def device(self) -> torch.device:
        return self.logit_scale.device

    def add_heads(self, specs: Mapping[str, Component]) -> None:
        """Give the model the heads that it does not have yet, freshly initialised; one of the same name that is made
        otherwise is replaced."""
        for name, spec in specs.items():
            if self.head_specs.get(name) != spec:
                head = HEADS.build(spec, **self._given)
                initialise(head)
                self.heads[name], self.head_specs[name] = head.to(self.device), dict(spec)

    def add_bottlenecks(self, options: Mapping[str, Any]) -> None:
        """Put bottlenecks into the encoders that say nothing yet, see `Bottlenecks`; those of an earlier training go on
        where they are made alike. ValueError if they are not."""
        if self.bottleneck_options is None:
            self.bottlenecks = Bottlenecks(self.encoders, self.settings.width, **options).to(self.device)
            self.bottlenecks.place()
            self.bottleneck_options = dict(options)
        elif self.bottleneck_options != dict(options):
            raise ValueError(f"the model has bottlenecks already, made with {self.bottleneck_options}; choose these")

    def speaks_first(self, modality: str) -> bool:
        """Whether the first token of this modality is its vector in the shared space."""
        return getattr(self._encoder(modality), "pool", None) == FIRST

    def encode(self, modality: str, values: Tensor, mask: Tensor, *, to_embed: bool = False) -> Input:
        """Tokens [B, T, D] and their mask [B, T]; `to_embed`: no more of them than `project` looks at.

        With `chunk`, so many rows at a time: only the tokens of a chunk are kept, and what lies between is computed
        again backwards. So a contrast sees a batch that is larger than memory, with the same gradients
        wherever encoders draw nothing at random (gradient caching, Gao et al. 2021), for the price of one more forward
        pass.
        """
        encoder = self._encoder(modality)
        if to_embed and self.speaks_first(modality):
            encoder = partial(encoder, first=True)
        # As often on every rank, whatever its share: ranks that share the weights, too, gather them for each call.
        most = 0 if self.chunk is None or not torch.is_grad_enabled() else ranks.largest(len(values))
        if self.chunk is None or most <= self.chunk:
            tokens_BTD, mask_BT = encoder(values, mask)
            return tokens_BTD, mask_BT
        *chunks, last = [slice(start, start + self.chunk) for start in range(0, most, self.chunk)]
        done = [checkpoint(encoder, values[part], mask[part], use_reentrant=False) for part in chunks]
        done.append(encoder(values[last], mask[last]))  # backwards it comes first: what lies between may stay
        return torch.cat([tokens for tokens, _ in done]), torch.cat([mask for _, mask in done])

    def project(self, modality: str, tokens_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """Encoded tokens to vectors [B, E] of length 1 in the shared space."""
        return self.projections[_encoded_as(modality)](tokens_BTD, mask_BT)  # type: ignore[no-any-return]

    def embed(self, modality: str, values: Tensor, mask: Tensor) -> Tensor:
        """Vectors [B, E] of length 1 in the shared space; zeros where the modality is absent."""
        return self.project(modality, *self.encode(modality, values, mask, to_embed=True))

    def fuse(self, encoded: Mapping[str, Input]) -> Input:
        """Tokens of several modalities joined by the model's fusion; without one side by side, each with the mark of
        its kind. Absent ones are masked."""
        if self.fusion is not None:
            fused = self.fusion(encoded)
            return fused.tokens, fused.mask
        tokens = [tokens_BTD + self.kinds[kind] for kind, (tokens_BTD, _) in encoded.items()]
        return torch.cat(tokens, dim=1), torch.cat([mask_BT for _, mask_BT in encoded.values()], dim=1)

    def write(self, ids_BT: Tensor, encoded: Mapping[str, Input]) -> Tensor:
        """Logits [B, T, V] of the token after each of `ids`, given encoded inputs, if any."""
        memory = self.fuse(encoded) if encoded else self._nothing(len(ids_BT))
        return self._decoder()(ids_BT, *memory)  # type: ignore[no-any-return]

    def fill(self, tokens_BTD: Tensor) -> Tensor:
        """Logits [B, T, V] of the word at each token of an encoded text (masked language modelling)."""
        assert self.words is not None
        return self.words(tokens_BTD, self._encoder("text").embedding)  # type: ignore[no-any-return]

    def answer(self, head: str, encoded: Mapping[str, Input]) -> Tensor:
        """What the head of this name says about encoded inputs, see `heads`."""
        return self.heads[head](encoded)  # type: ignore[no-any-return]

    def scale(self) -> Tensor:
        """The factor on cosine similarities under the contrastive loss, at most 100."""
        return self.logit_scale.clamp(max=math.log(100)).exp()

    @torch.inference_mode()
    def generate(
        self, inputs: Mapping[str, Input], *, tokens: int | None = None, beams: int | None = None, prefix: str = ""
    ) -> list[str]:
        """One text per row about the inputs, `{modality: (values, mask)}`; deterministic.

        `beams`: how many beginnings are continued at each step (null: as many as the model was fine-tuned for).
        `prefix`: what every text is to begin with (a persona, the beginning of a sentence); it is not repeated.
        """
        decoder = self._decoder()
        encoded = {kind: self.encode(kind, *pair) for kind, pair in inputs.items()}
        memory, mask = self.fuse(encoded)
        prefix_BP = None
        if prefix:
            prefix_BP = torch.tensor([self.processor.encode([prefix])[0][1:-1]]).expand(len(memory), -1)
        ids_BT = decoder.generate(
            memory, mask, first=self.processor.specials.bos, last=self.processor.specials.eos,
            tokens=tokens or self.processor.prepare.context, beams=beams or self.beams, prefix_BP=prefix_BP,
        )  # fmt: skip
        return self.processor.decode(ids_BT)

    def explain(self, inputs: Mapping[str, Input], *, head: str | None = None) -> dict[str, Any]:
        """How the model comes to what it says about each row: extract, link, fuse, task.

        `extract`: by modality the mean length [B] of its tokens' vectors; `link`: by pair of modalities the cosine [B]
        of their embeddings; `fuse`: by modality the weight [B] that the fusion of `head` gave it (of the model's own
        without a head; absent where there is none); `task`: what the head says [B, ...]; `relevance`: by modality how
        much each token [B, T] speaks for that; `attend`: by modality, and under `fuse` for what joins them, by
        attention layer its weights [B, H, T, S] (of networks from transformers none). It shows what went into an
        answer; it is no language model's chain of thought.
        """
        return explain(self, inputs, head)

    def save(self, folder: Path) -> None:
        """Write `config.json`, `model.safetensors` and `tokenizer.json` into an existing folder."""
        config = {
            "architectures": [type(self).__name__],
            "model_type": MODEL_TYPE,
            "model": dataclasses.asdict(self.settings),
            "prepare": dataclasses.asdict(self.processor.prepare),
            "heads": self.head_specs,
            "bottlenecks": self.bottleneck_options,
            "generation": {"beams": self.beams},
            "answers_by": self.answers_by,
            "compression": self.compression,
        }
        write_json(folder / "config.json", config)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        self.processor.tokenizer.save(str(folder / "tokenizer.json"))

    @classmethod
    def made(cls, config: Mapping[str, Any], folder: Path) -> "MultimodalModel":
        """The model that `config.json` describes, freshly initialised, with the tokenizer in `folder`; its layers hold
        int8 if those that were saved do."""
        prepare = PrepareSettings(**{**_OLDER, **config["prepare"]})
        processor = Processor.load(folder, prepare)
        model = cls(ModelSettings(**config["model"]), processor, config["heads"])
        model.beams = config["generation"]["beams"]
        # Older models have none of these.
        model.answers_by = config.get("answers_by")
        if config.get("bottlenecks") is not None:
            model.add_bottlenecks(config["bottlenecks"])
        model.compression = config.get("compression")
        if model.compression is not None and model.compression["int8"]:
            to_int8(model)
        return model

    @classmethod
    def load(cls, folder: Path, device: torch.device | None = None, *, to_train: bool = False) -> "MultimodalModel":
        """The model saved in `folder`, in evaluation mode; ValueError if its weights do not fit its config. `to_train`:
        with all weights as floats that may move, however they were compressed."""
        config = read_json(folder / "config.json")
        if config.get("model_type") != MODEL_TYPE:
            raise ValueError(f"{folder / 'config.json'} is no {MODEL_TYPE} but '{config.get('model_type')}'")
        weights = load_file(folder / "model.safetensors")
        if to_train:
            config, weights = {**config, "compression": None}, in_float(weights)
        model = cls.made(config, folder)
        model.restore(weights, str(folder))
        return model.to(device or torch.device("cpu")).eval()

    def restore(self, weights: Mapping[str, Tensor], source: str) -> None:
        """Take over `weights`, once they are checked (`check_weights`)."""
        self.check_weights(weights, source)
        self.load_state_dict(dict(weights))

    def check_weights(self, weights: Mapping[str, Tensor], source: str) -> None:
        """ValueError naming `source` and the first of `weights` that is missing, extra or misshapen."""
        own = self.state_dict()
        for name in sorted(set(own) ^ set(weights)):
            raise ValueError(f"{source}: weight '{name}' is {'missing' if name in own else 'not part of the model'}")
        for name, tensor in weights.items():
            if tensor.shape != own[name].shape:
                raise ValueError(f"{source}: weight '{name}' is {list(tensor.shape)}, not {list(own[name].shape)}")

    def _nothing(self, rows: int) -> Input:
        """What a decoder sees where there is nothing to look at: one token that does not count."""
        tokens_B1D = next(iter(self.kinds.values())).new_zeros(rows, 1, self.settings.width)
        return tokens_B1D, torch.zeros(rows, 1, dtype=torch.bool, device=self.device)

    def _encoder(self, modality: str) -> Any:
        name = _encoded_as(modality)
        if name not in self.encoders:
            raise LookupError(f"the model has no encoder for '{name}'; it has: {', '.join(self.encoders)}")
        return self.encoders[name]

    def _decoder(self) -> Any:
        if self.decoder is None:
            raise LookupError("the model has no text decoder; set model.decoder")
        return self.decoder


def _encoded_as(modality: str) -> str:
    return "text" if modality in READ else modality
