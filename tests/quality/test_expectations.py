from dataclasses import replace

import pyarrow as pa
import pytest

from mmcore.quality.probe import SCHEMA, probe_row, profile_table
from tests.quality.samples import LIMITS, captions, clip, image, sample, sound

pytestmark = pytest.mark.gx


def profile(*rows):
    """The profile of (split, row) pairs; a row may be followed by columns to overwrite."""
    found = []
    for split, row, *changes in rows:
        found.append({"split": split} | probe_row(row, LIMITS) | dict(*changes))
    return profile_table(found)


CLEAN = (("train", sample("a")), ("validation", sample("b")), ("test", sample("c")))


def test_a_clean_set_has_no_findings_and_leaves_its_docs(expectations, tmp_path):
    found = expectations.check(profile(*CLEAN), LIMITS, tmp_path / "docs")
    assert (found.problems, found.failures, found.warnings, found.errors) == ({}, (), (), ())
    assert found.checked == 30
    (page,) = (tmp_path / "docs" / "validations").rglob("*.html")
    assert "num_blank_captions" in page.read_text()
    assert (tmp_path / "docs" / "index.html").is_file()


def test_each_fault_gets_its_own_code(expectations, tmp_path):
    faults = {
        "undecodable_image": sample("f1", image=image()[:60]),
        "undecodable_audio": sample("f2", audio=b"RIFF"),
        "undecodable_video": sample("f3", video=clip(1, 2)[:50]),
        "too_small": sample("f4", image=image(width=15)),
        "too_large": sample("f5", image=image(width=500, height=21)),
        "too_long": sample("f6", audio=sound(2.1)),
        "empty_caption": sample("f7", image=image(), captions=captions("x", " ")),
        "wrong_duration": sample("f8", audio=sound(1.0), meta='{"duration": 1.2}'),
        "too_long_text": sample("f9", captions=captions("x" * 101)),
        "bad_meta": sample("f10", image=image(7), meta="{"),
        "wrong_hash": sample("f11") | {"sha256": "0"},
        "no_modality": sample("f12", labels={"kind": "none"}),
    }
    table = profile(*CLEAN, *(("train", row) for row in faults.values()))
    found = expectations.check(table, LIMITS, tmp_path / "docs")
    assert found.problems == {3 + place: (code,) for place, code in enumerate(faults)}
    assert found.failures == found.errors == ()


def test_what_only_the_whole_set_shows_is_found_too(expectations, tmp_path):
    table = profile(
        *CLEAN,
        ("train", sample("a", image=image(1))),
        ("train", sample("d"), {"duplicate_of": "a"}),
        ("train", sample("e"), {"leaked_from": "test/c"}),
        ("train", sample("f"), {"id": None}),
    )
    found = expectations.check(table, LIMITS, tmp_path / "docs")
    assert found.problems == {
        0: ("duplicate_id",), 3: ("duplicate_id",), 4: ("duplicate_within_split",), 5: ("duplicate_across_splits",),
        6: ("no_id",),
    }  # fmt: skip


def test_several_problems_of_one_sample_stand_in_one_order(expectations, tmp_path):
    row = sample("d", image=image(width=12), captions=captions(""), meta="{")
    found = expectations.check(profile(*CLEAN, ("train", row)), LIMITS, tmp_path / "docs")
    assert found.problems == {3: ("bad_meta", "too_small", "empty_caption")}


def test_zero_rows_fail(expectations, tmp_path):
    found = expectations.check(pa.Table.from_pylist([], SCHEMA), LIMITS, tmp_path / "docs")
    assert "the set has fewer than 1 samples (validate.min_rows)" in found.failures
    assert "the split 'train' has no samples" in found.failures


def test_a_set_too_small_or_without_a_split_fails(expectations, tmp_path):
    found = expectations.check(profile(*CLEAN[:2]), replace(LIMITS, min_rows=3), tmp_path / "docs")
    assert found.failures == ("the set has fewer than 3 samples (validate.min_rows)", "the split 'test' has no samples")


def test_a_modality_that_a_split_lacks_is_a_warning(expectations, tmp_path):
    table = profile(*CLEAN, ("train", sample("d", audio=sound(1.0))), ("test", sample("e", audio=sound(0.9))))
    found = expectations.check(table, LIMITS, tmp_path / "docs")
    assert found.failures == ()
    assert found.warnings == ("the split 'validation' has no audio, which the split 'train' has",)


def test_an_expectation_that_cannot_be_checked_is_an_error_and_no_finding(expectations, tmp_path):
    table = profile(*CLEAN).drop_columns(["hash_ok"])
    found = expectations.check(table, LIMITS, tmp_path / "docs")
    assert (found.problems, found.failures) == ({}, ())
    (error,) = found.errors
    assert "wrong_hash" in error
    assert "hash_ok" in error
