import contextlib
import dataclasses
import io
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmcore import params
from mmcore.data import frozen, ingest, store
from mmcore.data.importers import ImportOptions
from mmcore.data.importing import import_data
from mmcore.data.ingest import IngestReport
from mmcore.settings import Settings
from mmcore.workspace import Workspace, hash_folder
from tests.conftest import ROOT


def picture(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 20), (number % 256, 40, 80)).save(file, "PNG")
    return file.getvalue()


def add(source: Path, *numbers: int) -> None:
    """Pictures, written some time ago, and a line for each of them."""
    source.mkdir(exist_ok=True)
    with open(source / "metadata.jsonl", "a", encoding="utf-8") as lines:
        for number in numbers:
            (source / f"{number}.png").write_bytes(picture(number))
            lines.write(f'{{"file_name": "{number}.png", "text": "picture {number}"}}\n')
    age(source)


def age(source: Path) -> None:
    for path in source.rglob("*"):
        long_ago(path)


def long_ago(path: Path) -> None:
    os.utime(path, (1e9, 1e9))


@contextlib.contextmanager
def writing(path: Path, content: bytes) -> Iterator[None]:
    """Somebody appends `content` to the file again and again."""
    end = threading.Event()

    def write() -> None:
        while not end.wait(0.05):
            with open(path, "ab") as file:
                file.write(content)

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.2)
    try:
        yield
    finally:
        end.set()
        writer.join()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    add(tmp_path / "inbox", *range(40))
    return tmp_path / "inbox"


@pytest.fixture
def workspace(tmp_path: Path, source: Path) -> Workspace:
    """A project whose data are what lay in its source so far."""
    work = Workspace(tmp_path / "project")
    work.root.mkdir()
    import_data(source, work.data, format="imagefolder", options=ImportOptions())
    return work


def settings(source: Path | str | None, **fields: object) -> Settings:
    whole = params.load(ROOT / "params.yaml")
    fed = dataclasses.replace(
        whole.data, source=None if source is None else str(source), format="imagefolder", fields=fields
    )
    return dataclasses.replace(whole, data=fed)


def take_in(workspace: Workspace, source: Path, **options: bool) -> IngestReport:
    return ingest.ingest(workspace, settings(source), **options)


def ids(workspace: Workspace) -> set[str]:
    found = store.shards(workspace.data)
    return {row["id"] for shard in found for row in store.read_rows(workspace.data / shard.path, ["id"])}


def test_rows_whose_ids_are_new_are_appended_as_new_shards(workspace: Workspace, source: Path):
    before = {shard.path: shard.sha256 for shard in store.shards(workspace.data)}
    add(source, 40, 41, 42)
    report = take_in(workspace, source)
    assert sum(report.rows.values()) == 3
    assert report.describe().startswith("3 new rows (")
    after = {shard.path: shard.sha256 for shard in store.shards(workspace.data)}
    assert before.items() <= after.items()
    assert ids(workspace) == {f"{number}.png" for number in range(43)}


def test_with_nothing_new_not_a_byte_is_written(workspace: Workspace, source: Path):
    before = hash_folder(workspace.data), workspace.data.stat().st_ino
    report = take_in(workspace, source)
    assert (report.changed, report.describe()) == (False, "nothing new")
    assert (hash_folder(workspace.data), workspace.data.stat().st_ino) == before


def test_an_empty_source_is_nothing_new(workspace: Workspace, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    assert take_in(workspace, tmp_path / "empty").describe() == "nothing new"


def test_a_dry_run_counts_and_changes_nothing(workspace: Workspace, source: Path):
    before = hash_folder(workspace.data)
    add(source, 40, 41)
    dry = take_in(workspace, source, dry_run=True)
    assert hash_folder(workspace.data) == before
    assert dry == take_in(workspace, source)


def test_bad_new_rows_are_refused_once_and_stop_nothing(workspace: Workspace, source: Path):
    add(source, 40)
    (source / "39.png").write_bytes(b"no picture any more")
    with open(source / "metadata.jsonl", "a", encoding="utf-8") as lines:
        lines.write('{"file_name": "late.png", "text": "not here yet"}\n{"file_name": "../out.png", "text": "evil"}\n')
    age(source)
    report = take_in(workspace, source)
    assert report.refused == {"missing_file": 1, "unsafe_path": 1}
    assert sum(report.rows.values()) == 1
    before = hash_folder(workspace.data)
    assert not take_in(workspace, source).changed
    assert hash_folder(workspace.data) == before


def test_new_refusals_alone_are_recorded_too(workspace: Workspace, source: Path):
    with open(source / "metadata.jsonl", "a", encoding="utf-8") as lines:
        lines.write('{"file_name": "late.png", "text": "not here yet"}\n')
    age(source)
    assert take_in(workspace, source).describe() == "nothing new, 1 refused (1 missing_file)"
    assert store.read_table(workspace.data / "refused.parquet")["id"].to_pylist() == ["late.png"]
    assert not take_in(workspace, source).changed


def test_a_row_that_was_refused_is_taken_once_its_file_has_come(workspace: Workspace, source: Path):
    with open(source / "metadata.jsonl", "a", encoding="utf-8") as lines:
        lines.write('{"file_name": "late.png", "text": "not here yet"}\n')
    age(source)
    take_in(workspace, source)
    (source / "late.png").write_bytes(picture(99))
    age(source)
    assert sum(take_in(workspace, source).rows.values()) == 1
    assert not (workspace.data / "refused.parquet").exists()


def test_a_file_that_is_still_written_is_left_for_the_next_time(workspace: Workspace, source: Path):
    add(source, 40, 41)
    with writing(source / "41.png", b"more"):
        report = take_in(workspace, source)
    assert (sum(report.rows.values()), report.waiting) == (1, 1)
    assert "1 still being written" in report.describe()
    assert "41.png" not in ids(workspace)
    (source / "41.png").write_bytes(picture(41))
    long_ago(source / "41.png")
    assert sum(take_in(workspace, source).rows.values()) == 1


def test_a_file_with_a_temporary_name_is_left(workspace: Workspace, source: Path):
    (source / ".42.png").write_bytes(picture(42))
    with open(source / "metadata.jsonl", "a", encoding="utf-8") as lines:
        lines.write('{"file_name": ".42.png", "text": "hidden"}\n')
    age(source)
    assert take_in(workspace, source).describe() == "nothing new, 1 still being written, left for the next time"


def test_while_a_list_is_written_nothing_is_read(workspace: Workspace, source: Path):
    add(source, 40)
    with writing(source / "metadata.jsonl", b"\n"):
        report = take_in(workspace, source)
    assert (sum(report.rows.values()), report.waiting) == (0, 1)


def test_what_comes_while_the_source_is_read_waits_for_the_next_time(
    workspace: Workspace, source: Path, monkeypatch: pytest.MonkeyPatch
):
    add(source, 40)
    verify = store.verify

    def meanwhile(root: Path) -> None:
        """The import begins by verifying the store: by then another picture has begun to arrive."""
        monkeypatch.undo()
        with open(source / "metadata.jsonl", "a", encoding="utf-8") as lines:
            lines.write('{"file_name": "41.png", "text": "picture 41"}\n')
        (source / "41.png").write_bytes(picture(41)[:20])
        verify(root)

    monkeypatch.setattr(store, "verify", meanwhile)
    report = take_in(workspace, source)
    assert (sum(report.rows.values()), "41.png" in ids(workspace)) == (1, False)
    (source / "41.png").write_bytes(picture(41))
    age(source)
    assert sum(take_in(workspace, source).rows.values()) == 1
    assert ids(workspace) == {f"{number}.png" for number in range(42)}


@pytest.mark.parametrize("place", ["train.parquet", "data/train/0000.parquet"])
def test_while_a_table_is_half_written_nothing_is_read(workspace: Workspace, tmp_path: Path, place: str):
    table = tmp_path / "hub" / place
    table.parent.mkdir(parents=True)
    pq.write_table(pa.table({"id": ["new"], "image": [picture(1)], "text": ["a square"]}), table)
    whole = table.read_bytes()
    table.write_bytes(whole[:100])
    fed = settings(tmp_path / "hub")
    fed = dataclasses.replace(fed, data=dataclasses.replace(fed.data, format="huggingface"))
    with writing(table, b"more"):
        report = ingest.ingest(workspace, fed)
    assert (sum(report.rows.values()), report.waiting) == (0, 1)
    table.write_bytes(whole)
    long_ago(table)
    assert sum(ingest.ingest(workspace, fed).rows.values()) == 1


def test_a_file_that_settled_long_ago_costs_no_waiting(workspace: Workspace, source: Path):
    started = time.monotonic()
    take_in(workspace, source)
    assert time.monotonic() - started < ingest.SETTLE_SECONDS


def test_new_rows_of_a_frozen_project_leave_its_test_split_alone(workspace: Workspace, source: Path):
    record = frozen.freeze(workspace.data)
    add(source, *range(40, 120))
    dry = take_in(workspace, source, dry_run=True)
    assert dry == take_in(workspace, source)
    assert dry.rows["test"] == 0
    assert dry.rows["train"] > dry.rows["validation"] > 0
    assert frozen.read(workspace.data) == record
    frozen.check(workspace.data)


def test_a_row_of_a_frozen_group_is_refused_once(workspace: Workspace, source: Path):
    frozen.freeze(workspace.data)
    (group,) = {row["group"] for row in store.read_rows(workspace.data / "test" / "part-00000.parquet", stop=1)}
    with open(source / "metadata.jsonl", "w", encoding="utf-8") as lines:
        lines.write(f'{{"file_name": "new.png", "text": "again", "product": "{group}"}}\n')
    (source / "new.png").write_bytes(picture(7))
    age(source)
    fed = settings(source, group="product")
    assert ingest.ingest(workspace, fed).refused == {"frozen_group": 1}
    assert not ingest.ingest(workspace, fed).changed


def test_a_relative_source_lies_in_the_project_wherever_the_run_works(
    workspace: Workspace, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MMCORE_STATE", str(tmp_path / ".mmcore"))
    assert ingest.ingest(workspace, settings("inbox")).source == "inbox"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (None, "data.source names no folder"),
        ("/not/mounted", "is not there; mount it"),
        ("https://x/y", "give a folder"),
    ],
)
def test_a_source_that_cannot_be_read_is_named_with_the_fix(workspace: Workspace, place: str | None, said: str):
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        ingest.ingest(workspace, settings(place))


def test_an_unknown_field_is_named(workspace: Workspace, source: Path):
    with pytest.raises(ValueError, match="grope"):
        ingest.ingest(workspace, settings(source, grope="product"))
