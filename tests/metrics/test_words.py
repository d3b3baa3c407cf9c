import pytest

from mmcore.metrics.words import languages_of, split_words


def test_words_are_runs_of_letters_and_digits_in_lower_case():
    assert split_words("A red-ish 9, it's HERE_now!") == ["a", "red", "ish", "9", "it", "s", "here", "now"]
    assert split_words("Übung été мир") == ["übung", "été", "мир"]
    assert split_words(" .") == []


def test_chinese_and_japanese_characters_are_words_of_their_own():
    assert split_words("红色iPhone的カメラ") == ["红", "色", "iphone", "的", "カ", "メ", "ラ"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
        ("می\u200cخواهم به", ["می\u200cخواهم", "به"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("วิ่งเร็ว", ["วิ่", "ง", "เ", "ร็", "ว"]),
        ("サッカー", ["サ", "ッ", "カ", "ー"]),
    ],
)
def test_marks_and_joiners_belong_to_the_letter_before_them(text, words):
    assert split_words(text) == words


def test_an_accent_written_apart_makes_no_other_word():
    assert split_words("cafe\u0301") == split_words("caf\u00e9")


def test_the_script_decides_only_where_there_is_no_tag():
    texts = ["红色的圆", "红色のサッカー", "한국어", "สุนัข", "un été", "红色"]
    assert languages_of(texts, [None, None, None, None, None, "yue"]) == {"zh", "ja", "ko", "th", "und", "yue"}
