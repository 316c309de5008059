"""Sorting, searching in what is sorted, and order statistics.

Sorting is linear once the order is known, so its derivative brings the cotangents back into the
old order. nan is the greatest of all: the last one in ascending order, the first in descending.
"""

import math
from collections.abc import Callable
from operator import index
from typing import Any, NamedTuple

import numpy as np

from ..arrays import get_default_dtype
from ..engine import Op, Tensor
from ..methods import Axis
from .axes import axes_of, axis_of, reject_unknown
from .creation import as_tensor, astype
from .elementwise import absorb, positive, where
from .piecewise import ceil, clip, floor, round
from .predicates import isnan
from .reductions import mean
from .shape import permute_dims, reshape

__all__ = [
    "argsort",
    "median",
    "quantile",
    "searchsorted",
    "sort",
    "topk",
]


def _sort_forward(xp: Any, x: Any, *, axis: int, descending: bool) -> Any:
    ascending = xp.sort(x, axis=axis)
    return xp.flip(ascending, axis=axis) if descending else ascending


def _argsort_forward(xp: Any, x: Any, *, axis: int, descending: bool) -> Any:
    if not descending:
        return xp.argsort(x, axis=axis, kind="stable")
    # Reversed twice, so that equal elements keep their order.
    order = xp.argsort(xp.flip(x, axis=axis), axis=axis, kind="stable")
    return x.shape[axis] - 1 - xp.flip(order, axis=axis)


_argsort = Op("argsort", _argsort_forward)


def _reorder_forward(xp: Any, x: Any, order: Any, *, axis: int, back: bool) -> Any:
    if not back:
        return xp.take_along_axis(x, order, axis=axis)
    out = xp.empty(x.shape, dtype=x.dtype)
    places = [xp.arange(n).reshape((n,) + (1,) * (x.ndim - 1 - i)) for i, n in enumerate(x.shape)]
    places[axis] = order
    out[tuple(places)] = x
    return out


_reorder: Op = Op(
    "reorder",
    _reorder_forward,
    vjp=dict(x=lambda g, order, axis, back: _reorder(g, order, axis=axis, back=not back)),
    complex_rules=True,
)
"""x in the order that one permutation for each line along an axis gives, or back from there."""


def _sort_x(g: Tensor, x: Tensor, axis: int, descending: bool) -> Tensor:
    order = argsort(x.detach(), axis=axis, descending=descending)
    return _reorder(g, order, axis=axis, back=True)


_sort = Op("sort", _sort_forward, vjp=dict(x=_sort_x), complex_rules=True)


_searchsorted = Op(
    "searchsorted",
    lambda xp, x1, x2, sorter=None, *, side: xp.searchsorted(x1, x2, side=side, sorter=sorter),
)


def _tie_mean_forward(xp: Any, v: Any, x: Any) -> Any:
    columns = math.prod(x.shape[1:])
    line = x.reshape((len(x), columns))
    group = xp.zeros(line.shape, dtype=np.int64)  # groups of equal neighbours, numbered
    group[1:] = xp.cumulative_sum(xp.not_equal(line[1:], line[:-1]), axis=0)
    group = (group * columns + xp.arange(columns, dtype=np.int64)).reshape(x.shape)
    total, count = (xp.zeros(x.size, dtype=np.float64) for _ in range(2))
    xp.scatter_add(total, (group,), v.astype(np.float64))
    xp.scatter_add(count, (group,), xp.ones(x.shape, dtype=np.float64))
    return (total[group] / count[group]).astype(v.dtype)


_tie_mean: Op = Op(
    "tie_mean",
    _tie_mean_forward,
    vjp=dict(v=lambda g, x: _tie_mean(g, x.detach())),
)
"""v, averaged over the elements of x, sorted along axis 0, that are equal."""

_tied = Op(
    "tied",
    lambda xp, x: xp.array(x, copy=True),
    vjp=dict(x=lambda g, x: _tie_mean(g, x.detach())),
)
"""A copy of x, sorted along axis 0, in which equal elements share their cotangents equally."""


def _share_forward(xp: Any, q: Any) -> Any:
    xp.refuse(xp.logical_not((q >= 0) & (q <= 1)), q, "quantile: q must lie in [0, 1]")
    return xp.array(q, copy=True)


_share = Op("share", _share_forward, vjp=dict(q=lambda g: g))


def sort(
    x: Tensor,
    /,
    *,
    axis: int = -1,
    descending: bool = False,
    stable: bool = True,
    **unknown: Any,
) -> Tensor:
    """Return x sorted along an axis. stable changes nothing: the derivative's order always is."""
    if unknown:
        reject_unknown("sort", unknown)
    x = as_tensor(x)
    return _sort(x, axis=axis_of("sort", axis, x.shape), descending=bool(descending))


def argsort(
    x: Tensor,
    /,
    *,
    axis: int = -1,
    descending: bool = False,
    stable: bool = True,
    **unknown: Any,
) -> Tensor:
    """Return the indices that sort x along an axis, as int64.

    Equal elements keep their order, in descending order too; stable=False promises less and
    changes nothing.
    """
    if unknown:
        reject_unknown("argsort", unknown)
    x = as_tensor(x)
    return _argsort(x, axis=axis_of("argsort", axis, x.shape), descending=bool(descending))


class TopK(NamedTuple):
    """What `topk` returns."""

    values: Tensor
    indices: Tensor


def topk(x: Tensor, /, k: int, axis: int = -1, *, largest: bool = True, **unknown: Any) -> TopK:
    """Return the k largest elements along an axis, or the smallest, in order, and their indices.

    Of equal elements the first ones are taken; nan counts as largest. ValueError where k is
    negative or exceeds the axis.
    """
    if unknown:
        reject_unknown("topk", unknown)
    x = as_tensor(x)
    axis, k = axis_of("topk", axis, x.shape), index(k)
    if not 0 <= k <= x.shape[axis]:
        raise ValueError(f"topk: k={k} of axis {axis} of shape {x.shape}")
    order = _argsort(x, axis=axis, descending=bool(largest))
    first = (*[slice(None)] * axis, slice(k))
    return TopK(_reorder(x, order, axis=axis, back=False)[first], order[first])


def searchsorted(
    x1: Tensor, x2: Any, /, *, side: str = "left", sorter: Any = None, **unknown: Any
) -> Tensor:
    """Return the places, as int64, at which x2's elements would keep the 1-d x1 sorted.

    side: "left", before what is equal, or "right", behind it. sorter: what sorts x1 where it is
    not sorted itself, as `argsort` gives it.
    """
    if unknown:
        reject_unknown("searchsorted", unknown)
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: side is 'left' or 'right', not {side!r}")
    x1 = x1 if isinstance(x1, Tensor) else Tensor(x1)
    if x1.ndim != 1:
        raise ValueError(f"searchsorted: x1 must have one axis, got shape {x1.shape}")
    return _searchsorted(x1, x2, sorter, side=side)


def median(x: Tensor, /, axis: Axis = None, *, keepdims: bool = False, **unknown: Any) -> Tensor:
    """Median over axes, all where None: of an even number, the mean of the two in the middle.

    Tied elements share the gradient equally. nan where there is one, or no element at all.
    Integers become the default dtype.
    """
    if unknown:
        reject_unknown("median", unknown)
    x = as_tensor(x)
    axes = axes_of("median", axis, x.shape)
    ordered = _ordered(x, axes)
    count = len(ordered)
    if not count:
        return mean(x, axis=axes, keepdims=keepdims)
    middle = mean(ordered[(count - 1) // 2 : count // 2 + 1], axis=0)
    return reshape(_or_nan(middle, ordered), _reduced(x.shape, axes, keepdims))


#: Where along n sorted elements, counted from 0, a quantile lies: q · (n + 1 - α - β) + α - 1. From
#: Hyndman and Fan, Sample Quantiles in Statistical Packages (1996), definitions 4 to 9.
_METHODS = {
    "linear": (1.0, 1.0),
    "hazen": (0.5, 0.5),
    "interpolated_inverted_cdf": (0.0, 1.0),
    "median_unbiased": (1 / 3, 1 / 3),
    "normal_unbiased": (3 / 8, 3 / 8),
    "weibull": (0.0, 0.0),
}
#: What others make of the place that "linear" gives.
_STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "higher": ceil,
    "lower": floor,
    "midpoint": lambda place: (floor(place) + ceil(place)) / 2,
    "nearest": round,
}


def quantile(
    x: Tensor,
    q: Any,
    /,
    axis: Axis = None,
    *,
    method: str = "linear",
    keepdims: bool = False,
    **unknown: Any,
) -> Tensor:
    """Quantiles over axes, all where None, in x's dtype; q's axes come first in the result.

    q: shares in [0, 1], a number or a tensor; derivatives reach it too. method: as NumPy's, the
    continuous ones and "higher", "lower", "midpoint", "nearest". Tied elements share the gradient
    equally. nan where there is one. Integers become the default dtype. ValueError for no
    elements, another method and q out of range.
    """
    if unknown:
        reject_unknown("quantile", unknown)
    if method not in _METHODS and method not in _STEPS:
        known = ", ".join([*_METHODS, *_STEPS])
        raise ValueError(f"quantile: expected a method out of {known}; got {method!r}")
    x = as_tensor(x)
    q = q if isinstance(q, Tensor) else Tensor(q, np.float64, backend=x.backend)
    axes = axes_of("quantile", axis, x.shape)
    ordered = _ordered(x, axes)
    count = len(ordered)
    if not count:
        raise ValueError(f"quantile: expected at least one element, got shape {x.shape}")
    low, high = _METHODS.get(method, _METHODS["linear"])
    place = astype(_share(q), np.float64) * (count + 1 - low - high) + (low - 1)
    place = _STEPS.get(method, positive)(clip(place, 0, count - 1))
    below = floor(place)
    weight = astype(place - below, ordered.dtype)
    weight = weight.reshape((*q.shape, *[1] * (ordered.ndim - 1)))
    # Not the element at ceil(place): at a whole place, q has the slope towards the next element.
    ends = below, clip(below + 1, None, count - 1)
    lower, upper = (ordered[astype(end, np.int64)] for end in ends)
    value = _or_nan(lower + absorb(weight, upper - lower), ordered)
    return reshape(value, (*q.shape, *_reduced(x.shape, axes, keepdims)))


def _ordered(x: Tensor, axis: tuple[int, ...]) -> Tensor:
    """Return x sorted over some axes, which become the first one; floating, tied."""
    kept = tuple(i for i in range(x.ndim) if i not in axis)
    moved = permute_dims(x, axis + kept)
    count = math.prod(moved.shape[: len(axis)])
    line = reshape(moved, (count, *moved.shape[len(axis) :]))
    line = line if line.dtype.kind == "f" else astype(line, get_default_dtype())
    return _tied(sort(line, axis=0))


def _or_nan(y: Tensor, ordered: Tensor) -> Tensor:
    return where(isnan(ordered[-1]), ordered[-1], y)  # nan is sorted to the end


def _reduced(shape: tuple[int, ...], axis: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    lengths = (1 if i in axis else n for i, n in enumerate(shape) if keepdims or i not in axis)
    return tuple(lengths)
