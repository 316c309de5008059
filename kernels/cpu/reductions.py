"""Sums, means and variances along axes, in one pass over memory, and the way back of variances and
extremes in two.

NumPy's loops run along the last axis: short rows cost a call each, sums along another axis go
through float64 copies, and a variance through three arrays as large as x. Here x is either (planes,
rows, length), where a row's numbers lie together and are summed in blocks, or (matrices, n,
columns), where blocks of rows are added up, STRIPE columns at a time. There are one to five
operations for each number: memory is the limit.

Measured on one thread against NumPy's path, over shapes from (4, 4) to a million numbers: variances
0.1 - 0.5 of its time, their gradients 0.05 - 0.6, those of maxima 0.05 - 0.4. A float32 sum takes
0.6 of it for rows of 1,024, 0.4 for the bias gradient of (1024, 10), 0.25 for all but channels.
Extremes themselves are NumPy's, and so are sums that are small or of many columns.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from .compiler import FLOATS, Array, Call, Loop, jit, kernel, loop, plain, prange
from .normalization import (
    BLOCK,
    SAMPLES,
    STRIPE,
    add_deviations,
    column_moments,
    moments,
    scratch,
    sum_less,
)

ROW = 30  # numbers that NumPy reduces in the time it takes to start on a row
NARROW = 32  # columns, fewer of which in a long float32 matrix are summed faster by BLAS
PIECE = 1 << 16  # numbers of a single long row that are one thread's work
FEW = 16  # numbers in each of several matrices, with fewer of which starting on it takes too long

_add_all: Any = np.add.reduce

Order = tuple[bool, tuple[int, int, int], tuple[int, ...], int]


@lru_cache
def _order(shape: tuple[int, ...], axis: tuple[int, ...], keepdims: bool) -> Order | None:
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
    """By rows, one row, rows of several planes, columns, and columns of several matrices."""
    rng = np.random.default_rng(0)
    of_rows: tuple[Any, ...] = (((n, 9), (1,)), ((n + 9,), (0,)), ((3, n, 5), (0, 2)))
    for shape, axis in (*of_rows, ((9, n), (0,)), ((n, 5, 2), (1,))):
        x = rng.normal(size=shape).astype(dtype)
        yield [x], {"axis": axis, "keepdims": False} | params


def _sum_to_calls(dtype: Any, n: int) -> Iterator[Call]:
    x = np.random.default_rng(0).normal(size=(9, n, 4)).astype(dtype)
    for shape in ((n, 4), (n, 1), (9, n, 1)):
        yield [x], {"shape": shape}


def _var_calls(dtype: Any, n: int) -> Iterator[Call]:
    for correction in (0.0, 1.0):
        yield from _calls(dtype, n, correction=correction)


def _var_backward_calls(dtype: Any, n: int) -> Iterator[Call]:
    for [x], params in _calls(dtype, n):
        axis = params["axis"]
        yield [np.cos(x.sum(axis)), x], {"axis": axis, "correction": 0.0}


def _std_backward_calls(dtype: Any, n: int) -> Iterator[Call]:
    for [g, x], params in _var_backward_calls(dtype, n):
        yield [g, np.sqrt(abs(g)), x], params


def _extremes_backward_calls(dtype: Any, n: int) -> Iterator[Call]:
    for [x], params in _calls(dtype, n):
        x = np.rint(x)
        top = np.maximum.reduce(x, axis=params["axis"])
        yield [np.cos(top), top, x], params


@kernel(_calls, name="sum")  # which is a builtin as well
def summed(x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    """Return the sum over axis. Declines dtypes other than float32 and float64, nothing to sum, and
    axes between which others are kept, unless the kept ones are neighbours.
    """
    return _total(x, axis, keepdims)


@kernel(_calls)
def mean(x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    """Return the mean over axis; declines as `summed` does."""
    return _total(x, axis, keepdims, True)


@kernel(_sum_to_calls)
def sum_to(x: Array, *, shape: tuple[int, ...]) -> Any:
    """Return the sum over the axes along which that shape is broadcast to x's; as `summed` does."""
    axis = _broadcast_axes(x.shape, shape)
    total = _total(x, axis, True) if axis else NotImplemented
    return total if total is NotImplemented else total.reshape(shape)


@lru_cache
def _broadcast_axes(shape: tuple[int, ...], small: tuple[int, ...]) -> tuple[int, ...]:
    extra = len(shape) - len(small)
    return tuple(
        [i for i, n in enumerate(shape) if i < extra or (small[i - extra] == 1 and n != 1)]
    )


def _total(x: Array, axis: tuple[int, ...], keepdims: bool, divided: bool = False) -> Any:
    if x.dtype not in FLOATS:
        return NotImplemented
    size, shape = x.size, x.shape
    few = 0 < size <= BLOCK  # of more, NumPy would add columns up one by one
    if few and not _row_sums.pays(size + ROW * (size // shape[-1] if shape else 1)):
        # As the reference does, without its questions: a third of the time of a sum of 16 numbers.
        total: Any = _add_all(x, axis, None, None, keepdims)
        return total / (size // total.size) if divided else total
    plan = _planned(x, axis, keepdims, _row_sums, _column_sums)
    if plan is None:
        return NotImplemented
    run, work, view, flat, out, count = plan
    divisor = float(count) if divided else 1.0
    if view.shape[:2] == (1, 1) and run is _row_sums and _piece_sums.pays(work):
        sums = np.empty(-(-count // PIECE))
        _piece_sums(work, view, sums)
        work, view = sums.size, sums.reshape(1, 1, -1)
    run(work, view, divisor, flat)
    return out


@kernel(_var_calls)
def var(x: Array, *, axis: tuple[int, ...], correction: float, keepdims: bool) -> Any:
    """Return the variance over axis; declines as `summed` does, and where n - correction <= 0."""
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
    order = _order(x.shape, axis, keepdims)
    if order is None:
        return None
    by_columns, shape, result, count = order
    run, work = columns if by_columns else rows, x.size + ROW * shape[0] * shape[1]
    if by_columns and _is_numpy_s(x.dtype, *shape, run is _column_sums):
        work = 0
    if count < 2 or not run.pays(work):
        return None
    out = np.empty(result, x.dtype)
    return run, work, plain(x).reshape(shape), out.reshape(-1), out, count


def _is_numpy_s(dtype: Any, matrices: int, n: int, columns: int, summed: bool) -> bool:
    """Return whether NumPy reduces, or sums, the columns of such matrices at least as fast."""
    if matrices > 1 and n * columns < FEW:
        return True
    by_blas = matrices == 1 and dtype == np.float32 and n > BLOCK and columns < NARROW
    return summed and (columns > STRIPE or by_blas)


@kernel(_var_backward_calls)
def var_backward(g: Array, x: Array, *, axis: tuple[int, ...], correction: float) -> Any:
    """Return g · 2 (x - mean) / (n - correction); declines as `var` does."""
    plan = _planned_back(g, x, axis, _row_deviations, _column_deviations)
    if plan is None or plan[-1] <= correction:
        return NotImplemented
    run, view, dx, count = plan
    scale = plain(g).reshape(-1) * (2 / (count - correction))
    run(x.size, view, scale, scale, False, dx.reshape(view.shape))
    return dx


@kernel(_std_backward_calls)
def std_backward(
    g: Array, out: Array, x: Array, *, axis: tuple[int, ...], correction: float
) -> Any:
    """Return g · (x - mean) / (n - correction) / out, and 0 where out is 0; declines as `var`."""
    plan = _planned_back(g, x, axis, _row_deviations, _column_deviations)
    if plan is None or plan[-1] <= correction:
        return NotImplemented
    run, view, dx, count = plan
    scale = plain(g).reshape(-1) * (1 / (count - correction))
    run(x.size, view, scale, plain(out).reshape(-1), True, dx.reshape(view.shape))
    return dx


@kernel(_extremes_backward_calls)
def extremes_backward(
    g: Array, out: Array, x: Array, *, axis: tuple[int, ...], keepdims: bool
) -> Any:
    """Return g, shared equally by those x that are out, or nan, and 0 for others."""
    plan = _planned_back(g, x, axis, _row_ties, _column_ties)
    if plan is None:
        return NotImplemented
    run, view, dx, _ = plan
    shared = plain(g).reshape(-1), plain(out).reshape(-1)
    run(x.size, view, *shared, dx.reshape(view.shape))
    return dx


def _planned_back(
    g: Array, x: Array, axis: tuple[int, ...], rows: Loop, columns: Loop
) -> tuple[Loop, Array, Array, int] | None:
    """Return the loop to run, x as it sees it, room for dx and how many numbers make one result."""
    if x.dtype not in FLOATS or g.dtype != x.dtype:
        return None
    order = _order(x.shape, axis, False)
    if order is None or order[3] < 2:
        return None
    by_columns, shape, _, count = order
    run, work = columns if by_columns else rows, x.size
    if by_columns and _is_numpy_s(x.dtype, *shape, False):
        work = 0
    if not run.pays(work):
        return None
    return run, plain(x).reshape(shape), np.empty(x.shape, x.dtype), count


@loop(parallel_from=1 << 19, pays_from=10_000)
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


@loop(parallel_from=1 << 19, pays_from=1 << 19)
def _piece_sums(x: Array, sums: Array) -> None:
    """Fill ``sums`` with those of the pieces of the only row."""
    for piece in prange(sums.size):
        total, end = 0.0, min((piece + 1) * PIECE, x.size)
        for start in range(piece * PIECE, end, BLOCK):
            total += sum_less(x, 0, 0, start, min(start + BLOCK, end), x.dtype.type(0))
        sums[piece] = total


@loop(parallel_from=1 << 19, pays_from=10_000)
def _column_sums(x: Array, divisor: float, out: Array) -> None:
    """Fill ``out`` with the sums of the columns of each matrix over ``divisor``."""
    matrices, n, columns = x.shape
    stripes = -(-columns // STRIPE)
    for task in prange(matrices * stripes):
        matrix, low = x[task // stripes], task % stripes * STRIPE
        width = min(STRIPE, columns - low)
        part, total = scratch(x, width), np.zeros(width)
        for start in range(0, n, SAMPLES):
            part[:] = 0
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


@loop(parallel_from=1 << 17)
def _row_variances(x: Array, freedom: float, root: bool, out: Array) -> None:
    """Fill ``out`` with the variances of x's rows, or their square roots."""
    for row in prange(x.shape[1]):
        _, _, squares = moments(x, row, True)
        out[row] = np.sqrt(squares / freedom) if root else squares / freedom


@loop(parallel_from=1 << 17, pays_from=1)
def _column_variances(x: Array, freedom: float, root: bool, out: Array) -> None:
    """Fill ``out`` with the variances of the columns of each matrix, or their square roots."""
    matrices, _, columns = x.shape
    stripes = -(-columns // STRIPE)
    for task in prange(matrices * stripes):
        low = task % stripes * STRIPE
        width = min(STRIPE, columns - low)
        total, squares = np.zeros(width), np.zeros(width)
        column_moments(x[task // stripes], low, width, scratch(x, width), total, squares)
        for j in range(width):
            value = squares[j] / freedom
            out[task // stripes * columns + low + j] = np.sqrt(value) if root else value


@loop(parallel_from=1 << 17)
def _row_deviations(x: Array, scale: Array, divisor: Array, divided: bool, dx: Array) -> None:
    """Fill ``dx`` with (x - mean) · scale, if ``divided`` over a divisor, and 0 where that is 0."""
    planes, rows, length = x.shape
    real = x.dtype.type
    for row in prange(rows):
        first, total = _finite(x[0, row, 0]), 0.0
        for i in range(planes):
            for start in range(0, length, BLOCK):
                total += sum_less(x, i, row, start, min(start + BLOCK, length), first)
        offset = real(total / (planes * length))
        factor, over = _quotient(scale[row], divisor[row], divided)
        for i in range(planes):
            for j in range(length):
                dx[i, row, j] = ((x[i, row, j] - first) - offset) / over * factor


@jit()
def _finite(value: Any) -> Any:
    """Return what numbers are taken less of: an infinity would make nan of all."""
    return value if np.isfinite(value) else type(value)(0)


@jit()
def _quotient(scale: Any, divisor: Any, divided: bool) -> tuple[Any, Any]:
    """Return what to multiply with and what to divide by; their quotient can overflow."""
    one = type(scale)(1)
    if not divided:
        return scale, one
    return (scale, divisor) if divisor != 0 else (scale * (one - one), one)


@loop(parallel_from=1 << 17, pays_from=1)
def _column_deviations(x: Array, scale: Array, divisor: Array, divided: bool, dx: Array) -> None:
    """As `_row_deviations`, for the columns of each matrix."""
    matrices, n, columns = x.shape
    stripes = -(-columns // STRIPE)
    for task in prange(matrices * stripes):
        m, low = task // stripes, task % stripes * STRIPE
        width = min(STRIPE, columns - low)
        first, offset = scratch(x, width), scratch(x, width)
        factor, over = scratch(x, width), scratch(x, width)
        total = np.zeros(width)
        for j in range(width):
            first[j] = _finite(x[m, 0, low + j])
            result = m * columns + low + j
            factor[j], over[j] = _quotient(scale[result], divisor[result], divided)
        for start in range(0, n, SAMPLES):
            offset[:] = 0
            for i in range(np.uint64(start), np.uint64(min(start + SAMPLES, n))):
                add_deviations(x[m], i, low, width, first, offset)
            for j in range(width):
                total[j] += offset[j]
        for j in range(width):
            offset[j] = total[j] / n
        for i in range(n):
            for j in range(width):
                column = np.uint64(low + j)
                dx[m, i, column] = ((x[m, i, column] - first[j]) - offset[j]) / over[j] * factor[j]


@loop(parallel_from=1 << 17)
def _row_ties(x: Array, g: Array, extreme: Array, dx: Array) -> None:
    """Fill ``dx``: each row's g, divided by how many are its extreme or nan, for each of these."""
    planes, rows, length = x.shape
    for row in prange(rows):
        best, ties = extreme[row], 0
        for i in range(planes):
            for j in range(length):
                value = x[i, row, j]
                ties += (value == best) | (value != value)
        share = x.dtype.type(np.float64(g[row]) / ties)
        for i in range(planes):
            for j in range(length):
                value = x[i, row, j]
                tied = (value == best) | (value != value)
                dx[i, row, j] = share if tied else x.dtype.type(0)


@loop(parallel_from=1 << 17, pays_from=1)
def _column_ties(x: Array, g: Array, extreme: Array, dx: Array) -> None:
    """As `_row_ties`, for the columns of each matrix."""
    matrices, n, columns = x.shape
    stripes = -(-columns // STRIPE)
    for task in prange(matrices * stripes):
        m, low = task // stripes, task % stripes * STRIPE
        width = min(STRIPE, columns - low)
        best, share, ties = scratch(x, width), scratch(x, width), np.zeros(width, np.int32)
        for j in range(width):
            best[j] = extreme[m * columns + low + j]
        for i in range(n):
            for j in range(width):
                value = x[m, i, np.uint64(low + j)]
                ties[j] += (value == best[j]) | (value != value)
        for j in range(width):
            share[j] = np.float64(g[m * columns + low + j]) / ties[j]
        for i in range(n):
            for j in range(width):
                value = x[m, i, np.uint64(low + j)]
                tied = (value == best[j]) | (value != value)
                dx[m, i, np.uint64(low + j)] = share[j] if tied else x.dtype.type(0)
