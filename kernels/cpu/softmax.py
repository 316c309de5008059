"""Softmax, its logarithm and the logarithm of its denominator, along any axis, and the way back.

Along the last axis one long row at a time, or a block of short ones, is read for its maximum, for
its exponentials and to divide them by their sum; it stays in the first-level cache, so memory is
read once and written once. Along other axes the same passes go over blocks of neighbouring
columns. That is some 20 operations for each 8 bytes: the arithmetic of `exp` decides.

Measured on one thread in float32: (1024, 1000) takes 1.0 - 1.3 times `np.exp` of the same array,
0.3 of NumPy's path (0.1 for the gradient of logsumexp); (1024, 10) takes 0.2 of NumPy's path, axis
0 of (1000, 1024) 0.3 - 0.9.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import overload

from .compiler import FLOATS, Array, Call, jit, kernel, loop, plain, prange
from .elementary import exp
from .vectors import wide

BLOCK = 512  # terms of a sum that are added in the array's own precision
SHORT = 64  # the length up to which rows are exponentiated together
TOGETHER = 2048  # numbers of rows that are handled at once: 0.65 of the time of 512 at 256 in a row
COLUMNS = 256  # slices side by side that are handled together
PER_SLICE = 50  # what a slice costs beside its elements, in elements
SOFTMAX, LOG_SOFTMAX, LOGSUMEXP, SOFTMAX_BACK, LOG_SOFTMAX_BACK, LOGSUMEXP_BACK = range(6)


def _greatest_of(integer: Any, real: Any) -> Callable[[Array, int], Any]:
    shift, most = integer(np.iinfo(integer).bits - 1), integer(np.iinfo(integer).max)
    least = integer(np.iinfo(integer).min)

    @jit()
    def greatest(x: Array, i: int) -> Any:
        wide()
        best = least
        for j in range(x.shape[1]):
            bits = real(x[i, j]).view(integer)
            best = max(best, integer(bits ^ ((bits >> shift) & most)))
        return integer(best ^ ((best >> shift) & most)).view(real)

    return greatest


_greatest32, _greatest64 = _greatest_of(np.int32, np.float32), _greatest_of(np.int64, np.float64)


def greatest(x: Array, i: int) -> Any:
    """Return the greatest element of row i of a matrix, or a nan there, but not any nan.

    Floats order like their bits read as integers, once those of negative floats are reversed. LLVM
    vectorises a maximum of integers and, since nan has no order, none of floats: 9 x slower.
    """
    return _greatest32(x, i) if x.dtype == np.float32 else _greatest64(x, i)


@overload(greatest)
def _greatest_in_kernels(x: Any, i: Any) -> Callable[[Any, Any], Any]:
    typed_greatest = _greatest32 if x.dtype == types.float32 else _greatest64

    def implementation(x: Any, i: Any) -> Any:
        return typed_greatest(x, i)

    return implementation


@jit()
def exponentials(x: Array, out: Array) -> tuple[Array, Array]:
    """Write exp(x - top) of rows to ``out``; return their tops, the maxima, and their sums.

    Short rows are shifted one by one and exponentiated in one loop over all of them, or most of the
    loop would be what is left of a row after whole vectors: 2.5 x slower at 10 elements.
    """
    wide()
    tops, totals = np.empty(x.shape[0], x.dtype), np.empty(x.shape[0])
    if x.shape[1] > SHORT:
        for i in range(x.shape[0]):
            tops[i] = greatest(x, i)
            totals[i] = _shifted_exponentials(x, i, tops[i], out)
    else:
        for i in range(x.shape[0]):
            top = x[i, 0]
            for j in range(x.shape[1]):
                top = x[i, j] if x[i, j] > top else top  # never a later nan: the sum is one then
            for j in range(x.shape[1]):
                out[i, j] = x[i, j] - top
            tops[i] = top
        flat = out.reshape(out.size)
        for k in range(flat.size):
            flat[k] = exp(flat[k])
        sums(out, totals)
    return tops, totals


# A sum is vectorised only if its terms may be added in another order; and with signed numbers a
# test for j < 0 would prevent it.


@jit("reassoc")
def _shifted_exponentials(x: Array, i: int, top: Any, out: Array) -> float:
    """Write exp(x - top) of row i to that of ``out`` and return their sum."""
    wide()
    total = 0.0
    for start in range(0, x.shape[1], BLOCK):
        part = x.dtype.type(0)
        for j in range(np.uint64(start), np.uint64(min(start + BLOCK, x.shape[1]))):
            out[i, j] = exp(x[i, j] - top)
            part += out[i, j]
        total += part
    return total


@jit("reassoc")
def _sum_of_exponentials(x: Array, i: int, top: Any) -> float:
    """Return the sum of exp(x - top) over row i."""
    wide()
    total = 0.0
    for start in range(0, x.shape[1], BLOCK):
        part = x.dtype.type(0)
        for j in range(np.uint64(start), np.uint64(min(start + BLOCK, x.shape[1]))):
            part += exp(x[i, j] - top)
        total += part
    return total


@jit("reassoc")
def sums(x: Array, totals: Array) -> None:
    """Write the sums of rows to ``totals``."""
    wide()
    for i in range(x.shape[0]):
        total = 0.0
        for start in range(0, x.shape[1], BLOCK):
            part = x.dtype.type(0)
            for j in range(np.uint64(start), np.uint64(min(start + BLOCK, x.shape[1]))):
                part += x[i, j]
            total += part
        totals[i] = total


@jit("reassoc")
def _dots(x: Array, y: Array, totals: Array) -> None:
    """Write the sums of the products of rows of x and y to ``totals``."""
    wide()
    for i in range(x.shape[0]):
        total = 0.0
        for start in range(0, x.shape[1], BLOCK):
            part = x.dtype.type(0)
            for j in range(np.uint64(start), np.uint64(min(start + BLOCK, x.shape[1]))):
                part += x[i, j] * y[i, j]
            total += part
        totals[i] = total


def _calls(dtype: Any, n: int) -> Iterator[Call]:
    x = 3 * np.random.default_rng(0).normal(size=(2, n, 3)).astype(dtype)
    yield [x], {"axis": 1}
    yield [x.reshape(n, 6)], {"axis": 1}


@kernel(_calls)
def softmax(x: Array, *, axis: int) -> Any:
    """Return exp(x) over its sum along an axis. Declines all but float32 and float64."""
    return _along(SOFTMAX, x, None, (axis,))


@kernel(_calls)
def log_softmax(x: Array, *, axis: int) -> Any:
    """Return the logarithm of `softmax`, but not of its zeros. Declines as that does."""
    return _along(LOG_SOFTMAX, x, None, (axis,))


def _backward_calls(dtype: Any, n: int) -> Iterator[Call]:
    for (x,), params in _calls(dtype, n):
        yield [np.cos(x), -np.abs(x)], params


@kernel(_backward_calls)
def softmax_backward(g: Array, out: Array, *, axis: int) -> Any:
    """Return the gradient of x from that of ``out = softmax(x)``. Declines as that does."""
    return _along(SOFTMAX_BACK, out, g, (axis,))


@kernel(_backward_calls)
def log_softmax_backward(g: Array, out: Array, *, axis: int) -> Any:
    """Return the gradient of x from that of ``out = log_softmax(x)``. Declines as that does."""
    return _along(LOG_SOFTMAX_BACK, out, g, (axis,))


def _logsumexp_calls(dtype: Any, n: int) -> Iterator[Call]:
    for (x,), params in _calls(dtype, n):
        yield [x], {"axis": (params["axis"],), "keepdims": False}
    yield [x], {"axis": (0, 1), "keepdims": True}


@kernel(_logsumexp_calls)
def logsumexp(x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    """Return the logarithm of the sum of exp(x) over axes, -inf where there is nothing but -inf.

    Declines all but float32 and float64, and axes that are not neighbours.
    """
    out = _along(LOGSUMEXP, x, None, axis)
    if out is NotImplemented:
        return NotImplemented
    kept = [1 if a in axis else n for a, n in enumerate(x.shape) if keepdims or a not in axis]
    return out.reshape(kept)


def _logsumexp_backward_calls(dtype: Any, n: int) -> Iterator[Call]:
    for (x,), params in _calls(dtype, n):
        out = np.log(np.exp(x).sum(axis=params["axis"], where=True, initial=1e-30)).astype(dtype)
        yield [np.cos(out), out, x], {"axis": (params["axis"],)}


@kernel(_logsumexp_backward_calls)
def logsumexp_backward(g: Array, out: Array, x: Array, *, axis: tuple[int, ...]) -> Any:
    """Return the gradient of x, g times its softmax, from that of ``out = logsumexp(x)``.

    Declines as that does, and where a logarithm is not finite.
    """
    if not np.isfinite(out).all():
        return NotImplemented
    return _along(LOGSUMEXP_BACK, x, g, axis)


def _along(kind: int, x: Array, g: Array | None, axis: tuple[int, ...]) -> Any:
    """Return what ``kind`` makes of the slices of ``x``, and of ``g``, along neighbouring axes."""
    first, last = min(axis, default=0), max(axis, default=0)
    if x.dtype not in FLOATS or last - first != len(axis) - 1:
        return NotImplemented
    if g is not None and g.dtype != x.dtype:
        return NotImplemented
    before, length = math.prod(x.shape[:first]), math.prod(x.shape[first : last + 1])
    after = math.prod(x.shape[last + 1 :])
    # An array of its own, not a view of one, which whoever keeps a gradient would copy.
    own = np.empty((before, 1, after) if kind == LOGSUMEXP else x.shape, x.dtype)
    if g is None:
        cotangents = np.empty((before, 0, after), x.dtype)
    else:
        cotangents = plain(g).reshape(before, 1 if kind == LOGSUMEXP_BACK else length, after)
    if own.size:
        slices, out = plain(x).reshape(before, length, after), own.reshape(before, -1, after)
        _slices(before * (length + PER_SLICE) * after, kind, slices, cotangents, out)
    return own


@loop(parallel_from=1 << 16)
def _slices(kind: int, x: Array, g: Array, out: Array) -> None:
    """Fill ``out`` from ``x`` and ``g``, slice by slice along axis 1 of each."""
    before, length, after = x.shape
    if after == 1:
        x_rows, g_rows = x.reshape(before, length), g.reshape(before, g.shape[1])
        out_rows = out.reshape(before, out.shape[1])
        rows = rows_at_a_time(length)
        for block in prange((before + rows - 1) // rows):
            start, stop = block * rows, min(block * rows + rows, before)
            _rows(kind, x_rows[start:stop], g_rows[start:stop], out_rows[start:stop])
    else:
        blocks = (after + COLUMNS - 1) // COLUMNS
        for block in prange(before * blocks):
            start = block % blocks * COLUMNS
            _columns(kind, x, g, block // blocks, start, min(COLUMNS, after - start), out)


@jit()
def rows_at_a_time(length: int) -> int:
    """Return how many rows of a length are handled together."""
    return max(1, TOGETHER // max(length, 1))


@jit()
def _rows(kind: int, x: Array, g: Array, out: Array) -> None:
    """Fill rows of ``out``; on the way back ``g`` is the cotangent, and ``x`` what was made."""
    wide()
    real = x.dtype.type
    if kind == SOFTMAX_BACK:
        totals = np.empty(x.shape[0])
        _dots(g, x, totals)
        for i in range(x.shape[0]):
            total = real(totals[i])
            for j in range(x.shape[1]):
                out[i, j] = x[i, j] * (g[i, j] - total)
    elif kind == LOG_SOFTMAX_BACK:
        totals = np.empty(x.shape[0])
        sums(g, totals)
        for i in range(x.shape[0]):
            total = real(totals[i])
            for j in range(x.shape[1]):
                out[i, j] = g[i, j] - exp(x[i, j]) * total
    elif kind == LOG_SOFTMAX:
        tops, totals = exponentials(x, out)
        for i in range(x.shape[0]):
            top, log_total = tops[i], real(math.log(totals[i]))
            for j in range(x.shape[1]):
                out[i, j] = (x[i, j] - top) - log_total
    elif kind == LOGSUMEXP:
        for i in range(x.shape[0]):
            top = greatest(x, i)
            if math.isfinite(top):
                out[i, 0] = top + math.log(_sum_of_exponentials(x, i, top))
            else:
                out[i, 0] = _infinite(x, i)
    else:
        _, totals = exponentials(x, out)
        for i in range(x.shape[0]):
            scale = real((g[i, 0] if kind == LOGSUMEXP_BACK else 1) / totals[i])
            for j in range(x.shape[1]):
                out[i, j] *= scale


@jit()
def _infinite(x: Array, i: int) -> Any:
    """Return the maximum of row i, -inf of nothing, or a nan of any sign that is there."""
    top = x.dtype.type(-np.inf)
    for j in range(x.shape[1]):
        if x[i, j] > top or math.isnan(x[i, j]):
            top = x[i, j]
    return top


@jit()
def _columns(kind: int, x: Array, g: Array, at: int, start: int, width: int, out: Array) -> None:
    """Do for ``width`` columns of ``x[at]`` from ``start`` on what `_rows` does for rows."""
    wide()
    first, columns = np.uint64(start), range(np.uint64(width))
    if kind == SOFTMAX_BACK:
        totals = np.zeros(width)
        for j in range(x.shape[1]):
            for c in columns:
                totals[c] += g[at, j, first + c] * x[at, j, first + c]
        shared = totals.astype(x.dtype)
        for j in range(x.shape[1]):
            for c in columns:
                out[at, j, first + c] = x[at, j, first + c] * (g[at, j, first + c] - shared[c])
    elif kind == LOG_SOFTMAX_BACK:
        totals = np.zeros(width)
        for j in range(x.shape[1]):
            for c in columns:
                totals[c] += g[at, j, first + c]
        shared = totals.astype(x.dtype)
        for j in range(x.shape[1]):
            for c in columns:
                out[at, j, first + c] = g[at, j, first + c] - exp(x[at, j, first + c]) * shared[c]
    elif kind == LOG_SOFTMAX:
        tops = _greatest_of_columns(x, at, start, width)
        shared = np.log(_sums_of_exponentials(x, at, start, tops)).astype(x.dtype)
        for j in range(x.shape[1]):
            for c in columns:
                out[at, j, first + c] = (x[at, j, first + c] - tops[c]) - shared[c]
    elif kind == LOGSUMEXP:
        tops = _greatest_of_columns(x, at, start, width)
        totals = _sums_of_exponentials(x, at, start, tops)
        for c in columns:
            out[at, 0, first + c] = tops[c]
            if math.isfinite(tops[c]):
                out[at, 0, first + c] = tops[c] + math.log(totals[c])
    else:
        tops = _greatest_of_columns(x, at, start, width)
        totals = np.zeros(width)
        for j in range(x.shape[1]):
            for c in columns:
                out[at, j, first + c] = exp(x[at, j, first + c] - tops[c])
                totals[c] += out[at, j, first + c]
        for c in columns:
            totals[c] = (g[at, 0, first + c] if kind == LOGSUMEXP_BACK else 1) / totals[c]
        shared = totals.astype(x.dtype)
        for j in range(x.shape[1]):
            for c in columns:
                out[at, j, first + c] *= shared[c]


@jit()
def _greatest_of_columns(x: Array, at: int, start: int, width: int) -> Array:
    """Return the maxima along axis 1 of columns of ``x[at]``, nan where one is there."""
    first, tops = np.uint64(start), np.full(width, -np.inf, x.dtype)
    for j in range(x.shape[1]):
        for c in range(np.uint64(width)):
            value = x[at, j, first + c]
            tops[c] = value if (value > tops[c]) | (value != value) else tops[c]
    return tops


@jit()
def _sums_of_exponentials(x: Array, at: int, start: int, tops: Array) -> Array:
    """Return the sums of exp(x - top) along axis 1 of columns of ``x[at]``."""
    wide()
    first, totals = np.uint64(start), np.zeros(tops.size)
    for j in range(x.shape[1]):
        for c in range(np.uint64(tops.size)):
            totals[c] += exp(x[at, j, first + c] - tops[c])
    return totals
