"""Softmax on the GPU: extremes, and what is left to the reference."""

import numpy as np
import pytest
from test_gpu_contract import assert_same, computed, floats, numbers, referenced

INF = np.inf


@floats
@pytest.mark.parametrize(
    "row",
    [
        [1000.0, -1000.0, 0.0],
        [65504.0, -65504.0, 65472.0],
        [0.0, -16.0, -17.0],
        [-INF, 1.0, 2.0],
        [-INF, -INF, -INF],
        [INF, 1.0, 2.0],
        [np.nan, 1.0, 2.0],
        [2.0, np.nan, 1.0],
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_extremes_are_as_in_the_reference(name, row, dtype, emulated):
    arrays, params = [numbers([row, [0.5, 1.0, 2.0]], dtype)], {"axis": 1}
    found = computed(emulated, name, arrays, params)
    assert_same(found, referenced(name, arrays, params), dtype)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_declines_other_axes_and_cotangents_of_other_dtypes(name, emulated):
    x = np.ones((2, 3), np.float32)
    assert computed(emulated, name, [x], {"axis": 0}) is None
    assert computed(emulated, f"{name}_backward", [x.astype(float), x], {"axis": 1}) is None
