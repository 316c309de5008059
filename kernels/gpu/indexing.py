"""Launches indexing.cu: embeddings, and adding at indices with the same bits each time."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..calls import index_add_calls, scatter_calls, whole_numbers
from ..keys import FIRST, first_axis
from .launcher import FLOATS, NAMES, VECTOR, Array, Call, Device, as_int64, kernel, plain

THREADS = 256  # of a block, as in the source
# What fills today's cards; results do not depend on it. Not measured yet on a card.
MOST_BLOCKS = 1 << 12
FEW = 1 << 13  # of up to so many indices each is ranked by itself. Not measured yet on a card.
MOST_ROWS, MOST_INDICES = (1 << 31) - 2, 1 << 32  # what the two parts of a number can hold


class Target(NamedTuple):
    """Where values are added: to axis 1 of (outer, rows, inner), at indices into it."""

    outer: int
    rows: int
    inner: int
    index: Array
    values: tuple[int, ...]  # the shape of what is added
    first_axis: int


def _embedding_calls(dtype: Any, n: int) -> Iterator[Call]:
    for columns in (1, 12, 140):
        yield [np.arange(n) % 5, whole_numbers(dtype, 5, columns)], {"padding_idx": 1}


def _embedding_backward_calls(dtype: Any, n: int) -> Iterator[Call]:
    for columns in (1, 12, 140):
        params = {"weight_shape": (5, columns), "padding_idx": 1}
        yield [whole_numbers(dtype, n, columns), np.arange(n) % 3], params
    params = {"weight_shape": (5, 2), "padding_idx": None}
    yield [whole_numbers(dtype, FEW + 1, 2), np.arange(FEW + 1) % 5], params


@kernel(_embedding_calls)
def embedding(device: Device, indices: Array, weight: Array, *, padding_idx: int | None) -> Any:
    """Return the rows of weight (rows, columns) at indices: indices.shape + (columns,).

    A row for an index outside [0, rows) is nan, and the first of them goes to the device's error
    slot. Declines weights that are neither float16 nor float32 nor float64.
    """
    index, dtype = as_int64(indices), weight.dtype
    if index is None or dtype not in FLOATS or weight.ndim != 2:
        return NotImplemented
    rows, columns = weight.shape
    table, out = plain(weight), device.empty((*index.shape, columns), dtype)
    vectors, units, lanes = _shared(device, columns, table, out)
    blocks = _blocks(index.size * lanes)
    valid = f"embedding: indices must lie in [0, {rows})"
    slot, code = device.slot.place(valid, index.shape, IndexError)
    device.launch(
        *("indexing", f"take_{NAMES[dtype]}", blocks, THREADS),
        *(index, index.size, table, rows, units, lanes, vectors, out),
        *(device.empty((blocks,), np.int64), device.counter(), slot, code),
    )
    return out


@kernel(_embedding_backward_calls)
def embedding_backward(
    device: Device,
    g: Array,
    indices: Array,
    *,
    weight_shape: tuple[int, ...],
    padding_idx: int | None,
) -> Any:
    """Return zeros (rows, columns) with each row of g added at its index, padding_idx left out.

    Declines as `scatter`.
    """
    return _scattered(device, g, (indices,), (FIRST,), weight_shape, padding_idx)


@kernel(scatter_calls)
def scatter(
    device: Device, v: Array, *indices: Array, key: tuple[Any, ...], shape: tuple[int, ...]
) -> Any:
    """Return zeros of a shape with v added at a key, its index arrays given apart.

    An element of the key (k,) stands for index array k. What is at an index out of range, of which
    whoever took it has been told, is left out. float16 is added up in float32. Declines dtypes
    other than float16, float32 and float64, and keys of more than adjacent index arrays and whole
    axes.
    """
    return _scattered(device, v, indices, key, shape)


@kernel(index_add_calls)
def index_add(device: Device, x: Array, v: Any, *indices: Array, key: tuple[Any, ...]) -> Any:
    """Return a copy of x with v, a number or what broadcasts to x[key], added at a key.

    The first index that is out of range goes to the device's error slot. Declines as `scatter`.
    """
    dtype, target = x.dtype, _target(indices, key, x.shape)
    if dtype not in FLOATS or target is None or getattr(v, "dtype", dtype) != dtype:
        return NotImplemented
    shape = getattr(v, "shape", ())
    if shape != target.values:
        if not _broadcasts(shape, target.values):
            return NotImplemented
        given, v = v, device.empty(target.values, dtype)
        v[...] = given
    slot, code = None, 0
    for axis, index in enumerate(indices, target.first_axis):
        length = x.shape[axis]
        what = f"indexing: an index into axis {axis} must lie in [-{length}, {length})"
        if len(indices) == 1:
            slot, code = device.slot.place(what, index.shape, IndexError)
        else:
            device.slot.refuse(_is_bad(index, length), index, what, IndexError)
    return _added(device, v, target, x.copy(), None, slot, code)


def _scattered(
    device: Device,
    v: Array,
    indices: tuple[Array, ...],
    key: tuple[Any, ...],
    shape: tuple[int, ...],
    left_out: int | None = None,
) -> Any:
    target = _target(indices, key, shape)
    if v.dtype not in FLOATS or target is None or v.shape != target.values:
        return NotImplemented
    out = device.empty(shape, v.dtype)
    out[...] = 0
    return _added(device, v, target, out, left_out)


def _target(
    indices: tuple[Array, ...], key: tuple[Any, ...], shape: tuple[int, ...]
) -> Target | None:
    """Return where a key of a shape adds; None for keys and indices that are declined."""
    count = len(indices)
    before = first_axis(key, count, len(shape)) if count else None
    if before is None:
        return None
    after = before + count
    index = as_int64(indices[0]) if count == 1 else _joined(indices, shape[before:after])
    outer, rows = math.prod(shape[:before]), math.prod(shape[before:after])
    # Without any outer row nothing would walk the indices.
    if index is None or not outer or rows > MOST_ROWS or index.size > MOST_INDICES:
        return None
    values = shape[:before] + index.shape + shape[after:]
    return Target(outer, rows, math.prod(shape[after:]), index, values, before)


def _joined(indices: tuple[Array, ...], lengths: tuple[int, ...]) -> Array | None:
    """Return indices into several axes as indices into these axes made one.

    Bad ones are beyond its length. None for what does not broadcast, or is no integer.
    """
    try:
        np.broadcast_shapes(*[index.shape for index in indices])
    except ValueError:
        return None
    joined: Any = 0
    bad: Any = False
    for given, length in zip(indices, lengths, strict=True):
        index = as_int64(given)
        if index is None:
            return None
        joined = joined * length + index + (index < 0) * length
        bad = bad | _is_bad(index, length)
    return plain(joined * ~bad + bad * math.prod(lengths))


def _broadcasts(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    lengths = zip(shape[::-1], wanted[::-1], strict=False)
    return len(shape) <= len(wanted) and all(given in (1, n) for given, n in lengths)


def _is_bad(index: Array, length: int) -> Array:
    return (index < -length) | (index >= length)


def _shared(device: Device, columns: int, *arrays: Array) -> tuple[bool, int, int]:
    """Return how threads share a row: whether they read vectors, how many units, how many do."""
    vectors = device.has_vectors(columns, *arrays)
    units = columns * arrays[0].dtype.itemsize // VECTOR if vectors else columns
    return vectors, units, 1 << max(min(units, 32) - 1, 0).bit_length()


def _blocks(threads: int) -> int:
    return min(max(-(-threads // THREADS), 1), MOST_BLOCKS)


def _added(
    device: Device,
    v: Array,
    target: Target,
    out: Array,
    left_out: int | None = None,
    slot: Array | None = None,
    code: int = 0,
) -> Array:
    """Add v to ``out``, but to row left_out, and return that; slot: where to note bad indices."""
    index, n, rows = target.index, target.index.size, target.rows
    if not n:
        return out
    pairs, v = device.empty((n,), np.int64), plain(v)
    listing = "rank_pairs" if n <= FEW else "list_pairs"
    nobody = rows if left_out is None else left_out
    device.launch(
        *("indexing", listing, -(-n // THREADS), THREADS), *(index, n, rows, nobody, pairs)
    )
    if n > FEW:
        device.sort(pairs)
    vectors, units, lanes = _shared(device, target.inner, v, out)
    device.launch(
        *("indexing", f"add_{NAMES[v.dtype]}", _blocks(target.outer * n * units), THREADS),
        *(index, pairs, n, v, target.outer, rows, units, lanes, vectors, out, slot, code),
    )
    return out
