"""Text: what is measured of it, and the tokenizer, which is trained on the project's own texts, offline."""

import unicodedata
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from mmcore.data.modalities import Limits

PAD, BOS, EOS, MASK, UNK = range(5)
SPECIALS = ("[PAD]", "[BOS]", "[EOS]", "[MASK]", "[UNK]")


class Modality:
    """Written language."""

    def decode(self, data: bytes, limits: Limits) -> str:
        """The text of UTF-8 bytes, in Unicode's composed form; ValueError if they are no UTF-8."""
        try:
            return unicodedata.normalize("NFC", data.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise ValueError(f"the text is not UTF-8: {error.reason} at byte {error.start}") from None

    def describe(self, text: str) -> dict[str, float]:
        """characters, words (runs without blanks), and the share of characters that are letters outside ASCII."""
        foreign = sum(not character.isascii() and character.isalpha() for character in text)
        return {
            "characters": float(len(text)),
            "words": float(len(text.split())),
            "non_ascii": foreign / len(text) if text else 0.0,
        }


def train_tokenizer(texts: Iterable[str], *, vocabulary: int, lowercase: bool) -> Tokenizer:
    """A byte-level BPE of at most `vocabulary` entries: any text round-trips in its composed form, NFC
    (and in lower case, if `lowercase`): what a model writes has the punctuation and widths of the script it learned.

    Ids: [PAD] 0, [BOS] 1, [EOS] 2, [MASK] 3, [UNK] 4. Encoding adds [BOS] and [EOS]; frequent words are one token.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIALS[UNK]))
    steps = [normalizers.NFC()] + ([normalizers.Lowercase()] if lowercase else [])
    tokenizer.normalizer = normalizers.Sequence(steps)
    # A blank in front of every text, so that a word is the same token at the start and inside.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(content=" ", left=1, right=0)])
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, min_frequency=2, special_tokens=list(SPECIALS), show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{SPECIALS[BOS]} $A {SPECIALS[EOS]}",
        special_tokens=[(SPECIALS[BOS], BOS), (SPECIALS[EOS], EOS)],
    )
    return tokenizer
