import numpy as np
import pytest
import torch

from mmcore.models.encoders.histogram import shares
from tests.models.test_encoders import build, inputs


def test_shares_are_those_of_numpy():
    values, _ = inputs("histogram")
    found = shares(values, 4)
    for row, image in zip(found, values.numpy(), strict=True):
        counts, _ = np.histogramdd(image.reshape(-1, 3), bins=4, range=[(0, 256)] * 3)
        np.testing.assert_allclose(row.numpy(), counts.flatten() / 256, atol=1e-7)


def test_where_the_colours_lie_makes_no_difference():
    values, mask = inputs("histogram")
    encoder = build("histogram")
    torch.testing.assert_close(encoder(values, mask)[0], encoder(values.flip(1, 2), mask)[0])


def test_bins_beyond_reason_are_refused():
    with pytest.raises(ValueError, match="2 to 32"):
        build("histogram", bins=256)
