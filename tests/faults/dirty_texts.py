"""Texts that say nothing, and texts that came to harm on their way; their pictures are sound."""

import base64
from collections.abc import Callable

from tests.faults.dirty_captions import paragraph, sentence
from tests.faults.dirty_clean import Rng, encoded, photo
from tests.faults.dirty_kinds import Columns, Kind, Kinds

kinds = Kinds()


def _said(rng: Rng, *texts: str, lang: str | None = "en") -> Columns:
    image = encoded(photo(rng), "JPEG", quality=88)
    return {"image": image, "captions": [{"text": text, "lang": lang} for text in texts]}


def _text(name: str, family: str, expected: str, make: Callable[[Rng], str], lang: str | None = "en") -> None:
    """Add a kind whose one caption is what `make` writes."""
    kinds[name] = Kind(name, family, expected, lambda rng: _said(rng, make(rng), lang=lang), ".jpg")


def _pick(rng: Rng, *choices: str) -> str:
    return choices[int(rng.integers(len(choices)))]


def _broken(text: str, written: str, read: str) -> str:
    """The text as it looks to a reader who takes one encoding for another."""
    return text.encode(written).decode(read, errors="replace")


# Nothing is said -----------------------------------------------------------------------------------------------------

_text("empty_text", "unusable", "reject", lambda rng: "")
_text("blank_text", "unusable", "reject", lambda rng: _pick(rng, " ", "   ", "\n\n", "\t", "\u3000", "\u00a0 \u2003"))
_text("invisible_text", "unusable", "reject", lambda rng: "\u200b\ufeff\u200b"[: int(rng.integers(1, 4))])
_text(
    "only_punctuation", "unusable", "reject", lambda rng: _pick(rng, ".", "---", "?!", "...", "。。。", "_ _ _", "***")
)
_text("only_control_characters", "unusable", "reject", lambda rng: _pick(rng, "\x01\x02", "\x7f\x1b", "\x08\x08\x08"))
_text("only_zero_bytes", "unusable", "reject", lambda rng: "\0" * int(rng.integers(1, 30)))
_text("only_replacement_characters", "unusable", "reject", lambda rng: "\ufffd" * int(rng.integers(2, 20)))


@kinds("unusable", "reject", extension=".jpg")
def one_blank_of_several(rng: Rng) -> Columns:
    return _said(rng, sentence(rng, "en"), " ", sentence(rng, "en"))


# Something stands there, but nobody wrote it about the picture -------------------------------------------------------

_text(
    "placeholder",
    "doubtful",
    "flag",
    lambda rng: _pick(
        rng,
        "untitled",
        "Untitled",
        "N/A",
        "n/a",
        "null",
        "None",
        "TODO",
        "caption",
        "no description",
        "image",
        "NaN",
        "undefined",
        "TBD",
        "-none-",
    ),
)
_text(
    "filler",
    "doubtful",
    "flag",
    lambda rng: _pick(
        rng,
        "Lorem ipsum dolor sit amet, consectetur adipiscing elit.",
        "lorem ipsum dolor sit amet",
        "Lorem ipsum dolor sit amet, consetetur sadipscing elitr",
    ),
)
_text(
    "file_name",
    "doubtful",
    "flag",
    lambda rng: (
        _pick(rng, "IMG_%04d.JPG", "DSC%05d.jpg", "photo-%d.png", "2021-07-04 scan %d.tiff", "P10%d.jpeg")
        % rng.integers(1000, 9999)
    ),
)
_text(
    "template",
    "doubtful",
    "flag",
    lambda rng: _pick(
        rng,
        "{caption}",
        "A photo of {}",
        "${title}",
        "{{ description }}",
        "<caption here>",
        "%s",
        "[INSERT CAPTION]",
        "A {color} {object} on a table",
    ),
)
_text("base64_text", "doubtful", "flag", lambda rng: base64.b64encode(rng.bytes(int(rng.integers(90, 400)))).decode())
_text("repeated_word", "doubtful", "flag", lambda rng: " ".join([_pick(rng, "dog", "the", "beach", "very")] * 1000))
_text("repeated_letter", "doubtful", "flag", lambda rng: _pick(rng, "a", "哈", "x", "!1") * int(rng.integers(60, 300)))
_text("hash_value", "doubtful", "flag", lambda rng: rng.bytes(32).hex())
_text(
    "keyboard_noise",
    "doubtful",
    "flag",
    lambda rng: _pick(rng, "asdfghjkl", "qwertyuiop asdf", "sdfsdfsdfsdf", "jkljkljkl", "asdf asdf asdf"),
)
_text(
    "traceback",
    "doubtful",
    "flag",
    lambda rng: f'Traceback (most recent call last):\n  File "c.py", line {rng.integers(1, 900)}\nKeyError: 0',
)
_text("too_long", "doubtful", "flag", lambda rng: paragraph(rng, "en", 120))

# It came to harm -----------------------------------------------------------------------------------------------------

_text(
    "mojibake_utf8_as_latin",
    "doubtful",
    "flag",
    lambda rng: _broken(sentence(rng, _pick(rng, "fr", "de", "es")) + " à côté – déjà", "utf-8", "cp1252"),
    "fr",
)
_text("mojibake_russian", "doubtful", "flag", lambda rng: _broken(sentence(rng, "ru"), "utf-8", "latin-1"), "ru")
_text(
    "mojibake_russian_windows", "doubtful", "flag", lambda rng: _broken(sentence(rng, "ru"), "cp1251", "latin-1"), "ru"
)
_text("mojibake_chinese", "doubtful", "flag", lambda rng: _broken(sentence(rng, "zh"), "gb18030", "latin-1"), "zh")
_text(
    "mojibake_twice",
    "doubtful",
    "flag",
    lambda rng: _broken(
        _broken(f"Café déjà vu à l’hôtel n° {rng.integers(99)}", "utf-8", "latin-1"), "utf-8", "latin-1"
    ),
    "fr",
)
_text(
    "markup",
    "doubtful",
    "flag",
    lambda rng: (
        _pick(
            rng,
            "<p>%s</p>",
            "<div class='c'><b>%s</b><br/></div>",
            "%s <a href='http://e.org'>more</a>",
            "<script>alert('%s')</script>",
        )
        % sentence(rng, "en")
    ),
)
_text(
    "character_references",
    "doubtful",
    "flag",
    lambda rng: f"{sentence(rng, 'en')} &amp; &quot;{sentence(rng, 'de')}&quot; &nbsp;&#39;",
)
_text(
    "some_control_characters",
    "doubtful",
    "flag",
    lambda rng: sentence(rng, "en").replace(" ", _pick(rng, "\x07", "\x1b[31m", "\x08", "\x0e"), 2),
)
_text("zero_byte_inside", "doubtful", "flag", lambda rng: sentence(rng, "en").replace(" ", "\0", 1))
_text(
    "right_to_left_override",
    "doubtful",
    "flag",
    lambda rng: sentence(rng, "en")[:-1] + "\u202egpj.exe\u202c \u2066hidden\u2069",
)
_text(
    "private_use_characters",
    "doubtful",
    "flag",
    lambda rng: sentence(rng, "en") + "".join(chr(0xE000 + int(one)) for one in rng.integers(0, 900, 6)),
)
_text(
    "replacement_characters",
    "doubtful",
    "flag",
    lambda rng: "".join("\ufffd" if ord(one) > 127 else one for one in sentence(rng, "fr").replace("e", "é")),
    "fr",
)
_text("byte_notation", "doubtful", "flag", lambda rng: repr(sentence(rng, "ru").encode())[:160])
_text("escape_notation", "doubtful", "flag", lambda rng: sentence(rng, "zh").encode("unicode_escape").decode())
_text(
    "stacked_marks",
    "doubtful",
    "flag",
    lambda rng: "".join(one + "\u0335\u0321\u0489\u034f\u0316\u0347" * 3 for one in sentence(rng, "en")),
)
_text("not_a_character", "doubtful", "flag", lambda rng: sentence(rng, "en") + " \ufdd0\uffff")
_text("english_tagged_chinese", "doubtful", "flag", lambda rng: sentence(rng, "en"), "zh")
_text("chinese_tagged_english", "doubtful", "flag", lambda rng: sentence(rng, "zh"), "en")
_text("russian_tagged_arabic", "doubtful", "flag", lambda rng: sentence(rng, "ru"), "ar")
_text("unknown_language_tag", "doubtful", "flag", lambda rng: sentence(rng, "en"), "english (US), probably")
