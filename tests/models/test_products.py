import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_info

from mmcore.models import products
from mmcore.models.products import in_one_thread, turned


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16])
def test_rows_come_out_as_of_the_linear_layer(rows: int, kind: torch.dtype) -> None:
    torch.manual_seed(0)
    values, weight, bias = torch.randn(rows, 7).to(kind), torch.randn(5, 7).to(kind), torch.randn(5).to(kind)
    kept = bias.clone()
    found = turned(weight, bias)(values)
    torch.testing.assert_close(found, F.linear(values, weight, bias))
    assert found.dtype == kind
    assert torch.equal(bias, kept)


def test_numpy_multiplies_in_one_thread_only_for_as_long_as_it_is_asked_to() -> None:
    def threads() -> set[int]:
        return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

    np.ones((2, 2)) @ np.ones((2, 2))
    before = threads()
    with in_one_thread():
        assert threads() == {1}
    assert threads() == before


def test_a_machine_without_what_limits_threads_multiplies_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    products._libraries.cache_clear()
    try:
        with in_one_thread():
            assert turned(torch.eye(2), torch.ones(2))(torch.ones(1, 2)).tolist() == [[2.0, 2.0]]
    finally:
        products._libraries.cache_clear()
