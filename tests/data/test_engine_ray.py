"""Two node processes on this machine stand for a cluster."""

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmcore.data import store
from mmcore.data.engine import ShardWork, map_shards
from mmcore.workspace import hash_folder
from tests.conftest import ROOT
from tests.data.test_media_index import store_of

ray = pytest.importorskip("ray")
Cluster = pytest.importorskip("ray.cluster_utils").Cluster
pytestmark = pytest.mark.ray


def slow_copy(work: ShardWork, folder: Path) -> None:
    """The ids of the shard, after a while; on the node that is doomed, never. The others wait until it has begun."""
    node, doomed = ray.get_runtime_context().get_node_id() if ray.is_initialized() else "here", work.options["doomed"]
    with open(work.options["log"], "a") as log:
        log.write(f"{node}\n")
    time.sleep(600 if node == doomed else 0.1)
    deadline = time.monotonic() + 60
    while doomed != "none" and node != "here" and doomed not in Path(work.options["log"]).read_text():
        assert time.monotonic() < deadline, "the cluster gives the node that is doomed no work"
        time.sleep(0.05)
    (folder / "ids").write_text(" ".join(row["id"] for row in store.read_rows(work.shard, ["id"])))
    if not work.shard.name.startswith("part-"):
        raise ValueError(f"{work.shard.name} is no shard")


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "RAY_ADDRESS")}
    os.environ["PYTHONPATH"] = str(ROOT)  # the functions of this file are found by name on the nodes, too
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    os.environ["RAY_ADDRESS"] = made.address
    yield made
    ray.shutdown()
    made.shutdown()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


def work_of(root: Path, *, doomed: str = "none") -> list[ShardWork]:
    options = {"log": str(root.parent / "log"), "doomed": doomed}
    return [ShardWork(root / shard.path, shard.sha256, options) for shard in store.shards(root)]


def test_the_cluster_makes_what_one_machine_makes(cluster: object, tmp_path: Path) -> None:
    work = work_of(store_of(tmp_path / "data", rows=600, longest=100))
    list(map_shards(slow_copy, work, cache=tmp_path / "local", processes=1))
    list(map_shards(slow_copy, work, cache=tmp_path / "ray", engine="ray"))
    assert hash_folder(tmp_path / "ray") == hash_folder(tmp_path / "local")


def test_an_error_on_a_node_is_raised_here_as_it_was(cluster: object, tmp_path: Path) -> None:
    (work,) = work_of(store_of(tmp_path / "data", rows=10, longest=100))
    renamed = work.shard.rename(work.shard.with_name("other.parquet"))
    store.write_manifest(tmp_path / "data")
    with pytest.raises(ValueError, match=r"^other.parquet is no shard$"):
        list(map_shards(slow_copy, [replace(work, shard=renamed)], cache=tmp_path / "ray", engine="ray"))


def kill_at_work(cluster: object, node: Any, log: Path) -> None:
    while not log.is_file() or node.node_id not in log.read_text():
        time.sleep(0.05)
    cluster.remove_node(node, allow_graceful=False)  # type: ignore[attr-defined]


def test_a_node_that_dies_half_way_loses_nothing(cluster: object, tmp_path: Path) -> None:
    _, dying = cluster.list_all_nodes()  # type: ignore[attr-defined]
    work = work_of(store_of(tmp_path / "data", rows=1200, longest=100), doomed=dying.node_id)
    list(map_shards(slow_copy, work, cache=tmp_path / "local", processes=2))
    (tmp_path / "log").unlink()
    killer = threading.Thread(target=kill_at_work, args=(cluster, dying, tmp_path / "log"), daemon=True)
    killer.start()
    done = list(map_shards(slow_copy, work, cache=tmp_path / "ray", engine="ray"))
    killer.join()
    assert len(done) == len(work) == 12
    begun = (tmp_path / "log").read_text().split()
    assert dying.node_id in begun
    assert len(begun) > 12  # what it had begun was begun again
    assert hash_folder(tmp_path / "ray") == hash_folder(tmp_path / "local")
