"""Launches softmax.cu: softmax and log-softmax along the last axis, forward and backward."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .launcher import FLOATS, NAMES, Array, Call, Device, kernel, plain

THREADS = 128  # of a block, as in the source
LONG = 1 << 10  # of such rows a block takes one, of shorter ones four. Not measured yet on a card.
MOST_BLOCKS = 1 << 14


def _calls(dtype: Any, n: int) -> Iterator[Call]:
    rng = np.random.default_rng(0)
    yield [3 * rng.normal(size=(2, n, 3)).astype(dtype)], {"axis": 2}
    yield [3 * rng.normal(size=(2, n)).astype(dtype)], {"axis": 1}
    yield [3 * rng.normal(size=(2, 8 * n)).astype(dtype)], {"axis": 1}
    yield [3 * rng.normal(size=(min(n, 5), LONG + 1)).astype(dtype)], {"axis": 1}
    yield [3 * rng.normal(size=(min(n, 5), LONG + 8)).astype(dtype)], {"axis": 1}


def _backward_calls(dtype: Any, n: int) -> Iterator[Call]:
    for (x,), params in _calls(dtype, n):
        weights = np.exp(-np.abs(x) / 4)
        yield [np.cos(x), weights / weights.sum(-1, keepdims=True)], params


def _log_backward_calls(dtype: Any, n: int) -> Iterator[Call]:
    for (g, out), params in _backward_calls(dtype, n):
        yield [g, np.log(out)], params


@kernel(_calls)
def softmax(device: Device, x: Array, *, axis: int) -> Any:
    """Return exp(x) over its sum along the last axis; declines other axes and dtypes."""
    return _launch(device, "softmax", axis, x)


@kernel(_calls)
def log_softmax(device: Device, x: Array, *, axis: int) -> Any:
    """Return the logarithm of `softmax`, but not of its zeros. Declines as that does."""
    return _launch(device, "log_softmax", axis, x)


@kernel(_backward_calls)
def softmax_backward(device: Device, g: Array, out: Array, *, axis: int) -> Any:
    """Return the cotangent of softmax's x from that of its result."""
    return _launch(device, "softmax_backward", axis, g, out)


@kernel(_log_backward_calls)
def log_softmax_backward(device: Device, g: Array, out: Array, *, axis: int) -> Any:
    """Return the cotangent of log_softmax's x from that of its result."""
    return _launch(device, "log_softmax_backward", axis, g, out)


def _launch(device: Device, name: str, axis: int, *arrays: Array) -> Any:
    shape, dtype = arrays[0].shape, arrays[0].dtype
    if dtype not in FLOATS or any((a.dtype, a.shape) != (dtype, shape) for a in arrays):
        return NotImplemented
    if axis != len(shape) - 1:
        return NotImplemented
    made, given = device.empty(shape, dtype), [plain(a) for a in arrays]
    if made.size:
        length = shape[axis]
        rows, by_block = made.size // length, length >= LONG
        blocks = rows if by_block else -(-rows // (THREADS // 32))
        device.launch(
            *("softmax", f"{name}_{NAMES[dtype]}_{'block' if by_block else 'warp'}"),
            *(min(blocks, MOST_BLOCKS), THREADS, *given, rows, length),
            *(device.has_vectors(length, made, *given), made),
        )
    return made
