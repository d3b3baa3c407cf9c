"""How written texts are judged. A file of its own: BLEU and ROUGE bring in libraries that no training waits for."""

from functools import partial

from mmcore.metrics import Score
from mmcore.metrics.bleu import corpus_bleu
from mmcore.metrics.rouge import rouge
from mmcore.metrics.shuffled import against_shuffled
from mmcore.settings import EvaluateSettings
from mmcore.tasks import Predictions


def score_texts(predictions: Predictions, *, settings: EvaluateSettings, seed: int) -> dict[str, Score]:
    """BLEU-1 to 4 and ROUGE-1, 2 and L, each beside its mean under shuffled references."""
    texts = predictions.table["prediction"].to_pylist()
    references = predictions.table["references"].to_pylist()
    bleu = partial(corpus_bleu, tokenize=settings.bleu_tokenize, lowercase=settings.bleu_lowercase)
    by_words = partial(rouge, tokenize=settings.rouge_tokenize)
    scores: dict[str, Score] = {}
    for metric in (bleu, by_words):
        scores |= against_shuffled(metric, texts, references, count=settings.derangements, seed=seed)
    return scores
