import pytest
from torch import nn

from mmcore.models.encoders._rates import rates


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(2, 2, bias=False)
        self.layers = nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(3))
        self.norm = nn.LayerNorm(2, bias=False)


NAMES = ["stem.weight", "layers.0.weight", "layers.1.weight", "layers.2.weight", "norm.weight"]


@pytest.mark.parametrize(
    ("train", "expected"),
    [("all", [0.125, 0.25, 0.5, 1.0, 1.0]), ("last", [0.0, 0.0, 0.0, 1.0, 1.0]), ("none", [0.0] * 5)],
)
def test_the_factor_falls_with_every_layer_above(train, expected):
    tower = Tower()
    assert rates(tower, tower.layers, train=train, layer_decay=0.5) == dict(zip(NAMES, expected, strict=True))


def test_a_word_that_means_nothing_is_refused():
    with pytest.raises(ValueError, match="choose one of: all, last, none"):
        rates(Tower(), Tower().layers, train="some", layer_decay=1.0)
