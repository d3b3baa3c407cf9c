import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcore.data.importers import ImportOptions, Refused
from mmcore.data.importers.imagefolder import Importer
from tests.data.test_prepare import picture


def pictures(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture(1))
    return folder


def listed(folder: Path, *lines: dict[str, object] | str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join((line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)) + "\n" for line in lines)
    (folder / "metadata.jsonl").write_text(text, encoding="utf-8")
    return folder


def read(source: Path, **options: object) -> tuple[list[dict[str, object]], list[Refused]]:
    found = list(Importer().read(source, ImportOptions(**options)))
    return [one for one in found if isinstance(one, dict)], [one for one in found if isinstance(one, Refused)]


def test_folders_of_splits_with_lists(tmp_path: Path) -> None:
    for folder in ("train", "dev", "test"):
        listed(pictures(tmp_path / folder, "a.png"), {"file_name": "a.png", "captions": ["one", "two"]})
    samples, refused = read(tmp_path)
    assert [(sample["id"], sample["split"]) for sample in samples] == [
        ("dev/a.png", "validation"), ("test/a.png", "test"), ("train/a.png", "train")
    ]  # fmt: skip
    assert samples[0]["image"] == tmp_path / "dev" / "a.png"
    assert [caption["text"] for caption in samples[0]["captions"]] == ["one", "two"]
    assert refused == []


def test_an_id_in_the_list_is_kept(tmp_path: Path) -> None:
    listed(pictures(tmp_path, "a.png"), {"file_name": "a.png", "id": "x1"})
    assert read(tmp_path)[0][0]["id"] == "x1"


def test_one_list_for_all_splits_tells_them_by_path(tmp_path: Path) -> None:
    names = ("train/a.png", "val/b.png", "c.png")
    listed(pictures(tmp_path, *names), *({"file_name": name} for name in names))
    assert [sample["split"] for sample in read(tmp_path)[0]] == ["train", "validation", None]
    words = ("Test", "val", "testing", "restval", " ", None)
    listed(tmp_path, *({"file_name": "c.png", "split": split} for split in words))
    assert [sample["split"] for sample in read(tmp_path)[0]] == ["test", "validation", "test", "train", None, None]


def test_a_row_of_an_unknown_split_is_refused_and_not_divided_like_the_others(tmp_path: Path) -> None:
    lines = [{"file_name": "a.png", "split": split} for split in ("held-out", 3, "train")]
    samples, refused = read(listed(pictures(tmp_path, "a.png"), *lines))
    assert [sample["split"] for sample in samples] == ["train"]
    assert [(one.id, one.problem) for one in refused] == [("a.png", "no_split")] * 2
    assert refused[0].detail.startswith("its split 'held-out' is unknown; write one of: train, training, ")


def test_what_is_refused_is_known_by_the_id_that_the_row_would_have(tmp_path: Path) -> None:
    listed(tmp_path, {"file_name": "gone.png", "id": "x1"}, {"file_name": "../a.png", "id": "x2"})
    assert [(one.id, one.problem) for one in read(tmp_path)[1]] == [("x1", "missing_file"), ("x2", "unsafe_path")]


def test_where_all_pictures_are_missing_a_field_that_is_there_is_not_said_to_be_nowhere(tmp_path: Path) -> None:
    listed(tmp_path, {"file_name": "gone.png", "zh": ["狗"]})
    assert [one.problem for one in read(tmp_path, map={"captions": "zh"})[1]] == ["missing_file"]


def test_without_a_list_the_folder_is_the_label(tmp_path: Path) -> None:
    pictures(tmp_path / "train", "cat/1.png", "dog/2.JPG")
    (tmp_path / "train" / "notes.txt").write_text("no picture")
    samples, _ = read(tmp_path)
    assert [(sample["id"], sample["labels"]) for sample in samples] == [
        ("train/cat/1.png", {"label": "cat"}), ("train/dog/2.JPG", {"label": "dog"})
    ]  # fmt: skip


def test_a_bare_folder_of_pictures_has_no_splits(tmp_path: Path) -> None:
    samples, _ = read(pictures(tmp_path, "b.png", "a.png"))
    assert [(sample["id"], sample["split"]) for sample in samples] == [("a.png", None), ("b.png", None)]


def test_lines_that_follow_each_other_for_one_picture_are_one_sample(tmp_path: Path) -> None:
    lines = [{"file_name": name, "caption": text} for name, text in (("a.png", "1"), ("a.png", "2"), ("b.png", "3"))]
    samples, _ = read(listed(pictures(tmp_path, "a.png", "b.png"), *lines))
    assert [[caption["text"] for caption in sample["captions"]] for sample in samples] == [["1", "2"], ["3"]]


def test_lines_that_add_nothing_or_name_another_picture_are_no_continuation(tmp_path: Path) -> None:
    lines = [{"file_name": "a.png", "id": "x", "caption": "1"}, {"file_name": "b.png", "id": "x", "caption": "2"}]
    samples, _ = read(listed(pictures(tmp_path, "a.png", "b.png"), *lines, {"file_name": "b.png", "id": "x"}))
    assert [sample["id"] for sample in samples] == ["x", "x", "x"]


def test_lines_of_one_picture_that_say_different_things_are_not_put_together(tmp_path: Path) -> None:
    first = {"file_name": "a.png", "caption": "1", "label": "dog", "split": "train", "number": 1}
    listed(pictures(tmp_path, "a.png"), first, {**first, "caption": "2", "number": 2})
    (sample,) = read(tmp_path)[0]
    assert [caption["text"] for caption in sample["captions"]] == ["1", "2"]
    assert json.loads(str(sample["meta"]))["number"] == 1
    for other in ({"label": "cat"}, {"split": "test"}, {"transcript": "wuff"}, {"group": "g"}):
        listed(tmp_path, first, {**first, "caption": "2", **other})
        assert len(read(tmp_path)[0]) == 2, other
    listed(tmp_path, first, {"file_name": "a.png", "caption": "2"})
    assert len(read(tmp_path)[0]) == 1


def test_an_empty_id_is_none(tmp_path: Path) -> None:
    assert read(listed(pictures(tmp_path, "a.png"), {"file_name": "a.png", "id": ""}))[0][0]["id"] == "a.png"


def test_csv_and_parquet_lists_are_read_alike(tmp_path: Path) -> None:
    pictures(tmp_path / "csv", "a.png")
    (tmp_path / "csv" / "metadata.csv").write_text(
        '\ufefffile_name,caption,label\na.png,"one, two",\n', encoding="utf-8"
    )
    pictures(tmp_path / "parquet", "a.png")
    table = pa.table({"file_name": ["a.png"], "caption": ["one, two"], "label": [None]})
    pq.write_table(table, tmp_path / "parquet" / "metadata.parquet")
    (csv,), _ = read(tmp_path / "csv")
    (parquet,), _ = read(tmp_path / "parquet")
    assert csv["captions"] == parquet["captions"] == [{"text": "one, two", "lang": None}]
    assert "labels" not in csv
    assert "labels" not in parquet


def test_broken_lines_are_refused_one_by_one(tmp_path: Path) -> None:
    listed(
        pictures(tmp_path / "train", "a.png"),
        '{"file_name": "a.png", "caption": NaN}', "", "{no json", '["a.png"]', '{"caption": "x"}',
        '{"file_name": "a.png", "captions": [1]}', '{"file_name": "gone.png"}', '{"file_name": "../../secret.png"}',
        '{"file_name": "all.zip"}', '{"file_name": 3}',
    )  # fmt: skip
    samples, refused = read(tmp_path)
    assert len(samples) == 1
    assert [(one.id, one.problem) for one in refused] == [
        ("train/metadata.jsonl:3", "bad_manifest_line"),
        ("train/metadata.jsonl:4", "bad_manifest_line"),
        ("train/metadata.jsonl:5", "bad_manifest_line"),
        ("train/a.png", "bad_manifest_line"),
        ("train/gone.png", "missing_file"),
        ("train/../../secret.png", "unsafe_path"),
        ("train/all.zip", "unsafe_path"),
        ("train/metadata.jsonl:10", "bad_manifest_line"),
    ]
    assert {one.split for one in refused} == {"train"}


def test_broken_bytes_in_a_list_cost_one_line(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    (tmp_path / "metadata.jsonl").write_bytes(b'{"file_name": "\xff.png"}\n{"file_name": "a.png"}\n')
    samples, refused = read(tmp_path)
    assert (len(samples), [one.problem for one in refused]) == (1, ["bad_manifest_line"])


def test_a_file_name_that_is_no_unicode_is_refused_and_can_be_written_down(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(picture(1))
    (refused,) = read(tmp_path)[1]
    assert (refused.id, refused.problem) == ("\\udcff.png", "bad_manifest_line")
    assert refused.detail.encode()


def test_a_csv_line_with_too_few_or_too_many_fields_is_refused(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    (tmp_path / "metadata.csv").write_text("file_name,caption\na.png\na.png,x,y\na.png,x\n")
    samples, refused = read(tmp_path)
    assert (len(samples), [one.id for one in refused]) == (1, ["metadata.csv:2", "metadata.csv:3"])


def test_links_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path / "source", "a.png")
    (tmp_path / "source" / "b.png").symlink_to(tmp_path / "source" / "a.png")
    samples, refused = read(tmp_path / "source")
    assert ([sample["id"] for sample in samples], [one.problem for one in refused]) == (["a.png"], ["unsafe_path"])
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "train").symlink_to(tmp_path / "source")
    with pytest.raises(ValueError, match="symbolic link"):
        read(tmp_path / "linked")


def test_a_limit_counts_the_samples_of_each_split(tmp_path: Path) -> None:
    pictures(tmp_path, "train/a.png", "train/b.png", "train/c.png", "test/d.png")
    assert [sample["id"] for sample in read(tmp_path, limit=2)[0]] == ["test/d.png", "train/a.png", "train/b.png"]
    assert Importer().count(tmp_path, ImportOptions(limit=2)) == 3
    assert Importer().count(tmp_path, ImportOptions()) == 4


@pytest.mark.parametrize(
    ("name", "message"), [("gone", "does not exist"), ("empty", "holds no pictures"), ("file", "is a file")]
)
def test_a_source_with_nothing_in_it_is_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=message):
        read(tmp_path / name)


def test_two_lists_in_one_folder_are_one_too_many(tmp_path: Path) -> None:
    listed(pictures(tmp_path, "a.png"), {"file_name": "a.png"})
    (tmp_path / "metadata.csv").write_text("file_name\na.png\n")
    with pytest.raises(ValueError, match=r"metadata.jsonl and metadata.csv; leave only one"):
        read(tmp_path)


def test_a_field_that_is_nowhere_stops_the_import(tmp_path: Path) -> None:
    listed(pictures(tmp_path, "a.png"), {"file_name": "a.png", "captions": ["x"]})
    with pytest.raises(ValueError, match="no line has a field 'captions_zh'; there are: captions, file_name"):
        read(tmp_path, map={"captions": "captions_zh"})


def test_fields_and_doubts_are_told(tmp_path: Path) -> None:
    listed(pictures(tmp_path / "train", "a.png", "b.png"), {"file_name": "a.png", "text": "x", "camera": "k"})
    (tmp_path / "masks").mkdir()
    importer = Importer()
    assert importer.fields(tmp_path, ImportOptions()) == {"file_name": "image", "text": "captions", "camera": "meta"}
    assert importer.doubts(tmp_path) == [
        "1 pictures are named in no list; they are not imported",
        "these folders are no splits and are not read: masks",
    ]


def test_a_file_name_that_is_no_text_is_no_name_of_a_file(tmp_path: Path) -> None:
    listed(pictures(tmp_path, "a.png"), {"file_name": ["a.png"]}, {"file_name": {"path": "a.png"}})
    assert Importer().doubts(tmp_path) == ["1 pictures are named in no list; they are not imported"]
