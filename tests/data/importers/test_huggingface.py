"""The files are written here as `datasets` 5.2 writes them, which is not installed."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcore.data.importers import ImportOptions, Refused
from mmcore.data.importers.huggingface import Importer
from tests.data.test_prepare import picture

FEATURES = {
    "img": {"_type": "Image"}, "mask": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
    "caption": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"},
}  # fmt: skip
MEDIUM = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [("img", MEDIUM), ("mask", MEDIUM), ("label", pa.int64()), ("caption", pa.list_(pa.string()))],
    metadata={"huggingface": json.dumps({"info": {"features": FEATURES}})},
)


def rows(*labels: int) -> pa.Table:
    medium = {"bytes": picture(1), "path": "0.png"}
    return pa.Table.from_pylist(
        [{"img": medium, "mask": medium, "label": label, "caption": [f"a {label}", "b"]} for label in labels], SCHEMA
    )


def save_to_disk(folder: Path, *shards: pa.Table, split: str | None = None) -> Path:
    folder.mkdir(parents=True)
    names = [f"data-{number:05d}-of-{len(shards):05d}.arrow" for number in range(len(shards))]
    for name, table in zip(names, shards, strict=True):
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
    state = {"_data_files": [{"filename": name} for name in names], "_split": split}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    return folder


def read(source: Path, **options: object) -> list[dict[str, Any]]:
    found = list(Importer().read(source, ImportOptions(**options)))
    assert not any(isinstance(one, Refused) for one in found)
    return [one for one in found if isinstance(one, dict)]


def test_what_save_to_disk_writes_for_several_splits(tmp_path: Path) -> None:
    source = tmp_path / "set"
    save_to_disk(source / "train", rows(0, 1), rows(-1))
    save_to_disk(source / "test", rows(1))
    (source / "dataset_dict.json").write_text('{"splits": ["test", "train"]}')
    samples = read(source)
    assert [(sample["id"], sample["split"]) for sample in samples] == [
        ("train:0", "train"), ("train:1", "train"), ("train:2", "train"), ("test:0", "test")
    ]  # fmt: skip
    assert samples[0] == {
        "id": "train:0", "image": picture(1), "captions": [{"text": "a 0", "lang": None}, {"text": "b", "lang": None}],
        "labels": {"label": "cat"}, "qa": [], "meta": '{"file_name": "0.png"}', "split": "train",
    }  # fmt: skip
    assert "labels" not in samples[2]
    assert [sample["id"] for sample in read(source, limit=1)] == ["train:0", "test:0"]
    assert (Importer().count(source, ImportOptions()), Importer().count(source, ImportOptions(limit=1))) == (4, 2)


def test_what_save_to_disk_writes_for_one_split(tmp_path: Path) -> None:
    assert {sample["split"] for sample in read(save_to_disk(tmp_path / "a", rows(0), split="validation"))} == {
        "validation"
    }
    assert [(one["id"], one["split"]) for one in read(save_to_disk(tmp_path / "b", rows(0)))] == [("row:0", None)]


@pytest.mark.parametrize("place", ["data", ".", "default"])
def test_a_repositorys_parquet_files(tmp_path: Path, place: str) -> None:
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    for name, labels in (
        ("train-00000-of-00002", (0,)),
        ("train-00001-of-00002", (1,)),
        ("validation-00000-of-00001", (1,)),
    ):
        pq.write_table(rows(*labels), folder / f"{name}.parquet")
    pq.write_table(rows(0), folder / "extra.parquet")
    assert [sample["id"] for sample in read(tmp_path)] == ["train:0", "train:1", "validation:0"]
    assert [sample["labels"]["label"] for sample in read(tmp_path)] == ["cat", "dog", "dog"]
    assert Importer().fields(tmp_path, ImportOptions()) == {
        "img": "image", "mask": "meta", "label": "labels", "caption": "captions"
    }  # fmt: skip
    assert Importer().doubts(tmp_path) == [
        "the fields mask hold media and are not imported; choose with --map",
        "these files are of no split and are not read: extra.parquet",
    ]


def test_folders_of_splits(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / "default" / split).mkdir(parents=True)
        pq.write_table(rows(0), tmp_path / "default" / split / "0000.parquet")
    assert [sample["id"] for sample in read(tmp_path)] == ["train:0", "test:0"]


def test_parquet_without_features_goes_by_the_names_of_its_fields(tmp_path: Path) -> None:
    table = pa.table({"audio": [{"bytes": b"RIFF", "path": None}], "transcription": ["hello"]})
    pq.write_table(table, tmp_path / "train.parquet")
    (sample,) = read(tmp_path)
    assert (sample["audio"], sample["transcript"]) == (b"RIFF", "hello")


def test_another_medium_can_be_chosen(tmp_path: Path) -> None:
    (sample,) = read(save_to_disk(tmp_path / "a", rows(0)), map={"image": "mask"})
    assert sample["image"] == picture(1)


def test_several_configurations_are_not_mixed(tmp_path: Path) -> None:
    for name in ("de", "en"):
        (tmp_path / name).mkdir()
        pq.write_table(rows(0), tmp_path / name / "train-00000-of-00001.parquet")
    with pytest.raises(ValueError, match="holds de, en; import one of them, by its folder"):
        read(tmp_path)
    assert len(read(tmp_path / "de")) == 1


def test_links_and_names_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    source = save_to_disk(tmp_path / "a", rows(0))
    (source / "state.json").write_text('{"_data_files": [{"filename": "../secret.arrow"}]}')
    with pytest.raises(ValueError, match="which is not in the folder"):
        read(source)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "train.arrow").symlink_to(source / "data-00000-of-00001.arrow")
    with pytest.raises(ValueError, match="is a symbolic link"):
        read(tmp_path / "b")


def test_a_file_that_is_cut_off_or_none_is_named(tmp_path: Path) -> None:
    source = save_to_disk(tmp_path / "a", rows(0))
    path = source / "data-00000-of-00001.arrow"
    for content in (path.read_bytes()[:-200], b"", b"no arrow at all"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"data-00000-of-00001.arrow cannot be read"):
            read(source)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds neither what save_to_disk writes"):
        read(tmp_path / "empty")


def test_a_name_on_the_hub_needs_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "hub"))
    with pytest.raises(OSError, match="there is no folder owner/name, and the hub did not give a data set"):
        read(Path("owner/name"))
    with pytest.raises(ValueError, match="is no folder; give a data set's folder, or its name on the hub"):
        read(tmp_path / "gone")
