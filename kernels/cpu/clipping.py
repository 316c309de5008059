"""Norms of many gradients together, and gradients scaled or limited in place.

A norm reads each gradient once, in blocks whose sums, taken in float64, are added up at the end: no
copy, and the same bits for any number of threads. Scaling and limiting read and write it once, and
a factor of 1, which most steps have, is nothing to do. Two operations or fewer for four bytes of
float32: memory sets the pace.

Measured at 235,146 and at 10 million float32 elements, of the time of NumPy's path: the norm 0.26
and 0.14, that of order 1 0.03 and 0.08, of 3 0.02 and 0.04, of inf 0.65 and 0.54; limiting 0.08 and
0.23, scaling 0.9 and 1.0.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .compiler import FLOATS, Array, Call, jit, kernel, loop, plain, prange

BLOCK = 1 << 14  # elements that are one thread's work and one term of the sum


def _calls(dtype: Any, n: int) -> Iterator[Call]:
    x = np.random.default_rng(0).normal(size=(n, 6)).astype(dtype)
    yield [x, np.arange(7, dtype=dtype)], {}


def _p_calls(dtype: Any, n: int) -> Iterator[Call]:
    for norm_type in (1.0, 2.0, 3.0, math.inf):
        for arrays, _ in _calls(dtype, n):
            yield arrays, {"norm_type": norm_type}


def _scale_calls(dtype: Any, n: int) -> Iterator[Call]:
    for factor in (0.3, 1.0):
        yield [np.random.default_rng(0).normal(size=(n, 6)).astype(dtype), np.array(factor)], {}


def _limit_calls(dtype: Any, n: int) -> Iterator[Call]:
    yield [np.random.default_rng(0).normal(size=(n, 6)).astype(dtype)], {"limit": 0.5}


@kernel(_calls)
def total_norm(*gs: Array) -> Any:
    """Return the Euclidean norm of all elements of ``gs`` together, a float64 of shape ().

    Each has a shape and a dtype of its own, float32 or float64. Declines other dtypes.
    """
    return total_p_norm(*gs, norm_type=2.0)


@kernel(_p_calls)
def total_p_norm(*gs: Array, norm_type: float) -> Any:
    """Return the norm of order 1, 2, 3 or inf as ``total_norm`` does; declines the others."""
    if norm_type == math.inf:
        return _total_inf_norm(gs)
    if norm_type not in (1, 2, 3):
        return NotImplemented
    order, total = float(norm_type), 0.0
    for g in gs:
        if g.dtype not in FLOATS:
            return NotImplemented
        sums = np.empty(-(-g.size // BLOCK))
        _block_sums(g.size, plain(g.ravel("K")), order, sums)
        total += sum(sums.tolist())  # NumPy's sum of a few terms takes 2 us
    return np.float64(math.sqrt(total) if order == 2 else total ** (1 / order))


def _total_inf_norm(gs: tuple[Array, ...]) -> Any:
    largest = np.float64(0)
    for g in gs:
        if g.dtype not in FLOATS:
            return NotImplemented
        # Without their signs, floats have the order of their bits; a nan lies above all others.
        bits = plain(g.ravel("K")).view(f"u{g.itemsize}")
        tops = np.zeros(g.size // BLOCK + 1, bits.dtype)
        _block_tops(g.size, bits, ~bits.dtype.type(0) >> bits.dtype.type(1), tops)
        largest = np.maximum(largest, tops.view(g.dtype).max())
    return largest


@kernel(_scale_calls)
def scale_update(g: Array, factor: Array) -> Any:
    """Multiply ``g`` by ``factor``, float64 and 0-d, in place.

    Declines what is neither float32 nor float64, contiguous, aligned and writable.
    """
    by = float(factor)
    if g.dtype not in FLOATS or not g.flags.carray:
        return NotImplemented
    if by != 1:
        _scale(g.size, g.ravel(), by)
    return None


@kernel(_limit_calls)
def limit_update(g: Array, *, limit: float) -> Any:
    """Limit ``g`` to [-limit, limit] in place; declines what ``scale_update`` does."""
    if g.dtype not in FLOATS or not g.flags.carray:
        return NotImplemented
    _limit(g.size, g.ravel(), float(limit))
    return None


@loop(parallel_from=1 << 18)
def _block_sums(x: Array, order: float, sums: Array) -> None:
    """Fill ``sums`` with the sums of the powers of the absolute values in x's blocks."""
    for block in prange(sums.size):
        start = block * BLOCK
        sums[block] = _sum_of_powers(x, start, min(start + BLOCK, x.size), order)


@jit("reassoc")  # the terms are added up in another order, or the sum is not vectorised
def _sum_of_powers(x: Array, start: int, stop: int, order: float) -> Any:
    """Return the sum of |x|, x² or |x|³ over a stretch of x, in float64."""
    total = 0.0
    stretch = range(np.uint64(start), np.uint64(stop))  # a test for i < 0 stops vectorisation
    if order == 2:
        for i in stretch:
            value = np.float64(x[i])
            total += value * value
    else:  # in one loop with the squares it takes these 1.4 times as long
        for i in stretch:
            value = np.abs(np.float64(x[i]))
            total += value if order == 1 else value * value * value
    return total


@loop(parallel_from=1 << 20)
def _block_tops(bits: Array, mask: Any, tops: Array) -> None:
    """Fill ``tops`` with the largest of the masked integers in each block."""
    for block in prange(tops.size):
        start = block * BLOCK
        tops[block] = _top(bits, start, min(start + BLOCK, bits.size), mask)


@jit()
def _top(bits: Array, start: int, stop: int, mask: Any) -> Any:
    """Return the largest of a stretch of masked integers."""
    kind = bits.dtype.type
    top = kind(0)
    for i in range(np.uint64(start), np.uint64(stop)):
        value = kind(bits[i] & mask)
        top = value if value > top else top
    return top


@loop(parallel_from=1 << 19)
def _scale(x: Array, factor: float) -> None:
    by = x.dtype.type(factor)
    for i in prange(x.size):
        x[i] *= by


@loop(parallel_from=1 << 19)
def _limit(x: Array, limit: float) -> None:
    high, low = x.dtype.type(limit), x.dtype.type(-limit)
    for i in prange(x.size):
        value = high if x[i] > high else x[i]  # a nan stays
        x[i] = low if value < low else value
