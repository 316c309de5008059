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
from ..promotion import common_dtype
from .axes import answers_torch, axes_of, axis_of
from .creation import as_tensor, astype, ones
from .elementwise import conj
from .shape import pad, reshape, roll

__all__: list[str] = []  # they are called through mg.fft

Norm = Literal["backward", "ortho", "forward"]


def _mirrored(norm: Norm) -> Norm:
    """Return the norm by which the other direction has the factor that this one has."""
    mirrored: dict[str, Norm] = {"backward": "forward", "forward": "backward"}
    return mirrored.get(norm, norm)


# CuPy transforms several axes of an array only if none of its lengths is 0.


def _of_complex(transform: str) -> Callable[..., Any]:
    def forward(xp: Any, x: Any, *, axes: tuple[int, ...], norm: Norm) -> Any:
        if not x.size:
            return xp.array(x, copy=True)
        return getattr(xp.fft, transform)(x, axes=axes, norm=norm)

    return forward


_fftn_forward, _ifftn_forward = _of_complex("fftn"), _of_complex("ifftn")


def _rfftn_forward(xp: Any, x: Any, *, axes: tuple[int, ...], norm: Norm) -> Any:
    if not x.size:
        shape, last = list(x.shape), axes[-1]
        shape[last] = shape[last] // 2 + 1
        return xp.zeros(tuple(shape), dtype=np.result_type(x.dtype, np.complex64))
    return xp.fft.rfftn(x, axes=axes, norm=norm)


# The transforms are linear and, but for a factor, unitary: the adjoint of each is its inverse, with
# the factor on the other side. No rule needs more than a length.

_fftn: Op = Op(
    "fftn",
    _fftn_forward,
    vjp=dict(x=lambda g, axes, norm: _ifftn(g, axes=axes, norm=_mirrored(norm))),
    complex_rules=True,
)
_ifftn: Op = Op(
    "ifftn",
    _ifftn_forward,
    vjp=dict(x=lambda g, axes, norm: _fftn(g, axes=axes, norm=_mirrored(norm))),
    complex_rules=True,
)


def _weighted(spectrum: Tensor, n: int, axis: int, weight: float) -> Tensor:
    """Multiply what stands in a half spectrum for two frequencies: all but 0 and n / 2."""
    weights = ones(spectrum.shape[axis], dtype=spectrum.dtype, backend=spectrum.backend)
    weights = weights.at[1 : (n + 1) // 2].set(weight)
    return spectrum * reshape(weights, (-1, *[1] * (spectrum.ndim - axis - 1)))


def _rfftn_x(g: Tensor, x_shape: tuple[int, ...], axes: tuple[int, ...], norm: Norm) -> Tensor:
    n = x_shape[axes[-1]]
    return _irfftn(_weighted(g, n, axes[-1], 0.5), n=n, axes=axes, norm=_mirrored(norm))


def _irfftn_forward(xp: Any, x: Any, *, n: int, axes: tuple[int, ...], norm: Norm) -> Any:
    *others, last = axes
    if others:  # cuFFT's own transform of several axes is right for Hermitian spectra alone
        x = _ifftn_forward(xp, x, axes=tuple(others), norm=norm)
    return xp.fft.irfftn(x, s=(n,), axes=(last,), norm=norm)


def _irfftn_x(g: Tensor, n: int, axes: tuple[int, ...], norm: Norm) -> Tensor:
    return _weighted(_rfftn(g, axes=axes, norm=_mirrored(norm)), n, axes[-1], 2)


_rfftn: Op = Op(
    "rfftn",
    _rfftn_forward,
    vjp=dict(x=_rfftn_x),
    complex_rules=True,
)
_irfftn: Op = Op("irfftn", _irfftn_forward, vjp=dict(x=_irfftn_x), complex_rules=True)


def _fitted(x: Tensor, lengths: Sequence[int], axes: Sequence[int]) -> Tensor:
    """Cut x, or pad it with zeros, at the ends of axes."""
    wanted = dict(zip(axes, lengths, strict=True))
    if any(n < x.shape[a] for a, n in wanted.items()):
        x = x[tuple([slice(wanted.get(a)) for a in range(x.ndim)])]
    more = {a: (0, n - x.shape[a]) for a, n in wanted.items() if n > x.shape[a]}
    return pad(x, more) if more else x


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
    if op is _rfftn and x.dtype.kind == "c":
        raise TypeError(f"{name}: expected real numbers, not {x.dtype}")
    kind = {float} if op is _rfftn else {complex}
    dtype = np.result_type(common_dtype([x.dtype], kind, floating=True), np.float32)
    params: dict[str, Any] = {"axes": chosen, "norm": norm}
    if op is _irfftn:
        params["n"] = lengths[-1]
        lengths[-1] = lengths[-1] // 2 + 1
    return op(_fitted(astype(x, dtype, copy=False), lengths, chosen), **params)


def _along(name: str, op: Op, x: Tensor, n: int | None, axis: int, norm: Norm) -> Tensor:
    x = as_tensor(x)
    axes = (axis_of(name, axis, x.shape),)
    if n is not None and index(n) < 1:
        raise ValueError(f"{name}: expected a length n of at least 1, got {n}")
    return _transformed(name, op, x, None if n is None else (n,), axes, norm)


@answers_torch
def fft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """The discrete Fourier transform along an axis: Σⱼ xⱼ · exp(-2πi·jk/n), as complex numbers.

    n: the length, to which x is cut or padded with zeros at the end. norm: whether the factor 1/n
    belongs to the "backward" transform, to the "forward" one, or its root to both: "ortho".
    """
    return _along("fft", _fftn, x, n, axis, norm)


@answers_torch
def ifft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """The inverse of `fft`: Σₖ xₖ · exp(2πi·jk/n) / n."""
    return _along("ifft", _ifftn, x, n, axis, norm)


@answers_torch
def rfft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """The first n // 2 + 1 elements of the `fft` of real x; the others are their conjugates."""
    return _along("rfft", _rfftn, x, n, axis, norm)


@answers_torch
def irfft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """The inverse of `rfft`, real; n, the length of the result, is 2 · (m - 1) where None."""
    return _along("irfft", _irfftn, x, n, axis, norm)


@answers_torch
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


@answers_torch
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


@answers_torch
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


@answers_torch
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


@answers_torch
def hfft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """The `fft`, which is real, of a signal x that is Hermitian: its first half is given."""
    return _along("hfft", _irfftn, conj(x), n, axis, _mirrored(norm))


@answers_torch
def ihfft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: Norm = "backward") -> Tensor:
    """The inverse of `hfft`: the first half of a Hermitian signal, from real x."""
    return conj(_along("ihfft", _rfftn, x, n, axis, _mirrored(norm)))


@answers_torch
def fftshift(x: Tensor, /, *, axes: Axis = None) -> Tensor:
    """Move the frequency 0 from the first place to the middle of axes, all where None."""
    return _shifted("fftshift", x, axes, 1)


@answers_torch
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
