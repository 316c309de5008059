"""Indexing as NumPy has it. Index arrays are arguments of the ops, the rest of a key is a param."""

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..engine import Op, Tensor, apply
from ..promotion import as_weak
from ..refusals import refuse_overflow
from .axes import answers_torch, axis_of
from .creation import arange, as_tensor, asarray, astype, zeros
from .elementwise import where
from .predicates import equal
from .reductions import sum_to

__all__ = [
    "getitem",
    "nonzero",
    "setitem",
    "take",
    "take_along_axis",
]


class Slice(NamedTuple):
    """A slice as a hashable param."""

    start: int | None
    stop: int | None
    step: int | None


class Array(NamedTuple):
    """The place in a key of index array number `number`."""

    number: int


Key = tuple[Any, ...]


def _filled(key: Key, indices: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the key as arrays understand it."""
    return tuple(
        indices[k.number] if type(k) is Array else slice(*k) if type(k) is Slice else k for k in key
    )


def _check(xp: Any, x: Any, indices: tuple[Any, ...], key: Key) -> None:
    """Refuse on devices what NumPy refuses by itself, indices that would wrap around above all."""
    if not xp.lenient:
        return
    if any(type(k) is int and k.bit_length() > 63 for k in key):
        raise IndexError("an integer in the key is beyond 64 bits")
    shapes = [index.shape for index in indices]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError as error:
        raise IndexError(f"index arrays of shapes {shapes} do not broadcast together") from error
    for place, k in enumerate(key):
        if type(k) is Array and (axis := _axis_at(key, place, x.ndim)) < x.ndim:
            index, length = indices[k.number], x.shape[axis]
            what = f"indexing: an index into axis {axis} must lie in [-{length}, {length})"
            xp.refuse((index < -length) | (index >= length), index, what, IndexError)


def _axis_at(key: Sequence[Any], place: int, ndim: int) -> int:
    """Return the first axis that the element of a key at `place` takes."""
    before = key[:place]
    if any(k is Ellipsis for k in before):
        return ndim - sum(map(_axes_taken, key[place:]))
    return sum(map(_axes_taken, before))


def _axes_taken(k: Any) -> int:
    """Return how many axes of the indexed tensor an element of a key takes."""
    if k is None or k is Ellipsis or type(k) is bool:
        return 0
    return k.ndim if isinstance(k, Tensor) and k.dtype.kind == "b" else 1


def _getitem_forward(xp: Any, x: Any, *indices: Any, key: Key) -> Any:
    _check(xp, x, indices, key)
    filled = _filled(key, indices)
    # With an Ellipsis, x[0] of a vector is a view as well, not a NumPy scalar.
    return x[filled] if indices or Ellipsis in key else x[(*filled, ...)]


def _scatter_forward(xp: Any, v: Any, *indices: Any, key: Key, shape: tuple[int, ...]) -> Any:
    out, filled = xp.zeros(shape, dtype=v.dtype), _filled(key, indices)
    if indices:  # elements may be named more than once
        xp.scatter_add(out, filled, v)
    else:  # half the time of adding to zeros
        out[filled] = v
    return out


def _accumulate(xp: Any, out: Any, indices: tuple[Any, ...], key: Key, v: Any) -> None:
    if indices:  # elements may be named more than once
        xp.scatter_add(out, _filled(key, indices), v)
    else:
        out[_filled(key, indices)] += v


def _index_set_forward(xp: Any, x: Any, v: Any, *indices: Any, key: Key) -> Any:
    _check(xp, x, indices, key)
    refuse_overflow(xp, v, x.dtype)
    out = xp.array(x, copy=True)
    out[_filled(key, indices)] = v
    return out


def _index_add_forward(xp: Any, x: Any, v: Any, *indices: Any, key: Key) -> Any:
    _check(xp, x, indices, key)
    out = xp.array(x, copy=True)
    _accumulate(xp, out, indices, key, v)
    return out


def _setitem_forward(xp: Any, x: Any, v: Any, *indices: Any, key: Key) -> None:
    _check(xp, x, indices, key)
    refuse_overflow(xp, v, x.dtype)
    if xp.lenient and hasattr(v, "shape") and xp.may_share_memory(x, v):
        v = xp.array(v, copy=True)  # CuPy may read what it has just written
    x[_filled(key, indices)] = v


_getitem: Op = Op(
    "getitem",
    _getitem_forward,
    vjp=dict(
        x=lambda g, x_shape, indices, key: apply(
            scatter, (g, *indices), {"key": key, "shape": x_shape}
        )
    ),
    view=True,
    complex_rules=True,
)
scatter: Op = Op(
    "scatter",
    _scatter_forward,
    vjp=dict(v=lambda g, indices, key: apply(_getitem, (g, *indices), {"key": key})),
    complex_rules=True,
)


def _placed(g: Tensor, v_shape: tuple[int, ...], indices: list[Tensor], key: Key) -> Tensor:
    """The cotangent of a value that was added at x[key]."""
    return _fitted(apply(_getitem, (g, *indices), {"key": key}), v_shape)


def _fitted(g: Tensor, v_shape: tuple[int, ...]) -> Tensor:
    """Sum g to the shape of a value, which may have more leading axes of length 1 than g."""
    return sum_to(g, v_shape[max(len(v_shape) - g.ndim, 0) :]).reshape(v_shape)


def _last_placed(g: Tensor, v_shape: tuple[int, ...], indices: list[Tensor], key: Key) -> Tensor:
    """The cotangent of a value that was set at x[key]: the last one for an element counts."""
    if not indices:
        return _placed(g, v_shape, indices, key)
    found: Tensor = apply(_getitem, (g, *indices), {"key": key})
    order = arange(found.size, backend=g.backend).reshape(found.shape)
    nobody = zeros(g.shape, dtype=np.int64, backend=g.backend)
    winners = apply(_index_set, (nobody, order, *indices), {"key": key})
    won = equal(apply(_getitem, (winners, *indices), {"key": key}), order)
    return _fitted(where(won, found, 0), v_shape)


_index_set: Op = Op(
    "index_set",
    _index_set_forward,
    vjp=dict(
        x=lambda g, indices, key: apply(_index_set, (g, 0, *indices), {"key": key}),
        v=_last_placed,
    ),
    promotes=("x", "v"),
    complex_rules=True,
)
_index_add = Op(
    "index_add",
    _index_add_forward,
    vjp=dict(
        x=lambda g: g,
        v=_placed,
    ),
    promotes=("x", "v"),
    complex_rules=True,
)
_setitem = Op("setitem", _setitem_forward, outputs=(), writes=("x",))
_nonzero = Op(
    "nonzero",
    lambda xp, x: xp.stack(xp.nonzero(x)),
    syncs=True,
)


def nonzero(x: Tensor, /) -> tuple[Tensor, ...]:
    """Return for each axis the indices of the elements that are not zero; waits for a device."""
    x = as_tensor(x)
    if not x.ndim:
        raise ValueError("nonzero: a 0-d tensor has no axes")
    return tuple(_nonzero(x))


def _parse(x: Tensor, key: Any, keep: bool = False) -> tuple[Key, list[Tensor]]:
    """Split a NumPy-style key into a hashable one and its index arrays; keep: copies of them.

    A boolean mask stands for the integer arrays of its true places. IndexError for what is no
    index, or a mask that does not fit.
    """
    keep = keep or x.requires_grad  # the tape does, and the caller may reuse an array
    elements = [_element(x, k, keep) for k in (key if isinstance(key, tuple) else (key,))]
    parsed: list[Any] = []
    arrays: list[Tensor] = []
    for place, k in enumerate(elements):
        if not isinstance(k, Tensor):
            parsed.append(k)
            continue
        mask = k.dtype.kind == "b"
        for array in _places(x, k, _axis_at(elements, place, x.ndim)) if mask else (k,):
            parsed.append(Array(len(arrays)))
            arrays.append(array)
    return tuple(parsed), arrays


def _element(x: Tensor, k: Any, keep: bool) -> Any:
    """Return an element of a key as a constant, an index array or mask as a tensor."""
    if k is None or k is Ellipsis or type(k) is int:
        return k
    if isinstance(k, slice):
        return Slice(*(None if n is None else operator.index(n) for n in (k.start, k.stop, k.step)))
    if isinstance(k, bool | np.bool_):  # a 0-d mask: a new axis, of length 1 or 0
        return bool(k)
    if isinstance(k, int | np.integer):
        return int(k)
    index = k if isinstance(k, Tensor) else _as_index(x, k, keep)
    if index.dtype.kind not in "biu":
        raise IndexError(f"an index is made of integers, booleans and slices, not {index.dtype}")
    if index.dtype.kind == "b":
        return index if index.ndim else bool(index)
    return astype(index, np.int64, copy=False)  # -length may lie outside a narrow dtype


def _as_index(x: Tensor, k: Any, keep: bool) -> Tensor:
    try:
        index = asarray(k, copy=keep or None, backend=x.backend)
    except (TypeError, ValueError) as error:
        raise IndexError(f"expected an index, got {k!r}: {error}") from error
    nothing = isinstance(k, list | tuple) and not index.size  # of no dtype, but an index
    return astype(index, np.int64) if nothing else index


def _places(x: Tensor, mask: Tensor, axis: int) -> tuple[Tensor, ...]:
    """Return a mask as the index arrays of its true places; IndexError if it does not fit."""
    if mask.shape != x.shape[axis : axis + mask.ndim]:
        raise IndexError(
            f"a mask of shape {mask.shape} at axis {axis} does not fit a tensor of shape {x.shape}"
        )
    return nonzero(mask)


def getitem(x: Tensor, key: Any) -> Tensor:
    """Return x[key] for every key NumPy knows: a view for ints and slices, a copy for arrays.

    Index arrays may name an element repeatedly; its gradients accumulate. IndexError for a key
    that does not fit, naming the first bad position and value.
    """
    x = as_tensor(x)
    parsed, arrays = _parse(x, key)
    result: Tensor = _indexed(_getitem, x, (), parsed, arrays)
    return result


@answers_torch
def take(x: Tensor, indices: Any, /, axis: int | None = None) -> Tensor:
    """Return the elements of x at integer indices along an axis, which a vector need not name.

    The axis makes way for those of the indices. Elements may be named repeatedly; their gradients
    accumulate. IndexError as in x[...].
    """
    x = as_tensor(x)
    if axis is None:
        if x.ndim != 1:
            raise ValueError(f"take: axis is needed for shape {x.shape}; ravel() it to take of all")
        axis = 0
    before = (slice(None),) * axis_of("take", axis, x.shape)
    return getitem(x, (*before, _integers(x, indices)))


@answers_torch
def take_along_axis(x: Tensor, indices: Any, /, axis: int | None = -1) -> Tensor:
    """Return for each place of the indices the element of x at that index along an axis.

    x and the indices broadcast along the other axes; axis None takes of the flattened x. This is
    how `argsort` and the like are applied. ValueError for another number of axes.
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = x.reshape(-1), 0
    axis = axis_of("take_along_axis", axis, x.shape)
    index = _integers(x, indices)
    if index.ndim != x.ndim:
        raise ValueError(
            f"take_along_axis: expected {x.ndim} axes of indices for shape {x.shape}, got shape "
            f"{index.shape}"
        )
    key = [
        index
        if i == axis
        else arange(n, backend=x.backend).reshape((-1,) + (1,) * (x.ndim - 1 - i))
        for i, n in enumerate(x.shape)
    ]
    return getitem(x, tuple(key))


def _integers(x: Tensor, indices: Any) -> Tensor:
    """Return indices as a tensor of integers; IndexError for anything else, masks too."""
    index = indices if isinstance(indices, Tensor) else _as_index(x, indices, x.requires_grad)
    if index.dtype.kind not in "iu":
        raise IndexError(f"expected integer indices, got {index.dtype}")
    return index


def setitem(x: Tensor, key: Any, value: Any) -> None:
    """Write x[key] = value in place; refused on tracked operands while recording.

    The value must fit: TypeError for a float into integers, as everywhere in place. TypeError for
    an x that is no tensor, of which a copy would be written.
    """
    if not isinstance(x, Tensor):
        raise TypeError(
            f"setitem: expected a tensor, got {type(x).__name__}; write x[key] = value into it"
        )
    parsed, arrays = _parse(x, key)
    _indexed(_setitem, x, (fitting(x, value),), parsed, arrays)


_RANKS = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3}


def fitting(x: Tensor, value: Any) -> Any:
    """Return value as something that can be written into x, or raise TypeError."""
    if type(value) not in (bool, int, float, complex) and not isinstance(value, Tensor):
        value = asarray(value, backend=x.backend)
    dtype = value.dtype if isinstance(value, Tensor) else np.dtype(type(value))
    if _RANKS[dtype.kind] > _RANKS[x.dtype.kind]:
        raise TypeError(f"{dtype} cannot be written into {x.dtype}; cast it with astype first")
    return value


def _indexed(op: Op, x: Tensor, more: tuple[Any, ...], key: Key, arrays: list[Tensor]) -> Any:
    try:
        return apply(op, (x, *more, *arrays), {"key": key})
    except IndexError as error:
        _name_bad_index(x, key, arrays, error)
        raise


def _name_bad_index(x: Tensor, key: Key, arrays: list[Tensor], error: IndexError) -> None:
    """Raise a better IndexError if an index array is out of range: where, and which value."""
    for place, k in enumerate(key):
        if type(k) is Array and (axis := _axis_at(key, place, x.ndim)) < x.ndim:
            index, length = arrays[k.number].numpy(), x.shape[axis]
            bad = np.argwhere((index < -length) | (index >= length))
            if len(bad):
                at = tuple(int(i) for i in bad[0])
                raise IndexError(
                    f"index {index[at]} at position {at} is out of bounds for axis {axis} "
                    f"of length {length}"
                ) from error


class At:
    """`x.at[key]`: changes of x that return a new tensor and are differentiable."""

    def __init__(self, x: Tensor, key: Any = ()) -> None:
        self._x, self._key = x, key

    def __getitem__(self, key: Any) -> "At":
        return At(self._x, key)

    def set(self, value: Any) -> Tensor:
        """Return a copy of x with x[key] = value, in x's dtype where both are floating."""
        return self._changed(_index_set, value)

    def add(self, value: Any) -> Tensor:
        """Return a copy of x with value added at x[key]; elements named twice get both."""
        return self._changed(_index_add, value)

    def _changed(self, op: Op, value: Any) -> Tensor:
        if as_weak(value) is None:
            value = as_tensor(value)
            if value.dtype.kind == self._x.dtype.kind == "f":
                value = astype(value, self._x.dtype, copy=False)
        parsed, arrays = _parse(self._x, self._key, keep=True)
        result: Tensor = _indexed(op, self._x, (value,), parsed, arrays)
        return result
