"""What is measured of the texts of many samples at once: how long, in which script, and how many say nothing.

A count such as `num_placeholder_texts` is the number of a sample's texts that have the property; names of files, blank
texts and the like are looked for only where a person describes something, not in answers.
"""

import json
import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from ftfy.badness import is_bad
from numpy.typing import NDArray

from mmcore.data.store import Row
from mmcore.metrics.languages import primary
from mmcore.quality.probes import emptiness, languages
from mmcore.quality.probes.numbers import rounded
from mmcore.quality.probes.scripts import (
    CONTROL,
    FOREIGN,
    LETTER,
    PRIVATE,
    REPLACED,
    SCRIPTS,
    SCRIPTS_OF,
    SPACE,
    UNSPACED,
    kinds,
    scripts,
)

# One text of each of these kinds speaks for a sample where samples are compared.
KINDS = ("caption", "transcript", "summary", "speech_text", "question")
_DESCRIBING = ("caption", "summary", "question")
# More of a text is not looked at; `longest_text` counts all of it.
LOOKED_AT = 20_000
LETTERS_IN_A_ROW = 8
_FEW_LETTERS = 3
_MANY_LETTERS = 8
_MOST = 0.7
_MARKUP = re.compile(
    r"</?[a-zA-Z][a-zA-Z0-9]*(?:\s[^<>]*)?/?>|<!--|<!\[CDATA\[|<\|[a-z_]+\|>|\[/?(?:b|i|u|url|img|quote|code)(?:=[^\]]*)?\]"
    r"|!?\[[^\]]*\]\(|\[(?:UNK|PAD|CLS|SEP|MASK|BOS|EOS|INST)\]|\{\{.*?\}\}|\{%|\$\{|\{[a-z_]+\}|^\s*[\[{][\s\"'\[{]"
    r"|(?<!\\)\\(?:u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|n|[tr](?![a-z]))|(?:%[0-9A-F]{2}){3}|```|<\?(?:php|xml)"
    r"|(?:^|\s)(?:#{1,6}|\*\*|__)\S.*(?:\*\*|__|$)(?<=[*_#])|\\(?:begin|textbf|frac)\{"
)
_ENTITY = re.compile(r"&(?:[a-zA-Z]{2,8}|#\d{1,7}|#x[0-9a-fA-F]{1,6});")
_SIGNS_OF_MARKUP = re.compile(r"[<\[{\\%`$*_&]")
# What is left of Chinese that was read in the wrong encoding, of characters lost on the way, of memory never written. A
# question may stand next to a sentence without a blank: only a mark between small Latin letters stands for a letter.
_LOST = re.compile(r"锟斤拷|烫烫烫|屯屯屯|[a-zà-öø-ÿ]\?+[a-zà-öø-ÿ]|\?{4}")
# A language as BCP 47 writes it: zh, pt-BR, zh-Hant.
_LANGUAGE_TAG = re.compile(r"[a-z]{2,3}(?:[-_][a-z0-9]{2,8})*", re.IGNORECASE)
_SIGNS_OF_LOSS = re.compile("[?锟烫屯]")
COUNTS = (
    "blank", "placeholder", "broken", "control", "private", "markup", "entity", "repeated", "wrong_script",
    "wrong_language", "untagged", "unnormalised",
)  # fmt: skip


_Numbers = dict[str, list[int]]
_NAMES = {kind: tuple(f"{kind}_{key}" for key in ("characters", "words", "non_ascii")) for kind in KINDS}


# The whole numbers that `measure` gives for every row.
COUNTED = ("num_captions", "num_blank_captions", "longest_text", *(f"num_{name}_texts" for name in COUNTS))
_NOTHING_COUNTED: dict[str, Any] = dict.fromkeys(COUNTED, 0)


class _Text(NamedTuple):
    sample: int
    kind: str
    text: str
    lang: str | None = None


def described() -> list[str]:
    """The names of the numbers by which samples are compared."""
    return [name for names in _NAMES.values() for name in names]


def texts_of(row: Row) -> dict[str, str]:
    """One text of each kind that the sample has: its first caption, its first question, and so on."""
    first = {
        "caption": row["captions"][0]["text"] if row["captions"] else None,
        "question": row["qa"][0]["question"] if row["qa"] else None,
    }
    texts = {name: first[name] if name in first else row[name] for name in KINDS}
    return {name: text for name, text in texts.items() if text is not None}


def looked_at(row: Row) -> list[str]:
    """Every text of a row, as far as it is looked at."""
    return [text.text[:LOOKED_AT] for text in _texts(0, row)]


def measure(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Facts about the texts of each row: `COUNTED`, `has_text`, and the numbers of `described`."""
    texts = [text for sample, row in enumerate(rows) for text in _texts(sample, row)]
    numbers = {name: values.tolist() for name, values in _numbers([text.text[:LOOKED_AT] for text in texts]).items()}
    facts: list[dict[str, Any]] = [_empty_facts(row) for row in rows]
    spoken_for: set[tuple[int, str]] = set()
    joined: dict[tuple[int, str | None], list[str]] = {}
    for place, text in enumerate(texts):
        own, row = facts[text.sample], rows[text.sample]
        visible = numbers["visible"][place] > 0
        own["has_text"] |= visible
        own["longest_text"] = max(own["longest_text"], len(text.text))
        own["num_blank_captions"] += not visible and text.kind == "caption"
        if text.kind in KINDS and (text.sample, text.kind) not in spoken_for:
            spoken_for.add((text.sample, text.kind))
            own |= _described(text, numbers, place)
        if not visible:
            own["num_blank_texts"] += text.kind != "caption"
            continue
        for name in _found(text, row, numbers, place):
            own[f"num_{name}_texts"] += 1
        if text.kind == "caption" and numbers["in_latin"][place]:
            joined.setdefault((text.sample, text.lang), []).append(text.text[:LOOKED_AT])
    for (sample, lang), captions in joined.items():
        facts[sample]["num_wrong_language_texts"] += len(captions) * languages.is_doubtful(" ".join(captions), lang)
    return facts


def _empty_facts(row: Row) -> dict[str, Any]:
    unanswered = 0
    for pair in row["qa"]:
        # A question without an answer teaches nothing.
        unanswered += not any(answer and answer.strip() for answer in pair["answers"] or ())
    return _NOTHING_COUNTED | {"has_text": False, "num_captions": len(row["captions"]), "num_blank_texts": unanswered}


def _texts(sample: int, row: Row) -> list[_Text]:
    found = [_Text(sample, "caption", one["text"] or "", one["lang"]) for one in row["captions"]]
    for pair in row["qa"]:
        found.append(_Text(sample, "question", pair["question"] or ""))
        found += [_Text(sample, "answer", answer) for answer in pair["answers"] or () if answer and answer.strip()]
    found += [_Text(sample, name, row[name]) for name in KINDS[1:4] if row[name] is not None]
    return found


# Characters, counted over all texts at once ---------------------------------------------------------------------------


def _numbers(texts: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """For each text, how many characters of each kind it has; `script`: which script most of its letters are in."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    lengths = np.array([len(text) for text in texts], np.int64)
    owner = np.repeat(np.arange(len(texts)), lengths)
    kind = kinds()[codes]

    def count(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(owner[mask], minlength=len(texts))

    seen = (kind & SPACE) == 0
    starts = np.array([0, *accumulate(lengths.tolist())], np.int64)[:-1]
    first = np.zeros(len(codes), bool)
    first[starts[lengths > 0]] = True
    after_blank = np.ones(len(codes), bool)
    after_blank[1:] = ~seen[:-1]
    letters = (kind & LETTER) != 0
    script = scripts()[codes]
    by_script = np.bincount(owner * len(SCRIPTS) + script, letters, len(texts) * len(SCRIPTS))
    by_script = by_script.reshape(len(texts), len(SCRIPTS)).astype(np.int64)
    return {
        "characters": lengths,
        "words": count(seen & (after_blank | first)),
        "foreign": count((kind & FOREIGN) != 0),
        "visible": count(seen),
        "letters": count(letters),
        "control": count((kind & CONTROL) != 0),
        "replaced": count((kind & REPLACED) != 0),
        "private": count((kind & PRIVATE) != 0),
        "suspicious": count(((codes >= 0x80) & (codes < 0x2000)) | ((codes >= 0x2500) & (codes < 0x25A0))),
        "unspaced": by_script[:, [SCRIPTS.index(name) for name in UNSPACED]].sum(axis=1),
        "run": _longest_runs(codes, letters, first, owner, len(texts)),
    } | {f"in_{name}": by_script[:, place] for place, name in enumerate(SCRIPTS) if name}


def _longest_runs(
    codes: NDArray[np.uint32], letters: NDArray[np.bool_], first: NDArray[np.bool_], owner: NDArray[np.int64], size: int
) -> NDArray[np.int64]:
    """The longest run of one letter in each text."""
    longest = np.zeros(size, np.int64)
    if len(codes):
        begins = np.flatnonzero(first | np.concatenate(([True], codes[1:] != codes[:-1])))
        runs = np.diff(np.append(begins, len(codes)))
        held = letters[begins]
        np.maximum.at(longest, owner[begins[held]], runs[held])
    return longest


def _described(text: _Text, numbers: _Numbers, place: int) -> dict[str, float]:
    foreign = numbers["foreign"][place]
    names = _NAMES[text.kind]
    return {
        names[0]: float(len(text.text)),
        names[1]: float(numbers["words"][place]),
        names[2]: rounded(foreign / numbers["characters"][place]) if foreign else 0.0,
    }


# What is wrong with one text ------------------------------------------------------------------------------------------


def _found(text: _Text, row: Row, numbers: _Numbers, place: int) -> list[str]:
    """The names in `COUNTS` that fit a text that is not blank."""
    looked_at = text.text[:LOOKED_AT]
    found = [name for name in ("control", "private") if numbers[name][place]]
    if _is_broken(looked_at, numbers, place):
        found.append("broken")
    if _SIGNS_OF_MARKUP.search(looked_at):
        if _MARKUP.search(looked_at) and not (text.kind == "answer" and looked_at[0] in "[{"):
            found.append("markup")
        elif _ENTITY.search(looked_at):
            found.append("entity")
    if not looked_at.isascii() and not unicodedata.is_normalized("NFC", looked_at):
        found.append("unnormalised")
    if text.kind != "answer":
        describes = text.kind in _DESCRIBING
        if emptiness.says_nothing(looked_at, row["id"], describes=describes, letters=numbers["letters"][place]):
            found.append("placeholder")
        if numbers["run"][place] >= LETTERS_IN_A_ROW or emptiness.repeats_itself(
            looked_at, unspaced=numbers["unspaced"][place] > 0
        ):
            found.append("repeated")
    if text.lang and not _LANGUAGE_TAG.fullmatch(text.lang):
        found.append("untagged")
    elif text.lang and _is_wrong_script(text.lang, numbers, place):
        found.append("wrong_script")
    return found


def _is_broken(text: str, numbers: _Numbers, place: int) -> bool:
    """Whether its characters went through a wrong encoding or were lost."""
    if numbers["replaced"][place] or (_SIGNS_OF_LOSS.search(text) and _LOST.search(text)):
        return True
    return bool(numbers["suspicious"][place] and is_bad(text)) or (
        numbers["in_han"][place] >= _MANY_LETTERS and _was_gbk(text)
    )


def _was_gbk(text: str) -> bool:
    """Whether Chinese is UTF-8 that was read as GBK: hardly any other is mostly UTF-8 again when written as GBK."""
    before = text.encode("gbk", "ignore")
    # Characters of three bytes: those of two come out of sound Chinese, too.
    again = sum(character >= "\u0800" for character in before.decode("utf-8", "ignore"))
    return 3 * again > _MOST * sum(byte >= 0x80 for byte in before)


def _is_wrong_script(lang: str, numbers: _Numbers, place: int) -> bool:
    """Whether none of the letters is in a script that the language is written in. Names in Latin letters, and a few
    letters of any kind, stand in every language."""
    for name in _expected_scripts(lang):
        if numbers[name][place]:
            return False
    few = _MANY_LETTERS if numbers["in_latin"][place] else _FEW_LETTERS
    return numbers["letters"][place] >= few


@cache
def _expected_scripts(lang: str) -> tuple[str, ...]:
    """The numbers that count the letters in a language's scripts; in all scripts where nothing is known of it."""
    expected = SCRIPTS_OF.get(primary(lang), SCRIPTS[1:])
    return tuple(f"in_{name}" for name in expected)


def meta_of(row: Row) -> dict[str, Any] | None:
    """The object in the column `meta`; None if that is no JSON object."""
    if row["meta"] in ("{}", "", None):
        return {}
    try:
        content = json.loads(row["meta"])
    except (ValueError, RecursionError):  # the second of lists in lists in lists
        return None
    return content if isinstance(content, dict) else None
