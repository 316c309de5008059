"""Launches normalization.cu: layer norm and RMS norm, one launch forward and up to two backward."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .launcher import FLOATS, NAMES, Array, Call, Device, kernel, plain, wide
from .sums import add_up

THREADS = 256  # of a block, as in the source
# By what functions are called: the warps that have a row, and how long it may be.
SIZES = {"short": (1, 32 * 4), "usual": (8, 256 * 4), "long": (8, 256 * 16)}
# What fills today's cards; results do not depend on which. Not measured yet on a card.
MOST_BLOCKS, MOST_BLOCKS_BACK = 1 << 14, 1 << 9
SAMPLES = 64  # rows over which the gradients of weights are summed in their own precision


class Rows(NamedTuple):
    """How to see x, as rows that are normalized each, and which functions take such rows."""

    number: int
    length: int
    size: str
    statistics: tuple[int, ...]  # the shape of what there is one of for each row

    @property
    def groups(self) -> int:
        """How many rows a block has at a time."""
        return THREADS // (32 * SIZES[self.size][0])


def _rows(x: Array, axis: tuple[int, ...], *others: Array | None) -> Rows | None:
    """Return how to see x; None if axis is not at its end, a row too long or a dtype another."""
    dtypes = {a.dtype for a in (x, *others) if a is not None}
    kept = x.ndim - len(axis)
    if len(dtypes) > 1 or x.dtype not in FLOATS or sorted(axis) != list(range(kept, x.ndim)):
        return None
    length = math.prod(x.shape[kept:])
    for size, (_, most) in SIZES.items():
        if length <= most:
            statistics = x.shape[:kept] + (1,) * len(axis)
            return Rows(math.prod(x.shape[:kept]), length, size, statistics)
    return None


def _fit(x: Array, axis: tuple[int, ...], *shapes: tuple[int, ...] | None) -> bool:
    """Return whether there is a weight for each number of a row."""
    kept = x.ndim - len(axis)
    row = (1,) * kept + x.shape[kept:]
    return all(s is None or (1,) * (x.ndim - len(s)) + s == row for s in shapes)


def _seen(x: Array, shape: tuple[int, ...] | None) -> Array:
    return x if shape is None else x.reshape(shape)


def _shape(array: Array | None) -> tuple[int, ...] | None:
    return None if array is None else array.shape


def _optional(array: Array | None) -> Array | None:
    return None if array is None else plain(array)


def _has_vectors(device: Device, rows: Rows, *arrays: Array | None) -> bool:
    return device.has_vectors(rows.length, *[a for a in arrays if a is not None])


def _drawn(dtype: Any, n: int) -> Iterator[tuple[Any, Any, dict[str, Any], tuple[int, ...]]]:
    """Yield x, weights or None, params and the shape of the statistics."""
    rng, few = np.random.default_rng(0), min(n, 5)
    for lengths, factors, axis in (
        ((n, 3, 5), (3, 5), (1, 2)),
        ((5, min(n, 900)), None, (1,)),
        ((few, 300), (300,), (1,)),
        ((few, 304), (304,), (1,)),
        ((few, 1100), (1100,), (1,)),
        ((few, 1104), (1104,), (1,)),
    ):
        x = rng.normal(size=lengths).astype(dtype)
        weights = None if factors is None else rng.normal(size=factors).astype(dtype)
        params = {"axis": axis, "eps": 0.1, "shape": None}
        yield x, weights, params, x.sum(axis, keepdims=True).shape


def _grouped(dtype: Any, n: int) -> tuple[Any, dict[str, Any]]:
    """Return channels and the params of their groups."""
    n = min(n, 5)
    x = np.random.default_rng(0).normal(size=(2, 2 * n, 9)).astype(dtype)
    return x, {"axis": (2, 3), "eps": 0.1, "shape": (2, 2, n, 9)}


def _normalize_calls(dtype: Any, n: int) -> Iterator[Call]:
    for x, weights, params, _ in _drawn(dtype, n):
        yield [x, weights, None if weights is None else weights[::-1].copy()], params
    x, params = _grouped(dtype, n)
    yield [x, None, None], params


def _rms_normalize_calls(dtype: Any, n: int) -> Iterator[Call]:
    for x, weights, params, _ in _drawn(dtype, n):
        del params["shape"]
        yield [x, weights], params


def _normalize_backward_calls(dtype: Any, n: int) -> Iterator[Call]:
    for x, weights, params, shape in _drawn(dtype, n):
        g, mean, var = np.cos(x), *(np.full(shape, value, wide(dtype)) for value in (0.1, 1.5))
        for wanted in (("x", "weight", "bias"), ("bias",), ("x",)):
            if weights is not None or wanted == ("x",):
                bias_shape = None if weights is None else weights.shape
                options = {"bias_shape": bias_shape, "wanted": wanted}
                yield [g, None, None, x, weights, mean, var], params | options
    x, params = _grouped(dtype, n)
    mean, var = (np.full((2, 2, 1, 1), value, wide(dtype)) for value in (0.1, 1.5))
    options = {"bias_shape": None, "wanted": ("x",)}
    yield [np.cos(x), None, None, x, None, mean, var], params | options


def _rms_normalize_backward_calls(dtype: Any, n: int) -> Iterator[Call]:
    for x, weights, params, shape in _drawn(dtype, n):
        del params["shape"]
        wanted = ("x",) if weights is None else ("x", "weight")
        g, square = np.cos(x), np.full(shape, 1.5, wide(dtype))
        yield [g, None, x, weights, square], params | {"wanted": wanted}


@kernel(_normalize_calls)
def normalize(
    device: Device,
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    axis: tuple[int, ...],
    eps: float,
    shape: tuple[int, ...] | None,
) -> Any:
    """Return (x - mean) / √(var + eps) · weight + bias, mean and var, over the last axes of x.

    Those of x in that shape, unless it is None. mean and var of float16 are float32. Declines other
    axes, rows of more than 4,096 numbers, dtypes other than float16, float32 and float64, and a
    weight or a bias that does not have one number for each of a row.
    """
    found = _forward(device, "normalize", _seen(x, shape), weight, bias, axis, eps)
    return found if found is NotImplemented else (found[0].reshape(x.shape), *found[1:])


@kernel(_rms_normalize_calls)
def rms_normalize(
    device: Device, x: Array, weight: Array | None = None, *, axis: tuple[int, ...], eps: float
) -> Any:
    """Return x / √(square + eps) · weight, and square, the mean of x²; declines as `normalize`."""
    found = _forward(device, "rms_normalize", x, weight, None, axis, eps)
    return found if found is NotImplemented else (found[0], found[2])


def _forward(
    device: Device,
    name: str,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    axis: tuple[int, ...],
    eps: float,
) -> Any:
    rows = _rows(x, axis, weight, bias)
    if rows is None or not _fit(x, axis, _shape(weight), _shape(bias)):
        return NotImplemented
    out = device.empty(x.shape, x.dtype)
    mean = device.empty(rows.statistics, wide(x.dtype)) if name == "normalize" else None
    var = device.empty(rows.statistics, wide(x.dtype))
    given = [_optional(a) for a in (x, weight, bias)]
    device.launch(
        "normalization",
        f"{name}_{NAMES[x.dtype]}_{rows.size}",
        min(max(-(-rows.number // rows.groups), 1), MOST_BLOCKS),
        THREADS,
        *given,
        rows.number,
        rows.length,
        wide(x.dtype).type(eps),
        _has_vectors(device, rows, out, *given),
        out,
        mean,
        var,
    )
    return out, mean, var


@kernel(_normalize_backward_calls)
def normalize_backward(
    device: Device,
    g_out: Array,
    g_mean: Array | None,
    g_var: Array | None,
    x: Array,
    weight: Array | None,
    mean: Array,
    var: Array,
    *,
    bias_shape: tuple[int, ...] | None,
    axis: tuple[int, ...],
    eps: float,
    shape: tuple[int, ...] | None,
    wanted: tuple[str, ...],
) -> Any:
    """Return those of dx, dweight and dbias that are wanted, as a tuple.

    Declines as `normalize` does, and where its mean or var has a cotangent.
    """
    if g_mean is not None or g_var is not None:
        return NotImplemented
    shapes, seen = (x.shape, _shape(weight), bias_shape), _seen(x, shape)
    return _backward(
        device, "normalize_backward", g_out, seen, weight, mean, var, shapes, axis, eps, wanted
    )


@kernel(_rms_normalize_backward_calls)
def rms_normalize_backward(
    device: Device,
    g_out: Array,
    g_square: Array | None,
    x: Array,
    weight: Array | None,
    square: Array,
    *,
    axis: tuple[int, ...],
    eps: float,
    wanted: tuple[str, ...],
) -> Any:
    """Return those of dx and dweight that are wanted, as a tuple; declines as `normalize` does."""
    if g_square is not None:
        return NotImplemented
    shapes = x.shape, _shape(weight), None
    return _backward(
        device, "rms_normalize_backward", g_out, x, weight, None, square, shapes, axis, eps, wanted
    )


def _backward(
    device: Device,
    name: str,
    g: Array,
    x: Array,
    weight: Array | None,
    mean: Array | None,
    var: Array,
    shapes: tuple[tuple[int, ...], tuple[int, ...] | None, tuple[int, ...] | None],
    axis: tuple[int, ...],
    eps: float,
    wanted: tuple[str, ...],
) -> Any:
    """Return the wanted gradients; shapes: of dx, of weight and bias, None where there is none."""
    rows, dtype = _rows(x, axis, g, weight), x.dtype
    if rows is None or not _fit(x, axis, *shapes[1:]):
        return NotImplemented
    if any(a is not None and a.dtype != wide(dtype) for a in (mean, var)):
        return NotImplemented
    given: dict[str, Any] = dict(zip(("x", "weight", "bias"), shapes, strict=True))
    found = {key: device.empty(given[key], dtype) for key in wanted}
    dweight, dbias = found.get("weight"), found.get("bias")
    most = max(MOST_BLOCKS_BACK, -(-rows.number // (rows.groups * SAMPLES)))
    blocks = min(max(-(-rows.number // rows.groups), 1), most)
    parts = None
    if dweight is not None or dbias is not None:
        parts = device.empty((blocks * rows.groups, 2 * rows.length), wide(dtype))
    arrays = [_optional(a) for a in (g, x, weight)]
    device.launch(
        "normalization",
        f"{name}_{NAMES[dtype]}_{rows.size}",
        blocks,
        THREADS,
        *arrays,
        _optional(mean),
        plain(var),
        rows.number,
        rows.length,
        wide(dtype).type(eps),
        _has_vectors(device, rows, *arrays, found.get("x")),
        found.get("x"),
        parts,
    )
    if parts is not None:
        add_up(device, parts, rows.length, dweight, dbias)
    return tuple([found[key] for key in wanted])
