"""Text of any script as words, and the language that its script points to."""

import re
import unicodedata
from collections.abc import Iterable

import regex

from mmcore.metrics.languages import UNKNOWN, primary

# Scripts without blanks between words; the prolonged sound mark belongs to several scripts, here to the kana.
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\u30fc\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
# Marks (vowel signs, points, accents) and joiners belong to the letter before them.
_WORD = regex.compile(rf"(?:[[\p{{L}}\p{{N}}]--{_UNSPACED}][\p{{M}}\u200c\u200d]*)+|{_UNSPACED}\p{{M}}*", regex.V1)
_ASCII_WORD = re.compile("[a-z0-9]+")

_BY_SCRIPT = (
    ("ja", regex.compile(r"[\p{Hiragana}\p{Katakana}]")),
    ("ko", regex.compile(r"\p{Hangul}")),
    ("zh", regex.compile(r"\p{Han}")),
    ("th", regex.compile(r"\p{Thai}")),
    ("lo", regex.compile(r"\p{Lao}")),
    ("km", regex.compile(r"\p{Khmer}")),
    ("my", regex.compile(r"\p{Myanmar}")),
)


def split_words(text: str) -> list[str]:
    """The text's words in lower case and composed form (NFC): runs of letters and digits with their marks.

    In scripts that put no blanks between words (Chinese, Japanese, Thai ...) a letter with its marks is a word.
    """
    if text.isascii():  # the same, ten times as fast
        return _ASCII_WORD.findall(text.lower())
    words: list[str] = _WORD.findall(unicodedata.normalize("NFC", text.lower()))
    return words


def languages_of(texts: Iterable[str], tags: Iterable[str | None]) -> set[str]:
    """The languages of texts by their tags; of one without a tag by its script, where that decides how it is split."""
    found = set()
    for text, tag in zip(texts, tags, strict=True):
        language = primary(tag)
        if language == UNKNOWN:
            language = next((name for name, script in _BY_SCRIPT if script.search(text)), UNKNOWN)
        found.add(language)
    return found
