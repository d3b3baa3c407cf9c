import json
from dataclasses import replace

import pyarrow as pa
import pytest

from mmcore.quality.probe import probe_row, profile_table, schema
from mmcore.quality.problems import PROBLEMS
from tests.conftest import ROOT
from tests.quality.samples import LIMITS, captions, clip, image, sample, sound

pytestmark = pytest.mark.gx


def profile(*rows):
    """The profile of (split, row) pairs; a row may be followed by columns to overwrite."""
    found = []
    for split, row, *changes in rows:
        found.append({"split": split} | probe_row(row, LIMITS) | dict(*changes))
    return profile_table(found)


def check(expectations, table, limits, docs, suite=ROOT / "validation" / "suite.json"):
    read = expectations.read_suite(suite, limits, schema().names)
    return expectations.check(table, read, limits, docs)


CLEAN = (("train", sample("a")), ("validation", sample("b")), ("test", sample("c")))


def test_a_clean_set_has_no_findings_and_leaves_its_docs(expectations, tmp_path):
    found = check(expectations, profile(*CLEAN), LIMITS, tmp_path / "docs")
    assert (found.problems, found.failures, found.warnings, found.errors) == ({}, (), (), ())
    assert found.checked == 71
    (page,) = (tmp_path / "docs" / "validations").rglob("*.html")
    assert "num_blank_captions" in page.read_text()
    assert (tmp_path / "docs" / "index.html").is_file()


def test_each_fault_gets_its_own_code(expectations, tmp_path):
    faults = {
        "undecodable_image": sample("f1", image=image()[:60]),
        "undecodable_audio": sample("f2", audio=b"RIFF"),
        "undecodable_video": sample("f3", video=clip(1, 2)[:50]),
        "too_small": sample("f4", image=image(width=15)),
        "too_large": sample("f5", image=image(width=110, height=100)),
        "too_long": sample("f6", audio=sound(2.1)),
        "empty_caption": sample("f7", image=image(), captions=captions("x", " ")),
        "wrong_duration": sample("f8", audio=sound(1.0), meta='{"duration": 1.2}'),
        "too_long_text": sample(
            "f9",
            captions=captions(
                "a long way " * 2
                + "from one end of the town to the other, over three bridges and through a tunnel, by tram"
            ),
        ),
        "bad_meta": sample("f10", image=image(7), meta="{"),
        "wrong_hash": sample("f11") | {"sha256": "0"},
        "no_modality": sample("f12", labels={"kind": "none"}),
    }
    table = profile(*CLEAN, *(("train", row) for row in faults.values()))
    found = check(expectations, table, LIMITS, tmp_path / "docs")
    assert found.problems == {3 + place: (code,) for place, code in enumerate(faults)}
    assert found.failures == found.errors == ()


def test_what_only_the_whole_set_shows_is_found_too(expectations, tmp_path):
    table = profile(
        *CLEAN,
        ("train", sample("a", image=image(11))),
        ("train", sample("d"), {"duplicate_of": "a"}),
        ("train", sample("e"), {"leaked_from": "test/c"}),
        ("train", sample("f"), {"id": None}),
    )
    found = check(expectations, table, LIMITS, tmp_path / "docs")
    assert found.problems == {
        0: ("duplicate_id",), 3: ("duplicate_id",), 4: ("duplicate_within_split",), 5: ("duplicate_across_splits",),
        6: ("no_id",),
    }  # fmt: skip


def test_several_problems_of_one_sample_stand_in_one_order(expectations, tmp_path):
    row = sample("d", image=image(width=12), captions=captions(""), meta="{")
    found = check(expectations, profile(*CLEAN, ("train", row)), LIMITS, tmp_path / "docs")
    assert found.problems == {3: ("bad_meta", "too_small", "empty_caption")}


def test_zero_rows_fail(expectations, tmp_path):
    found = check(expectations, pa.Table.from_pylist([], schema()), LIMITS, tmp_path / "docs")
    assert "the set has fewer samples than validate.min_rows" in found.failures
    assert "the split 'train' has no samples" in found.failures


def test_a_set_too_small_or_without_a_split_fails(expectations, tmp_path):
    found = check(expectations, profile(*CLEAN[:2]), replace(LIMITS, min_rows=3), tmp_path / "docs")
    assert found.failures == ("the set has fewer samples than validate.min_rows", "the split 'test' has no samples")


def test_a_modality_that_a_split_lacks_is_a_warning(expectations, tmp_path):
    table = profile(*CLEAN, ("train", sample("d", audio=sound(1.0))), ("test", sample("e", audio=sound(0.9))))
    found = check(expectations, table, LIMITS, tmp_path / "docs")
    assert found.failures == ()
    assert found.warnings == ("the split 'validation' has no audio, which the split 'train' has",)


def test_an_expectation_that_cannot_be_checked_is_an_error_and_no_finding(expectations, tmp_path):
    odd = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "source", "min_value": 3},
           "meta": {"code": "bad_meta"}}  # fmt: skip
    found = check(expectations, profile(*CLEAN), LIMITS, tmp_path / "docs", suite=write(tmp_path, odd))
    assert (found.problems, found.failures) == ({}, ())
    (error,) = found.errors
    assert "bad_meta" in error


def write(folder, *entries):
    """A suite file of these expectations."""
    path = folder / "suite.json"
    path.write_text(json.dumps({"name": "samples", "expectations": list(entries)}))
    return path


def test_a_person_may_add_an_expectation_with_a_code_of_their_own(expectations, tmp_path):
    dark = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "image_brightness", "min_value": 0.5},
            "meta": {"code": "too_dark", "verdict": "flag", "meaning": "the image is dark"}}  # fmt: skip
    rows = (("train", sample("a", image=image(250))), ("train", sample("b", image=image(20))))
    found = check(expectations, profile(*rows), LIMITS, tmp_path / "docs", suite=write(tmp_path, dark))
    assert found.problems == {1: ("too_dark",)}
    assert found.codes["too_dark"].verdict == "flag"


def test_a_person_may_give_a_known_code_another_verdict(expectations, tmp_path):
    strict = {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "meta_ok", "value_set": [True]},
              "meta": {"code": "bad_meta", "verdict": "reject"}}  # fmt: skip
    read = expectations.read_suite(write(tmp_path, strict), LIMITS, schema().names)
    assert read.codes["bad_meta"].verdict == "reject"
    assert read.codes["too_small"] == PROBLEMS["too_small"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"type": "expect_nothing", "kwargs": {}, "meta": {"code": "no_id"}}, "expectation 1 .expect_nothing. cannot"),
        ({"type": "expect_column_values_to_be_unique", "kwargs": {"column": "colour"}, "meta": {"code": "no_id"}},
         "there is no column 'colour'; there are: id, split"),
        ({"type": "expect_column_values_to_be_between", "kwargs": {"column": "row", "max_value": {"$PARAMETER": "x"}},
          "meta": {"code": "no_id"}}, "there is no parameter 'x'; there are: min_accepted_share"),
        ({"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id"}, "meta": {"code": "new"}},
         "the code 'new' is new: its meta needs 'verdict'"),
        ({"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id"}}, "its meta has no 'code'"),
        ({"type": "expect_column_mean_to_be_between", "kwargs": {"column": "image_width", "min_value": 1},
          "meta": {"code": "no_id"}}, "it is about the set, which has no 'code'"),
        ({"type": "expect_column_values_to_be_unique", "meta": {"code": "no_id"}}, "it has no 'kwargs'"),
        ({"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id", "row_condition": "split=='x'"},
          "meta": {"code": "no_id"}}, "write row_condition as"),
        ({"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id", "sideways": 1},
          "meta": {"code": "no_id"}}, "expectation 1 .expect_column_values_to_be_unique. cannot be used"),
    ],
)  # fmt: skip
def test_an_expectation_that_makes_no_sense_is_named_in_one_sentence(expectations, tmp_path, entry, message):
    with pytest.raises(ValueError, match=message) as caught:
        expectations.read_suite(write(tmp_path, entry), LIMITS, schema().names)
    assert "\n" not in str(caught.value)


def test_a_suite_that_is_missing_or_broken_is_named(expectations, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"suite\.json is missing"):
        expectations.read_suite(tmp_path / "suite.json", LIMITS, schema().names)
    for content, message in (
        ("{", "no valid JSON"),
        ("[]", "holds no list"),
        ('{"expectations": []}', "holds no list"),
    ):
        (tmp_path / "suite.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            expectations.read_suite(tmp_path / "suite.json", LIMITS, schema().names)


def test_every_code_but_those_of_people_and_importers_is_in_the_suite(expectations):
    read = json.loads((ROOT / "validation" / "suite.json").read_text())["expectations"]
    used = {entry["meta"].get("code") for entry in read}
    elsewhere = {
        "released_by_person", "dropped_by_person", "missing_file", "unsafe_path", "bad_manifest_line", "no_split",
        "truncated_archive", "duplicate_member", "frozen_group",
    }  # fmt: skip
    assert {code for code, problem in PROBLEMS.items() if problem.verdict != "repaired"} - used == elsewhere
    severities = {"flag": "warning", "reject": "critical"}
    for entry in read:
        if "code" in entry["meta"]:
            assert entry["severity"] == severities[PROBLEMS[entry["meta"]["code"]].verdict]
