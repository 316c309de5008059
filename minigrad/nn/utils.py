"""Clipping of gradients, between `backward()` and the optimizer's `step()`."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..engine import Tensor, no_grad
from ..ops import updates
from ..ops.creation import zeros
from ..ops.piecewise import minimum

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
]


def get_total_norm(
    tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Return the norm of all elements together, float64 and 0-d; of no tensors at all it is 0.

    tensors: one, or an iterable of them on one device. norm_type: p > 0, inf for the largest
    absolute value. It is added up in float64. error_if_nonfinite: RuntimeError for nan and inf,
    which waits for the device.
    """
    return _norm(_listed("get_total_norm", "tensor", tensors), norm_type, error_if_nonfinite)


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor | float
) -> None:
    """Multiply the gradients in place by min(1, max_norm / (total_norm + 1e-6))."""
    grads = _grads("clip_grads_with_norm_", parameters)
    limit = _limit("clip_grads_with_norm_", "max_norm", max_norm)
    if grads:
        if not isinstance(total_norm, Tensor):
            total_norm = Tensor(total_norm, np.float64, backend=grads[0].backend)
        _scale(grads, limit, total_norm)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale the gradients in place so that their norm is at most max_norm; return what it was.

    The norm is that of all gradients together; see `get_total_norm` for it and the arguments, and
    `clip_grads_with_norm_` for the scaling. Parameters without a gradient are passed over. Pascanu,
    Mikolov & Bengio, "On the difficulty of training recurrent neural networks" (2013), section 3.2.
    """
    grads = _grads("clip_grad_norm_", parameters)
    limit = _limit("clip_grad_norm_", "max_norm", max_norm)
    norm = _norm(grads, norm_type, error_if_nonfinite)
    _scale(grads, limit, norm)
    return norm


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit every element of the gradients to [-clip_value, clip_value], in place."""
    grads = _grads("clip_grad_value_", parameters)
    limit = _limit("clip_grad_value_", "clip_value", clip_value)
    with no_grad():
        for g in grads:
            bound = min(limit, float(np.finfo(g.dtype).max))  # float16 holds no 1e5
            updates.limit_update(g, limit=bound)


def _norm(tensors: list[Tensor], norm_type: float, error_if_nonfinite: bool) -> Tensor:
    p = float(norm_type)
    if not p > 0:
        raise ValueError(f"get_total_norm: norm_type must be a number > 0 or inf, got {norm_type}")
    if not tensors:
        return zeros((), dtype=np.float64)
    if p == 2:
        norm = updates.total_norm(*tensors)
    else:
        norm = updates.total_p_norm(*tensors, norm_type=p)
    if error_if_nonfinite and not math.isfinite(norm.item()):
        raise RuntimeError(
            f"get_total_norm: the norm of order {p} is {norm.item()}; look for what is not finite "
            "with mg.detect_anomaly(), or pass error_if_nonfinite=False"
        )
    return norm


def _scale(grads: list[Tensor], limit: float, norm: Tensor) -> None:
    with no_grad():
        factor = minimum(limit / (norm + 1e-6), 1.0)
        for g in grads:
            updates.scale_update(g, factor)


def _grads(name: str, parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    grads = (p.grad for p in _listed(name, "parameter", parameters))
    return [g for g in grads if g is not None]


def _listed(name: str, what: str, tensors: Any) -> list[Tensor]:
    """Return one or several tensors as a list; errors name what is no tensor or elsewhere."""
    if not isinstance(tensors, Iterable):
        raise TypeError(
            f"{name}: expected a tensor or an iterable of them, got a {type(tensors).__name__}"
        )
    given: list[Tensor] = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    for position, tensor in enumerate(given):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name}: {what} {position} is no Tensor but a {type(tensor).__name__}")
        if tensor.device != given[0].device:
            raise ValueError(
                f"{name}: {what} {position} is on {tensor.device}, the first on "
                f"{given[0].device}; clip those of each device by themselves"
            )
    return given


def _limit(name: str, what: str, value: float) -> float:
    limit = float(value)
    if not limit >= 0:
        raise ValueError(f"{name}: {what} must be a number >= 0, got {value}")
    return limit
