"""Texts that stand where a description should stand and describe nothing."""

import re
from itertools import pairwise

# Compared without case, blanks and punctuation around them.
_ANYWHERE = frozenset(
    """
    n/a|null|nil|nan|undefined|todo|tbd|fixme|xxx|placeholder|no caption|no description|no title|no text|no alt text
    no transcript|no audio|no image|no data|not available|not applicable|image not found|image not available|untitled
    insert caption here|insert text here|your text here|caption here|write a caption|add a caption|alt text|alttext
    sample text|example text|sample caption|example caption|test caption|caption text|text goes here|description here
    no caption available|no description available|image unavailable|photo unavailable|page not found|access denied
    404 not found|403 forbidden|500 internal server error|object object|[object object]|error|-|--|---|inaudible|asdf
    asdfasdf|qwerty|asdfghjkl|qwertyuiop|foo bar|foobar|foo|hello world|none none|#n/a|#ref!|#value!|#name?|#null!
    (null)|(none)|<null>|<none>|(blank)|(empty)|unnamed|no name|noname|new image|stock photo|click here|read more
    暂无|暂无描述|无描述|无标题|未命名|未知|占位符|待补充|待定|测试|测试文本|图片|照片|图像|描述|标题|无|没有描述|空
    ohne titel|unbenannt|kein titel|keine beschreibung|platzhalter|sin título|sin titulo|sin descripción|sans titre
    sans légende|senza titolo|нет описания|без названия|無題|説明なし|なし|제목 없음|설명 없음|بدون عنوان
    """.strip().replace("\n", "|").split("|")
)  # fmt: skip
_DESCRIPTIONS = frozenset(
    """
    image|images|photo|photos|picture|pictures|pic|img|caption|captions|text|title|description|video|audio|sound|file
    unknown|none|empty|blank|missing|sample|example|test|testing|alt|photograph|an image|a photo|a picture|the image
    thumbnail|untitled image|untitled photo|image caption|default|dummy|temp|tmp|data|string|item|object|content|media
    image of|photo of|a photo of|a picture of|an image of|picture of|true|false|misc|various|etc
    """.strip()
    .replace("\n", "|")
    .split("|")
)
_PLACEHOLDERS = frozenset(one.strip() for one in _ANYWHERE)
_NOT_DESCRIPTIONS = frozenset(one.strip() for one in _DESCRIPTIONS)
_EDGES = " \t\r\n.,;:!?。，、！？…·*_=~\"'“”‘’`"
_FILLER = re.compile(
    "lorem ipsum|dolor sit amet|consectetur adipiscing"
    r"|traceback \(most recent call last\)|exception in thread |\bat [\w.$]+\([\w.]+:\d+\)"
)
_SIGNS_OF_MACHINES = re.compile(r"[\d./\\@:_]|^[a-f]{16}")
_MACHINE_MADE = re.compile(
    # A file name, a name that a camera or a phone gives, an address, an e-mail address, a hash, a UUID, base64, a
    # date, a number, a code.
    r"\S.*\.(?:jpe?g|jfif|png|gif|webp|bmp|tiff?|heic|avif|svg|mp4|mov|mkv|avi|webm|wav|mp3|flac|ogg|m4a|txt|json|csv|"
    r"parquet|pdf|docx?|zip|tar|gz)"
    r"|(?:img|dsc[nf]?|dscf|pict|pxl|vid|mvi|gopr|dji|mov|wp|p|s|image|photo|picture|frame|untitled|screenshot|scan|"
    r"screen shot|capture|download|file|unnamed|sample|caption|item|row|id)[-_ #]?\(?\d[\d_\-. ]*\)?(?:[-_]\w+)?"
    r"|(?:https?|ftp|s3|gs|file|data|hdfs)://?\S*|data:\w+/\S+|www\.\S+|[\w.+-]+@[\w-]+\.\w+"
    r"|(?:[A-Za-z]:\\|\.{0,2}/)\S+|(?=\S*[.\d]|(?:[^/]*/){3})(?:[\w.-]+/){2,}[\w.-]*"
    r"|[0-9a-f]{16,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?=\S*\d)(?=\S*[a-zA-Z])[A-Za-z0-9+/_=-]{20,}"
    r"|\d{4}[-/]\d\d[-/]\d\d(?:[T ]\d\d:\d\d\S*)?|[\d\s.,:;/+-]{3,}|(?:[a-z]+_)+\d+|[a-z]{1,4}-?\d{3,}",
    re.IGNORECASE,
)
_GIT_LFS_POINTER = "version https://git-lfs"
_FIRST_WORDS = 60


def says_nothing(text: str, id: str | None, *, describes: bool, letters: int) -> bool:
    """Whether a text is a placeholder, a name of a file, an address, a number, or nothing but punctuation.

    `describes`: whether it should describe something, where "photo" says nothing; as a spoken word it does.
    """
    bare = text.strip(_EDGES)
    if not bare or (letters == 0 and bare.isascii() and not any(character.isdigit() for character in bare)):
        return True
    plain = bare.casefold()
    if plain in _PLACEHOLDERS or plain.strip("[](){}<>") in _PLACEHOLDERS or _FILLER.search(plain):
        return True
    if not describes:
        return False
    return plain in _NOT_DESCRIPTIONS or (
        _SIGNS_OF_MACHINES.search(bare) is not None and (_is_machine_made(bare) or _is_own_name(plain, id))
    )


def repeats_itself(text: str, *, unspaced: int) -> bool:
    """Whether a text consists of few words, or syllables, over and over."""
    words = text.casefold().split(maxsplit=_FIRST_WORDS)[:_FIRST_WORDS]
    if len(words) >= 5:
        different = len(set(words))
        if 3 * different <= len(words) or (len(words) - different >= 3 and _longest_run(words) >= 4):
            return True
    if len(words) < 3 or unspaced:
        # By runs of three: a long text in any alphabet uses each sign of it many times.
        signs = "".join(sign for sign in text[:200].casefold() if sign.isalnum())
        runs = {signs[place : place + 3] for place in range(len(signs) - 2)}
        return len(signs) >= 12 and 4 * len(runs) <= len(signs)
    return False


def _longest_run(words: list[str]) -> int:
    longest = run = 1
    for before, after in pairwise(words):
        run = run + 1 if before == after else 1
        longest = max(longest, run)
    return longest


def _is_machine_made(bare: str) -> bool:
    return (len(bare) < 500 and _MACHINE_MADE.fullmatch(bare) is not None) or bare.startswith(_GIT_LFS_POINTER)


def _is_own_name(plain: str, id: str | None) -> bool:
    """Whether it is the sample's id, and no word of a language."""
    name = (id or "").casefold()
    return plain in (name, name.rpartition(".")[0]) and any(
        character.isdigit() or character == "_" for character in plain
    )
