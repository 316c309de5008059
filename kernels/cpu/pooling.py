"""Maxima and means of windows of images, and their way back, in one pass over the image.

An image is read where it lies and each result written once. For maxima a window costs its points,
whose places are compared one after the other, one to three operations for each byte of float32:
the loops are bound by that, not by memory, and 2 x 2
windows side by side have a straight one. Means are sums of rows, which are vectors, and then of
what windows see of these sums. Float32 on one thread: halving (64, 16, 28, 28) took 0.25 of NumPy's
time for maxima (0.15 of torch's) and 0.2 for their way back, 0.55 and 0.7 for means (0.3 and 0.35
of torch's); windows of 3 x 3 took 0.7 to 0.85 for maxima and 0.3 to 0.4 for means.
"""

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from .compiler import FLOATS, Array, Call, jit, kernel, loop, plain, prange
from .windows import OVERLAPPING, inside, pair, seen, steps

PLACES = 256  # that uint8 can tell apart


# Beside OVERLAPPING, for images of 5 x 4 points.
_QUARTERS = SimpleNamespace(
    kernel=(2, 2), stride=(2, 2), padding=(0, 0), dilation=(1, 1), lengths=(5, 4), sizes=(2, 2)
)


def _random(dtype: Any, *shape: int) -> Array:
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def _pool_calls(dtype: Any, n: int) -> Iterator[Call]:
    for windows in (OVERLAPPING, _QUARTERS):
        yield [_random(dtype, n, 3, 5, 4)], {"windows": windows}


def _unpool_calls(dtype: Any, n: int) -> Iterator[Call]:
    for windows in (OVERLAPPING, _QUARTERS):
        v = _random(dtype, n, 3, *windows.sizes)
        place = np.random.default_rng(0).integers(0, math.prod(windows.kernel), v.shape)
        yield [v, place.astype(np.uint8)], {"windows": windows}


def _avg_pool_calls(dtype: Any, n: int) -> Iterator[Call]:
    params = {"windows": OVERLAPPING, "count_padding": True, "divisor": None}
    yield [_random(dtype, n, 3, 5, 4)], params
    yield [_random(dtype, n, 3, 5, 4)], params | {"count_padding": False}


def _avg_unpool_calls(dtype: Any, n: int) -> Iterator[Call]:
    params = {"windows": OVERLAPPING, "count_padding": False, "divisor": None}
    yield [_random(dtype, n, 3, 3, 4)], params
    yield [_random(dtype, n, 3, 3, 4)], params | {"divisor": 5}


@kernel(_pool_calls)
def max_pool(x: Array, *, windows: Any) -> Any:
    """Return the maxima of windows over the last axes of x, one or two, and their places as uint8.

    windows has kernel, stride, padding, dilation, lengths (of x) and sizes (of the result), with a
    number for each axis. Of equal values the first wins, of nans the last. Declines dtypes other
    than float32 and float64, more axes and windows of more than 256 points.
    """
    if not _is_known(x, windows, windows.lengths) or math.prod(windows.kernel) > PLACES:
        return NotImplemented
    images = plain(x).reshape(-1, *pair(windows.lengths, 1))
    shape = x.shape[: x.ndim - len(windows.sizes)] + windows.sizes
    out, place = np.empty(shape, x.dtype), np.empty(shape, np.uint8)
    planes = (len(images), *pair(windows.sizes, 1))
    results = out.reshape(planes), place.reshape(planes)
    if _are_quarters(windows):
        _greatest_of_four(out.size, images, *results)
    else:
        _maxima(out.size * math.prod(windows.kernel), images, *steps(windows), *results)
    return out, place


@kernel(_unpool_calls)
def max_unpool(v: Array, place: Array, *, windows: Any) -> Any:
    """Return zeros with each v added where its window has that place. Declines as `max_pool`."""
    if not _is_known(v, windows, windows.sizes) or math.prod(windows.kernel) > PLACES:
        return NotImplemented
    if place.dtype != np.uint8 or place.shape != v.shape:
        return NotImplemented
    quarters = _are_quarters(windows)
    all_written = quarters and windows.lengths == tuple([2 * n for n in windows.sizes])
    values, images, out = _to_be_filled(v, windows, np.empty if all_written else np.zeros)
    places = plain(place).reshape(values.shape)
    if quarters:
        _put_in_four(out.size, values, places, images)
    else:
        _put(out.size, values, places, *steps(windows), images)
    return out


@kernel(_avg_pool_calls)
def avg_pool(x: Array, *, windows: Any, count_padding: bool, divisor: int | None) -> Any:
    """Return the means of windows over the last axes of x, one or two.

    They are sums over how many points of a window count, or over divisor. count_padding: whether
    those beside x do. Declines dtypes other than float32 and float64, more axes, and a single
    window, of which NumPy's own sums are as fast.
    """
    if not _is_known(x, windows, windows.lengths) or math.prod(windows.sizes) == 1:
        return NotImplemented
    images = plain(x).reshape(-1, *pair(windows.lengths, 1))
    out = np.empty(x.shape[: x.ndim - len(windows.sizes)] + windows.sizes, x.dtype)
    means = out.reshape(len(images), *pair(windows.sizes, 1))
    work = out.size * math.prod(windows.kernel)
    _means(work, images, *steps(windows), bool(count_padding), int(divisor or 0), means)
    return out


@kernel(_avg_unpool_calls)
def avg_unpool(v: Array, *, windows: Any, count_padding: bool, divisor: int | None) -> Any:
    """Return zeros with each v's share added to all points of its window: `avg_pool` transposed."""
    if not _is_known(v, windows, windows.sizes) or math.prod(windows.sizes) == 1:
        return NotImplemented
    values, images, out = _to_be_filled(v, windows)
    work = v.size * math.prod(windows.kernel)
    _spread(work, values, *steps(windows), bool(count_padding), int(divisor or 0), images)
    return out


def _is_known(x: Array, windows: Any, lengths: tuple[int, ...]) -> bool:
    axes = len(windows.kernel)
    return x.dtype in FLOATS and axes <= 2 and x.shape[x.ndim - axes :] == lengths


def _are_quarters(windows: Any) -> bool:
    """Return whether windows are of 2 x 2 points, side by side."""
    plain_steps = ((2, 2), (2, 2), (0, 0), (1, 1))
    if (windows.kernel, windows.stride, windows.padding, windows.dilation) != plain_steps:
        return False
    # With ceil_mode the last one may hang over the end.
    return all(2 * n <= length for n, length in zip(windows.sizes, windows.lengths, strict=True))


def _to_be_filled(v: Array, windows: Any, made_by: Any = np.zeros) -> tuple[Array, Array, Array]:
    """Return v and zeros for its images, as planes, and these zeros in the shape of the result."""
    values = plain(v).reshape(-1, *pair(windows.sizes, 1))
    out = made_by(v.shape[: v.ndim - len(windows.sizes)] + windows.lengths, v.dtype)
    return values, out.reshape(len(values), *pair(windows.lengths, 1)), out


@loop(parallel_from=1 << 14)
def _greatest_of_four(x: Array, out: Array, place: Array) -> None:
    """Do as `_maxima` for windows of 2 x 2 points side by side."""
    two, one = np.uint64(2), np.uint64(1)
    for image in prange(x.shape[0]):
        for i in range(np.uint64(out.shape[1])):
            row = two * i
            for j in range(np.uint64(out.shape[2])):
                column = two * j
                a, b = x[image, row, column], x[image, row, column + one]
                c, d = x[image, row + one, column], x[image, row + one, column + one]
                right = (b > a) | (b != b)
                above, above_place = b if right else a, np.uint8(right)
                right = (d > c) | (d != d)
                below, below_place = d if right else c, np.uint8(2) + np.uint8(right)
                wins = (below > above) | (below != below)
                out[image, i, j] = below if wins else above
                place[image, i, j] = below_place if wins else above_place


@loop(parallel_from=1 << 16)
def _put_in_four(values: Array, places: Array, out: Array) -> None:
    """Do as `_put` for windows of 2 x 2 points side by side."""
    two, one, zero = np.uint64(2), np.uint64(1), values.dtype.type(0)
    for image in prange(values.shape[0]):
        for i in range(np.uint64(values.shape[1])):
            row = two * i
            for j in range(np.uint64(values.shape[2])):
                column, value, place = two * j, values[image, i, j], places[image, i, j]
                out[image, row, column] = value if place == 0 else zero
                out[image, row, column + one] = value if place == 1 else zero
                out[image, row + one, column] = value if place == 2 else zero
                out[image, row + one, column + one] = value if place == 3 else zero


@loop(parallel_from=1 << 14)
def _maxima(
    x: Array,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    out: Array,
    place: Array,
) -> None:
    """Fill ``out`` and ``place``; a window with nothing inside x has -inf and its first place."""
    for image in prange(x.shape[0]):
        for i in range(out.shape[1]):
            top = i * stride[0] - padding[0]
            first_row, last_row = inside(top, dilation[0], kernel[0], x.shape[1])
            for j in range(out.shape[2]):
                left = j * stride[1] - padding[1]
                first, last = inside(left, dilation[1], kernel[1], x.shape[2])
                best, chosen = x.dtype.type(-np.inf), first_row * kernel[1] + first
                for a in range(first_row, last_row):
                    row = np.uint64(top + a * dilation[0])
                    for b in range(first, last):
                        value = x[image, row, np.uint64(left + b * dilation[1])]
                        # No branch, which a random image makes the processor guess wrong.
                        wins = (value > best) | (value != value)
                        best = value if wins else best
                        chosen = a * kernel[1] + b if wins else chosen
                out[image, i, j] = best
                place[image, i, j] = chosen


@loop(parallel_from=1 << 15)
def _put(
    values: Array,
    places: Array,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    out: Array,
) -> None:
    """Add each value to ``out`` where the place in its window is inside."""
    for image in prange(values.shape[0]):
        for i in range(values.shape[1]):
            for j in range(values.shape[2]):
                number = int(places[image, i, j])
                row = i * stride[0] + number // kernel[1] * dilation[0] - padding[0]
                column = j * stride[1] + number % kernel[1] * dilation[1] - padding[1]
                if 0 <= row < out.shape[1] and 0 <= column < out.shape[2]:
                    out[image, row, column] += values[image, i, j]


@loop(parallel_from=1 << 16)
def _means(
    x: Array,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    count_padding: bool,
    divisor: int,
    out: Array,
) -> None:
    """Fill ``out`` with the means of windows: sums of rows, then of what windows see of them."""
    row_shares = _shares(out, 0, kernel, stride, padding, x.shape[1], count_padding, divisor)
    shares = _shares(out, 1, kernel, stride, padding, x.shape[2], count_padding, divisor)
    step = np.uint64(stride[1])
    stretches = seen(kernel[1], stride[1], padding[1], dilation[1], x.shape[2], out.shape[2])
    for image in prange(x.shape[0]):
        sums = np.empty(x.shape[2], x.dtype)
        for i in range(out.shape[1]):
            top = i * stride[0] - padding[0]
            first, last = inside(top, dilation[0], kernel[0], x.shape[1])
            sums[:] = 0
            for a in range(first, last):
                row = np.uint64(top + a * dilation[0])
                for column in range(np.uint64(x.shape[2])):
                    sums[column] += x[image, row, column]
            out[image, i] = 0
            for b in range(kernel[1]):
                first, end, start = stretches[b, 0], stretches[b, 1], stretches[b, 2]
                for j in range(end - first):
                    out[image, i, first + j] += sums[start + j * step]
            for j in range(np.uint64(out.shape[2])):
                out[image, i, j] *= row_shares[i] * shares[j]


@loop(parallel_from=1 << 16)
def _spread(
    values: Array,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    count_padding: bool,
    divisor: int,
    out: Array,
) -> None:
    """Add each value's share to what its window sees, in the opposite order of `_means`."""
    row_shares = _shares(values, 0, kernel, stride, padding, out.shape[1], count_padding, divisor)
    shares = _shares(values, 1, kernel, stride, padding, out.shape[2], count_padding, divisor)
    step = np.uint64(stride[1])
    stretches = seen(kernel[1], stride[1], padding[1], dilation[1], out.shape[2], values.shape[2])
    for image in prange(values.shape[0]):
        sums = np.empty(out.shape[2], out.dtype)
        for i in range(values.shape[1]):
            sums[:] = 0
            for b in range(kernel[1]):
                first, end, start = stretches[b, 0], stretches[b, 1], stretches[b, 2]
                for j in range(end - first):
                    share = values[image, i, first + j] * row_shares[i] * shares[first + j]
                    sums[start + j * step] += share
            top = i * stride[0] - padding[0]
            first, last = inside(top, dilation[0], kernel[0], out.shape[1])
            for a in range(first, last):
                row = np.uint64(top + a * dilation[0])
                for column in range(np.uint64(out.shape[2])):
                    out[image, row, column] += sums[column]


@jit()
def _shares(
    pooled: Array,
    axis: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    length: int,
    count_padding: bool,
    divisor: int,
) -> Array:
    """Return for each window of an axis 1 over how many of its points count.

    If there is a divisor, it is that of the first axis.
    """
    shares = np.empty(pooled.shape[1 + axis], pooled.dtype)
    for i in range(len(shares)):
        start = i * stride[axis] - padding[axis]
        end = start + kernel[axis]
        if divisor > 0:
            count = divisor if axis == 0 else 1
        elif count_padding:
            count = min(end, length + padding[axis]) - start
        else:
            count = min(end, length) - max(start, 0)
        shares[i] = 1 / count
    return shares
