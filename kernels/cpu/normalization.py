"""Layer, group, batch and RMS norm, forward and backward, with what is summed up kept in cache.

x is seen as (planes, rows, length): a row's statistics are those of all its planes. Layer norm has
one plane, of rows that lie together; batch norm of images has one for each sample, of rows that are
channels. Forward reads a row twice for its mean and its squared deviations, and once more to write
the result; backward reads it twice. A row of usual length stays in cache between, so that each
array passes through memory once, with some 10 operations for each number. Batch norm of a matrix
goes through it twice, STRIPE columns and SAMPLES rows at a time.

Measured on one thread, float32, against NumPy's path: layer norm forward 0.18 - 0.37 of its time,
backward 0.09 - 0.17; batch norm 0.14 - 0.45 and 0.1 - 0.25. Of torch's layer norm: (2048, 64) 1.1
and 0.9, (836, 1254) 0.8 and 0.8. Beside a copy of the bytes, at 4 million numbers, forward and
backward: layer norm 1.3 and 1.4, RMS norm 1.2 and 1.4, batch norm of images 1.4 and 1.3, group norm
1.3 and 1.15. What is above 1 is arithmetic on rows in cache, in whose time memory has nothing to
do. It did not help to fetch the next row ahead, to store past the cache, or to sum numbers and
squares in one pass; nor, in batch norm of images, to take two or four channels at a time, to keep
a channel's numbers together in a copy, or to sum the next plane in one loop with the squares.
"""

import math
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .compiler import FLOATS, Array, Call, jit, kernel, loop, plain, prange
from .vectors import fetch

BLOCK = 1024  # numbers that are summed in their own precision, and seen twice while in cache
LINE = 64  # bytes that memory sends at a time
SAMPLES = 64  # rows over which the gradients of weights are summed in their own precision
STRIPE = 512  # columns that are one thread's work: of 64 in a row, memory gave half as much


class Walk(NamedTuple):
    """How to see x, the weights and the statistics of its rows."""

    x: tuple[int, ...]  # (planes, rows, length), or (planes, columns) where that is a matrix
    samples: int  # rows are those of the groups of the first sample, then of the second, ...
    weights: tuple[int, int]  # (groups, factors)
    repeats: int  # neighbours in a row that have one weight
    statistics: tuple[int, ...]  # their own shape

    @property
    def is_matrix(self) -> bool:
        """Whether the numbers that share their statistics are the columns of a matrix."""
        return len(self.x) == 2


@lru_cache
def _walk(shape: tuple[int, ...], axis: tuple[int, ...], weights: tuple[int, ...]) -> Walk | None:
    """Return how to walk x of this shape and weights of that; None where neither loop can."""
    weights = (1,) * (len(shape) - len(weights)) + weights
    # A letter for each axis: r for reduced, k for kept, capital where the weights have it too.
    axes, letters = [], ""
    for i, n in enumerate(shape):
        if n != 1:
            letter = "r" if i in axis else "k"
            axes.append(n)
            letters += letter if weights[i] == 1 else letter.upper()
    match = re.fullmatch("(r*?)(k*)(K*)(R*)(r*)", letters)
    if match is None:
        return None
    spans = [match.span(i + 1) for i in range(5)]
    planes, samples, groups, factors, repeats = [math.prod(axes[a:b]) for a, b in spans]
    if planes != 1 and factors != 1:
        return None
    rows, length = samples * groups, factors * repeats
    return Walk(
        (planes, rows) if planes != 1 and length == 1 else (planes, rows, length),
        samples,
        (groups, factors),
        repeats,
        tuple([1 if i in axis else n for i, n in enumerate(shape)]),
    )


def _found(
    x: Array, shape: tuple[int, ...] | None, axis: tuple[int, ...], *weights: Array | None
) -> Walk | None:
    """Return how to walk x, seen in a shape unless None, and its weights.

    None where that or their dtype is not known here.
    """
    given = [w for w in weights if w is not None]
    shapes = {w.shape for w in given} or {()}
    if x.dtype not in FLOATS or len(shapes) > 1 or any(w.dtype != x.dtype for w in given):
        return None
    return _walk(x.shape if shape is None else shape, axis, shapes.pop())


def _two_axes(weights: Array | None, walk: Walk, dtype: Any, value: int) -> Array:
    """Return weights as (groups, factors), filled with a value where there are none."""
    if weights is None:
        return _filled(walk.weights, dtype, value)
    return plain(weights).reshape(walk.weights)


@lru_cache(maxsize=8)
def _filled(shape: tuple[int, int], dtype: Any, value: int) -> Array:
    """Return what nobody writes to; to fill it takes a quarter of the time of a small norm."""
    return np.full(shape, value, dtype)


# For the calls: the shapes of x and of the weights, n where they have 0, and the axis.
_NORMS: list[tuple[tuple[int, ...], tuple[int, ...] | None, tuple[int, ...]]] = [
    ((0, 3, 5), (3, 5), (1, 2)),  # layer norm
    ((5, 0), None, (1,)),
    ((2, 0, 2, 9), (0, 2, 1), (2, 3)),  # group norm
    ((3, 0, 9), (0, 1), (0, 2)),  # batch norm of images
    ((0, 5), (5,), (0,)),  # batch norm of a matrix
]


def _drawn(dtype: Any, n: int) -> Iterator[tuple[Any, Any, dict[str, Any], tuple[int, ...]]]:
    """Yield x, weights or None, params and the shape of the statistics."""
    rng = np.random.default_rng(0)
    for lengths, factors, axis in _NORMS:
        x = rng.normal(size=[i or n for i in lengths]).astype(dtype)
        weights = factors and rng.normal(size=[i or n for i in factors]).astype(dtype)
        params: dict[str, Any] = {"axis": axis, "eps": 0.1, "shape": None}
        statistics = x.sum(axis, keepdims=True).shape
        if x.ndim == 4:  # channels, to be seen as groups
            params["shape"], x = x.shape, x.reshape(len(x), 2 * n, 9)
        yield x, weights, params, statistics


def _normalize_calls(dtype: Any, n: int) -> Iterator[Call]:
    for x, weights, params, _ in _drawn(dtype, n):
        yield [x, weights, None if weights is None else weights[::-1].copy()], params


def _rms_normalize_calls(dtype: Any, n: int) -> Iterator[Call]:
    for x, weights, params, _ in _drawn(dtype, n):
        if 0 not in params["axis"] and params.pop("shape") is None:
            yield [x, weights], params


def _normalize_backward_calls(dtype: Any, n: int) -> Iterator[Call]:
    for x, weights, params, shape in _drawn(dtype, n):
        g, mean, var = np.cos(x), np.full(shape, 0.1, dtype), np.full(shape, 1.5, dtype)
        for wanted in (("x", "weight", "bias"), ("bias",), ("x",)):
            if weights is not None or wanted == ("x",):
                bias_shape = None if weights is None else weights.shape
                options = {"bias_shape": bias_shape, "wanted": wanted}
                yield [g, None, None, x, weights, mean, var], params | options


def _rms_normalize_backward_calls(dtype: Any, n: int) -> Iterator[Call]:
    for x, weights, params, shape in _drawn(dtype, n):
        if 0 not in params["axis"] and params.pop("shape") is None:
            wanted = ("x",) if weights is None else ("x", "weight")
            g, square = np.cos(x), np.full(shape, 1.5, dtype)
            yield [g, None, x, weights, square], params | {"wanted": wanted}


@kernel(_normalize_calls)
def normalize(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    axis: tuple[int, ...],
    eps: float,
    shape: tuple[int, ...] | None,
) -> Any:
    """Return (x - mean) / √(var + eps) · weight + bias, mean and var, of x seen in a shape.

    mean and var are those over axis, where they have length 1. Declines dtypes other than float32
    and float64, axes on both sides of which others are kept, and a weight and a bias that differ in
    shape or do not vary along axes as those of the usual norms do.
    """
    if not _normalized_rows.pays(x.size):
        return NotImplemented
    walk = _found(x, shape, axis, weight, bias)
    if walk is None:
        return NotImplemented
    weight, bias = _two_axes(weight, walk, x.dtype, 1), _two_axes(bias, walk, x.dtype, 0)
    out = np.empty(x.shape, x.dtype)
    mean, var = np.empty(walk.statistics, x.dtype), np.empty(walk.statistics, x.dtype)
    given = plain(x).reshape(walk.x), weight, bias, float(eps)
    found = out.reshape(walk.x), mean.reshape(-1), var.reshape(-1)
    if walk.is_matrix:
        _normalized_columns(x.size, *given, *found)
    else:
        _normalized_rows(x.size, *given, walk.repeats, True, *found)
    return out, mean, var


@kernel(_rms_normalize_calls)
def rms_normalize(
    x: Array, weight: Array | None = None, *, axis: tuple[int, ...], eps: float
) -> Any:
    """Return x / √(square + eps) · weight, and square, the mean of x² over axis.

    Declines as `normalize` does, and where axis is not at the end.
    """
    if not _normalized_rows.pays(x.size):
        return NotImplemented
    walk = _found(x, None, axis, weight)
    if walk is None or walk.is_matrix:
        return NotImplemented
    weight, bias = _two_axes(weight, walk, x.dtype, 1), _two_axes(None, walk, x.dtype, 0)
    out, square = np.empty(x.shape, x.dtype), np.empty(walk.statistics, x.dtype)
    found = square.reshape(-1)
    arrays = plain(x).reshape(walk.x), weight, bias, float(eps), walk.repeats, False
    _normalized_rows(x.size, *arrays, out.reshape(walk.x), found, found)
    return out, square


@kernel(_normalize_backward_calls)
def normalize_backward(
    g_out: Array,
    g_mean: Array | None,
    g_var: Array | None,
    x: Array,
    weight: Array | None,
    mean: Array,
    var: Array,
    *,
    bias_shape: tuple[int, ...] | None,
    axis: tuple[int, ...],
    eps: float,
    shape: tuple[int, ...] | None,
    wanted: tuple[str, ...],
) -> Any:
    """Return those of dx, dweight and dbias that are wanted, as a tuple.

    Declines as `normalize` does, and where its mean or var has a cotangent.
    """
    if g_mean is not None or g_var is not None or not _rows_back.pays(x.size):
        return NotImplemented
    of_weights = bias_shape if weight is None else weight.shape
    if bias_shape not in (None, of_weights):
        return NotImplemented
    shapes = x.shape if shape is None else shape, of_weights or ()
    return _back(g_out, x, weight, mean, var, shapes, axis, eps, wanted, centred=True)


@kernel(_rms_normalize_backward_calls)
def rms_normalize_backward(
    g_out: Array,
    g_square: Array | None,
    x: Array,
    weight: Array | None,
    square: Array,
    *,
    axis: tuple[int, ...],
    eps: float,
    wanted: tuple[str, ...],
) -> Any:
    """Return those of dx and dweight that are wanted, as a tuple; declines as `normalize` does."""
    if g_square is not None or not _rows_back.pays(x.size):
        return NotImplemented
    shapes = x.shape, () if weight is None else weight.shape
    return _back(g_out, x, weight, square, square, shapes, axis, eps, wanted, centred=False)


def _back(
    g: Array,
    x: Array,
    weight: Array | None,
    mean: Array,
    var: Array,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    axis: tuple[int, ...],
    eps: float,
    wanted: tuple[str, ...],
    centred: bool,
) -> Any:
    """Return the wanted gradients; shapes: in which x is seen, and of weight and bias."""
    seen, shape = shapes
    walk = _found(x, seen, axis, weight)
    if walk is not None and weight is None:
        walk = _walk(seen, axis, shape)
    if walk is None or g.dtype != x.dtype:
        return NotImplemented
    to_weights = wanted != ("x",)
    if walk.is_matrix and (not centred or (to_weights and walk.samples != 1)):
        return NotImplemented
    # An array of its own, not a view of one, which whoever keeps a gradient would copy.
    own = np.empty(x.shape if "x" in wanted else (0,) * len(walk.x), x.dtype)
    dx = own.reshape(walk.x) if "x" in wanted else own
    gradients = np.empty((2, *walk.weights), x.dtype)
    given = (
        plain(g).reshape(walk.x),
        plain(x).reshape(walk.x),
        _two_axes(weight, walk, x.dtype, 1),
        plain(mean).reshape(-1),
        plain(var).reshape(-1),
        float(eps),
    )
    if walk.is_matrix:
        _columns_back(x.size, *given, to_weights, dx, gradients)
    else:
        blocks = max(-(-walk.samples // SAMPLES), 1)
        parts = np.empty((blocks, 2, *walk.weights), x.dtype)
        _rows_back(x.size, *given, walk.repeats, centred, to_weights, parts, dx, gradients)
    found = {"x": own, "weight": gradients[0].reshape(shape), "bias": gradients[1].reshape(shape)}
    return tuple([found[name] for name in wanted])


@loop("contract", parallel_from=1 << 17)
def _normalized_rows(
    x: Array,
    weight: Array,
    bias: Array,
    eps: float,
    repeats: int,
    centred: bool,
    out: Array,
    mean: Array,
    var: Array,
) -> None:
    """Fill ``out`` and the statistics of each row; without ``centred``, as if the mean were 0."""
    planes, rows, length = x.shape
    groups, factors = weight.shape
    real = x.dtype.type
    count = max(planes * length, 1)
    for row in prange(rows):
        group = row % groups
        first, total, squares = moments(x, row, centred)
        offset = real(total / count)
        mean[row] = first + offset
        var[row] = squares / count
        inverse = real(1 / np.sqrt(squares / count + eps))
        if repeats == 1:
            for j in range(length):
                unit = ((x[0, row, j] - first) - offset) * inverse
                out[0, row, j] = unit * weight[group, j] + bias[group, j]
        else:
            for i in range(planes):
                _fetch_plane(out, i + 1, row)
                for k in range(factors):
                    factor, shift = weight[group, k], bias[group, k]
                    for j in range(np.uint64(k * repeats), np.uint64((k + 1) * repeats)):
                        unit = ((x[i, row, j] - first) - offset) * inverse
                        out[i, row, j] = unit * factor + shift


@jit()
def _fetch_plane(x: Array, i: int, row: int) -> None:
    """Fetch the first numbers of a plane of a row, if there is one, while the one before is read.

    By itself the CPU reads ahead where memory goes on, which is elsewhere. Batch norm of images of
    7×7 and 14×14 takes 0.75 of the time forward and 0.85 backward, on two threads 0.9 and 0.95; of
    32×32 the same.
    """
    if 0 <= i < len(x):
        piece = x[i, row]
        for j in range(0, min(len(piece), BLOCK), LINE // x.itemsize):
            fetch(piece, np.uint64(j))


@jit()
def moments(x: Array, row: int, centred: bool) -> tuple[Any, float, float]:
    """Return a row's first number, the sum of its numbers less that, and of squared deviations.

    Less the first, a large common part costs no digits, and equal numbers give exactly 0. Blocks
    are put together as in Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
    computing sample variances" (1979). Without ``centred``: 0, 0 and the sum of squares.
    """
    planes, _, length = x.shape
    real = x.dtype.type
    first = x[0, row, 0] if centred and planes * length else real(0)
    total, squares, seen = 0.0, 0.0, 0
    for i in range(planes):
        _fetch_plane(x, i + 1, row)
        for start in range(0, length, BLOCK):
            stop = min(start + BLOCK, length)
            size, part = stop - start, 0.0
            if centred:
                part = sum_less(x, i, row, start, stop, first)
                if seen:
                    apart = part / size - total / seen
                    squares += apart * apart * (seen * size / (seen + size))
            squares += _sum_of_squares(x, i, row, start, stop, first, real(part / size))
            total += part
            seen += size
    return first, total, squares


@jit()
def _less(value: Any, first: Any, offset: Any) -> Any:
    """Return value - first - offset, which "reassoc" must not take apart."""
    return (value - first) - offset


@jit("reassoc")  # sums are vectorised only if their terms may be added in another order
def sum_less(x: Array, i: int, row: int, start: int, stop: int, first: Any) -> float:
    """Return the sum of a stretch of a row less ``first``, made in the dtype of x."""
    total = x.dtype.type(0)
    for j in range(np.uint64(start), np.uint64(stop)):  # a test for j < 0 stops vectorisation
        total += _less(x[i, row, j], first, x.dtype.type(0))
    return float(total)


@jit("reassoc", "contract")
def _sum_of_squares(
    x: Array, i: int, row: int, start: int, stop: int, first: Any, offset: Any
) -> float:
    total = x.dtype.type(0)
    for j in range(np.uint64(start), np.uint64(stop)):
        deviation = _less(x[i, row, j], first, offset)
        total += deviation * deviation
    return float(total)


@loop("contract", parallel_from=1 << 16)
def _rows_back(
    g: Array,
    x: Array,
    weight: Array,
    mean: Array,
    var: Array,
    eps: float,
    repeats: int,
    centred: bool,
    to_weights: bool,
    parts: Array,
    dx: Array,
    gradients: Array,
) -> None:
    """Fill ``dx`` unless it is empty and, if ``to_weights``, ``gradients``: those of weight, bias.

    ``parts`` has room for the latter from each block of samples.
    """
    planes, rows, length = x.shape
    groups, factors = weight.shape
    real = x.dtype.type
    count = max(planes * length, 1)
    for task in prange(len(parts) * groups):
        block, group = task // groups, task % groups
        # Of their own: rows of parts whose places in a page are the same hold each other up.
        to_weight, to_bias = scratch(x, factors), scratch(x, factors)
        for sample in range(block * SAMPLES, min((block + 1) * SAMPLES, rows // groups)):
            row = sample * groups + group
            centre = mean[row] if centred else real(0)
            inverse = real(1 / np.sqrt(var[row] + eps))
            plain_sum, unit_sum = 0.0, 0.0
            if repeats == 1:
                for start in range(0, length, BLOCK):
                    stop = min(start + BLOCK, length)
                    a, b = _weighted_sums(g, x, weight, row, group, start, stop, centre, inverse)
                    plain_sum += a
                    unit_sum += b
            else:
                for k in range(factors):
                    of_plain, of_unit = 0.0, 0.0
                    for i in range(planes):
                        _fetch_plane(g, i + 1, row)
                        _fetch_plane(x, i + 1, row)
                        for start in range(k * repeats, (k + 1) * repeats, BLOCK):
                            stop = min(start + BLOCK, (k + 1) * repeats)
                            a, b = _sums(g, x, i, row, start, stop, centre, inverse)
                            of_plain += a
                            of_unit += b
                    to_weight[k] += real(of_unit)
                    to_bias[k] += real(of_plain)
                    factor = _finite_or_nan(weight[group, k])
                    plain_sum += of_plain * factor
                    unit_sum += of_unit * factor
            along_mean = real(plain_sum / count if centred else 0)
            along_unit = real(unit_sum / count)
            if repeats == 1 and dx.size:
                # To the weights in the same pass, in the time that memory takes to store dx.
                for j in range(length):
                    unit = (x[0, row, j] - centre) * inverse
                    cotangent = g[0, row, j]
                    to_weight[j] += cotangent * unit
                    to_bias[j] += cotangent
                    change = _product(cotangent, weight[group, j]) - along_mean
                    dx[0, row, j] = (change - unit * along_unit) * inverse
            elif repeats == 1:
                for j in range(length):
                    to_weight[j] += g[0, row, j] * ((x[0, row, j] - centre) * inverse)
                    to_bias[j] += g[0, row, j]
            elif dx.size:
                for plane in range(planes):
                    i = planes - 1 - plane  # what was read last is in cache yet: 0.96 of the time
                    _fetch_plane(dx, i - 1, row)
                    for k in range(factors):
                        factor = weight[group, k]
                        for j in range(np.uint64(k * repeats), np.uint64((k + 1) * repeats)):
                            unit = (x[i, row, j] - centre) * inverse
                            change = _product(g[i, row, j], factor) - along_mean
                            dx[i, row, j] = (change - unit * along_unit) * inverse
        parts[block, 0, group], parts[block, 1, group] = to_weight, to_bias
    if to_weights:
        _add_blocks(parts, gradients)


@jit()
def _finite_or_nan(weight: Any) -> Any:
    """Return what to multiply sums by; terms, each times an infinite weight, add up to nan."""
    return weight + weight * type(weight)(0)


@jit()
def _product(x: Any, y: Any) -> Any:
    """Return x · y, rounded, lest less its equal it be the rounding error instead of 0."""
    return x * y


@jit("reassoc", "contract")
def _weighted_sums(
    g: Array,
    x: Array,
    weight: Array,
    row: int,
    group: int,
    start: int,
    stop: int,
    centre: Any,
    inverse: Any,
) -> tuple[float, float]:
    """Return the sums of g · weight and g · weight · unit over a stretch of a row."""
    total, of_unit = x.dtype.type(0), x.dtype.type(0)
    for j in range(np.uint64(start), np.uint64(stop)):
        cotangent = g[0, row, j] * weight[group, j]
        total += cotangent
        of_unit += cotangent * (_less(x[0, row, j], centre, x.dtype.type(0)) * inverse)
    return float(total), float(of_unit)


@jit("reassoc", "contract")
def _sums(
    g: Array, x: Array, i: int, row: int, start: int, stop: int, centre: Any, inverse: Any
) -> tuple[float, float]:
    """Return the sums of g and g · unit over a stretch of a row."""
    total, of_unit = x.dtype.type(0), x.dtype.type(0)
    for j in range(np.uint64(start), np.uint64(stop)):
        total += g[i, row, j]
        of_unit += g[i, row, j] * (_less(x[i, row, j], centre, x.dtype.type(0)) * inverse)
    return float(total), float(of_unit)


@jit()
def _add_blocks(parts: Array, out: Array) -> None:
    """Fill ``out`` with the sums over the first axis, in float64."""
    total = np.zeros(out.shape)
    for block in range(len(parts)):
        total += parts[block]
    out[:] = total


@loop("contract", parallel_from=1 << 16)
def _normalized_columns(
    x: Array, weight: Array, bias: Array, eps: float, out: Array, mean: Array, var: Array
) -> None:
    """As `_normalized_rows`, for the columns of a matrix."""
    n, columns = x.shape
    groups = len(weight)
    count = max(n, 1)
    for stripe in prange(-(-columns // STRIPE)):
        low = stripe * STRIPE
        width = min(STRIPE, columns - low)
        first, total, squares = scratch(x, width), np.zeros(width), np.zeros(width)
        column_moments(x, low, width, first, total, squares)
        offset = scratch(x, width)
        inverse, factor, shift = scratch(x, width), scratch(x, width), scratch(x, width)
        for j in range(width):
            offset[j] = total[j] / count
            mean[low + j] = first[j] + offset[j]
            var[low + j] = squares[j] / count
            inverse[j] = 1 / np.sqrt(squares[j] / count + eps)
            factor[j] = weight[(low + j) % groups, 0]
            shift[j] = bias[(low + j) % groups, 0]
        for i in range(n):
            for j in range(width):
                column = np.uint64(low + j)
                unit = ((x[i, column] - first[j]) - offset[j]) * inverse[j]
                out[i, column] = unit * factor[j] + shift[j]


@jit()
def column_moments(
    x: Array, low: int, width: int, first: Array, total: Array, squares: Array
) -> None:
    """As `moments`, for columns from ``low`` on; ``total`` and ``squares`` hold zeros before."""
    n = len(x)
    offset, part = scratch(x, width), scratch(x, width)
    if n:
        for j in range(width):
            first[j] = x[0, low + j]
    for start in range(0, n, SAMPLES):
        stop = min(start + SAMPLES, n)
        size = stop - start
        part[:] = 0
        for i in range(np.uint64(start), np.uint64(stop)):
            add_deviations(x, i, low, width, first, part)
        for j in range(width):
            if start:
                apart = part[j] / size - total[j] / start
                squares[j] += apart * apart * (start * size / stop)
            total[j] += part[j]
            offset[j] = part[j] / size
        part[:] = 0
        for i in range(np.uint64(start), np.uint64(stop)):
            _add_squares(x, i, low, width, first, offset, part)
        for j in range(width):
            squares[j] += part[j]


@jit()
def scratch(x: Array, width: int) -> Array:
    """Return a zero for each column of a stripe, in the dtype of x."""
    return np.zeros(width, x.dtype)


@jit()
def add_deviations(x: Array, i: int, low: int, width: int, first: Array, sums: Array) -> None:
    """Add a stretch of a row, less ``first``, to the sums of its columns."""
    for j in range(width):
        sums[j] += x[i, np.uint64(low + j)] - first[j]


@jit("contract")
def _add_squares(
    x: Array, i: int, low: int, width: int, first: Array, offset: Array, sums: Array
) -> None:
    for j in range(width):
        deviation = (x[i, np.uint64(low + j)] - first[j]) - offset[j]
        sums[j] += deviation * deviation


@loop("contract", parallel_from=1 << 16)
def _columns_back(
    g: Array,
    x: Array,
    weight: Array,
    mean: Array,
    var: Array,
    eps: float,
    to_weights: bool,
    dx: Array,
    gradients: Array,
) -> None:
    """As `_rows_back`, for the columns of a matrix."""
    n, columns = x.shape
    count = max(n, 1)
    for stripe in prange(-(-columns // STRIPE)):
        low = stripe * STRIPE
        width = min(STRIPE, columns - low)
        inverse, factor = scratch(x, width), scratch(x, width)
        part, of_unit = scratch(x, width), scratch(x, width)
        total, unit_total = np.zeros(width), np.zeros(width)
        for j in range(width):
            inverse[j] = 1 / np.sqrt(var[low + j] + eps)
            factor[j] = _finite_or_nan(weight[(low + j) % len(weight), 0]) * inverse[j]
        for start in range(0, n, SAMPLES):
            part[:] = 0
            of_unit[:] = 0
            for i in range(np.uint64(start), np.uint64(min(start + SAMPLES, n))):
                for j in range(width):
                    column = np.uint64(low + j)
                    part[j] += g[i, column]
                    of_unit[j] += g[i, column] * ((x[i, column] - mean[column]) * inverse[j])
            for j in range(width):
                total[j] += part[j]
                unit_total[j] += of_unit[j]
        for j in range(width):
            if to_weights:
                gradients[0, low + j, 0] = unit_total[j]
                gradients[1, low + j, 0] = total[j]
            part[j] = total[j] / count
            of_unit[j] = unit_total[j] / count
        if dx.size:
            for i in range(n):
                for j in range(width):
                    column = np.uint64(low + j)
                    unit = (x[i, column] - mean[column]) * inverse[j]
                    dx[i, column] = (g[i, column] - part[j] - unit * of_unit[j]) * factor[j]
