from pathlib import Path

import pytest

from mmcore.data.importers import ImportOptions, Refused, Sample
from mmcore.data.importers.flickr8k import Importer
from tests.data.importers.test_imagefolder import pictures


def read(source: Path, **options: object) -> tuple[list[Sample], list[Refused]]:
    found = list(Importer().read(source, ImportOptions(**options)))
    return [one for one in found if isinstance(one, dict)], [one for one in found if isinstance(one, Refused)]


def texts(sample: Sample) -> list[str]:
    return [caption["text"] for caption in sample["captions"]]


def tokens(root: Path, *lines: str, name: str = "Flickr8k.token.txt") -> Path:
    root.mkdir(exist_ok=True)
    (root / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return root


def test_captions_of_a_picture_come_together_wherever_they_stand(tmp_path: Path) -> None:
    pictures(tmp_path / "Flicker8k_Dataset", "a.png", "b.png")
    tokens(tmp_path, "a.png#0\tA dog .", "b.png#0\tA cat .", "a.png#1\tIt runs .")
    samples, refused = read(tmp_path)
    assert [(one["id"], texts(one)) for one in samples] == [
        ("Flicker8k_Dataset/a.png", ["A dog .", "It runs ."]), ("Flicker8k_Dataset/b.png", ["A cat ."])
    ]  # fmt: skip
    assert samples[0]["image"] == tmp_path / "Flicker8k_Dataset" / "a.png"
    assert refused == []


def test_lists_of_splits_are_followed_and_pictures_in_none_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path / "Images", "a.png", "b.png", "c.png", "d.png")
    tokens(tmp_path / "Flickr8k_text", *(f"{name}.png#0\tx" for name in "abcd"))
    for word, name in (("train", "a"), ("dev", "b"), ("test", "c")):
        (tmp_path / "Flickr8k_text" / f"Flickr_8k.{word}Images.txt").write_text(f"{name}.png\n")
    samples, refused = read(tmp_path)
    assert [(one["id"], one["split"]) for one in samples] == [
        ("Images/a.png", "train"), ("Images/b.png", "validation"), ("Images/c.png", "test")
    ]  # fmt: skip
    assert [(one.id, one.problem) for one in refused] == [("Images/d.png", "no_split")]


def test_a_picture_in_two_splits_stops_the_import(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    tokens(tmp_path, "a.png#0\tx")
    for word in ("train", "test"):
        (tmp_path / f"Flickr_8k.{word}Images.txt").write_text("a.png\n")
    with pytest.raises(ValueError, match=r"lists 'a\.png', which is of the split"):
        read(tmp_path)


def test_csv_with_and_without_quotes(tmp_path: Path) -> None:
    pictures(tmp_path / "Images", "a.png")
    tokens(tmp_path, "image,caption", 'a.png,"one, two"', "a.png,three, four", "alone", name="captions.txt")
    samples, refused = read(tmp_path)
    assert texts(samples[0]) == ["one, two", "three, four"]
    assert samples[0]["split"] is None
    assert [(one.problem, one.detail) for one in refused] == [
        ("bad_manifest_line", "it is no picture and caption: alone")
    ]  # fmt: skip


def test_two_languages_in_two_files(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    tokens(tmp_path, "a.png#0\tA dog .")
    tokens(tmp_path, "a.png#0\tA dogs .", name="Flickr8k.lemma.token.txt")
    tokens(tmp_path, "a.png#zhc#0 一只狗。", name="flickr8kzhc.caption.txt")
    captions = read(tmp_path)[0][0]["captions"]
    assert sorted((one["text"], one["lang"]) for one in captions if one["lang"]) == [("一只狗。", "zh")]
    assert len(captions) == 2
    tokens(tmp_path, "a.png#0\tAgain .", name="again.token.txt")
    with pytest.raises(ValueError, match="both hold captions; leave only one of them"):
        read(tmp_path)


def test_doubts_are_told(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    tokens(tmp_path, "a.png#0\tx")
    (tmp_path / "Flickr_8k.trainImages.txt").write_text("a.png\nc.png\n")
    assert Importer().doubts(tmp_path) == [
        "1 pictures have no caption; they are not imported", "1 pictures are in a list of splits and have no caption"
    ]  # fmt: skip
    assert Importer().fields(tmp_path, ImportOptions()) == {
        "file_name": "image", "captions": "captions", "split": "meta"
    }  # fmt: skip


def test_a_folder_without_captions_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is flickr8k its format"):
        read(tmp_path)
