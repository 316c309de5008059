"""Vectors in registers do what NumPy does to slices, and touch nothing beside them."""

import numpy as np
import pytest
from contract import cpu, floats, numba, random

vectors = cpu.vectors
PLACES = [np.uint64(at) for at in (0, 1, 7, 16)]  # aligned or not


@numba.njit
def copied(x, at, to, out):
    vectors.store(out, to, vectors.load(x, at))


@numba.njit
def added(x, at, factor, to, out):
    total = vectors.multiply_add(factor, vectors.load(x, at), vectors.load(out, to))
    vectors.store(out, to, total)


@floats
@pytest.mark.parametrize("to", PLACES)
@pytest.mark.parametrize("at", PLACES)
def test_vectors_are_slices(at, to, dtype):
    lanes = vectors.WIDTH // np.dtype(dtype).itemsize
    x, out = random(40, dtype=dtype), random(40, seed=1, dtype=dtype)
    x[int(at)], x[int(at) + lanes - 1] = -np.inf, np.nan
    wanted = out.copy()
    wanted[int(to) : int(to) + lanes] = x[int(at) : int(at) + lanes]
    copied(x, at, to, out)
    np.testing.assert_array_equal(out, wanted)


@floats
@pytest.mark.parametrize("factor", [0.0, -1.0, 0.3, 1e30, np.inf])
def test_products_are_added(factor, dtype):
    lanes = vectors.WIDTH // np.dtype(dtype).itemsize
    x, out = random(40, dtype=dtype), random(40, seed=1, dtype=dtype)
    x[3], x[4] = 0, np.nan
    wanted = out.copy()
    with np.errstate(invalid="ignore"):
        wanted[5 : 5 + lanes] += dtype(factor) * x[2 : 2 + lanes]
        added(x, np.uint64(2), dtype(factor), np.uint64(5), out)
    # Where terms nearly cancel, one rounding differs from two by that of a term.
    np.testing.assert_allclose(out, wanted, rtol=1e-5, atol=4 * np.finfo(dtype).eps)
