"""Ops that rearrange elements. Their derivatives rearrange back."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, pairwise
from operator import index
from typing import Any

import numpy as np

from ..engine import Op, Tensor
from ..messages import did_you_mean
from ..promotion import as_weak, common_dtype
from ..refusals import refuse_overflow
from .axes import answers_torch, axes_of, axis_of
from .creation import arange, as_tensor, asarray, shape_of
from .creation import copy as copied
from .indexing import Slice, fitting, scatter, take
from .piecewise import clip, minimum
from .reductions import sum_to

__all__ = [
    "broadcast_arrays",
    "broadcast_shapes",
    "broadcast_to",
    "concat",
    "diagonal",
    "expand_dims",
    "flatten",
    "flip",
    "matrix_transpose",
    "meshgrid",
    "moveaxis",
    "pad",
    "permute_dims",
    "ravel",
    "repeat",
    "reshape",
    "roll",
    "split",
    "squeeze",
    "stack",
    "swapaxes",
    "tile",
    "transpose",
    "tril",
    "triu",
    "unstack",
]


_reshape: Op = Op(
    "reshape",
    lambda xp, x, *, shape: xp.reshape(x, shape),
    vjp=dict(x=lambda g, x_shape: _reshape(g, shape=x_shape)),
    view=True,
    complex_rules=True,
)
_permute: Op = Op(
    "permute_dims",
    lambda xp, x, *, axes: xp.permute_dims(x, axes),
    vjp=dict(x=lambda g, axes: _permute(g, axes=_inverse(axes))),
    view=True,
    complex_rules=True,
)
_expand_dims = Op(
    "expand_dims",
    lambda xp, x, *, axis: xp.expand_dims(x, axis),
    vjp=dict(x=lambda g, x_shape: _reshape(g, shape=x_shape)),
    view=True,
    complex_rules=True,
)
_squeeze = Op(
    "squeeze",
    lambda xp, x, *, axis: xp.squeeze(x, axis)[...],  # [...]: NumPy can return x itself
    vjp=dict(x=lambda g, x_shape: _reshape(g, shape=x_shape)),
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
_flip: Op = Op(
    "flip",
    lambda xp, x, *, axis: xp.flip(x, axis),
    vjp=dict(x=lambda g, axis: _flip(g, axis=axis)),
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

_roll: Op = Op(
    "roll",
    lambda xp, x, *, shift, axis: xp.roll(x, shift, axis=axis),
    vjp=dict(x=lambda g, shift, axis: _roll(g, shift=tuple(-n for n in shift), axis=axis)),
    complex_rules=True,
)
_tril: Op = Op(
    "tril",
    lambda xp, x, *, k: xp.tril(x, k=k),
    vjp=dict(x=lambda g, k: tril(g, k=k)),
    complex_rules=True,
)
_triu: Op = Op(
    "triu",
    lambda xp, x, *, k: xp.triu(x, k=k),
    vjp=dict(x=lambda g, k: triu(g, k=k)),
    complex_rules=True,
)


def _copies_summed(
    g: Tensor, x_shape: tuple[int, ...], wide: Sequence[int], narrow: Sequence[int]
) -> Tensor:
    """Sum what repeated x: with copies on axes of their own g has the shape `wide`."""
    return reshape(sum_to(reshape(g, tuple(wide)), tuple(narrow)), x_shape)


def _repeats_summed(g: Tensor, x_shape: tuple[int, ...], repeats: int, axis: int) -> Tensor:
    before, after = x_shape[: axis + 1], x_shape[axis + 1 :]
    return _copies_summed(g, x_shape, (*before, repeats, *after), (*before, 1, *after))


def _tiles_summed(g: Tensor, x_shape: tuple[int, ...], repetitions: tuple[int, ...]) -> Tensor:
    lengths = (1,) * (len(repetitions) - len(x_shape)) + x_shape
    wide = chain.from_iterable(zip(repetitions, lengths, strict=True))
    return _copies_summed(g, x_shape, [*wide], [m for n in lengths for m in (1, n)])


_repeat = Op(
    "repeat",
    lambda xp, x, *, repeats, axis: xp.repeat(x, repeats, axis=axis),
    vjp=dict(x=_repeats_summed),
    complex_rules=True,
)
_tile = Op(
    "tile",
    lambda xp, x, *, repetitions: xp.tile(x, repetitions),
    vjp=dict(x=_tiles_summed),
    complex_rules=True,
)


def _on_diagonal(
    g: Tensor, x_shape: tuple[int, ...], offset: int, axis1: int, axis2: int
) -> Tensor:
    """Return zeros of x's shape with g on the diagonal: a slice of the flattened matrix."""
    rows, columns = x_shape[axis1], x_shape[axis2]
    others = [n for axis, n in enumerate(x_shape) if axis not in (axis1, axis2)]
    start, step = offset if offset >= 0 else -offset * columns, columns + 1
    places = Slice(start, start + g.shape[-1] * step, step)
    flat = scatter(g, key=(..., places), shape=(*others, rows * columns))
    return moveaxis(reshape(flat, (*others, rows, columns)), (-2, -1), (axis1, axis2))


_diagonal = Op(
    "diagonal",
    lambda xp, x, *, offset, axis1, axis2: xp.diagonal(x, offset, axis1, axis2),
    vjp=dict(x=_on_diagonal),
    view=True,
    complex_rules=True,
)


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


def _center(shape: Sequence[int], widths: Sequence[tuple[int, int]]) -> tuple[slice, ...]:
    """Return where an array of a shape lies in itself padded."""
    return tuple(slice(low, low + n) for n, (low, _) in zip(shape, widths, strict=True))


def _pad_forward(xp: Any, x: Any, *, widths: Any, values: Any) -> Any:
    shape = [low + n + high for n, (low, high) in zip(x.shape, widths, strict=True)]
    out = xp.empty(tuple(shape), dtype=x.dtype)
    out[(*_center(x.shape, widths), ...)] = x
    for axis, (low, high) in enumerate(widths):
        before = (slice(None),) * axis
        for value in values[axis]:
            refuse_overflow(xp, value, x.dtype)
        out[(*before, slice(low))], out[(*before, slice(shape[axis] - high, None))] = values[axis]
    return out


_pad = Op(
    "pad",
    _pad_forward,
    vjp=dict(x=lambda g, x_shape, widths: g[(*_center(x_shape, widths), ...)]),
    complex_rules=True,
)


def reshape(x: Tensor, /, shape: Any, *, copy: bool | None = None) -> Tensor:
    """Return x in another shape, elements in row-major order; one length may be -1.

    A view where it can be; copy=True always copies, copy=False raises ValueError instead.
    """
    x = as_tensor(x)
    lengths = tuple(map(index, shape if isinstance(shape, tuple | list) else (shape,)))
    if lengths.count(-1) == 1:
        known = -math.prod(lengths)
        if known and x.size % known == 0:
            lengths = tuple(x.size // known if n == -1 else n for n in lengths)
    if math.prod(lengths) != x.size or -1 in lengths:
        raise ValueError(f"reshape: the {x.size} elements of shape {x.shape} do not fit {lengths}")
    result: Tensor = _reshape(x, shape=lengths)
    if copy is None:
        return result
    # Empty arrays share nothing, and need no copy.
    shares = not x.size or x.backend.xp.may_share_memory(result._array, x._array)
    if copy is False and not shares:
        raise ValueError(f"reshape: {x.shape} to {lengths} needs a copy here, but copy=False")
    return copied(result) if copy and shares else result


def permute_dims(x: Tensor, /, axes: Sequence[int]) -> Tensor:
    """Return x with its axes in the given order."""
    x = as_tensor(x)
    order = axes_of("permute_dims", axes, x.shape)
    if len(order) != x.ndim:
        raise ValueError(f"permute_dims: {axes} are not all axes of shape {x.shape}")
    return _permute(x, axes=order)


def _inverse(order: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def transpose(x: Tensor, /, *axes: Any) -> Tensor:
    """Return x with its axes reversed, or in the given order."""
    x = as_tensor(x)
    order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
    return permute_dims(x, order or range(x.ndim)[::-1])


def swapaxes(x: Tensor, /, axis1: int, axis2: int) -> Tensor:
    """Return x with two axes exchanged."""
    x = as_tensor(x)
    first, second = (axis_of("swapaxes", axis, x.shape) for axis in (axis1, axis2))
    order = list(range(x.ndim))
    order[first], order[second] = second, first
    return _permute(x, axes=tuple(order))


@answers_torch
def expand_dims(x: Tensor, /, axis: int | tuple[int, ...] = 0) -> Tensor:
    """Return x with new axes of length 1 at the given positions of the result."""
    x = as_tensor(x)
    count = len(axis) if isinstance(axis, tuple | list) else 1
    return _expand_dims(x, axis=axes_of("expand_dims", axis, x.shape, count))


@answers_torch
def squeeze(x: Tensor, /, axis: int | tuple[int, ...] | None = None) -> Tensor:
    """Return x without the given axes, which must have length 1; without all such axes if None."""
    x = as_tensor(x)
    chosen = axes_of("squeeze", axis, x.shape)
    if axis is None:
        chosen = tuple(i for i in chosen if x.shape[i] == 1)
    return _squeeze(x, axis=chosen)


def broadcast_to(x: Tensor, /, shape: int | Sequence[int]) -> Tensor:
    """Return a read-only view of x repeated to a shape."""
    return _broadcast_to(as_tensor(x), shape=shape_of(shape))


def broadcast_shapes(*shapes: int | tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape to which tensors of these shapes broadcast; ValueError for none."""
    return np.broadcast_shapes(*shapes)


def broadcast_arrays(*arrays: Tensor) -> tuple[Tensor, ...]:
    """Return read-only views of the tensors repeated to their common shape."""
    tensors = as_tensors(arrays)
    shape = broadcast_shapes(*[x.shape for x in tensors])
    return tuple(broadcast_to(x, shape) for x in tensors)


@answers_torch
def flip(x: Tensor, /, axis: int | tuple[int, ...] | None = None) -> Tensor:
    """Return x with the order reversed along the given axes, all where None."""
    x = as_tensor(x)
    return _flip(x, axis=axes_of("flip", axis, x.shape))


@answers_torch
def flatten(x: Tensor, /, start_axis: int = 0, end_axis: int = -1) -> Tensor:
    """Return x with the axes from start_axis to end_axis made one; a 0-d x becomes 1-d."""
    x = as_tensor(x)
    if not x.ndim:
        return reshape(x, (1,))
    first, last = (axis_of("flatten", axis, x.shape) for axis in (start_axis, end_axis))
    if first > last:
        raise ValueError(f"flatten: start_axis {start_axis} comes after end_axis {end_axis}")
    merged = math.prod(x.shape[first : last + 1])
    return reshape(x, (*x.shape[:first], merged, *x.shape[last + 1 :]))


def ravel(x: Tensor, /) -> Tensor:
    """Return the elements of x in row-major order as a vector: a view where it can be."""
    return reshape(x, -1)


@answers_torch
def concat(arrays: Sequence[Tensor], /, axis: int | None = 0) -> Tensor:
    """Join tensors along an existing axis; None flattens them first. ValueError for none at all.

    The result's dtype is that of all of them together, as in arithmetic.
    """
    if axis is None:
        return concat([flatten(x) for x in as_tensors(arrays)], 0)
    return _joined(_concat, arrays, axis, 0)


@answers_torch
def stack(arrays: Sequence[Tensor], /, axis: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis. ValueError for none at all."""
    return _joined(_stack, arrays, axis, 1)


def as_tensors(arrays: Sequence[Any]) -> list[Tensor]:
    """Return what is to be joined as tensors; numbers are weak, as everywhere."""
    weak = [as_weak(x) for x in arrays]
    tensors = [as_tensor(x) for x, number in zip(arrays, weak, strict=True) if number is None]
    kinds = {type(number) for number in weak if number is not None}
    dtype = common_dtype([x.dtype for x in tensors], kinds)
    backend = tensors[0].backend if tensors else None
    source = iter(tensors)
    return [
        next(source) if number is None else Tensor(number, dtype, backend=backend)
        for number in weak
    ]


def _joined(op: Op, arrays: Sequence[Any], axis: int, more: int) -> Tensor:
    tensors = as_tensors(arrays)
    if not tensors:
        raise ValueError(f"{op.name}: expected at least one tensor")
    return op(*tensors, axis=axis_of(op.name, axis, tensors[0].shape, more))


def rows_of(x: Tensor) -> Tensor:
    """Return x as a matrix, with the last axis as it is."""
    return x if x.ndim == 2 else reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


@answers_torch
def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """Return views of x at each place along an axis, which they lack."""
    x = as_tensor(x)
    before = (slice(None),) * axis_of("unstack", axis, x.shape)
    return tuple(x[(*before, i)] for i in range(x.shape[len(before)]))


@answers_torch
def split(x: Tensor, /, indices_or_sections: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """Return views of x cut along an axis: into so many equal parts, or at the given places.

    ValueError where the length cannot be divided equally.
    """
    x = as_tensor(x)
    axis = axis_of("split", axis, x.shape)
    length = x.shape[axis]
    try:
        count = index(indices_or_sections)
    except TypeError:
        places = [index(i) for i in indices_or_sections]
    else:
        if count < 1 or length % count:
            raise ValueError(
                f"split: axis {axis} of shape {x.shape} cannot be cut into {count} equal parts"
            )
        places = [length * i // count for i in range(1, count)]
    before = (slice(None),) * axis
    return tuple(x[(*before, slice(*ends))] for ends in pairwise([0, *places, length]))


def moveaxis(
    x: Tensor, source: int | tuple[int, ...], destination: int | tuple[int, ...], /
) -> Tensor:
    """Return x with the axes at `source` moved to `destination`, the others in their order."""
    x = as_tensor(x)
    sources, places = (axes_of("moveaxis", axes, x.shape) for axes in (source, destination))
    if len(sources) != len(places):
        raise ValueError(f"moveaxis: {source} are not as many axes as {destination}")
    order = [axis for axis in range(x.ndim) if axis not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return _permute(x, axes=tuple(order))


@answers_torch
def roll(
    x: Tensor,
    /,
    shift: int | tuple[int, ...],
    axis: int | tuple[int, ...] | None = None,
) -> Tensor:
    """Return x with its elements moved on by `shift` along axes; what leaves comes in again.

    shift, axis: several together, or one for all of the other. axis None: x as if it was flat.
    """
    x = as_tensor(x)
    if axis is None:
        return reshape(roll(flatten(x), shift, 0), x.shape)
    totals: dict[int, int] = {}
    for n, one in np.broadcast(shift, axis):
        place = axis_of("roll", one, x.shape)
        totals[place] = totals.get(place, 0) + index(n)
    return _roll(x, shift=tuple(totals.values()), axis=tuple(totals)) if totals else copied(x)


@answers_torch
def repeat(x: Tensor, repeats: Any, /, axis: int | None = None) -> Tensor:
    """Return x with each element along an axis repeated; axis None flattens x first.

    repeats: an int, or a count for each place, whose values are waited for on a device.
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = flatten(x), 0
    axis = axis_of("repeat", axis, x.shape)
    length = x.shape[axis]
    counts = repeats.to_host() if isinstance(repeats, Tensor) else np.asarray(repeats)
    if counts.size and counts.dtype.kind not in "iu":
        raise TypeError(f"repeat: counts are integers, not {counts.dtype}")
    if counts.ndim > 1 or counts.size not in (1, length) or np.any(counts < 0):
        raise ValueError(
            f"repeat: expected one count, or {length} for axis {axis} of shape {x.shape}, none "
            f"negative; got {counts}"
        )
    if counts.size != 1:
        places = np.repeat(np.arange(length), counts.astype(np.int64))
        return take(x, asarray(places, backend=x.backend), axis=axis)
    return _repeat(x, repeats=int(counts.item()), axis=axis)


def tile(x: Tensor, repetitions: int | tuple[int, ...], /) -> Tensor:
    """Return copies of x side by side, so many along each axis; the last axes where they are fewer.

    More repetitions than axes add axes in front.
    """
    x = as_tensor(x)
    counts = shape_of(repetitions)
    return _tile(x, repetitions=(1,) * (x.ndim - len(counts)) + counts)


def meshgrid(*arrays: Tensor, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Return for each vector its values over the grid that all of them span.

    indexing: "ij" puts the first vector on the first axis, "xy" the first on the second.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f'meshgrid: indexing is "xy" or "ij", not {indexing!r}')
    vectors = as_tensors(arrays)
    if others := [x.shape for x in vectors if x.ndim > 1]:
        raise ValueError(f"meshgrid: expected vectors, got shapes {others}")
    places = list(range(len(vectors)))
    if indexing == "xy":
        places[:2] = places[1::-1] if len(places) > 1 else places
    grids = [
        reshape(x, tuple(-1 if axis == place else 1 for axis in range(len(vectors))))
        for x, place in zip(vectors, places, strict=True)
    ]
    return tuple(copied(x) for x in broadcast_arrays(*grids))


def _matrices(op: Op, x: Tensor, k: int) -> Tensor:
    x = as_tensor(x)
    if x.ndim < 2:
        raise ValueError(f"{op.name}: expected a matrix or a stack of them, got shape {x.shape}")
    return op(x, k=index(k))


def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    """Return the matrices x with zeros above the k-th diagonal."""
    return _matrices(_tril, x, k)


def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    """Return the matrices x with zeros below the k-th diagonal."""
    return _matrices(_triu, x, k)


def diagonal(x: Tensor, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Return a view of the elements on a diagonal of the plane of two axes, as the last axis."""
    x = as_tensor(x)
    first, second = axes_of("diagonal", (axis1, axis2), x.shape)
    return _diagonal(x, offset=index(offset), axis1=first, axis2=second)


#: Which element of an axis of n stands at its place i, also outside: the modes of `pad`.
_SOURCES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "edge": lambda i, n: clip(i, 0, n - 1),
    "reflect": lambda i, n: _folded(i % max(2 * n - 2, 1), 2 * n - 2),
    "symmetric": lambda i, n: _folded(i % (2 * n), 2 * n - 1),
    "wrap": lambda i, n: i % n,
}


def _folded(i: Tensor, last: int) -> Tensor:
    """Return the way there and back again: 0, 1, ... , 1, 0."""
    return minimum(i, last - i)


def pad(
    x: Tensor,
    /,
    pad_width: Any,
    mode: str = "constant",
    *,
    constant_values: Any = 0,
) -> Tensor:
    """Return x with elements added before and after it along each axis.

    pad_width: n, (before, after), one such pair for each axis, or {axis: n or pair}.
    mode: "constant", "edge", "reflect", "symmetric" or "wrap", as in NumPy.
    constant_values: numbers, in the forms of pad_width; TypeError for those that do not fit x.
    """
    x = as_tensor(x)
    if isinstance(pad_width, Mapping):
        given = {axis_of("pad", axis, x.shape): width for axis, width in pad_width.items()}
        pad_width = [_pairs(given.get(axis, 0), 1)[0] for axis in range(x.ndim)]
    widths = tuple((index(low), index(high)) for low, high in _pairs(pad_width, x.ndim))
    if any(n < 0 for pair in widths for n in pair):
        raise ValueError(f"pad: expected widths of 0 or more, got {pad_width}")
    if mode == "constant":
        values = [[as_weak(v) for v in pair] for pair in _pairs(constant_values, x.ndim)]
        for value in (v for pair in values for v in pair):
            if value != 0:
                fitting(x, value)
        return _pad(x, widths=widths, values=tuple(map(tuple, values)))
    if mode not in _SOURCES:
        known = ["constant", *_SOURCES]
        raise ValueError(
            f"pad: unknown mode {mode!r}, expected one of {', '.join(known)}"
            + did_you_mean(mode, known)
        )
    padded = copied(x)
    for axis, (low, high) in enumerate(widths):
        length = x.shape[axis]
        if not length and low + high:
            raise ValueError(f"pad: mode {mode!r} finds nothing on axis {axis} of shape {x.shape}")
        if low + high:
            places = arange(-low, length + high, backend=x.backend)
            padded = take(padded, _SOURCES[mode](places, length), axis=axis)
    return padded


def _pairs(values: Any, ndim: int) -> list[tuple[Any, Any]]:
    """Return one value before and one after for each axis, from the forms in which NumPy has it."""
    try:
        pairs = np.broadcast_to(np.array(values, dtype=object), (ndim, 2))
    except ValueError as error:
        raise ValueError(
            f"pad: expected a number, a pair, or a pair for each of {ndim} axes, got {values}"
        ) from error
    return [(low, high) for low, high in pairs.tolist()]
