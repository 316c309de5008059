"""Dense layers: products by BLAS, and beside each share of them all that is not a product.

``out = act(x @ weight.T + bias)``: BLAS writes the product, then each row of it, while it lies in
cache, gets the bias and the activation in place. Backward, a pass over the cotangent ``g`` gives
``d = g * act'`` and the sums of its columns, the bias gradient, and of d the products with weight
and x are taken. A product of (n, k) and (k, m) is 2 k operations for each element of its result,
the passes are one to some twenty: bound by memory.

With several threads each makes the products of its own share inside the loop, of d's rows or, if
these are fewer, of its columns, which are weight's rows: cutting the longer axis leaves the least
to be packed by each thread. The result that sums over that axis, dweight or dx, is added up from
one part of each share. Fewer rows, and on one thread all, are left to NumPy's BLAS. It is newer
than SciPy's, which loops call, and needs 0.7 of its time for dx of 32 rows. Little products are
made on one thread, though they took 0.75 to 0.95 of their time on two: after one, BLAS's thread
spins for 30 ms where loops want theirs. A step of a small convolutional net took half as long.

For few rows BLAS takes 0.5 to 0.9 of the time for ``weight @ x.T`` that it takes for ``x @
weight.T``; then the result is transposed, in cache. A product with a single row is an outer
product, a tenth of BLAS's time.

Measured, float32, one thread, beside NumPy's path: 784 to 256 features with relu, forward 0.6 of
its time at 32 rows, 0.95 at 1,024; 64 to 256 at 1,024 rows, forward and backward, 0.9, with relu
0.5, with gelu 0.1. On two threads beside passes apart from BLAS with threads of its own: forward
0.65 at (1024, 64, 256), 0.85 at (1024, 784, 256), backward 0.95 to 1.1, and 0.9 of its processor
time at (4096, 1024, 1024). BLAS's threads wait for each other spinning: where other programs were
running, a training step of a small perceptron took 0.1 to 0.4 of its time.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from .activations import GELU, RELU, SIGMOID, SILU, TANH
from .compiler import (
    FLOATS,
    Array,
    Call,
    Loop,
    jit,
    kernel,
    loop,
    num_threads,
    one_blas_thread,
    plain,
    prange,
)
from .elementary import gelu, gelu_slope, sigmoid, silu, silu_slope, tanh
from .vectors import wide

NONE = -1  # no activation
APART = (GELU, SILU)  # whose derivative needs what they are applied to
KINDS = {"relu": RELU, "sigmoid": SIGMOID, "tanh": TANH, "gelu": GELU, "silu": SILU}

FEW, LARGE = range(8, 65), 1 << 15  # rows of x, elements of weight: where weight @ x.T is faster
BAND = 16  # rows of a product that are transposed at a time
ROWS = 64  # rows of the cotangent whose sum is made in their own precision
SHARE = 32  # the fewest rows or columns that are a thread's
MANY = 512  # rows from which loops make the products
ALONE = 1 << 18  # terms up to which OpenBLAS has one thread by itself
LITTLE = 1 << 20  # terms below which two save some 20 us
AS_USUAL: AbstractContextManager[None] = nullcontext()


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
    out = np.empty_like(z) if kind in APART else z
    offset = np.zeros(m, dtype) if bias is None else plain(bias)
    table, found = z.reshape(n, m), out.reshape(n, m)
    work = n * m * k
    if _in_loops(_layer, n, work):
        product = np.empty((0, 0) if n >= m else (m, n), dtype)
        shares = _shares(n, m)
        _layer(work, plain(rows), plain(weight), offset, kind, shares, product, table, found)
        return out, z
    with _threads(work):
        if n in FEW and weight.size >= LARGE:
            _transpose(np.matmul(weight, rows.T), table, 0, n, 0, m)
        else:
            np.matmul(rows, weight.T, out=table)
    if bias is not None or kind != NONE:
        _finish(offset, kind, table, found, 0, n, 0, m)
    return out, z


def _in_loops(loop: Loop, n: int, work: int) -> bool:
    """Return whether the loop makes the products of n rows and so many terms, not NumPy's BLAS."""
    if not work or not loop.pays(work):
        return False
    return (n >= MANY and num_threads() > 1) or loop.pays(0)  # whatever the size, in warmup


def _threads(terms: int) -> AbstractContextManager[None]:
    """Return within what NumPy's BLAS makes products of so many terms."""
    little = ALONE <= terms < LITTLE and num_threads() > 1
    return one_blas_thread if little else AS_USUAL


def _shares(n: int, m: int) -> int:
    """Return in how many shares rows or columns are cut: a sum's bits follow from it."""
    return max(1, min(num_threads(), max(n, m) // SHARE))


@loop(parallel_from=1 << 21, pays_from=1 << 19, blas=True)
def _layer(
    x: Array,
    weight: Array,
    bias: Array,
    kind: int,
    shares: int,
    product: Array,
    z: Array,
    out: Array,
) -> None:
    """Fill z and out by shares of their rows; of their columns where there is room for a product.

    That is the transpose of z.
    """
    n, m = z.shape
    for share in prange(shares):
        if product.size:
            left, right = m * share // shares, m * (share + 1) // shares
            np.dot(weight[left:right], x.T, product[left:right])
            _transpose(product, z, 0, n, left, right)
            _finish(bias, kind, z, out, 0, n, left, right)
        else:
            top, bottom = n * share // shares, n * (share + 1) // shares
            np.dot(x[top:bottom], weight.T, z[top:bottom])
            _finish(bias, kind, z, out, top, bottom, 0, m)


@jit()
def _transpose(a: Array, b: Array, top: int, bottom: int, left: int, right: int) -> None:
    """Fill a part of b from the transpose of a, BAND columns at a time, which stay in cache."""
    for first in range(left, right, BAND):
        last = min(first + BAND, right)
        for i in range(top, bottom):
            for j in range(first, last):
                b[i, j] = a[j, i]


@jit()
def _finish(
    bias: Array, kind: int, z: Array, out: Array, top: int, bottom: int, left: int, right: int
) -> None:
    """Add the bias to a part of z and write its activation to out, if that is another array."""
    for i in range(top, bottom):
        _add_bias(bias, z, i, left, right)
        if kind in APART:
            _activate_apart(z, i, kind, out, left, right)
        elif kind != NONE:
            _activate(z, i, kind, left, right)


@jit()
def _add_bias(bias: Array, z: Array, i: int, left: int, right: int) -> None:
    for j in range(np.uint64(left), np.uint64(right)):
        z[i, j] += bias[j]


@jit("contract")
def _activate(z: Array, i: int, kind: int, left: int, right: int) -> None:
    """Replace a part of a row by its activation.

    In place under one name: LLVM takes the slow way where two arrays turn out to overlap.
    """
    wide()
    zero, first, last = z.dtype.type(0), np.uint64(left), np.uint64(right)
    if kind == RELU:
        for j in range(first, last):
            z[i, j] = zero if z[i, j] <= zero else z[i, j]
    elif kind == SIGMOID:
        for j in range(first, last):
            z[i, j] = sigmoid(z[i, j])
    else:
        for j in range(first, last):
            z[i, j] = tanh(z[i, j])


@jit("contract")
def _activate_apart(z: Array, i: int, kind: int, out: Array, left: int, right: int) -> None:
    wide()
    first, last = np.uint64(left), np.uint64(right)
    if kind == GELU:
        for j in range(first, last):
            out[i, j] = gelu(z[i, j])
    else:
        for j in range(first, last):
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
    rows = g.reshape(-1, m)
    n, summed = len(rows), m if "bias" in wanted else 0
    values = rows if of is None else plain(of).reshape(n, m)
    d = rows if of is None else np.empty((n, m), dtype)
    of_g = (rows, values, kind, d)
    dx = dweight = by_x = by_weight = none = np.empty((0, 0), dtype)
    if "x" in wanted and weight is not None:
        dx = np.empty((*g.shape[:-1], weight.shape[1]), dtype)
        by_weight = weight
    if "weight" in wanted and x is not None:
        by_x = x.reshape(n, x.shape[-1])
        dweight = np.empty((m, x.shape[-1]), dtype)
    of_x = dx if dx.ndim == 2 else dx.reshape(n, by_weight.shape[1])
    work = n * m * (by_x.shape[1] + by_weight.shape[1])
    if _in_loops(_products, n, work):
        shares = _shares(n, m)
        split = dweight if n >= m else of_x  # of which each share has terms
        parts = np.empty((shares - 1, *split.shape), dtype)
        sums = np.zeros((shares, summed))
        turned = none if n >= m else np.empty((m, n), dtype)
        given = plain(by_x), plain(by_weight), turned
        _products(work, *of_g, sums, *given, of_x, dweight, parts)
        _add_parts(parts.size, parts, split)
        total = sums.sum(axis=0)
    else:
        total = np.zeros(summed)
        if summed or of is not None:
            _slopes(*of_g, total, 0, n, 0, m)
        with _threads(n * m * max(by_x.shape[1], by_weight.shape[1])):
            if dx is not none:
                np.matmul(d, by_weight, out=of_x)
            if dweight is not none:
                (np.multiply if n == 1 else np.matmul)(d.T, by_x, out=dweight)
    found = [f for f in (dx, dweight) if f is not none]
    return (*found, total.astype(dtype)) if summed else tuple(found)


@loop(parallel_from=1 << 21, pays_from=1 << 19, blas=True)
def _products(
    g: Array,
    of: Array,
    kind: int,
    d: Array,
    sums: Array,
    x: Array,
    weight: Array,
    turned: Array,
    dx: Array,
    dweight: Array,
    parts: Array,
) -> None:
    """Do what ``_slopes`` does and multiply, by shares of g's rows, of its columns if turned.

    The terms of all shares but the first, of dweight or, by columns, of dx, are left in parts.
    """
    (n, m), shares = g.shape, len(sums)
    for share in prange(shares):
        if turned.size:
            left, right = m * share // shares, m * (share + 1) // shares
            _slopes(g, of, kind, d, sums[share], 0, n, left, right)
            _transpose(d, turned, left, right, 0, n)
            mine = turned[left:right]
            if dx.size:
                np.dot(mine.T, weight[left:right], parts[share - 1] if share else dx)
            if dweight.size:
                np.dot(mine, x, dweight[left:right])
        else:
            top, bottom = n * share // shares, n * (share + 1) // shares
            _slopes(g, of, kind, d, sums[share], top, bottom, 0, m)
            if dx.size:
                np.dot(d[top:bottom], weight, dx[top:bottom])
            if dweight.size:
                np.dot(d[top:bottom].T, x[top:bottom], parts[share - 1] if share else dweight)


@loop(parallel_from=1 << 17)
def _add_parts(parts: Array, total: Array) -> None:
    for i in prange(len(total)):
        for part in range(len(parts)):
            for j in range(np.uint64(total.shape[1])):
                total[i, j] += parts[part, i, j]


@jit()
def _slopes(
    g: Array,
    of: Array,
    kind: int,
    d: Array,
    sums: Array,
    top: int,
    bottom: int,
    left: int,
    right: int,
) -> None:
    """Fill a part of d with g times the derivative of the activation.

    Where there are sums, add those of its columns.
    """
    block = np.empty(right - left, d.dtype)
    for start in range(top, bottom, ROWS):
        block[:] = 0
        for i in range(start, min(start + ROWS, bottom)):
            if kind != NONE:
                _slope(g, of, kind, i, d, left, right)
            if sums.size:
                _add(d, i, left, block)
        if sums.size:
            for j in range(left, right):
                sums[j] += block[j - left]


@jit()
def _add(d: Array, i: int, left: int, sums: Array) -> None:
    """Add to sums as many numbers of a row of d, from left on."""
    first = np.uint64(left)
    for j in range(np.uint64(len(sums))):
        sums[j] += d[i, first + j]


@jit()
def _slope(g: Array, of: Array, kind: int, i: int, d: Array, left: int, right: int) -> None:
    wide()
    zero, one = g.dtype.type(0), g.dtype.type(1)
    first, last = np.uint64(left), np.uint64(right)
    if kind == RELU:
        for j in range(first, last):
            d[i, j] = zero if of[i, j] <= zero else g[i, j]
    elif kind == SIGMOID:
        for j in range(first, last):
            d[i, j] = g[i, j] * (of[i, j] * (one - of[i, j]))
    elif kind == TANH:
        for j in range(first, last):
            d[i, j] = g[i, j] * (one - of[i, j] * of[i, j])
    elif kind == GELU:
        for j in range(first, last):
            d[i, j] = g[i, j] * gelu_slope(of[i, j])
    else:
        for j in range(first, last):
            d[i, j] = g[i, j] * silu_slope(of[i, j])
