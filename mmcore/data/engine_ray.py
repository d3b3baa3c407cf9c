"""Work on shards done by a Ray cluster: the only place that knows Ray (extra `ray`).

A shard travels to its task as bytes and what the task makes of it comes back as bytes, so the nodes need no common
file system and a node that dies takes nothing with it but work: Ray does its tasks again on another one.
"""

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from mmcore.data.engine import Function, ShardWork, new_entry
from mmcore.data.store import check_shard

# Two tasks for each core keep the cluster busy without a whole data set waiting in its memory.
TASKS_PER_CORE = 2
RETRIES = 10

Files = list[tuple[str, bytes]]


def make_all(tasks: Sequence[tuple[Function, ShardWork, Path]]) -> Iterator[Path]:
    """Fill the entry of each task on the cluster that RAY_ADDRESS names; yields the entries in order.

    ConnectionError where no cluster answers.
    """
    if not ray.is_initialized():
        ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False)
    cluster: Any = ray
    remote = cluster.remote(max_retries=RETRIES, num_cpus=1)(_make)
    at_once = TASKS_PER_CORE * max(1, int(cluster.cluster_resources().get("CPU", 1)))
    waiting: deque[tuple[Path, Any]] = deque()
    for function, item, entry in tasks:
        check_shard(item.shard)
        waiting.append((entry, remote.remote(function, item, item.shard.read_bytes())))
        if len(waiting) >= at_once:
            yield _finish(*waiting.popleft())
    while waiting:
        yield _finish(*waiting.popleft())


def _finish(entry: Path, reference: Any) -> Path:
    try:
        files: Files = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    with new_entry(entry) as folder:
        for name, content in files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    return entry


def _make(function: Callable[[ShardWork, Path], None], item: ShardWork, content: bytes) -> Files:
    with tempfile.TemporaryDirectory(prefix="mmcore-") as place:
        shard, folder = Path(place, "in", item.shard.name), Path(place, "out")
        shard.parent.mkdir()
        shard.write_bytes(content)
        folder.mkdir()
        function(replace(item, shard=shard), folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return [(file.relative_to(folder).as_posix(), file.read_bytes()) for file in files]
