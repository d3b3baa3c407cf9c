from mmcore.quality.kinds import Kind, fields_of, find_kinds, kind_of
from tests.quality.samples import captions, image, sample

SCENE, CLIP, FACE = ("image", "audio", "caption"), ("video", "caption", "transcript"), ("image", "transcript")


def test_fields_are_what_a_sample_holds():
    assert fields_of(sample("a", image=image(), captions=captions("x"), summary="s")) == ("image", "caption", "summary")
    assert fields_of(sample("a", captions=[], transcript="t")) == ("transcript",)


def test_kinds_come_by_size_with_the_field_that_tells_them():
    kinds = find_kinds([CLIP] * 30 + [SCENE] * 50 + [FACE] * 20)
    assert kinds == [Kind("", SCENE), Kind("video", CLIP), Kind("image+transcript", FACE)]
    assert [kind.prefix for kind in kinds] == ["", "video/", "image+transcript/"]


def test_a_part_of_another_combination_is_no_kind():
    assert find_kinds([("image", "caption")] * 70 + [SCENE] * 30) == [Kind("", SCENE)]


def test_a_rare_combination_neither_is_a_kind_nor_swallows_others():
    everything = ("image", "audio", "video", "caption", "transcript")
    assert find_kinds([SCENE] * 60 + [CLIP] * 37 + [everything] * 3) == [Kind("", SCENE), Kind("video", CLIP)]


def test_where_nothing_is_frequent_all_are_one_kind():
    texts = ("caption", "transcript", "summary", "speech_text", "question")
    mixed = [tuple(name for bit, name in enumerate(texts) if number >> bit & 1) for number in range(1, 32)]
    assert find_kinds(mixed) == [Kind("", texts)]


def test_a_request_belongs_to_the_largest_kind_that_has_all_it_has():
    kinds = find_kinds([CLIP] * 30 + [SCENE] * 50 + [FACE] * 20)
    assert kind_of(("image",), kinds) == kinds[0]
    assert kind_of(("transcript",), kinds) == kinds[1]
    assert kind_of(("image", "transcript"), kinds) == kinds[2]
    assert kind_of(("image", "summary"), kinds) is None
