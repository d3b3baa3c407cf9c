import pytest

from mmcore.data.modalities import UNLIMITED
from mmcore.data.modalities.text import Modality


def test_bytes_become_composed_text() -> None:
    assert Modality().decode("é".encode(), UNLIMITED) == "é"
    with pytest.raises(ValueError, match="not UTF-8: invalid start byte at byte 1"):
        Modality().decode(b"a\xff", UNLIMITED)


def test_numbers_of_a_text() -> None:
    assert Modality().describe("一只 dog") == {"characters": 6.0, "words": 2.0, "non_ascii": pytest.approx(2 / 6)}
    assert Modality().describe("") == {"characters": 0.0, "words": 0.0, "non_ascii": 0.0}
