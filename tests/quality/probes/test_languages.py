from mmcore.quality.probes.languages import ENOUGH_LETTERS, is_doubtful

ENGLISH = (
    "Two small dogs run over the green grass with a ball in the afternoon and a child is watching them from the porch"
)
SPANISH = "Dos perros pequeños corren por la hierba verde con una pelota y un niño los mira desde la puerta de la casa"


def test_only_a_paragraph_in_surely_another_language_is_doubted() -> None:
    assert is_doubtful(SPANISH, "en")
    assert is_doubtful(ENGLISH, "es")
    assert not is_doubtful(ENGLISH, "en")
    assert not is_doubtful(ENGLISH, "en-GB")
    assert not is_doubtful(SPANISH, "es")


def test_what_cannot_be_told_is_not_doubted() -> None:
    assert not is_doubtful(SPANISH, None)
    assert not is_doubtful(SPANISH, "xx")
    assert not is_doubtful(SPANISH[: ENOUGH_LETTERS - 1], "en")
