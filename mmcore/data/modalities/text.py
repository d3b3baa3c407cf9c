"""Text: what is read and measured of it."""

import unicodedata

from mmcore.data.modalities import Limits


class Modality:
    """Written language."""

    def decode(self, data: bytes, limits: Limits) -> str:
        """The text of UTF-8 bytes, in Unicode's composed form; ValueError if they are no UTF-8."""
        try:
            return unicodedata.normalize("NFC", data.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise ValueError(f"the text is not UTF-8: {error.reason} at byte {error.start}") from None

    def describe(self, text: str) -> dict[str, float]:
        """characters, words (runs without blanks), and the share of characters that are letters outside ASCII."""
        foreign = sum(not character.isascii() and character.isalpha() for character in text)
        return {
            "characters": float(len(text)),
            "words": float(len(text.split())),
            "non_ascii": foreign / len(text) if text else 0.0,
        }
