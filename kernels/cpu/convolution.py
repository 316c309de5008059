"""Convolutions, their transposes and the gradient of their weights, as products with columns.

A column is what one window sees, and a convolution the product of the weight with all columns.
They are made for some samples at a time, or for some rows of one, in a buffer that stays in a
core's cache; BLAS reads it there and writes where the result belongs. A place of a window sees what
the place above it saw rows later, so that most of a column's rows are long copies of others; where
the kernel moves by single rows, each of its rows has a product of its own with the same columns, a
third as many for 3 x 3. Each element of a column is worth two operations for each channel of the
result: from some 16 channels on, BLAS has most of the time.

On one thread, float32, 3 x 3 windows padded by 1, of NumPy's time (of torch's, which makes no
columns) took result, weight and way back: for (64, 1, 28, 28) to 16 channels 0.15 (0.2), 0.8 (0.75)
and 0.4 (0.1); for (64, 16, 14, 14) to 32 channels 0.7 (1.7), 0.85 (1.9) and 0.45 (1.4); for
(8, 16, 112, 112) to 16 channels 0.4 (1.5), 0.55 (1.9) and 0.4 (1.5).
"""

import math
from collections.abc import Iterator
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np

from .compiler import FLOATS, Array, Call, jit, kernel, loop, plain, prange
from .windows import OVERLAPPING, Pair, pair, seen, steps

BLOCK = 1 << 17  # elements of columns that are made at a time
DEEP = 16  # places of a kernel's row, in all channels, from which its rows are multiplied alone
MANY = 64  # windows from which a product for each sample is as fast as one for several

Steps = tuple[Pair, Pair, Pair, Pair]

# Beside OVERLAPPING: windows that move by single points.
_DENSE = SimpleNamespace(
    kernel=(2, 3), stride=(1, 1), padding=(1, 0), dilation=(1, 1), lengths=(3, 4), sizes=(4, 2)
)
_LARGE = SimpleNamespace(  # whose rows are multiplied alone
    kernel=(2, 3), stride=(1, 1), padding=(0, 0), dilation=(1, 1), lengths=(9, 10), sizes=(8, 8)
)
_POINTS = SimpleNamespace(
    kernel=(1,), stride=(1,), padding=(0,), dilation=(1,), lengths=(97,), sizes=(97,)
)


def _random(dtype: Any, *shape: int) -> Array:
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def _calls(dtype: Any, n: int) -> Iterator[Call]:
    for windows in (OVERLAPPING, _DENSE, _POINTS):
        x, weight = _random(dtype, n, 2, *windows.lengths), _random(dtype, 4, 1, *windows.kernel)
        yield [x, weight, _random(dtype, 4)], {"windows": windows, "groups": 2}
    x, weight = _random(dtype, 1, 6, *_LARGE.lengths), _random(dtype, 2, 6, *_LARGE.kernel)
    yield [x, weight, _random(dtype, 2)], {"windows": _LARGE, "groups": 1}


def _transpose_calls(dtype: Any, n: int) -> Iterator[Call]:
    for windows in (OVERLAPPING, _DENSE, _POINTS):
        y, weight = _random(dtype, n, 4, *windows.sizes), _random(dtype, 4, 1, *windows.kernel)
        yield [y, weight, _random(dtype, 2)], {"windows": windows, "groups": 2}


def _weight_calls(dtype: Any, n: int) -> Iterator[Call]:
    for windows in (OVERLAPPING, _DENSE, _POINTS):
        x, y = _random(dtype, n, 2, *windows.lengths), _random(dtype, n, 4, *windows.sizes)
        yield [x, y], {"windows": windows, "groups": 2}


@kernel(_calls)
def convolution(
    x: Array, weight: Array, bias: Array | None = None, *, windows: Any, groups: int
) -> Any:
    """Return bias + Σ weight · what each window of x sees, channels cut into groups.

    x (n, c, *lengths), weight (out, c / groups, *kernel), bias (out,); gives (n, out, *sizes).
    Declines dtypes other than float32 and float64, more than two axes and shapes that do not fit.
    """
    fit = x.shape[2:] == windows.lengths and x.shape[1] == groups * weight.shape[1]
    if not (fit and _are_known(windows, x, weight, bias)):
        return NotImplemented
    images = plain(x).reshape(*x.shape[:2], *pair(windows.lengths, 1))
    out = _convolved(images, _grouped(weight, groups), bias, steps(windows), windows.sizes)
    return out.reshape(len(x), len(weight), *windows.sizes)


@kernel(_transpose_calls)
def convolution_transpose(
    y: Array, weight: Array, bias: Array | None = None, *, windows: Any, groups: int
) -> Any:
    """Return the transpose of `convolution` as a map of x, of y, plus bias.

    y (n, out, *sizes), weight (out, c / groups, *kernel), bias (c,); gives (n, c, *lengths).
    Declines as `convolution`.
    """
    fit = y.shape[2:] == windows.sizes and y.shape[1] == len(weight)
    if not (fit and _are_known(windows, y, weight, bias)):
        return NotImplemented
    shape = len(y), groups * weight.shape[1], *windows.lengths
    around = kernel, stride, padding, dilation = steps(windows)
    images = plain(y).reshape(*y.shape[:2], *pair(windows.sizes, 1))
    if stride == (1, 1) and len(weight) <= shape[1]:
        # Points see those that saw them, through a mirrored kernel: columns of no more channels,
        # which also are made for some rows at a time.
        before = tuple(d * (k - 1) - p for k, d, p in zip(kernel, dilation, padding, strict=True))
        mirrored = _grouped(_mirrored(weight, groups), groups)
        around = kernel, stride, (before[0], before[1]), dilation
        return _convolved(images, mirrored, bias, around, windows.lengths).reshape(shape)
    matrix = _grouped(weight, groups).swapaxes(1, 2)
    fill = np.zeros(shape[1], y.dtype) if bias is None else plain(bias)
    out = np.empty((*shape[:2], *pair(windows.lengths, 1)), y.dtype)
    count, width = math.prod(windows.sizes), pair(windows.sizes, 1)[1]
    size = groups * matrix.shape[1] * count
    step = max(1, BLOCK // max(size, 1))
    buffer = np.empty(min(step, len(y)) * size, y.dtype)
    for first in range(0, len(y), step):
        part = images[first : first + step]
        part = part.reshape(len(part), groups, len(weight) // groups, count)
        columns = buffer[: len(part) * size]
        np.matmul(matrix, part, out=columns.reshape(len(part), *matrix.shape[:2], count))
        _add_up(columns.size, columns, *around, width, fill, out[first : first + step])
    return out.reshape(shape)


@kernel(_weight_calls)
def convolution_weight(x: Array, y: Array, *, windows: Any, groups: int) -> Any:
    """Return the gradient of `convolution`'s weight, given x and the gradient y of its result.

    x (n, c, *lengths), y (n, out, *sizes); gives (out, c / groups, *kernel). Declines as
    `convolution`.
    """
    fit = x.shape[2:] == windows.lengths and y.shape[2:] == windows.sizes and len(x) == len(y)
    if not (fit and _are_known(windows, x, y)):
        return NotImplemented
    images = plain(x).reshape(*x.shape[:2], *pair(windows.lengths, 1))
    n, channels, count = len(y), y.shape[1], math.prod(windows.sizes)
    shape = channels, x.shape[1] // groups, *windows.kernel
    rows = math.prod(shape[1:])
    y = plain(y).reshape(n, groups, channels // groups, count)
    # In float64, since there are many blocks.
    out = np.zeros((groups, rows, channels // groups))
    least = max(BLOCK, rows * channels)
    for (samples, windows_of), columns in _columns(
        images, steps(windows), windows.sizes, groups, least
    ):
        part = y[samples, :, :, windows_of]
        if columns.ndim == 3:
            part = part.transpose(1, 2, 0, 3).reshape(*out.shape[::2], columns.shape[2])
            out += np.matmul(columns, part.swapaxes(1, 2))
        else:
            out += np.matmul(columns, part.swapaxes(2, 3)).sum(axis=0)
    return out.swapaxes(1, 2).reshape(shape).astype(x.dtype, copy=False)


def _are_known(windows: Any, x: Array, y: Array, bias: Array | None = None) -> bool:
    dtype = x.dtype
    return (
        dtype in FLOATS
        and y.dtype == dtype
        and (bias is None or bias.dtype == dtype)
        and len(windows.kernel) <= 2
    )


def _grouped(weight: Array, groups: int) -> Array:
    """Return (out, c / groups, *kernel) as (groups, out / groups, c / groups · k)."""
    return weight.reshape(groups, len(weight) // groups, math.prod(weight.shape[1:]))


def _mirrored(weight: Array, groups: int) -> Array:
    """Return (out, c / groups, *kernel) as (c, out / groups, *kernel), the kernels reversed."""
    out, channels, *kernel = weight.shape
    weight = weight.reshape(groups, out // groups, channels, *kernel)
    weight = weight.swapaxes(1, 2).reshape(groups * channels, out // groups, *kernel)
    return np.flip(weight, axis=tuple(range(2, weight.ndim)))


def _convolved(
    x: Array, matrix: Array, bias: Array | None, around: Steps, sizes: tuple[int, ...]
) -> Array:
    """Return the products (n, groups, out / groups, windows) of a matrix with the columns of x."""
    groups, channels, rows = matrix.shape
    kernel, stride = around[:2]
    by_rows = kernel[0] > 1 and stride[0] == 1 and rows >= DEEP * kernel[0]
    if by_rows and math.prod(sizes) >= MANY:
        return _convolved_by_rows(x, matrix, bias, around, sizes)
    shift = None if bias is None else bias.reshape(groups, channels, 1)
    out = np.empty((len(x), groups, channels, math.prod(sizes)), x.dtype)
    least = max(BLOCK, matrix.size)
    for (samples, windows), columns in _columns(x, around, sizes, groups, least):
        part = out[samples, :, :, windows]
        if columns.ndim == 3:
            together = np.matmul(matrix, columns).reshape(groups, channels, *part.shape[::3])
            together = together.transpose(2, 0, 1, 3)
            part[...] = together if shift is None else together + shift
        else:
            np.matmul(matrix, columns, out=part)
            if shift is not None:
                part += shift
    return out


def _convolved_by_rows(
    x: Array, matrix: Array, bias: Array | None, around: Steps, sizes: tuple[int, ...]
) -> Array:
    """Do as `_convolved`, but multiply each row of the kernel by columns of its own.

    For a stride of 1 they are the same columns, some rows of windows later: only as many are made
    as for a kernel of one row. The products are added up, with the bias, when they are written.
    """
    groups, channels, _ = matrix.shape
    kernel, stride, padding, dilation = around
    by_rows = matrix.reshape(groups, channels, -1, *kernel).transpose(3, 0, 1, 2, 4)
    by_rows = by_rows.reshape(*by_rows.shape[:3], by_rows.shape[3] * kernel[1])
    fill = np.zeros(groups * channels, x.dtype) if bias is None else plain(bias)
    count, width = math.prod(sizes), pair(sizes, 1)[1]
    out = np.empty((len(x), groups, channels, count), x.dtype)
    flat = out.reshape(len(x), groups * channels, count)
    around = (1, kernel[1]), stride, padding, dilation
    more = (kernel[0] - 1) * dilation[0]
    buffer = np.empty(0, x.dtype)
    least = max(BLOCK, matrix.size)
    for (samples, windows), columns in _columns(x, around, sizes, groups, least, more):
        part = out[samples, :, :, windows]
        size = kernel[0] * part.size
        if size > buffer.size:
            buffer = np.empty(size, x.dtype)
        products = buffer[:size].reshape(kernel[0], *part.shape)
        for a in range(kernel[0]):
            later = a * dilation[0] * width
            seen_by = columns[..., later : later + part.shape[3]]
            np.matmul(by_rows[a], seen_by, out=products[a])
        _sum(size, buffer[:size], kernel[0], fill, flat, samples.start, windows.start, windows.stop)
    return out


def _columns(
    x: Array, around: Steps, sizes: tuple[int, ...], groups: int, block: int, more: int = 0
) -> Iterator[tuple[tuple[slice, slice], Array]]:
    """Yield some samples and windows of them, and their columns: about a block of elements.

    Columns are (samples, groups, c / groups · k, windows), or, where a sample has few windows,
    those of several side by side: (groups, c / groups · k, samples · windows). The next overwrite
    them. With ``more`` rows of windows than are yielded at a time, they are never side by side.
    """
    n, channels, *lengths = x.shape
    height, width = pair(sizes, 1)
    kernel, stride, padding, _ = around
    rows, together = channels * kernel[0] * kernel[1], height * width < MANY and not more
    points = kernel == stride == (1, 1) and padding == (0, 0) and lengths == [height, width]
    at_once = points and not together and not more
    size = rows * width
    step = max(1, block // max(size * (height + more), 1))
    high = height if size * (height + more) <= block else max(1, block // size - more)
    buffer = np.empty(0 if at_once else min(step, n) * size * (high + more), x.dtype)
    for first, top in product(range(0, n, step), range(0, height, max(high, 1))):
        part = x[first : first + step]
        lines = min(high, height - top)
        key = slice(first, first + step), slice(top * width, (top + lines) * width)
        count = (lines + more) * width
        shape = len(part), groups, rows // groups, count
        if at_once:
            yield key, part.reshape(*shape[:3], height * width)[..., key[1]]
            continue
        columns = buffer[: len(part) * rows * count]
        apart, down = (count, len(part) * count) if together else (rows * count, count)
        _look(columns.size, part, *around, top, lines + more, width, columns, apart, down)
        yield key, columns.reshape((*shape[1:3], len(part) * count) if together else shape)


@loop(parallel_from=1 << 19)
def _sum(
    products: Array, terms: int, fill: Array, out: Array, first: int, start: int, stop: int
) -> None:
    """Add up products and what fills each channel, for windows of samples from ``first`` on."""
    count, channels = np.uint64(stop - start), out.shape[1]
    apart = products.size // terms
    planes = min(apart // max(1, stop - start), (out.shape[0] - first) * channels)
    begin = np.uint64(start)
    for plane in prange(planes):
        sample, channel = first + plane // channels, plane % channels
        at = np.uint64(plane) * count
        for j in range(count):
            out[sample, channel, begin + j] = products[at + j] + fill[channel]
        for term in range(1, terms):
            at = np.uint64(term * apart) + np.uint64(plane) * count
            for j in range(count):
                out[sample, channel, begin + j] += products[at + j]


@loop(parallel_from=1 << 19)
def _look(
    x: Array,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    top: int,
    height: int,
    width: int,
    columns: Array,
    apart: int,
    down: int,
) -> None:
    """Fill columns with what ``height`` rows of windows see of x, from row ``top`` on.

    Samples begin ``apart`` elements from each other, places ``down`` elements.
    """
    channels, places = x.shape[1], kernel[0] * kernel[1]
    stretches = seen(kernel[1], stride[1], padding[1], dilation[1], x.shape[3], width)
    step = np.uint64(stride[1])
    again, shift = _shared(stride[0], dilation[0], height)
    for plane in prange(x.shape[0] * channels):
        sample, channel = plane // channels, plane % channels
        base = sample * apart + channel * places * down
        for a in range(kernel[0]):
            for b in range(kernel[1]):
                at = np.uint64(base + (a * kernel[1] + b) * down)
                done = again if a > 0 else 0
                if done > 0:
                    above = np.uint64(base + ((a - 1) * kernel[1] + b) * down + shift * width)
                    for t in range(np.uint64(done * width)):
                        columns[at + t] = columns[above + t]
                first, end, start = stretches[b, 0], stretches[b, 1], stretches[b, 2]
                for i in range(done, height):
                    row = (top + i) * stride[0] + a * dilation[0] - padding[0]
                    here = at + np.uint64(i * width)
                    if row < 0 or row >= x.shape[2]:
                        for j in range(np.uint64(width)):
                            columns[here + j] = 0
                    else:
                        inside = np.uint64(row)
                        for j in range(first):
                            columns[here + j] = 0
                        for j in range(end - first):
                            columns[here + first + j] = x[sample, channel, inside, start + j * step]
                        for j in range(end, np.uint64(width)):
                            columns[here + j] = 0


@loop(parallel_from=1 << 19)
def _add_up(
    columns: Array,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    width: int,
    fill: Array,
    out: Array,
) -> None:
    """Fill the channels of ``out`` and add columns where they saw it, which changes them."""
    channels, places = out.shape[1], kernel[0] * kernel[1]
    count = columns.size // max(1, out.shape[0] * channels * places)
    height = count // max(width, 1)
    stretches = seen(kernel[1], stride[1], padding[1], dilation[1], out.shape[3], width)
    step = np.uint64(stride[1])
    again, shift = _shared(stride[0], dilation[0], height)
    for plane in prange(out.shape[0] * channels):
        sample, channel = plane // channels, plane % channels
        out[sample, channel] = fill[channel]
        for a in range(kernel[0] - 1, -1, -1):
            for b in range(kernel[1]):
                at = np.uint64((plane * places + a * kernel[1] + b) * count)
                done = again if a > 0 else 0
                if done > 0:
                    above = np.uint64(
                        (plane * places + (a - 1) * kernel[1] + b) * count + shift * width
                    )
                    for t in range(np.uint64(done * width)):
                        columns[above + t] += columns[at + t]
                first, end, start = stretches[b, 0], stretches[b, 1], stretches[b, 2]
                for i in range(done, height):
                    row = i * stride[0] + a * dilation[0] - padding[0]
                    here = at + np.uint64(i * width)
                    if row >= 0 and row < out.shape[2]:
                        inside = np.uint64(row)
                        for j in range(end - first):
                            out[sample, channel, inside, start + j * step] += columns[
                                here + first + j
                            ]


@jit()
def _shared(stride: int, dilation: int, height: int) -> Pair:
    """Return of how many rows a place sees what the place above it sees so many rows later."""
    shift = dilation // stride
    return (max(0, height - shift), shift) if shift * stride == dilation else (0, 0)
