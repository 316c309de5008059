"""Windows over the last axes of images, as the kernels of pooling and convolutions know them.

An op's param ``windows`` has kernel, stride, padding, dilation, lengths (of the images) and sizes
(how many windows there are), with a number for each axis. Loops are over two axes: an image of one
axis is a single row. What is here works out before a loop over points which of them lie inside the
image, so that the loop itself asks nothing. It runs once for a call or a row of windows, and reads
no array: its few divisions of integers are all it costs.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np

from .compiler import Array, jit

Pair = tuple[int, int]

#: For calls: overlapping windows that hang over every edge of images of 5 x 4 points.
OVERLAPPING = SimpleNamespace(
    kernel=(3, 2), stride=(2, 1), padding=(1, 1), dilation=(1, 2), lengths=(5, 4), sizes=(3, 4)
)


def pair(numbers: tuple[int, ...], fill: int) -> Pair:
    """Return a number for each of two axes: those of the last ones, after ``fill``."""
    first, second = (fill,) * (2 - len(numbers)) + numbers
    return int(first), int(second)


def steps(windows: Any) -> tuple[Pair, Pair, Pair, Pair]:
    """Return kernel, stride, padding and dilation over two axes."""
    kernel, stride = pair(windows.kernel, 1), pair(windows.stride, 1)
    return kernel, stride, pair(windows.padding, 0), pair(windows.dilation, 1)


@jit()
def inside(start: int, dilation: int, kernel: int, length: int) -> Pair:
    """Return the first place of a window along an axis that is inside, and the last plus 1."""
    first, last = 0, kernel
    if start < 0:
        first = -(start // dilation)
    if start + (kernel - 1) * dilation >= length:
        last = -((start - length) // dilation)
    return first, last


@jit()
def seen(kernel: int, stride: int, padding: int, dilation: int, length: int, size: int) -> Array:
    """Return which windows of an axis see a point inside, for each of their places.

    A row holds the first of them, the one after the last, and where the first sees: (kernel, 3).
    To be called outside of loops: integers divide slowly.
    """
    stretches = np.zeros((kernel, 3), np.uint64)
    for k in range(kernel):
        shift = k * dilation - padding
        first = max(0, -(shift // stride))
        end = min(size, -((shift - length) // stride))
        if first < end:
            stretches[k, 0], stretches[k, 1] = first, end
            stretches[k, 2] = first * stride + shift
    return stretches
