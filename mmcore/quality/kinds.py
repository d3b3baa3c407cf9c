"""The kinds of samples that a data set mixes, told by what they hold, so that like is compared with like.

A test set may hold pictures with captions beside clips with transcripts; a batch from production need not mix them the
same way, and a request holds only a part of what a test sample does. So a sample belongs to the largest kind that has
all it has.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mmcore.data import store
from mmcore.data.modalities import media
from mmcore.quality import probe

# A combination of fields that fewer samples have is no kind of its own.
MIN_SHARE = 0.05


@dataclass(frozen=True)
class Kind:
    """`has`: the media and texts of its samples. `label`: empty for the largest kind, else a field that no
    larger kind has, or all fields."""

    label: str
    has: tuple[str, ...]

    @property
    def prefix(self) -> str:
        """What the names of this kind's columns begin with."""
        return f"{self.label}/" if self.label else ""


def fields() -> tuple[str, ...]:
    """What a sample may hold: media, then texts."""
    return (*media(), *probe.TEXTS)


def fields_of(row: store.Row) -> tuple[str, ...]:
    """What a sample holds, in the order of `fields`."""
    texts = probe.texts_of(row)
    return tuple(name for name in fields() if name in texts or (row.get(name) is not None and name in media()))


def find_kinds(samples: Sequence[tuple[str, ...]]) -> list[Kind]:
    """The kinds among samples that hold these fields, the largest first: combinations of fields that are frequent and
    no part of another frequent one. Where none is frequent, all samples are one kind."""
    counts = Counter(has for has in samples if has)
    frequent = [has for has, count in counts.items() if count >= MIN_SHARE * len(samples)]
    whole = [has for has in frequent if not any(set(has) < set(other) for other in frequent)]
    if not whole:
        whole = [tuple(name for name in fields() if any(name in has for has in counts))]
    sizes = {has: sum(count for part, count in counts.items() if set(part) <= set(has)) for has in whole}
    kinds: list[Kind] = []
    for has in sorted(whole, key=lambda has: (-sizes[has], has)):
        known = {name for kind in kinds for name in kind.has}
        own = next((name for name in has if name not in known), "+".join(has))
        kinds.append(Kind(own if kinds else "", has))
    return kinds


def kind_of(has: tuple[str, ...], kinds: Sequence[Kind]) -> Kind | None:
    """The first kind that has all of these fields; None if there is none."""
    return next((kind for kind in kinds if set(has) <= set(kind.has)), None)
