"""How many words or characters of a transcript are wrong."""

import rapidfuzz
from rapidfuzz.distance import Levenshtein

from mmcore.metrics import Measured, check_pairs
from mmcore.metrics.words import split_words


def error_rates(predictions: list[str], references: list[list[str]]) -> Measured:
    """`word_error_rate` and `character_error_rate` of all predictions together, in percent: the fewest substitutions,
    insertions and deletions that make the first reference of each, over the length of the references. Case and
    punctuation do not count; in scripts without blanks a character is a word. Above 100 where more is wrong than was
    said. ValueError if the references hold no word."""
    check_pairs(predictions, references)
    said = [(split_words(text), split_words(own[0])) for text, own in zip(predictions, references, strict=True)]
    words = sum(len(truth) for _, truth in said)
    characters = sum(len(" ".join(truth)) for _, truth in said)
    if not words:
        raise ValueError("the references of the transcripts hold no word")
    wrong_words = sum(Levenshtein.distance(found, truth) for found, truth in said)
    wrong_characters = sum(Levenshtein.distance(" ".join(found), " ".join(truth)) for found, truth in said)
    values = {
        "word_error_rate": 100 * wrong_words / words,
        "character_error_rate": 100 * wrong_characters / characters,
    }
    return Measured(values, f"errors|rapidfuzz:{rapidfuzz.__version__}")
