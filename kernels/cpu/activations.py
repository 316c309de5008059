"""Activation functions and their derivatives, each in one pass over its input.

Arrays are walked flat, in the order in which they lie in memory, and split into chunks for threads.
An element is 4 or 8 bytes in (a cotangent too: twice that) and as much out: of the piecewise linear
functions some 2 operations, so that memory bounds them; with an exponential 25, of gelu 60.
Measured beside the NumPy path on one thread with AVX-512 over 100,000 float32, in cache, in parts
of its time: relu 0.3, sigmoid and silu 0.11, elu 0.09, mish 0.08, gelu 0.06, leaky_relu 0.05; with
the derivative relu 0.18, tanh 0.7, silu 0.13, gelu 0.06. Over 16 numbers, too, all but relu gain.
Of tanh there is no kernel: NumPy has it vectorised as well. Over 16 MB, forward and backward, gelu
takes 1.6 times as long as copies of as many bytes, silu 1.3; beside PyTorch 1.1 and 0.95.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np

from . import elementary
from .compiler import FLOATS, Array, Call, jit, kernel, loop, plain, prange
from .elementary import exp, expm1, real, select
from .vectors import wide

CHUNK = 1 << 12  # elements that one thread computes at a time

# What is computed of each element, in the order in which the loops ask for it.
(
    RELU,
    TANH,
    SIGMOID,
    GELU,
    GELU_TANH,
    SILU,
    SOFTPLUS,
    MISH,
    ELU,
    LEAKY_RELU,
    HARDTANH,
    HARDSIGMOID,
    HARDSWISH,
    ERF,
    ERFC,
) = range(15)


# Of one element


@jit("contract", inlined=True)
def _softplus(x: Any, beta: Any) -> Any:
    """Return log(1 + exp(beta * x)) / beta."""
    small = exp(-abs(x) * beta)
    return select(x > real(x, 0), x, real(x, 0)) + elementary.log1p(small) / beta


@jit("contract", inlined=True)
def _mish_parts(x: Any) -> Any:
    """Return exp(-abs(x)), p and q with tanh(softplus(x)) = p / (p + 2 q)."""
    # tanh(log(1 + e)) = (e² + 2 e) / (e² + 2 e + 2), for x >= 0 divided by e²
    small = exp(-abs(x))
    p = select(x >= real(x, 0), real(x, 1) + real(x, 2) * small, small * (small + real(x, 2)))
    return small, p, select(x >= real(x, 0), small * small, real(x, 1))


@jit("contract", inlined=True)
def _mish(x: Any) -> Any:
    """Return x * tanh(softplus(x))."""
    _, p, q = _mish_parts(x)
    return x * (p / (p + real(x, 2) * q))


@jit("contract", inlined=True)
def _mish_slope(x: Any) -> Any:
    small, p, q = _mish_parts(x)
    inverse = real(x, 1) / (p + real(x, 2) * q)
    rest = real(x, 4) * q * (p + q) * inverse * inverse  # 1 - tanh(softplus(x))²
    s = select(x >= real(x, 0), real(x, 1), small) / (real(x, 1) + small)
    return p * inverse + x * rest * s


@jit("contract", inlined=True)
def _elu(x: Any, alpha: Any, scale: Any, rate: Any) -> Any:
    """Return scale * x for x > 0, alpha * scale * (exp(rate * x) - 1) elsewhere."""
    left = alpha * scale * expm1(rate * select(x > real(x, 0), real(x, 0), x))
    return select(x > real(x, 0), scale * x, left)


@jit("contract", inlined=True)
def _elu_slope(x: Any, alpha: Any, scale: Any, rate: Any) -> Any:
    left = alpha * scale * rate * exp(rate * select(x > real(x, 0), real(x, 0), x))
    return select(x > real(x, 0), scale, left)


@jit("contract", inlined=True)
def _bounded(x: Any, low: Any, high: Any) -> Any:
    """Return x limited to [low, high]; a nan as it is."""
    return select(x < low, low, select(x > high, high, x))


@jit("contract", inlined=True)
def _hardsigmoid(x: Any) -> Any:
    """Return (x + 3) / 6 limited to [0, 1]."""
    return _bounded(x + real(x, 3), real(x, 0), real(x, 6)) / real(x, 6)


@jit("contract", inlined=True)
def _hardswish_pull(g: Any, x: Any) -> Any:
    sloping = g * (x * real(x, 1 / 3) + real(x, 0.5))
    flat = select(x <= real(x, -3), real(x, 0), g)
    return select(abs(x) < real(x, 3), sloping, flat)


@jit("contract", inlined=True)
def _bell(x: Any) -> Any:
    """Return the derivative of erf."""
    return real(x, 2 / math.sqrt(math.pi)) * exp(-(x * x))


@jit("contract", inlined=True)
def _absorbed(g: Any, slope: Any) -> Any:
    """Return g * slope, but 0 where g is 0, whatever the slope."""
    return select(g == real(g, 0), real(g, 0), g * slope)


# Of a stretch


@jit("contract")
def _values(kind: int, x: Array, a: Any, b: Any, c: Any, out: Array) -> None:
    """Write the function's values at ``x`` to ``out``."""
    wide()
    n = x.size
    if kind == RELU:
        for i in range(n):
            out[i] = select(x[i] < real(x[i], 0), real(x[i], 0), x[i])
    elif kind == SIGMOID:
        for i in range(n):
            out[i] = elementary.sigmoid(x[i])
    elif kind == GELU:
        for i in range(n):
            out[i] = elementary.gelu(x[i])
    elif kind == GELU_TANH:
        for i in range(n):
            out[i] = elementary.gelu_tanh(x[i])
    elif kind == SILU:
        for i in range(n):
            out[i] = elementary.silu(x[i])
    elif kind == SOFTPLUS:
        for i in range(n):
            out[i] = _softplus(x[i], a)
    elif kind == MISH:
        for i in range(n):
            out[i] = _mish(x[i])
    elif kind == ELU:
        for i in range(n):
            out[i] = _elu(x[i], a, b, c)
    elif kind == LEAKY_RELU:
        for i in range(n):
            out[i] = select(x[i] > real(x[i], 0), x[i], a * x[i])
    elif kind == HARDTANH:
        for i in range(n):
            out[i] = _bounded(x[i], a, b)
    elif kind == HARDSIGMOID:
        for i in range(n):
            out[i] = _hardsigmoid(x[i])
    elif kind == HARDSWISH:
        for i in range(n):
            out[i] = x[i] * _hardsigmoid(x[i])
    elif kind == ERF:
        for i in range(n):
            out[i] = elementary.erf(x[i])
    elif kind == ERFC:
        for i in range(n):
            out[i] = elementary.erfc(x[i])


@jit("contract")
def _cotangents(kind: int, g: Array, x: Array, a: Any, b: Any, c: Any, out: Array) -> None:
    """Write ``g`` times the derivative to ``out``; ``x``: the input, or for some the value."""
    wide()
    n = x.size
    if kind == RELU:
        for i in range(n):
            out[i] = select(x[i] <= real(x[i], 0), real(x[i], 0), g[i])
    elif kind == TANH:
        for i in range(n):
            out[i] = g[i] * (real(x[i], 1) - x[i] * x[i])
    elif kind == SIGMOID:
        for i in range(n):
            out[i] = g[i] * (x[i] * (real(x[i], 1) - x[i]))
    elif kind == GELU:
        for i in range(n):
            out[i] = g[i] * elementary.gelu_slope(x[i])
    elif kind == GELU_TANH:
        for i in range(n):
            out[i] = g[i] * elementary.gelu_tanh_slope(x[i])
    elif kind == SILU:
        for i in range(n):
            out[i] = g[i] * elementary.silu_slope(x[i])
    elif kind == SOFTPLUS:
        for i in range(n):
            out[i] = _absorbed(g[i], elementary.sigmoid(a * x[i]))
    elif kind == MISH:
        for i in range(n):
            out[i] = g[i] * _mish_slope(x[i])
    elif kind == ELU:
        for i in range(n):
            out[i] = g[i] * _elu_slope(x[i], a, b, c)
    elif kind == LEAKY_RELU:
        for i in range(n):
            out[i] = select(x[i] > real(x[i], 0), g[i], a * g[i])
    elif kind == HARDTANH:
        for i in range(n):
            out[i] = select(x[i] <= a, real(x[i], 0), select(x[i] >= b, real(x[i], 0), g[i]))
    elif kind == HARDSIGMOID:
        for i in range(n):
            out[i] = select(abs(x[i]) < real(x[i], 3), g[i] * real(x[i], 1 / 6), real(x[i], 0))
    elif kind == HARDSWISH:
        for i in range(n):
            out[i] = _hardswish_pull(g[i], x[i])
    elif kind == ERF:
        for i in range(n):
            out[i] = _absorbed(g[i], _bell(x[i]))
    elif kind == ERFC:
        for i in range(n):
            out[i] = _absorbed(g[i], -_bell(x[i]))


# Of an array


@loop(parallel_from=1 << 20)
def _map(kind: int, x: Array, a: float, b: float, c: float, out: Array) -> None:
    """Write the function's values at flat ``x`` to flat ``out``."""
    number = x.dtype.type
    for i in prange((x.size + CHUNK - 1) // CHUNK):
        part = slice(i * CHUNK, (i + 1) * CHUNK)
        _values(kind, x[part], number(a), number(b), number(c), out[part])


@loop(parallel_from=1 << 20)
def _pull(kind: int, g: Array, x: Array, a: float, b: float, c: float, out: Array) -> None:
    """Write flat ``g`` times the function's derivative to flat ``out``; see ``_cotangents``."""
    number = x.dtype.type
    for i in prange((x.size + CHUNK - 1) // CHUNK):
        part = slice(i * CHUNK, (i + 1) * CHUNK)
        _cotangents(kind, g[part], x[part], number(a), number(b), number(c), out[part])


# The work is in bytes of the input, times what an element costs beside relu's.
LINEAR, EXPONENTIAL, NORMAL = 1, 4, 8


def _mapped(kind: int, cost: int, x: Array, a: float = 0, b: float = 0, c: float = 0) -> Any:
    """Return the function of every element of ``x``, in Fortran's order if ``x`` is."""
    if x.dtype not in FLOATS:
        return NotImplemented
    order: Literal["C", "F"] = "F" if x.flags.fnc else "C"
    out = np.empty_like(x, order=order)
    flat = plain(x.ravel(order))
    _map(cost * x.nbytes, kind, flat, float(a), float(b), float(c), out.ravel(order))
    return out


def _pulled(
    kind: int, cost: int, g: Array, x: Array, a: float = 0, b: float = 0, c: float = 0
) -> Any:
    """Return ``g`` times the derivative at ``x``, of one shape and dtype."""
    if x.dtype not in FLOATS or g.dtype != x.dtype or g.shape != x.shape:
        return NotImplemented
    order: Literal["C", "F"] = "F" if g.flags.fnc and x.flags.fnc else "C"
    out = np.empty_like(x, order=order)
    flat_g, flat_x = plain(g.ravel(order)), plain(x.ravel(order))
    _pull(cost * x.nbytes, kind, flat_g, flat_x, float(a), float(b), float(c), out.ravel(order))
    return out


def _of_x(*several: dict[str, Any]) -> Callable[[Any, int], Iterator[Call]]:
    """Return calls on one array, with each of the params."""

    def calls(dtype: Any, n: int) -> Iterator[Call]:
        for params in several or ({},):
            yield [_numbers(dtype, n, 0)], params

    return calls


def _of_g_and_x(*several: dict[str, Any]) -> Callable[[Any, int], Iterator[Call]]:
    """Return calls on a cotangent and an array, with each of the params."""

    def calls(dtype: Any, n: int) -> Iterator[Call]:
        for params in several or ({},):
            yield [_numbers(dtype, n, 1), _numbers(dtype, n, 0)], params

    return calls


def _numbers(dtype: Any, n: int, seed: int) -> Array:
    """Return numbers on both sides of every kink, some of them 0."""
    x = 3 * np.random.default_rng(seed).normal(size=(n, 3))
    x[1:2] = 0
    return x.astype(dtype)


@kernel(_of_x(), pays_from=1 << 11)
def relu(x: Array) -> Any:
    """Return max(x, 0)."""
    return _mapped(RELU, LINEAR, x)


@kernel(_of_g_and_x())
def relu_backward(g: Array, out: Array) -> Any:
    """Return 0 where out <= 0, else g."""
    return _pulled(RELU, LINEAR, g, out)


@kernel(_of_g_and_x())
def tanh_backward(g: Array, out: Array) -> Any:
    """Return g * (1 - out**2)."""
    return _pulled(TANH, LINEAR, g, out)


@kernel(_of_x())
def sigmoid(x: Array) -> Any:
    """Return 1 / (1 + exp(-x))."""
    return _mapped(SIGMOID, EXPONENTIAL, x)


@kernel(_of_g_and_x())
def sigmoid_backward(g: Array, out: Array) -> Any:
    """Return g * out * (1 - out)."""
    return _pulled(SIGMOID, LINEAR, g, out)


@kernel(_of_x({"approximate": "none"}, {"approximate": "tanh"}))
def gelu(x: Array, *, approximate: str) -> Any:
    """Return x times the probability that a standard normal number is below x, or near that."""
    if approximate == "tanh":
        return _mapped(GELU_TANH, EXPONENTIAL, x)
    return _mapped(GELU, NORMAL, x)


@kernel(_of_g_and_x({"approximate": "none"}, {"approximate": "tanh"}))
def gelu_backward(g: Array, x: Array, *, approximate: str) -> Any:
    """Return g times the derivative of gelu at x."""
    if approximate == "tanh":
        return _pulled(GELU_TANH, NORMAL, g, x)
    return _pulled(GELU, NORMAL, g, x)


@kernel(_of_x())
def silu(x: Array) -> Any:
    """Return x * sigmoid(x)."""
    return _mapped(SILU, EXPONENTIAL, x)


@kernel(_of_g_and_x())
def silu_backward(g: Array, x: Array) -> Any:
    """Return g times the derivative of silu at x."""
    return _pulled(SILU, EXPONENTIAL, g, x)


@kernel(_of_x({"beta": 1.0}, {"beta": 0.5}))
def softplus(x: Array, *, beta: float) -> Any:
    """Return log(1 + exp(beta * x)) / beta."""
    return _mapped(SOFTPLUS, NORMAL, x, beta)


@kernel(_of_g_and_x({"beta": 1.0}, {"beta": 0.5}))
def softplus_backward(g: Array, x: Array, *, beta: float) -> Any:
    """Return g * sigmoid(beta * x), 0 where g is 0."""
    return _pulled(SOFTPLUS, EXPONENTIAL, g, x, beta)


@kernel(_of_x())
def mish(x: Array) -> Any:
    """Return x * tanh(softplus(x))."""
    return _mapped(MISH, EXPONENTIAL, x)


@kernel(_of_g_and_x())
def mish_backward(g: Array, x: Array) -> Any:
    """Return g times the derivative of mish at x."""
    return _pulled(MISH, NORMAL, g, x)


@kernel(_of_x({"alpha": 0.7, "scale": 1.1, "rate": 1.5}))
def elu(x: Array, *, alpha: float, scale: float, rate: float) -> Any:
    """Return scale * x for x > 0, alpha * scale * (exp(rate * x) - 1) elsewhere."""
    return _mapped(ELU, EXPONENTIAL, x, alpha, scale, rate)


@kernel(_of_g_and_x({"alpha": 0.7, "scale": 1.1, "rate": 1.5}))
def elu_backward(g: Array, x: Array, *, alpha: float, scale: float, rate: float) -> Any:
    """Return g times the derivative of elu at x."""
    return _pulled(ELU, EXPONENTIAL, g, x, alpha, scale, rate)


@kernel(_of_x({"slope": 0.1}))
def leaky_relu(x: Array, *, slope: float) -> Any:
    """Return x for x > 0, slope * x elsewhere."""
    return _mapped(LEAKY_RELU, LINEAR, x, slope)


@kernel(_of_g_and_x({"slope": 0.1}))
def leaky_relu_backward(g: Array, x: Array, *, slope: float) -> Any:
    """Return g where x > 0, slope * g elsewhere."""
    return _pulled(LEAKY_RELU, LINEAR, g, x, slope)


@kernel(_of_x({"low": -1.0, "high": 2}))
def hardtanh(x: Array, *, low: float, high: float) -> Any:
    """Return x limited to [low, high]."""
    return _mapped(HARDTANH, LINEAR, x, low, high)


@kernel(_of_g_and_x({"low": -1.0, "high": 2}))
def hardtanh_backward(g: Array, out: Array, *, low: float, high: float) -> Any:
    """Return 0 where out <= low or out >= high, else g."""
    return _pulled(HARDTANH, LINEAR, g, out, low, high)


@kernel(_of_x())
def hardsigmoid(x: Array) -> Any:
    """Return (x + 3) / 6 limited to [0, 1]."""
    return _mapped(HARDSIGMOID, LINEAR, x)


@kernel(_of_g_and_x())
def hardsigmoid_backward(g: Array, x: Array) -> Any:
    """Return g / 6 where abs(x) < 3, else 0."""
    return _pulled(HARDSIGMOID, LINEAR, g, x)


@kernel(_of_x())
def hardswish(x: Array) -> Any:
    """Return x * hardsigmoid(x)."""
    return _mapped(HARDSWISH, LINEAR, x)


@kernel(_of_g_and_x())
def hardswish_backward(g: Array, x: Array) -> Any:
    """Return g times the derivative of hardswish at x."""
    return _pulled(HARDSWISH, LINEAR, g, x)


@kernel(_of_x())
def erf(x: Array) -> Any:
    """Return the error function."""
    return _mapped(ERF, NORMAL, x)


@kernel(_of_g_and_x())
def erf_backward(g: Array, x: Array) -> Any:
    """Return g times the derivative of erf at x, 0 where g is 0."""
    return _pulled(ERF, EXPONENTIAL, g, x)


@kernel(_of_x())
def erfc(x: Array) -> Any:
    """Return 1 - erf(x)."""
    return _mapped(ERFC, NORMAL, x)


@kernel(_of_g_and_x())
def erfc_backward(g: Array, x: Array) -> Any:
    """Return g times the derivative of erfc at x, 0 where g is 0."""
    return _pulled(ERFC, EXPONENTIAL, g, x)
