import io
import shutil
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmcore.data import store
from mmcore.data.engine import code_of
from mmcore.quality import duplicates
from mmcore.quality.duplicates import across_splits, near_copies, torn_groups, within_splits
from mmcore.quality.probe import probe_row, profile_table
from tests.conftest import ROOT
from tests.quality.samples import LIMITS, captions, image, sample, scene, sound, tune

BIG = replace(LIMITS, max_pixels=100_000)


def profile(*rows):
    return profile_table({"split": split} | probe_row(row, LIMITS) for split, row in rows)


def test_a_copy_within_a_split_names_the_first_one():
    one, other = {"image": image(1), "captions": captions("x")}, {"image": image(2), "captions": captions("x")}
    rows = {"a": one, "b": other, "c": one}
    table = profile(*(("train", sample(name, **row)) for name, row in rows.items()), ("test", sample("d", **one)))
    assert within_splits(table) == [None, None, "a", None]


def test_rows_of_one_group_may_be_equal():
    table = profile(*(("train", sample(name, image=image(1), group="g")) for name in "abc"))
    assert within_splits(table) == [None, None, None]


def test_equal_media_with_other_texts_are_no_copies_within_a_split():
    table = profile(*(("train", sample(name, image=image(1), captions=captions(name))) for name in "ab"))
    assert within_splits(table) == [None, None]


def test_one_shared_file_leaks_and_the_test_copy_stays():
    table = profile(
        ("train", sample("a", image=image(1), captions=captions("x"))),
        ("validation", sample("b", image=image(1), captions=captions("y"), audio=sound(0.1))),
        ("test", sample("c", image=image(1), captions=captions("z"))),
        ("train", sample("d", image=image(2), audio=sound(0.1))),
        ("train", sample("e", image=image(3))),
    )
    assert across_splits(table) == ["test/c", "test/c", None, "validation/b", None]


def test_texts_alone_leak_only_where_there_are_no_media():
    table = profile(
        ("train", sample("a", captions=captions("same"))),
        ("test", sample("b", captions=captions("same"))),
        ("train", sample("c", image=image(1), captions=captions("same"))),
    )
    assert across_splits(table) == ["test/b", None, None]


def test_files_that_cannot_be_decoded_are_copies_of_nothing():
    table = profile(("train", sample("a", image=b"")), ("test", sample("b", image=b"")))
    assert across_splits(table) == [None, None]


def test_a_group_in_two_splits_is_torn_and_the_part_that_is_tested_stays():
    table = profile(
        ("train", sample("a", image=image(1), group="g")),
        ("validation", sample("b", image=image(2), group="g")),
        ("test", sample("c", image=image(3), group="g")),
        ("train", sample("d", image=image(4))),
        ("train", sample("e", image=image(5), group="h")),
        ("train", sample("f", image=image(6), group="h")),
    )
    assert torn_groups(table) == ["test/c", "test/c", None, None, None, None]


def test_an_id_that_is_there_twice_is_no_torn_group():
    table = profile(("train", sample("a", image=image(1))), ("test", sample("a", image=image(2))))
    assert torn_groups(table) == [None, None]


# Near copies --------------------------------------------------------------------------------------------------------


def stored(folder: Path, *rows: tuple[str, store.Row]) -> pa.Table:
    """The profile of a store that is written to `folder`."""
    for split in store.SPLITS:
        store.write_shards(folder, split, [row for where, row in rows if where == split])
    store.write_manifest(folder)
    found = []
    for shard in store.shards(folder):
        for number, row in enumerate(store.read_rows(folder / shard.path)):
            found.append({"split": shard.split, "shard": shard.path, "row": number} | probe_row(row, BIG))
    return profile_table(found)


def photograph(seed: int, *, quality: int = 90, side: int | None = None) -> bytes:
    """A JPEG of `scene(seed)`, scaled to `side` pixels across."""
    picture = Image.fromarray(scene(seed))
    if side:
        picture = picture.resize((side, side * 3 // 4))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def test_a_photograph_stored_again_is_flagged_within_its_split_and_names_the_first(tmp_path: Path):
    table = stored(
        tmp_path,
        ("train", sample("a", image=photograph(1))),
        ("train", sample("b", image=photograph(2))),
        ("train", sample("c", image=photograph(1, quality=60))),
        ("train", sample("d", image=photograph(1, side=64))),
        ("test", sample("e", image=photograph(3))),
    )
    assert near_copies(table, tmp_path).within == [None, None, "a", "a", None]
    assert near_copies(table, tmp_path).across == [None] * 5


def test_rows_of_one_group_or_one_positive_key_may_be_alike_and_equal_files_are_no_near_copies(tmp_path: Path):
    table = stored(
        tmp_path,
        ("train", sample("a", image=photograph(1), group="g")),
        ("train", sample("b", image=photograph(1, quality=60), group="g")),
        ("train", sample("c", image=photograph(2), positives="p")),
        ("train", sample("d", image=photograph(2, quality=60), positives="p")),
        ("train", sample("e", image=photograph(3))),
        ("train", sample("f", image=photograph(3), captions=captions("x"))),
    )
    assert near_copies(table, tmp_path).within == [None] * 6


def test_a_near_copy_in_a_split_with_precedence_leaks_even_within_a_group(tmp_path: Path):
    table = stored(
        tmp_path,
        ("train", sample("a", image=photograph(1), positives="p")),
        ("train", sample("b", image=photograph(1), group="other")),
        ("validation", sample("c", image=photograph(1, side=64), positives="p")),
        ("test", sample("d", image=photograph(1, quality=60))),
    )
    assert near_copies(table, tmp_path).across == ["test/d", "test/d", "test/d", None]


def test_texts_alone_are_near_copies_up_to_case_and_punctuation(tmp_path: Path):
    long = " ".join(f"word{k * k}" for k in range(100))
    table = stored(
        tmp_path,
        ("train", sample("a", captions=captions("A dog runs."))),
        ("train", sample("b", captions=captions("a dog  runs"))),
        ("train", sample("c", captions=captions("a cat runs"))),
        ("train", sample("d", captions=captions(long, "more"))),
        ("train", sample("e", image=photograph(1), captions=captions("A dog runs!"))),
        ("test", sample("f", captions=captions(long))),
    )
    assert near_copies(table, tmp_path).within == [None, "a", None, None, None, None]
    assert near_copies(table, tmp_path).across == [None, None, None, "test/f", None, None]


def test_a_recording_that_is_softer_is_a_near_copy(tmp_path: Path):
    table = stored(
        tmp_path,
        ("train", sample("a", audio=spoken(1, level=1.0))),
        ("train", sample("b", audio=spoken(1, level=0.5))),
        ("train", sample("c", audio=spoken(2, level=1.0))),
    )
    assert near_copies(table, tmp_path).within == [None, "a", None]


def spoken(seed: int, *, level: float) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes((tune(seed) * level * 20_000).astype("<i2").tobytes())
    return file.getvalue()


def test_rows_that_nothing_resembles_are_never_read(tmp_path: Path):
    rows = 2000
    rng = np.random.default_rng(0)
    table = profile_table([{"split": "train", "id": f"{k}", "group": f"{k}", "sha256": f"{k}"} for k in range(rows)])
    for name, values in {
        "image_sha256": pa.array([f"{k}" for k in range(rows)]),
        "image_ok": pa.array([True] * rows),
        "image_fingerprint": pa.array(rng.integers(-(2**63), 2**63 - 1, rows)),
    }.items():
        table = table.set_column(table.schema.get_field_index(name), name, values)
    assert near_copies(table, tmp_path / "nowhere").within == [None] * rows


FLICKR = ROOT.parent / "shared" / "data" / "flickr8k" / "test"


@pytest.mark.skipif(not FLICKR.is_dir(), reason="the photographs are not here")
def test_copies_of_real_photographs_are_found_and_nothing_else(tmp_path: Path):
    rows = []
    for file in sorted(FLICKR.glob("*.jpg"))[:60]:
        picture = Image.open(file)
        cut = picture.crop((2, 2, picture.width - 2, picture.height - 2))
        half = picture.resize((picture.width // 2, picture.height // 2))
        rows.append(("test", sample(file.stem, image=file.read_bytes())))
        rows += [("train", sample(f"{file.stem} {k}", image=encoded(copy, 60))) for k, copy in enumerate((cut, half))]
        rows.append(("validation", sample(f"{file.stem} other", captions=captions(file.stem))))
    table = stored(tmp_path, *rows)
    found = near_copies(table, tmp_path).across
    right = [f"test/{name.split()[0]}" for name in table["id"].to_pylist()[:120]]
    assert sum(one == other for one, other in zip(found, right, strict=False)) >= 114
    assert all(one in (None, other) for one, other in zip(found, right, strict=False))


def encoded(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def test_only_pairs_with_a_new_file_are_compared_again(tmp_path: Path, monkeypatch):
    data, cache = tmp_path / "data", tmp_path / "cache"
    copies = [("a", 1, 90), ("b", 1, 60), ("c", 2, 90), ("d", 2, 60)]
    rows = [("train", sample(name, image=photograph(seed, quality=quality))) for name, seed, quality in copies]
    asked: list[int] = []
    same_media = duplicates._same_media

    def counted(store_rows, kind, pairs, first_rows):
        asked.append(len(pairs))
        return same_media(store_rows, kind, pairs, first_rows)

    monkeypatch.setattr(duplicates, "_same_media", counted)
    first = near_copies(stored(data, *rows[:3]), data, cache)
    shutil.rmtree(data)
    table = stored(data, *rows)
    assert near_copies(table, data, cache) == near_copies(table, data)
    assert first.within == [None, "a", None]
    assert near_copies(table, data).within == [None, "a", None, "c"]
    assert near_copies(table, data, cache) == near_copies(table, data)
    assert asked == [1, 1, 2, 2, 2]  # with the cache nothing was left to ask

    file = cache / "near_copies" / "image.parquet"
    assert pq.read_metadata(file).metadata[b"code"] == code_of(duplicates.__name__).encode()  # of all that compares
    content = bytearray(file.read_bytes())
    content[20] ^= 1
    file.write_bytes(content)
    assert near_copies(table, data, cache) == near_copies(table, data)
    assert asked[5:] == [2, 2]  # what is damaged is not believed


def test_of_too_many_pairs_those_across_splits_and_one_for_each_file_are_compared():
    ranks = np.array([1, 1, 1, 1, 0])
    pairs = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 4]])
    chosen, left = duplicates._most_telling(pairs, ranks, 4)
    assert chosen.tolist() == [[0, 1], [0, 2], [0, 3], [2, 4]]
    assert left == 2
    assert duplicates._most_telling(pairs, ranks, 6)[1] == 0
