"""Which field of a source becomes which column of the store: the same rules for every format that has fields."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from mmcore.data.importers import ImportOptions, Sample
from mmcore.data.importers._languages import language_of_field
from mmcore.data.modalities import MODALITIES, media

# Columns and the fields that are taken for them, the first that is there, unless `--map` names another.
USUAL: dict[str, tuple[str, ...]] = {
    "id": ("id",),
    "captions": ("captions", "caption", "text"),
    "transcript": ("transcript", "transcription"),
    "summary": ("summary",),
    "speech_text": ("speech_text",),
    "labels": ("labels", "label"),
    "qa": ("qa",),
    "group": ("group",),
    "positives": ("positives",),
}
MediaFields = Mapping[str, tuple[str, ...]]
# Columns that several fields can fill together.
_LISTS = ("captions", "labels", "qa")
_TEXTS = ("id", "transcript", "summary", "speech_text", "group", "positives")
_LANGUAGE = re.compile(r"[a-z]{2,3}([-_][A-Za-z0-9]+)*")


def named_media(first: str) -> MediaFields:
    """The fields of media where `file_name` is that of the modality `first`, and `<modality>_file_name` that of any."""
    others = {name: (f"{name}_file_name",) for name in media() if name != first}
    return {first: ("file_name", f"{first}_file_name"), **others}


class Fields:
    """The columns of a line's fields; what is no column is kept in `meta`."""

    def __init__(self, options: ImportOptions, media_fields: MediaFields | None = None) -> None:
        """`media_fields`: null for `named_media("image")`."""
        fields = named_media("image") if media_fields is None else media_fields
        chosen = _chosen(options)
        self._langs = _langs(options)
        self._lang_field = options.lang_field
        self._chosen = {column: named for column, named in chosen.items() if column in USUAL}
        # A field that was chosen for a column is no usual field of another one.
        taken = {name for named in chosen.values() for name in named}
        self._fields = {
            column: self._chosen.get(column) or tuple(name for name in usual if name not in taken)
            for column, usual in USUAL.items()
        }
        # The first medium gives a row its name.
        self.media = {
            column: chosen.get(column, fields.get(column, ())) for column in dict.fromkeys((*fields, *media()))
        }
        names = [name for named in self.media.values() for name in named]
        self._only_media = [name for name in names if names.count(name) == 1]
        self._of_any_kind = {name for name in names if names.count(name) > 1}
        self._unseen = {name for named in chosen.values() for name in named} | {name for name in self._langs if name}
        if options.lang_field:
            self._unseen.add(options.lang_field)
        self._names: set[str] = set()

    def column(self, name: str) -> str:
        """The column that the field `name` goes to, where no field of higher rank is there."""
        for column, named in self.media.items():
            if name in named and name not in self._of_any_kind:
                return column
        for column, named in self._fields.items():
            if name in named:
                return column
        return {"question": "qa", "answer": "qa", "answers": "qa"}.get(name, "meta")

    def check_all_seen(self) -> None:
        """Raise a ValueError if a field that the options name was in no line."""
        for name in sorted(self._unseen):
            raise ValueError(f"no line has a field '{name}'; there are: {', '.join(sorted(self._names)) or 'none'}")

    def media_names(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Media column -> the field that holds it in this line; a path in a field of any kind goes by its suffix."""
        found: dict[str, str] = {}
        for column, named in self.media.items():
            for name in named:
                value = values.get(name)
                if value is None or (name in self._of_any_kind and not _is_called(value, MODALITIES[column].suffixes)):
                    continue
                if name not in found.values():
                    found[column] = name
                    break
        return found

    def columns(self, values: dict[str, Any]) -> Sample:
        """The columns of one line, without media; ValueError if a value is of the wrong type.

        `meta` keeps what is no column, and the names of the media files as `file_name` (the first) and
        `<column>_file_name`.
        """
        self._unseen -= values.keys()
        self._names |= values.keys()
        # Tables write "nothing" as a number that is none.
        rest = {name: value for name, value in values.items() if not isinstance(value, float) or math.isfinite(value)}
        named_files = self.media_names(rest)
        used = {*self._only_media, *named_files.values()}
        found: Sample = {"captions": [], "qa": []}
        stated = rest.get(self._lang_field) if self._lang_field else None
        for column, named in self._fields.items():
            for name in named:
                if rest.get(name) is None:
                    continue
                value = _convert(column, name, rest[name], stated or self._lang(name))
                used.add(name)
                if column not in self._chosen or column not in _LISTS:
                    found[column] = value
                    break
                found[column] = _joined(found.get(column), value)
        if not found["qa"] and isinstance(rest.get("question"), str):
            found["qa"] = [_question(rest)]
            used |= {"question", "answer", "answers"}
        kept = _file_names(named_files, rest) | {
            name: value
            for name, value in rest.items()
            if name not in used and value is not None and not _holds_bytes(value)
        }
        found["meta"] = text("meta", _write(_unnested(kept)))
        return found

    def _lang(self, name: str) -> str | None:
        """A language that is stated for one field goes before that of all, and this before the field's own name."""
        return self._langs.get(name) or self._langs.get("") or language_of_field(name)


def _chosen(options: ImportOptions) -> dict[str, tuple[str, ...]]:
    """Column -> the fields that the options name for it."""
    chosen = {column: (one,) if isinstance(one, str) else tuple(one) for column, one in options.map.items()}
    for column in ("group", "positives"):
        if named := getattr(options, column):
            chosen[column] = (named,)
    columns = (*USUAL, *media())
    for column, named in chosen.items():
        if column not in columns:
            raise ValueError(f"--map {column}=...: there is no column '{column}'; there are: {', '.join(columns)}")
        if len(named) > 1 and column not in _LISTS:
            raise ValueError(
                f"--map names {len(named)} fields for the column '{column}' ({', '.join(named)}), which takes one; "
                f"several fields can fill {', '.join(_LISTS)}"
            )
    return chosen


def _langs(options: ImportOptions) -> dict[str, str]:
    """Field -> language; the language of all fields under an empty name."""
    langs = {"": options.lang} if isinstance(options.lang, str) else dict(options.lang or {})
    for name, lang in langs.items():
        if not _LANGUAGE.fullmatch(lang):
            raise ValueError(
                f"--lang {f'{name}=' if name else ''}{lang}: write a language as its code, such as en or zh"
            )
    return langs


def _file_names(fields: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, Any]:
    """What the media are called, as far as they are files."""
    names: dict[str, Any] = {}
    for column, field in fields.items():
        value = values[field]
        name = value.get("path") if isinstance(value, dict) else value
        if isinstance(name, str):
            names["file_name" if not names else f"{column}_file_name"] = name
    return names


def _is_called(value: Any, suffixes: tuple[str, ...]) -> bool:
    return isinstance(value, str) and value.lower().endswith(suffixes)


# One field -----------------------------------------------------------------------------------------------------------


def _convert(column: str, name: str, value: Any, lang: Any) -> Any:
    if column == "captions":
        return _captions(name, value, lang)
    if column == "labels":
        return _labels(name, value)
    if column == "qa":
        return [_question(pair) for pair in _list(name, value)]
    assert column in _TEXTS
    return text(name, str(value) if isinstance(value, int) else value)


def _joined(before: Any, value: Any) -> Any:
    """What two fields give one column: lists one after the other, tables of labels put together."""
    if not before:
        return value
    return before | value if isinstance(value, dict) else before + value


def _captions(name: str, value: Any, lang: Any) -> list[Sample]:
    captions = []
    for one in [value] if isinstance(value, str) else _list(name, value):
        caption = one if isinstance(one, dict) else {"text": one}
        if one is not None:
            code = caption.get("lang") or lang
            captions.append({"text": text(name, caption.get("text")), "lang": code and text("lang", code)})
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


def _question(pair: Any) -> Sample:
    if not isinstance(pair, dict):
        raise ValueError("qa must be a list of {question, answers}")
    texts = [text("answers", str(one) if isinstance(one, int | float) else one) for one in answers_of(pair)]
    return {"question": text("question", pair.get("question")), "answers": texts}


def answers_of(values: Mapping[str, Any]) -> list[Any]:
    """What a question is answered with: the field `answers`, or `answer` where that is empty; 0 and false are answers,
    too."""
    given: Any = next((values[name] for name in ("answers", "answer") if values.get(name) not in (None, "", [])), [])
    return given if isinstance(given, list) else [given]


def _list(name: str, value: Any) -> list[Any]:
    if isinstance(value, dict) and len({len(one) if isinstance(one, list) else None for one in value.values()}) == 1:
        # Hugging Face stores a list of tables as a table of lists.
        columns = [one for one in value.values() if isinstance(one, list)]
        value = [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)] if columns else value
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


# What is only kept ---------------------------------------------------------------------------------------------------


def _holds_bytes(value: Any) -> bool:
    """Whether a value is, or holds, media that no column takes: `meta` is text."""
    if isinstance(value, dict):
        return any(_holds_bytes(one) for one in value.values())
    if isinstance(value, list):
        return any(_holds_bytes(one) for one in value)
    return isinstance(value, bytes)


def _unnested(kept: dict[str, Any]) -> dict[str, Any]:
    """With what a field `meta` holds as JSON, as our own export writes it, in the place of that field."""
    inner = kept.get("meta")
    if isinstance(inner, str) and inner.startswith("{"):
        try:
            inner = json.loads(inner)
        except (ValueError, RecursionError):
            return kept
    if not isinstance(inner, dict):
        return kept
    return {**{name: value for name, value in kept.items() if name != "meta"}, **inner}


def _write(values: dict[str, Any]) -> str:
    try:
        return _ENCODER.encode(values)
    except ValueError:  # a number in a list or table that is none
        return _ENCODER.encode(_finite(values))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str)
