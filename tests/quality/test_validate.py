import io
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmcore import params
from mmcore.data import digitworld, store
from mmcore.quality.decisions import Decision, decide
from mmcore.settings import DataSettings
from mmcore.workspace import hash_folder, read_json
from tests.conftest import ROOT
from tests.data.planted_faults import planted_faults
from tests.quality.samples import LIMITS, captions, image, sample, sound

pytestmark = pytest.mark.gx

ALL = DataSettings(source=None, format=None, fields={}, limit=None, engine="local", max_decoded_bytes=None)
WORDY = "from one end of the town to the other, over three bridges, through a tunnel and up the hill, by tram at night"
REAL_LIMITS = params.load(ROOT / "params.yaml").validate


def fill(root: Path, **splits) -> Path:
    """A store with these rows per split; a split that is not named has two sound samples."""
    for split in store.SPLITS:
        store.write_shards(root, split, splits.get(split, [sample(f"{split}-1"), sample(f"{split}-2")]))
    store.write_manifest(root)
    return root


def judge(gate, root: Path, limits=LIMITS, settings=ALL, name="out", rules=ROOT / "validation") -> Path:
    output = root.parent / name
    output.mkdir()
    gate.validate(root, rules, output, root.parent / "logs", limits, settings, processes=1)
    return output


def quarantine(folder: Path) -> dict[str, dict]:
    return {row["id"]: row for row in pq.read_table(folder / "quarantine.parquet").to_pylist()}


@pytest.fixture(scope="module")
def digits(gate, tmp_path_factory) -> Path:
    """DigitWorld with some of its planted faults, judged; the folder holds `data` and `out`."""
    root = tmp_path_factory.mktemp("digits")
    digitworld.generate(
        root / "data", scenes=(60, 12, 24), clips=(12, 4, 6), sentiments=(6, 4, 6), faults=(15, 5, 0), processes=1
    )
    judge(gate, root / "data", REAL_LIMITS)
    return root


def test_planted_faults_are_found_and_no_clean_row_is_touched(digits):
    truth = planted_faults()
    data = digits / "data"
    stored = [row["id"] for shard in store.shards(data) for row in store.read_rows(data / shard.path)]
    findable = {id: truth[id] for id in stored if truth.get(id, "swapped_attribute") != "swapped_attribute"}
    assert Counter(findable.values()) == dict.fromkeys(
        ("undecodable_image", "empty_caption", "wrong_duration", "duplicate_across_splits"), 4
    )
    found = quarantine(digits / "out")
    assert {id: row["problems"] for id, row in found.items()} == {id: [kind] for id, kind in findable.items()}
    assert {row["verdict"] for row in found.values()} == {"reject"}
    accepted = pq.read_table(digits / "out" / "accepted.parquet").to_pylist()
    assert {row["id"] for row in accepted} == set(stored) - set(findable)
    assert {row["verdict"] for row in accepted} == {"ok"}


def test_the_summary_counts_what_the_files_hold(digits):
    summary = read_json(digits / "out" / "summary.json")
    assert (summary["rows"], summary["accepted"]) == (154, 138)
    assert summary["splits"]["train"] == {"rows": 93, "ok": 81, "repaired": 0, "flag": 0, "reject": 12}
    assert summary["splits"]["test"] == {"rows": 36, "ok": 36, "repaired": 0, "flag": 0, "reject": 0}
    assert summary["modalities"]["video"] == {"rows": 22, "accepted": 22}
    assert summary["problems"]["empty_caption"]["rows"] == 4
    assert summary["expectations"]["failures"] == []


def test_an_accepted_row_says_where_it_lies(digits):
    row = pq.read_table(digits / "out" / "accepted.parquet").to_pylist()[5]
    (stored,) = store.read_rows(digits / "data" / row["shard"], start=row["row"], stop=row["row"] + 1)
    assert stored["id"] == row["id"]
    assert row["shard"].startswith(row["split"])


def test_the_same_data_give_the_same_bytes_in_another_place_and_on_more_processes(gate, digits, tmp_path):
    shutil.copytree(digits / "data", tmp_path / "elsewhere")
    (tmp_path / "again").mkdir()
    gate.validate(
        tmp_path / "elsewhere",
        ROOT / "validation",
        tmp_path / "again",
        tmp_path / "logs",
        REAL_LIMITS,
        ALL,
        processes=2,
    )
    assert hash_folder(tmp_path / "again") == hash_folder(digits / "out")


def test_only_the_first_rows_are_judged_under_a_limit(gate, digits):
    output = judge(gate, digits / "data", REAL_LIMITS, replace(ALL, limit=10), name="few")
    assert {split: counts["rows"] for split, counts in read_json(output / "summary.json")["splits"].items()} == {
        "train": 10, "validation": 10, "test": 10
    }  # fmt: skip


def test_doubtful_rows_are_kept_and_shown_with_a_thumbnail(gate, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    rows = [
        sample("a"), sample("turned", image=image(99, format="JPEG", exif=exif)),
        sample("twin", **{key: sample("a")[key] for key in ("image", "captions")}),
        sample("wordy", audio=sound(0.2), captions=captions(WORDY)),
    ]  # fmt: skip
    output = judge(gate, fill(tmp_path / "data", train=rows))
    found = quarantine(output)
    assert {id: (row["verdict"], row["problems"]) for id, row in found.items()} == {
        "turned": ("repaired", ["rotated_by_exif"]),
        "twin": ("flag", ["duplicate_within_split"]),
        "wordy": ("flag", ["too_long_text"]),
    }
    assert found["twin"]["detail"] == "same as a"
    assert found["wordy"]["detail"] == "a text has 109 characters, more than 100"
    assert Image.open(io.BytesIO(found["twin"]["thumbnail"])).format == "JPEG"
    # What was merely repaired is sound, and a sound has no picture.
    assert (found["turned"]["thumbnail"], found["wordy"]["thumbnail"]) == (None, None)
    accepted = pq.read_table(output / "accepted.parquet").to_pylist()
    assert [row["verdict"] for row in accepted[:4]] == ["ok", "repaired", "flag", "flag"]


def test_of_two_samples_with_one_id_the_test_sample_stays(gate, tmp_path):
    output = judge(gate, fill(tmp_path / "data", train=[sample("a"), sample("test-1", image=image(3))]))
    assert {id: row["split"] for id, row in quarantine(output).items()} == {"test-1": "train"}


def test_rows_refused_at_import_join_the_quarantine(gate, tmp_path):
    root = fill(tmp_path / "data")
    refused = [{"id": "gone", "problems": ["missing_file"], "detail": "no x.png", "split": "train"}]
    pq.write_table(pa.Table.from_pylist(refused), root / "refused.parquet")
    output = judge(gate, root)
    assert quarantine(output)["gone"] == {**refused[0], "verdict": "reject", "sha256": None, "thumbnail": None}
    summary = read_json(output / "summary.json")
    assert (summary["rows"], summary["accepted"], summary["refused_at_import"]) == (7, 6, 1)
    assert summary["problems"]["missing_file"]["rows"] == 1


def test_a_mostly_bad_set_fails_with_its_quarantine_kept(gate, tmp_path):
    bad = [sample(f"bad{number}", image=b"x", captions=captions(f"c{number}")) for number in range(20)]
    with pytest.raises(ValueError, match=r"only 23% of 26 samples.*undecodable_image 20.*quarantine\.parquet"):
        judge(gate, fill(tmp_path / "data", train=[sample("a"), sample("b"), *bad]))
    assert list((tmp_path / "out").iterdir()) == []
    kept = quarantine(tmp_path / "logs")
    assert len(kept) == 20
    assert kept["bad0"]["detail"] == "the image cannot be read: unknown or broken format"
    assert (tmp_path / "logs" / "data_docs" / "index.html").is_file()
    judge(gate, fill(tmp_path / "sound"), name="next")
    assert not (tmp_path / "logs" / "quarantine.parquet").exists()


def test_an_empty_set_fails(gate, tmp_path):
    with pytest.raises(ValueError, match="0 samples are usable"):
        judge(gate, fill(tmp_path / "data", train=[], validation=[], test=[]))


def test_a_split_without_a_sound_sample_fails(gate, tmp_path):
    with pytest.raises(ValueError, match="no sample of the split 'test' is usable"):
        judge(gate, fill(tmp_path / "data", test=[sample("x", image=b"x")]))


def test_a_flipped_byte_is_refused_by_name_before_anything_is_read(gate, tmp_path):
    root = fill(tmp_path / "data")
    shard = root / "validation" / "part-00000.parquet"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ValueError, match=r"validation/part-00000\.parquet"):
        judge(gate, root)


def test_a_released_row_is_used_and_flagged_and_a_dropped_one_is_not(gate, tmp_path):
    rows = [sample("small", image=image(width=15), captions=captions("a small thing")), sample("fine"),
            sample("broken", image=b"x", captions=captions("a broken thing")),
            sample("changed", audio=sound(0.02), captions=captions("another thing"))]  # fmt: skip
    root = fill(tmp_path / "data", train=rows)
    rules = tmp_path / "validation"
    rules.mkdir()
    shutil.copy(ROOT / "validation" / "suite.json", rules)
    hashes = {row["id"]: row["sha256"] for row in rows} | {"changed": "another"}
    choices = {"small": "release", "fine": "drop", "broken": "release", "changed": "release"}
    decide(rules / "decisions.jsonl", [Decision(id, choices[id], hashes[id], "") for id in choices])
    output = judge(gate, root, rules=rules)
    assert {id: (row["verdict"], row["problems"]) for id, row in quarantine(output).items()} == {
        "small": ("flag", ["too_small", "released_by_person"]),
        "fine": ("reject", ["dropped_by_person"]),
        # Nothing can be made of what cannot be decoded, and a decision on other content is none.
        "broken": ("reject", ["undecodable_image"]),
        "changed": ("reject", ["too_short"]),
    }
    accepted = {row["id"]: row["verdict"] for row in pq.read_table(output / "accepted.parquet").to_pylist()}
    assert accepted["small"] == "flag"
    assert not {"fine", "broken", "changed"} & set(accepted)


def test_probing_again_takes_what_the_cache_holds(gate, tmp_path, monkeypatch):
    root = fill(tmp_path / "data")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        gate.validate(
            root, ROOT / "validation", tmp_path / name, tmp_path / "logs", LIMITS, ALL, cache=tmp_path / "cache",
            processes=1,
        )  # fmt: skip
        entries = sorted((tmp_path / "cache" / "probe_shard").iterdir())
        assert len(entries) == 3
        monkeypatch.setattr("mmcore.quality.probe._probe_rows", None)
    assert hash_folder(tmp_path / "first") == hash_folder(tmp_path / "second")
