"""The review list: every caption with how badly it fits, in a table, and the least fitting pictures on a page."""

import base64
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmcore.data import columns
from mmcore.data.modalities import UNLIMITED
from mmcore.quality.consistency import Pairs
from mmcore.quality.thumbnails import Place, thumbnails

TABLE = "review.parquet"
PAGE = "index.html"
_SIDE = 240
# A misfit adds two standard scores; so much is more than three deviations in each.
DOUBTFUL = 6.2
_TEXT_COLUMNS = pa.schema([("id", pa.string()), ("split", pa.string()), ("text", pa.string())])


def review_table(scored: Mapping[str, tuple[Pairs, NDArray[np.float64]]]) -> pa.Table:
    """One row per caption, the worst first: `id`, `split`, `score` (see `consistency.misfits`), `rank` from 1, `text`.

    `scored`: per split its pairs and their scores.
    """
    rows = [
        {"id": pairs.ids[owner], "split": split, "text": text}
        for split, (pairs, _) in scored.items()
        for owner, text in zip(pairs.owner.tolist(), pairs.texts, strict=True)
    ]
    scores = np.concatenate([np.zeros(0), *(scores for _, scores in scored.values())]).round(4)
    order = np.argsort(-scores, kind="stable")
    said = columns.table([rows[place] for place in order], _TEXT_COLUMNS)
    numbers = {"score": pa.array(scores[order]), "rank": pa.array(np.arange(1, len(order) + 1))}
    whole = {name: said[name] for name in ("id", "split")} | numbers | {"text": said["text"]}
    return pa.table(whole)


def write_review(folder: Path, table: pa.Table, *, name: str, data: Path, accepted: pa.Table, limit: int) -> None:
    """Write `review.parquet` and `index.html`, which shows the `limit` rows with the worst captions, into an empty
    folder. `accepted`: where each row lies in the store `data` (id, split, shard, row); ValueError if `data` holds
    another row there."""
    pq.write_table(table, folder / TABLE, compression="zstd")
    html = review_page(_cards(table, data, accepted, limit), name=name, table=table)
    (folder / PAGE).write_text(html, encoding="utf-8")


def review_page(cards: Sequence[Mapping[str, Any]], *, name: str, table: pa.Table) -> str:
    """HTML, light and dark, with every picture inside; what comes from the data is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    splits = {split: table["split"].to_pylist().count(split) for split in dict.fromkeys(table["split"].to_pylist())}
    num_doubtful = int((table["score"].to_numpy() >= DOUBTFUL).sum())
    return environment.get_template("review.html.j2").render(
        cards=cards, name=name, num_pairs=table.num_rows, splits=splits, num_doubtful=num_doubtful
    )


def _cards(table: pa.Table, data: Path, accepted: pa.Table, limit: int) -> list[dict[str, Any]]:
    """One card for each of the rows whose worst caption is among the worst, with all its captions."""
    captions: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        captions.setdefault((row["split"], row["id"]), []).append(row)
    shown = list(captions.items())[:limit]
    places = dict(
        zip(
            zip(accepted["split"].to_pylist(), accepted["id"].to_pylist(), strict=True),
            zip(accepted["shard"].to_pylist(), accepted["row"].to_pylist(), strict=True),
            strict=True,
        )
    )
    pictures = _pictures(data, [id for (_, id), _ in shown], [places.get(key) for key, _ in shown])
    return [
        {
            "id": id,
            "split": split,
            "command": f"mmcore data quarantine drop {shlex.quote(id)}",
            "quoted": shlex.quote(id),
            "rank": own[0]["rank"],
            "score": own[0]["score"],
            "doubtful": own[0]["score"] >= DOUBTFUL,
            "text": own[0]["text"],
            "others": own[1:],
            "picture": picture,
        }
        for ((split, id), own), picture in zip(shown, pictures, strict=True)
    ]


def _pictures(data: Path, ids: Sequence[str], places: Sequence[Place | None]) -> list[str | None]:
    """Of each row a picture as a data URL; ValueError where another row, or none, lies in its place."""
    found = thumbnails(data, [place for place in places if place], UNLIMITED, side=_SIDE)
    pictures: list[str | None] = []
    for id, place in zip(ids, places, strict=True):
        there, picture = found.get(place, (None, None)) if place else (None, None)
        if there != id:
            raise ValueError(f"'{id}' is not where it was when the captions were prepared: data/ has changed since; "
                             "run the chain again: mmcore run")  # fmt: skip
        pictures.append("data:image/jpeg;base64," + base64.b64encode(picture).decode() if picture else None)
    return pictures
