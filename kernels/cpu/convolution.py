"""Convolutions, their transposes and the gradient of their weights, as products in registers.

Each thread takes some samples, or some rows of windows of one, at a time. It writes their padded
images into a buffer that stays in its core's cache. A window that moves by single points sees what
the one before it saw one number further on: each place of the kernel is a stretch of the buffer as
long as all windows, and eight channels of the result, a vector of windows each, are added up in
registers over all places, with no columns made. Where windows move further, or are few, columns are
gathered from the buffer and read in the same way. For the gradient of the weight the vectors are
channels of y, brought side by side, and what is added up are the windows. Transposes are
convolutions with a mirrored kernel, or products whose rows are added to what windows saw. Each
number of the result is worth two operations for each place of the kernel and channel of the image:
the processor decides, and makes the same bits on any number of threads.

On one thread, float32, 3 x 3 windows padded by 1, of NumPy's time (of torch's) took result, weight
and way back: for (64, 1, 28, 28) to 16 channels 0.45 (0.7), 1.0 (0.8) and 0.85 (0.4); for
(64, 16, 14, 14) to 32 channels 0.55 (1.1), 0.55 (1.1) and 0.5 (1.2); for (8, 16, 112, 112) to 16
channels 0.25 (1.0), 0.4 (1.4) and 0.25 (0.95).
"""

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from .compiler import FLOATS, Array, Call, jit, kernel, loop, plain, prange
from .vectors import LONG, WIDTH, load, load_like, load_long, multiply_add, store
from .windows import OVERLAPPING, Pair, pair, seen, steps

BLOCK = 1 << 16  # numbers of images, or of columns, that are made at a time
WINDOWS = 1 << 10  # that are computed at a time
SUMMED = 1 << 7  # windows whose products are added up in their own dtype: to 1e-6, if all are alike
MANY = 48  # windows from which products read images and not columns
TILE = 8  # sums, each a vector, that stay in registers
TURNED = 32  # windows whose channels are brought side by side while they are near
SHARES = 8  # of the samples, whose gradients are added up apart

Steps = tuple[Pair, Pair, Pair, Pair]

# Beside OVERLAPPING: windows that move by single points.
_DENSE = SimpleNamespace(
    kernel=(2, 3), stride=(1, 1), padding=(1, 0), dilation=(1, 1), lengths=(3, 4), sizes=(4, 2)
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
    out = np.empty((len(x), len(weight), *windows.sizes), x.dtype)
    _convolve_into(out, _images(x), weight, bias, steps(windows), int(groups))
    return out


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
    channels, groups = groups * weight.shape[1], int(groups)
    around = kernel, stride, padding, dilation = steps(windows)
    out = np.empty((len(y), channels, *windows.lengths), y.dtype)
    if stride == (1, 1) and len(weight) <= 2 * channels:
        # Points see those that saw them, through a mirrored kernel. The reference has this rule,
        # since what lies beside y is multiplied by weights, which may be infinite.
        before = tuple(d * (k - 1) - p for k, d, p in zip(kernel, dilation, padding, strict=True))
        around = kernel, stride, (before[0], before[1]), dilation
        _convolve_into(out, _images(y), _mirrored(weight, groups), bias, around, groups)
    else:
        images, rows = _images(y), math.prod(weight.shape[1:])
        high, samples = _block(images.shape, WINDOWS, len(weight) // groups * images.shape[3], 0)
        fill = _filling(bias, channels, y.dtype)
        work = images.size * max(rows, TILE)
        given = images, plain(weight).ravel(), fill, groups
        _spread(work, *given, *around, high, samples, _images(out))
    return out


@kernel(_weight_calls)
def convolution_weight(x: Array, y: Array, *, windows: Any, groups: int) -> Any:
    """Return the gradient of `convolution`'s weight, given x and the gradient y of its result.

    x (n, c, *lengths), y (n, out, *sizes); gives (out, c / groups, *kernel). Declines as
    `convolution`.
    """
    fit = x.shape[2:] == windows.lengths and y.shape[2:] == windows.sizes and len(x) == len(y)
    if not (fit and _are_known(windows, x, y)):
        return NotImplemented
    seen_by, outs = _images(y), y.shape[1] // groups
    n, _, height, width = seen_by.shape
    shape = y.shape[1], x.shape[1] // groups, *windows.kernel
    rows, lanes = math.prod(shape[1:]), WIDTH // x.itemsize
    around = kernel, stride, _, dilation = steps(windows)
    row = shape[1] * stride[0] * ((width - 1) * stride[1] + (kernel[1] - 1) * dilation[1] + 1)
    # Both are read from one place to the next, and need not be in the cache's nearest part.
    high, samples = _block(
        seen_by.shape, SUMMED, max(outs * width // 2, row // 4), kernel[0] * dilation[0]
    )
    blocks = -(-n // samples) * -(-height // high)
    each = max(1, -(-blocks // SHARES))
    # In float64, since there are many blocks.
    out = np.zeros((-(-blocks // each), groups, -(-rows // TILE) * TILE, -(-outs // lanes) * lanes))
    work = y.size * max(rows, TILE)
    _weigh(work, _images(x), seen_by, int(groups), *around, high, samples, each, out)
    return (
        out.sum(axis=0)[:, :rows, :outs].swapaxes(1, 2).reshape(shape).astype(x.dtype, copy=False)
    )


def _are_known(windows: Any, x: Array, y: Array, bias: Array | None = None) -> bool:
    dtype = x.dtype
    return (
        dtype in FLOATS
        and y.dtype == dtype
        and (bias is None or bias.dtype == dtype)
        and len(windows.kernel) <= 2
    )


def _mirrored(weight: Array, groups: int) -> Array:
    """Return (out, c / groups, *kernel) as (c, out / groups, *kernel), the kernels reversed."""
    out, channels, *kernel = weight.shape
    weight = weight.reshape(groups, out // groups, channels, *kernel)
    weight = weight.swapaxes(1, 2).reshape(groups * channels, out // groups, *kernel)
    return np.flip(weight, axis=tuple(range(2, weight.ndim)))


def _filling(bias: Array | None, channels: int, dtype: Any) -> Array:
    return np.zeros(channels, dtype) if bias is None else plain(bias)


def _images(x: Array) -> Array:
    """Return x (n, c, *lengths) as plain images of two axes."""
    return plain(x).reshape(*x.shape[:2], *pair(x.shape[2:], 1))


def _convolve_into(
    out: Array, x: Array, weight: Array, bias: Array | None, around: Steps, groups: int
) -> None:
    """Fill out with what `convolution` returns, of images of two axes and steps over two."""
    n, channels, height, width = _images(out).shape
    depth = x.shape[1] // groups
    kernel, stride, padding, dilation = around
    points = kernel == stride == (1, 1) and padding == (0, 0)
    if points and height * width <= WINDOWS:  # as one row
        x, height, width = x.reshape(*x.shape[:2], 1, height * width), 1, height * width
    made = out.reshape(n, channels, height, width)
    direct = stride == (1, 1) and height * width >= MANY
    wide = (width - 1) * stride[1] + (kernel[1] - 1) * dilation[1] + 1
    terms = depth * kernel[0] * kernel[1]
    row = depth * wide if direct else terms * width
    high, samples = _block(made.shape, WINDOWS, row, kernel[0] * dilation[0] if direct else 0)
    samples = 1 if direct else samples
    work = n * height * width * terms * max(channels, groups * TILE)
    weights, fill = plain(weight).ravel(), _filling(bias, channels, x.dtype)
    _convolve(work, x, weights, fill, groups, *around, direct, high, samples, made)


def _block(shape: tuple[int, ...], windows: int, row: int, more: int) -> Pair:
    """Return how many rows of windows of how many samples to compute at a time.

    windows: at most, where a row has no more. row: how many numbers a row needs, ``more`` how many
    rows there are beside them. Bands of rows are about as high as each other.
    """
    n, _, height, width = shape
    most = max(1, min(BLOCK // max(row, 1) - more, windows // max(width, 1)))
    if height > most:
        bands = -(-height // most)
        return -(-height // bands), 1
    return max(height, 1), max(1, min(most // max(height, 1), n))


@loop(parallel_from=1 << 20)
def _convolve(
    x: Array,
    weight: Array,
    fill: Array,
    groups: int,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    direct: bool,
    high: int,
    samples: int,
    out: Array,
) -> None:
    """Fill ``out`` with products, block by block of ``samples`` samples and ``high`` rows.

    direct: the buffer has padded images and not columns.
    """
    n, channels, height, width = out.shape
    outs, depth = channels // groups, x.shape[1] // groups
    terms = depth * kernel[0] * kernel[1]
    wide = (width - 1) * stride[1] + (kernel[1] - 1) * dilation[1] + 1
    more = (kernel[0] - 1) * dilation[0] + 1
    apart = ((high - 1) * stride[0] + more) * wide
    size, spare = samples * apart, LONG // x.itemsize
    starts, along = _places(outs, (1, 1), terms, 0, 0), _places(terms, (1, 1), 1, 0, 0)
    places = _places(depth, kernel, size, dilation[0] * wide, dilation[1])
    windows = _places(samples, (high, width), apart, stride[0] * wide, stride[1])
    between, step = (wide, size + spare) if direct else (width, samples * high * width + spare)
    stretches = places if direct else _places(terms, (1, 1), step, 0, 0)
    bands = (height + high - 1) // high
    for block in prange((n + samples - 1) // samples * bands):
        first, top = block // bands * samples, block % bands * high
        part, lines = min(samples, n - first), min(high, height - top)
        points, products = np.zeros(depth * size + spare, x.dtype), np.zeros(TILE * step, x.dtype)
        source = points if direct else np.zeros(terms * step, x.dtype)
        count = (part * lines - 1) * between + width
        for g in range(groups):
            images = x[first : first + part, g * depth : (g + 1) * depth]
            tall = (lines - 1) * stride[0] + more
            _look(images, padding, top * stride[0], tall, wide, points, size)
            matrix = weight[g * outs * terms :]
            if not direct:
                for k in range(terms):
                    at, place = np.uint64(k * step), places[k]
                    for t in range(np.uint64(count)):
                        source[at + t] = points[place + windows[t]]
            for o in range(0, outs, TILE):
                several = min(TILE, outs - o)
                for t in range(several):
                    products[t * step : t * step + count] = fill[g * outs + o + t]
                _add_products(
                    matrix, starts[o:], along, terms, source, stretches, count, products, step
                )
                for t in range(several):
                    for s in range(part):
                        for i in range(lines):
                            at = np.uint64(t * step + (s * lines + i) * between)
                            for j in range(np.uint64(width)):
                                out[first + s, g * outs + o + t, top + i, j] = products[at + j]


@loop(parallel_from=1 << 20)
def _spread(
    y: Array,
    weight: Array,
    fill: Array,
    groups: int,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    high: int,
    samples: int,
    out: Array,
) -> None:
    """Fill the channels of ``out`` and add to what windows saw the products with y."""
    n, channels = out.shape[:2]
    height, width = y.shape[2:]
    outs, depth = y.shape[1] // groups, channels // groups
    rows, size = depth * kernel[0] * kernel[1], samples * high * width
    starts, along = _places(rows, (1, 1), 1, 0, 0), _places(outs, (1, 1), rows, 0, 0)
    places = _places(outs, (1, 1), size, 0, 0)
    stretches = seen(kernel[1], stride[1], padding[1], dilation[1], out.shape[3], width)
    right, spare = np.uint64(stride[1]), LONG // y.itemsize
    step = size + spare
    for share in prange((n + samples - 1) // samples * groups):
        begin, g = share // groups * samples, share % groups
        part = min(samples, n - begin)
        images = y[begin : begin + part, g * outs : (g + 1) * outs]
        points, products = np.zeros(outs * size + spare, y.dtype), np.empty(TILE * step, y.dtype)
        for s in range(part):
            for c in range(g * depth, (g + 1) * depth):
                out[begin + s, c] = fill[c]
        for top in range(0, height, high):
            lines = min(high, height - top)
            _look(images, (0, 0), top, lines, width, points, size)
            for row in range(0, rows, TILE):
                products[:] = 0
                matrix, count = weight[g * outs * rows :], part * lines * width
                _add_products(
                    matrix, starts[row:], along, outs, points, places, count, products, step
                )
                for t in range(min(TILE, rows - row)):
                    c, place = divmod(row + t, kernel[0] * kernel[1])
                    a, b = divmod(place, kernel[1])
                    first, end, start = stretches[b, 0], stretches[b, 1], stretches[b, 2]
                    for s in range(part):
                        for i in range(lines):
                            line = (top + i) * stride[0] + a * dilation[0] - padding[0]
                            if line >= 0 and line < out.shape[2]:
                                at = np.uint64(t * step + (s * lines + i) * width) + first
                                inside = np.uint64(line)
                                for j in range(end - first):
                                    out[begin + s, g * depth + c, inside, start + j * right] += (
                                        products[at + j]
                                    )


@loop(parallel_from=1 << 20)
def _weigh(
    x: Array,
    y: Array,
    groups: int,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    high: int,
    samples: int,
    blocks: int,
    out: Array,
) -> None:
    """Add to each share of ``out`` the products of ``blocks`` blocks of x and y.

    out (shares, groups, c / groups · k, out / groups), the last two rounded up to whole tiles.
    """
    n, channels, height, width = y.shape
    outs, depth = channels // groups, x.shape[1] // groups
    rows, lanes = out.shape[2:]
    wide = (width - 1) * stride[1] + (kernel[1] - 1) * dilation[1] + 1
    more = (kernel[0] - 1) * dilation[0] + 1
    apart = ((high - 1) * stride[0] + more) * wide
    size = samples * apart
    starts = _places(depth, kernel, size, dilation[0] * wide, dilation[1])
    along = _places(samples, (high, width), apart, stride[0] * wide, stride[1])
    places = _places(samples * high * width, (1, 1), lanes, 0, 0)
    gradients = y.reshape(y.size)
    bands = (height + high - 1) // high
    end = (n + samples - 1) // samples * bands
    for share in prange(out.shape[0]):
        points = np.empty(depth * size, x.dtype)
        turned = np.zeros(samples * high * width * lanes + LONG // x.itemsize, x.dtype)
        sums = np.empty(TILE * lanes + LONG // x.itemsize, x.dtype)
        for block in range(share * blocks, min((share + 1) * blocks, end)):
            first, top = block // bands * samples, block % bands * high
            part, lines = min(samples, n - first), min(high, height - top)
            tall, above = (lines - 1) * stride[0] + more, top * stride[0]
            for g in range(groups):
                images = x[first : first + part, g * depth : (g + 1) * depth]
                _look(images, padding, above, tall, wide, points, size)
                count = lines * width
                for s in range(part):
                    for begin in range(0, count, TURNED):
                        many = np.uint64(min(TURNED, count - begin))
                        for o in range(outs):
                            at = np.uint64((s * count + begin) * lanes + o)
                            plane = (first + s) * channels + g * outs + o
                            point = np.uint64((plane * height + top) * width + begin)
                            for j in range(many):
                                turned[at + j * np.uint64(lanes)] = gradients[point + j]
                for row in range(0, rows, TILE):
                    sums[:] = 0
                    terms = part * count
                    _add_products(
                        points, starts[row:], along, terms, turned, places, outs, sums, lanes
                    )
                    for t in range(TILE):
                        at = np.uint64(t * lanes)
                        for lane in range(np.uint64(lanes)):
                            out[share, g, row + t, lane] += sums[at + lane]


@jit()
def _places(count: int, kernel: Pair, apart: int, down: int, right: int) -> Array:
    """Return where a kernel's places lie in each of some images, and zeros up to a tile."""
    number = count * kernel[0] * kernel[1]
    places = np.zeros((number + TILE - 1) // TILE * TILE, np.uint64)
    at = 0
    for c in range(count):
        for a in range(kernel[0]):
            for b in range(kernel[1]):
                places[at] = c * apart + a * down + b * right
                at += 1
    return places


@jit()
def _look(
    x: Array, padding: Pair, top: int, height: int, width: int, points: Array, size: int
) -> None:
    """Write some rows of images, padded, into points, from row ``top`` on.

    Channels begin ``size`` elements from each other, and have the images of all samples.
    """
    first = min(max(padding[1], 0), width)
    end = max(min(x.shape[3] + padding[1], width), first)
    start = np.uint64(first - padding[1])
    for channel in range(x.shape[1]):
        for sample in range(x.shape[0]):
            for i in range(height):
                row = top + i - padding[0]
                here = np.uint64(channel * size + (sample * height + i) * width)
                if row < 0 or row >= x.shape[2]:
                    for j in range(np.uint64(width)):
                        points[here + j] = 0
                else:
                    inside = np.uint64(row)
                    for j in range(np.uint64(first)):
                        points[here + j] = 0
                    for j in range(np.uint64(end - first)):
                        points[here + np.uint64(first) + j] = x[sample, channel, inside, start + j]
                    for j in range(np.uint64(end), np.uint64(width)):
                        points[here + j] = 0


@jit()
def _add_products(
    a: Array,
    starts: Array,
    along: Array,
    terms: int,
    b: Array,
    places: Array,
    count: int,
    out: Array,
    step: int,
) -> None:
    """Add Σ a[starts[t] + along[k]] · b[places[k] + j] to out[t · step + j], for a tile's t.

    j is below ``count``, rounded up to vectors.
    """
    long, short = np.uint64(LONG // b.itemsize), np.uint64(WIDTH // b.itemsize)
    lane, end = np.uint64(0), np.uint64(count)
    while lane + short < end:
        _add_tile(
            load_long(b, lane), a, starts, along, terms, b, places, lane, out, np.uint64(step)
        )
        lane += long
    if lane < end:
        _add_tile(load(b, lane), a, starts, along, terms, b, places, lane, out, np.uint64(step))


@jit()
def _add_tile(
    like: Any,
    a: Array,
    starts: Array,
    along: Array,
    terms: int,
    b: Array,
    places: Array,
    lane: Any,
    out: Array,
    step: Any,
) -> None:
    """Do as `_add_products` for j from ``lane`` on, as many as the vector ``like`` has.

    The sums stay in registers: each vector of b is used for all of them.
    """
    p0, p1, p2, p3 = starts[0], starts[1], starts[2], starts[3]
    p4, p5, p6, p7 = starts[4], starts[5], starts[6], starts[7]
    o0 = lane
    o1 = o0 + step
    o2 = o1 + step
    o3 = o2 + step
    o4 = o3 + step
    o5 = o4 + step
    o6 = o5 + step
    o7 = o6 + step
    s0, s1 = load_like(like, out, o0), load_like(like, out, o1)
    s2, s3 = load_like(like, out, o2), load_like(like, out, o3)
    s4, s5 = load_like(like, out, o4), load_like(like, out, o5)
    s6, s7 = load_like(like, out, o6), load_like(like, out, o7)
    for k in range(np.uint64(terms)):
        vector, at = load_like(like, b, places[k] + lane), along[k]
        s0, s1 = multiply_add(a[p0 + at], vector, s0), multiply_add(a[p1 + at], vector, s1)
        s2, s3 = multiply_add(a[p2 + at], vector, s2), multiply_add(a[p3 + at], vector, s3)
        s4, s5 = multiply_add(a[p4 + at], vector, s4), multiply_add(a[p5 + at], vector, s5)
        s6, s7 = multiply_add(a[p6 + at], vector, s6), multiply_add(a[p7 + at], vector, s7)
    store(out, o0, s0)
    store(out, o1, s1)
    store(out, o2, s2)
    store(out, o3, s3)
    store(out, o4, s4)
    store(out, o5, s5)
    store(out, o6, s6)
    store(out, o7, s7)
