"""Dropout and the random bits that decide, in one pass.

A chunk's bits are drawn into a buffer that stays in the first-level cache, turned into a mask and
applied: of float32, 4 bytes are read of each element and 5 written, while its share of Philox is 5
multiplications of 32 bits and some 30 other operations, which take most of the time.
Measured on one thread with AVX-512 beside the NumPy path, which draws, compares and selects one by
one, in parts of its time: 0.04 for a million float32, 0.11 for 16,000, 0.2 for 16. The derivative
reads the mask, of a byte each: drawing it again would take longer. Beside a copy of as many bytes,
at 4 million numbers, the derivative takes 1.03 of its time and dropout itself 2.1, since Philox
alone takes as long as the copy; vectors of 512 bits made it no faster, nor did drawing less at a
time, or fetching x ahead.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .compiler import FLOATS, Array, Call, jit, kernel, loop, plain, prange
from .elementary import real, select
from .philox import HALF, LOW, fill_chunk

CHUNK = 1 << 10  # blocks of four words that one thread draws at a time


def _masked_calls(dtype: Any, n: int) -> Iterator[Call]:
    rng = np.random.default_rng(0)
    for shape in ((n, 3), (n, 1)):
        yield [rng.normal(size=(n, 3)).astype(dtype), rng.random(shape) < 0.5], {"scale": 1.25}


def _dropout_calls(dtype: Any, n: int) -> Iterator[Call]:
    for (x, mask), params in _masked_calls(dtype, n):
        state = np.array([2**63 + 1, 7, 5], np.uint64)
        yield [x, state], {"keep": 0.8, "shape": mask.shape, **params}


@kernel(_masked_calls, pays_from=1 << 8)
def masked(x: Array, mask: Array, *, scale: float) -> Any:
    """Return scale * x where ``mask`` is true, 0 elsewhere.

    The shape of the mask is that of x, or has ones from some axis on. Declines other shapes.
    """
    shared = _shared(x, mask.shape)
    if shared is None or mask.dtype != np.bool_:
        return NotImplemented
    out = np.empty(x.shape, x.dtype)
    _apply(x.nbytes, plain(x.ravel()), plain(mask.ravel()), shared, float(scale), out.ravel())
    return out


@kernel(_dropout_calls)
def dropout(x: Array, state: Array, *, keep: float, scale: float, shape: tuple[int, ...]) -> Any:
    """Return ``masked`` and its mask, true with probability ``keep``, drawn from ``state``.

    Element i of the mask comes from word i of the blocks from the state's counter on; see
    ``random_bits``. Declines as ``masked`` does.
    """
    shared = _shared(x, shape)
    if shared is None or state.dtype != np.uint64 or state.shape != (3,):
        return NotImplemented
    out, mask = np.empty(x.shape, x.dtype), np.empty(shape, np.bool_)
    # A word's upper 24 bits are a float32 in [0, 1), kept if it is less than float32(keep).
    least_dropped = math.ceil(float(np.float32(keep)) * 2**24)
    _draw(
        x.nbytes + 16 * mask.size,
        plain(state),
        least_dropped,
        plain(x.ravel()),
        shared,
        float(scale),
        out.ravel(),
        mask.ravel(),
    )
    return out, mask


def _shared(x: Array, shape: tuple[int, ...]) -> int | None:
    """Return how many elements of ``x`` share one of a mask of that shape, None if irregular."""
    if x.dtype not in FLOATS or len(shape) != x.ndim:
        return None
    count = math.prod(shape)
    if shape == x.shape or not count:
        return 1
    axes = next(i for i, n in enumerate(shape) if n != x.shape[i])
    return x.size // count if count == math.prod(shape[:axes]) else None


@loop(parallel_from=1 << 20)
def _apply(x: Array, mask: Array, shared: int, scale: float, out: Array) -> None:
    """Fill flat ``out``; each element of ``mask`` stands for ``shared`` of ``x``."""
    number = x.dtype.type
    chunk = 4 * CHUNK
    for i in prange((mask.size + chunk - 1) // chunk):
        part = slice(i * chunk, (i + 1) * chunk)
        inner = slice(i * chunk * shared, (i + 1) * chunk * shared)
        _apply_part(x[inner], mask[part], shared, number(scale), out[inner])


@jit()
def _apply_part(x: Array, mask: Array, shared: int, scale: Any, out: Array) -> None:
    if shared == 1:
        for i in range(mask.size):
            out[i] = select(mask[i], x[i] * scale, real(scale, 0))
    else:
        for i in range(mask.size):
            kept = mask[i]
            for j in range(i * shared, (i + 1) * shared):
                out[j] = select(kept, x[j] * scale, real(scale, 0))


@loop(parallel_from=1 << 20)
def _draw(
    state: Array,
    least_dropped: int,
    x: Array,
    shared: int,
    scale: float,
    out: Array,
    mask: Array,
) -> None:
    """Fill flat ``mask`` and ``out``, chunk by chunk."""
    key, stream, counter = state[0], state[1], state[2]
    number = x.dtype.type
    chunk = 4 * CHUNK
    for i in prange((mask.size + chunk - 1) // chunk):
        words = np.empty(chunk, np.uint32)
        fill_chunk(key, stream, (counter & LOW) + np.uint64(i * CHUNK), counter >> HALF, words)
        part = slice(i * chunk, (i + 1) * chunk)
        inner = slice(i * chunk * shared, (i + 1) * chunk * shared)
        _threshold(words, np.uint32(least_dropped), mask[part])
        _apply_part(x[inner], mask[part], shared, number(scale), out[inner])


@jit()
def _threshold(words: Array, least_dropped: Any, mask: Array) -> None:
    for i in range(mask.size):
        mask[i] = np.uint32(words[i] >> np.uint32(8)) < least_dropped
