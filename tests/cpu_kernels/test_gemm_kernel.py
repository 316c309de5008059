"""The product of matrices that is there to be read."""

import numpy as np
import pytest
from contract import COMPILED, cpu, floats, random

gemm = cpu.gemm
LENGTHS = [1, 4, 37, 300, 1030] if COMPILED else [1, 4, 9]


@floats
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_products_of_every_shape(axis, length, dtype, parallel_from):
    m, k, n = (length if i == axis else 3 + i for i in range(3))
    a, b = random(m, k, dtype=dtype), random(n, k, dtype=dtype).T
    for limit in (0, 1 << 62):
        parallel_from(limit)
        c = gemm.matmul(a, b)
        assert c.dtype == dtype
        bound = k * np.finfo(dtype).eps * (abs(a) @ abs(b))
        assert (abs(c - a.astype(float) @ b.astype(float)) <= bound + 1e-300).all()


def test_products_of_nothing():
    assert gemm.matmul(np.ones((0, 3)), np.ones((3, 2))).shape == (0, 2)
    np.testing.assert_array_equal(gemm.matmul(np.ones((2, 0)), np.ones((0, 3))), np.zeros((2, 3)))


def test_what_does_not_fit_is_named():
    with pytest.raises(TypeError, match="float32 or float64 twice, got int64 and float64"):
        gemm.matmul(np.ones((2, 2), np.int64), np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"shapes \(2, 3\) and \(2, 3\) do not fit"):
        gemm.matmul(np.ones((2, 3)), np.ones((2, 3)))
