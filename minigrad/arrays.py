"""From Python numbers, lists and foreign arrays to raw arrays of the supported dtypes."""

from typing import Any

import numpy as np

from . import backends
from .backends import Array, Backend
from .messages import out_of_memory

SCALARS = frozenset({float, int, bool, complex})
_NATIVE = frozenset(map(np.dtype, "?bhilqBHILQefdFD"))

_default_dtype: np.dtype[Any] = np.dtype(np.float32)


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype that Python floats become: float16, float32 (at the start) or float64."""
    global _default_dtype
    chosen = np.dtype(dtype)
    if chosen.kind != "f" or chosen.itemsize > 8:
        raise TypeError(f"the default dtype is float16, float32 or float64, not {chosen}")
    _default_dtype = chosen


def get_default_dtype() -> np.dtype[Any]:
    """Return the dtype that Python floats become."""
    return _default_dtype


def _python_types(data: Any) -> set[type] | None:
    """Return the types of the Python numbers that data is made of; None if there is more in it."""
    types, stack = set(), [data]
    while stack:
        value = stack.pop()
        if isinstance(value, list | tuple):
            stack.extend(value)
        elif type(value) not in SCALARS:
            return None
        else:
            types.add(type(value))
    return types


def to_array(
    data: Any, dtype: Any, backend: str | Backend | None, copy: bool
) -> tuple[Array, Backend]:
    """Return data as an array of one of the supported dtypes on `backend`, and that backend.

    Without one, device arrays stay where they are, and the rest goes to the default.
    """
    if type(data) is np.ndarray and dtype is None is backend and data.dtype in _NATIVE:
        target = backends.default()
        array = _placed(data, target)  # a third of the time of what follows
        return (data.copy(order="K") if copy and array is data else array), target
    if isinstance(backend, str):
        backend = backends.get(backend)
    source = backends.of_device_array(data)
    target = backend or source or backends.default()
    host, dtype = _to_host(data, dtype) if source is None else (data, dtype)
    wanted = host.dtype if dtype is None else np.dtype(dtype)
    _require_number(wanted, data)
    if host.dtype.kind == "c" and wanted.kind in "iuf":
        raise TypeError(f"{host.dtype} cannot become {wanted}: take the real or imaginary part")
    if source is not None:
        array = data
        if source.device != target.device:
            array, copy = _placed(source.to_numpy(array), target), False
    else:
        array = _placed(host.astype(wanted, copy=False), target)
        # What NumPy takes over without a copy is anything but a list or a number.
        copy = copy and array is host and not isinstance(data, list | tuple | complex | float | int)
    wanted = np.dtype(wanted.type)  # in native byte order, and one object per dtype
    if array.dtype != wanted:
        return target.xp.astype(array, wanted), target
    return (target.xp.array(array, copy=True) if copy else array), target


def _placed(host: Any, target: Backend) -> Array:
    """Return a NumPy array as one of a backend."""
    try:
        return target.from_numpy(host)
    except MemoryError as error:
        raise out_of_memory(f"{host.dtype} {host.shape} to {target.name}", error) from error


def _to_host(data: Any, dtype: Any) -> tuple[Any, Any]:
    """Return data as a NumPy array, and the dtype wanted of it: None where it keeps its own."""
    # Asked without np.ma, whose import takes longer than minigrad's.
    if isinstance(data, np.ndarray) and np.any(getattr(data, "mask", False)):
        raise TypeError("a masked array hides some of its values: fill them in with filled()")
    try:
        host = np.asarray(data)
        kind = host.dtype.kind
        is_right = kind == "b" or (kind == "i" and dtype is None)
        types = None if is_right else _python_types(data)
        if types and types <= {bool, int}:
            # NumPy takes integers that int64 does not hold for unsigned ones, floats or objects.
            dtype = np.dtype(np.int64) if dtype is None else dtype
            host = np.asarray(data, dtype)
        elif types is not None and dtype is None:
            dtype = _default_dtype if kind == "f" else np.result_type(_default_dtype, np.complex64)
    except ValueError as error:
        raise ValueError(f"expected numbers in a regular shape: {error}") from error
    except OverflowError as error:
        raise OverflowError(f"expected integers that fit into {dtype}: {error}") from error
    _require_number(host.dtype, data)
    return host, dtype


def as_dtype(dtype: Any) -> np.dtype[Any]:
    """Return a dtype in native byte order; TypeError for what is no number of up to 64 bits."""
    chosen = np.dtype(dtype)
    _require_number(chosen, dtype)
    native: np.dtype[Any] = np.dtype(
        chosen.type
    )  # one object per dtype: the engine compares by `is`
    return native


def _require_number(dtype: np.dtype[Any], data: Any) -> None:
    if dtype.kind not in "biufc" or dtype.itemsize > (16 if dtype.kind == "c" else 8):
        raise TypeError(
            f"expected numbers of at most 64 bits, got {type(data).__name__} of dtype {dtype}"
        )
