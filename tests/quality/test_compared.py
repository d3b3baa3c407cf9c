from mmcore.quality.compared import compared, named, words
from mmcore.quality.kinds import Kind
from mmcore.quality.probe import probe_row, texts_of
from tests.quality.samples import LIMITS, captions, clip, image, sample, sound


def numbers(row, known=(), point=()):
    return compared(probe_row(row, LIMITS), texts_of(row), set(known), dict(point))


def test_words_are_lower_case_and_chinese_by_the_character():
    assert words("A man's RED x_y 12.") == ["a", "man", "s", "red", "x", "y", "12"]
    assert words("红色 T恤") == ["红", "色", "t", "恤"]


def test_a_picture_with_a_caption_gives_its_numbers():
    found = numbers(sample("a", image=image(255), captions=captions("a red dog")), known=["a", "red"], point={"x": 0.5})
    assert (found["image_width"], found["image_height"], found["image_readable"]) == (20, 16, 1)
    assert (found["caption_words"], found["caption_characters"], found["x"]) == (3, 9, 0.5)
    assert found["caption_unknown"] == 0.333333
    assert not [name for name in found if name.startswith(("video", "audio", "clip", "summary"))]


def test_columns_are_named_by_the_kind_of_the_sample():
    found = numbers(sample("a", video=clip(1, 2), summary="it moves"))
    assert named(found, Kind("video", ("video", "summary")))["video/summary_words"] == 2
    assert named(found, Kind("", ("video", "summary"))) == found
    assert named(found, None) == {}


def test_an_unreadable_file_counts_as_one():
    found = numbers(sample("a", image=b"x", audio=sound(0.5)))
    assert found["image_readable"] == 0
    assert "image_brightness" not in found
    assert (found["audio_readable"], found["audio_seconds"]) == (1, 0.5)


def test_a_text_without_words_has_no_unknown_ones():
    assert numbers(sample("a", captions=captions("?!")))["caption_unknown"] == 0
