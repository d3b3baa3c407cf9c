from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mmcore.data import store
from mmcore.quality.consistency import Pairs
from mmcore.quality.review import review_page, review_table, write_review
from tests.quality.samples import captions, clip, image, sample


def scored(*scores: float) -> tuple[Pairs, np.ndarray]:
    """Two rows with two captions each."""
    nothing = np.zeros((0, 2), np.float32)
    texts = ["one", "two", "<three>", "four"]
    return Pairs(["a", "b'c"], ["a", "b'c"], nothing, nothing, np.array([0, 0, 1, 1]), texts, ["en"] * 4), np.array(
        scores
    )


def test_the_worst_caption_comes_first():
    table = review_table({"train": scored(0.0, 1.0, 7.12346, -1.0)})
    assert table.column_names == ["id", "split", "score", "rank", "text"]
    assert table["text"].to_pylist() == ["<three>", "two", "one", "four"]
    assert table["rank"].to_pylist() == [1, 2, 3, 4]
    assert table["score"].to_pylist()[0] == 7.1235
    assert table["split"].unique().to_pylist() == ["train"]


def test_the_page_shows_the_worst_rows_with_the_command_that_drops_them(tmp_path: Path):
    rows = [sample("a", image=image(90)), sample("b'c", video=clip(10, 200), captions=captions("x"))]
    store.write_shards(tmp_path / "data", "train", rows)
    store.write_manifest(tmp_path / "data")
    accepted = pa.table(
        {"id": ["a", "b'c"], "split": ["train"] * 2, "shard": ["train/part-00000.parquet"] * 2, "row": [0, 1]}
    )
    table = review_table({"train": scored(0.0, 1.0, 7.0, -1.0)})
    output = tmp_path / "review"
    output.mkdir()
    write_review(output, table, name="flowers", data=tmp_path / "data", accepted=accepted, limit=1)
    page = (output / "index.html").read_text()
    assert store.read_table(output / "review.parquet").equals(table)
    assert "&lt;three&gt;" in page
    assert "<three>" not in page
    assert "mmcore data quarantine drop &#39;b&#39;&#34;&#39;&#34;&#39;c&#39;" in page
    assert page.count("data:image/jpeg;base64,") == 1
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize("now", [["b'c", "a"], ["a"]])
def test_a_row_that_no_longer_lies_where_it_was_is_refused(tmp_path: Path, now: list[str]):
    store.write_shards(tmp_path / "data", "train", [sample(name) for name in now])
    store.write_manifest(tmp_path / "data")
    accepted = pa.table(
        {"id": ["a", "b'c"], "split": ["train"] * 2, "shard": ["train/part-00000.parquet"] * 2, "row": [0, 1]}
    )
    table = review_table({"train": scored(0.0, 1.0, 7.0, -1.0)})
    for places in (accepted, accepted[:1]):
        with pytest.raises(ValueError, match=r"'b'c' is not where it was .*mmcore run"):
            write_review(tmp_path, table, name="x", data=tmp_path / "data", accepted=places, limit=1)


def test_a_page_without_rows_says_so():
    assert "Nothing to review" in review_page([], name="x", table=review_table({}))
