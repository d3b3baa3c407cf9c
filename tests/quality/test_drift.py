from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import ks_2samp

from mmcore.data import store
from mmcore.quality.batch import profile_batch
from tests.quality.conftest import world
from tests.quality.samples import image

pytestmark = pytest.mark.evidently


def shifted(chain, folder, num_rows=80, **changes):
    """The numbers of a batch that was never in the reference."""
    store.write_shards(folder, "test", world("test", num_rows, seed=77, **changes))
    return profile_batch(folder / "test" / "part-00000.parquet", chain.root / "reference")


def test_a_batch_like_the_reference_has_not_drifted(chain, drift, tmp_path):
    verdict = drift.compare(
        chain.root / "reference", shifted(chain, tmp_path), chain.settings.monitor, tmp_path / "r.html"
    )
    assert (verdict.verdict, verdict.rows, verdict.reference_rows, verdict.drifted) == ("no drift", 80, 100, ())
    assert "image_brightness" in [column.column for column in verdict.columns]
    assert verdict.describe().startswith("**no drift**: 0 of ")
    assert "image_brightness" in (tmp_path / "r.html").read_text()


def test_each_kind_of_shift_is_told_by_its_column(chain, drift, tmp_path):
    batch = shifted(chain, tmp_path, brighter=40, slower=3.0, thing="cylinder")
    verdict = drift.compare(chain.root / "reference", batch, chain.settings.monitor, tmp_path / "r.html")
    assert verdict.verdict == "drift"
    found = {column.column: column for column in verdict.columns}
    for name in (
        "image_brightness",
        "video/video_brightness",
        "audio_seconds",
        "caption_unknown",
        "video/caption_unknown",
    ):
        assert found[name].drifted
        assert found[name].score <= found[name].threshold < 0.01
        assert found[name].batch_mean > found[name].reference_mean
        assert f"| {name} |" in verdict.describe()
    for name in ("image_width", "image_readable", "audio_peak", "video/video_motion"):
        assert not found[name].drifted
    assert verdict.columns[0].drifted
    assert verdict.to_json()["columns"][0]["drifted"] is True


def test_the_score_is_the_p_value_of_the_test(chain, drift, tmp_path):
    batch = shifted(chain, tmp_path, brighter=10)
    verdict = drift.compare(chain.root / "reference", batch, chain.settings.monitor, tmp_path / "r.html")
    reference = pq.read_table(chain.root / "reference" / "reference.parquet")
    for column in verdict.columns:
        before, now = (np.array(table[column.column].drop_null()) for table in (reference, batch))
        expected = ks_2samp(before, now)
        assert column.score == pytest.approx(expected.pvalue)
        assert column.distance == pytest.approx(expected.statistic)
        assert column.rows == len(now)


def test_too_few_rows_give_no_verdict(chain, drift, tmp_path):
    batch = shifted(chain, tmp_path, num_rows=19, brighter=90)
    verdict = drift.compare(chain.root / "reference", batch, chain.settings.monitor, tmp_path / "r.html")
    assert (verdict.verdict, verdict.columns) == ("too few rows", ())
    assert verdict.describe() == (
        "**too few rows**: the batch has 19 samples, the reference 100; a number is compared where both have 20 "
        "samples of the same kind (monitor.min_rows)"
    )
    assert not (tmp_path / "r.html").exists()


def test_a_folder_of_pictures_is_compared_by_its_pictures_alone(chain, drift, tmp_path):
    rng = np.random.default_rng(4)
    for number in range(40):
        value, width = int(rng.integers(60, 140)), int(rng.integers(18, 30))
        (tmp_path / f"{number}.png").write_bytes(image(value, width=width))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    batch = profile_batch(tmp_path, chain.root / "reference")
    verdict = drift.compare(chain.root / "reference", batch, chain.settings.monitor, tmp_path / "r.html")
    assert verdict.verdict == "no drift"
    assert {column.column.partition("_")[0] for column in verdict.columns} == {"image"}
    assert {"caption_words", "audio_seconds", "image_component_1"} <= set(verdict.not_compared)


def test_a_column_that_never_changed_and_now_does_is_drift(chain, drift, tmp_path):
    batch = shifted(chain, tmp_path)
    place = batch.schema.get_field_index("image_height")
    batch = batch.set_column(place, "image_height", pa.array([20.0] * batch.num_rows))
    verdict = drift.compare(chain.root / "reference", batch, chain.settings.monitor, tmp_path / "r.html")
    assert [column.column for column in verdict.drifted] == ["image_height"]


def test_thresholds_of_another_rate_are_refused(chain, drift, tmp_path):
    other = replace(chain.settings.monitor, false_alarm_rate=0.05)
    with pytest.raises(ValueError, match=r"calibrated for the false-alarm rate 0\.01, not for .* 0\.05"):
        drift.compare(chain.root / "reference", shifted(chain, tmp_path), other, tmp_path / "r.html")
