"""Maxima of windows of images, and their way back, in one pass over the image."""

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from .compiler import FLOATS, Array, Call, jit, kernel, loop, plain, prange

PLACES = 256  # that uint8 can tell apart


# Overlapping windows that hang over every edge of images of 5 x 4 points.
_WINDOWS = SimpleNamespace(
    kernel=(3, 2), stride=(2, 1), padding=(1, 1), dilation=(1, 2), lengths=(5, 4), sizes=(3, 4)
)


def _pool_calls(dtype: Any, n: int) -> Iterator[Call]:
    x = np.random.default_rng(0).normal(size=(n, 3, 5, 4)).astype(dtype)
    yield [x], {"windows": _WINDOWS}


def _unpool_calls(dtype: Any, n: int) -> Iterator[Call]:
    rng = np.random.default_rng(0)
    v, place = rng.normal(size=(n, 3, 3, 4)).astype(dtype), rng.integers(0, 6, (n, 3, 3, 4))
    yield [v, place.astype(np.uint8)], {"windows": _WINDOWS}


@kernel(_pool_calls)
def max_pool(x: Array, *, windows: Any) -> Any:
    """Return the maxima of windows over the last axes of x, one or two, and their places as uint8.

    windows has kernel, stride, padding, dilation, lengths (of x) and sizes (of the result), with a
    number for each axis. Of equal values the first wins, of nans the last. Declines dtypes other
    than float32 and float64, more axes and windows of more than 256 points.
    """
    if not _is_known(x, windows, windows.lengths):
        return NotImplemented
    images = plain(x).reshape(-1, *_plane(windows.lengths, 1))
    shape = x.shape[: x.ndim - len(windows.sizes)] + windows.sizes
    out, place = np.empty(shape, x.dtype), np.empty(shape, np.uint8)
    planes = (len(images), *_plane(windows.sizes, 1))
    work = out.size * math.prod(windows.kernel)
    _maxima(work, images, *_steps(windows), out.reshape(planes), place.reshape(planes))
    return out, place


@kernel(_unpool_calls)
def max_unpool(v: Array, place: Array, *, windows: Any) -> Any:
    """Return zeros with each v added where its window has that place. Declines as `max_pool`."""
    if not _is_known(v, windows, windows.sizes):
        return NotImplemented
    if place.dtype != np.uint8 or place.shape != v.shape:
        return NotImplemented
    values = plain(v).reshape(-1, *_plane(windows.sizes, 1))
    out = np.zeros(v.shape[: v.ndim - len(windows.sizes)] + windows.lengths, v.dtype)
    images = out.reshape(len(values), *_plane(windows.lengths, 1))
    _put(out.size, values, plain(place).reshape(values.shape), *_steps(windows), images)
    return out


def _is_known(x: Array, windows: Any, lengths: tuple[int, ...]) -> bool:
    axes = len(windows.kernel)
    return (
        x.dtype in FLOATS
        and axes <= 2
        and math.prod(windows.kernel) <= PLACES
        and x.shape[x.ndim - axes :] == lengths
    )


def _plane(numbers: tuple[int, ...], fill: int) -> tuple[int, ...]:
    """Return a pair: what one axis has, with an axis of a single point before it."""
    return (fill,) * (2 - len(numbers)) + numbers


def _steps(windows: Any) -> tuple[tuple[int, ...], ...]:
    kernel, stride = _plane(windows.kernel, 1), _plane(windows.stride, 1)
    return kernel, stride, _plane(windows.padding, 0), _plane(windows.dilation, 1)


@loop(parallel_from=1 << 20)
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
            first_row, last_row = _inside(top, dilation[0], kernel[0], x.shape[1])
            for j in range(out.shape[2]):
                left = j * stride[1] - padding[1]
                first, last = _inside(left, dilation[1], kernel[1], x.shape[2])
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


@jit()
def _inside(start: int, dilation: int, kernel: int, length: int) -> tuple[int, int]:
    """Return the first place of a window along an axis that is inside x, and the last plus 1."""
    first, last = 0, kernel
    if start < 0:
        first = -(start // dilation)
    if start + (kernel - 1) * dilation >= length:
        last = -((start - length) // dilation)
    return first, last


@loop(parallel_from=1 << 20)
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
