"""The language of a text where the source states none: from its field's name, or from its script."""

import re

# Of ISO 639-1: the languages that a field's name may end in (`captions_zh`, `name-ar`). Codes that are words of their
# own in field names (`id`, `no`, `is`, `to`, `or`, `as`, `am`, `my`) say nothing and are left out.
_CODES = re.compile(
    "af|ar|az|be|bg|bn|bs|ca|cs|cy|da|de|el|en|eo|es|et|eu|fa|fi|fr|ga|gl|gu|he|hi|hr|hu|hy|it|ja|ka|kk|km|kn|ko|ky|la"
    "|lo|lt|lv|mk|ml|mn|mr|ms|mt|nb|ne|nl|nn|pa|pl|ps|pt|ro|ru|sk|sl|sq|sr|sv|sw|ta|te|th|tl|tr|uk|ur|uz|vi|yo|zh|zu"
)
# Scripts that one language, or one above all, is written in. The order decides: Japanese holds Han characters, too.
_SCRIPTS = (
    ("ja", re.compile("[\u3041-\u30ff\uff66-\uff9d]")),
    ("ko", re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")),
    ("zh", re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")),
    ("he", re.compile("[\u0590-\u05ff\ufb1d-\ufb4f]")),
    ("ar", re.compile("[\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc]")),
    ("hi", re.compile("[\u0900-\u097f]")),
    ("th", re.compile("[\u0e01-\u0e5b]")),
    ("el", re.compile("[\u0370-\u03ff]")),
    ("ru", re.compile("[\u0400-\u04ff]")),
)


def language_of_field(name: str) -> str | None:
    """The ISO 639-1 code that the name of a field ends in, null if it ends in none."""
    stem, _, code = name.replace("-", "_").rpartition("_")
    return code.lower() if stem and _CODES.fullmatch(code.lower()) else None


def language_of_text(text: str) -> str | None:
    """The language that most letters outside ASCII point to by their script, null for Latin and rarer scripts.

    A guess: Cyrillic counts as Russian, Arabic letters as Arabic, Devanagari as Hindi. Japanese is told from Chinese
    by its syllables, so that a text of Han characters alone counts as Chinese.
    """
    if text.isascii():
        return None
    counts = {language: len(script.findall(text)) for language, script in _SCRIPTS}
    counts["ja"] += counts["zh"] if counts["ja"] else 0
    language = max(counts, key=lambda one: counts[one])
    return language if counts[language] else None
