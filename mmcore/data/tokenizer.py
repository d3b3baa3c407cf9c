"""The tokenizer: trained on the project's own texts, offline, or that of a model whose weights are to be used."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SPECIALS = ("[PAD]", "[BOS]", "[EOS]", "[MASK]", "[UNK]")


class Specials(NamedTuple):
    """The ids of the special tokens of a tokenizer."""

    pad: int
    bos: int
    eos: int
    mask: int
    unk: int


def specials(tokenizer: Tokenizer) -> Specials:
    """Where a tokenizer has `SPECIALS`; LookupError names the first that it lacks."""
    words = tokenizer.get_vocab()
    for name in SPECIALS:
        if name not in words:
            raise LookupError(f"the tokenizer has no token {name}")
    return Specials(*(words[name] for name in SPECIALS))


def train(texts: Iterable[str], *, vocabulary: int, lowercase: bool) -> Tokenizer:
    """A byte-level BPE of at most `vocabulary` entries: any text round-trips in its composed form, NFC
    (and in lower case, if `lowercase`): what a model writes has the punctuation and widths of the script it learned.

    Its first ids are `SPECIALS`. Encoding adds [BOS] and [EOS]; frequent words are one token.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
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
    return framed(tokenizer, begins=True)


def adopt(source: str) -> Tokenizer:
    """The tokenizer of a folder or hub id in the layout of transformers, or of a model of ours.

    Its special tokens get the names in `SPECIALS` and keep their ids; those that it lacks are added behind its words.
    FileNotFoundError if there is none. Imports transformers.
    """
    own = Path(source) / "tokenizer.json"
    try:
        if own.is_file() and set(SPECIALS) <= set((tokenizer := Tokenizer.from_file(str(own))).get_vocab()):
            return tokenizer
        from transformers import AutoTokenizer  # noqa: PLC0415 (six seconds, which few need)

        auto: Any = AutoTokenizer
        found = auto.from_pretrained(source)
        tokenizer = found.backend_tokenizer
    # Which error says that there is none depends on what it takes the files for.
    except Exception as error:
        raise FileNotFoundError(
            f"prepare.tokenizer: no tokenizer can be read from '{source}', neither from a folder nor from the hub: "
            f"{str(error).splitlines()[0]}"
        ) from error
    # BERT calls the tokens around a text [CLS] and [SEP].
    names = {
        "[EOS]": found.eos_token or found.sep_token, "[BOS]": found.bos_token or found.cls_token,
        "[PAD]": found.pad_token, "[MASK]": found.mask_token, "[UNK]": found.unk_token,
    }  # fmt: skip
    before = tokenizer.encode("").tokens[:1]
    begins = before == [names["[BOS]"]] and names["[BOS]"] != names["[EOS]"]
    return framed(_renamed(tokenizer, names), begins=begins)


def framed(tokenizer: Tokenizer, *, begins: bool) -> Tokenizer:
    """`tokenizer`, changed so that it puts [EOS] behind a text and, if the text `begins` with it, [BOS] before."""
    ids = specials(tokenizer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [EOS]" if begins else "$A [EOS]", special_tokens=[("[BOS]", ids.bos), ("[EOS]", ids.eos)]
    )
    return tokenizer


def begins(tokenizer: Tokenizer) -> bool:
    """Whether texts begin with [BOS] for the networks that were trained with this tokenizer, see `framed`."""
    return bool(tokenizer.encode("").ids[:1] == [specials(tokenizer).bos])


def _renamed(tokenizer: Tokenizer, names: dict[str, str | None]) -> Tokenizer:
    """`tokenizer` with each of SPECIALS in the place of the token that `names` gives for it. Where that is none, or has
    got another name already (GPT-2 begins and ends texts with one token), it is added."""
    ours: dict[str, str] = {}
    for name, there in names.items():
        if there is not None:
            ours.setdefault(there, name)
    written: dict[str, Any] = json.loads(tokenizer.to_str())
    for token in written["added_tokens"]:
        token["content"] = ours.get(token["content"], token["content"])
    model = written["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {ours.get(word, word): token for word, token in model["vocab"].items()}
    else:  # SentencePiece's: words with their logarithmic shares, in the order of the ids
        model["vocab"] = [[ours.get(word, word), share] for word, share in model["vocab"]]
    if model.get("unk_token") is not None:
        model["unk_token"] = ours.get(model["unk_token"], model["unk_token"])
    # What else is in there of another program's use: it puts tokens around a text, pads and cuts.
    written |= {"post_processor": None, "padding": None, "truncation": None}
    renamed = Tokenizer.from_str(json.dumps(written))
    renamed.add_special_tokens(list(SPECIALS))
    # CLIP marks the ends of words, and leaves it to its own program to make blanks of the marks.
    if suffix := model.get("end_of_word_suffix"):
        renamed.decoder = decoders.Sequence([renamed.decoder, decoders.Replace(suffix, " ")])
    return renamed
