import pytest

from mmcore.data.modalities import UNLIMITED
from mmcore.data.modalities.text import BOS, EOS, SPECIALS, Modality, train_tokenizer

TEXTS = ["A big red dog sits.", "the big red dog", "a small dog , a big cat", "一只狗", "一只猫"] * 3


def test_frequent_words_are_one_token_wherever_they_stand() -> None:
    tokenizer = train_tokenizer(TEXTS, vocabulary=400, lowercase=True)
    assert tokenizer.encode("Dog big dog").tokens == ["[BOS]", "Ġdog", "Ġbig", "Ġdog", "[EOS]"]
    assert tokenizer.encode("dog").ids[1] == tokenizer.encode("red dog").ids[2]


def test_special_tokens_have_their_ids() -> None:
    tokenizer = train_tokenizer(TEXTS, vocabulary=300, lowercase=True)
    assert [tokenizer.token_to_id(name) for name in SPECIALS] == [0, 1, 2, 3, 4]
    ids = tokenizer.encode("a cat").ids
    assert (ids[0], ids[-1]) == (BOS, EOS)
    assert tokenizer.get_vocab_size() <= 300


@pytest.mark.parametrize(
    "text",
    [
        "a big red dog", "unseen wörds, 123!", "一只狗在草地上，奔跑。", "１２ Ａ", "サイクリストー", "한국어 문장",
        "สุนัขกำลังวิ่ง",
        "कुत्ता दौड़ रहा है।", "كلبٌ بنّي، ١٢", "שָׁלוֹם עולם", "می\u200cخواهم", "🙂 ok 👩\u200d👧 🏖\ufe0f",
        "x² ½ ﬁ ™", "a\u202eb\u202c c",
    ],
)  # fmt: skip
def test_any_text_round_trips(text: str) -> None:
    tokenizer = train_tokenizer(TEXTS, vocabulary=400, lowercase=False)
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_equal_texts_are_equal_tokens_however_their_accents_are_written() -> None:
    tokenizer = train_tokenizer(TEXTS, vocabulary=400, lowercase=True)
    assert tokenizer.encode("cafe\u0301").ids == tokenizer.encode("caf\u00e9").ids


@pytest.mark.parametrize("text", ["İSTANBUL IŞIK ıi", "ΟΔΟΣ ὈΔΥΣΣΕΎΣ", "STRASSE STRAẞE", "ǅ ǈ"])
def test_lower_case_is_reached_at_once(text: str) -> None:
    tokenizer = train_tokenizer(TEXTS, vocabulary=400, lowercase=True)
    once = tokenizer.decode(tokenizer.encode(text).ids)
    assert tokenizer.decode(tokenizer.encode(once).ids) == once
    assert once.lower() == once


def test_case_is_kept_where_it_should_be() -> None:
    assert train_tokenizer(TEXTS, vocabulary=400, lowercase=False).encode("Dog").tokens != ["[BOS]", "Ġdog", "[EOS]"]
    lower = train_tokenizer(TEXTS, vocabulary=400, lowercase=True)
    assert lower.decode(lower.encode("BIG Dog").ids) == "big dog"


def test_the_same_texts_give_the_same_tokenizer() -> None:
    first, second = (train_tokenizer(TEXTS, vocabulary=400, lowercase=True).to_str() for _ in range(2))
    assert first == second


def test_bytes_become_composed_text() -> None:
    assert Modality().decode("é".encode(), UNLIMITED) == "é"
    with pytest.raises(ValueError, match="not UTF-8: invalid start byte at byte 1"):
        Modality().decode(b"a\xff", UNLIMITED)


def test_numbers_of_a_text() -> None:
    assert Modality().describe("一只 dog") == {"characters": 6.0, "words": 2.0, "non_ascii": pytest.approx(2 / 6)}
    assert Modality().describe("") == {"characters": 0.0, "words": 0.0, "non_ascii": 0.0}
