import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcore.data import store
from mmcore.data.frozen import check, freeze
from mmcore.data.importers import ImportOptions
from mmcore.data.importing import REFUSED, ImportReport, import_data
from mmcore.workspace import hash_folder
from tests.conftest import ROOT
from tests.data.conftest import rows_of
from tests.data.importers.test_imagefolder import listed, pictures
from tests.data.importers.test_webdataset import shard
from tests.data.test_prepare import picture

DATA = ROOT.parent / "shared" / "data"


def bring(source: Path, destination: Path, format: str = "imagefolder", **how: bool) -> ImportReport:
    return import_data(source, destination, format=format, options=ImportOptions(), **how)


def counts(train: int = 0, validation: int = 0, test: int = 0) -> dict[str, int]:
    return {"train": train, "validation": validation, "test": test}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for folder in ("train", "val", "test"):
        names = [f"{number}.png" for number in range(3)]
        lines = [{"file_name": name, "captions": [f"{folder} {name}"], "scene": "s"} for name in names]
        listed(pictures(root / folder, *names), *lines)
    return root


def refused_ids(data: Path) -> list[tuple[str, str]]:
    rows = store.as_rows(store.read_table(data / REFUSED))
    return [(row["id"], row["problems"][0]) for row in rows]


def test_every_picture_becomes_a_row_of_its_split(source: Path, tmp_path: Path) -> None:
    report = bring(source, tmp_path / "data")
    assert report == ImportReport(counts(3, 3, 3), {}, counts(3, 3, 3), guessed={"": 9})
    store.verify(tmp_path / "data")
    row = rows_of(tmp_path / "data")["validation"][1]
    assert (row["id"], row["group"], row["source"]) == ("val/1.png", "val/1.png", "photos")
    assert row["image"] == picture(1)
    assert row["captions"] == [{"text": "val 1.png", "lang": None}]
    assert row["meta"] == '{"file_name": "1.png", "scene": "s"}'
    assert row["sha256"] == store.sample_hash(row)
    assert not (tmp_path / "data" / REFUSED).exists()


def test_refused_rows_are_kept_for_quarantine(source: Path, tmp_path: Path) -> None:
    with open(source / "train" / "metadata.jsonl", "a") as file:
        file.write('broken\n{"file_name": "gone.png"}\n{"file_name": "0.png"}\n')
    report = bring(source, tmp_path / "data")
    assert report.rows == counts(3, 3, 3)
    assert report.refused == {"bad_manifest_line": 1, "missing_file": 1, "duplicate_id": 1}
    refused = store.as_rows(store.read_table(tmp_path / "data" / REFUSED))
    assert refused[1] == {
        "id": "train/gone.png", "problems": ["missing_file"], "detail": "there is no file 'gone.png'", "split": "train",
        "source": "photos", "origin": refused[0]["origin"],
    }  # fmt: skip
    store.verify(tmp_path / "data")


def test_rows_without_a_split_are_divided_by_their_group(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(12)]
    lines = [{"file_name": name, "person": f"p{number // 2}"} for number, name in enumerate(names)]
    source = listed(pictures(tmp_path / "photos", *names), *lines)
    import_data(source, tmp_path / "data", format="imagefolder", options=ImportOptions(group="person"))
    rows = rows_of(tmp_path / "data")
    found = {row["id"]: split for split, own in rows.items() for row in own}
    assert found == {name: store.split_of(f"p{number // 2}") for number, name in enumerate(names)}


def test_a_language_that_nobody_states_is_told_from_the_script_and_counted(tmp_path: Path) -> None:
    lines = [{"file_name": "0.png", "captions": ["a dog", "一只狗", {"text": "犬です", "lang": "ja-JP"}]}]
    source = listed(pictures(tmp_path / "photos", "0.png"), *lines)
    report = bring(source, tmp_path / "data")
    assert report.guessed == {"": 1, "zh": 1}
    (row,) = [row for rows in rows_of(tmp_path / "data").values() for row in rows]
    assert [caption["lang"] for caption in row["captions"]] == [None, "zh", "ja-JP"]


# Adding --------------------------------------------------------------------------------------------------------------


def test_data_are_replaced_or_added_to_only_when_asked(source: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    bring(source, data)
    before = hash_folder(data)
    with pytest.raises(ValueError, match="--replace puts the new ones in their place, --append adds"):
        bring(source, data)
    with pytest.raises(ValueError, match="exclude each other"):
        bring(source, data, replace=True, append=True)
    with pytest.raises(ValueError, match="--only-new goes with --append"):
        bring(source, data, replace=True, only_new=True)
    assert hash_folder(data) == before
    bring(source, data, replace=True)
    assert hash_folder(data) == before


def test_appending_keeps_what_is_there_and_refuses_what_is_there_already(source: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    bring(source, data)
    pictures(source / "train", "new.png")
    listed(source / "train", *({"file_name": name} for name in ("0.png", "new.png", "gone.png")))
    for folder in ("val", "test"):
        (source / folder / "metadata.jsonl").write_text("")
    report = bring(source, data, append=True)
    assert report == ImportReport(counts(1), {"duplicate_id": 1, "missing_file": 1}, counts(4, 3, 3))
    assert [shard.path for shard in store.shards(data, "train")] == [
        "train/part-00000.parquet",
        "train/part-00001.parquet",
    ]
    listed(pictures(source / "train", "newer.png"), {"file_name": "newer.png"}, "broken")
    bring(source, data, append=True)
    assert store.read_table(data / REFUSED).num_rows == 3


def test_only_new_rows_are_added_and_the_known_ones_counted(source: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    listed(source / "val", {"file_name": "0.png"}, {"file_name": "gone.png"})
    bring(source, data)
    pictures(source / "train", "new.png")
    with open(source / "train" / "metadata.jsonl", "a") as file:
        file.write('{"file_name": "new.png"}\n{"file_name": "0.png"}\n')
    report = bring(source, data, append=True, only_new=True)
    assert (report.rows, report.known, report.total) == (counts(1), 7, counts(4, 1, 3))
    # The source has been read anew as a whole, so what it holds that is refused is said once.
    assert refused_ids(data) == [("train/0.png", "duplicate_id"), ("val/gone.png", "missing_file")]
    before = hash_folder(data)
    report = bring(source, data, append=True, only_new=True)
    assert (report.rows, report.known) == (counts(), 8)
    assert hash_folder(data) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "photos"]


def test_rows_that_were_refused_are_tried_again_and_no_others(source: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    lines = [{"file_name": name} for name in ("0.png", "late.png", "gone.png")]
    listed(source / "train", *lines)
    bring(source, data)
    assert refused_ids(data) == [("train/late.png", "missing_file"), ("train/gone.png", "missing_file")]
    pictures(source / "train", "late.png", "unasked.png")
    listed(source / "train", *lines, {"file_name": "unasked.png"})
    report = bring(source, data, retry_failed=True)
    assert (report.rows, report.known, report.untried, report.refused) == (counts(1), 7, 1, {"missing_file": 1})
    assert refused_ids(data) == [("train/gone.png", "missing_file")]
    assert [row["id"] for row in rows_of(data)["train"]] == ["train/0.png", "train/late.png"]
    before = hash_folder(data)
    assert bring(source, data, retry_failed=True).rows == counts()
    assert hash_folder(data) == before


def test_rows_with_an_id_of_their_own_are_tried_again_by_it(source: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    listed(source / "train", {"file_name": "0.png", "id": "x0"}, {"file_name": "late.png", "id": "x1"})
    bring(source, data)
    assert refused_ids(data) == [("x1", "missing_file")]
    pictures(source / "train", "late.png")
    assert bring(source, data, retry_failed=True).rows == counts(1)
    assert [row["id"] for row in rows_of(data)["train"]] == ["x0", "x1"]


def test_what_stood_behind_the_cut_of_an_archive_is_tried_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    whole = shard(tmp_path / "s.tar", *((f"{n}.txt", "x" * 600) for n in range(4))).read_bytes()
    (tmp_path / "s.tar").write_bytes(whole[:3200])
    bring(tmp_path / "s.tar", data, "webdataset")
    (tmp_path / "s.tar").write_bytes(whole)
    report = bring(tmp_path / "s.tar", data, "webdataset", retry_failed=True)
    assert sum(report.total.values()) == 4


def test_two_folders_of_one_name_keep_their_refusals_apart(source: Path, tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "y" / "photos"
    listed(source / "train", {"file_name": "0.png"}, {"file_name": "gone.png"})
    bring(source, data)
    listed(pictures(other, "a.png"), {"file_name": "a.png", "split": "train"})
    with pytest.raises(ValueError, match=r"no row of .*y/photos has been refused"):
        bring(other, data, retry_failed=True)
    listed(other, {"file_name": "a.png", "split": "train"}, {"file_name": "lost.png"})
    for _ in range(2):
        bring(other, data, append=True, only_new=True)
        assert refused_ids(data) == [("train/gone.png", "missing_file"), ("lost.png", "missing_file")]


def test_a_store_that_a_killed_import_moved_aside_is_added_to_and_not_replaced(source: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    bring(source, data)
    # Killed between the two renames: the old store lies aside, the new one is not yet in its place.
    data.rename(tmp_path / ".data.old.tmp")
    more = listed(pictures(tmp_path / "more", "a.png"), {"file_name": "a.png", "split": "train"})
    assert bring(more, data, append=True).total == counts(4, 3, 3)


def test_a_line_that_was_unreadable_has_no_id_and_is_tried_again_all_the_same(source: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    listed(source / "train", {"file_name": "0.png"}, '{"file_name": "1.png"')
    bring(source, data)
    listed(source / "train", {"file_name": "0.png"}, {"file_name": "1.png"})
    assert bring(source, data, retry_failed=True).rows == counts(1)
    assert not (data / REFUSED).exists()
    with pytest.raises(ValueError, match=r"no row of .*photos has been refused"):
        bring(source, data, retry_failed=True)


def test_a_group_stays_in_the_split_where_it_is_and_the_frozen_test_split_as_it_is(tmp_path: Path) -> None:
    data, source = tmp_path / "data", tmp_path / "photos"
    for folder, group in (("train", "x1"), ("test", "a")):
        listed(pictures(source / folder, "a.png"), {"file_name": "a.png", "group": group})
    bring(source, data)
    freeze(data)
    more = listed(
        pictures(tmp_path / "more", "b.png", "c.png"),
        {"file_name": "b.png", "group": "x1"}, {"file_name": "c.png", "group": "a"},
    )  # fmt: skip
    assert store.split_of("x1") == "test"
    report = bring(more, data, append=True)
    assert (report.rows, report.refused) == (counts(1), {"frozen_group": 1})
    check(data)
    with pytest.raises(ValueError, match="the test split is frozen, and --replace would put another in its place"):
        bring(source, data, replace=True)


def test_only_the_rows_that_are_asked_for_are_tried(source: Path, tmp_path: Path) -> None:
    wanted = {"train/0.png", "test/1.png"}
    report = import_data(source, tmp_path / "data", format="imagefolder", options=ImportOptions(), only=wanted)
    assert (report.rows, report.refused, report.untried) == (counts(1, 0, 1), {}, 7)


def test_damaged_data_are_not_added_to(source: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    bring(source, data)
    (data / "test" / "part-00000.parquet").unlink()
    with pytest.raises(ValueError, match=r"test/part-00000.parquet is missing"):
        bring(source, data, append=True)


def test_an_import_that_fails_changes_nothing(source: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    bring(source, data)
    before = hash_folder(data)
    options = ImportOptions(map={"captions": "captions_zh"})
    with pytest.raises(ValueError, match="no line has a field 'captions_zh'"):
        import_data(source, data, format="imagefolder", options=options, replace=True)
    assert hash_folder(data) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "photos"]


def test_a_list_of_nothing_but_broken_lines_says_so(tmp_path: Path) -> None:
    source = listed(tmp_path / "photos", "broken", '{"file_name": "gone.png"}', '{"file_name": "gone too.png"}')
    with pytest.raises(ValueError, match=r"all of its 3 rows were refused \(2 missing_file, 1 bad_manifest_line\)"):
        bring(source, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_the_same_source_gives_the_same_bytes_wherever_it_lies(source: Path, tmp_path: Path) -> None:
    bring(source, tmp_path / "one")
    (tmp_path / "elsewhere").mkdir()
    bring(source.rename(tmp_path / "elsewhere" / "photos"), tmp_path / "two")
    assert hash_folder(tmp_path / "one") == hash_folder(tmp_path / "two")


# Interruptions -------------------------------------------------------------------------------------------------------

SCRIPT = """
import sys
from pathlib import Path
from mmcore.data.importers import ImportOptions
from mmcore.data.importing import import_data
import_data(Path(sys.argv[1]), Path(sys.argv[2]), format="table", options=ImportOptions(), append="append" in sys.argv)
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """7,000 rows of no stated split, with their bytes, one of them twice and one of them without sense."""
    path = tmp_path_factory.mktemp("source") / "rows.parquet"
    ids = [f"row {number}" for number in range(7000)]
    ids[6000] = "row 3"
    texts = [f"caption {number}" for number in range(7000)]
    images = [{"bytes": b"%d" % number * 100, "path": None} for number in range(7000)]
    images[10] = {"bytes": None, "path": "/etc/hostname"}
    pq.write_table(pa.table({"id": ids, "text": texts, "image": images}), path)
    return path


@pytest.fixture(scope="module")
def whole(table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ImportReport]:
    data = tmp_path_factory.mktemp("whole") / "data"
    return data, bring(table, data, "table")


def interrupt(table: Path, data: Path, how: signal.Signals, *words: str) -> Path:
    """Import until a first shard is complete, then end the process; returns what it left aside."""
    # A shell in the background hands SIGINT down as ignored; then Python would not hear it.
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(table), str(data), *words], cwd=ROOT, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    aside = data.with_name(".data.import")
    journal = aside / "shards.jsonl"
    while not (journal.exists() and journal.read_bytes().endswith(b"\n")) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(how)
    assert process.wait() != 0
    return aside


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_import_goes_on_to_the_same_bytes(
    table: Path, whole: tuple[Path, ImportReport], tmp_path: Path, how: signal.Signals
) -> None:
    data = tmp_path / "data"
    aside = interrupt(table, data, how)
    assert not data.exists()
    assert (aside / ".gitignore").read_text() == "*\n"
    report = bring(table, data, "table", resume=True)
    assert report.resumed >= 1000
    assert (report.rows, report.refused, report.guessed) == (whole[1].rows, whole[1].refused, whole[1].guessed)
    assert report.refused == {"unsafe_path": 1, "duplicate_id": 1}
    assert hash_folder(data) == hash_folder(whole[0])
    assert not aside.exists()


def test_what_an_interrupted_import_left_is_trusted_only_as_far_as_it_is_whole(
    table: Path, whole: tuple[Path, ImportReport], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    aside = interrupt(table, data, signal.SIGKILL)
    shard = aside / "store" / "train" / "part-00000.parquet"
    os.truncate(shard, shard.stat().st_size - 100)
    with open(aside / "shards.jsonl", "ab") as file:
        file.write(b'["train/part-000')
    report = bring(table, data, "table", resume=True)
    assert report.resumed == 0
    assert hash_folder(data) == hash_folder(whole[0])


def test_an_interrupted_import_is_continued_only_with_the_same_words(
    table: Path, whole: tuple[Path, ImportReport], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    aside = interrupt(table, data, signal.SIGKILL)
    with pytest.raises(ValueError, match=r"was another one \(options differ\); give the same words again"):
        import_data(table, data, format="table", options=ImportOptions(lang="en"), resume=True)
    assert aside.exists()
    report = bring(table, data, "table")
    assert report.resumed == 0
    assert hash_folder(data) == hash_folder(whole[0])
    assert not aside.exists()


def test_a_source_that_changed_in_between_is_not_continued(table: Path, tmp_path: Path) -> None:
    copy, data = tmp_path / "rows.parquet", tmp_path / "data"
    copy.write_bytes(table.read_bytes())
    interrupt(copy, data, signal.SIGKILL)
    pq.write_table(pq.ParquetFile(table).read().slice(100), copy)
    with pytest.raises(ValueError, match="has changed since the import was interrupted: it no longer holds row"):
        bring(copy, data, "table", resume=True)
    assert not data.exists()


def test_an_interrupted_addition_goes_on_to_the_same_bytes(table: Path, source: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        bring(source, tmp_path / name / "data")
    before = hash_folder(tmp_path / "one" / "data")
    interrupt(table, tmp_path / "one" / "data", signal.SIGKILL, "append")
    assert hash_folder(tmp_path / "one" / "data") == before
    for name in ("one", "two"):
        report = bring(table, tmp_path / name / "data", "table", append=True, resume=True)
        assert sum(report.total.values()) == 6998 + 9
    assert hash_folder(tmp_path / "one" / "data") == hash_folder(tmp_path / "two" / "data")


# Real data -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared data sets")
def test_real_captions_in_two_languages_come_in_with_theirs(tmp_path: Path) -> None:
    options = ImportOptions(
        map={"captions": ["captions", "captions_zh"]}, lang={"captions": "en", "captions_zh": "zh"}, limit=20
    )
    report = import_data(DATA / "flickr8k", tmp_path / "data", format="imagefolder", options=options)
    assert (report.rows, report.refused, report.guessed) == (counts(20, 20, 20), {}, {})
    for row in rows_of(tmp_path / "data")["test"]:
        assert [caption["lang"] for caption in row["captions"]] == ["en"] * 5 + ["zh"] * 5
