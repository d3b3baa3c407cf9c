import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from mmcore.data import columns, store
from mmcore.data.schema import schema

ROWS = [
    store.row(
        id="a", image=b"12", captions=[{"text": "x", "lang": "en"}, {"text": "", "lang": None}], labels={"k": "v"}
    ),
    store.row(id="b", summary="ünï", qa=[{"question": "q?", "answers": ["1", "2"]}, {"question": "p?", "answers": []}]),
    store.row(id="c", audio=b""),
]


def test_the_table_is_the_one_that_pyarrow_makes() -> None:
    made = columns.table(ROWS, schema())
    made.validate(full=True)
    assert made.equals(pa.Table.from_pylist(ROWS, schema()))
    assert store.as_rows(made) == ROWS
    assert columns.table([], schema()).num_rows == 0


def test_a_part_of_a_column_of_maps_is_that_part() -> None:
    kind = pa.map_(pa.string(), pa.string())
    whole = [{"a": "b"}, {}, {"a": "c", "d": "e"}, {"x": "y"}]
    column = pa.chunked_array([columns.column(whole[:2], kind), columns.column(whole[2:], kind)])
    assert columns.values(column) == whole
    assert columns.values(column.slice(1, 2)) == whole[1:3]
    assert columns.values(column.slice(2, 2)) == whole[2:]
    twice = pa.chunked_array([pa.array([[("a", "b"), ("a", "c")]], kind)])
    with pytest.raises(KeyError, match="twice in the map of 'a', 'a'"):
        columns.values(twice)


def test_writing_and_reading_a_store_does_not_import_pandas(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from mmcore.data import store
store.write_shards(Path({str(tmp_path)!r}), "train", [store.row(id="a", image=b"1", labels={{"k": "v"}})])
store.verify(Path({str(tmp_path)!r})) if store.write_manifest(Path({str(tmp_path)!r})) else None
store.read_rows(Path({str(tmp_path)!r}) / "train/part-00000.parquet")
sys.exit("pandas" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
