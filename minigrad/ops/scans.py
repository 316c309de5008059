"""Scans along an axis, their inverse `diff`, and `prod`, whose derivative is made of scans.

A product is differentiated without dividing, so that zeros are nothing special: the derivative
with respect to a factor is the product of the others, those before it times those behind it.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..engine import Op, Tensor
from ..methods import Axis
from ..promotion import as_weak
from .axes import axis_of, reject_unknown
from .creation import as_tensor, astype, full, zeros, zeros_like
from .elementwise import conj_of
from .predicates import not_equal
from .reductions import in_dtype, reduce, spread
from .shape import broadcast_to, concat, flip, permute_dims, reshape

__all__ = [
    "cumulative_prod",
    "cumulative_sum",
    "diff",
    "prod",
]


def _accumulator(dtype: np.dtype[Any]) -> Any:
    """Return the dtype to accumulate in: double precision for floats; None, the library's own."""
    return {"f": np.float64, "c": np.complex128}.get(dtype.kind)


def _rounded(wide: Any, dtype: np.dtype[Any]) -> Any:
    """Return what was accumulated in the dtype of the elements; integers stay wide."""
    return wide.astype(dtype, copy=False) if dtype.kind in "fc" else wide


def _cumulative_sum_forward(xp: Any, x: Any, *, axis: int) -> Any:
    # One after another, float32 loses up to n/2 ulp.
    return _rounded(xp.cumulative_sum(x, axis=axis, dtype=_accumulator(x.dtype)), x.dtype)


_cumulative_sum: Op = Op(
    "cumulative_sum",
    _cumulative_sum_forward,
    vjp=dict(
        x=lambda g, axis: flip(_cumulative_sum(flip(g, axis=axis), axis=axis), axis=axis),
    ),
    complex_rules=True,
)


def _along(axis: int, start: int | None, stop: int | None) -> tuple[slice, ...]:
    return (*[slice(None)] * axis, slice(start, stop))


def _layer(x: Tensor, axis: int) -> tuple[int, ...]:
    return (*x.shape[:axis], 1, *x.shape[axis + 1 :])


def _delayed(x: Tensor, axis: int, first: int) -> Tensor:
    """Return x moved on by one place: a number in front, the last element gone."""
    edge = zeros_like(x[_along(axis, 0, 1)]) + first
    return concat([edge, x[_along(axis, None, -1)]], axis=axis)


def _recurrence_forward(xp: Any, a: Any, b: Any, *, axis: int, reverse: bool) -> Any:
    # Runs of 1, 2, 4, ... steps are combined: log2(n) passes over whole arrays.
    dtype = np.result_type(a.dtype, b.dtype)
    a, b = (xp.moveaxis(v.astype(_accumulator(dtype)), axis, 0) for v in (a, b))
    if reverse:
        a, b = xp.roll(a[::-1], 1, axis=0), b[::-1]
    step = 1
    while step < len(b):
        b[step:] += a[step:] * b[:-step]
        a[step:] = a[step:] * a[:-step]
        step *= 2
    return _rounded(xp.moveaxis(b[::-1] if reverse else b, 0, axis), dtype)


def _recurrence_a(g: Tensor, out: Tensor, a: Tensor, axis: int, reverse: bool) -> Tensor:
    g = _recurrence(conj_of(a), g, axis=axis, reverse=not reverse)
    y: Tensor = conj_of(out)
    return _delayed(g, axis, 0) * y if reverse else g * _delayed(y, axis, 0)


_recurrence: Op = Op(
    "recurrence",
    _recurrence_forward,
    vjp=dict(
        a=_recurrence_a,
        b=lambda g, a, axis, reverse: _recurrence(conj_of(a), g, axis=axis, reverse=not reverse),
    ),
    complex_rules=True,
)
"""yᵢ = bᵢ + aᵢ · yᵢ₋₁ from y₋₁ = 0; in reverse, yᵢ = bᵢ + aᵢ₊₁ · yᵢ₊₁: aᵢ links i - 1 and i."""


def _cumulative_prod_forward(xp: Any, x: Any, *, axis: int) -> Any:
    return _rounded(xp.cumulative_prod(x, axis=axis, dtype=_accumulator(x.dtype)), x.dtype)


def _cumulative_prod_x(g: Tensor, out: Tensor, x: Tensor, axis: int) -> Tensor:
    """Σₖ gₖ Πⱼ xⱼ over j ≤ k but j ≠ i: the factors before i, and a recurrence for those behind."""
    before: Tensor = conj_of(_delayed(out, axis, 1))
    return before * _recurrence(conj_of(x), g, axis=axis, reverse=True)


_cumulative_prod = Op(
    "cumulative_prod",
    _cumulative_prod_forward,
    vjp=dict(x=_cumulative_prod_x),
    complex_rules=True,
)


def _prod_forward(xp: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    return _rounded(xp.prod(x, axis=axis, dtype=_accumulator(x.dtype), keepdims=keepdims), x.dtype)


def _prod_x(g: Tensor, x: Tensor, axis: tuple[int, ...]) -> Tensor:
    dtype = x.dtype
    x = astype(x, _accumulator(dtype), copy=False)  # inf times a later 0 would be nan
    kept = tuple(i for i in range(x.ndim) if i not in axis)
    order = kept + axis
    moved = permute_dims(x, order)
    line = reshape(moved, (*moved.shape[: len(kept)], math.prod(x.shape[a] for a in axis)))
    last = len(kept)
    before = _delayed(_cumulative_prod(line, axis=last), last, 1)
    behind = _delayed(_cumulative_prod(flip(line, axis=last), axis=last), last, 1)
    others: Tensor = conj_of(reshape(before * flip(behind, axis=last), moved.shape))
    back = sorted(range(x.ndim), key=order.__getitem__)
    return spread(g, x.shape, axis) * astype(permute_dims(others, back), dtype, copy=False)


_prod = Op("prod", _prod_forward, vjp=dict(x=_prod_x), complex_rules=True)


def prod(
    x: Tensor, /, axis: Axis = None, *, dtype: Any = None, keepdims: bool = False, **unknown: Any
) -> Tensor:
    """Product over axes, all where None; dtypes as for `sum`.

    dtype: what x is cast to first, and the result's. The derivatives are exact where factors are 0.
    """
    params = {"keepdims": keepdims}
    return in_dtype(dtype, x, lambda x: reduce(_prod, x, axis, unknown, params))


def cumulative_sum(
    x: Tensor,
    /,
    *,
    axis: int | None = None,
    dtype: Any = None,
    include_initial: bool = False,
    **unknown: Any,
) -> Tensor:
    """Sums of the first 1, 2, ... elements along an axis, which only a 1-d x may leave out.

    dtype: what x is cast to first, and the result's; without it, dtypes are as for `sum`.
    include_initial: begin with 0, so that the axis is one longer.
    """
    return in_dtype(
        dtype, x, lambda x: _scan(_cumulative_sum, x, axis, include_initial, 0, unknown)
    )


def cumulative_prod(
    x: Tensor,
    /,
    *,
    axis: int | None = None,
    dtype: Any = None,
    include_initial: bool = False,
    **unknown: Any,
) -> Tensor:
    """Products of the first 1, 2, ... elements along an axis, which only a 1-d x may leave out.

    dtype, include_initial: as `cumulative_sum`, beginning with 1. The derivatives are exact where
    factors are 0.
    """
    return in_dtype(
        dtype, x, lambda x: _scan(_cumulative_prod, x, axis, include_initial, 1, unknown)
    )


def diff(
    x: Tensor,
    /,
    *,
    axis: int = -1,
    n: int = 1,
    prepend: Any = None,
    append: Any = None,
    **unknown: Any,
) -> Tensor:
    """Differences of neighbours along an axis, taken n times; of bools, whether they differ.

    prepend, append: what x is joined with first: a tensor that fits, or a number.
    """
    if unknown:
        reject_unknown("diff", unknown)
    if n < 0:
        raise ValueError(f"diff: n must be 0 or more, got {n}")
    x = as_tensor(x)
    axis = axis_of("diff", axis, x.shape)
    ends = [end if end is None else _as_end(end, x, axis) for end in (prepend, append)]
    parts = [part for part in (ends[0], x, ends[1]) if part is not None]
    x = concat(parts, axis=axis)
    for _ in range(n):
        here, there = x[_along(axis, 1, None)], x[_along(axis, None, -1)]
        x = not_equal(here, there) if x.dtype.kind == "b" else here - there
    return x


def _as_end(end: Any, x: Tensor, axis: int) -> Tensor:
    """Return what `diff` joins to x: a number, or a 0-d tensor, as one layer of it."""
    shape = _layer(x, axis)
    number = as_weak(end)
    if number is not None:
        end = zeros((), dtype=x.dtype, backend=x.backend) + number
    end = end if isinstance(end, Tensor) else Tensor(end, backend=x.backend)
    return end if end.ndim else broadcast_to(end, shape)


def _scan(
    op: Op,
    x: Tensor,
    axis: int | None,
    include_initial: bool,
    initial: int,
    unknown: Mapping[str, Any],
) -> Tensor:
    if unknown:
        reject_unknown(op.name, unknown)
    if not x.ndim:
        x = reshape(x, (1,))
    if axis is None and x.ndim > 1:
        raise ValueError(f"{op.name}: a tensor of shape {x.shape} needs axis=")
    axis = axis_of(op.name, axis or 0, x.shape)
    result = op(x, axis=axis)
    if not include_initial:
        return result
    first = full(_layer(x, axis), initial, dtype=result.dtype, backend=result.backend)
    return concat([first, result], axis=axis)
