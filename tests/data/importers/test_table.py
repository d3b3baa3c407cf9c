from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcore.data.importers import ImportOptions, Refused
from mmcore.data.importers.table import Importer
from tests.data.importers.test_imagefolder import pictures
from tests.data.test_prepare import picture


def read(source: Path, **options: object) -> tuple[list[dict[str, object]], list[Refused]]:
    found = list(Importer().read(source, ImportOptions(**options)))
    return [one for one in found if isinstance(one, dict)], [one for one in found if isinstance(one, Refused)]


def test_a_table_beside_its_pictures(tmp_path: Path) -> None:
    pictures(tmp_path, "shots/1.png", "shots/2.png")
    table = tmp_path / "products.csv"
    table.write_text("image,caption,price\nshots/1.png,a shoe,3\nshots/2.png,a hat,\nshots/3.png,a bag,4\n../x.png,,\n")
    samples, refused = read(table)
    assert samples[0] == {
        "id": "shots/1.png", "image": tmp_path / "shots" / "1.png", "captions": [{"text": "a shoe", "lang": None}],
        "qa": [], "meta": '{"file_name": "shots/1.png", "price": "3"}', "split": None,
    }  # fmt: skip
    assert [sample["id"] for sample in samples] == ["shots/1.png", "shots/2.png"]
    assert [(one.id, one.problem) for one in refused] == [("shots/3.png", "missing_file"), ("../x.png", "unsafe_path")]
    assert read(tmp_path)[0] == samples


def test_tables_of_splits(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("id,text\n1,one\n2,two\n")
    (tmp_path / "dev.jsonl").write_text('{"id": "3", "text": "three"}\n')
    pq.write_table(pa.table({"id": ["4"], "text": ["four"]}), tmp_path / "test-00000-of-00001.parquet")
    (tmp_path / "notes.tsv").write_text("a\tb\n")
    assert [(sample["id"], sample["split"]) for sample in read(tmp_path)[0]] == [
        ("3", "validation"), ("4", "test"), ("1", "train"), ("2", "train")
    ]  # fmt: skip
    assert [sample["id"] for sample in read(tmp_path, limit=1)[0]] == ["3", "4", "1"]
    assert Importer().doubts(tmp_path) == ["these tables are of no split and are not read: notes.tsv"]
    assert Importer().count(tmp_path, ImportOptions(limit=1)) == 3


def test_a_field_says_the_split(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text("id,text,split\n1,a,train\n2,b,VAL\n3,c,\n")
    assert [sample["split"] for sample in read(tmp_path)[0]] == ["train", "validation", None]


def test_bytes_in_the_rows_with_or_without_their_path(tmp_path: Path) -> None:
    pictures(tmp_path, "b.png")
    structs = [
        {"bytes": picture(1), "path": "a.png"},
        {"bytes": None, "path": "b.png"},
        None,
        {"bytes": None, "path": None},
    ]
    pq.write_table(
        pa.table({"image": structs, "audio": pa.array([b"RIFF", None, None, None], pa.binary()), "text": list("abcd")}),
        tmp_path / "t.parquet",
    )
    samples, refused = read(tmp_path / "t.parquet")
    assert [(sample["id"], sample.get("image"), sample.get("audio")) for sample in samples] == [
        ("t.parquet:1", picture(1), b"RIFF"),
        ("t.parquet:2", tmp_path / "b.png", None),
        ("t.parquet:3", None, None),
    ]
    assert samples[0]["meta"] == '{"file_name": "a.png"}'
    assert [(one.id, one.problem) for one in refused] == [("t.parquet:4", "bad_manifest_line")]


def test_a_path_of_any_kind_goes_by_its_suffix(tmp_path: Path) -> None:
    for name in ("a.png", "b.wav", "c.mp4"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "t.csv").write_text("path,title\na.png,x\nb.wav,y\nc.mp4,z\nd.txt,w\n")
    samples, _ = read(tmp_path / "t.csv")
    assert [{"image", "audio", "video"} & sample.keys() for sample in samples] == [
        {"image"},
        {"audio"},
        {"video"},
        set(),
    ]
    assert [sample["id"] for sample in samples] == ["a.png", "b.wav", "c.mp4", "t.csv:5"]
    assert Importer().fields(tmp_path / "t.csv", ImportOptions())["title"] == "meta"


def test_fields_are_chosen(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    (tmp_path / "t.tsv").write_text("photo\ten\tzh\na.png\ta dog\t狗\n")
    chosen = {"image": "photo", "captions": ["en", "zh"]}
    (sample,), _ = read(tmp_path / "t.tsv", map=chosen, lang={"en": "en", "zh": "zh"})
    assert sample["image"] == tmp_path / "a.png"
    assert sample["captions"] == [{"text": "a dog", "lang": "en"}, {"text": "狗", "lang": "zh"}]
    fields = Importer().fields(tmp_path / "t.tsv", ImportOptions(map=chosen))
    assert fields == {"photo": "image", "en": "captions", "zh": "captions"}
    with pytest.raises(ValueError, match="no line has a field 'ja'"):
        read(tmp_path / "t.tsv", map={"captions": "ja"})


def test_what_is_no_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist; give a table"):
        read(tmp_path / "gone.csv")
    (tmp_path / "a.xlsx").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"a.xlsx is no table"):
        read(tmp_path / "a.xlsx")
    with pytest.raises(ValueError, match="holds no table; one table is read"):
        read(tmp_path)
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("id\n1\n")
    with pytest.raises(ValueError, match=r"holds a.csv, b.csv; one table is read"):
        read(tmp_path)
    (tmp_path / "link.csv").symlink_to(tmp_path / "a.csv")
    with pytest.raises(ValueError, match="is a symbolic link"):
        read(tmp_path / "link.csv")
