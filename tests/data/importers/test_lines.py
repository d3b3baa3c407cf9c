from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcore.data.importers._lines import MAX_LINE_BYTES, as_lines, batch_rows, count_lines, read_lines


def test_a_tab_separated_table_is_read_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("id\tcaption\n1\ta, b\n")
    assert [(line.place, line.values) for line in read_lines(path)] == [("a.tsv:2", {"id": "1", "caption": "a, b"})]


def test_an_endless_line_costs_one_line_and_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with open(path, "wb") as file:
        file.write(b'{"id": "')
        file.truncate(3 * MAX_LINE_BYTES)
        file.seek(0, 2)
        file.write(b'"}\n{"id": "2"}\n')
    first, second = read_lines(path)
    assert (first.values, first.reason) == (None, "it is longer than 16777216 bytes")
    assert (second.place, second.values) == ("a.jsonl:2", {"id": "2"})


def test_lines_are_counted_without_being_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n{}\n{}")
    assert count_lines(tmp_path / "a.jsonl") == 3
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "a.parquet")
    assert count_lines(tmp_path / "a.parquet") == 2


def test_rows_with_large_media_come_few_at_a_time() -> None:
    assert batch_rows(num_bytes=100, num_rows=10) == 1000
    assert batch_rows(num_bytes=1 << 30, num_rows=1024) == 8
    assert batch_rows(num_bytes=1 << 40, num_rows=2) == 1
    assert batch_rows(num_bytes=0, num_rows=0) >= 1


def test_a_row_with_broken_text_costs_itself_alone() -> None:
    broken = pa.array([b"good", b"\xff"], pa.binary()).view(pa.string())
    batch = pa.RecordBatch.from_arrays([broken], ["text"])
    good, bad = as_lines(batch, "t", 5)
    assert (good.place, good.values) == ("t:5", {"text": "good"})
    assert (bad.place, bad.values) == ("t:6", None)
    assert "utf-8" in bad.reason


@pytest.mark.parametrize("keep", [0, 100, -20])
def test_a_parquet_file_that_is_none_is_named(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": list(range(1000))}), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"a.parquet is no Parquet file that can be read"):
        list(read_lines(path))
