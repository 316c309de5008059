"""Launches philox.cu: random bits, dropout and its derivative, each in one launch."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .launcher import FLOATS, NAMES, VECTOR, Array, Call, Device, kernel, plain, wide

THREADS = 256  # of a block, as in the source
MOST_BLOCKS = 1 << 14  # beyond, a thread has more to do. Not measured yet on a card.


def _bits_calls(dtype: Any, n: int) -> Iterator[Call]:
    yield [np.array([2**63 + 1, 7, 2**32 - 2], np.uint64)], {"size": n}


def _masked_calls(dtype: Any, n: int) -> Iterator[Call]:
    rng = np.random.default_rng(0)
    for shape in ((n, 3), (n, 1)):
        yield [rng.normal(size=(n, 3)).astype(dtype), rng.random(shape) < 0.5], {"scale": 1.25}


def _dropout_calls(dtype: Any, n: int) -> Iterator[Call]:
    for (x, mask), params in _masked_calls(dtype, n):
        state = np.array([2**63 + 1, 7, 5], np.uint64)
        yield [x, state], {"keep": 0.8, "shape": mask.shape, **params}


def _blocks(threads: int) -> int:
    return min(max(-(-threads // THREADS), 1), MOST_BLOCKS)


def _is_state(state: Array) -> bool:
    return bool(state.dtype == np.uint64 and state.shape == (3,))


@kernel(_bits_calls)
def random_bits(device: Device, state: Array, *, size: int) -> Any:
    """Return ``size`` random uint32 and advance ``state``, uint64 (key, stream, counter)."""
    if not _is_state(state) or not state.flags.c_contiguous:
        return NotImplemented
    words = device.empty((size,), np.uint32)
    blocks = _blocks(-(-size // 4))
    device.launch("philox", "random_bits", blocks, THREADS, state, words, size, device.counter())
    return words


@kernel(_masked_calls)
def masked(device: Device, x: Array, mask: Array, *, scale: float) -> Any:
    """Return scale * x where ``mask`` is true, 0 elsewhere.

    The shape of the mask is that of x, or has ones from some axis on. Declines other shapes.
    """
    if mask.dtype != np.bool_:
        return NotImplemented
    return _launch(device, "masked", x, None, 0, scale, plain(mask))


@kernel(_dropout_calls)
def dropout(
    device: Device, x: Array, state: Array, *, keep: float, scale: float, shape: tuple[int, ...]
) -> Any:
    """Return ``masked`` and its mask, true with probability ``keep``, drawn from ``state``.

    Element i of the mask comes from word i of the blocks from the state's counter on. Declines as
    ``masked`` does.
    """
    if not _is_state(state):
        return NotImplemented
    mask = device.empty(shape, np.bool_)
    # A word's upper 24 bits are a float32 in [0, 1), kept if it is less than float32(keep).
    least_dropped = math.ceil(float(np.float32(keep)) * 2**24)
    out = _launch(device, "dropout", x, plain(state), least_dropped, scale, mask)
    return out if out is NotImplemented else (out, mask)


def _launch(
    device: Device,
    name: str,
    x: Array,
    state: Array | None,
    least_dropped: int,
    scale: float,
    mask: Array,
) -> Any:
    shared = _shared(x, mask.shape)
    if shared is None:
        return NotImplemented
    x, size, dtype = plain(x), mask.size, x.dtype
    out = device.empty(x.shape, dtype)
    if shared == 1:
        kind, threads = "each", -(-size // max(VECTOR // dtype.itemsize, 4))
        last: bool | int = device.has_vectors(VECTOR, x, mask, out)
    else:
        kind, threads, last = "shared", 32 * size, shared
    device.launch(
        *("philox", f"{name}_{NAMES[dtype]}_{kind}", _blocks(threads), THREADS),
        *(x, state, np.uint32(least_dropped), wide(dtype).type(scale), size, last, out, mask),
    )
    return out


def _shared(x: Array, shape: tuple[int, ...]) -> int | None:
    """Return how many elements of ``x`` share one of a mask of that shape, None if irregular."""
    if x.dtype not in FLOATS or len(shape) != x.ndim:
        return None
    count = math.prod(shape)
    if shape == x.shape or not count:
        return 1
    axes = next(i for i, n in enumerate(shape) if n != x.shape[i])
    return x.size // count if count == math.prod(shape[:axes]) else None
