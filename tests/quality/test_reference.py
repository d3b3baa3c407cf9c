from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import ks_2samp

from mmcore.fingerprint import fingerprint
from mmcore.quality.reference import _Group, calibrate, number_table
from mmcore.workspace import hash_file, hash_folder, read_json


def table(num_rows: int, *, seed: int = 0) -> pa.Table:
    """Two correlated columns, one with ties, one that half of the samples have, one that never changes."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=num_rows)
    rows = [
        {"a": value, "b": value + rng.normal() / 2, "ties": float(rng.integers(4)), "same": 1.0}
        | ({"half": rng.normal()} if number % 2 else {})
        for number, value in enumerate(first)
    ]
    return number_table([str(number) for number in range(num_rows)], rows)


def test_the_smallest_p_value_is_that_of_scipy():
    rng = np.random.default_rng(3)
    values = np.stack([rng.normal(size=60), rng.integers(0, 5, 60), rng.normal(size=60)], axis=1)
    group = _Group(values, np.array([0, 1]), np.arange(50))
    for _ in range(20):
        first = rng.permutation(60) < 30
        cut = first[:50]
        expected = min(ks_2samp(values[:50, c][cut], values[:50, c][~cut]).pvalue for c in (0, 1))
        assert group.p_value(first) == pytest.approx(expected)


def test_the_threshold_grows_with_the_false_alarm_rate_and_is_repeatable():
    numbers = table(200)
    low, high = (calibrate(numbers, rate=rate, splits=300, seed=1) for rate in (0.02, 0.2))
    assert 0 < low < 0.02 < high < 0.2
    assert calibrate(numbers, rate=0.02, splits=300, seed=1) == low


def test_fresh_batches_without_drift_alarm_about_as_often_as_asked():
    rate = 0.1
    threshold = calibrate(table(400), rate=rate, splits=500, seed=1)
    alarms = 0
    for seed in range(100):
        drawn, batch = table(400, seed=1000 + seed), table(100, seed=2000 + seed)
        p_values = [
            ks_2samp(drawn[name].drop_null(), batch[name].drop_null()).pvalue for name in drawn.column_names[1:]
        ]
        alarms += min(p_values) <= threshold
    assert 3 <= alarms <= 20


def test_too_few_halvings_are_refused():
    with pytest.raises(ValueError, match=r"reference\.splits 50 are too few .* at least 100 give"):
        calibrate(table(50), rate=0.01, splits=50, seed=1)


def test_missing_numbers_are_null():
    numbers = number_table(["x", "y"], [{"b": 1.0}, {"a": 2.0, "b": 3.0}])
    assert numbers.to_pydict() == {"id": ["x", "y"], "a": [None, 2.0], "b": [1.0, 3.0]}


def test_the_reference_holds_numbers_words_components_and_thresholds(chain):
    folder = chain.root / "reference"
    numbers = pq.read_table(folder / "reference.parquet")
    assert numbers.num_rows == 100
    ids = numbers["id"].to_pylist()
    assert all(name.startswith("test-") for name in ids)
    assert numbers["video/video_frames"].null_count == sum(int(name.split("-")[-1]) % 4 != 3 for name in ids)
    assert numbers["image_component_1"].null_count == numbers["caption_component_2"].null_count < 100
    assert set(pq.read_table(folder / "words.parquet")["word"].to_pylist()) == {
        "a", "again", "ball", "big", "dark", "fades", "pale"
    }  # fmt: skip
    calibration = read_json(folder / "calibration.json")
    assert set(calibration["columns"]) == set(numbers.column_names) - {"id"}
    assert calibration["embeddings_of"] == hash_file(chain.root / "tasks" / "retrieval" / "model.safetensors")
    assert [kind["has"] for kind in calibration["kinds"]] == [
        ["image", "audio", "caption"],
        ["video", "caption", "summary"],
    ]
    assert (calibration["rows"], calibration["false_alarm_rate"]) == (100, 0.01)
    assert calibration["limits"]["max_pixels"] == chain.settings.validate.max_pixels


def test_the_stage_imports_no_heavy_tool():
    libraries = fingerprint(["mmcore.quality.reference"])["libraries"]
    assert "scipy" in libraries
    assert not set(libraries) & {"evidently", "great_expectations", "pandas", "torch"}


def test_the_reference_has_the_same_bytes_every_time_and_others_for_another_seed(chain, tmp_path):
    assert hash_folder(chain.make_reference(tmp_path / "again")) == hash_folder(chain.root / "reference")
    other = replace(chain, settings=replace(chain.settings, seed=2))
    assert hash_folder(other.make_reference(tmp_path / "other")) != hash_folder(chain.root / "reference")
