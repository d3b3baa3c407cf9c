import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcore.data import store
from mmcore.quality.batch import limits_of, profile_batch, read_batch
from tests.quality.samples import captions, clip, image, sample, sound


def test_a_shard_of_the_test_split_gives_the_numbers_of_the_reference(chain):
    found = profile_batch(chain.root / "data" / "test" / "part-00000.parquet", chain.root / "reference")
    expected = pq.read_table(chain.root / "reference" / "reference.parquet").to_pylist()
    rows = {row["id"]: row for row in found.to_pylist()}
    for row in expected:
        of_embeddings = ("component", "nearest", "similarity")
        without = {name: value for name, value in row.items() if not any(kind in name for kind in of_embeddings)}
        assert rows[row["id"]] == without


def test_a_folder_of_files_is_a_batch(chain, tmp_path):
    (tmp_path / "sub").mkdir()
    files = {"b.PNG": image(50), "a.wav": sound(0.5), "sub/c.apng": clip(1, 2), "d.txt": b" a zebra\n", "e.md": b"no"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    found = {row["id"]: row for row in profile_batch(tmp_path, chain.root / "reference").to_pylist()}
    assert sorted(found) == ["a.wav", "b.PNG", "d.txt", "sub/c.apng"]
    assert found["a.wav"]["audio_seconds"] == 0.5
    assert found["b.PNG"]["image_width"] == 20
    assert found["sub/c.apng"]["video/video_frames"] == 2
    assert (found["d.txt"]["caption_words"], found["d.txt"]["caption_unknown"]) == (2, 0.5)


def test_a_parquet_file_may_have_some_of_the_columns(chain, tmp_path):
    pq.write_table(pa.table({"image": [image(9), b"broken"], "when": [1, 2]}), tmp_path / "requests.parquet")
    found = profile_batch(tmp_path / "requests.parquet", chain.root / "reference").to_pylist()
    assert [row["id"] for row in found] == ["requests.parquet:0", "requests.parquet:1"]
    assert [row["image_readable"] for row in found] == [1, 0]


def test_a_whole_store_is_a_batch(tmp_path):
    for split in ("train", "test"):
        store.write_shards(tmp_path, split, [sample(f"{split}-{number}") for number in range(3)])
    store.write_manifest(tmp_path)
    assert [row["id"] for row in read_batch(tmp_path)] == [f"{s}-{n}" for s in ("train", "test") for n in range(3)]


def test_what_is_no_batch_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no media"):
        read_batch(tmp_path)
    with pytest.raises(ValueError, match="is no batch"):
        read_batch(tmp_path / "nowhere")
    pq.write_table(pa.table({"price": [1]}), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match=r"other\.parquet has none of the store's media or text columns"):
        list(read_batch(tmp_path / "other.parquet"))


def test_a_batch_is_read_within_the_limits_of_the_reference(chain, tmp_path):
    assert limits_of(chain.root / "reference").max_pixels == 10_000
    (tmp_path / "large.png").write_bytes(image(width=200, height=100))
    (row,) = profile_batch(tmp_path, chain.root / "reference").to_pylist()
    assert row == {"id": "large.png", "image_height": 100, "image_width": 200}


def test_captions_without_text_do_no_harm(chain, tmp_path):
    store.write_shards(tmp_path, "test", [sample("a", captions=captions("")), sample("b", captions=[])])
    found = profile_batch(tmp_path / "test" / "part-00000.parquet", chain.root / "reference").to_pylist()
    assert [row["caption_words"] for row in found] == [0, None]
