"""Samples that are there twice: exact copies within a split, and media that leak from one split into another."""

from collections.abc import Iterator

import pyarrow as pa

# Where the same media are in two splits, the copy in the earlier one of these stays.
KEPT_FIRST = ("test", "validation", "train")
_MEDIA = ("image", "audio", "video")
_WITHIN = ["split", "group", "id", "sha256"]
_ACROSS = ["split", "id", "sha256", *(f"{kind}_{name}" for kind in _MEDIA for name in ("sha256", "ok"))]


def within_splits(profile: pa.Table) -> list[str | None]:
    """For each profile row, the id of an earlier sample of its split, of another group, with equal media and texts."""
    first: dict[tuple[str, str], tuple[str, str]] = {}
    found: list[str | None] = []
    for row in profile.select(_WITHIN).to_pylist():
        group, name = first.setdefault((row["split"], row["sha256"]), (row["group"], row["id"]))
        found.append(name if group != row["group"] else None)
    return found


def across_splits(profile: pa.Table) -> list[str | None]:
    """For each profile row, the place (`split/id`) of a sample in a split that has precedence and shares a file.

    One shared image, recording or clip is enough, whatever the texts say; samples without media share if their texts
    are equal. Files that cannot be decoded are no copies of anything.
    """
    rows = profile.select(_ACROSS).to_pylist()
    owner: dict[tuple[str, str], tuple[int, str]] = {}
    for row in rows:
        rank = KEPT_FIRST.index(row["split"])
        for key in _keys(row):
            if key not in owner or rank < owner[key][0]:
                owner[key] = (rank, f"{row['split']}/{row['id']}")
    found: list[str | None] = []
    for row in rows:
        rank = KEPT_FIRST.index(row["split"])
        others = (owner[key] for key in _keys(row))
        found.append(next((place for other, place in others if other < rank), None))
    return found


def _keys(row: dict[str, str]) -> Iterator[tuple[str, str]]:
    present = [kind for kind in _MEDIA if row[f"{kind}_sha256"] is not None]
    if not present:
        yield "text", row["sha256"]
    for kind in present:
        if row[f"{kind}_ok"]:
            yield kind, row[f"{kind}_sha256"]
