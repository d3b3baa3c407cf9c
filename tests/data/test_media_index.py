import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcore.data import media_index, store
from mmcore.data.media_index import MediaReader, index_shard
from mmcore.data.modalities import media

MEDIA = media()


def noisy(count: int, *, longest: int, seed: int = 0) -> list[bytes | None]:
    """Values of many lengths, some empty, some absent, some that look like what stands around them in the file."""
    random = np.random.default_rng(seed)
    values: list[bytes | None] = [random.bytes(int(n)) for n in random.integers(0, longest, count)]
    values[1], values[2], values[3], values[4] = None, b"", b"\0\0\0\0", b"\4\0\0\0" * 20
    return values


def store_of(root: Path, *, rows: int = 250, longest: int = 40_000) -> Path:
    images, audios = noisy(rows, longest=longest), noisy(rows, longest=500, seed=1)
    made = [
        store.row(id=str(n), image=image, audio=audio)
        for n, (image, audio) in enumerate(zip(images, audios, strict=True))
    ]
    store.write_shards(root, "train", made, rows_per_shard=100)
    store.write_manifest(root)
    return root


def test_every_value_is_found_where_parquet_reads_it(tmp_path: Path) -> None:
    root = store_of(tmp_path)
    for shard in store.shards(root):
        rows = store.read_rows(root / shard.path, ["image", "audio"])
        places = index_shard(root / shard.path)
        assert set(places) == {"image", "audio"}  # nobody has a video
        content = (root / shard.path).read_bytes()
        for name, found in places.items():
            read = [None if start < 0 else content[start : start + length] for start, length in found]
            assert read == [row[name] for row in rows]


def test_a_reader_joins_the_rows_of_many_shards(tmp_path: Path) -> None:
    root = store_of(tmp_path)
    paths = [root / shard.path for shard in store.shards(root)]
    keep = [[0, 5, 99], list(range(100)), [49, 3]]
    places = [index_shard(path)["image"][rows] for path, rows in zip(paths, keep, strict=True)]
    rows = [store.read_rows(path, ["image"])[row] for path, kept in zip(paths, keep, strict=True) for row in kept]
    reader = MediaReader(paths, places)
    assert len(reader) == 105
    assert [reader[index] for index in range(105)] == [row["image"] for row in rows]


def test_only_so_many_files_are_mapped_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_index, "mapped_at_once", lambda: 2)
    root = store_of(tmp_path, rows=500, longest=100)
    paths = [root / shard.path for shard in store.shards(root)]
    reader = MediaReader(paths, [index_shard(path)["image"] for path in paths])
    wanted = [row["image"] for path in paths for row in store.read_rows(path, ["image"])]
    for index in np.random.default_rng(0).permutation(500):
        assert reader[int(index)] == wanted[index]
        assert sum(mapped is not None for mapped in reader._mapped) <= 2


def test_compressed_media_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "part-00000.parquet"
    table = pa.table({name: pa.array([b"the same bytes " * 100] * 3, pa.binary()) for name in MEDIA})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    with pytest.raises(ValueError, match="are not stored as plain bytes; import the data again"):
        index_shard(path)


def test_an_altered_shard_is_refused_before_it_is_read(tmp_path: Path) -> None:
    root = store_of(tmp_path, rows=20)
    (path,) = [root / shard.path for shard in store.shards(root)]
    places = index_shard(path)["image"]
    content = bytearray(path.read_bytes())
    content[places[0][0]] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"train/part-00000.parquet is not what manifest.json says"):
        MediaReader([path], [places])[0]


def test_as_many_files_are_mapped_as_the_system_lets_the_process_open():
    code = (
        "import resource; from mmcore.data.media_index import mapped_at_once\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))\n"
        "print(mapped_at_once(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["512", "4096", "4096"]
