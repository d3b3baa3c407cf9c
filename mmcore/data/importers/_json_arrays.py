"""Large JSON files, read as a stream: one element of an array at a time."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

CHUNK = 1 << 20
MAX_ELEMENT = 64 << 20
_BLANKS = re.compile(r"[ \t\r\n]*")
_COMMA = re.compile(r"[ \t\r\n]*,[ \t\r\n]*(?=[^ \t\r\n\]])")
_ENDS = tuple(",:]} \t\r\n")
_DECODER = json.JSONDecoder(parse_constant=lambda _: None)  # NaN means that there is nothing


def elements(path: Path, *names: str) -> Iterator[tuple[str, Any]]:
    """Name and element, for every element of the top-level arrays called `names`, in the order of the file.

    What follows the last of these arrays is not read. ValueError if the file is no JSON object or breaks off; what
    stands before that place has been given by then.
    """
    missing = set(names)
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
        text = _Text(file, path)
        text.take("{")
        while missing and text.next_is() != "}":
            name = text.value()
            text.take(":")
            if text.next_is() == "[":
                wanted = name in missing
                for one in text.array():
                    if wanted:
                        yield name, one
            else:
                text.value()
            missing.discard(name)
            if text.next_is() != "}":
                text.take(",")


class _Text:
    """The text of a file, of which only the part that is being looked at is in memory."""

    def __init__(self, file: IO[str], path: Path) -> None:
        self._file, self._path = file, path
        self._text, self._place, self._passed = "", 0, 0

    def next_is(self) -> str:
        """The next character that is no blank; it is not taken."""
        while True:
            blanks = _BLANKS.match(self._text, self._place)
            assert blanks is not None
            self._place = blanks.end()
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._more():
                raise self._broken("it ends too early")

    def take(self, character: str) -> None:
        """Pass over the next character, which must be this one."""
        if self.next_is() != character:
            raise self._broken(f"there is no '{character}'")
        self._place += 1

    def value(self) -> Any:
        """The next value, whole."""
        self.next_is()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._place)
            except RecursionError:
                raise self._broken("it is nested too deeply") from None
            except json.JSONDecodeError as error:
                if self._more():
                    continue
                raise self._broken(error.msg) from None
            # A number at the end of what is in memory may go on ("4" as "4.5").
            if self._text[end : end + 1] not in _ENDS and self._more():
                continue
            self._place = end
            return value

    def array(self) -> Iterator[Any]:
        """The elements of the array that comes next."""
        self.take("[")
        while self.next_is() != "]":
            yield self.value()
            # The usual case first: a comma and the next element are in memory.
            if comma := _COMMA.match(self._text, self._place):
                self._place = comma.end()
            elif self.next_is() != "]":
                self.take(",")
        self.take("]")

    def _more(self) -> bool:
        """Read on, as much again as is in memory; False at the end of the file."""
        rest = self._text[self._place :]
        if len(rest) > MAX_ELEMENT:
            raise self._broken(f"one value has more than {MAX_ELEMENT} characters")
        read = self._file.read(max(CHUNK, len(rest)))
        self._passed += self._place
        self._text, self._place = rest + read, 0
        return bool(read)

    def _broken(self, reason: str) -> ValueError:
        return ValueError(f"{self._path} is not valid JSON after {self._passed + self._place} characters: {reason}")
