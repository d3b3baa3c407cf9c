"""ROUGE-1, ROUGE-2 and ROUGE-L as rouge-score computes them (Lin 2004)."""

import functools
from collections.abc import Callable, Iterable
from importlib.metadata import version

from rouge_score import rouge_scorer, tokenize

from mmcore.metrics import Measured, check_pairs
from mmcore.metrics.words import split_words

NAMES = ("rouge1", "rouge2", "rougeL")


def _words(text: str) -> list[str]:
    tokens: list[str] = tokenize.tokenize(text, None)
    return tokens


TOKENIZERS: dict[str, Callable[[str], list[str]]] = {"words": _words, "characters": split_words}


def tokenizer_for(texts: Iterable[str], languages: set[str]) -> str:
    """`words`, rouge-score's own, where every text is English or plain ASCII, else `characters`.

    On plain ASCII text both make the same words.
    """
    plain = languages == {"en"} or all(text.isascii() for text in texts)
    return "words" if plain else "characters"


class _Tokenizer:
    """Remembers what it has split: references meet many predictions, once for each derangement."""

    def __init__(self, split: Callable[[str], list[str]]) -> None:
        self.tokenize = functools.lru_cache(maxsize=2**16)(split)


@functools.cache
def _tokenizer(name: str) -> _Tokenizer:
    return _Tokenizer(TOKENIZERS[name])


def rouge(predictions: list[str], references: list[list[str]], *, tokenize: str) -> Measured:
    """Mean F1 of ROUGE-1, ROUGE-2 and ROUGE-L over the predictions, 0 to 100, no stemming.

    Each number takes, sample by sample, the best of the sample's references. `tokenize`: `words` is rouge-score's
    own (lower-cased runs of a-z and 0-9); `characters` keeps every letter of every script and makes each Chinese,
    Japanese or Thai character a token. An empty prediction scores 0. Raises ValueError where not one reference has a
    token, which is what `words` makes of Chinese.
    """
    check_pairs(predictions, references)
    if tokenize not in TOKENIZERS:
        raise ValueError(f"there is no ROUGE tokenizer '{tokenize}'; choose one of: {', '.join(TOKENIZERS)}")
    tokenizer = _tokenizer(tokenize)
    if not any(tokenizer.tokenize(text) for texts in references for text in texts):
        raise ValueError(
            f"the ROUGE tokenizer '{tokenize}' finds no word in any reference; set evaluate.rouge_tokenize: characters"
        )
    scorer = rouge_scorer.RougeScorer(list(NAMES), tokenizer=tokenizer)
    totals = dict.fromkeys(NAMES, 0.0)
    for prediction, texts in zip(predictions, references, strict=True):
        best = scorer.score_multi(texts, prediction)
        for name in NAMES:
            totals[name] += best[name].fmeasure
    values = {name: 100.0 * total / len(predictions) for name, total in totals.items()}
    return Measured(values, f"rouge-score|f1|refs:best|tok:{tokenize}|version:{version('rouge-score')}")
