"""Dense layers: products by BLAS, and in one pass over their results all that is not a product.

``out = act(x @ weight.T + bias)``: BLAS writes the product, then each row of it, while it lies in
cache, gets the bias and the activation in place. Backward, the same pass over the cotangent ``g``
gives ``d = g * act'``, of which the products with weight and x are taken, and the sums of its
columns, the bias gradient, block by block of rows. A product of (n, k) and (k, m) is 2 k operations
for each element of its result, the passes are one to some twenty: bound by memory.

For few rows BLAS takes 0.5 to 0.9 of the time for ``weight @ x.T`` that it takes for ``x @
weight.T``; then the result is transposed, in cache. A product with a single row is an outer
product, a tenth of BLAS's time.

Measured, float32, one thread, beside NumPy's path: 784 to 256 features with relu, forward 0.6 of
its time at 32 rows, 0.95 at 1,024; 64 to 256 at 1,024 rows, forward and backward, 0.9, with relu
0.5, with gelu 0.1.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .compiler import FLOATS, Array, Call, jit, kernel, loop, plain, prange
from .elementary import gelu, gelu_slope, sigmoid, silu, silu_slope, tanh

NONE, RELU, SIGMOID, TANH, GELU, SILU = range(6)
KINDS = {"relu": RELU, "sigmoid": SIGMOID, "tanh": TANH, "gelu": GELU, "silu": SILU}

FEW, LARGE = range(8, 65), 1 << 15  # rows of x, elements of weight: where weight @ x.T is faster
BAND = 16  # rows of a product that are transposed at a time
ROWS = 64  # rows of the cotangent whose sum is made in their own precision, one thread's work


def _arrays(dtype: Any, n: int) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(dtype) for shape in ((n, 5), (3, 5), 3)]


def _calls(dtype: Any, n: int) -> Iterator[Call]:
    x, weight, bias = _arrays(dtype, n)
    yield [x, weight, bias], {}
    yield [x, weight, None], {}
    few, large = FEW.start, LARGE // 256  # where the product is made the other way round
    yield [np.ones((few, 256), dtype), np.ones((large, 256), dtype), np.ones(large, dtype)], {}


def _calls_of(*activations: str) -> Any:
    def calls(dtype: Any, n: int) -> Iterator[Call]:
        for activation in activations:
            yield _arrays(dtype, n), {"activation": activation}

    return calls


@kernel(_calls, pays_from=1 << 13)
def linear(x: Array, weight: Array, bias: Array | None = None) -> Any:
    """Return x @ weight.T + bias of x (..., k), weight (m, k), bias (m,), all float32 or float64.

    Declines other dtypes, shapes that do not fit and empty arrays.
    """
    found = _dense(x, weight, bias, NONE)
    return found if found is NotImplemented else found[0]


@kernel(_calls_of("relu", "sigmoid", "tanh"), pays_from=1 << 12)
def linear_value(x: Array, weight: Array, bias: Array | None = None, *, activation: str) -> Any:
    """Return the activation of ``linear``; declines as that does."""
    found = _dense(x, weight, bias, KINDS[activation])
    return found if found is NotImplemented else found[0]


@kernel(_calls_of("gelu", "silu"))
def linear_input(x: Array, weight: Array, bias: Array | None = None, *, activation: str) -> Any:
    """Return the activation of ``linear``, and what it is of; declines as that does."""
    return _dense(x, weight, bias, KINDS[activation])


def _dense(x: Array, weight: Array, bias: Array | None, kind: int) -> Any:
    if not x.ndim or weight.ndim != 2 or x.shape[-1] != weight.shape[1] or not x.shape[-1]:
        return NotImplemented
    dtype, (m, k) = x.dtype, weight.shape
    n = x.size // k
    if dtype not in FLOATS or weight.dtype != dtype:
        return NotImplemented
    if bias is not None and (bias.dtype != dtype or bias.shape != (m,)):
        return NotImplemented
    rows = x if x.ndim == 2 else x.reshape(n, k)
    z = np.empty((*x.shape[:-1], m), dtype)
    table = z.reshape(n, m)
    transposed = n in FEW and weight.size >= LARGE
    if transposed:
        _transpose(np.matmul(weight, rows.T), table)
    else:
        np.matmul(rows, weight.T, out=table)
        if bias is None and kind == NONE:
            return z, z
    offset = np.zeros(m, dtype) if bias is None else plain(bias)
    if kind < GELU:
        _finish(table.size, offset, kind, table)
        return z, z
    out = np.empty_like(z)
    _finish_apart(table.size, offset, kind, table, out.reshape(n, m))
    return out, z


@jit()
def _transpose(product: Array, z: Array) -> None:
    """Write the transpose of product to z, from BAND rows of it at a time, which stay in cache."""
    for left in range(0, z.shape[1], BAND):
        right = min(left + BAND, z.shape[1])
        for i in range(z.shape[0]):
            for j in range(left, right):
                z[i, j] = product[j, i]


@loop(parallel_from=1 << 19)
def _finish(bias: Array, kind: int, z: Array) -> None:
    """Add the bias to each row of z and replace it by its activation.

    In place under one name: LLVM takes the slow way where two arrays turn out to overlap.
    """
    for i in prange(z.shape[0]):
        _add_bias(bias, z, i)
        if kind != NONE:
            _activate(z, i, kind)


@loop(parallel_from=1 << 18)
def _finish_apart(bias: Array, kind: int, z: Array, out: Array) -> None:
    """Add the bias to each row of z and write its activation to out."""
    for i in prange(z.shape[0]):
        _add_bias(bias, z, i)
        _activate_apart(z, i, kind, out)


@jit()
def _add_bias(bias: Array, z: Array, i: int) -> None:
    for j in range(np.uint64(z.shape[1])):
        z[i, j] += bias[j]


@jit("contract")
def _activate(z: Array, i: int, kind: int) -> None:
    zero, columns = z.dtype.type(0), np.uint64(z.shape[1])
    if kind == RELU:
        for j in range(columns):
            z[i, j] = zero if z[i, j] <= zero else z[i, j]
    elif kind == SIGMOID:
        for j in range(columns):
            z[i, j] = sigmoid(z[i, j])
    else:
        for j in range(columns):
            z[i, j] = tanh(z[i, j])


@jit("contract")
def _activate_apart(z: Array, i: int, kind: int, out: Array) -> None:
    columns = np.uint64(z.shape[1])
    if kind == GELU:
        for j in range(columns):
            out[i, j] = gelu(z[i, j])
    else:
        for j in range(columns):
            out[i, j] = silu(z[i, j])


def _backward_calls(dtype: Any, n: int) -> Iterator[Call]:
    x, weight, _ = _arrays(dtype, n)
    g = np.random.default_rng(1).normal(size=(n, 3)).astype(dtype)
    yield [g, x, weight], {"wanted": ("x", "weight", "bias")}
    yield [g, None, weight], {"wanted": ("x",)}


def _value_backward_calls(dtype: Any, n: int) -> Iterator[Call]:
    out = np.random.default_rng(2).normal(size=(n, 3)).astype(dtype)
    for arrays, params in _backward_calls(dtype, n):
        for activation in ("relu", "sigmoid", "tanh"):
            yield [*arrays, out], {"activation": activation, **params}


def _input_backward_calls(dtype: Any, n: int) -> Iterator[Call]:
    z = np.random.default_rng(2).normal(size=(n, 3)).astype(dtype)
    for (g, *others), params in _backward_calls(dtype, n):
        for activation in ("gelu", "silu"):
            yield [g, None, *others, z], {"activation": activation, **params}


@kernel(_backward_calls)
def linear_backward(
    g: Array, x: Array | None, weight: Array | None, *, wanted: tuple[str, ...]
) -> Any:
    """Return the wanted of g @ weight, g.T @ x and the sums of g's columns.

    Declines as ``linear`` does.
    """
    return _pulled_back(g, x, weight, None, NONE, wanted)


@kernel(_value_backward_calls)
def linear_value_backward(
    g: Array,
    x: Array | None,
    weight: Array | None,
    out: Array,
    *,
    activation: str,
    wanted: tuple[str, ...],
) -> Any:
    """Return what ``linear_backward`` does, of g times the derivative that goes with the value."""
    return _pulled_back(g, x, weight, out, KINDS[activation], wanted)


@kernel(_input_backward_calls)
def linear_input_backward(
    g_out: Array,
    g_z: Array | None,
    x: Array | None,
    weight: Array | None,
    z: Array,
    *,
    activation: str,
    wanted: tuple[str, ...],
) -> Any:
    """Return what ``linear_backward`` does, of g_out times the derivative at z.

    Declines a g_z, which is that of z itself.
    """
    if g_z is not None:
        return NotImplemented
    return _pulled_back(g_out, x, weight, z, KINDS[activation], wanted)


def _pulled_back(
    g: Array,
    x: Array | None,
    weight: Array | None,
    of: Array | None,
    kind: int,
    wanted: tuple[str, ...],
) -> Any:
    dtype, m = g.dtype, g.shape[-1]
    if not m or dtype not in FLOATS:
        return NotImplemented
    if any(a is not None and (a.dtype != dtype or not a.shape[-1]) for a in (x, weight, of)):
        return NotImplemented
    g = plain(g)
    d = rows = g.reshape(-1, m)
    n = len(rows)
    sums = np.zeros((-(-n // ROWS) if "bias" in wanted else 0, m), dtype)
    if of is not None:
        d = np.empty((n, m), dtype)
        _slopes(g.size, rows, plain(of).reshape(n, m), kind, d, sums)
    elif len(sums):
        _sums(g.size, rows, sums)
    found = []
    if "x" in wanted and weight is not None:
        dx = np.empty((*g.shape[:-1], weight.shape[1]), dtype)
        np.matmul(d, weight, out=dx.reshape(n, weight.shape[1]))
        found.append(dx)
    if "weight" in wanted and x is not None:
        table = x.reshape(n, x.shape[-1])
        found.append(d.T * table if n == 1 else d.T @ table)
    if "bias" in wanted:
        wide = None if len(sums) == 1 else np.float64
        found.append(sums.sum(axis=0, dtype=wide).astype(dtype, copy=False))
    return tuple(found)


@loop(parallel_from=1 << 18)
def _slopes(g: Array, of: Array, kind: int, d: Array, sums: Array) -> None:
    """Fill d with g times the derivative of the activation, and sums with those of its blocks."""
    for block in prange((len(g) + ROWS - 1) // ROWS):
        for i in range(block * ROWS, min((block + 1) * ROWS, len(g))):
            _slope(g, of, kind, i, d)
            if len(sums):
                _add(d, i, sums, block)


@loop(parallel_from=1 << 19)
def _sums(g: Array, sums: Array) -> None:
    """Fill sums with those of the columns of g's blocks of rows."""
    for block in prange(len(sums)):
        for i in range(block * ROWS, min((block + 1) * ROWS, len(g))):
            _add(g, i, sums, block)


@jit()
def _add(d: Array, i: int, sums: Array, block: int) -> None:
    for j in range(np.uint64(d.shape[1])):
        sums[block, j] += d[i, j]


@jit()
def _slope(g: Array, of: Array, kind: int, i: int, d: Array) -> None:
    zero, one = g.dtype.type(0), g.dtype.type(1)
    columns = np.uint64(g.shape[1])
    if kind == RELU:
        for j in range(columns):
            d[i, j] = zero if of[i, j] <= zero else g[i, j]
    elif kind == SIGMOID:
        for j in range(columns):
            d[i, j] = g[i, j] * (of[i, j] * (one - of[i, j]))
    elif kind == TANH:
        for j in range(columns):
            d[i, j] = g[i, j] * (one - of[i, j] * of[i, j])
    elif kind == GELU:
        for j in range(columns):
            d[i, j] = g[i, j] * gelu_slope(of[i, j])
    else:
        for j in range(columns):
            d[i, j] = g[i, j] * silu_slope(of[i, j])
