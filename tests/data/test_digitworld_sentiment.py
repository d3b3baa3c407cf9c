from collections import Counter

from mmcore.data.digitworld import make
from mmcore.data.digitworld_sentiment import WORDS


def test_neither_the_text_nor_the_face_alone_tells_the_sentiment() -> None:
    rows = [make("sentiment", "train", index) for index in range(400)]
    seen = Counter()
    for row in rows:
        tone = next(tone for tone, words in WORDS.items() if any(word in row["transcript"] for word in words))
        seen[tone, row["labels"]["sentiment"]] += 1
    assert set(seen) == {
        ("positive", "positive"),
        ("positive", "mixed"),
        ("negative", "negative"),
        ("negative", "mixed"),
    }
    assert all(70 <= count <= 130 for count in seen.values())


def test_rows_have_a_picture_and_a_text_but_no_captions() -> None:
    row = make("sentiment", "test", 0)
    assert row["image"].startswith(b"\x89PNG")
    assert row["captions"] == []
    assert row["group"] == row["id"]
