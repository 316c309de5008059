"""Fourier transforms. Those of one axis, and of Hermitian signals, are cases of four ops."""

from collections.abc import Callable, Sequence
from operator import index
from typing import Any, Literal

import numpy as np

from .. import backends
from ..arrays import as_dtype, get_default_dtype
from ..backends import Backend
from ..engine import Op, Tensor, apply
from ..methods import Axis
from .axes import axes_of, axis_of
from .creation import as_tensor
from .elementwise import conj
from .shape import roll

__all__: list[str] = []  # they are called through mg.fft

Norm = Literal["backward", "ortho", "forward"]


def _complex(x: Any) -> Any:
    return x.astype(np.result_type(x.dtype, np.complex64), copy=False)


def _real(x: Any) -> Any:
    if x.dtype.kind == "c":
        raise TypeError(f"expected real numbers, not {x.dtype}")
    return x.astype(np.result_type(x.dtype, np.float32), copy=False)


def _transform(name: str, forward: Callable[..., Any]) -> Op:
    return Op(name, forward, promotes=("x",), floating=True, differentiable=True)


_fftn = _transform(
    "fftn", lambda xp, x, *, s, axes, norm: xp.fft.fftn(_complex(x), s=s, axes=axes, norm=norm)
)
_ifftn = _transform(
    "ifftn", lambda xp, x, *, s, axes, norm: xp.fft.ifftn(_complex(x), s=s, axes=axes, norm=norm)
)
_rfftn = _transform(
    "rfftn", lambda xp, x, *, s, axes, norm: xp.fft.rfftn(_real(x), s=s, axes=axes, norm=norm)
)
_irfftn = _transform(
    "irfftn", lambda xp, x, *, s, axes, norm: xp.fft.irfftn(_complex(x), s=s, axes=axes, norm=norm)
)


def _transformed(
    name: str,
    op: Op,
    x: Tensor,
    s: Sequence[int] | None,
    axes: Sequence[int] | None,
    norm: Norm,
) -> Tensor:
    """Call an op with every length and axis in place; `name` is what the user has called."""
    x = as_tensor(x)
    if s is not None and axes is None:
        axes = range(x.ndim)[x.ndim - len(s) :]
    chosen = axes_of(name, axes, x.shape)
    lengths = [x.shape[a] for a in chosen]
    if s is not None:
        if len(s) != len(chosen):
            raise ValueError(f"{name}: {len(s)} lengths, {tuple(s)}, for the axes {chosen}")
        lengths = [old if n == -1 else index(n) for n, old in zip(s, lengths, strict=True)]
    elif op is _irfftn and lengths:
        lengths[-1] = 2 * (lengths[-1] - 1)
    if not chosen or min(lengths) < 1:
        raise ValueError(
            f"{name}: expected at least one axis and one point along each, got the lengths "
            f"{tuple(lengths)} for shape {x.shape}"
        )
    if norm not in ("backward", "ortho", "forward"):
        raise ValueError(
            f'{name}: expected the norm "backward", "ortho" or "forward", got {norm!r}'
        )
    return op(x, s=tuple(lengths), axes=chosen, norm=norm)


def _along(name: str, op: Op, x: Tensor, n: int | None, axis: int, norm: Norm) -> Tensor:
    x = as_tensor(x)
    axes = (axis_of(name, axis, x.shape),)
    if n is not None and index(n) < 1:
        raise ValueError(f"{name}: expected a length n of at least 1, got {n}")
    return _transformed(name, op, x, None if n is None else (n,), axes, norm)


def fft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """The discrete Fourier transform along an axis: Σⱼ xⱼ · exp(-2πi·jk/n), as complex numbers.

    n: the length, to which x is cut or padded with zeros at the end. norm: whether the factor 1/n
    belongs to the "backward" transform, to the "forward" one, or its root to both: "ortho".
    """
    return _along("fft", _fftn, x, n, axis, norm)


def ifft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """The inverse of `fft`: Σₖ xₖ · exp(2πi·jk/n) / n."""
    return _along("ifft", _ifftn, x, n, axis, norm)


def rfft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """The first n // 2 + 1 elements of the `fft` of real x; the others are their conjugates."""
    return _along("rfft", _rfftn, x, n, axis, norm)


def irfft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """The inverse of `rfft`, real; n, the length of the result, is 2 · (m - 1) where None."""
    return _along("irfft", _irfftn, x, n, axis, norm)


def fftn(
    x: Tensor,
    /,
    *,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: Norm = "backward",
) -> Tensor:
    """The `fft` along several axes, all where None, or the last len(s).

    s: the lengths along them, -1 for that of x.
    """
    return _transformed("fftn", _fftn, x, s, axes, norm)


def ifftn(
    x: Tensor,
    /,
    *,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: Norm = "backward",
) -> Tensor:
    """The inverse of `fftn`."""
    return _transformed("ifftn", _ifftn, x, s, axes, norm)


def rfftn(
    x: Tensor,
    /,
    *,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: Norm = "backward",
) -> Tensor:
    """The `fftn` of real x, of which the last of the axes is halved as by `rfft`."""
    return _transformed("rfftn", _rfftn, x, s, axes, norm)


def irfftn(
    x: Tensor,
    /,
    *,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: Norm = "backward",
) -> Tensor:
    """The inverse of `rfftn`, real; s, the shape of the result, ends in 2 · (m - 1) where None."""
    return _transformed("irfftn", _irfftn, x, s, axes, norm)


_OTHER_WAY: dict[str, Norm] = {"backward": "forward", "forward": "backward"}


def hfft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """The `fft`, which is real, of a signal x that is Hermitian: its first half is given."""
    return _along("hfft", _irfftn, conj(x), n, axis, _OTHER_WAY.get(norm, norm))


def ihfft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """The inverse of `hfft`: the first half of a Hermitian signal, from real x."""
    return conj(_along("ihfft", _rfftn, x, n, axis, _OTHER_WAY.get(norm, norm)))


def fftshift(x: Tensor, /, *, axes: Axis = None) -> Tensor:
    """Move the frequency 0 from the first place to the middle of axes, all where None."""
    return _shifted("fftshift", x, axes, 1)


def ifftshift(x: Tensor, /, *, axes: Axis = None) -> Tensor:
    """The inverse of `fftshift`."""
    return _shifted("ifftshift", x, axes, -1)


def _shifted(name: str, x: Tensor, axes: Axis, sign: int) -> Tensor:
    x = as_tensor(x)
    chosen = axes_of(name, axes, x.shape)
    return roll(x, tuple([sign * (x.shape[a] // 2) for a in chosen]), chosen)


_fftfreq = Op("fftfreq", lambda xp, *, n, d, dtype: xp.astype(xp.fft.fftfreq(n, d), dtype))
_rfftfreq = Op("rfftfreq", lambda xp, *, n, d, dtype: xp.astype(xp.fft.rfftfreq(n, d), dtype))


def _frequencies(op: Op, n: int, d: float, dtype: Any, where: Backend) -> Tensor:
    n, dtype = index(n), as_dtype(get_default_dtype() if dtype is None else dtype)
    if n < 1:
        raise ValueError(f"{op.name}: expected a length of at least 1, got {n}")
    if dtype.kind != "f":
        raise TypeError(f"{op.name}: expected a real floating dtype, got {dtype}")
    params = {"n": n, "d": float(d), "dtype": dtype}
    result: Tensor = apply(op, (), params, where)
    return result


def fftfreq(
    n: int,
    /,
    *,
    d: float = 1.0,
    dtype: Any = None,
    device: str | None = None,
    backend: str | Backend | None = None,
) -> Tensor:
    """The frequencies of the elements of an `fft` of n points, d apart: 0, 1, ..., -1, over n·d."""
    return _frequencies(_fftfreq, n, d, dtype, backends.resolve(backend, device))


def rfftfreq(
    n: int,
    /,
    *,
    d: float = 1.0,
    dtype: Any = None,
    device: str | None = None,
    backend: str | Backend | None = None,
) -> Tensor:
    """The frequencies of the elements of an `rfft` of n points, d apart: 0 to n // 2, over n·d."""
    return _frequencies(_rfftfreq, n, d, dtype, backends.resolve(backend, device))
