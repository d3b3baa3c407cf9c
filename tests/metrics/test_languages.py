from mmcore.metrics.languages import primary


def test_a_language_is_the_first_part_of_its_tag():
    assert [primary(tag) for tag in ("zh", "zh-Hans-CN", "pt_BR", "EN", None, "")] == [
        "zh",
        "zh",
        "pt",
        "en",
        "und",
        "und",
    ]
