"""What turns texts and media into a model's input: a tokenizer and the prepare settings it was made with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import Tensor

from mmcore.data.tokenizer import SPECIALS, Specials, adopt, framed, specials
from mmcore.settings import PrepareSettings


@dataclass(frozen=True)
class Processor:
    """Tokenizer and prepare settings, saved in the model's folder."""

    tokenizer: Tokenizer
    prepare: PrepareSettings
    specials: Specials = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "specials", specials(self.tokenizer))

    @classmethod
    def load(cls, folder: Path, prepare: PrepareSettings) -> "Processor":
        """The processor with the `tokenizer.json` of `folder`; LookupError if it lacks one of our special tokens."""
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; run the stage prepare first")
        try:
            return cls(Tokenizer.from_file(str(path)), prepare)
        except LookupError as error:
            raise LookupError(f"{path}: {error}") from error

    @classmethod
    def made_up(cls, prepare: PrepareSettings) -> "Processor":
        """The one of `prepare.tokenizer`, else one of `prepare.vocabulary` words (w5, w6 ...): for what has to be built
        before there is a text."""
        if prepare.tokenizer is not None:
            return cls(adopt(prepare.tokenizer), prepare)
        words = [*SPECIALS, *(f"w{number}" for number in range(len(SPECIALS), prepare.vocabulary))]
        tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = WhitespaceSplit()
        return cls(framed(tokenizer, begins=True), prepare)

    @property
    def vocabulary(self) -> int:
        return int(self.tokenizer.get_vocab_size())

    def encode(self, texts: Sequence[str], *, context: int | None = None) -> list[list[int]]:
        """Token ids of each text between [BOS] and [EOS], cut to `context` tokens (default: that of captions)."""
        longest = (context or self.prepare.context) - 2
        found = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [[self.specials.bos, *encoding.ids[:longest], self.specials.eos] for encoding in found]

    def texts(self, texts: Sequence[str], *, context: int | None = None) -> tuple[Tensor, Tensor]:
        """Ids int64 [B, T] and mask [B, T], padded to the longest text."""
        return self.pad(self.encode(texts, context=context))

    def pad(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Rows of ids of any length as ids int64 [B, T] and mask [B, T]; an empty row is masked throughout."""
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        mask_BT = np.arange(max(int(lengths.max(initial=0)), 1))[None, :] < lengths[:, None]
        ids_BT = np.full(mask_BT.shape, self.specials.pad, dtype=np.int64)
        ids_BT[mask_BT] = [token for row in rows for token in row]
        return torch.from_numpy(ids_BT), torch.from_numpy(mask_BT)

    def decode(self, ids_BT: Tensor) -> list[str]:
        """The texts that rows of ids stand for, up to the first [EOS] and without special tokens."""
        rows = []
        for row in ids_BT.tolist():
            end = row.index(self.specials.eos) if self.specials.eos in row else len(row)
            rows.append(row[:end])
        return [str(text).strip() for text in self.tokenizer.decode_batch(rows, skip_special_tokens=True)]
