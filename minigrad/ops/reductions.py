"""Reductions. A cotangent is spread back over the axes that were reduced."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..arrays import get_default_dtype
from ..engine import Op, Tensor, apply
from ..methods import Axis
from .axes import axes_of, axis_of, reject_unknown
from .creation import as_tensor, astype, zeros_like
from .elementwise import abs, exp, sign, where
from .fused import fused
from .predicates import equal, isnan, logical_or

__all__ = [
    "all",
    "any",
    "argmax",
    "argmin",
    "count_nonzero",
    "logsumexp",
    "max",
    "mean",
    "min",
    "norm",
    "std",
    "sum",
    "var",
]


# Adding n float32 one after another loses up to n/2 ulp; this many is a harmless block.
_BLOCK = 1024


def accurate_sum(xp: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    """Sum so that the error does not grow with the length: in blocks, pairwise or in float64.

    NumPy adds pairwise only along the contiguous end; along other axes it adds row by row.
    """
    dtype = x.dtype
    if dtype.kind not in "fc" or dtype.itemsize >= (8 if dtype.kind == "f" else 16):
        return x.sum(axis=axis, keepdims=keepdims)
    small = x.size <= _BLOCK or _count(x.shape, axis) <= _BLOCK
    if dtype.itemsize > 2 and (small or _is_contiguous_end(x, axis)):
        return xp.add.reduce(x, axis=axis, keepdims=keepdims)
    if axis == (0,) and x.ndim == 2 and x.dtype == np.float32 and x.flags.c_contiguous:
        total = _column_sums(xp, x)
        return total[None] if keepdims else total
    wide = np.complex128 if x.dtype.kind == "c" else np.float64
    return xp.sum(x, axis=axis, dtype=wide, keepdims=keepdims).astype(x.dtype)


def _is_contiguous_end(x: Any, axis: tuple[int, ...]) -> bool:
    return x.flags.c_contiguous and sorted(axis) == list(range(x.ndim - len(axis), x.ndim))


def _column_sums(xp: Any, x: Any) -> Any:
    """Sum a long matrix over its rows, block by block as products with a vector of ones."""
    while len(x) > 1:
        blocks = len(x) // _BLOCK
        whole = x[: blocks * _BLOCK].reshape(blocks, _BLOCK, x.shape[1])
        rest = x[blocks * _BLOCK :]
        parts = [xp.matmul(xp.ones(_BLOCK, dtype=x.dtype), whole)] if blocks else []
        if len(rest):
            parts.append(xp.matmul(xp.ones((1, len(rest)), dtype=x.dtype), rest))
        x = xp.concatenate(parts)
    return x[0]


def _spread_forward(xp: Any, x: Any, *, shape: tuple[int, ...], axis: tuple[int, ...]) -> Any:
    out = xp.empty(shape, dtype=x.dtype)
    if x.ndim:
        x = x.reshape(tuple([1 if i in axis else n for i, n in enumerate(shape)]))
    out[...] = x
    return out


_spread = Op(
    "spread",
    _spread_forward,
    vjp=dict(
        x=lambda g, x_shape, axis: sum_op(g, axis=axis, keepdims=True).reshape(x_shape),
    ),
    complex_rules=True,
)


def spread(x: Tensor, shape: tuple[int, ...], axis: tuple[int, ...]) -> Tensor:
    """Repeat the result of a reduction, or its cotangent, over the axes that were reduced."""
    result: Tensor = apply(_spread, (x,), {"shape": shape, "axis": axis})
    return result


def _count(shape: tuple[int, ...], axis: tuple[int, ...]) -> int:
    return math.prod(shape[a] for a in axis)


def _inverse(count: float) -> float:
    """Return 1 / count, by which a cotangent is multiplied: float16 holds 1e-5, but not 1e5."""
    return 1 / count if count > 0 else math.nan


sum_op: Op = Op(
    "sum",
    accurate_sum,
    vjp=dict(x=lambda g, x_shape, axis: spread(g, x_shape, axis)),
    complex_rules=True,
)


def sum_along(x: Tensor, axis: int) -> Tensor:
    """Return the sums along one axis, which stays."""
    return sum_op(x, axis=(axis,), keepdims=True)


def _sum_to(xp: Any, x: Any, *, shape: tuple[int, ...]) -> Any:
    extra = x.ndim - len(shape)
    axis = tuple([i for i in range(x.ndim) if i < extra or shape[i - extra] == 1 != x.shape[i]])
    return accurate_sum(xp, x, axis=axis, keepdims=True).reshape(shape) if axis else x[...]


_sum_to_op = Op(
    "sum_to",
    _sum_to,
    vjp=dict(x=lambda g, x_shape: g.broadcast_to(x_shape)),
    complex_rules=True,
    view=True,
)


def sum_to(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Sum x over the axes along which a tensor of `shape` would be broadcast to x's shape."""
    return _sum_to_op(x, shape=shape)


def wide_dtype(dtype: Any) -> Any:
    """Return the dtype to compute in: for float16, float32."""
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def widened(x: Any) -> Any:
    """Return float16 as float32: a sum can overflow where its mean or its logarithm does not."""
    return x.astype(wide_dtype(x.dtype), copy=False)


def narrowed(total: Any, x: Any) -> Any:
    """Return what was computed from `widened(x)` in x's dtype; of complex x it is real."""
    return total.astype(np.float16) if x.dtype == np.float16 else total


def _mean_forward(xp: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    total = accurate_sum(xp, widened(x), axis=axis, keepdims=keepdims)
    return narrowed(total / _count(x.shape, axis), x)


_mean = Op(
    "mean",
    _mean_forward,
    vjp=dict(x=lambda g, x_shape, axis: spread(g * _inverse(_count(x_shape, axis)), x_shape, axis)),
    promotes=("x",),
    floating=True,
    complex_rules=True,
)


def _wide_var(xp: Any, x: Any, axis: tuple[int, ...], correction: float, keepdims: bool) -> Any:
    wide = widened(x)
    deviation = wide - _mean_forward(xp, wide, axis=axis, keepdims=True)
    freedom = _count(x.shape, axis) - correction
    total = accurate_sum(xp, xp.square(xp.abs(deviation)), axis=axis, keepdims=keepdims)
    return total / (freedom if freedom > 0 else 0)


def _per_freedom(
    g: Tensor, shape: tuple[int, ...], axis: tuple[int, ...], correction: float
) -> Tensor:
    """The cotangent of the mean of squares over n − correction, for each square."""
    return spread(g * _inverse(_count(shape, axis) - correction), shape, axis)


def _var_x(g: Tensor, x: Tensor, *, axis: tuple[int, ...], correction: float) -> Tensor:
    deviation = x - mean(x, axis=axis, keepdims=True)
    return _per_freedom(2 * g, x.shape, axis, correction) * deviation


_var = Op(
    "var",
    lambda xp, x, *, axis, correction, keepdims: narrowed(
        _wide_var(xp, x, axis, correction, keepdims), x
    ),
    vjp=dict(x=fused("var_backward", _var_x)),
    promotes=("x",),
    floating=True,
    complex_rules=True,
)


def _std_x(
    g: Tensor, out: Tensor, x: Tensor, *, axis: tuple[int, ...], correction: float
) -> Tensor:
    total = spread(out, x.shape, axis)
    flat = equal(total, 0)
    # A quotient of their own: 1 / out can overflow.
    share = (x - mean(x, axis=axis, keepdims=True)) / where(flat, 1, total)
    return _per_freedom(g, x.shape, axis, correction) * where(flat, 0, share)


_std = Op(
    "std",
    lambda xp, x, *, axis, correction, keepdims: narrowed(
        xp.sqrt(_wide_var(xp, x, axis, correction, keepdims)), x
    ),
    vjp=dict(x=fused("std_backward", _std_x)),
    promotes=("x",),
    floating=True,
    complex_rules=True,
)


def _norm_forward(xp: Any, x: Any, *, ord: float, axis: tuple[int, ...], keepdims: bool) -> Any:
    size = xp.abs(x).astype(np.float64, copy=False)  # a power can overflow where the norm does not
    if ord == 0:
        return xp.sum(size != 0, axis=axis, keepdims=keepdims).astype(x.dtype)
    if ord == 2:
        norm = xp.sqrt(xp.sum(xp.square(size), axis=axis, keepdims=keepdims))
    else:
        norm = xp.sum(size**ord, axis=axis, keepdims=keepdims) ** (1 / ord)
    return norm.astype(x.dtype, copy=False)


def _norm_x(g: Tensor, out: Tensor, x: Tensor, ord: float, axis: tuple[int, ...]) -> Tensor:
    """g · sign(x) · (|x| / norm)ᵖ⁻¹, and 0 where that has no limit: at 0."""
    if ord == 0:
        return zeros_like(x)
    total = spread(out, x.shape, axis)
    flat = equal(total, 0) if ord == 2 else logical_or(equal(x, 0), equal(total, 0))
    share = x / where(flat, 1, total)
    if ord != 2:
        share = sign(share) * abs(where(flat, 1, share)) ** (ord - 1)
    return spread(g, x.shape, axis) * where(flat, 0, share)


_norm = Op("norm", _norm_forward, vjp=dict(x=_norm_x))


def _shared(g: Tensor, out: Tensor, x: Tensor, *, axis: tuple[int, ...], keepdims: bool) -> Tensor:
    """Give each of k tied extremes 1/k of the cotangent; k is counted and divided in float64."""
    # Where the extreme is nan, every nan is one.
    ties = logical_or(equal(x, spread(out, x.shape, axis)), isnan(x))
    count = astype(sum(ties, axis=axis, keepdims=keepdims), np.float64)
    share = astype(astype(g, np.float64) / count, g.dtype)
    return where(ties, spread(share, x.shape, axis), 0)


_extremes_x = fused("extremes_backward", _shared)

_max = Op(
    "max",
    lambda xp, x, *, axis, keepdims: xp.max(x, axis=axis, keepdims=keepdims),
    vjp=dict(x=_extremes_x),
)
_min = Op(
    "min",
    lambda xp, x, *, axis, keepdims: xp.min(x, axis=axis, keepdims=keepdims),
    vjp=dict(x=_extremes_x),
)


def _logsumexp_forward(xp: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    if not _count(x.shape, axis):
        return accurate_sum(xp, x, axis=axis, keepdims=keepdims) - math.inf
    wide = widened(x)
    top = xp.max(wide, axis=axis, keepdims=True)
    shift = xp.where(xp.isfinite(top), top, 0)  # a slice of -inf alone must not become nan
    total = accurate_sum(xp, xp.exp(wide - shift), axis=axis, keepdims=True)
    out = xp.where(total == 0, -xp.inf, xp.log(xp.where(total == 0, 1, total)) + shift)
    return narrowed(out if keepdims else xp.squeeze(out, axis), x)


def _logsumexp_x(g: Tensor, out: Tensor, x: Tensor, *, axis: tuple[int, ...]) -> Tensor:
    top = spread(where(equal(out, -math.inf), 0, out), x.shape, axis)
    weights = exp(where(equal(x, top), 0, x - top))  # of inf as well
    # The rounding of a large `out` cancels: they add up to 1.
    total = sum(weights, axis=axis, keepdims=True)
    weights = weights / where(equal(total, 0), 1, total)
    return spread(g, x.shape, axis) * weights


_logsumexp = Op(
    "logsumexp",
    _logsumexp_forward,
    vjp=dict(x=fused("logsumexp_backward", _logsumexp_x)),
    promotes=("x",),
    floating=True,
)

_count_nonzero = Op(
    "count_nonzero",
    lambda xp, x, *, axis, keepdims: xp.sum(xp.not_equal(x, 0), axis=axis, keepdims=keepdims),
)
_any = Op("any", lambda xp, x, *, axis, keepdims: xp.any(x, axis=axis, keepdims=keepdims))
_all = Op("all", lambda xp, x, *, axis, keepdims: xp.all(x, axis=axis, keepdims=keepdims))
_argmax = Op("argmax", lambda xp, x, *, axis, keepdims: xp.argmax(x, axis=axis, keepdims=keepdims))
_argmin = Op("argmin", lambda xp, x, *, axis, keepdims: xp.argmin(x, axis=axis, keepdims=keepdims))


def reduce(
    op: Op, x: Any, axis: Axis, unknown: Mapping[str, Any], params: dict[str, Any]
) -> Tensor:
    """Run an op over the axes that a user names; TypeError for keywords that do not exist."""
    if unknown:
        reject_unknown(op.name, unknown)
    x = as_tensor(x)
    params["axis"] = axes_of(op.name, axis, x.shape)
    result: Tensor = apply(op, (x,), params)
    return result


def in_dtype(dtype: Any, x: Any, f: Callable[[Tensor], Tensor]) -> Tensor:
    """Return f(x) as NumPy has it with dtype=: x is cast first, and what f widens is cast back."""
    x = as_tensor(x)
    if dtype is None:
        return f(x)
    return astype(f(astype(x, dtype, copy=False)), dtype, copy=False)


def sum(
    x: Tensor, /, axis: Axis = None, *, dtype: Any = None, keepdims: bool = False, **unknown: Any
) -> Tensor:
    """Sum over axes, all where None; integers below 64 bits and bools become int64 or uint64.

    dtype: what x is cast to first, and the result's.
    """
    params = {"keepdims": keepdims}
    return in_dtype(dtype, x, lambda x: reduce(sum_op, x, axis, unknown, params))


def mean(x: Tensor, /, axis: Axis = None, *, keepdims: bool = False, **unknown: Any) -> Tensor:
    """Mean over axes, all where None."""
    return reduce(_mean, x, axis, unknown, {"keepdims": keepdims})


def var(
    x: Tensor,
    /,
    axis: Axis = None,
    *,
    correction: float = 0.0,
    keepdims: bool = False,
    **unknown: Any,
) -> Tensor:
    """Variance over axes: squared deviations from the mean, summed, over n - correction."""
    params = {"correction": correction, "keepdims": keepdims}
    return reduce(_var, x, axis, unknown, params)


def std(
    x: Tensor,
    /,
    axis: Axis = None,
    *,
    correction: float = 0.0,
    keepdims: bool = False,
    **unknown: Any,
) -> Tensor:
    """Square root of `var`; its derivative where all elements are equal is 0."""
    params = {"correction": correction, "keepdims": keepdims}
    return reduce(_std, x, axis, unknown, params)


def max(x: Tensor, /, axis: Axis = None, *, keepdims: bool = False, **unknown: Any) -> Tensor:
    """Maximum over axes; tied elements share the gradient equally."""
    return reduce(_max, x, axis, unknown, {"keepdims": keepdims})


def min(x: Tensor, /, axis: Axis = None, *, keepdims: bool = False, **unknown: Any) -> Tensor:
    """Minimum over axes; tied elements share the gradient equally."""
    return reduce(_min, x, axis, unknown, {"keepdims": keepdims})


def norm(
    x: Tensor,
    /,
    ord: float = 2,
    axis: Axis = None,
    *,
    keepdims: bool = False,
    **unknown: Any,
) -> Tensor:
    """Vector norm (Σ |x|ᵖ)^(1/p) over axes, all where None; integers become the default dtype.

    ord: p, any number. inf and -inf are the greatest and the smallest |x|, and tied ones share the
    gradient; 0 counts what is not 0. The derivative at the zero vector is 0.
    """
    if unknown:
        reject_unknown("norm", unknown)
    if not isinstance(ord, int | float):
        raise TypeError(f"norm: ord must be a number, inf or -inf included; got {ord!r}")
    x = as_tensor(x)
    x = x if x.dtype.kind in "fc" else astype(x, get_default_dtype())
    x = abs(x) if x.dtype.kind == "c" else x
    axes = axes_of("norm", axis, x.shape)
    if ord == 1 or (ord == math.inf and not x.size):  # the largest of nothing is 0
        return sum_op(abs(x), axis=axes, keepdims=keepdims)
    if math.isinf(ord):
        return (_max if ord > 0 else _min)(abs(x), axis=axes, keepdims=keepdims)
    return _norm(x, ord=ord, axis=axes, keepdims=keepdims)


def logsumexp(x: Tensor, /, axis: Axis = None, *, keepdims: bool = False, **unknown: Any) -> Tensor:
    """log Σ exp(x) over axes without overflow; -inf where all elements are -inf."""
    return reduce(_logsumexp, x, axis, unknown, {"keepdims": keepdims})


def count_nonzero(
    x: Tensor, /, axis: Axis = None, *, keepdims: bool = False, **unknown: Any
) -> Tensor:
    """How many elements over the axes are not 0, as int64."""
    return reduce(_count_nonzero, x, axis, unknown, {"keepdims": keepdims})


def any(x: Tensor, /, axis: Axis = None, *, keepdims: bool = False, **unknown: Any) -> Tensor:
    """Whether any element over the axes is true."""
    return reduce(_any, x, axis, unknown, {"keepdims": keepdims})


def all(x: Tensor, /, axis: Axis = None, *, keepdims: bool = False, **unknown: Any) -> Tensor:
    """Whether all elements over the axes are true."""
    return reduce(_all, x, axis, unknown, {"keepdims": keepdims})


def argmax(
    x: Tensor, /, axis: int | None = None, *, keepdims: bool = False, **unknown: Any
) -> Tensor:
    """Index of the first maximum along an axis, of the flattened x where None."""
    return _arg(_argmax, x, axis, keepdims, unknown)


def argmin(
    x: Tensor, /, axis: int | None = None, *, keepdims: bool = False, **unknown: Any
) -> Tensor:
    """Index of the first minimum along an axis, of the flattened x where None."""
    return _arg(_argmin, x, axis, keepdims, unknown)


def _arg(op: Op, x: Tensor, axis: int | None, keepdims: bool, unknown: Mapping[str, Any]) -> Tensor:
    if unknown:
        reject_unknown(op.name, unknown)
    x = as_tensor(x)
    if axis is not None:
        axis = axis_of(op.name, axis, x.shape)
    return op(x, axis=axis, keepdims=keepdims)
