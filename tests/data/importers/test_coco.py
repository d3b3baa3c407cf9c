import json
from pathlib import Path

import pytest

from mmcore.data.importers import ImportOptions, Refused, Sample
from mmcore.data.importers.coco import Importer
from tests.data.importers.test_imagefolder import pictures


def annotated(
    path: Path, images: list[dict[str, object]], annotations: list[dict[str, object]], **more: object
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"info": {"year": 2017}, "images": images, "annotations": annotations, **more}))
    return path


def read(source: Path, **options: object) -> tuple[list[Sample], list[Refused]]:
    found = list(Importer().read(source, ImportOptions(**options)))
    return [one for one in found if isinstance(one, dict)], [one for one in found if isinstance(one, Refused)]


def coco(root: Path) -> Path:
    images: list[dict[str, object]] = [{"id": 9, "file_name": "9.png", "width": 4}, {"id": 3, "file_name": "3.png"}]
    captions: list[dict[str, object]] = [
        {"id": 1, "image_id": 3, "caption": "three"},
        {"id": 2, "image_id": 9, "caption": "nine"},
        {"id": 3, "image_id": 3, "caption": "drei"},
    ]
    things: list[dict[str, object]] = [{"id": number, "image_id": 9, "category_id": 7} for number in range(2)]
    for split in ("train2017", "val2017"):
        pictures(root / split, "9.png", "3.png")
        annotated(root / "annotations" / f"captions_{split}.json", images, captions)
    categories = [{"id": 7, "name": "dog", "supercategory": "animal"}]
    annotated(root / "annotations" / "instances_train2017.json", images, things, categories=categories)
    return root


def test_captions_of_an_image_come_together_and_categories_are_counted(tmp_path: Path) -> None:
    samples, refused = read(coco(tmp_path))
    assert refused == []
    assert [(one["id"], one["split"], [caption["text"] for caption in one["captions"]]) for one in samples] == [
        ("train2017/9.png", "train", ["nine"]), ("train2017/3.png", "train", ["three", "drei"]),
        ("val2017/9.png", "validation", ["nine"]), ("val2017/3.png", "validation", ["three", "drei"]),
    ]  # fmt: skip
    assert samples[0]["image"] == tmp_path / "train2017" / "9.png"
    assert samples[0]["labels"] == {"dog": "2"}
    assert "labels" not in samples[1]
    meta = json.loads(samples[0]["meta"])
    assert (meta["image_id"], meta["width"]) == (9, 4)


def test_pictures_may_lie_in_a_folder_called_images(tmp_path: Path) -> None:
    pictures(tmp_path / "images" / "train2014", "a.png")
    annotated(tmp_path / "annotations" / "captions_train2014.json", [{"id": 1, "file_name": "a.png"}], [])
    assert [one["id"] for one in read(tmp_path)[0]] == ["images/train2014/a.png"]


def test_annotations_beside_their_pictures_are_read(tmp_path: Path) -> None:
    for folder in ("train", "valid"):
        pictures(tmp_path / folder, "a.png")
        annotated(
            tmp_path / folder / "_annotations.coco.json", [{"id": 0, "file_name": "a.png"}],
            [{"image_id": 0, "category_id": 1}], categories=[{"id": 1, "name": "cup"}],
        )  # fmt: skip
    samples, _ = read(tmp_path)
    assert [(one["id"], one["split"], one["labels"]) for one in samples] == [
        ("train/a.png", "train", {"cup": "1"}), ("valid/a.png", "validation", {"cup": "1"})
    ]  # fmt: skip


def test_missing_pictures_and_names_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    images: list[dict[str, object]] = [
        {"id": 1, "file_name": "gone.png"}, {"id": 2, "file_name": "../../secret.png"}, {"id": 3}
    ]  # fmt: skip
    annotated(tmp_path / "annotations" / "captions_val.json", images, [])
    samples, refused = read(tmp_path)
    assert samples == []
    assert [one.problem for one in refused] == ["missing_file", "unsafe_path", "bad_manifest_line"]


def test_files_that_are_not_read_are_named(tmp_path: Path) -> None:
    annotated(coco(tmp_path) / "annotations" / "person_keypoints_train2017.json", [], [])
    assert Importer().doubts(tmp_path) == ["these files are not read: person_keypoints_train2017.json"]
    assert Importer().fields(tmp_path, ImportOptions())["captions"] == "captions"


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = annotated(tmp_path / "annotations" / "captions_train.json", [{"id": 1, "file_name": "a.png"}], [])
    path.write_text(path.read_text()[:-10])
    with pytest.raises(ValueError, match=r"captions_train.json is not valid JSON after \d+ characters"):
        read(tmp_path)


def test_a_folder_without_annotations_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is coco its format"):
        read(tmp_path)
