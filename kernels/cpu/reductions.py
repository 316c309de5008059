"""Sums, means, variances and extremes along axes, in one pass over memory whatever the axes are.

NumPy's loops run along the last axis: short rows cost a call each, and sums along another axis go
through float64 copies or rounding that grows with the length. Here x is either (planes, rows,
length), where a row's numbers lie together and are summed in blocks, or (matrices, n, columns),
where blocks of rows are added up, many columns at a time. One operation for each number: memory is
the limit.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from .compiler import FLOATS, Array, Call, Loop, jit, kernel, loop, plain, prange
from .normalization import BLOCK, SAMPLES, STRIPE, column_moments, moments, scratch, sum_less

ROW = 30  # numbers that NumPy reduces in the time it takes to start on a row
NARROW = 32  # columns, fewer of which in a long float32 matrix are summed faster by BLAS
FEW = 64  # numbers in a matrix, with fewer of which it is not worth starting on

Walk = tuple[bool, tuple[int, int, int], tuple[int, ...], int]


@lru_cache
def _walk(shape: tuple[int, ...], axis: tuple[int, ...], keepdims: bool) -> Walk | None:
    """Return whether to go by columns, x's shape for that, the result's shape and how many numbers
    make one of it; None where others are kept between.
    """
    axes, letters = [], ""
    for i, n in enumerate(shape):
        if n != 1:
            axes.append(n)
            letters += "r" if i in axis else "k"
    match, by_columns = re.fullmatch("(r*?)(k*)(r*)", letters), False
    if match is None or (match[1] and not match[3]):
        match, by_columns = re.fullmatch("(k*)(r*)(k*)", letters), True
    if match is None:
        return None
    a, b, c = [prod(axes[slice(*match.span(i))]) for i in (1, 2, 3)]
    out = tuple([1 if i in axis else n for i, n in enumerate(shape) if keepdims or i not in axis])
    return by_columns, (a, b, c), out, b if by_columns else a * c


def _calls(dtype: Any, n: int, **params: Any) -> Iterator[Call]:
    """By rows, rows of several planes, columns, and columns of several matrices."""
    rng = np.random.default_rng(0)
    for shape, axis in (((n, 9), (1,)), ((3, n, 5), (0, 2)), ((9, n), (0,)), ((n, 5, 2), (1,))):
        x = rng.normal(size=shape).astype(dtype)
        yield [x], {"axis": axis, "keepdims": False} | params


def _sum_to_calls(dtype: Any, n: int) -> Iterator[Call]:
    x = np.random.default_rng(0).normal(size=(9, n, 4)).astype(dtype)
    for shape in ((n, 4), (n, 1), (9, n, 1)):
        yield [x], {"shape": shape}


def _var_calls(dtype: Any, n: int) -> Iterator[Call]:
    for correction in (0.0, 1.0):
        yield from _calls(dtype, n, correction=correction)


@kernel(_calls)
def sum(x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    """Return the sum over axis. Declines dtypes other than float32 and float64, nothing to sum, and
    axes between which others are kept, unless the kept ones are neighbours.
    """
    return _total(x, axis, keepdims, False)


@kernel(_calls)
def mean(x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    """Return the mean over axis; declines as `sum` does."""
    return _total(x, axis, keepdims, True)


@kernel(_sum_to_calls)
def sum_to(x: Array, *, shape: tuple[int, ...]) -> Any:
    """Return the sum over the axes along which that shape is broadcast to x's; as `sum` does."""
    if not _row_sums.pays(ROW * x.size):
        return NotImplemented
    total = _total(x, _broadcast_axes(x.shape, shape), True, False)
    return total if total is NotImplemented else total.reshape(shape)


@lru_cache
def _broadcast_axes(shape: tuple[int, ...], small: tuple[int, ...]) -> tuple[int, ...]:
    extra = len(shape) - len(small)
    return tuple(
        [i for i, n in enumerate(shape) if i < extra or (small[i - extra] == 1 and n != 1)]
    )


def _total(x: Array, axis: tuple[int, ...], keepdims: bool, divided: bool) -> Any:
    plan = _planned(x, axis, keepdims, _row_sums, _column_sums)
    if plan is None:
        return NotImplemented
    run, work, view, flat, out, count = plan
    run(work, view, float(count) if divided else 1.0, flat)
    return out


@kernel(_var_calls)
def var(x: Array, *, axis: tuple[int, ...], correction: float, keepdims: bool) -> Any:
    """Return the variance over axis; declines as `sum` does, and where n - correction <= 0."""
    return _variance(x, axis, correction, keepdims, False)


@kernel(_var_calls)
def std(x: Array, *, axis: tuple[int, ...], correction: float, keepdims: bool) -> Any:
    """Return the square root of `var`."""
    return _variance(x, axis, correction, keepdims, True)


def _variance(
    x: Array, axis: tuple[int, ...], correction: float, keepdims: bool, root: bool
) -> Any:
    plan = _planned(x, axis, keepdims, _row_variances, _column_variances)
    if plan is None or plan[-1] <= correction:
        return NotImplemented
    run, work, view, flat, out, count = plan
    run(work, view, float(count - correction), root, flat)
    return out


def _planned(
    x: Array, axis: tuple[int, ...], keepdims: bool, rows: Loop, columns: Loop
) -> tuple[Loop, int, Array, Array, Array, int] | None:
    """Return the loop to run, its work, x and the result as it sees them, the result and how many
    numbers make one of it. None where NumPy is to run.
    """
    if not rows.pays(ROW * x.size) or x.dtype not in FLOATS:
        return None
    if x.flags.f_contiguous and not x.flags.c_contiguous:
        back = tuple([x.ndim - 1 - i for i in axis])
        plan = _planned(x.T, back, keepdims, rows, columns)
        return plan and (*plan[:4], plan[4].T, plan[5])
    walk = _walk(x.shape, axis, keepdims)
    if walk is None:
        return None
    by_columns, shape, result, count = walk
    run, work = columns if by_columns else rows, x.size + ROW * shape[0] * shape[1]
    if run is _column_sums and _is_numpy_s(x.dtype, *shape):
        work = 0
    if count < 2 or not run.pays(work):
        return None
    out = np.empty(result, x.dtype)
    return run, work, plain(x).reshape(shape), out.reshape(-1), out, count


def _is_numpy_s(dtype: Any, matrices: int, n: int, columns: int) -> bool:
    """Return whether NumPy reduces such matrices over their rows at least as fast."""
    if matrices > 1:
        return columns > STRIPE or n * columns < FEW
    return columns > STRIPE or (dtype == np.float32 and n > BLOCK and columns < NARROW)


@loop(parallel_from=1 << 21, pays_from=10_000)
def _row_sums(x: Array, divisor: float, out: Array) -> None:
    """Fill ``out`` with the sums of x's rows over ``divisor``."""
    planes, rows, length = x.shape
    for row in prange(rows):
        total = 0.0
        for i in range(planes):
            for start in range(0, length, BLOCK):
                stop = min(start + BLOCK, length)
                total += sum_less(x, i, row, start, stop, x.dtype.type(0))
        out[row] = total / divisor


@loop(parallel_from=1 << 21, pays_from=10_000)
def _column_sums(x: Array, divisor: float, out: Array) -> None:
    """Fill ``out`` with the sums of the columns of each matrix over ``divisor``."""
    matrices, n, columns = x.shape
    stripes = -(-columns // STRIPE)
    for task in prange(matrices * stripes):
        matrix, low = x[task // stripes], task % stripes * STRIPE
        width = min(STRIPE, columns - low)
        part, total = scratch(x), np.zeros(STRIPE)
        for start in range(0, n, SAMPLES):
            part[:width] = 0
            stop = min(start + SAMPLES, n)
            fours = start + (stop - start) // 4 * 4
            for i in range(np.uint64(start), np.uint64(fours), 4):
                _add_four_rows(matrix, i, low, width, part)
            for i in range(np.uint64(fours), np.uint64(stop)):
                _add_row(matrix, i, low, width, part)
            for j in range(width):
                total[j] += part[j]
        for j in range(width):
            out[task // stripes * columns + low + j] = total[j] / divisor


@jit()
def _add_row(x: Array, i: int, low: int, width: int, sums: Array) -> None:
    for j in range(width):
        sums[j] += x[i, np.uint64(low + j)]


@jit()
def _add_four_rows(x: Array, i: int, low: int, width: int, sums: Array) -> None:
    """Do with one reading and writing of the sums what `_add_row` does with four."""
    second, third, fourth = i + np.uint64(1), i + np.uint64(2), i + np.uint64(3)
    for j in range(width):
        column = np.uint64(low + j)
        early, late = x[i, column] + x[second, column], x[third, column] + x[fourth, column]
        sums[j] += early + late


@loop(parallel_from=1 << 19)
def _row_variances(x: Array, freedom: float, root: bool, out: Array) -> None:
    """Fill ``out`` with the variances of x's rows, or their square roots."""
    for row in prange(x.shape[1]):
        _, _, squares = moments(x, row, True)
        out[row] = np.sqrt(squares / freedom) if root else squares / freedom


@loop(parallel_from=1 << 19)
def _column_variances(x: Array, freedom: float, root: bool, out: Array) -> None:
    """Fill ``out`` with the variances of the columns of each matrix, or their square roots."""
    matrices, _, columns = x.shape
    stripes = -(-columns // STRIPE)
    for task in prange(matrices * stripes):
        low = task % stripes * STRIPE
        width = min(STRIPE, columns - low)
        total, squares = np.zeros(STRIPE), np.zeros(STRIPE)
        column_moments(x[task // stripes], low, width, scratch(x), total, squares)
        for j in range(width):
            value = squares[j] / freedom
            out[task // stripes * columns + low + j] = np.sqrt(value) if root else value
