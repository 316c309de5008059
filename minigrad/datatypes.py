"""Questions about dtypes, as the Array API asks them."""

from typing import Any, NamedTuple

import numpy as np

from .arrays import as_dtype
from .messages import did_you_mean
from .promotion import as_weak, common_dtype

#: The kinds of dtypes by their names in the standard, as NumPy's letters.
KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "c",
    "numeric": "iufc",
}


class FloatInfo(NamedTuple):
    """What a floating dtype can hold; of a complex one, what its parts can."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: np.dtype[Any]


class IntegerInfo(NamedTuple):
    """What an integer dtype can hold."""

    bits: int
    max: int
    min: int
    dtype: np.dtype[Any]


def _dtype_of(value: Any) -> np.dtype[Any]:
    """Return a dtype given as itself or by a tensor or array that has it."""
    own = getattr(value, "dtype", None)
    if own is None and (value is None or as_weak(value) is not None):
        raise TypeError(f"expected a dtype, or a tensor that has one, got {value!r}")
    return own if isinstance(own, np.dtype) else as_dtype(value)


def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    """Return the dtype that tensors, dtypes and numbers have together in arithmetic.

    Integers yield to floats, numbers to tensors and dtypes. ValueError for nothing at all.
    """
    if not arrays_and_dtypes:
        raise ValueError("result_type: expected at least one tensor, dtype or number")
    weak = {type(w) for value in arrays_and_dtypes if (w := as_weak(value)) is not None}
    strong = [value for value in arrays_and_dtypes if as_weak(value) is None]
    return common_dtype(map(_dtype_of, strong), weak)


def can_cast(from_: Any, to: Any, /) -> bool:
    """Return whether every value of a dtype, or of a tensor's, is one of another dtype."""
    return np.can_cast(_dtype_of(from_), as_dtype(to))


def isdtype(dtype: Any, kind: Any) -> bool:
    """Return whether a dtype is another, of a kind ("integral", ...), or one of a tuple of these.

    ValueError for an unknown kind, TypeError for what is no dtype.
    """
    if not isinstance(dtype, np.dtype | type):
        raise TypeError(f"isdtype: expected a dtype, got {dtype!r}")
    if isinstance(kind, tuple):
        return any(isdtype(dtype, one) for one in kind)
    if not isinstance(kind, str):
        return as_dtype(dtype) == as_dtype(kind)
    if kind not in KINDS:
        hint = did_you_mean(kind, KINDS)
        raise ValueError(
            f"isdtype: unknown kind {kind!r}: expected one of {', '.join(KINDS)}{hint}"
        )
    return as_dtype(dtype).kind in KINDS[kind]


def finfo(type: Any, /) -> FloatInfo:
    """Return the limits of a floating or complex dtype, or of a tensor's, as Python numbers."""
    dtype = _dtype_of(type)
    if dtype.kind not in "fc":
        raise TypeError(f"finfo: expected a floating dtype, got {dtype}; use iinfo")
    info = np.finfo(dtype)
    eps, most, least, normal = map(float, (info.eps, info.max, info.min, info.smallest_normal))
    return FloatInfo(info.bits, eps, most, least, normal, np.dtype(info.dtype))


def iinfo(type: Any, /) -> IntegerInfo:
    """Return the limits of an integer dtype, or of a tensor's, as Python integers."""
    dtype = _dtype_of(type)
    if dtype.kind not in "iu":
        raise TypeError(f"iinfo: expected an integer dtype, got {dtype}; use finfo")
    info = np.iinfo(dtype)
    return IntegerInfo(info.bits, int(info.max), int(info.min), dtype)
