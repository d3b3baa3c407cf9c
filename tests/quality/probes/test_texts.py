import pytest

from mmcore.data import store
from mmcore.quality.probes.texts import COUNTED, COUNTS, described, measure


def facts(**columns):
    return measure([store.row(id="some-7", **columns)])[0]


def found(text: str, lang: str | None = "en") -> list[str]:
    """What is counted of one caption."""
    counted = facts(captions=[{"text": text, "lang": lang}])
    return [name for name in COUNTS if counted[f"num_{name}_texts"]]


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        ("A black dog runs over the grass .", "en"),
        ("Two men (one in red) walk; 3 others sit & wait: it's 5 o'clock!", "en"),
        ("a man in a T-shirt - no. 23 - throws <3", "en"),
        ("一只黑狗在草地上奔跑。", "zh"),
        ("穿T恤的男人", "zh"),
        ("狗", "zh"),
        ("Wi-Fi", "zh"),
        ("犬が走っています", "ja"),
        ("OKボタン", "ja"),
        ("개가 달린다", "ko"),
        ("Ein Hund läuft über die Straße", "de"),
        ("Un café à côté de l’hôtel – déjà vu", "fr"),
        ("собака бежит по траве", "ru"),
        ("كلب يركض على العشب", "ar"),
        ("كلب\u200fيركض", "ar"),
        ("می‌خواهم", "fa"),
        ("דרקון אדום מה-ג׳ונג", "he"),
        ("कुत्ता दौड़ता है", "hi"),
        ("👩‍👩‍👧 family 🏴󠁧󠁢󠁥󠁮󠁧󠁿", "en"),
        ("🙂", None),
        ("a dog\nruns\tfast", "en"),
        ("very, very, very nice", "en"),
        ("anything at all", "xx"),
        ("你好吗?我很好", "zh"),
        ("これは何?犬です", "ja"),
        ("What is this?A dog.", "en"),
        ("小狗在跑", "zh_CN"),
        ("um cachorro corre", "pt_BR"),
    ],
)
def test_sound_captions_have_nothing_that_is_counted(text: str, lang: str | None) -> None:
    assert found(text, lang) == []


@pytest.mark.parametrize(
    ("name", "text", "lang"),
    [
        ("broken", "un cafÃ© Ã  cÃ´tÃ©", "fr"),
        ("broken", "the dogâ€™s ball", "en"),
        ("broken", "一只黑狗在草地上".encode().decode("latin-1"), None),
        ("broken", "一只黑狗在草地上奔跑".encode().decode("gbk", "ignore"), "zh"),
        ("broken", "锟斤拷锟斤拷", "zh"),
        ("broken", "a dog \ufffd runs", "en"),
        ("broken", "na?ve caf?s", "fr"),
        ("broken", "a ???? dog", "en"),
        ("control", "a dog\x00runs", "en"),
        ("control", "a \x1b[31mdog", "en"),
        ("control", "a dog\x85runs", "en"),
        ("control", "a \u202edog\u202c", "en"),
        ("private", "a \ue000 dog", "en"),
        ("markup", "<p>a dog</p>", "en"),
        ("markup", "a dog<br/>runs", "en"),
        ("markup", "<script>alert(1)</script>", "en"),
        ("markup", "a [dog](http://x.y)", "en"),
        ("markup", "{{ caption }}", "en"),
        ("markup", "a photo of {label}", "en"),
        ("markup", '{"caption": "a dog"}', "en"),
        ("markup", "['a dog', 'a cat']", "en"),
        ("markup", "a dog\\nruns", "en"),
        ("markup", "\\u4e00\\u53ea\\u72d7", "zh"),
        ("markup", "%E4%B8%80%E5%8F%AA", "zh"),
        ("markup", "a dog <|endoftext|>", "en"),
        ("markup", "a [UNK] dog", "en"),
        ("entity", "a dog &amp; a cat", "en"),
        ("entity", "it&#39;s a dog", "en"),
        ("repeated", "dog dog dog dog dog dog", "en"),
        ("repeated", "a dog a dog a dog a dog", "en"),
        ("repeated", "aaaaaaaaaaaaaaaa", "en"),
        ("repeated", "一只狗一只狗一只狗一只狗", "zh"),
        ("repeated", "hahahahahahaha", "en"),
        ("wrong_script", "A black dog runs", "zh"),
        ("wrong_script", "一只黑狗", "en"),
        ("wrong_script", "собака бежит", "de"),
        ("wrong_script", "A black dog runs", "ru"),
        ("unnormalised", "cafe\u0301", "fr"),
        ("untagged", "a black dog", "english (US), probably"),
        ("placeholder", "Traceback (most recent call last):\n  File x.py", "en"),
    ],
)
def test_each_fault_of_a_caption_is_counted(name: str, text: str, lang: str | None) -> None:
    assert name in found(text, lang)


def test_a_long_text_in_an_alphabet_of_few_signs_does_not_repeat_itself() -> None:
    thai = "สุนัขสีน้ำตาลวิ่งเล่นอยู่บนสนามหญ้าใกล้บ้านหลังใหญ่และเด็กชายคนหนึ่งกำลังขว้างลูกบอลให้มันไปเก็บกลับมาหลายรอบ"
    assert "repeated" not in found(thai, "th")
    assert "repeated" in found("สวัสดี" * 20, "th")


@pytest.mark.parametrize("blank", ["", " ", "\n\t", "\u3000", "\u200b", "\ufeff\u00a0", "\u3164", "\u2800"])
def test_what_cannot_be_seen_is_blank(blank: str) -> None:
    counted = facts(captions=[{"text": blank, "lang": "en"}, {"text": "a dog", "lang": "en"}], summary=blank)
    assert (counted["num_blank_captions"], counted["num_blank_texts"], counted["num_captions"]) == (1, 1, 2)
    assert counted["has_text"]


def test_a_question_needs_itself_and_an_answer() -> None:
    pairs = [{"question": "what?", "answers": ["a dog"]}, {"question": "", "answers": ["x"]},
             {"question": "who?", "answers": []}, {"question": "why?", "answers": [" "]}]  # fmt: skip
    assert facts(qa=pairs)["num_blank_texts"] == 3


def test_answers_and_spoken_words_may_be_short_and_plain() -> None:
    pairs = [{"question": "how many?", "answers": ["3", "none", "yes", "[3, 4]"]}]
    assert not any(facts(qa=pairs)[f"num_{name}_texts"] for name in COUNTS)
    assert facts(transcript="picture")["num_placeholder_texts"] == 0
    assert facts(transcript="n/a")["num_placeholder_texts"] == 1


def test_a_paragraph_in_another_language_is_counted_once_for_each_caption() -> None:
    german = ["Ein schwarzer Hund läuft schnell über die nasse Straße", "Der Hund rennt mit einem Ball in der Schnauze",
              "Auf der Wiese spielen zwei kleine Hunde mit den Kindern"]  # fmt: skip
    assert facts(captions=[{"text": text, "lang": "en"} for text in german])["num_wrong_language_texts"] == 3
    assert facts(captions=[{"text": text, "lang": "de"} for text in german])["num_wrong_language_texts"] == 0


def test_a_huge_text_is_measured_whole_and_looked_at_in_part() -> None:
    counted = facts(captions=[{"text": "many words of all kinds " * 100_000 + "\x00", "lang": "en"}])
    assert counted["longest_text"] == 2_400_001
    assert counted["num_control_texts"] == 0


def test_numbers_for_comparison_are_those_of_the_first_text_of_a_kind() -> None:
    counted = facts(captions=[{"text": "一只 dog", "lang": None}, {"text": "longer than that", "lang": None}])
    assert (counted["caption_characters"], counted["caption_words"], counted["caption_non_ascii"]) == (6, 2, 0.333333)
    assert set(counted) >= set(COUNTED)
    assert described()[:3] == ["caption_characters", "caption_words", "caption_non_ascii"]


def test_rows_are_measured_together_as_they_are_alone() -> None:
    rows = [store.row(id=f"r{number}", captions=[{"text": text, "lang": "en"}])
            for number, text in enumerate(["a dog", "", "dog dog dog dog dog dog", "<b>x</b>", "狗"])]  # fmt: skip
    assert measure(rows) == [measure([row])[0] for row in rows]
    assert measure([]) == []
