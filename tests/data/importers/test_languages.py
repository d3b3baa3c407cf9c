import pytest

from mmcore.data.importers._languages import language_of_field, language_of_text


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("a dog", None),
        ("un chien à côté", None),
        ("一只狗", "zh"),
        ("A型血", "zh"),
        ("犬がいる", "ja"),
        ("개 한 마리", "ko"),
        ("собака", "ru"),
        ("كلب", "ar"),
        ("כלב", "he"),
        ("कुत्ता", "hi"),
        ("สุนัข", "th"),
        ("σκύλος", "el"),
        ("a 狗", "zh"),
        ("🐕 ☃", None),
        ("", None),
    ],
)
def test_a_script_tells_a_language_where_it_can(text: str, language: str | None) -> None:
    assert language_of_text(text) == language


@pytest.mark.parametrize(
    ("name", "language"),
    [("captions_zh", "zh"), ("name-AR", "ar"), ("zh", None), ("captions", None), ("text_id", None), ("image_no", None)],
)
def test_the_end_of_a_fields_name_tells_a_language(name: str, language: str | None) -> None:
    assert language_of_field(name) == language
