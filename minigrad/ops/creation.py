"""Making tensors, and taking them from one dtype or backend to another."""

from collections.abc import Callable, Sequence
from functools import wraps
from operator import index
from typing import Any, ParamSpec

import numpy as np

from .. import backends
from ..arrays import as_dtype, to_array
from ..backends import Backend
from ..engine import Op, Tensor, apply, wrap
from ..methods import OPS
from ..promotion import as_weak, common_dtype
from ..refusals import refuse_overflow

__all__ = [
    "arange",
    "asarray",
    "astype",
    "copy",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "full",
    "full_like",
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
    refuse_overflow(xp, value, dtype)
    out[...] = value
    return out


_full = Op("full", _full_forward)
_eye = Op("eye", lambda xp, *, rows, columns, k, dtype: xp.eye(rows, columns, k=k, dtype=dtype))
_arange = Op(
    "arange",
    lambda xp, *, start, stop, step, dtype: xp.arange(start, stop, step, dtype=dtype),
)


def _linspace_forward(
    xp: Any, *, start: complex, stop: complex, num: int, endpoint: bool, dtype: Any
) -> Any:
    def line(part: str, dtype: Any) -> Any:
        ends = getattr(start, part), getattr(stop, part)
        return xp.linspace(*ends, num, endpoint=endpoint, dtype=dtype)

    if dtype.kind != "c":
        return line("real", dtype)
    return xp.astype(line("real", np.float64) + 1j * line("imag", np.float64), dtype)


_linspace = Op("linspace", _linspace_forward)

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
    device: str | None = None,
    copy: bool | None = None,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return data as a tensor that shares its memory where it can; a Tensor stays on the tape.

    So do tensors in (nested) lists, which are stacked. Writes to the shared memory from outside
    are not noticed by the tape. ValueError where copy=False and sharing is impossible,
    OverflowError for Python integers that do not fit.
    """
    if isinstance(data, Tensor):
        stays = backend is None and device in (None, data.device)
        result = data if stays else to(data, backends.resolve(backend, device))
        result = result if dtype is None else astype(result, dtype, copy=False)
        shared = result is data
        result = _copy(data) if copy and shared else result
    elif isinstance(data, list | tuple) and _holds_tensors(data):
        result, shared = asarray(_stacked(data), dtype=dtype, device=device, backend=backend), False
    else:
        target = backend if device is None else backends.resolve(backend, device)
        array, where = to_array(data, dtype, target, copy=bool(copy))
        result, on_host = wrap(array, where), where.device == "cpu"
        shared = array is data or (on_host and np.may_share_memory(array, np.asarray(data)))
    if copy is False and not shared:
        raise ValueError("asarray: this data, dtype and backend need a copy, but copy=False")
    return result


def as_tensor(x: Any) -> Tensor:
    """Return a tensor as it is, a list of tensors stacked, anything else as a constant copy.

    A copy, since the tape may keep it.
    """
    return x if isinstance(x, Tensor) else asarray(x, copy=True)


def constant_like(values: Any, like: Tensor) -> Tensor:
    """Return factors or a mask as a tensor: floats that are none yet, as floats of another's dtype.

    What they stand beside is not to become wider by them. A copy, since the tape may keep it.
    """
    if isinstance(values, Tensor):
        return values
    constant = asarray(values, copy=True, backend=like.backend)
    if constant.dtype.kind != "f" or like.dtype.kind != "f" or constant.dtype == like.dtype:
        return constant
    return asarray(values, dtype=like.dtype, copy=True, backend=like.backend)


# What DLPack's device types are here: the host, its pinned memory, CUDA's, its managed memory.
_DLPACK_DEVICES = {1: "cpu", 3: "cpu", 2: "cuda:0", 13: "cuda:0"}


def from_dlpack(x: Any, /, *, device: str | None = None, copy: bool | None = None) -> Tensor:
    """Return the array of another library as a tensor on the same memory, or on a copy.

    Writes from outside are not noticed by the tape, those to a tensor of a tensor are. ValueError
    where copy=False and sharing is impossible, BufferError for what cannot be exchanged.
    """
    if not hasattr(x, "__dlpack_device__"):
        raise AttributeError(
            f"from_dlpack: expected an array with __dlpack__, got {type(x).__name__}"
        )
    number = int(x.__dlpack_device__()[0])
    if isinstance(x, Tensor) and x.node is None and number in _DLPACK_DEVICES:
        return asarray(x.detach(), device=device, copy=copy)
    if number not in _DLPACK_DEVICES and device != "cpu":
        raise BufferError(f"from_dlpack: no backend for DLPack's device type {number}")
    home = backends.resolve(None, _DLPACK_DEVICES.get(number, "cpu"))
    try:
        # From a device that no backend has, the host can be given a copy.
        options: Any = {} if number in _DLPACK_DEVICES else {"device": "cpu"}
        array = home.xp.from_dlpack(x, copy=copy, **options)
    except RuntimeError as error:  # what NumPy raises for a dtype that it lacks
        if "dtype" not in str(error):
            raise
        raise BufferError(f"from_dlpack: {error}") from error
    as_dtype(array.dtype)
    result = wrap(array, home)
    if device in (None, result.device):
        return result
    if copy is False:
        raise ValueError(f"from_dlpack: {result.device} to {device} needs a copy, but copy=False")
    return to_device(result, device)


def _holds_tensors(data: Sequence[Any]) -> bool:
    """Whether there are tensors in (nested) lists or tuples."""
    kinds = set(map(type, data))
    if any(issubclass(kind, Tensor) for kind in kinds):
        return True
    nested = any(issubclass(kind, list | tuple) for kind in kinds)
    return nested and any(_holds_tensors(v) for v in data if isinstance(v, list | tuple))


def _stacked(data: Sequence[Any]) -> Tensor:
    """Stack what is in (nested) lists with tensors in them."""
    return OPS["stack"](
        [_stacked(v) if isinstance(v, list | tuple) and _holds_tensors(v) else v for v in data]
    )


def astype(x: Tensor, dtype: Any, /, *, copy: bool = True, device: str | None = None) -> Tensor:
    """Return x in another dtype; between floating dtypes the cast is differentiable.

    copy=False returns x itself where it has that dtype already. TypeError for complex numbers that
    would become real.
    """
    x = as_tensor(x)
    wanted = as_dtype(dtype)
    if x.dtype.kind == "c" and wanted.kind in "iuf":
        raise TypeError(
            f"astype: {x.dtype} cannot become {wanted}: take real(), imag() or abs() first"
        )
    if wanted != x.dtype or copy:
        x = _astype(x if wanted.kind in "fc" else x.detach(), dtype=wanted)
    return x if device is None else to_device(x, device)


def to(x: Tensor, backend: str | Backend) -> Tensor:
    """Return x on another backend; x itself where it is there already."""
    x = as_tensor(x)
    name = backend if isinstance(backend, str) else backend.name
    if backends.get(name) is x.backend:
        return x
    return _to(x, source=x.backend.name, target=name)


def to_device(x: Tensor, device: str, /, *, stream: None = None) -> Tensor:
    """Return x on a device, "cpu" or "cuda:0"; x itself where it is there already.

    stream: the standard's keyword; ValueError for anything but None.
    """
    x = as_tensor(x)
    if stream is not None:
        raise ValueError("to_device: streams cannot be chosen; leave stream=None")
    return x if device == x.device else to(x, backends.resolve(None, device))


def shape_of(shape: Any) -> tuple[int, ...]:
    """Return a shape given as an int or a sequence; ValueError for negative lengths."""
    sizes = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    sizes = tuple(index(n) for n in sizes)
    if any(n < 0 for n in sizes):
        raise ValueError(f"a shape has no negative lengths, got {sizes}")
    return sizes


P = ParamSpec("P")


def _of_one_shape(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Let a function refuse lengths given one by one, and a dtype given by its place."""
    name = function.__name__

    @wraps(function)
    def create(*args: P.args, **options: P.kwargs) -> Tensor:
        if len(args) > 1:
            raise TypeError(
                f"{name}: expected one shape, as in mg.{name}((2, 3)), and the rest by keyword, as "
                f"dtype=; got {', '.join(map(repr, args))}"
            )
        return function(*args, **options)

    return create


def _number(name: str, value: Any) -> Any:
    """Return a number, also one in a 0-d constant, as a Python number."""
    if isinstance(value, Tensor | np.ndarray) and not value.ndim:
        value = np.asarray(value)[()]
    weak = as_weak(value)
    if weak is None:
        raise TypeError(f"{name}: expected a number, got {value!r}")
    return weak


def _dtype(dtype: Any, *numbers: Any) -> np.dtype[Any]:
    """Return the dtype of a new tensor: the one asked for, or the one its numbers suggest."""
    return common_dtype([], map(type, numbers)) if dtype is None else as_dtype(dtype)


def _create(
    op: Op,
    params: dict[str, Any],
    device: str | None,
    requires_grad: bool,
    backend: str | Backend | None,
) -> Tensor:
    result: Tensor = apply(op, (), params, backends.resolve(backend, device))
    return result.requires_grad_(requires_grad)


@_of_one_shape
def zeros(
    shape: Any,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return zeros of a shape (an int or a tuple), of the default dtype unless one is given."""
    params = {"shape": shape_of(shape), "dtype": _dtype(dtype, 0.0)}
    return _create(_zeros, params, device, requires_grad, backend)


@_of_one_shape
def empty(
    shape: Any,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return a tensor to be written into; until then its values are zeros."""
    return zeros(shape, dtype=dtype, device=device, requires_grad=requires_grad, backend=backend)


@_of_one_shape
def ones(
    shape: Any,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return ones of a shape, of the default dtype unless one is given."""
    params = {"shape": shape_of(shape), "value": 1, "dtype": _dtype(dtype, 1.0)}
    return _create(_full, params, device, requires_grad, backend)


def full(
    shape: Any,
    fill_value: complex,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return a tensor filled with a number, whose kind gives the dtype unless one is given.

    OverflowError for an integer that the dtype does not hold.
    """
    value = _number("full", fill_value)
    params = {"shape": shape_of(shape), "value": value, "dtype": _dtype(dtype, value)}
    return _create(_full, params, device, requires_grad, backend)


def _like(
    op: Op,
    x: Any,
    params: dict[str, Any],
    dtype: Any,
    device: str | None,
    requires_grad: bool,
    backend: str | Backend | None,
) -> Tensor:
    """Create a tensor of x's shape and, unless others are given, of its dtype and backend."""
    x = x if isinstance(x, Tensor) else asarray(x)
    params |= {"shape": x.shape, "dtype": x.dtype if dtype is None else as_dtype(dtype)}
    if backend is None and device in (None, x.device):
        backend = x.backend
    return _create(op, params, device, requires_grad, backend)


def zeros_like(
    x: Tensor,
    /,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return zeros of x's shape and, unless others are given, of its dtype and backend."""
    return _like(_zeros, x, {}, dtype, device, requires_grad, backend)


def empty_like(
    x: Tensor,
    /,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return a tensor like x to be written into; until then its values are zeros."""
    return _like(_zeros, x, {}, dtype, device, requires_grad, backend)


def ones_like(
    x: Tensor,
    /,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return ones of x's shape and, unless others are given, of its dtype and backend."""
    return _like(_full, x, {"value": 1}, dtype, device, requires_grad, backend)


def full_like(
    x: Tensor,
    /,
    fill_value: complex,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return a tensor like x filled with a number; as `full`, but of x's dtype."""
    value = _number("full_like", fill_value)
    return _like(_full, x, {"value": value}, dtype, device, requires_grad, backend)


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return a matrix with ones on the k-th diagonal and zeros elsewhere."""
    rows, columns = shape_of((n_rows, n_rows if n_cols is None else n_cols))
    params = {"rows": rows, "columns": columns, "k": index(k), "dtype": _dtype(dtype, 1.0)}
    return _create(_eye, params, device, requires_grad, backend)


def arange(
    start: float,
    /,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return start, start + step, ... below stop; with one argument, 0, 1, ... below it.

    Of integers int64, else of the default dtype. ValueError for a step of 0.
    """
    ends = (0, start) if stop is None else (start, stop)
    first, last, by = (+_number("arange", n) for n in (*ends, step))  # +True is 1
    if any(isinstance(n, complex) for n in (first, last, by)):
        raise TypeError(f"arange: expected real numbers, got {(first, last, by)}")
    if not by:
        raise ValueError("arange: the step must not be 0")
    params = {"start": first, "stop": last, "step": by, "dtype": _dtype(dtype, first, last, by)}
    return _create(_arange, params, device, requires_grad, backend)


def linspace(
    start: complex,
    stop: complex,
    /,
    num: int,
    *,
    dtype: Any = None,
    device: str | None = None,
    endpoint: bool = True,
    requires_grad: bool = False,
    backend: str | Backend | None = None,
) -> Tensor:
    """Return `num` evenly spaced numbers from start to stop, stop included where endpoint.

    Of the default dtype or its complex counterpart. TypeError for complex ends in a real dtype.
    """
    first, last = (_number("linspace", n) for n in (start, stop))
    chosen = _dtype(dtype, 0.0, first, last)
    if chosen.kind != "c" and (isinstance(first, complex) or isinstance(last, complex)):
        raise TypeError(f"linspace: {first} to {last} needs a complex dtype, not {chosen}")
    params = {
        "start": first,
        "stop": last,
        "num": shape_of(num)[0],
        "endpoint": bool(endpoint),
        "dtype": chosen,
    }
    return _create(_linspace, params, device, requires_grad, backend)
