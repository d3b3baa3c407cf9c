from mmcore.quality.probes.scripts import (
    CONTROL,
    FOREIGN,
    LETTER,
    PRIVATE,
    REPLACED,
    SCRIPTS,
    SCRIPTS_OF,
    SPACE,
    kinds,
    scripts,
)


def test_every_character_is_of_one_kind() -> None:
    expected = {"a": LETTER, "é": LETTER | FOREIGN, "狗": LETTER | FOREIGN, " ": SPACE, "\u200d": SPACE, "\n": SPACE,
                "\0": CONTROL, "\u202e": CONTROL, "\ufdd0": CONTROL, "\U0001ffff": CONTROL, chr(0xD800): CONTROL,
                chr(0xFFFD): REPLACED, "\ue000": PRIVATE, "\U00100000": PRIVATE, "1": 0, "!": 0, "🙂": 0,
                "\ufe0f": SPACE, "\U000e0067": SPACE}  # fmt: skip
    assert {character: int(kinds()[ord(character)]) for character in expected} == expected


def test_letters_belong_to_a_script() -> None:
    expected = {"a": "latin", "ß": "latin", "狗": "han", "か": "kana", "개": "hangul", "ж": "cyrillic", "ش": "arabic",
                "ש": "hebrew", "क": "devanagari", "ก": "thai", "λ": "greek", "1": "", "。": "", "×": ""}  # fmt: skip
    assert {character: SCRIPTS[scripts()[ord(character)]] for character in expected} == expected


def test_languages_are_written_in_known_scripts() -> None:
    assert SCRIPTS_OF["ja"] == {"kana", "han"}
    assert set().union(*SCRIPTS_OF.values()) <= set(SCRIPTS)
