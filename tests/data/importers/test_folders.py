from pathlib import Path

import pytest

from mmcore.data.importers._folders import folder_of, need_folder, regular, split_in


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("captions_train2017", "train"), ("shards-val-0001", "validation"), ("Dev", "validation"), ("test", "test"),
        ("constraint", None), ("0001", None),
    ],
)  # fmt: skip
def test_a_name_tells_its_split_by_a_whole_word(name: str, split: str | None) -> None:
    assert split_in(name) == split


def test_the_folder_is_where_one_of_the_pictures_is(tmp_path: Path) -> None:
    assert folder_of(tmp_path, "train", first=["a.png"], beside=tmp_path) == tmp_path
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    (tmp_path / "train").mkdir()
    assert folder_of(tmp_path, "train", first=["x\0", "a.png"], beside=tmp_path) == tmp_path / "images"


def test_links_and_missing_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to("/etc/hostname")
    with pytest.raises(ValueError, match="symbolic links are not followed"):
        list(regular([tmp_path / "a.json"]))
    with pytest.raises(ValueError, match="does not exist; give the folder that holds x"):
        need_folder(tmp_path / "nothing", "x")
