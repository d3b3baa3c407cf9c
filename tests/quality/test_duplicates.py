from mmcore.quality.duplicates import across_splits, within_splits
from mmcore.quality.probe import probe_row, profile_table
from tests.quality.samples import LIMITS, captions, image, sample, sound


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
