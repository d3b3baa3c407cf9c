"""The golden requests: test media and texts with what the offline evaluation said about them.

The packaged Bento has to say the same. They are made of the evaluation's own files and of the store's raw media, no
model is run, so a fault anywhere between the prepared arrays and the served answer shows.
"""

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmcore.data.modalities import media
from mmcore.data.store import read_rows, read_table
from mmcore.serving.identity import choosing
from mmcore.serving.uploads import sent_as
from mmcore.settings import Settings
from mmcore.workspace import trained, write_json

TOLERANCE = 1e-4
# Scores nearer than this may change places between two batch sizes: of such a pair only one is asked about.
RESOLUTION = 1e-5
# Of what a request may hold, the share that files take; the rest is left to the form around them.
FILES_SHARE = 0.5
MEDIA = pa.schema([("key", pa.string()), ("kind", pa.string()), ("content", pa.binary())])
VECTORS = pa.schema([("key", pa.string()), ("vector", pa.list_(pa.float32()))])

Row = dict[str, Any]


def write_golden(
    output: Path, *, data: Path, validated: Path, tasks: Path, evaluation: Path, settings: Settings
) -> None:
    """Fill the existing, empty folder `output`: `requests.json` (`{"tolerance", "tasks": {task: [request]}}`),
    `media.parquet` (the files they send, by content hash) and `vectors.parquet` (expected embeddings).

    `release.golden` requests for each task, spread over the test split.
    """
    samples = _Samples(data, validated)
    requests: dict[str, list[Row]] = {}
    served = trained(tasks, settings.tasks)
    chooses = choosing(tasks, served)
    for task in served:
        rows = _predictions(evaluation, task)
        if task in chooses:
            requests[task] = _choosing(_spread(rows, settings.release.golden), task, chooses[task], samples)
        elif task == "retrieval":
            requests[task] = _retrieval(rows, samples, settings)
        # What cannot be sent to the service, it cannot be asked about.
        elif task in MAKERS and settings.finetune[task].medium in ("image", "video"):
            requests[task] = MAKERS[task](rows, settings.finetune[task].medium, samples, settings)
    write_json(output / "requests.json", {"tolerance": TOLERANCE, "tasks": requests})
    pq.write_table(samples.media(), output / "media.parquet", compression="none")
    pq.write_table(_vectors(requests, evaluation), output / "vectors.parquet", compression="zstd")


def _predictions(evaluation: Path, task: str) -> list[Row]:
    rows: list[Row] = read_table(evaluation / "predictions" / f"{task}.parquet").to_pylist()
    return rows


class _Samples:
    """The raw media of the test samples that are asked for, each file once."""

    def __init__(self, data: Path, validated: Path) -> None:
        self._data = data
        table = read_table(validated / "accepted.parquet")
        rows = table.filter(pc.equal(table["split"], "test")).to_pylist()
        self._places = {row["id"]: (row["shard"], row["row"]) for row in rows}
        self._rows: dict[str, Row] = {}
        self._kinds: dict[tuple[str, str], str] = {}
        self.contents: dict[str, tuple[str, bytes]] = {}

    def read(self, ids: Sequence[str], *kinds: str) -> None:
        """Read these media and the texts of these samples."""
        for identity in sorted(set(ids)):
            if identity in self._rows and all((identity, kind) in self._kinds for kind in kinds):
                continue
            shard, number = self._places[identity]
            row = read_rows(self._data / shard, [*kinds, "transcript", "captions"], start=number, stop=number + 1)[0]
            for kind in kinds:
                key = hashlib.sha256(row[kind]).hexdigest()
                self.contents[key] = (kind, row[kind])
                self._kinds[identity, kind] = key
            self._rows[identity] = row

    def embedded(self, modality: str, name: str) -> str:
        """The key of what the evaluation embedded under that name, read if need be; of a text it is the text."""
        if modality == "text":
            identity, _, place = name.rpartition("#")
            self.read([identity])
            return self.text(identity, int(place))
        self.read([name], modality)
        return self.key(name, modality)

    def key(self, identity: str, kind: str) -> str:
        return self._kinds[identity, kind]

    def transcript(self, identity: str) -> str | None:
        found: str | None = self._rows[identity]["transcript"]
        return found or None

    def text(self, identity: str, place: int = 0) -> str:
        """A caption, in composed form as it was prepared."""
        return unicodedata.normalize("NFC", self._rows[identity]["captions"][place]["text"])

    def size(self, key: str) -> int:
        """How many bytes a file or a text has."""
        return len(self.contents[key][1]) if key in self.contents else len(key.encode())

    def media(self) -> pa.Table:
        contents = sorted(self.contents.items())
        rows = [{"key": key, "kind": kind, "content": content} for key, (kind, content) in contents]
        return pa.Table.from_pylist(rows, MEDIA)


def _captioning(rows: list[Row], of: str, samples: _Samples, settings: Settings) -> list[Row]:
    chosen = _spread(rows, settings.release.golden)
    samples.read([row["input_id"] for row in chosen], of)
    return [
        {"id": row["id"], "kind": of, "media": samples.key(row["input_id"], of), "prediction": row["prediction"]}
        for row in chosen
    ]


def _summarisation(rows: list[Row], of: str, samples: _Samples, settings: Settings) -> list[Row]:
    asked = _captioning(rows, of, samples, settings)
    return [{**request, "transcript": samples.transcript(request["id"])} for request in asked]


def _retrieval(rows: list[Row], samples: _Samples, settings: Settings) -> list[Row]:
    """For queries of every direction between two modalities, their best candidates with the order and the scores that
    the evaluation gave them; as many as fit into a request."""
    known = (*media(), "text")
    directions: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        pair = tuple(row["direction"].split("_to_"))
        if set(pair) <= set(known):  # others are from language to language
            directions.setdefault(pair, []).append(row)
    requests = []
    shares = np.array_split(np.arange(settings.release.golden), max(1, len(directions)))
    for ((asking, asked), found), share in zip(directions.items(), shares, strict=False):
        requests += [_search(row, asking, asked, samples, settings) for row in _spread(found, len(share))]
    return [request for request in requests if request["order"]]


def _search(row: Row, asking: str, asked: str, samples: _Samples, settings: Settings) -> Row:
    most, largest = settings.serve.max_items - 1, FILES_SHARE * settings.serve.max_body_bytes
    query = samples.embedded(asking, row["query_id"])
    sent: dict[str, float] = {}
    names: dict[str, str] = {}
    size, last = samples.size(query), float("inf")
    for identity, score in zip(row["top"], row["top_scores"], strict=True):
        key = samples.embedded(asked, identity)
        size += samples.size(key)
        fits = len(sent) < most and (len(sent) < 2 or size < largest)
        fits &= asked != "text" or len(key) <= settings.serve.max_characters
        if last - score > RESOLUTION and key not in sent and fits:
            sent[key], names[key] = score, identity
            last = score
    # Sent in the order of their hashes, so that answering in the order of arrival is wrong.
    keys = sorted(sent)
    return {
        "id": row["id"],
        "query": {"modality": asking, "key": query, "id": row["query_id"]},
        "candidates": {"modality": asked, "keys": keys, "ids": [names[key] for key in keys]},
        "order": sorted(range(len(keys)), key=lambda place: -sent[keys[place]]),
        "scores": [sent[key] for key in keys],
    }


def _choosing(rows: list[Row], task: str, inputs: Sequence[str], samples: _Samples) -> list[Row]:
    requests = []
    kinds = [name for name in inputs if name in media()]
    samples.read([row["input_id"] for row in rows], *kinds)
    for row in rows:
        identity = row["input_id"]
        texts = {"question": row["query"], "transcript": samples.transcript(identity)}
        if "text" in inputs:
            texts["text"] = samples.text(identity)
        requests.append(
            {
                "id": row["id"],
                "task": task,
                "texts": {name: texts[name] for name in inputs if name not in kinds},
                "media": {sent_as(kind): samples.key(identity, kind) for kind in kinds},
                "prediction": row["prediction"],
                "score": row["score"],
            }
        )
    return requests


MAKERS = {"captioning": _captioning, "summarisation": _summarisation}


def _vectors(requests: Mapping[str, list[Row]], evaluation: Path) -> pa.Table:
    """The offline embeddings of what retrieval requests send, by text and by content hash."""
    found: dict[str, Any] = {}
    known: dict[str, dict[str, Any]] = {}
    for request in requests.get("retrieval", []):
        query, candidates = request["query"], request["candidates"]
        for modality in {query["modality"], candidates["modality"]} - known.keys():
            known[modality] = _embeddings(evaluation, "retrieval", modality)
        found[query["key"]] = known[query["modality"]][query["id"]]
        found |= {
            key: known[candidates["modality"]][name]
            for key, name in zip(candidates["keys"], candidates["ids"], strict=True)
        }
    rows = [{"key": key, "vector": vector.tolist()} for key, vector in sorted(found.items())]
    return pa.Table.from_pylist(rows, VECTORS)


def _embeddings(evaluation: Path, task: str, name: str) -> dict[str, Any]:
    stem = evaluation / "embeddings" / f"{task}.{name}"
    ids = read_table(Path(f"{stem}.parquet"))["id"].to_pylist()
    return dict(zip(ids, np.load(f"{stem}.npy"), strict=True))


def _spread(rows: list[Row], count: int) -> list[Row]:
    """At most `count` rows, evenly over all."""
    places = np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)
    return [rows[place] for place in places]
