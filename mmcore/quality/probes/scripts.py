"""Which script each language is written in, and what kind of character each code point is, as tables to count with."""

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

# Kinds of characters, one bit each.
LETTER, SPACE, CONTROL, REPLACED, PRIVATE, FOREIGN = (1 << bit for bit in range(6))
_TOP = 0x110000
# No script in daily use has letters above the third plane.
_NAMED = 0x32000
# Blank to the eye although Unicode calls them letters, marks or symbols.
_UNSEEN = (0x00AD, 0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0)
# Written right to left whatever the letters are: used to disguise.
_OVERRIDES = (0x202D, 0x202E)

SCRIPTS = (
    "", "latin", "han", "kana", "hangul", "cyrillic", "greek", "arabic", "hebrew", "devanagari", "bengali", "tamil",
    "telugu", "thai", "georgian", "armenian", "ethiopic", "khmer", "myanmar", "gurmukhi", "gujarati", "kannada",
    "malayalam", "sinhala", "lao",
)  # fmt: skip
_BLOCKS = (
    (0x41, 0x5B, "latin"), (0x61, 0x7B, "latin"), (0xC0, 0x250, "latin"), (0x1E00, 0x1F00, "latin"),
    (0x2E80, 0x2FE0, "han"), (0x3005, 0x3008, "han"), (0x3400, 0x4DC0, "han"), (0x4E00, 0xA000, "han"),
    (0xF900, 0xFB00, "han"), (0x20000, 0x32000, "han"), (0x3041, 0x3100, "kana"), (0x31F0, 0x3200, "kana"),
    (0xFF66, 0xFFA0, "kana"), (0x1100, 0x1200, "hangul"), (0x3130, 0x3190, "hangul"), (0xAC00, 0xD7B0, "hangul"),
    (0x0400, 0x0530, "cyrillic"), (0x0370, 0x0400, "greek"), (0x1F00, 0x2000, "greek"), (0x0600, 0x0700, "arabic"),
    (0x0750, 0x0780, "arabic"), (0x08A0, 0x0900, "arabic"), (0xFB50, 0xFE00, "arabic"), (0xFE70, 0xFEFF, "arabic"),
    (0x0590, 0x0600, "hebrew"), (0xFB1D, 0xFB50, "hebrew"), (0x0900, 0x0980, "devanagari"), (0x0980, 0x0A00, "bengali"),
    (0x0A00, 0x0A80, "gurmukhi"), (0x0A80, 0x0B00, "gujarati"), (0x0B80, 0x0C00, "tamil"), (0x0C00, 0x0C80, "telugu"),
    (0x0C80, 0x0D00, "kannada"), (0x0D00, 0x0D80, "malayalam"), (0x0D80, 0x0E00, "sinhala"), (0x0E00, 0x0E80, "thai"),
    (0x0E80, 0x0F00, "lao"), (0x1000, 0x10A0, "myanmar"), (0x10A0, 0x1100, "georgian"), (0x0530, 0x0590, "armenian"),
    (0x1200, 0x13A0, "ethiopic"), (0x1780, 0x1800, "khmer"),
)  # fmt: skip
_WRITTEN_IN = {
    "latin": "af az bs ca cs cy da de en es et eu fi fr ga gl hr hu id is it lt lv ms mt nb nl nn no pl pt ro sk sl sq "
             "sv sw tl tr vi",
    "han": "zh yue wuu", "kana han": "ja", "hangul han": "ko", "cyrillic": "ru uk bg be mk kk ky mn tg",
    "cyrillic latin": "sr uz", "greek": "el", "arabic": "ar fa ur ps ug", "hebrew": "he yi",
    "devanagari": "hi mr ne", "bengali": "bn as", "tamil": "ta", "telugu": "te", "thai": "th", "georgian": "ka",
    "armenian": "hy", "ethiopic": "am ti", "khmer": "km", "myanmar": "my", "gurmukhi": "pa", "gujarati": "gu",
    "kannada": "kn", "malayalam": "ml", "sinhala": "si", "lao": "lo",
}  # fmt: skip
SCRIPTS_OF: dict[str, frozenset[str]] = {
    language: frozenset(scripts.split()) for scripts, languages in _WRITTEN_IN.items() for language in languages.split()
}
# Written without blanks between words.
UNSPACED = ("han", "kana", "thai", "lao", "khmer", "myanmar")


@cache
def kinds() -> NDArray[np.uint8]:
    """The bits of every code point."""
    table = np.zeros(_TOP, np.uint8)
    for code in range(_NAMED):
        character = chr(code)
        category = unicodedata.category(character)
        if category[0] == "L":
            table[code] = LETTER if code < 128 else LETTER | FOREIGN
        elif category == "Cc" and character not in "\t\n\r":
            table[code] = CONTROL
        elif category[0] == "Z" or category in ("Cc", "Cf"):
            table[code] = SPACE
        elif category == "Co":
            table[code] = PRIVATE
    table[list(_UNSEEN)] = SPACE
    # Variation selectors, and the tags inside flags.
    table[0xFE00:0xFE10] = table[0xE0000:0xE01F0] = SPACE
    table[0xF0000:] = PRIVATE
    table[0xD800:0xE000] = table[list(_OVERRIDES)] = table[0xFDD0:0xFDF0] = CONTROL
    table[0xFFFE::0x10000] = table[0xFFFF::0x10000] = CONTROL
    table[0xFFFD] = REPLACED
    return table


@cache
def scripts() -> NDArray[np.uint8]:
    """The place in `SCRIPTS` of every code point."""
    table = np.zeros(_TOP, np.uint8)
    for start, stop, name in _BLOCKS:
        table[start:stop] = SCRIPTS.index(name)
    return np.where(kinds() & LETTER, table, 0).astype(np.uint8)
