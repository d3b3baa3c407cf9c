"""Whether a text is in the language that is stated for it."""

from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from mmcore.metrics.languages import primary

# What is written in one script can be told apart only from a paragraph on.
ENOUGH_LETTERS = 100
_SURE = 0.99
# A text in which these stand is in that language; most texts need no closer look.
_COMMON = {
    "en": "a an the of in on at is are with and to for from by his her its their as",
    "de": "der die das ein eine einen einem ist und mit auf in von zu den dem im am",
    "fr": "le la les un une des est et dans sur avec de du au aux en qui par",
    "es": "el la los las un una es y en con de del al por para que su sobre",
    "it": "il lo la i gli le un una è e in con di del della che per su sul",
    "pt": "o a os as um uma é e em com de do da no na que por para sobre",
    "nl": "de het een is en van in op met te aan bij dat die voor naar zijn",
}
_COMMON_WORDS = {language: frozenset(words.split()) for language, words in _COMMON.items()}
_USUAL_SHARE = 0.15


def is_doubtful(text: str, lang: str | None) -> bool:
    """Whether `text`, a paragraph in Latin letters, is surely in another language than `lang`.

    Null, and a language that cannot be told, are never doubted.
    """
    if not lang or len(text) < ENOUGH_LETTERS:
        return False
    language = primary(lang)
    words = text.lower().split()
    common = _COMMON_WORDS.get(language, frozenset())
    if sum(word in common for word in words) > _USUAL_SHARE * len(words):
        return False
    identifier = _identifier()
    if language not in identifier.labels:
        return False
    found, certainty = identifier.classify(text)
    return bool(found != language and certainty > _SURE)


@cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
