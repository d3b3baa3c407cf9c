from pathlib import Path

import pytest

from mmcore.data import store
from mmcore.data.importers import ImportOptions
from mmcore.data.importing import REFUSED, ImportReport, import_data
from mmcore.workspace import hash_folder
from tests.data.conftest import rows_of
from tests.data.importers.test_imagefolder import listed, pictures
from tests.data.test_prepare import picture


def bring(source: Path, destination: Path, **how: bool) -> ImportReport:
    return import_data(source, destination, format="imagefolder", options=ImportOptions(), **how)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for folder in ("train", "val", "test"):
        names = [f"{number}.png" for number in range(3)]
        lines = [{"file_name": name, "captions": [f"{folder} {name}"], "scene": "s"} for name in names]
        listed(pictures(root / folder, *names), *lines)
    return root


def test_every_picture_becomes_a_row_of_its_split(source: Path, tmp_path: Path) -> None:
    report = bring(source, tmp_path / "data")
    assert report == ImportReport(
        {"train": 3, "validation": 3, "test": 3}, {}, {"train": 3, "validation": 3, "test": 3}
    )
    store.verify(tmp_path / "data")
    row = rows_of(tmp_path / "data")["validation"][1]
    assert (row["id"], row["group"], row["source"]) == ("val/1.png", "val/1.png", "photos")
    assert row["image"] == picture(1)
    assert row["captions"] == [{"text": "val 1.png", "lang": None}]
    assert row["meta"] == '{"scene": "s"}'
    assert not (tmp_path / "data" / REFUSED).exists()


def test_refused_rows_are_kept_for_quarantine(source: Path, tmp_path: Path) -> None:
    with open(source / "train" / "metadata.jsonl", "a") as file:
        file.write('broken\n{"file_name": "gone.png"}\n{"file_name": "0.png"}\n')
    report = bring(source, tmp_path / "data")
    assert report.rows == {"train": 3, "validation": 3, "test": 3}
    assert report.refused == {"bad_manifest_line": 1, "missing_file": 1, "duplicate_id": 1}
    refused = store.as_rows(store.read_table(tmp_path / "data" / REFUSED))
    assert refused[1] == {
        "id": "train/gone.png", "problems": ["missing_file"], "detail": "there is no file 'gone.png'", "split": "train"
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


def test_data_are_replaced_or_added_to_only_when_asked(source: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    bring(source, data)
    before = hash_folder(data)
    with pytest.raises(ValueError, match="--replace puts the new ones in their place, --append adds"):
        bring(source, data)
    with pytest.raises(ValueError, match="exclude each other"):
        bring(source, data, replace=True, append=True)
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
    assert report == ImportReport(
        {"train": 1, "validation": 0, "test": 0},
        {"duplicate_id": 1, "missing_file": 1},
        {"train": 4, "validation": 3, "test": 3},
    )
    assert [shard.path for shard in store.shards(data, "train")] == [
        "train/part-00000.parquet",
        "train/part-00001.parquet",
    ]
    listed(pictures(source / "train", "newer.png"), {"file_name": "newer.png"}, "broken")
    bring(source, data, append=True)
    assert store.read_table(data / REFUSED).num_rows == 3


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
