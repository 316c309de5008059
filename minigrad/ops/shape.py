"""Ops that rearrange elements. Their derivatives rearrange back."""

import math
from collections.abc import Sequence
from operator import index
from typing import Any

from ..engine import Op, Tensor
from .axes import axes_of, axis_of
from .reductions import sum_to

__all__ = [
    "broadcast_to",
    "concat",
    "expand_dims",
    "flatten",
    "flip",
    "matrix_transpose",
    "permute_dims",
    "reshape",
    "squeeze",
    "stack",
    "swapaxes",
    "transpose",
]


_reshape: Op = Op(
    "reshape",
    lambda xp, x, *, shape: xp.reshape(x, shape),
    vjp=dict(x=lambda g, x_shape: reshape(g, x_shape)),
    view=True,
    complex_rules=True,
)
_permute = Op(
    "permute_dims",
    lambda xp, x, *, axes: xp.permute_dims(x, axes),
    vjp=dict(x=lambda g, axes: permute_dims(g, _inverse(axes))),
    view=True,
    complex_rules=True,
)
_expand_dims = Op(
    "expand_dims",
    lambda xp, x, *, axis: xp.expand_dims(x, axis),
    vjp=dict(x=lambda g, x_shape: reshape(g, x_shape)),
    view=True,
    complex_rules=True,
)
_squeeze = Op(
    "squeeze",
    lambda xp, x, *, axis: xp.squeeze(x, axis)[...],  # [...]: NumPy can return x itself
    vjp=dict(x=lambda g, x_shape: reshape(g, x_shape)),
    view=True,
    complex_rules=True,
)
_broadcast_to = Op(
    "broadcast_to",
    lambda xp, x, *, shape: xp.broadcast_to(x, shape),
    vjp=dict(x=lambda g, x_shape: sum_to(g, x_shape)),
    view=True,
    complex_rules=True,
)
_flip = Op(
    "flip",
    lambda xp, x, *, axis: xp.flip(x, axis),
    vjp=dict(x=lambda g, axis: flip(g, axis=axis)),
    view=True,
    complex_rules=True,
)
matrix_transpose: Op = Op(
    "matrix_transpose",
    lambda xp, x: xp.matrix_transpose(x),
    vjp=dict(x=lambda g: matrix_transpose(g)),
    view=True,
    complex_rules=True,
)
"""A view of x with its last two axes exchanged."""


def _part(g: Tensor, xs_shape: list[tuple[int, ...]], position: int, axis: int) -> Tensor:
    """Cut from g what input number `position` of a concatenation has put there."""
    start = sum(shape[axis] for shape in xs_shape[:position])
    stop = start + xs_shape[position][axis]
    return g[(slice(None),) * axis + (slice(start, stop),)]


_concat = Op(
    "concat",
    lambda xp, *xs, axis: xp.concatenate(xs, axis=axis),
    vjp=dict(xs=_part),
    promotes=("xs",),
    complex_rules=True,
)
_stack = Op(
    "stack",
    lambda xp, *xs, axis: xp.stack(xs, axis=axis),
    vjp=dict(xs=lambda g, position, axis: g[(slice(None),) * axis + (position,)]),
    promotes=("xs",),
    complex_rules=True,
)


def reshape(x: Tensor, /, shape: Any, *, copy: bool | None = None) -> Tensor:
    """Return x in another shape, elements in row-major order; one length may be -1.

    A view where it can be; copy=True always copies, copy=False raises ValueError instead.
    """
    lengths = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    lengths = tuple(index(n) for n in lengths)
    if lengths.count(-1) == 1:
        known = -math.prod(lengths)
        if known and x.size % known == 0:
            lengths = tuple(x.size // known if n == -1 else n for n in lengths)
    if math.prod(lengths) != x.size or -1 in lengths:
        raise ValueError(f"reshape: the {x.size} elements of shape {x.shape} do not fit {lengths}")
    result: Tensor = _reshape(x, shape=lengths)
    if copy is None:
        return result
    shares = x.backend.xp.may_share_memory(result._array, x._array)
    if copy is False and not shares:
        raise ValueError(f"reshape: {x.shape} to {lengths} needs a copy here, but copy=False")
    return +result if copy and shares else result


def permute_dims(x: Tensor, /, axes: Sequence[int]) -> Tensor:
    """Return x with its axes in the given order."""
    order = axes_of("permute_dims", axes, x.shape)
    if len(order) != x.ndim:
        raise ValueError(f"permute_dims: {tuple(axes)} are not all axes of shape {x.shape}")
    return _permute(x, axes=order)


def _inverse(order: Sequence[int]) -> list[int]:
    return sorted(range(len(order)), key=order.__getitem__)


def transpose(x: Tensor, *axes: Any) -> Tensor:
    """Return x with its axes reversed, or in the given order."""
    order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
    return permute_dims(x, order or range(x.ndim)[::-1])


def swapaxes(x: Tensor, axis1: int, axis2: int) -> Tensor:
    """Return x with two axes exchanged."""
    first, second = (axis_of("swapaxes", axis, x.shape) for axis in (axis1, axis2))
    order = list(range(x.ndim))
    order[first], order[second] = second, first
    return permute_dims(x, order)


def expand_dims(x: Tensor, /, axis: int | tuple[int, ...] = 0) -> Tensor:
    """Return x with new axes of length 1 at the given positions of the result."""
    count = len(axis) if isinstance(axis, tuple | list) else 1
    return _expand_dims(x, axis=axes_of("expand_dims", axis, x.shape, count))


def squeeze(x: Tensor, /, axis: int | tuple[int, ...] | None = None) -> Tensor:
    """Return x without the given axes, which must have length 1; without all such axes if None."""
    chosen = axes_of("squeeze", axis, x.shape)
    if axis is None:
        chosen = tuple(i for i in chosen if x.shape[i] == 1)
    return _squeeze(x, axis=chosen)


def broadcast_to(x: Tensor, /, shape: Sequence[int]) -> Tensor:
    """Return a read-only view of x repeated to a shape."""
    return _broadcast_to(x, shape=tuple(shape))


def flip(x: Tensor, /, axis: int | tuple[int, ...] | None = None) -> Tensor:
    """Return x with the order reversed along the given axes, all where None."""
    return _flip(x, axis=axes_of("flip", axis, x.shape))


def flatten(x: Tensor, start_axis: int = 0, end_axis: int = -1) -> Tensor:
    """Return x with the axes from start_axis to end_axis made one; a 0-d x becomes 1-d."""
    if not x.ndim:
        return reshape(x, (1,))
    first, last = (axis_of("flatten", axis, x.shape) for axis in (start_axis, end_axis))
    if first > last:
        raise ValueError(f"flatten: start_axis {start_axis} comes after end_axis {end_axis}")
    merged = math.prod(x.shape[first : last + 1])
    return reshape(x, (*x.shape[:first], merged, *x.shape[last + 1 :]))


def concat(arrays: Sequence[Tensor], /, axis: int | None = 0) -> Tensor:
    """Join tensors along an existing axis; None flattens them first. ValueError for none at all."""
    if axis is None:
        arrays, axis = [flatten(x) for x in arrays], 0
    return _concat(*arrays, axis=_join_axis("concat", arrays, axis, 0))


def stack(arrays: Sequence[Tensor], /, axis: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis. ValueError for none at all."""
    return _stack(*arrays, axis=_join_axis("stack", arrays, axis, 1))


def _join_axis(name: str, arrays: Sequence[Tensor], axis: int, more: int) -> int:
    if not arrays:
        raise ValueError(f"{name}: expected at least one tensor")
    return axis_of(name, axis, arrays[0].shape, more)
