"""How written texts are judged. A file of its own: BLEU and ROUGE bring in libraries that no training waits for."""

from dataclasses import replace
from functools import partial

from mmcore.metrics import Score, bleu
from mmcore.metrics import rouge as rouges
from mmcore.metrics.languages import primary
from mmcore.metrics.shuffled import against_shuffled
from mmcore.metrics.words import languages_of
from mmcore.settings import EvaluateSettings
from mmcore.tasks import Predictions

AUTO = "auto"


def score_texts(predictions: Predictions, *, settings: EvaluateSettings, seed: int) -> dict[str, Score]:
    """BLEU-1 to 4 and ROUGE-1, 2 and L, each beside its mean under shuffled references.

    Where the references are in several languages, each score has a slice per language: the same predictions against
    the references in that language alone, split as its script asks for. A language of one row has none.
    """
    texts = predictions.table["prediction"].to_pylist()
    references = predictions.table["references"].to_pylist()
    tags = predictions.table["reference_langs"].to_pylist()
    scores = _scores(texts, references, tags, settings=settings, seed=seed)
    languages = sorted({primary(tag) for own in tags for tag in own})
    for language in languages if len(languages) > 1 else ():
        own = [[text for text, tag in zip(*pair, strict=True) if primary(tag) == language]
               for pair in zip(references, tags, strict=True)]  # fmt: skip
        rows = [place for place, found in enumerate(own) if found]
        if len(rows) > 1:
            part = _scores(
                [texts[place] for place in rows], [own[place] for place in rows],
                [[language] * len(own[place]) for place in rows], settings=settings, seed=seed,
            )  # fmt: skip
            scores = {name: replace(one, slices={**one.slices, language: part[name]}) for name, one in scores.items()}
    return scores


def _scores(
    texts: list[str], references: list[list[str]], tags: list[list[str | None]], *, settings: EvaluateSettings,
    seed: int,
) -> dict[str, Score]:  # fmt: skip
    everything = [text for own in references for text in own]
    languages = languages_of(everything, [tag for own in tags for tag in own])
    for_bleu, for_rouge = settings.bleu_tokenize, settings.rouge_tokenize
    if for_bleu == AUTO:
        for_bleu = bleu.tokenizer_for(languages)
    if for_rouge == AUTO:
        for_rouge = rouges.tokenizer_for(everything, languages)
    metrics = (
        partial(bleu.corpus_bleu, tokenize=for_bleu, lowercase=settings.bleu_lowercase),
        partial(rouges.rouge, tokenize=for_rouge),
    )
    scores: dict[str, Score] = {}
    for metric in metrics:
        scores |= against_shuffled(metric, texts, references, count=settings.derangements, seed=seed)
    return scores
