"""Which field of a source becomes which column of the store: the same rules for every format that has fields."""

import json
import math
from typing import Any

from mmcore.data.importers import ImportOptions, Sample
from mmcore.data.store import MEDIA

# Columns and the fields that are taken for them, the first that is there, unless `--map` names another.
USUAL: dict[str, tuple[str, ...]] = {
    "id": ("id",),
    "captions": ("captions", "caption", "text"),
    "transcript": ("transcript",),
    "summary": ("summary",),
    "speech_text": ("speech_text",),
    "labels": ("labels", "label"),
    "qa": ("qa",),
    "group": ("group",),
    "positives": ("positives",),
}
USUAL_MEDIA = {"image": "file_name", "audio": "audio_file_name", "video": "video_file_name"}
_TEXTS = ("id", "transcript", "summary", "speech_text", "group", "positives")


class Fields:
    """The columns of a line's fields; what is no column is kept in `meta`."""

    def __init__(self, options: ImportOptions) -> None:
        chosen = dict(options.map)
        for column in ("group", "positives"):
            if named := getattr(options, column):
                chosen[column] = named
        columns = (*USUAL, *MEDIA)
        for column in chosen:
            if column not in columns:
                raise ValueError(f"--map {column}=...: there is no column '{column}'; there are: {', '.join(columns)}")
        self._lang, self._lang_field = options.lang, options.lang_field
        self._chosen = {column: (named,) for column, named in chosen.items() if column in USUAL}
        self.media = USUAL_MEDIA | {column: named for column, named in chosen.items() if column in MEDIA}
        self._unseen = set(chosen.values()) | ({options.lang_field} if options.lang_field else set())
        self._names: set[str] = set()

    def column(self, name: str) -> str:
        """The column that the field `name` goes to, where no field of higher rank is there."""
        for column, named in self.media.items():
            if name == named:
                return column
        for column in USUAL:
            if name in self._chosen.get(column, USUAL[column]):
                return column
        return {"question": "qa", "answer": "qa", "answers": "qa"}.get(name, "meta")

    def check_all_seen(self) -> None:
        """Raise a ValueError if a field that the options name was in no line."""
        for name in sorted(self._unseen):
            raise ValueError(f"no line has a field '{name}'; there are: {', '.join(sorted(self._names)) or 'none'}")

    def columns(self, values: dict[str, Any]) -> Sample:
        """The columns of one line, without media; ValueError if a value is of the wrong type."""
        self._unseen -= values.keys()
        self._names |= values.keys()
        # Tables write "nothing" as a number that is none.
        rest = {name: value for name, value in values.items() if not isinstance(value, float) or math.isfinite(value)}
        for name in self.media.values():
            rest.pop(name, None)
        found: Sample = {"captions": [], "qa": _questions(rest)}
        lang = rest.get(self._lang_field) if self._lang_field else self._lang
        for column, usual in USUAL.items():
            for name in self._chosen.get(column, usual):
                if rest.get(name) is not None:
                    found[column] = _convert(column, name, rest.pop(name), lang)
                    break
        kept = {name: value for name, value in rest.items() if value is not None}
        found["meta"] = text("meta", json.dumps(kept, ensure_ascii=False, allow_nan=False, default=str))
        return found


def _convert(column: str, name: str, value: Any, lang: str | None) -> Any:
    if column == "captions":
        return _captions(name, value, lang)
    if column == "labels":
        return _labels(name, value)
    if column == "qa":
        return [_question(pair) for pair in _list(name, value)]
    assert column in _TEXTS
    return text(name, str(value) if isinstance(value, int) else value)


def _captions(name: str, value: Any, lang: str | None) -> list[Sample]:
    captions = []
    for one in [value] if isinstance(value, str) else _list(name, value):
        if isinstance(one, dict):
            captions.append({"text": text(name, one.get("text")), "lang": one.get("lang") or lang})
        elif one is not None:
            captions.append({"text": text(name, one), "lang": lang})
    return captions


def _labels(name: str, value: Any) -> dict[str, str]:
    named = value if isinstance(value, dict) else {name: value}
    labels = {}
    for key, one in named.items():
        if isinstance(one, bool | int | float | str):
            labels[text(name, str(key))] = text(name, str(one))
        elif one is not None:
            raise ValueError(f"the label '{key}' is neither text nor a number")
    return labels


def _questions(rest: dict[str, Any]) -> list[Sample]:
    """A line with one question and its answer or answers."""
    if not isinstance(rest.get("question"), str):
        return []
    answers = rest.pop("answers", None) or rest.pop("answer", None) or []
    answers = [answers] if isinstance(answers, str) else answers
    return [_question({"question": rest.pop("question"), "answers": answers})]


def _question(pair: Any) -> Sample:
    if not isinstance(pair, dict):
        raise ValueError("qa must be a list of {question, answers}")
    answers = [text("answers", answer) for answer in _list("answers", pair.get("answers", []))]
    return {"question": text("question", pair.get("question")), "answers": answers}


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"the field '{name}' is no list")
    return value


def text(name: str, value: Any) -> str:
    """The value of a field, which must be text that can be written as UTF-8."""
    if not isinstance(value, str):
        raise ValueError(f"the field '{name}' holds {type(value).__name__} where text is needed")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"the field '{name}' holds broken characters (no UTF-8)") from None
    return value
