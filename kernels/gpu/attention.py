"""Launches attention.cu: scaled dot-product attention, one launch forward and one backward."""

import math
from typing import Any

import numpy as np

from ..calls import attention_backward_calls, attention_calls
from .launcher import FLOATS, NAMES, VECTOR, Array, Device, kernel, plain, wide

THREADS = 128  # of a block, as in the source
WIDTHS = (32, 64)  # of the rows that functions hold, by which they are called
TILE = 128  # bytes that queries or keys of a block compute with; forward has two tiles

HEADS = np.dtype([("address", np.uintp), ("steps", np.int64, 4)])
ARRAYS = "query key value mask bias keep out logsumexp g dquery dkey dvalue".split()
ROWS = {"query", "key", "value", "out", "g", "dquery", "dkey", "dvalue"}  # read by vectors
SIZES = "heads queries keys size width query_blocks".split()
TASKS = {
    dtype: np.dtype(
        [
            *[(name, HEADS) for name in ARRAYS],
            *[(name, np.int64) for name in SIZES],
            *[(name, wide(dtype)) for name in ("scale", "share")],
            *[(name, np.bool_) for name in ("causal", "vectors")],
        ],
        align=True,
    )
    for dtype in FLOATS
}


@kernel(attention_calls)
def scaled_dot_product_attention(
    device: Device,
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None = None,
    bias: Array | None = None,
    keep: Array | None = None,
    *,
    scale: float,
    causal: bool,
    share: float,
) -> Any:
    """Return the means of the values by softmax(scale * query key^T + bias), and each logsumexp.

    query (..., L, E), key (..., S, E), value (..., S, V); mask, bias and keep broadcast to
    (..., L, S): false in mask is a score of -inf, false in keep a weight of 0, the others times
    share. A row of scores of -inf gives 0 and 0. The logsumexp of float16 is float32. Declines E or
    V above 64, dtypes other than float16, float32 and float64, leading axes that differ, and masks
    that broadcast along some but not all of the axes before the last three.
    """
    if not _takes(query, key, value, mask, bias, keep):
        return NotImplemented
    arrays = {"query": query, "key": key, "value": value, "mask": mask, "bias": bias, "keep": keep}
    shape = *query.shape[:-1], value.shape[-1]
    arrays["out"] = out = _empty(device, shape, query.dtype, query.ndim > 3)
    arrays["logsumexp"] = logsumexp = device.empty((*shape[:-1], 1), wide(query.dtype))
    _launch(device, "attention", _blocks(query, 2), 0, arrays, scale, causal, share)
    return out, logsumexp


@kernel(attention_backward_calls)
def attention_backward(
    device: Device,
    g_out: Array | None,
    g_logsumexp: Array | None,
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None,
    bias: Array | None,
    keep: Array | None,
    out: Array,
    logsumexp: Array,
    *,
    scale: float,
    causal: bool,
    share: float,
    wanted: tuple[str, ...],
) -> Any:
    """Return the cotangents of those of query, key and value that are wanted.

    Declines as forward does, and where the bias has a cotangent, or logsumexp.
    """
    if g_out is None or g_logsumexp is not None or "bias" in wanted:
        return NotImplemented
    dtypes = [x.dtype for x in (g_out, out, logsumexp)]
    expected = [query.dtype, query.dtype, wide(query.dtype)]
    if not _takes(query, key, value, mask, bias, keep) or dtypes != expected:
        return NotImplemented
    arrays = {"query": query, "key": key, "value": value, "mask": mask, "bias": bias, "keep": keep}
    arrays |= {"g": g_out, "out": out, "logsumexp": logsumexp}
    found = {}
    for name in wanted:
        x = arrays[name]
        inside = x.ndim > 3 and not x.flags.c_contiguous
        arrays[f"d{name}"] = found[name] = _empty(device, x.shape, x.dtype, inside)
    by_query = _blocks(query, 1) if "query" in wanted else 0
    by_key = _blocks(key, 1) if {"key", "value"} & found.keys() else 0
    function, blocks = "attention_backward", by_query + by_key
    _launch(device, function, blocks, by_query, arrays, scale, causal, share)
    return tuple([found[name] for name in wanted])


def _takes(
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None,
    bias: Array | None,
    keep: Array | None,
) -> bool:
    dtype, axes = query.dtype, query.shape[:-2]
    if dtype not in FLOATS or max(query.shape[-1], value.shape[-1]) > WIDTHS[-1]:
        return False
    if any(x.dtype != dtype or x.shape[:-2] != axes for x in (key, value)):
        return False
    for x, kind in ((mask, np.bool_), (bias, dtype), (keep, np.bool_)):
        if x is not None and (x.dtype != kind or math.prod(x.shape[:-3]) not in (1, _batch(query))):
            return False
    return True


def _batch(query: Array) -> int:
    return int(math.prod(query.shape[:-3]))


def _blocks(rows: Array, tiles: int) -> int:
    """Return how many blocks have so many tiles of rows (..., n, size) each."""
    n = rows.shape[-2]
    return int(math.prod(rows.shape[:-2])) * -int(-n // (tiles * TILE // wide(rows.dtype).itemsize))


def _empty(device: Device, shape: tuple[int, ...], dtype: Any, inside: bool) -> Array:
    """Return an array; inside: its axis -3, the heads, lies beside the last one in memory."""
    if not inside:
        return device.empty(shape, dtype)
    *batch, heads, length, size = shape
    return device.empty((*batch, length, heads, size), dtype).swapaxes(-3, -2)


def _as_heads(x: Array) -> Array:
    """Return (..., n, m) as (batch, heads, n, m), with numbers of a row side by side."""
    shape = (1,) * 4 + x.shape
    if shape[-1] > 1 and x.strides[-1] != x.dtype.itemsize:
        x = plain(x)
    return x.reshape(math.prod(shape[:-3]), *shape[-3:])


def _launch(
    device: Device,
    function: str,
    blocks: int,
    query_blocks: int,
    arrays: dict[str, Array | None],
    scale: float,
    causal: bool,
    share: float,
) -> None:
    if blocks == 0:
        return
    heads = {name: _as_heads(x) for name, x in arrays.items() if x is not None}
    dtype = heads["query"].dtype
    _, count, queries, size = heads["query"].shape
    keys, width = heads["value"].shape[2:]
    task = np.zeros((), TASKS[dtype])
    vectors = True
    for name, x in heads.items():
        steps = [s if n > 1 else 0 for n, s in zip(x.shape, x.strides, strict=True)]
        task[name]["address"] = device.address(x)
        task[name]["steps"] = [s // x.dtype.itemsize for s in steps]
        if name in ROWS:
            aligned = not any(s % VECTOR for s in steps[:3])
            vectors = vectors and aligned and device.has_vectors(x.shape[3], x)
    values = count, queries, keys, size, width, query_blocks, scale, share, causal, vectors
    for name, value in zip((*SIZES, "scale", "share", "causal", "vectors"), values, strict=True):
        task[name] = value
    held = next(w for w in WIDTHS if w >= max(size, width))
    device.launch("attention", f"{function}_{NAMES[dtype]}_{held}", blocks, THREADS, task)
