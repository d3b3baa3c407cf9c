"""Batches of a prepared corpus, each a function of the seed and its number alone.

So nothing about the order has to be saved: a resumed training draws batch 137 exactly as an undisturbed one does.
Shapes: B batch, S side, F frames, T tokens.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from mmcore.data import ranks
from mmcore.settings import AugmentSettings, PrepareSettings

MEDIA = ("image", "audio", "video")
# Texts that go into the model beside the one that it writes or is compared with; they are inputs of their own name.
READ = ("transcript", "question")
LABEL = "label"
CHOICES = ("any", "consensus")
NO_AUGMENTATION = AugmentSettings(shift=0, flip=False)


def columns_of(inputs: Iterable[str]) -> tuple[str, ...]:
    """The columns that inputs come from: `text` is one of the captions, all others are named like theirs."""
    return tuple("captions" if name == "text" else name for name in inputs)


class Tokens(Protocol):
    """What turns texts into ids: a model's processor."""

    @property
    def prepare(self) -> PrepareSettings: ...
    def encode(self, texts: Sequence[str], *, context: int | None = None) -> list[list[int]]: ...
    def pad(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]: ...


class Rows(Protocol):
    """What is asked of a corpus."""

    @property
    def ids(self) -> Sequence[str]: ...
    @property
    def rows(self) -> Sequence[Mapping[str, Any]]: ...
    def __len__(self) -> int: ...
    def with_(self, *columns: str) -> list[int]: ...
    def image(self, index: int) -> Any: ...
    def video(self, index: int) -> Any: ...
    def audio(self, index: int) -> Any: ...


@dataclass(frozen=True)
class Batch:
    """Inputs by name, `(values, mask)`: pictures and clips [B, ...] with presence [B]; texts as ids [B, T] and
    recordings [B, T, mels] with their mask [B, T]; the number of the `label` [B] with whether it is known [B].

    `same_BB[i, j]`: row i's text (or key) also fits row j, so the two are never negatives of each other. Where several
    ranks train together, the inputs are this rank's share of the batch; `ids` and `same_BB` are those of all of it.
    """

    ids: list[str]
    inputs: Mapping[str, tuple[Tensor, Tensor]]
    same_BB: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device) -> "Batch":
        if device.type == "cpu":
            return self
        moved = {
            name: (values.to(device, non_blocking=True), mask.to(device, non_blocking=True))
            for name, (values, mask) in self.inputs.items()
        }
        return replace(self, inputs=moved, same_BB=self.same_BB.to(device, non_blocking=True))

    def present(self, *names: str) -> Tensor:
        """Which rows [B] have all of these inputs."""
        masks = [self.inputs[name][1] for name in names]
        return torch.stack([mask if mask.ndim == 1 else mask.any(1) for mask in masks]).all(0)

    def same(self, one: str, other: str) -> Tensor:
        """Which rows' input `one` belongs to which rows' input `other` [B, B]: with the text on the right, rows and
        columns of `same_BB` change places; media are alike if either's text fits the other."""
        if one == "text":
            return self.same_BB
        return self.same_BB.T if other == "text" else self.same_BB | self.same_BB.T


class Texts:
    """The tokenised texts of rows, those of all `columns` together."""

    def __init__(
        self, corpus: Rows, indices: Sequence[int], columns: Sequence[str], tokens: Tokens, *, context: int
    ) -> None:
        strings = {index: texts_of(corpus.rows[index], *columns) for index in indices}
        distinct = sorted({text for texts in strings.values() for text in texts})
        encoded = tokens.encode(distinct, context=context)
        number = {text: position for position, text in enumerate(distinct)}
        self.encoded = [tuple(ids) for ids in encoded]
        # Equal strings have equal numbers: this is how rows that say the same are told.
        self.numbers = {index: [number[text] for text in texts] for index, texts in strings.items()}

    def most_agreed(self) -> dict[int, list[int]]:
        """Of each row only the text that shares most with the row's other texts (the first of equals)."""
        found = {}
        for index, numbers in self.numbers.items():
            shares = agreement([self.encoded[number] for number in numbers])
            found[index] = [numbers[shares.index(max(shares))]] if numbers else []
        return found


def agreement(texts: Sequence[Sequence[int]]) -> list[float]:
    """For each of several texts, as ids, the share of its n-grams (n = 1 to 4, averaged) that the others hold."""
    grams = [[Counter(zip(*(text[i:] for i in range(n)), strict=False)) for n in range(1, 5)] for text in texts]
    shares = []
    for own in range(len(texts)):
        share = 0.0
        for n in range(4):
            others: Counter[tuple[int, ...]] = Counter()
            for other in range(len(texts)):
                if other != own:
                    others |= grams[other][n]
            count = grams[own][n].total()
            share += (grams[own][n] & others).total() / max(count, 1)
        shares.append(share / 4)
    return shares


def texts_of(row: Mapping[str, Any], *columns: str) -> list[str]:
    """The different texts of one row under `captions`, `summary`, `transcript` ..., in this order."""
    found: dict[str, None] = {}
    for column in columns:
        value = row[column] or []
        for entry in [value] if isinstance(value, str) else value:
            found[entry if isinstance(entry, str) else entry["text"]] = None
    return list(found)


class Batches:
    """The batches of the rows of `corpus` that have all the columns of `needs`.

    needs: the columns a row must have. Media and the texts of `READ` become the inputs of their name; all other texts
        together (`captions`, `summary` ...) are those of which one becomes the input `text`.
    also: columns of `READ` that give an input too, masked where a row has none.
    label: the number of each label; the column `label` then becomes the input of that name, masked where it has none.
    choice: `any` of the row's texts is drawn each time, or always the one that agrees most with its others
        (`consensus`): a model that is to write one text learns the common way of saying it.
    The order is a new permutation in every epoch. With `shuffle` off, rows come in order with their first text, the
    last batch may be short, and nothing is augmented.
    """

    def __init__(
        self,
        corpus: Rows,
        tokens: Tokens,
        needs: Sequence[str],
        *,
        batch_size: int,
        seed: int = 0,
        also: Sequence[str] = (),
        label: Mapping[str, int] | None = None,
        augment: AugmentSettings = NO_AUGMENTATION,
        choice: str = "any",
        shuffle: bool = True,
    ) -> None:
        if choice not in CHOICES:
            raise ValueError(f"the choice of texts is '{choice}'; choose one of: {', '.join(CHOICES)}")
        self.corpus, self.tokens, self.augment, self.shuffle, self.seed = corpus, tokens, augment, shuffle, seed
        self.indices = corpus.with_(*needs)
        if not self.indices:
            raise ValueError(f"no row has {' and '.join(needs)}")
        self.media = [name for name in needs if name in MEDIA]
        columns = [name for name in needs if name not in (*MEDIA, *READ, LABEL)]
        prepare = tokens.prepare
        self.texts = Texts(corpus, self.indices, columns, tokens, context=prepare.context) if columns else None
        contexts = {"transcript": prepare.transcript_context, "question": prepare.context}
        self.read = {
            name: Texts(corpus, self.indices, [name], tokens, context=contexts[name])
            for name in READ
            if name in needs or name in also
        }
        self.label = label
        self.choices: Mapping[int, Sequence[int]] = {}
        if self.texts is not None:
            self.choices = self.texts.most_agreed() if choice == "consensus" and shuffle else self.texts.numbers
        self.batch_size = min(batch_size, len(self.indices))
        whole, rest = divmod(len(self.indices), self.batch_size)
        self.per_epoch = whole if shuffle or not rest else whole + 1
        self._order = lru_cache(maxsize=1)(self._permutation)

    def __len__(self) -> int:
        """Batches in an epoch; with `shuffle`, what is left over after the last whole one waits for the next epoch."""
        return self.per_epoch

    def at(self, number: int) -> Batch:
        """The batch of this number, 0 and up, as many as one likes."""
        epoch, position = divmod(number, self.per_epoch)
        order = self._order(epoch if self.shuffle else 0)
        chosen = [self.indices[i] for i in order[position * self.batch_size : (position + 1) * self.batch_size]]
        # What is drawn is drawn for the whole batch, so that it does not depend on how many ranks share it.
        random = np.random.default_rng((self.seed, 1, number))
        share = ranks.share(len(chosen)) if self.shuffle else slice(None)
        inputs = {name: self._media(name, chosen[share]) for name in self.media}
        if self.shuffle:
            for name, (values, mask) in inputs.items():
                shifts, mirrored = variations(self.augment, random, len(chosen))
                if name != "audio":
                    inputs[name] = augmented(values, shifts[share], mirrored[share]), mask
        picked: list[int] = []
        if self.texts is not None:
            numbers = [self.choices[index] for index in chosen]
            draws = random.random(len(chosen)) if self.shuffle else np.zeros(len(chosen))
            picked = [own[int(draw * len(own))] for own, draw in zip(numbers, draws, strict=True)]
            inputs["text"] = self._padded([self.texts.encoded[i] for i in picked], share)
        for name, texts in self.read.items():
            numbers = [texts.numbers[index][:1] for index in chosen]
            inputs[name] = self._padded([texts.encoded[i[0]] if i else () for i in numbers], share)
        if self.label is not None:
            found = torch.tensor([self.label.get(self.corpus.rows[index][LABEL], -1) for index in chosen])[share]
            inputs[LABEL] = found.clamp(min=0), found >= 0
        return Batch([str(self.corpus.ids[i]) for i in chosen], inputs, self._same(chosen, picked))

    def _permutation(self, epoch: int) -> np.ndarray[Any, Any]:
        if not self.shuffle:
            return np.arange(len(self.indices))
        return np.random.default_rng((self.seed, 0, epoch)).permutation(len(self.indices))

    def _media(self, name: str, chosen: list[int]) -> tuple[Tensor, Tensor]:
        arrays = [getattr(self.corpus, name)(index) for index in chosen]
        if name == "audio":
            return padded(arrays)
        return torch.from_numpy(np.stack(arrays)), torch.ones(len(chosen), dtype=torch.bool)

    def _padded(self, rows: list[tuple[int, ...]], share: slice) -> tuple[Tensor, Tensor]:
        ids, mask = self.tokens.pad(rows)
        return ids[share], mask[share]

    def _same(self, chosen: list[int], picked: list[int]) -> Tensor:
        keys = [self.corpus.rows[i].get("positives") or f"\0{self.corpus.ids[i]}" for i in chosen]
        _, codes = np.unique(np.array(keys), return_inverse=True)
        same = codes[:, None] == codes[None, :]
        if self.texts is not None:
            owned = [set(self.texts.numbers[index]) for index in chosen]
            same |= np.array([[number in texts for texts in owned] for number in picked])
        return torch.from_numpy(same)


def padded(recordings: Sequence[np.ndarray[Any, Any]]) -> tuple[Tensor, Tensor]:
    """Recordings [T, mels] of any lengths as [B, T, mels], silence after the shorter ones, and their mask [B, T]."""
    lengths = np.array([len(one) for one in recordings])
    values = np.zeros((len(recordings), lengths.max(), recordings[0].shape[1]), recordings[0].dtype)
    for row, one in zip(values, recordings, strict=True):
        row[: len(one)] = one
    return torch.from_numpy(values), torch.from_numpy(np.arange(lengths.max()) < lengths[:, None])


Variations = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def variations(augment: AugmentSettings, random: np.random.Generator, batch: int) -> Variations:
    """How each of `batch` samples is to vary: by how many pixels it moves [B, 2], and whether it is mirrored [B]."""
    shifts = random.integers(-augment.shift, augment.shift + 1, size=(batch, 2))
    return shifts, random.random(batch) < 0.5 if augment.flip else np.zeros(batch, dtype=bool)


def augmented(pixels: Tensor, shifts: np.ndarray[Any, Any], mirrored: np.ndarray[Any, Any]) -> Tensor:
    """uint8 [B, (F,) S, S, 3] with every sample moved (edges repeated) and mirrored as `variations` says; all frames
    of a clip together."""
    batch, side = pixels.shape[0], pixels.shape[-2]
    across = np.clip(np.arange(side) + shifts[:, :1], 0, side - 1)
    along = np.clip(np.arange(side) + shifts[:, 1:], 0, side - 1)
    along = np.where(mirrored[:, None], along[:, ::-1], along)
    moved = np.empty_like(source := pixels.numpy())
    for index in range(batch):
        moved[index] = source[index][..., across[index][:, None], along[index][None, :], :]
    return torch.from_numpy(moved)
