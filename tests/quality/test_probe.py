import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mmcore.data import store
from mmcore.data.engine import ShardWork
from mmcore.quality.probe import (
    ProbeOptions,
    probe_row,
    probe_shard,
    profile_table,
    read_part,
    rounded,
    schema,
    texts_of,
)
from tests.quality.samples import LIMITS, captions, clip, image, sample, sound


def test_a_picture_is_measured():
    facts = probe_row(sample("a", image=image(255, width=20, height=16), captions=captions("one two", "x")), LIMITS)
    assert (facts["image_ok"], facts["image_format"]) == (True, "PNG")
    assert [facts[f"image_{name}"] for name in ("width", "height", "side", "pixels")] == [20, 16, 16, 320]
    assert facts["image_brightness"] == pytest.approx(319 / 320, abs=1e-5)
    assert (facts["has_image"], facts["has_audio"], facts["has_video"], facts["has_text"]) == (True, False, False, True)
    assert (facts["num_captions"], facts["num_blank_captions"], facts["longest_text"]) == (2, 0, 7)
    assert (facts["caption_characters"], facts["caption_words"]) == (7, 2)
    assert facts["hash_ok"]
    assert facts["repairs"] == []


def test_a_clip_and_a_sound_are_measured():
    facts = probe_row(sample("a", video=clip(0, 255, 0), audio=sound(0.5)), LIMITS)
    assert (facts["video_ok"], facts["num_frames"], facts["video_pixels"]) == (True, 3, 960)
    assert facts["video_seconds"] == 0.3
    assert facts["video_motion"] == 1.0
    assert (facts["audio_ok"], facts["audio_rate"], facts["audio_seconds"]) == (True, 8000, 0.5)
    # A sine at half of full scale: 10 log10(0.25 / 2).
    assert facts["audio_loudness"] == pytest.approx(-9.03, abs=0.01)


def test_broken_media_are_recorded_with_their_reason_and_never_raise():
    whole = {"image": image(), "audio": sound(), "video": clip(1, 2, 3)}
    for name, data in whole.items():
        for broken in (b"", b"nonsense", data[: len(data) // 3], data[:20]):
            facts = probe_row(sample("a", **{name: broken}), LIMITS)
            if name == "audio" and facts["audio_ok"]:
                # The first third of a WAV can be heard, and says that it was longer.
                assert facts["audio_missing"] > 0.5
                continue
            assert facts[f"{name}_ok"] is False
            assert facts[f"{name}_error"].startswith(f"the {name}")


def test_what_the_header_shows_to_be_too_large_is_not_decoded():
    pixels = replace(LIMITS, max_pixels=319)
    assert probe_row(sample("a", image=image()), pixels).get("image_ok") is None
    assert probe_row(sample("a", image=image()), replace(LIMITS, max_pixels=320))["image_ok"] is True
    facts = probe_row(sample("a", video=clip(1, 2, 3)), replace(LIMITS, max_frames=2))
    assert (facts.get("video_ok"), facts["num_frames"]) == (None, 3)


def test_a_small_file_that_unpacks_to_a_huge_picture_costs_nothing():
    file = io.BytesIO()
    Image.new("1", (13_000, 13_000)).save(file, "PNG")
    facts = probe_row(sample("a", image=file.getvalue()), LIMITS)
    assert (facts.get("image_ok"), facts["image_pixels"]) == (None, 169_000_000)


def test_a_sound_that_its_header_shows_to_be_too_long_is_not_decoded():
    facts = probe_row(sample("a", audio=sound(2.1)), LIMITS)
    assert (facts["audio_seconds"], facts.get("audio_ok")) == (2.1, None)


def test_repairs_are_those_that_change_the_picture():
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = probe_row(sample("a", image=image(format="JPEG", exif=exif)), LIMITS)
    assert turned["repairs"] == ["rotated_by_exif"]
    assert probe_row(sample("a", image=image(mode="CMYK", format="TIFF")), LIMITS)["repairs"] == ["converted_colours"]
    see_through, opaque = io.BytesIO(), io.BytesIO()
    Image.new("RGBA", (20, 20), (9, 9, 9, 100)).save(see_through, "PNG")
    Image.new("RGBA", (20, 20), (9, 9, 9, 255)).save(opaque, "PNG")
    assert probe_row(sample("a", image=see_through.getvalue()), LIMITS)["repairs"] == ["flattened_alpha"]
    for plain in (opaque.getvalue(), image(mode="L"), image(format="JPEG")):
        assert probe_row(sample("a", image=plain), LIMITS)["repairs"] == []
    assert probe_row(sample("a", image=image(mode="P")), LIMITS)["repairs"] == ["converted_colours"]


def test_the_stated_length_is_compared_with_the_real_one():
    def error(meta, **media):
        return probe_row(sample("a", meta=meta, **media), LIMITS).get("duration_error")

    assert error('{"duration": 0.8}', audio=sound(1.0)) == 0.25
    assert error('{"duration": 0.2}', audio=sound(1.0), video=clip(1, 2)) == 0
    assert error('{"duration": -1}', audio=sound(1.0)) == 1.0
    assert error('{"duration": "long"}', audio=sound(1.0)) == 1.0
    assert error(f'{{"duration": 1{"0" * 400}}}', audio=sound(1.0)) == 1.0
    assert error('{"duration": 3}', image=image()) is None
    assert error("{}", audio=sound(1.0)) is None


def test_meta_that_is_no_object_is_noticed():
    assert probe_row(sample("a", image=image(), meta="[1]"), LIMITS)["meta_ok"] is False
    assert probe_row(sample("a", image=image(), meta="{"), LIMITS)["meta_ok"] is False
    assert probe_row(sample("a", image=image(), meta="[" * 100_000), LIMITS)["meta_ok"] is False
    assert probe_row(sample("a", image=image(), meta="{}"), LIMITS)["meta_ok"] is True


def test_a_changed_content_no_longer_fits_its_hash():
    row = sample("a")
    row["captions"][0]["text"] = "something else"
    assert probe_row(row, LIMITS)["hash_ok"] is False


def test_blank_texts_are_no_text():
    facts = probe_row(sample("a", captions=captions("  ", "")), LIMITS)
    assert (facts["num_blank_captions"], facts["has_text"], facts["has_any"]) == (2, False, False)
    assert probe_row(store.row(id="a"), LIMITS)["has_any"] is False


def test_one_text_of_each_kind_speaks_for_the_sample():
    row = sample("a", captions=captions("first", "second"), summary="s", qa=[{"question": "q?", "answers": ["yes"]}])
    assert texts_of(row) == {"caption": "first", "summary": "s", "question": "q?"}


def test_a_shard_is_probed_row_by_row_up_to_the_limit(tmp_path):
    store.write_shards(tmp_path, "train", [sample(f"s{number}") for number in range(5)])
    work = ShardWork(tmp_path / "train" / "part-00000.parquet", "0", ProbeOptions.of(LIMITS, 3))
    probe_shard(work, tmp_path)
    table = read_part(tmp_path, split="train", shard="train/part-00000.parquet")
    assert table.select(["id", "split", "shard", "row"]).to_pylist() == [
        {"id": f"s{number}", "split": "train", "shard": "train/part-00000.parquet", "row": number}
        for number in range(3)
    ]
    assert table.schema == schema()
    assert table["audio_seconds"].null_count == 3
    assert table == profile_table(table.to_pylist())


def test_numbers_keep_six_digits():
    assert rounded(1 / 3) == 0.333333
    assert rounded(123456789.0) == 123457000.0
    assert rounded(float(np.float32(0.1))) == 0.1
