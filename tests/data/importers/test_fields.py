import json

import pytest

from mmcore.data.importers import ImportOptions
from mmcore.data.importers._fields import Fields


def columns(values: dict[str, object], **options: object) -> dict[str, object]:
    return Fields(ImportOptions(**options)).columns(values)


def test_usual_names_become_columns_and_the_rest_is_kept_in_meta() -> None:
    found = columns({"file_name": "a.png", "id": 7, "text": "a dog", "label": 3, "duration": 1.5, "note": None})
    assert found.pop("meta") == json.dumps({"file_name": "a.png", "duration": 1.5})
    assert found == {"id": "7", "captions": [{"text": "a dog", "lang": None}], "labels": {"label": "3"}, "qa": []}


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ({"captions": ["one", "two"]}, ["one", "two"]),
        ({"captions": "one"}, ["one"]),
        ({"caption": "one"}, ["one"]),
        ({"captions": ["one"], "caption": "other"}, ["one"]),
        ({"captions": [{"text": "one", "lang": "de"}]}, ["one"]),
        ({"captions": ["one", None, ""]}, ["one", ""]),
        ({"captions": None}, []),
    ],
)
def test_captions_are_one_or_many(values: dict[str, object], texts: list[str]) -> None:
    assert [caption["text"] for caption in columns(values)["captions"]] == texts


def test_a_language_is_that_of_all_or_of_a_field() -> None:
    values = {"captions_zh": ["狗"], "language": "zh-TW"}
    one = columns(values, map={"captions": "captions_zh"}, lang="zh")["captions"]
    assert one == [{"text": "狗", "lang": "zh"}]
    other = columns(values, map={"captions": "captions_zh"}, lang_field="language")["captions"]
    assert other == [{"text": "狗", "lang": "zh-TW"}]


def test_several_fields_fill_one_column_each_with_its_own_language() -> None:
    values = {"captions": ["a dog", "dog"], "captions_zh": ["狗"], "name": "Hund"}
    chosen = {"captions": ["captions", "captions_zh", "name"]}
    found = columns(values, map=chosen, lang={"captions": "en", "captions_zh": "zh-TW"})["captions"]
    assert [(one["text"], one["lang"]) for one in found] == [
        ("a dog", "en"), ("dog", "en"), ("狗", "zh-TW"), ("Hund", None)
    ]  # fmt: skip
    assert columns({"a": "1", "b": 2}, map={"labels": ["a", "b"]})["labels"] == {"a": "1", "b": "2"}
    with pytest.raises(ValueError, match=r"names 2 fields for the column 'summary' \(a, b\), which takes one"):
        columns(values, map={"summary": ["a", "b"]})


def test_the_name_of_a_field_tells_its_language_unless_another_is_stated() -> None:
    assert columns({"name_ja": "麻雀"}, map={"captions": "name_ja"})["captions"][0]["lang"] == "ja"
    assert columns({"name_ja": "麻雀"}, map={"captions": "name_ja"}, lang="zh")["captions"][0]["lang"] == "zh"
    with pytest.raises(ValueError, match="--lang Chinese: write a language as its code"):
        columns({}, lang="Chinese")


def test_one_field_can_serve_two_columns_and_a_chosen_one_no_other() -> None:
    found = columns({"text": "zero", "who": "jo"}, map={"speech_text": "text", "labels": "who"}, group="who")
    assert (found["speech_text"], found["captions"], found["group"]) == ("zero", [], "jo")
    assert found["labels"] == {"who": "jo"}
    assert found["meta"] == "{}"


def test_meta_keeps_the_names_of_media_and_no_media() -> None:
    values = {
        "file_name": "a/b.png", "audio_file_name": "b.wav", "mask": {"bytes": b"x", "path": None}, "raw": b"y",
        "box": [0.5, float("nan")],
    }  # fmt: skip
    assert json.loads(str(columns(values)["meta"])) == {
        "file_name": "a/b.png", "audio_file_name": "b.wav", "box": [0.5, None]
    }  # fmt: skip


def test_a_table_of_lists_is_a_list_of_tables() -> None:
    found = columns({"qa": {"question": ["q", "r"], "answers": [["a"], ["b", "c"]]}})
    assert found["qa"] == [{"question": "q", "answers": ["a"]}, {"question": "r", "answers": ["b", "c"]}]
    assert columns({"qa": [{"question": "q", "answer": "a"}]})["qa"] == [{"question": "q", "answers": ["a"]}]


def test_group_and_positives_come_from_the_fields_named() -> None:
    found = columns({"patient": "p1", "product": 12}, group="patient", positives="product")
    assert (found["group"], found["positives"]) == ("p1", "12")


def test_questions_come_as_a_list_or_one_by_one() -> None:
    pair = {"question": "what?", "answers": ["this"]}
    assert columns({"qa": [pair]})["qa"] == [pair]
    assert columns({"question": "what?", "answer": "this"})["qa"] == [pair]
    assert columns({"question": "what?", "answers": ["this"]})["qa"] == [pair]


def test_labels_are_named_by_their_field_or_given_as_a_table() -> None:
    assert columns({"breed": "pug"}, map={"labels": "breed"})["labels"] == {"breed": "pug"}
    assert columns({"labels": {"breed": "pug", "age": 3, "sex": None}})["labels"] == {"breed": "pug", "age": "3"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"captions": [1]}, "'captions' holds int where text is needed"),
        ({"captions": {"a": 1}}, "'captions' is no list"),
        ({"caption": "\ud800"}, "broken characters"),
        ({"summary": ["a"]}, "'summary' holds list"),
        ({"labels": {"a": [1]}}, "label 'a' is neither text nor a number"),
        ({"qa": ["what?"]}, "qa must be a list of"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        columns(values)


def test_what_our_export_keeps_in_a_field_meta_is_meta_again() -> None:
    assert columns({"meta": '{"take": 3}', "note": "x"})["meta"] == json.dumps({"note": "x", "take": 3})
    assert columns({"meta": "{no JSON"})["meta"] == json.dumps({"meta": "{no JSON"})


def test_an_unknown_column_or_field_is_named() -> None:
    with pytest.raises(ValueError, match="no column 'caption'; there are: id, captions"):
        Fields(ImportOptions(map={"caption": "text"}))
    fields = Fields(ImportOptions(group="patient"))
    fields.columns({"file_name": "a.png", "person": "p1"})
    with pytest.raises(ValueError, match="no line has a field 'patient'; there are: file_name, person"):
        fields.check_all_seen()


def test_the_column_of_every_field_can_be_told() -> None:
    fields = Fields(ImportOptions(map={"captions": "text_zh"}, positives="product"))
    told = {name: fields.column(name) for name in ("file_name", "text_zh", "text", "product", "question", "colour")}
    assert told == {
        "file_name": "image", "text_zh": "captions", "text": "meta", "product": "positives", "question": "qa",
        "colour": "meta",
    }  # fmt: skip
