"""What a model makes of the pictures or clips of the store and of their captions: shard by shard, in parallel, kept and
not done again."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache as once
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from mmcore import fingerprint
from mmcore.data import store
from mmcore.data.engine import ShardWork, code_of, map_shards
from mmcore.data.media_index import ABSENT, MediaReader, index_shard
from mmcore.data.parts import composed, decode, runs_of
from mmcore.metrics.languages import primary
from mmcore.models.multimodal import MultimodalModel
from mmcore.quality.consistency import Pairs
from mmcore.quality.embed import BATCH_SIZE, embed_items
from mmcore.workspace import Progress, hash_file, read_json

WEIGHTS = "model.safetensors"
_MEDIA = pa.schema([("id", pa.string()), ("key", pa.string())])
_CAPTIONS = pa.schema([("owner", pa.int64()), ("text", pa.string()), ("lang", pa.string())])


@dataclass(frozen=True)
class EmbedOptions:
    """`model`: the folder of a saved model, `weights`: the SHA-256 of its weights, `code`: that of its encoders, which
    are found by name, and of the `plugins`, modules that are imported first. `medium`: one of the media. `runs`: the
    rows, as first and last + 1 of each run. `device`: where it computes."""

    model: str
    weights: str
    code: tuple[str, ...]
    plugins: tuple[str, ...]
    medium: str
    runs: tuple[tuple[int, int], ...]
    device: str


def embed_pairs(
    data: Path, accepted: pa.Table, model: Path, split: str, medium: str, *, plugins: Sequence[str] = (),
    device: str = "cpu", cache: Path | None = None, processes: int | None = None,
) -> Pairs:  # fmt: skip
    """Every caption of the accepted rows of `split` (id, split, shard, row) that have the `medium`, with that medium,
    as the model saved in `model` embeds them. What it makes of a shard is kept in `cache`; this machine does it, where
    the model lies."""
    shards = list(store.shards(data, split))
    own = accepted.filter(pc.equal(accepted["split"], split))
    kept: dict[str, list[int]] = {}
    for shard, row in zip(own["shard"].to_pylist(), own["row"].to_pylist(), strict=True):
        kept.setdefault(shard, []).append(row)
    whole = EmbedOptions(
        str(model.resolve()), hash_file(model / WEIGHTS), _code(model, plugins), tuple(plugins), medium, (), device
    )
    work = [
        ShardWork(data / shard.path, shard.sha256, replace(whole, runs=runs_of(sorted(kept[shard.path]))))
        for shard in shards
        if shard.path in kept
    ]
    progress = Progress(f"embedding {split}", total=len(work), unit="shards")
    parts = []
    for folder in map_shards(embed_shard, work, cache=cache, processes=processes):
        parts.append(_read(folder))
        progress.advance()
    return _joined(parts, read_json(model / "config.json")["model"]["embed_dim"])


def embed_shard(work: ShardWork, folder: Path) -> None:
    """Write what the model makes of one shard: `media.npy` [N, E] beside `media.parquet` (id, and the key that rows
    with the same right answers share), `captions.npy` [P, E] beside `captions.parquet` (the place of their medium, the
    text and its language)."""
    options: EmbedOptions = work.options
    network = _load(options.model, options.weights, options.plugins, options.device)
    rows = store.as_rows(store.read_table(work.shard, ["id", "positives", "captions"]))
    nowhere = np.full((len(rows), 2), ABSENT, np.int64)
    places = index_shard(work.shard).get(options.medium, nowhere)
    reader = MediaReader([work.shard], [places])
    chosen = [
        row
        for start, stop in options.runs
        for row in range(start, stop)
        if places[row, 0] != ABSENT and any(caption["text"] for caption in rows[row]["captions"])
    ]
    own = [composed({"captions": rows[row]["captions"]})["captions"] for row in chosen]
    said = [(number, caption) for number, captions in enumerate(own) for caption in captions if caption["text"]]
    nothing = np.zeros((0, network.settings.embed_dim), np.float32)
    media, texts = [nothing], [nothing]
    for start in range(0, len(chosen), BATCH_SIZE):
        some = chosen[start : start + BATCH_SIZE]
        arrays = [
            decode(options.medium, reader[row] or b"", rows[row]["id"], network.processor.prepare) for row in some
        ]
        media.append(embed_items(network, options.medium, arrays))
    for start in range(0, len(said), BATCH_SIZE):
        texts.append(embed_items(network, "text", [one["text"] for _, one in said[start : start + BATCH_SIZE]]))
    np.save(folder / "media.npy", np.concatenate(media))
    np.save(folder / "captions.npy", np.concatenate(texts))
    named = [{"id": rows[row]["id"], "key": rows[row]["positives"] or rows[row]["id"]} for row in chosen]
    spoken = [{"owner": number, "text": one["text"], "lang": primary(one["lang"])} for number, one in said]
    for name, content, schema in (("media", named, _MEDIA), ("captions", spoken, _CAPTIONS)):
        pq.write_table(pa.Table.from_pylist(content, schema), folder / f"{name}.parquet", compression="zstd")


@once
def _load(folder: str, weights: str, plugins: tuple[str, ...], device: str) -> MultimodalModel:
    """The model, once per process; ValueError if its weights are not those."""
    # One process for each core: threads would only wait for each other.
    torch.set_num_threads(1)
    for plugin in plugins:
        importlib.import_module(plugin)
    if hash_file(Path(folder) / WEIGHTS) != weights:
        raise ValueError(f"the model in {folder} has changed while it was in use; run the command again")
    return MultimodalModel.load(Path(folder), torch.device(device))


def _code(model: Path, plugins: Sequence[str]) -> tuple[str, ...]:
    encoders = read_json(model / "config.json")["model"]["encoders"].values()
    modules = [f"mmcore.models.encoders.{spec['name']}" for spec in encoders]
    return tuple(code_of(module) for module in (*modules, *plugins) if fingerprint.exists(module))


def _read(folder: Path) -> dict[str, Any]:
    named, spoken = (store.read_table(folder / f"{name}.parquet").to_pydict() for name in ("media", "captions"))
    return {**named, **spoken, "media": np.load(folder / "media.npy"), "captions": np.load(folder / "captions.npy")}


def _joined(parts: Sequence[dict[str, Any]], width: int) -> Pairs:
    nothing = np.zeros((0, width), np.float32)
    before = np.cumsum([0, *(len(part["id"]) for part in parts)])
    owners = [np.array(part["owner"], np.int64) + start for part, start in zip(parts, before, strict=False)]
    return Pairs(
        ids=[name for part in parts for name in part["id"]],
        keys=[key for part in parts for key in part["key"]],
        media_NE=np.concatenate([nothing, *(part["media"] for part in parts)]),
        texts_PE=np.concatenate([nothing, *(part["captions"] for part in parts)]),
        owner=np.concatenate([np.zeros(0, np.int64), *owners]),
        texts=[text for part in parts for text in part["text"]],
        langs=[lang for part in parts for lang in part["lang"]],
    )
