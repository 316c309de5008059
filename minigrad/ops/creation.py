"""Making tensors, and taking them from one dtype or backend to another."""

from operator import index
from typing import Any

import numpy as np

from .. import backends
from ..arrays import as_dtype, get_default_dtype, to_array
from ..backends import Backend
from ..engine import Op, Tensor, apply, wrap

__all__ = [
    "arange",
    "asarray",
    "astype",
    "copy",
    "eye",
    "full",
    "linspace",
    "ones",
    "ones_like",
    "tensor",
    "to",
    "to_device",
    "zeros",
    "zeros_like",
]


_zeros = Op("zeros", lambda xp, *, shape, dtype: xp.zeros(shape, dtype=dtype))


def _full_forward(xp: Any, *, shape: tuple[int, ...], value: Any, dtype: Any) -> Any:
    out = xp.empty(shape, dtype=dtype)  # half the time of xp.full on a small array
    out[...] = value
    return out


_full = Op("full", _full_forward)
_eye = Op("eye", lambda xp, *, rows, columns, k, dtype: xp.eye(rows, columns, k=k, dtype=dtype))
_arange = Op(
    "arange",
    lambda xp, *, start, stop, step, dtype: xp.arange(start, stop, step, dtype=dtype),
)
_linspace = Op(
    "linspace",
    lambda xp, *, start, stop, num, endpoint, dtype: xp.linspace(
        start, stop, num, endpoint=endpoint, dtype=dtype
    ),
)

zeros_like = Op("zeros_like", lambda xp, x: xp.zeros(x.shape, dtype=x.dtype))
"""Zeros of x's shape, dtype and backend: a constant."""

ones_like = Op("ones_like", lambda xp, x: _full_forward(xp, shape=x.shape, value=1, dtype=x.dtype))
"""Ones of x's shape, dtype and backend: a constant."""

_copy = Op(
    "copy",
    lambda xp, x: xp.array(x, copy=True, order="C"),
    vjp=dict(x=lambda g: g),
    complex_rules=True,
)
copy = _copy  # asarray has a keyword of that name
"""A contiguous copy of x on the tape, which shares no memory with it."""

_astype: Op = Op(
    "astype",
    lambda xp, x, *, dtype: xp.astype(x, dtype),
    vjp=dict(x=lambda g, x_dtype: astype(g.real if x_dtype.kind == "f" else g, x_dtype)),
    complex_rules=True,
)


def _move(xp: Any, x: Any, *, source: str, target: str) -> Any:
    here, there = backends.get(source), backends.get(target)
    return x[...] if here.device == there.device else there.from_numpy(here.to_numpy(x))


_to: Op = Op(
    "to",
    _move,
    vjp=dict(x=lambda g, source, target: _to(g, source=target, target=source)),
    view=True,
    complex_rules=True,
    target="target",
)


def tensor(
    data: Any,
    dtype: Any = None,
    requires_grad: bool = False,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return a new tensor with a copy of `data`; see Tensor."""
    return Tensor(data, dtype, requires_grad, backend)


def asarray(
    data: Any,
    /,
    *,
    dtype: Any = None,
    copy: bool | None = None,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return data as a tensor that shares its memory where it can; a Tensor stays on the tape.

    Writes to the shared memory from outside are not noticed by the tape. ValueError where
    copy=False and sharing is impossible.
    """
    if isinstance(data, Tensor):
        result = data if backend is None else to(data, backend)
        result = result if dtype is None else astype(result, dtype, copy=False)
        shared = result is data
        result = _copy(data) if copy and shared else result
    else:
        array, where = to_array(data, dtype, backend, copy=bool(copy))
        result, on_host = wrap(array, where), where.device == "cpu"
        shared = array is data or (on_host and np.may_share_memory(array, data))
    if copy is False and not shared:
        raise ValueError("asarray: this data, dtype and backend need a copy, but copy=False")
    return result


def astype(x: Tensor, dtype: Any, /, *, copy: bool = True) -> Tensor:
    """Return x in another dtype; between floating dtypes the cast is differentiable.

    copy=False returns x itself where it has that dtype already.
    """
    wanted = as_dtype(dtype)
    if wanted == x.dtype and not copy:
        return x
    return _astype(x if wanted.kind in "fc" else x.detach(), dtype=wanted)


def to(x: Tensor, backend: str | Backend) -> Tensor:
    """Return x on another backend; x itself where it is there already."""
    name = backend if isinstance(backend, str) else backend.name
    if backends.get(name) is x.backend:
        return x
    return _to(x, source=x.backend.name, target=name)


def to_device(x: Tensor, device: str) -> Tensor:
    """Return x on a device, "cpu" or "cuda:0"; x itself where it is there already."""
    homes = {"cpu": "numpy", "cuda:0": "cupy"}
    if device not in homes:
        raise ValueError(f"unknown device {device!r}: expected one of {', '.join(homes)}")
    return x if device == x.device else to(x, homes[device])


def _create(
    op: Op, params: dict[str, Any], requires_grad: bool, backend: str | Backend | None
) -> Tensor:
    result: Tensor = apply(op, (), params, backends.resolve(backend))
    return result.requires_grad_(requires_grad)


def shape_of(shape: Any) -> tuple[int, ...]:
    sizes = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    sizes = tuple(index(n) for n in sizes)
    if any(n < 0 for n in sizes):
        raise ValueError(f"a shape has no negative lengths, got {sizes}")
    return sizes


def _dtype(dtype: Any, *values: Any) -> np.dtype[Any]:
    """Return the dtype of a new tensor: the one asked for, or the one its values suggest."""
    chosen: Any = dtype
    if dtype is None:
        kind = np.result_type(*map(np.asarray, values)).kind if values else "f"
        floating = get_default_dtype()
        kinds = {"b": np.bool_, "i": np.int64, "u": np.int64, "f": floating}
        chosen = kinds.get(kind) or np.result_type(floating, np.complex64)
    return as_dtype(chosen)


def zeros(
    shape: Any,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return zeros of a shape (an int or a tuple), of the default dtype unless one is given."""
    params = {"shape": shape_of(shape), "dtype": _dtype(dtype)}
    return _create(_zeros, params, requires_grad, backend)


def ones(
    shape: Any,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return ones of a shape, of the default dtype unless one is given."""
    params = {"shape": shape_of(shape), "value": 1, "dtype": _dtype(dtype)}
    return _create(_full, params, requires_grad, backend)


def full(
    shape: Any,
    fill_value: complex,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return a tensor filled with a number, whose kind gives the dtype unless one is given."""
    params = {"shape": shape_of(shape), "value": fill_value, "dtype": _dtype(dtype, fill_value)}
    return _create(_full, params, requires_grad, backend)


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: Any = None,
    requires_grad: bool = False,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return a matrix with ones on the k-th diagonal and zeros elsewhere."""
    columns = n_rows if n_cols is None else n_cols
    params = {"rows": n_rows, "columns": columns, "k": k, "dtype": _dtype(dtype)}
    return _create(_eye, params, requires_grad, backend)


def arange(
    start: float,
    /,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return start, start + step, ... below stop; with one argument, 0, 1, ... below it."""
    if stop is None:
        start, stop = 0, start
    params = {"start": start, "stop": stop, "step": step, "dtype": _dtype(dtype, start, stop, step)}
    return _create(_arange, params, requires_grad, backend)


def linspace(
    start: float,
    stop: float,
    /,
    num: int,
    *,
    dtype: Any = None,
    endpoint: bool = True,
    requires_grad: bool = False,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return `num` evenly spaced numbers from start to stop, stop included where endpoint."""
    params = {
        "start": start,
        "stop": stop,
        "num": num,
        "endpoint": endpoint,
        "dtype": _dtype(dtype),
    }
    return _create(_linspace, params, requires_grad, backend)
