"""The norm of many gradients together, in one pass and without a copy."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .compiler import FLOATS, Array, Call, jit, kernel, loop, plain, prange

BLOCK = 1 << 14  # elements whose squares are one thread's work and one term of the sum


def _calls(dtype: Any, n: int) -> Iterator[Call]:
    x = np.random.default_rng(0).normal(size=(n, 6)).astype(dtype)
    yield [x, np.arange(7, dtype=dtype)], {}


@kernel(_calls)
def total_norm(*gs: Array) -> Any:
    """Return the Euclidean norm of all elements of ``gs`` together, a float64 of shape ().

    Each has a shape and a dtype of its own, float32 or float64. Squares are taken and added up in
    float64, which holds those of any float32, block by block: the number of threads changes no bit.
    Declines other dtypes.
    """
    if any(g.dtype not in FLOATS for g in gs):
        return NotImplemented
    total = 0.0
    for g in gs:
        sums = np.empty(-(-g.size // BLOCK))
        _sums_of_squares(g.size, plain(g.ravel("K")), sums)
        total += float(sums.sum())
    return np.sqrt(np.float64(total))


@loop(parallel_from=1 << 20)
def _sums_of_squares(x: Array, sums: Array) -> None:
    """Fill ``sums`` with the sums of the squares of x's blocks."""
    for block in prange(sums.size):
        start = block * BLOCK
        sums[block] = _sum_of_squares(x, start, min(start + BLOCK, x.size))


@jit("reassoc")  # the sum is vectorised only if its terms may be added in another order
def _sum_of_squares(x: Array, start: int, stop: int) -> Any:
    """Return the sum of the squares of a stretch of x, in float64."""
    total = 0.0
    for i in range(np.uint64(start), np.uint64(stop)):  # a test for i < 0 stops vectorisation
        value = np.float64(x[i])
        total += value * value
    return total
