"""The language that a text is counted under, by its tag."""

# Languages that are written without blanks, and Korean, whose particles hang on to the words.
CHINESE = frozenset({"zh", "yue", "wuu", "lzh"})
UNSPACED = CHINESE | {"ja", "ko", "th", "lo", "km", "my"}
UNKNOWN = "und"


def primary(tag: str | None) -> str:
    """The language of a tag: `zh` of `zh-Hans-CN`; `und` without one."""
    return (tag or UNKNOWN).replace("_", "-").partition("-")[0].lower() or UNKNOWN
