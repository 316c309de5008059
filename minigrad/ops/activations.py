"""Activation functions of neural networks, beside relu, sigmoid and tanh of `elementwise`."""

from collections.abc import Mapping
from typing import Any

from ..engine import Op, Tensor
from .axes import axis_of, reject_unknown
from .creation import as_tensor
from .elementwise import exp
from .reductions import accurate_sum, sum_op

__all__ = [
    "log_softmax",
    "softmax",
]


def sum_along(x: Tensor, axis: int) -> Tensor:
    """Return the sums along one axis, which stays."""
    return sum_op(x, axis=(axis,), keepdims=True)


def _shifted(xp: Any, x: Any, axis: int) -> Any:
    """Return x minus its maximum along an axis, so that exp does not overflow."""
    return x - xp.max(x, axis=axis, keepdims=True) if x.size else x


def _softmax_forward(xp: Any, x: Any, *, axis: int) -> Any:
    weights = xp.exp(_shifted(xp, x, axis))
    return weights / accurate_sum(xp, weights, axis=(axis,), keepdims=True)


def _log_softmax_forward(xp: Any, x: Any, *, axis: int) -> Any:
    shifted = _shifted(xp, x, axis)
    return shifted - xp.log(accurate_sum(xp, xp.exp(shifted), axis=(axis,), keepdims=True))


_softmax = Op(
    "softmax",
    _softmax_forward,
    vjp=dict(x=lambda g, out, axis: out * (g - sum_along(g * out, axis))),
    promotes=("x",),
    floating=True,
)
_log_softmax = Op(
    "log_softmax",
    _log_softmax_forward,
    vjp=dict(x=lambda g, out, axis: g - exp(out) * sum_along(g, axis)),
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
