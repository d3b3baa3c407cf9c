import pytest
import torch
import torch.nn.functional as F

from mmcore.models.encoders.log_mel import Halving


@pytest.mark.parametrize("steps", [1, 2, 7, 8])
def test_halving_is_a_convolution_over_five_steps_in_strides_of_two(steps: int):
    torch.manual_seed(0)
    layer, values = Halving(3, 4), torch.randn(2, steps, 3)
    kernel = layer.weight.reshape(4, 5, 3).transpose(1, 2)
    expected = F.conv1d(values.transpose(1, 2), kernel, layer.bias, stride=2, padding=2).transpose(1, 2)
    assert torch.allclose(layer(values), expected, atol=1e-6)
