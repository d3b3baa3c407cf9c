"""The numbers by which production is compared with the reference: one row of floats per sample, null where it has none.

Each kind of samples (`kinds`) has columns of its own. Which modalities a batch holds is no drift; each column is
compared over the samples that have it.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from mmcore.data.modalities import media
from mmcore.quality import probe
from mmcore.quality.kinds import Kind

SIZE_COLUMNS = ("image_width", "image_height", "video_width", "video_height")
# Scripts without blanks between words: each character counts as one.
_WORD = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")


def words(text: str) -> list[str]:
    """The words of a text, lower case, without punctuation; Chinese and Japanese by the character."""
    return _WORD.findall(text.lower())


def compared(
    facts: Mapping[str, Any], texts: Mapping[str, str], known: Collection[str], point: Mapping[str, float]
) -> dict[str, float]:
    """The numbers of one sample: of its profile row, its texts (`probe.texts_of`) and its embeddings (`components`).

    `known`: the words of the training texts; `<text>_unknown` is the share of words that are none of them.
    """
    of_media = (name for name in probe.described() if name.partition("_")[0] in media())
    numbers: dict[str, Any] = {name: facts.get(name) for name in (*of_media, *SIZE_COLUMNS)}
    numbers |= {f"{name}_readable": facts.get(f"{name}_ok") for name in media()}
    for name, text in texts.items():
        found = words(text)
        numbers |= {column: facts[column] for column in probe.described() if column.startswith(f"{name}_")}
        numbers[f"{name}_unknown"] = sum(word not in known for word in found) / len(found) if found else 0.0
    numbers |= point
    return {name: probe.rounded(float(value)) for name, value in numbers.items() if value is not None}


def named(numbers: Mapping[str, float], kind: Kind | None) -> dict[str, float]:
    """The numbers of a sample by the column names of its kind; none for a sample of no known kind."""
    return {} if kind is None else {f"{kind.prefix}{name}": value for name, value in numbers.items()}
