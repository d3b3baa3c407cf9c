from mmcore.data.importers._grouped import Grouped


def test_values_come_back_by_key_in_the_order_of_adding() -> None:
    with Grouped() as grouped:
        grouped.add([(7, "a"), ("x", {"b": [1]}), (7, None)])
        grouped.add([("x", 2)])
        assert list(grouped) == ["7", "x"]
        assert grouped[7] == ["a", None]
        assert grouped["x"] == [{"b": [1]}, 2]
        assert grouped["nobody"] == []
