"""Activation functions of neural networks, beside relu, sigmoid and tanh of `elementwise`.

Where one has a kink, its derivative there is PyTorch's.
"""

import math
from collections.abc import Mapping
from typing import Any

from ..engine import Op, Tensor
from .axes import answers_torch, axis_of, reject_unknown
from .creation import as_tensor, constant_like
from .elementwise import abs, elementwise, exp, sigmoid, tanh, where
from .fused import fused
from .piecewise import clip
from .predicates import greater, greater_equal, less, less_equal, logical_or
from .reals import of_reals
from .reductions import accurate_sum, narrowed, sum_along, widened
from .shape import concat, reshape
from .special import erfc, on_reals, softplus

__all__ = [
    "celu",
    "elu",
    "gelu",
    "glu",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "log_softmax",
    "mish",
    "prelu",
    "relu6",
    "selu",
    "silu",
    "softmax",
]


# Smooth ones

_GELU_SLOPE, _GELU_CUBE = math.sqrt(8 / math.pi), 0.044715


@on_reals
def _gelu_forward(xp: Any, x: Any, *, approximate: str) -> Any:
    if approximate == "tanh":
        return x * sigmoid.forward(xp, _GELU_SLOPE * (x + _GELU_CUBE * (x * x * x)))
    return x * (0.5 * erfc.forward(xp, x * -math.sqrt(0.5)))


def _gelu_x(g: Tensor, x: Tensor, *, approximate: str) -> Tensor:
    x = clip(x, -30, 30)  # beyond which the derivative is 0 and 1; float16 holds this one's cube
    if approximate == "tanh":
        cube = x * x * x
        s = sigmoid(_GELU_SLOPE * (x + _GELU_CUBE * cube))
        return g * (s + s * (1 - s) * (_GELU_SLOPE * (x + (3 * _GELU_CUBE) * cube)))
    bell = exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))
    return g * (0.5 * erfc(x * -math.sqrt(0.5)) + x * bell)


_gelu = elementwise(
    "gelu", _gelu_forward, vjp=dict(x=fused("gelu_backward", _gelu_x)), floating=True
)


def gelu(x: Any, /, approximate: str = "none") -> Tensor:
    """x times the probability that a standard normal number is below x; integers become floats.

    approximate="tanh": x · sigmoid(√(8/π) · (x + 0.044715 x³)), which differs by up to 5e-4.
    Hendrycks & Gimpel, "Gaussian error linear units" (2016).
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f'gelu: approximate must be "none" or "tanh", not {approximate!r}')
    return _gelu(x, approximate=approximate)


def _silu_x(g: Tensor, x: Tensor) -> Tensor:
    s = sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


silu = elementwise(
    "silu",
    lambda xp, x: x * sigmoid.forward(xp, x),
    vjp=dict(x=fused("silu_backward", _silu_x)),
    floating=True,
)
"""x · sigmoid(x), also called swish; integers become the default dtype."""


@on_reals
def _mish_forward(xp: Any, x: Any) -> Any:
    # tanh(log(1 + e)) = top / (top + 2) for e = exp(x), top = e² + 2e; where x >= 0, all over e².
    small = xp.exp(-xp.abs(x))
    top = xp.where(x >= 0, 1 + 2 * small, small * (small + 2))
    return x * (top / (top + 2 * xp.where(x >= 0, small * small, 1)))


def _mish_x(g: Tensor, x: Tensor) -> Tensor:
    t = tanh(softplus(x))
    return g * (t + x * (1 - t * t) * sigmoid(x))


mish = elementwise(
    "mish", _mish_forward, vjp=dict(x=fused("mish_backward", _mish_x)), floating=True
)
"""x · tanh(softplus(x)); integers become the default dtype. Misra, "Mish" (2019)."""


# With a kink at 0


@of_reals
def _elu_forward(xp: Any, x: Any, *, alpha: float, scale: float, rate: float) -> Any:
    return xp.where(x > 0, scale * x, (alpha * scale) * xp.expm1(rate * xp.minimum(x, 0)))


def _elu_x(g: Tensor, x: Tensor, *, alpha: float, scale: float, rate: float) -> Tensor:
    right = greater(x, 0)
    left = (alpha * scale * rate) * exp(rate * where(right, 0, x))
    return g * where(right, scale, left)


#: scale · x for x > 0, alpha · scale · (exp(rate · x) - 1) elsewhere
_elu = elementwise("elu", _elu_forward, vjp=dict(x=fused("elu_backward", _elu_x)), floating=True)


@answers_torch
def elu(x: Any, /, alpha: float = 1.0) -> Tensor:
    """x for x > 0, alpha · (exp(x) - 1) elsewhere, derivative alpha at 0; integers become floats.

    Clevert et al., "Fast and accurate deep network learning by exponential linear units" (2016).
    """
    return _elu(x, alpha=float(alpha), scale=1.0, rate=1.0)


@answers_torch
def selu(x: Any, /) -> Tensor:
    """1.0507 · elu(x, 1.6733), which keeps mean 0 and variance 1; integers become floats.

    Klambauer et al., "Self-normalizing neural networks" (2017), whose constants have more digits.
    """
    return _elu(x, alpha=1.6732632423543772, scale=1.0507009873554805, rate=1.0)


@answers_torch
def celu(x: Any, /, alpha: float = 1.0) -> Tensor:
    """x for x > 0, alpha · (exp(x / alpha) - 1) elsewhere; integers become floats.

    ValueError for an alpha that is not above 0. Barron, "Continuously differentiable exponential
    linear units" (2017).
    """
    if not alpha > 0:
        raise ValueError(f"celu: alpha must be above 0, got {alpha}")
    return _elu(x, alpha=float(alpha), scale=1.0, rate=1 / alpha)


_leaky_relu = elementwise(
    "leaky_relu",
    of_reals(lambda xp, x, *, slope: xp.where(x > 0, x, slope * xp.minimum(x, 0))),
    vjp=dict(
        x=fused("leaky_relu_backward", lambda g, x, *, slope: where(greater(x, 0), g, slope * g))
    ),
    floating=True,
)


@answers_torch
def leaky_relu(x: Any, /, negative_slope: float = 0.01) -> Tensor:
    """x for x > 0, negative_slope · x elsewhere, derivative that at 0; integers become floats."""
    return _leaky_relu(x, slope=float(negative_slope))


_prelu = elementwise(
    "prelu",
    of_reals(lambda xp, x, weight: xp.where(x > 0, x, weight * xp.minimum(x, 0))),
    vjp=dict(
        x=lambda g, x, weight: where(greater(x, 0), g, g * weight),
        weight=lambda g, x: where(greater(x, 0), 0, g * x),
    ),
    floating=True,
)


def prelu(x: Any, weight: Any, /) -> Tensor:
    """x for x > 0, weight · x elsewhere, derivative weight at 0; integers become floats.

    weight: one number, or one for each channel, which is axis 1 of x: a vector has one weight.
    ValueError for another count. He et al., "Delving deep into rectifiers" (2015).
    """
    x = as_tensor(x)
    weight = constant_like(weight, x)
    if weight.size == 1:
        return _prelu(x, reshape(weight, (1,) * x.ndim))
    if weight.ndim != 1 or x.ndim < 2 or weight.size != x.shape[1]:
        raise ValueError(
            f"prelu: expected one weight, or one for each channel (axis 1) of x, of shape "
            f"{x.shape}; got weight of shape {weight.shape}"
        )
    return _prelu(x, reshape(weight, (-1,) + (1,) * (x.ndim - 2)))


# Pieces of lines


def _hardtanh_x(g: Tensor, out: Tensor, *, low: float, high: float) -> Tensor:
    return where(logical_or(less_equal(out, low), greater_equal(out, high)), 0, g)


_hardtanh = elementwise(
    "hardtanh",
    of_reals(lambda xp, x, *, low, high: xp.minimum(xp.maximum(x, low), high)),
    vjp=dict(x=fused("hardtanh_backward", _hardtanh_x)),
    floating=True,
)


@answers_torch
def hardtanh(x: Any, /, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """x limited to [min_val, max_val]; the derivative at a bound is 0, where that of `clip` is 1.

    Integers become floats. ValueError unless min_val < max_val.
    """
    if not min_val < max_val:
        raise ValueError(f"hardtanh: min_val must be below max_val, got {min_val} and {max_val}")
    return _hardtanh(x, low=min_val, high=max_val)


@answers_torch
def relu6(x: Any, /) -> Tensor:
    """x limited to [0, 6]; the derivative at a bound is 0; integers become floats."""
    return _hardtanh(x, low=0, high=6)


@of_reals
def _hardsigmoid_forward(xp: Any, x: Any) -> Any:
    return xp.minimum(xp.maximum(x + 3, 0), 6) / 6


hardsigmoid = elementwise(
    "hardsigmoid",
    _hardsigmoid_forward,
    vjp=dict(x=fused("hardsigmoid_backward", lambda g, x: where(less(abs(x), 3), g * (1 / 6), 0))),
    floating=True,
)
"""(x + 3) / 6 limited to [0, 1], derivative 0 at ±3; integers become the default dtype."""


def _hardswish_x(g: Tensor, x: Tensor) -> Tensor:
    return where(less(abs(x), 3), g * (x * (1 / 3) + 0.5), where(less_equal(x, -3), 0, g))


hardswish = elementwise(
    "hardswish",
    lambda xp, x: x * _hardsigmoid_forward(xp, x),
    vjp=dict(x=fused("hardswish_backward", _hardswish_x)),
    floating=True,
)
"""x · hardsigmoid(x), derivative 0 at -3 and 1 at 3; integers become the default dtype.

Howard et al., "Searching for MobileNetV3" (2019).
"""


# Along an axis


def _halves(xp: Any, x: Any, axis: int) -> tuple[Any, Any]:
    before, half = (slice(None),) * axis, x.shape[axis] // 2
    return x[(*before, slice(None, half))], x[(*before, slice(half, None))]


def _glu_forward(xp: Any, x: Any, *, axis: int) -> Any:
    value, gate = _halves(xp, x, axis)
    return value * sigmoid.forward(xp, gate)


def _glu_x(g: Tensor, x: Tensor, axis: int) -> Tensor:
    value, gate = _halves(None, x, axis)
    s = sigmoid(gate)
    opened = g * s
    return concat([opened, opened * value * (1 - s)], axis=axis)


_glu = Op("glu", _glu_forward, vjp=dict(x=_glu_x), promotes=("x",), floating=True)


def glu(x: Any, /, axis: int = -1, **unknown: Any) -> Tensor:
    """The first half of x along an axis times the sigmoid of the second; integers become floats.

    ValueError where the axis has an odd length. Dauphin et al., "Language modeling with gated
    convolutional networks" (2017).
    """
    if unknown:
        reject_unknown("glu", unknown)
    x = as_tensor(x)
    axis = axis_of("glu", axis, x.shape)
    if x.shape[axis] % 2:
        raise ValueError(f"glu: axis {axis} of x must have an even length, got shape {x.shape}")
    return _glu(x, axis=axis)


def _shifted(xp: Any, x: Any, axis: int) -> Any:
    """Return x minus its maximum along an axis, so that exp does not overflow."""
    return x - xp.max(x, axis=axis, keepdims=True) if x.size else x


@of_reals
def _softmax_forward(xp: Any, x: Any, *, axis: int) -> Any:
    weights = xp.exp(widened(_shifted(xp, x, axis)))
    return narrowed(weights / accurate_sum(xp, weights, axis=(axis,), keepdims=True), x)


@of_reals
def _log_softmax_forward(xp: Any, x: Any, *, axis: int) -> Any:
    shifted = widened(_shifted(xp, x, axis))
    total = accurate_sum(xp, xp.exp(shifted), axis=(axis,), keepdims=True)
    return narrowed(shifted - xp.log(total), x)


def _softmax_x(g: Tensor, out: Tensor, *, axis: int) -> Tensor:
    return out * (g - sum_along(g * out, axis))


def _log_softmax_x(g: Tensor, out: Tensor, *, axis: int) -> Tensor:
    wide = widened(g)  # the sum of many g can overflow where the gradient does not
    dx: Tensor = narrowed(wide - exp(widened(out)) * sum_along(wide, axis), g)
    return dx


_softmax = Op(
    "softmax",
    _softmax_forward,
    vjp=dict(x=fused("softmax_backward", _softmax_x)),
    promotes=("x",),
    floating=True,
)
_log_softmax = Op(
    "log_softmax",
    _log_softmax_forward,
    vjp=dict(x=fused("log_softmax_backward", _log_softmax_x)),
    promotes=("x",),
    floating=True,
)


def softmax(x: Tensor, axis: int = -1, **unknown: Any) -> Tensor:
    """Return exp(x) / Σ exp(x) along an axis, without overflow."""
    return _along(_softmax, x, axis, unknown)


def log_softmax(x: Tensor, axis: int = -1, **unknown: Any) -> Tensor:
    """Return log(softmax(x)) along an axis, without overflow or log(0)."""
    return _along(_log_softmax, x, axis, unknown)


def _along(op: Op, x: Tensor, axis: int, unknown: Mapping[str, Any]) -> Tensor:
    if unknown:
        reject_unknown(op.name, unknown)
    x = as_tensor(x)
    result: Tensor = op(x, axis=axis_of(op.name, axis, x.shape))
    return result
