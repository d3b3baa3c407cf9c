"""Splitting text of any script into words, for what counts words rather than reads them."""

import re

# Kana and Chinese characters, which are written without spaces between words.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")


def split_words(text: str) -> list[str]:
    """The text's words in lower case: runs of letters and digits; a Chinese or Japanese character is a word."""
    return _WORD.findall(text.lower())
