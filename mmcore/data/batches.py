"""Batches of a prepared corpus, each a function of the seed and its number alone.

So nothing about the order has to be saved: a resumed training draws batch 137 exactly as an undisturbed one does.
Shapes: B batch, S side, F frames, T tokens.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from mmcore.data import ranks
from mmcore.data.modalities import BUILT_IN, MODALITIES, media
from mmcore.settings import AugmentSettings, PrepareSettings

# Texts that go into the model beside the one that it writes or is compared with; they are inputs of their own name.
READ = ("transcript", "question")
LABEL = "label"
# What is drawn anew for every batch: the texts, and how media vary. The place in the list is a part of the seed.
DRAWN = (*BUILT_IN, "text", *READ)
CHOICES = ("any", "consensus")
NO_AUGMENTATION = AugmentSettings(shift=0, flip=False, bands=0, mute=0.0)


def columns_of(inputs: Iterable[str]) -> tuple[str, ...]:
    """The columns that inputs come from: `text` is one of the captions, `question` one of the pairs under `qa`, all
    others are named like theirs."""
    return tuple({"text": "captions", "question": "qa"}.get(name, name) for name in inputs)


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
    def array(self, name: str, index: int) -> Any: ...


@dataclass(frozen=True)
class Batch:
    """Inputs by name, `(values, mask)`: pictures and clips [B, ...] with presence [B]; texts as ids [B, T] and
    recordings [B, T, mels] with their mask [B, T]; the number of the `label` [B] with whether it is known [B]; a
    modality of one's own as one or the other, see `Medium.varies`.

    `same_BB[i, j]`: row i's text (or key) also fits row j, so the two are never negatives of each other. Where several
    ranks train together, the inputs are this rank's share of the batch; `ids` and `same_BB` are those of all of it.
    """

    ids: list[str]
    inputs: Mapping[str, tuple[Tensor, Tensor]]
    same_BB: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def kind(self) -> tuple[str, ...]:
        """The names of its inputs: what is computed from batches of one kind takes about as many operations."""
        return tuple(self.inputs)

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
    """The tokenised texts of rows, by the row's place."""

    def __init__(self, strings: Mapping[int, Sequence[str]], tokens: Tokens, *, context: int) -> None:
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

    needs: the columns a row must have. Media and `transcript` become the inputs of their name, one of the questions
        under `qa` the input `question`; all other texts together (`captions`, `summary` ...) are those of which one
        becomes the input `text`.
    also: `transcript`, if it is to be an input too, masked where a row has none.
    label: the number of each label. The input `label` is the first answer to the question, without one the column of
        that name; masked where there is none.
    choice: `any` of the row's texts is drawn each time, or always the one that agrees most with its others
        (`consensus`): a model that is to write one text learns the common way of saying it.
    The order is a new permutation in every epoch. With `shuffle` off, rows come in order with their first text and, one
    after the other, their first, second ... question; the last batch may be short, and nothing is augmented.
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
        self.media = [name for name in needs if name in media()]
        columns = [name for name in needs if name not in (*media(), *READ, "qa", LABEL)]
        rows, prepare = {index: corpus.rows[index] for index in self.indices}, tokens.prepare
        self.texts: Texts | None = None
        if columns:
            strings = {index: texts_of(row, *columns) for index, row in rows.items()}
            self.texts = Texts(strings, tokens, context=prepare.context)
        self.read: dict[str, Texts] = {}
        if "transcript" in (*needs, *also):
            said = {index: texts_of(row, "transcript") for index, row in rows.items()}
            self.read["transcript"] = Texts(said, tokens, context=prepare.transcript_context)
        # Of each row, its questions that have an answer, and those answers, unless the row says what is right.
        self.answers: dict[int, list[str]] | None = None
        if "qa" in needs:
            pairs = {index: [pair for pair in row["qa"] if pair["answers"]] for index, row in rows.items()}
            asked = {index: [pair["question"] for pair in own] for index, own in pairs.items()}
            self.read["question"] = Texts(asked, tokens, context=prepare.context)
            if LABEL not in needs:
                self.answers = {index: [pair["answers"][0] for pair in own] for index, own in pairs.items()}
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

    def at(self, number: int, inputs: Collection[str] | None = None) -> Batch:
        """The batch of this number, 0 and up, as many as one likes; of its inputs only those that are asked for (null:
        all)."""
        inputs = (*self.media, "text", *self.read) if inputs is None else inputs
        epoch, position = divmod(number, self.per_epoch)
        order = self._order(epoch if self.shuffle else 0)
        chosen = [self.indices[i] for i in order[position * self.batch_size : (position + 1) * self.batch_size]]
        share = ranks.share(len(chosen)) if self.shuffle else slice(None)
        made: dict[str, tuple[Tensor, Tensor]] = {}
        for name in self.media:
            if name in inputs:
                made[name] = self._media(name, number, chosen, share)
        picked: list[int] = []
        if self.texts is not None and "text" in inputs:
            places = self._draw("text", number, chosen, self.choices)
            picked = [self.choices[index][place] for index, place in zip(chosen, places, strict=True)]
            made["text"] = self._padded([self.texts.encoded[number] for number in picked], share)
        for name, texts in self.read.items():
            if name in inputs:
                places = self._draw(name, number, chosen, texts.numbers)
                own = [texts.numbers[index][place:][:1] for index, place in zip(chosen, places, strict=True)]
                made[name] = self._padded([texts.encoded[one[0]] if one else () for one in own], share)
        if self.label is not None and (self.answers is None or "question" in inputs):
            labels = [self.corpus.rows[index].get(LABEL) for index in chosen]
            if self.answers is not None:
                places = self._draw("question", number, chosen, self.answers)
                labels = ["".join(self.answers[index][place:][:1]) for index, place in zip(chosen, places, strict=True)]
            found = torch.tensor([self.label.get(label, -1) for label in labels])[share]
            made[LABEL] = found.clamp(min=0), found >= 0
        return Batch([str(self.corpus.ids[i]) for i in chosen], made, self._same(chosen, picked))

    def _random(self, name: str, number: int) -> np.random.Generator:
        """What is drawn for an input of a batch: for all of it, however many ranks share it, and whatever else it
        holds."""
        return np.random.default_rng((self.seed, 1, number, DRAWN.index(name)))

    def _draw(self, name: str, number: int, chosen: list[int], of: Mapping[int, Sequence[Any]]) -> list[int]:
        """For each row which of its texts is the input `name`."""
        counts = [len(of[index]) for index in chosen]
        if self.shuffle:
            draws = self._random(name, number).random(len(chosen))
            return [int(draw * count) for draw, count in zip(draws, counts, strict=True)]
        return [index % max(count, 1) * (name == "question") for index, count in zip(chosen, counts, strict=True)]

    def _permutation(self, epoch: int) -> np.ndarray[Any, Any]:
        if not self.shuffle:
            return np.arange(len(self.indices))
        return np.random.default_rng((self.seed, 0, epoch)).permutation(len(self.indices))

    def _media(self, name: str, number: int, chosen: list[int], share: slice) -> tuple[Tensor, Tensor]:
        arrays = [self.corpus.array(name, index) for index in chosen[share]]
        if name == "audio" and self.shuffle and (self.augment.bands or self.augment.mute):
            draws = self._random(name, number).random((len(chosen), 5))[share]
            banded = self.tokens.prepare.audio_mels is not None
            arrays = [sounding(one, self.augment, own, banded=banded) for one, own in zip(arrays, draws, strict=True)]
        values, mask = gathered(name, arrays)
        if name in ("image", "video") and self.shuffle:
            shifts, mirrored = variations(self.augment, self._random(name, number), len(chosen))
            values = augmented(values, shifts[share], mirrored[share])
        return values, mask

    def _padded(self, rows: list[tuple[int, ...]], share: slice) -> tuple[Tensor, Tensor]:
        ids, mask = self.tokens.pad(rows)
        return ids[share], mask[share]

    def _same(self, chosen: list[int], picked: list[int]) -> Tensor:
        keys = [self.corpus.rows[i].get("positives") or f"\0{self.corpus.ids[i]}" for i in chosen]
        _, codes = np.unique(np.array(keys), return_inverse=True)
        same = codes[:, None] == codes[None, :]
        if picked and self.texts is not None:
            owned = [set(self.texts.numbers[index]) for index in chosen]
            same |= np.array([[number in texts for texts in owned] for number in picked])
        return torch.from_numpy(same)


def sounding(
    frames_TC: np.ndarray[Any, Any], augment: AugmentSettings, draws_5: np.ndarray[Any, Any], *, banded: bool
) -> np.ndarray[Any, Any]:
    """A recording [T, mels] moved by some bands (edges repeated), a stretch of its time and one of its bands as silent
    as its least loud place (Park et al. 2019, SpecAugment), as five numbers from 0 to 1 say. One that is not `banded`
    holds samples: only of its time something is silenced."""
    varied = frames_TC.copy()
    if banded:
        size = varied.shape[1]
        move = int(draws_5[0] * (2 * augment.bands + 1)) - augment.bands
        varied = varied[:, np.clip(np.arange(size) + move, 0, size - 1)]
    silence = frames_TC.min() if banded else 0
    for axis, (long, place) in enumerate(draws_5[1:].reshape(2, 2)[: 1 + banded]):
        steps = varied.shape[axis]
        count = int(long * augment.mute * steps)
        start = int(place * (steps - count + 1))
        varied.swapaxes(0, axis)[start : start + count] = silence
    return varied


def gathered(name: str, arrays: Sequence[np.ndarray[Any, Any]]) -> tuple[Tensor, Tensor]:
    """The prepared arrays of one modality as a batch [B, ...] and its mask: [B, T] where they differ in length, else
    presence [B]."""
    if MODALITIES[name].varies:
        return padded(arrays)
    return torch.from_numpy(np.stack(arrays)), torch.ones(len(arrays), dtype=torch.bool)


def padded(recordings: Sequence[np.ndarray[Any, Any]]) -> tuple[Tensor, Tensor]:
    """Recordings [T, mels] of any lengths as [B, T, mels], silence after the shorter ones, and their mask [B, T]."""
    lengths = np.array([len(one) for one in recordings])
    values = np.zeros((len(recordings), lengths.max(), *recordings[0].shape[1:]), recordings[0].dtype)
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
