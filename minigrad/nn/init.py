"""Initialisers: each fills a tensor in place, drawing from the default generator, and returns it.

For layers, a weight is (out, in) or (out, in, *kernel): fan_in is the number of inputs that one
output sees, in · Π kernel; fan_out is out · Π kernel.
"""

import math
from typing import Any

from ..engine import Tensor, no_grad
from ..messages import did_you_mean
from ..ops import random
from ..ops.updates import assign

__all__ = [
    "calculate_gain",
    "constant_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

_GAINS = {
    "linear": 1.0,
    "conv1d": 1.0,
    "conv2d": 1.0,
    "conv3d": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "leaky_relu": math.sqrt(2),
    "selu": 3 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor that keeps the spread of activations from layer to layer.

    param: the negative slope of "leaky_relu", 0.01 unless given. ValueError for an unknown name.
    """
    if nonlinearity not in _GAINS:
        hint = did_you_mean(nonlinearity, _GAINS)
        raise ValueError(
            f"unknown nonlinearity {nonlinearity!r}: expected one of {', '.join(_GAINS)}{hint}"
        )
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2 / (1 + slope**2))
    return _GAINS[nonlinearity]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Fill with numbers spread evenly over [a, b)."""
    return _fill(
        tensor, random.uniform(tensor.shape, a, b, dtype=tensor.dtype, backend=tensor.backend)
    )


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Fill with normally distributed numbers."""
    return _fill(
        tensor, random.normal(tensor.shape, mean, std, dtype=tensor.dtype, backend=tensor.backend)
    )


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one number."""
    return _fill(tensor, val)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return _fill(tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return _fill(tensor, 1)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Fill uniformly in ±sqrt(3) · gain / sqrt(fan).

    a: the negative slope of a leaky ReLU. mode: "fan_in" keeps the spread of the activations,
    "fan_out" that of the gradients. He et al., "Delving deep into rectifiers" (2015).
    """
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Fill normally with the standard deviation gain / sqrt(fan); see `kaiming_uniform_`."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Fill uniformly in ±gain · sqrt(6 / (fan_in + fan_out)).

    Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks"
    (2010).
    """
    bound = math.sqrt(3) * _xavier_std(tensor, gain)
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Fill normally with the standard deviation gain · sqrt(2 / (fan_in + fan_out))."""
    return normal_(tensor, 0.0, _xavier_std(tensor, gain))


def _fill(tensor: Tensor, value: Any) -> Tensor:
    with no_grad():
        return assign(tensor, value)


def _fans(tensor: Tensor) -> tuple[int, int]:
    if tensor.ndim < 2:
        raise ValueError(
            f"fan_in and fan_out need a weight (out, in, ...), got shape {tensor.shape}; "
            "fill it with uniform_, normal_ or zeros_"
        )
    kernel = math.prod(tensor.shape[2:])
    return tensor.shape[1] * kernel, tensor.shape[0] * kernel


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    fans = dict(zip(("fan_in", "fan_out"), _fans(tensor), strict=True))
    if mode not in fans:
        raise ValueError(f'mode must be "fan_in" or "fan_out", not {mode!r}')
    # Where a fan is 0 there is nothing to fill.
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fans[mode], 1))


def _xavier_std(tensor: Tensor, gain: float) -> float:
    return gain * math.sqrt(2 / max(sum(_fans(tensor)), 1))
