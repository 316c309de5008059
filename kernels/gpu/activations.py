"""Launches activations.cu: activations and their derivatives, alone and within dense layers."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import gemm
from .launcher import FLOATS, NAMES, VECTOR, Array, Call, Device, kernel, plain, wide
from .sums import add_up

THREADS, WIDTH, ROWS = 256, 32, 512  # of a block: threads, columns and rows, as in the source
MOST_BLOCKS = 1 << 14  # beyond, a thread has more to do. Not measured yet on a card.
# Layers with fewer terms in their product are one launch of gemm.cu, bias and activation included;
# others are cuBLAS and a pass. 0 is none: not measured yet on a card.
GEMM_BELOW = 0
OF_VALUE, OF_INPUT = ("relu", "sigmoid", "tanh"), ("gelu", "silu")


def _numbers(dtype: Any, n: int, seed: int) -> Array:
    """Return numbers on both sides of every kink, some of them 0."""
    x = 3 * np.random.default_rng(seed).normal(size=(n, 3))
    x[1:2] = 0
    return x.astype(dtype)


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


def _blocks(threads: int) -> int:
    return min(max(-(-threads // THREADS), 1), MOST_BLOCKS)


def _alone(device: Device, name: str, *arrays: Array) -> Any:
    """Launch a function of arrays of one shape and dtype, and return what it makes."""
    shape, dtype = arrays[0].shape, arrays[0].dtype
    if dtype not in FLOATS or any((a.dtype, a.shape) != (dtype, shape) for a in arrays):
        return NotImplemented
    made, given = device.empty(shape, dtype), [plain(a) for a in arrays]
    blocks, vectors = _blocks(made.size), device.has_vectors(VECTOR, made, *given)
    function = f"{name}_{NAMES[dtype]}"
    device.launch("activations", function, blocks, THREADS, *given, made.size, vectors, made)
    return made


@kernel(_of_x())
def relu(device: Device, x: Array) -> Any:
    """Return x where it is above 0, otherwise 0. Declines all but float16, float32 and float64."""
    return _alone(device, "relu", x)


@kernel(_of_g_and_x())
def relu_backward(device: Device, g: Array, out: Array) -> Any:
    """Return the cotangent of relu's x."""
    return _alone(device, "relu_backward", g, out)


@kernel(_of_x())
def sigmoid(device: Device, x: Array) -> Any:
    """Return 1 / (1 + exp(-x))."""
    return _alone(device, "sigmoid", x)


@kernel(_of_g_and_x())
def sigmoid_backward(device: Device, g: Array, out: Array) -> Any:
    """Return the cotangent of sigmoid's x."""
    return _alone(device, "sigmoid_backward", g, out)


@kernel(_of_x())
def tanh(device: Device, x: Array) -> Any:
    """Return the hyperbolic tangent."""
    return _alone(device, "tanh", x)


@kernel(_of_g_and_x())
def tanh_backward(device: Device, g: Array, out: Array) -> Any:
    """Return the cotangent of tanh's x."""
    return _alone(device, "tanh_backward", g, out)


@kernel(_of_x())
def silu(device: Device, x: Array) -> Any:
    """Return x * sigmoid(x)."""
    return _alone(device, "silu", x)


@kernel(_of_g_and_x())
def silu_backward(device: Device, g: Array, x: Array) -> Any:
    """Return the cotangent of silu's x."""
    return _alone(device, "silu_backward", g, x)


@kernel(_of_x({"approximate": "none"}, {"approximate": "tanh"}))
def gelu(device: Device, x: Array, *, approximate: str) -> Any:
    """Return x times the probability that a normal number is below x, or what is near that."""
    return _alone(device, "gelu_tanh" if approximate == "tanh" else "gelu", x)


@kernel(_of_g_and_x({"approximate": "none"}, {"approximate": "tanh"}))
def gelu_backward(device: Device, g: Array, x: Array, *, approximate: str) -> Any:
    """Return the cotangent of gelu's x."""
    name = "gelu_tanh" if approximate == "tanh" else "gelu"
    return _alone(device, f"{name}_backward", g, x)


def _layer_calls(*activations: str) -> Callable[[Any, int], Iterator[Call]]:
    def calls(dtype: Any, n: int) -> Iterator[Call]:
        rng = np.random.default_rng(0)
        x, weight, bias = (rng.normal(size=s).astype(dtype) for s in ((n, 5), (3, 5), 3))
        for activation in activations:
            yield [x, weight, bias], {"activation": activation}
        yield [x, weight, None], {"activation": activations[0]}
        weight, bias = (rng.normal(size=s).astype(dtype) for s in ((8, 5), 8))
        for given in (bias, None):
            yield [x, weight, given], {"activation": activations[0]}

    return calls


def _layer_backward_calls(*activations: str) -> Callable[[Any, int], Iterator[Call]]:
    def calls(dtype: Any, n: int) -> Iterator[Call]:
        rng = np.random.default_rng(0)
        g, of = (rng.normal(size=(n, 3)).astype(dtype) for _ in range(2))
        x, weight = (rng.normal(size=s).astype(dtype) for s in ((n, 5), (3, 5)))
        first = [g] if activations == OF_VALUE else [g, None]
        for activation in activations:
            params = {"activation": activation}
            yield [*first, x, weight, of], params | {"wanted": ("x", "weight", "bias")}
        yield [*first, None, weight, of], params | {"wanted": ("x",)}

    return calls


@kernel(_layer_calls(*OF_VALUE))
def linear_value(
    device: Device, x: Array, weight: Array, bias: Array | None = None, *, activation: str
) -> Any:
    """Return the activation of x @ weight.T + bias, of x (..., k), weight (m, k), bias (m,).

    Declines dtypes other than float16, float32 and float64, and shapes that do not fit.
    """
    found = _layer(device, activation, x, weight, bias)
    return found if found is NotImplemented else found[0]


@kernel(_layer_calls(*OF_INPUT))
def linear_input(
    device: Device, x: Array, weight: Array, bias: Array | None = None, *, activation: str
) -> Any:
    """Return the activation of ``linear``, and what it is of; declines as `linear_value` does."""
    return _layer(device, activation, x, weight, bias)


def _layer(device: Device, activation: str, x: Array, weight: Array, bias: Array | None) -> Any:
    """Return the activation and, where the tape keeps it, what that is of."""
    if not x.ndim or weight.ndim != 2 or x.shape[-1] != weight.shape[1] or not weight.size:
        return NotImplemented
    dtype, (m, k) = x.dtype, weight.shape
    if dtype not in FLOATS or weight.dtype != dtype:
        return NotImplemented
    if bias is not None and (bias.dtype != dtype or bias.shape != (m,)):
        return NotImplemented
    rows, shape = x.reshape(x.size // k, k), (*x.shape[:-1], m)
    if dtype in gemm.DTYPES and rows.size * m < GEMM_BELOW:
        z = device.empty((len(rows), m), dtype) if activation in OF_INPUT else None
        out = gemm.matmul(device, rows, weight.T, bias, activation, z)
        return out.reshape(shape), z if z is None else z.reshape(shape)
    z = plain(rows @ weight.T).reshape(shape)
    out = device.empty(shape, dtype) if activation in OF_INPUT else z
    bias = None if bias is None else plain(bias)
    function = f"linear_{activation}_{NAMES[dtype]}"
    vectors = device.has_vectors(m, z, out) and (bias is None or device.has_vectors(m, bias))
    blocks = _blocks(z.size * dtype.itemsize // VECTOR if vectors else z.size)
    device.launch("activations", function, blocks, THREADS, z, bias, z.size, m, vectors, out)
    return out, z


@kernel(_layer_backward_calls(*OF_VALUE))
def linear_value_backward(
    device: Device,
    g: Array,
    x: Array | None,
    weight: Array | None,
    out: Array,
    *,
    activation: str,
    wanted: tuple[str, ...],
) -> Any:
    """Return those that are wanted of dx, dweight and dbias, as a tuple."""
    return _pulled_back(device, activation, g, x, weight, out, wanted)


@kernel(_layer_backward_calls(*OF_INPUT))
def linear_input_backward(
    device: Device,
    g_out: Array,
    g_z: Array | None,
    x: Array | None,
    weight: Array | None,
    z: Array,
    *,
    activation: str,
    wanted: tuple[str, ...],
) -> Any:
    """Return what `linear_value_backward` does; declines a cotangent of z itself."""
    if g_z is not None:
        return NotImplemented
    return _pulled_back(device, activation, g_out, x, weight, z, wanted)


def _pulled_back(
    device: Device,
    activation: str,
    g: Array,
    x: Array | None,
    weight: Array | None,
    of: Array,
    wanted: tuple[str, ...],
) -> Any:
    dtype, m = g.dtype, g.shape[-1]
    arrays = [a for a in (g, x, weight, of) if a is not None]
    if dtype not in FLOATS or any(a.dtype != dtype or not a.shape[-1] for a in arrays):
        return NotImplemented
    rows = g.size // m
    found = {}
    if "bias" in wanted:
        d, bands = device.empty(g.shape, dtype), max(-(-rows // ROWS), 1)
        parts, found["bias"] = device.empty((bands, m), wide(dtype)), device.empty((m,), dtype)
        function = f"linear_{activation}_backward_{NAMES[dtype]}"
        blocks = bands * -(-m // WIDTH)
        work = (plain(g), plain(of), rows, m, d, parts)
        device.launch("activations", function, blocks, THREADS, *work)
        add_up(device, parts, m, found["bias"])
    else:
        d = _alone(device, f"{activation}_backward", g, of)
    d = d.reshape(rows, m)
    if "x" in wanted and weight is not None:
        found["x"] = (d @ weight).reshape((*g.shape[:-1], weight.shape[1]))
    if "weight" in wanted and x is not None:
        found["weight"] = d.T @ x.reshape(rows, x.shape[-1])
    return tuple([found[name] for name in wanted])
