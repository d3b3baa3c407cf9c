from pathlib import Path

import pytest

from mmcore.data import digitworld, store
from tests.data.conftest import SIZES, generate, rows_of


def test_generation_is_the_same_bytes_with_any_number_of_processes(world: Path, tmp_path: Path) -> None:
    again = generate(tmp_path / "data", processes=2)
    assert (again / "manifest.json").read_bytes() == (world / "manifest.json").read_bytes()
    store.verify(again)


def test_the_numbers_are_those_asked_for(world: Path) -> None:
    counts = {split: len(rows) for split, rows in rows_of(world).items()}
    assert counts == {"train": 12 + 4 + 3 + 10, "validation": 4 + 2 + 2 + 5, "test": 5 + 3 + 2}


def test_a_row_does_not_depend_on_how_many_are_generated(world: Path) -> None:
    rows = {row["id"]: row for row in rows_of(world)["train"]}
    for content, count in (("scene", 12), ("clip", 4), ("sentiment", 3), ("fault", 10)):
        row = digitworld.make(content, "train", count - 1)
        assert rows[row["id"]] == row


def test_ids_are_unique_and_in_the_order_of_the_store(world: Path) -> None:
    for rows in rows_of(world).values():
        ids = [row["id"] for row in rows]
        assert ids == sorted(set(ids))


def test_the_full_size_is_the_default_one() -> None:
    sizes = digitworld.Sizes()
    assert sizes.scenes == (4000, 250, 500)
    assert sizes.clips == (1000, 100, 300)
    assert sizes.sentiments == (500, 100, 200)
    specs = [spec for split in store.SPLITS for shard in digitworld._shards(split, sizes) for spec in shard]
    assert len({digitworld.identity(*spec) for spec in specs}) == len(specs) == 7070


def test_rows_streams_what_generate_stores(world: Path) -> None:
    assert list(digitworld.rows("validation", SIZES)) == rows_of(world)["validation"]


def test_the_first_rows_show_every_content() -> None:
    first = [content for content, _, _ in digitworld._shards("train", digitworld.Sizes())[0][:100]]
    assert {"scene", "clip", "sentiment"} <= set(first)


def test_first_captions_of_test_scenes_are_hardly_ever_equal() -> None:
    captions = [digitworld_caption(index) for index in range(500)]
    assert 1 - len(set(captions)) / len(captions) == pytest.approx(0, abs=0.02)


def digitworld_caption(index: int) -> str:
    from mmcore.data import digitworld_scenes
    from mmcore.data.digitworld_objects import seeded

    rng = seeded("scene", "test", index)
    scene = digitworld_scenes.draw_scene(rng)
    digitworld_scenes.render(rng, scene, "test")
    return digitworld_scenes.tell(rng, scene)[0]
