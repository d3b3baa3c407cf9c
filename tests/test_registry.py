"""One table, small enough to see through."""

import pytest

from mmcore.registry import Table


def shapes() -> Table:
    table: Table = Table("shape")

    @table.add("square")
    class Square:
        def __init__(self, side: int, colour: str = "red") -> None:
            self.side, self.colour = side, colour

    return table


def test_a_component_is_built_with_its_options_and_only_the_context_it_asks_for():
    built = shapes().build({"name": "square", "colour": "blue"}, side=3, unused=7)
    assert (built.side, built.colour) == (3, "blue")


def test_an_unknown_name_lists_the_choices():
    with pytest.raises(LookupError, match="no shape named 'circle'; choose one of: square"):
        shapes().build({"name": "circle"})


def test_an_unknown_option_lists_the_options():
    with pytest.raises(LookupError, match="has no option 'color'; its options: colour"):
        shapes().check({"name": "square", "color": "red"}, side=3)


def test_a_missing_option_is_named():
    with pytest.raises(LookupError, match="needs the option 'side'"):
        shapes().check({"name": "square"})


def test_a_file_cannot_set_what_the_code_supplies():
    with pytest.raises(LookupError, match="has no option 'side'"):
        shapes().check({"name": "square", "side": 4}, side=3)


def test_two_components_of_one_name_are_refused():
    table = shapes()
    with pytest.raises(ValueError, match="two shapes named 'square'"):
        table.add("square")(lambda: None)


def test_a_folder_is_a_registry_by_file_name():
    table: Table = Table("modality", folder="mmcore.data.modalities", attribute="Modality")
    assert {"audio", "image", "text", "video"} <= set(table.names())
    assert table["image"].__module__ == "mmcore.data.modalities.image"
