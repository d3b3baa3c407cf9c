from mmcore.metrics.words import split_words


def test_words_are_runs_of_letters_and_digits_in_lower_case():
    assert split_words("A red-ish 9, it's HERE_now!") == ["a", "red", "ish", "9", "it", "s", "here", "now"]
    assert split_words("Übung été мир") == ["übung", "été", "мир"]
    assert split_words(" .") == []


def test_chinese_and_japanese_characters_are_words_of_their_own():
    assert split_words("红色iPhone的カメラ") == ["红", "色", "iphone", "的", "カ", "メ", "ラ"]
