from mmcore.data.importers._grouped import Grouped


def test_values_come_back_by_key_in_the_order_of_adding() -> None:
    with Grouped() as grouped:
        grouped.add([(7, "a"), ("x", {"b": [1]}), (7, None)])
        grouped.add([("x", 2)])
        assert list(grouped) == ["7", "x"]
        assert grouped[7] == ["a", None]
        assert grouped["x"] == [{"b": [1]}, 2]
        assert grouped["nobody"] == []


def test_keys_may_hold_what_is_no_utf_8() -> None:
    with Grouped() as grouped:
        grouped.add([("caf\udce9.jpg", 1), ("\ud800", 2), ("一.jpg", 3)])
        assert list(grouped) == ["caf\udce9.jpg", "\ud800", "一.jpg"]
        assert [grouped[key] for key in grouped] == [[1], [2], [3]]
