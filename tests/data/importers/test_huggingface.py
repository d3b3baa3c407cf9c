"""The files are written here as `datasets` 5.2 writes them, which is not installed."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
        ("set:train:0", "train"), ("set:train:1", "train"), ("set:train:2", "train"), ("set:test:0", "test")
    ]  # fmt: skip
    assert samples[0] == {
        "id": "set:train:0", "image": picture(1),
        "captions": [{"text": "a 0", "lang": None}, {"text": "b", "lang": None}],
        "labels": {"label": "cat"}, "qa": [], "meta": '{"file_name": "0.png"}', "split": "train",
    }  # fmt: skip
    assert "labels" not in samples[2]
    assert [sample["id"] for sample in read(source, limit=1)] == ["set:train:0", "set:test:0"]
    assert (Importer().count(source, ImportOptions()), Importer().count(source, ImportOptions(limit=1))) == (4, 2)


def test_what_save_to_disk_writes_for_one_split(tmp_path: Path) -> None:
    assert {sample["split"] for sample in read(save_to_disk(tmp_path / "a", rows(0), split="validation"))} == {
        "validation"
    }
    assert [(one["id"], one["split"]) for one in read(save_to_disk(tmp_path / "b", rows(0)))] == [("b:row:0", None)]


@pytest.mark.parametrize("place", ["data", ".", "default"])
def test_a_repositorys_parquet_files(tmp_path: Path, place: str) -> None:
    source = tmp_path / "set"
    folder = source / place
    folder.mkdir(parents=True, exist_ok=True)
    for name, labels in (
        ("train-00000-of-00002", (0,)),
        ("train-00001-of-00002", (1,)),
        ("validation-00000-of-00001", (1,)),
    ):
        pq.write_table(rows(*labels), folder / f"{name}.parquet")
    pq.write_table(rows(0), folder / "extra.parquet")
    assert [sample["id"] for sample in read(source)] == ["set:train:0", "set:train:1", "set:validation:0"]
    assert [sample["labels"]["label"] for sample in read(source)] == ["cat", "dog", "dog"]
    assert Importer().fields(source, ImportOptions()) == {
        "img": "image", "mask": "meta", "label": "labels", "caption": "captions"
    }  # fmt: skip
    assert Importer().doubts(source) == [
        "the fields mask hold media and are not imported; choose with --map",
        "these are of no split and are not read: extra.parquet",
    ]


def test_splits_of_one_word_are_one_and_splits_of_another_are_told(tmp_path: Path) -> None:
    source = tmp_path / "set"
    names = ("train.clean", "test.clean", "test.other", "unsupervised")
    for number, name in enumerate(names):
        save_to_disk(source / name, rows(number % 2))
    (source / "dataset_dict.json").write_text(json.dumps({"splits": names}))
    assert [sample["id"] for sample in read(source)] == ["set:train:0", "set:test:0", "set:test:1"]
    assert Importer().doubts(source)[-1] == "these are of no split and are not read: unsupervised"


def test_rows_of_two_sources_have_different_ids(tmp_path: Path) -> None:
    found = [read(save_to_disk(tmp_path / name, rows(0)))[0]["id"] for name in ("one", "two")]
    assert found == ["one:row:0", "two:row:0"]


def test_folders_of_splits(tmp_path: Path) -> None:
    for split in ("train", "test", "unsupervised"):
        (tmp_path / "set" / "default" / split).mkdir(parents=True)
        pq.write_table(rows(0), tmp_path / "set" / "default" / split / "0000.parquet")
    assert [sample["id"] for sample in read(tmp_path / "set")] == ["set:train:0", "set:test:0"]
    assert Importer().doubts(tmp_path / "set")[-1] == "these are of no split and are not read: unsupervised"


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


class Hub:
    """What the hub answers about one data set, `owner/name`: the files of its newest revision, and those of others."""

    def __init__(self) -> None:
        self.revisions: dict[str, dict[str, bytes]] = {}

    def answer(self, path: str) -> tuple[bytes, dict[str, str]] | None:
        place = path.partition("?")[0].removeprefix("/api").removeprefix("/datasets/owner/name")
        if place == "":
            return json.dumps({"id": "owner/name", "sha": list(self.revisions)[-1]}).encode(), {}
        what, revision, *rest = place[1:].split("/", 2)
        files = self.revisions[revision]
        if what == "tree":
            tree = [{"type": "file", "path": name, "size": len(data), "oid": name} for name, data in files.items()]
            return json.dumps(tree).encode(), {}
        name = "/".join(rest)
        return (files[name], {"ETag": '"1"', "X-Repo-Commit": revision}) if name in files else None


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = hub.answer(self.path)
            self.send_response(200 if found else 404)
            data, headers = found or (b"", {})
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    yield hub
    server.shutdown()
    server.server_close()


def parquet(*labels: int) -> bytes:
    file = io.BytesIO()
    pq.write_table(rows(*labels), file)
    return file.getvalue()


def test_a_data_set_on_the_hub_that_was_divided_anew_comes_in_once(hub: Hub) -> None:
    source = Path("owner/name")
    hub.revisions["a" * 40] = {"data/train-00000-of-00001.parquet": parquet(0, 1), "README.md": b"# Title"}
    assert [sample["id"] for sample in read(source)] == ["owner/name:train:0", "owner/name:train:1"]
    importer = Importer()
    assert importer.count(source, ImportOptions()) == 2
    hub.revisions["b" * 40] = {f"data/train-0000{n}-of-00003.parquet": parquet(n % 2) for n in range(3)}
    # What has begun goes on with the revision that it began with.
    assert len(list(importer.read(source, ImportOptions()))) == 2
    assert len(read(source)) == 3
    assert sorted(path.name for path in Path("home/mmcore/owner--name").iterdir()) == ["a" * 40, "b" * 40]
