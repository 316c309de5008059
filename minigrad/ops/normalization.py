"""Normalizations: values made to have mean 0 and variance 1 over some axes.

Layer, group and batch norm are one op over different axes. What it finds out about x are outputs of
its own, so that the tape keeps x and what is much smaller.
"""

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from ..engine import Op, Tensor, apply, no_grad
from .creation import as_tensor, astype, constant_like
from .elementwise import sqrt
from .fused import fused
from .reals import require_reals
from .reductions import accurate_sum, mean, narrowed, spread, sum_to, widened
from .shape import reshape
from .updates import assign

__all__ = [
    "batch_norm",
    "group_norm",
    "layer_norm",
    "rms_norm",
]


def _count(shape: Sequence[int], axis: tuple[int, ...]) -> int:
    """Return how many elements share their statistics; 1 where there are none."""
    return max(math.prod(shape[a] for a in axis), 1)


def _mean(xp: Any, x: Any, axis: tuple[int, ...]) -> Any:
    return accurate_sum(xp, x, axis=axis, keepdims=True) / _count(x.shape, axis)


def _scaled(unit: Any, weight: Any, bias: Any, x: Any) -> Any:
    """Return unit · weight + bias in the dtype of x; unit is overwritten."""
    if weight is not None:
        unit *= weight
    if bias is not None:
        unit += bias
    return narrowed(unit, x)


def _scaled_back(
    g_out: Tensor, unit: Tensor, weight: Tensor | None, wanted: tuple[str, ...]
) -> tuple[Tensor, Tensor | None]:
    """Return the cotangents of unit and weight where out is unit · weight + bias."""
    g = astype(g_out, unit.dtype, copy=False)
    if weight is None:
        return g, None
    if "weight" not in wanted:
        return g * weight, None
    return g * weight, astype(sum_to(g * unit, weight.shape), weight.dtype, copy=False)


def _total(parts: list[Tensor], dtype: Any) -> Tensor | None:
    return astype(reduce(add, parts), dtype, copy=False) if parts else None


def _normalize_forward(
    xp: Any,
    x: Any,
    weight: Any = None,
    bias: Any = None,
    *,
    axis: tuple[int, ...],
    eps: float,
    shape: tuple[int, ...] | None,
) -> tuple[Any, Any, Any]:
    wide = widened(x if shape is None else xp.reshape(x, shape))
    # Less the first value: a large common part costs no digits, and equal values give exactly 0.
    key = tuple([slice(0, 1) if i in axis else slice(None) for i in range(wide.ndim)])
    first = wide[key] if x.size else 0
    deviation = wide - first
    offset = _mean(xp, deviation, axis)
    deviation -= offset
    var = _mean(xp, deviation * deviation, axis)
    deviation /= xp.sqrt(var + eps)
    out = _scaled(deviation, weight, bias, x)
    return out if shape is None else xp.reshape(out, x.shape), first + offset, var


def _normalize_back(
    g_out: Tensor | None,
    g_mean: Tensor | None,
    g_var: Tensor | None,
    x: Tensor,
    weight: Tensor | None,
    mean: Tensor,
    var: Tensor,
    *,
    bias_shape: tuple[int, ...] | None,
    axis: tuple[int, ...],
    eps: float,
    shape: tuple[int, ...] | None,
    wanted: tuple[str, ...],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """With s = √(var + eps) and unit = (x - mean) / s, a cotangent g of unit gives x
    (g - E g - unit · E(g · unit)) / s, where E is the mean over the axes: the last two come by way
    of mean and var, whose derivatives are 1 / n and 2 (x - mean) / n.
    """
    whole = x.shape
    if shape is not None:
        x, g_out = reshape(x, shape), g_out if g_out is None else reshape(g_out, shape)
    deviation = astype(x, var.dtype, copy=False) - mean
    n, parts, dweight, dbias = _count(x.shape, axis), [], None, None
    if g_out is not None:
        s = sqrt(var + eps)
        unit = deviation / s
        g, dweight = _scaled_back(g_out, unit, weight, wanted)
        if "x" in wanted:
            parts.append((g - _average(g, axis) - unit * _average(g * unit, axis)) / s)
        if bias_shape is not None and "bias" in wanted:
            dbias = sum_to(g_out, bias_shape)
    if g_mean is not None:
        parts.append(spread(g_mean / n, x.shape, axis))
    if g_var is not None:
        parts.append(deviation * (g_var * (2 / n)))
    dx = _total(parts, x.dtype)
    return dx if dx is None or shape is None else reshape(dx, whole), dweight, dbias


def _average(g: Tensor, axis: tuple[int, ...]) -> Tensor:
    return mean(g, axis=axis, keepdims=True)


#: (x - mean) / √(var + eps) · weight + bias, mean and var: those over axis, where they have length
#: 1, the variance over n. weight and bias broadcast to x, which is seen in a shape unless None:
#: kernels then give a gradient of x's own shape, which the tape keeps, and not a view to be copied.
_normalize = Op(
    "normalize",
    _normalize_forward,
    vjp={
        ("x", "weight", "bias"): fused(
            "normalize_backward", _normalize_back, wanted=("x", "weight", "bias")
        )
    },
    outputs=("out", "mean", "var"),
    promotes=("x", "weight", "bias"),
    floating=True,
)


def _rms_forward(
    xp: Any, x: Any, weight: Any = None, *, axis: tuple[int, ...], eps: float
) -> tuple[Any, Any]:
    wide = widened(x)
    square = _mean(xp, wide * wide, axis)
    return _scaled(wide / xp.sqrt(square + eps), weight, None, x), square


def _rms_back(
    g_out: Tensor | None,
    g_square: Tensor | None,
    x: Tensor,
    weight: Tensor | None,
    square: Tensor,
    *,
    axis: tuple[int, ...],
    eps: float,
    wanted: tuple[str, ...],
) -> tuple[Tensor | None, Tensor | None]:
    """As in `normalize`, but without a mean: (g - unit · E(g · unit)) / s, s = √(square + eps)."""
    wide = astype(x, square.dtype, copy=False)
    parts, dweight = [], None
    if g_out is not None:
        s = sqrt(square + eps)
        unit = wide / s
        g, dweight = _scaled_back(g_out, unit, weight, wanted)
        if "x" in wanted:
            parts.append((g - unit * _average(g * unit, axis)) / s)
    if g_square is not None:
        parts.append(wide * (g_square * (2 / _count(x.shape, axis))))
    return _total(parts, x.dtype), dweight


#: x / √(square + eps) · weight and square, the mean of x² over axis.
_rms_normalize = Op(
    "rms_normalize",
    _rms_forward,
    vjp={
        ("x", "weight"): fused("rms_normalize_backward", _rms_back, wanted=("x", "weight")),
    },
    outputs=("out", "square"),
    promotes=("x", "weight"),
    floating=True,
)


def layer_norm(
    x: Any,
    normalized_shape: int | Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Tensor:
    """Return (x - mean) / √(var + eps) · weight + bias, mean and var over the last axes of x.

    normalized_shape: their lengths, and the shape of weight and bias: ValueError for others.
    Statistics of float16 are float32. Ba et al., "Layer normalization" (2016).
    """
    x, axis, factors = _last_axes("layer_norm", x, normalized_shape, weight=weight, bias=bias)
    params = {"axis": axis, "eps": float(eps), "shape": None}
    out: Tensor = apply(_normalize, (x, *factors), params)[0]
    return out


def rms_norm(
    x: Any,
    normalized_shape: int | Sequence[int],
    weight: Any = None,
    eps: float | None = None,
) -> Tensor:
    """Return x / √(mean of x² + eps) · weight, the mean over the last axes of x.

    normalized_shape: their lengths, and the shape of weight: ValueError for others. eps None: the
    machine epsilon of the dtype, of float32 for float16. Zhang & Sennrich, "Root mean square layer
    normalization" (2019).
    """
    x, axis, factors = _last_axes("rms_norm", x, normalized_shape, weight=weight)
    if eps is None:
        eps = float(np.finfo(np.float64 if x.dtype == np.float64 else np.float32).eps)
    out: Tensor = apply(_rms_normalize, (x, *factors), {"axis": axis, "eps": float(eps)})[0]
    return out


def _last_axes(
    name: str, x: Any, normalized_shape: int | Sequence[int], **factors: Any
) -> tuple[Tensor, tuple[int, ...], list[Tensor | None]]:
    """Return x as a tensor, its axes that normalized_shape names, and its factors, all checked."""
    x = as_tensor(x)
    given = normalized_shape
    shape = tuple(given) if isinstance(given, Sequence) else (given,)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ValueError(
            f"{name}: the last axes of x must have the lengths normalized_shape={shape}, at least "
            f"one, but x has shape {x.shape}"
        )
    return x, tuple(range(x.ndim - len(shape), x.ndim)), _factors(name, x, shape, factors)


def _factors(
    name: str, x: Tensor, shape: tuple[int, ...], given: Mapping[str, Any]
) -> list[Tensor | None]:
    """Return what belongs to x as tensors; ValueError for another shape than this."""
    factors = [value if value is None else constant_like(value, x) for value in given.values()]
    require_reals(x, *factors, name=name)
    for what, factor in zip(given, factors, strict=True):
        if factor is not None and factor.shape != shape:
            raise ValueError(
                f"{name}: for x of shape {x.shape}, {what} must have shape {shape}, "
                f"not {factor.shape}"
            )
    return factors


def group_norm(
    x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Return each group of channels of each sample with mean 0 and variance 1, · weight + bias.

    x: (n, channels, ...), num_groups: a divisor of channels, weight and bias: (channels,).
    ValueError for others. Wu & He, "Group normalization" (2018).
    """
    x, factors = _with_channels("group_norm", x, weight=weight, bias=bias)
    n, channels, *rest = x.shape
    if num_groups < 1 or channels % num_groups:
        raise ValueError(
            f"group_norm: num_groups={num_groups} must divide the channels, {channels} in x of "
            f"shape {x.shape}"
        )
    groups = (num_groups, channels // num_groups)
    factors = [f if f is None else reshape(f, groups + (1,) * len(rest)) for f in factors]
    params = {"axis": tuple(range(2, x.ndim + 1)), "eps": float(eps), "shape": (n, *groups, *rest)}
    out: Tensor = apply(_normalize, (x, *factors), params)[0]
    return out


def batch_norm(
    x: Any,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float | Tensor = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return (x - mean) / √(var + eps) · weight + bias for each channel.

    x: (n, channels, ...), all else (channels,). In training, mean and var are those of all samples
    and positions, of which a channel needs two, and the running ones, unless None, are changed in
    place: r ← (1 - momentum) · r + momentum · new, of the variance over n - 1; an empty batch
    leaves them. Otherwise mean and var are the running ones. ValueError for what does not fit,
    TypeError for running ones that are no tensors.
    Ioffe & Szegedy, "Batch normalization" (2015).
    """
    running = {"running_mean": running_mean, "running_var": running_var}
    for what, values in running.items():
        if values is not None and not isinstance(values, Tensor):
            raise TypeError(
                f"batch_norm: {what} is changed in place and must be a Tensor or None, not "
                f"{type(values).__name__}; mg.tensor() makes one"
            )
    x, factors = _with_channels("batch_norm", x, weight=weight, bias=bias, **running)
    column = (x.shape[1],) + (1,) * (x.ndim - 2)
    weight, bias = (f if f is None else reshape(f, column) for f in factors[:2])
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError(
                "batch_norm: without training, running_mean and running_var must be given"
            )
        scale = 1 / sqrt(reshape(running_var + eps, column))
        scale = scale if weight is None else scale * weight
        out: Tensor = (x - reshape(running_mean, column)) * scale
        if bias is not None:
            out = out + bias
        return out
    axis = (0, *range(2, x.ndim))
    count = math.prod(x.shape[a] for a in axis)
    if count == 1:
        raise ValueError(
            "batch_norm: in training, a channel needs more than one value; got x of shape "
            f"{x.shape}: use a larger batch, drop the last one or call eval()"
        )
    params = {"axis": axis, "eps": float(eps), "shape": None}
    normalized: tuple[Tensor, Tensor, Tensor] = apply(_normalize, (x, weight, bias), params)
    if count:
        with no_grad():
            _move(running_mean, normalized[1], momentum)
            _move(running_var, normalized[2] * (count / (count - 1)), momentum)
    return normalized[0]


def _move(running: Tensor | None, new: Tensor, momentum: float | Tensor) -> None:
    if running is not None:
        if isinstance(momentum, Tensor):
            momentum = astype(momentum, running.dtype)
        assign(running, (1 - momentum) * running + momentum * reshape(new, running.shape))


def _with_channels(name: str, given: Any, **of_channels: Any) -> tuple[Tensor, list[Tensor | None]]:
    """Return tensors; ValueError unless the first has channels, the others a value for each."""
    x: Tensor = as_tensor(given)
    if x.ndim < 2:
        raise ValueError(f"{name}: expected x of shape (n, channels, ...), got {x.shape}")
    return x, _factors(name, x, x.shape[1:2], of_channels)
