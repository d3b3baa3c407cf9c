"""Corpus BLEU-1 to BLEU-4 as sacrebleu computes it (Papineni et al. 2002; Post 2018)."""

from sacrebleu.metrics.bleu import BLEU, MAX_NGRAM_ORDER

from mmcore.metrics import Measured, check_pairs
from mmcore.metrics.languages import CHINESE, UNSPACED

TOKENIZERS = ("13a", "intl", "zh", "char", "none")


def tokenizer_for(languages: set[str]) -> str:
    """sacrebleu's tokenizer for references in these languages.

    `13a`, sacrebleu's own choice, for languages that put blanks between words; `zh`, which makes every Chinese
    character a token and treats the rest as words, for Chinese, also beside such a language; `char` as soon as one is
    Japanese, Korean, Thai ..., for which sacrebleu needs a dictionary or has no tokenizer.
    """
    unspaced = languages & UNSPACED
    return "13a" if not unspaced else "zh" if unspaced <= CHINESE else "char"


def corpus_bleu(predictions: list[str], references: list[list[str]], *, tokenize: str, lowercase: bool) -> Measured:
    """`bleu1` to `bleu4` of all predictions together, 0 to 100, with sacrebleu's signature.

    `references[i]` are the texts that prediction `i` may match, as many as there are; an empty prediction counts
    as one without words. `tokenize` is sacrebleu's name: 13a, intl, zh (Chinese), char or none. BLEU-n is
    sacrebleu's score with `max_ngram_order=n`, exponential smoothing, no effective order.
    """
    check_pairs(predictions, references)
    if tokenize not in TOKENIZERS:
        raise ValueError(f"there is no BLEU tokenizer '{tokenize}'; choose one of: {', '.join(TOKENIZERS)}")
    # `force` only silences advice about text that looks tokenized already: generated captions end in " .".
    bleu = BLEU(tokenize=tokenize, lowercase=lowercase, force=True)
    width = max(len(texts) for texts in references)
    # sacrebleu wants one stream per reference; None marks the gaps of samples that have fewer.
    streams = [[texts[k] if k < len(texts) else None for texts in references] for k in range(width)]
    whole = bleu.corpus_score(predictions, streams)  # type: ignore[arg-type]
    values = {}
    for order in range(1, MAX_NGRAM_ORDER + 1):
        # The counts of the shorter n-grams are all that a lower order needs.
        values[f"bleu{order}"] = BLEU.compute_bleu(
            whole.counts[:order], whole.totals[:order], whole.sys_len, whole.ref_len,
            smooth_method=bleu.smooth_method, max_ngram_order=order,
        ).score  # fmt: skip
    return Measured(values, f"sacrebleu|{bleu.get_signature()}")
