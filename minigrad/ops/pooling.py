"""Pooling and interpolation: the same images with more or fewer points."""

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ..engine import Op, Tensor, apply
from .axes import for_each_axis
from .creation import as_tensor
from .reductions import mean, narrowed, wide_dtype, widened
from .shape import reshape
from .windows import Windows, check_images, spans_of, windows_over

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "interpolate",
    "max_pool1d",
    "max_pool2d",
]


def _numbered(windows: Windows) -> Iterator[tuple[int, tuple[Any, ...], tuple[Any, ...]]]:
    """Yield for each place in a window its number, and keys of what it sees and of the result."""
    for seen in product(*map(windows.along, range(len(windows.kernel)))):
        place, inside, which = zip(*seen, strict=True)
        number = 0
        for k, length in zip(place, windows.kernel, strict=True):
            number = number * length + k
        yield number, (..., *inside), (..., *which)


def _resized(x: Any, old: tuple[int, ...], new: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of x with other lengths of the last axes, which must have the old ones."""
    batch = x.ndim - len(old)
    if x.shape[batch:] != old:
        raise ValueError(f"expected lengths {old} of the last axes, got shape {x.shape}")
    return (*x.shape[:batch], *new)


def _put(out: Any, key: Any, values: Any, apart: bool) -> None:
    """Add values to zeros, which need not be read where each is named once."""
    if apart:
        out[key] = values
    else:
        out[key] += values


def _laid_along(xp: Any, values: Any, axis: int, ndim: int) -> Any:
    """Return a vector laid along one of the last `ndim` axes."""
    return xp.reshape(values, (-1,) + (1,) * (ndim - 1 - axis))


# Maxima


def _lowest(dtype: Any) -> Any:
    return -math.inf if dtype.kind == "f" else int(np.iinfo(dtype).min)


def _first_places(xp: Any, windows: Windows, dtype: Any) -> Any:
    """Return for each window the first place that is inside x."""
    first = xp.zeros(windows.sizes, dtype=np.int64)
    for axis, kernel in enumerate(windows.kernel):
        outside = windows.padding[axis] - windows.stride[axis] * xp.arange(windows.sizes[axis])
        skipped = xp.maximum(-(-outside // windows.dilation[axis]), 0)
        first = first * kernel + _laid_along(xp, skipped, axis, len(windows.sizes))
    return xp.astype(first, dtype)


def _max_pool_forward(xp: Any, x: Any, *, windows: Windows) -> tuple[Any, Any]:
    shape = _resized(x, windows.lengths, windows.sizes)
    best = xp.full(shape, _lowest(x.dtype), dtype=x.dtype)
    # As narrow as can be: it is all that the tape keeps.
    place = xp.zeros(shape, dtype=np.min_scalar_type(math.prod(windows.kernel) - 1))
    if any(windows.padding):
        place[...] = _first_places(xp, windows, place.dtype)
    for k, inside, which in _numbered(windows):
        found, held = xp.ascontiguousarray(x[inside]), best[which]  # each read several times
        wins = (found > held) | (found != found)
        # The places come in ascending order, so the greatest is the last that has won; a third of
        # the time of `where`.
        place[which] = xp.maximum(place[which], xp.astype(wins, place.dtype) * k)
        best[which] = xp.maximum(held, found)
    return best, place


def _max_unpool_forward(xp: Any, v: Any, place: Any, *, windows: Windows) -> Any:
    shape = _resized(v, windows.sizes, windows.lengths)
    out = xp.zeros(shape, dtype=wide_dtype(v.dtype))
    apart = windows.are_apart()
    for k, inside, which in _numbered(windows):
        _put(out, inside, xp.where(place[which] == k, v[which], 0), apart)
    return narrowed(out, v)


def _max_pick_forward(xp: Any, x: Any, place: Any, *, windows: Windows) -> Any:
    out = xp.zeros(_resized(x, windows.lengths, windows.sizes), dtype=x.dtype)
    for k, inside, which in _numbered(windows):
        out[which] = xp.where(place[which] == k, x[inside], out[which])
    return out


_max_unpool: Op = Op(
    "max_unpool",
    _max_unpool_forward,
    vjp=dict(v=lambda g, place, windows: _max_pick(g, place, windows=windows)),
)
_max_pick: Op = Op(
    "max_pick",
    _max_pick_forward,
    vjp=dict(x=lambda g, place, windows: _max_unpool(g, place, windows=windows)),
)
#: place: of the maximum in its window, counted in row-major order.
_max_pool = Op(
    "max_pool",
    _max_pool_forward,
    vjp=dict(
        x=lambda g_out, place, windows: _max_unpool(g_out, place.detach(), windows=windows),
    ),
    outputs=("out", "place"),
)


def _max_indices_forward(xp: Any, place: Any, *, windows: Windows) -> Any:
    place, ndim = xp.astype(place, np.int64), len(windows.sizes)
    flat, below, length = 0, 1, 1
    for axis in reversed(range(ndim)):
        start = windows.stride[axis] * xp.arange(windows.sizes[axis]) - windows.padding[axis]
        inside = place // below % windows.kernel[axis] * windows.dilation[axis]
        flat = flat + length * (inside + _laid_along(xp, start, axis, ndim))
        below, length = below * windows.kernel[axis], length * windows.lengths[axis]
    return flat


_max_indices = Op("max_indices", _max_indices_forward)


# Means


def _shares(xp: Any, axis: int, windows: Windows, count_padding: bool, dtype: Any) -> Any:
    """Return for each window of an axis 1 over how many points of it count."""
    length, padding = windows.lengths[axis], windows.padding[axis]
    start = windows.stride[axis] * xp.arange(windows.sizes[axis]) - padding
    end = start + windows.kernel[axis]
    if count_padding:
        end = xp.minimum(end, length + padding)
    else:
        start, end = xp.maximum(start, 0), xp.minimum(end, length)
    return xp.astype(1 / (end - start), dtype)


def _scaled(xp: Any, x: Any, windows: Windows, count_padding: bool, divisor: int | None) -> Any:
    """Divide a result of sums by how many points of the windows count."""
    if divisor is not None:
        return x * (1 / divisor)
    for axis in range(len(windows.sizes)):
        shares = _shares(xp, axis, windows, count_padding, x.dtype)
        x = x * _laid_along(xp, shares, axis, len(windows.sizes))
    return x


def _avg_pool_forward(
    xp: Any, x: Any, *, windows: Windows, count_padding: bool, divisor: int | None
) -> Any:
    total = widened(x)
    for axis, shape, after in _one_by_one(x, windows.lengths, windows.sizes):
        part, total = total, xp.zeros(shape, dtype=total.dtype)
        for _, inside, which in windows.along(axis):
            total[(..., which, *after)] += part[(..., inside, *after)]
    total = _scaled(xp, total, windows, count_padding, divisor)
    return narrowed(total, x)


def _avg_unpool_forward(
    xp: Any, v: Any, *, windows: Windows, count_padding: bool, divisor: int | None
) -> Any:
    out = _scaled(xp, widened(v), windows, count_padding, divisor)
    apart = windows.are_apart()
    for axis, shape, after in _one_by_one(v, windows.sizes, windows.lengths):
        part, out = out, xp.zeros(shape, dtype=out.dtype)
        for _, inside, which in windows.along(axis):
            _put(out, (..., inside, *after), part[(..., which, *after)], apart)
    return narrowed(out, v)


def _one_by_one(
    x: Any, old: tuple[int, ...], new: tuple[int, ...]
) -> Iterator[tuple[int, tuple[int, ...], tuple[slice, ...]]]:
    """Yield each of the last axes with the shape once it has its new length, and slices behind."""
    ndim, shape = len(new), _resized(x, old, new)
    for axis in range(ndim):
        behind = ndim - 1 - axis
        whole = shape[: len(shape) - behind] + old[axis + 1 :]
        yield axis, whole, (slice(None),) * behind


_avg_unpool: Op = Op(
    "avg_unpool",
    _avg_unpool_forward,
    vjp=dict(
        v=lambda g, windows, count_padding, divisor: _avg_pool(
            g, windows=windows, count_padding=count_padding, divisor=divisor
        )
    ),
)
_avg_pool: Op = Op(
    "avg_pool",
    _avg_pool_forward,
    vjp=dict(
        x=lambda g, windows, count_padding, divisor: _avg_unpool(
            g, windows=windows, count_padding=count_padding, divisor=divisor
        )
    ),
    promotes=("x",),
    floating=True,
)


# Interpolation


class Resampling(NamedTuple):
    """Which points of an axis those of the result are made of.

    mode: "nearest", "linear", "corners" (linear, the corners kept) or "mean" of equal parts.
    scale: numerator and denominator of the distance of two points of the result, in those of x.
    """

    mode: str
    length: int
    size: int
    scale: tuple[float, float] = (1, 1)


def _sources(xp: Any, along: Resampling, dtype: Any) -> list[tuple[Any, Any]]:
    """Return pairs of vectors, an index into x for each point of the result and its weight.

    The result is their sum, which is computed in a dtype; a weight None is 1.
    """
    mode, length, size, (numerator, denominator) = along
    at = xp.arange(size)
    if mode == "mean":
        most = max(-(-(i + 1) * length // size) - i * length // size for i in range(size))
        start, end = at * length // size, -(-(at + 1) * length // size)
        return [
            (xp.minimum(start + k, length - 1), (start + k < end) / (end - start))
            for k in range(most)
        ]
    if mode == "nearest":
        # Which point is below a quotient that is nearly whole depends on its rounding: PyTorch's.
        position = xp.astype(at, dtype) * (numerator / denominator)
        low = xp.floor(xp.astype(position, np.float32))
        return [(xp.minimum(xp.astype(low, np.int64), length - 1), None)]
    if mode == "linear":
        middle = (at + 0.5) * numerator / denominator - 0.5
        position = xp.maximum(middle, 0.0)
    else:
        position = at * float(numerator) / denominator
    low = xp.minimum(xp.astype(xp.floor(position), np.int64), length - 1)
    share = xp.minimum(position - low, 1.0)
    return [(low, 1 - share), (xp.minimum(low + 1, length - 1), share)]


def _resample_forward(xp: Any, x: Any, *, axes: tuple[Resampling, ...]) -> Any:
    out, ndim = widened(x), len(axes)
    for axis, along in reversed([*enumerate(axes)]):  # the last one is the slowest to take from
        parts = []
        for at, weight in _sources(xp, along, out.dtype):
            part = xp.take(out, at, axis=axis - ndim)
            if weight is not None:
                weight = _laid_along(xp, xp.astype(weight, out.dtype), axis, ndim)
                # What does not count is not looked at: 0 times inf is no 0.
                part = xp.where(weight == 0, 0, part) * weight
            parts.append(part)
        out = parts[0]
        for part in parts[1:]:
            out += part
    return narrowed(out, x)


def _resample_back_forward(xp: Any, v: Any, *, axes: tuple[Resampling, ...]) -> Any:
    """The transposed map, as products with its matrices: what an image's axis needs is small."""
    out = widened(v)
    for axis, along in enumerate(axes, -len(axes)):
        matrix = 0
        for at, weight in _sources(xp, along, out.dtype):
            chosen = at[:, None] == xp.arange(along.length)
            matrix = matrix + (chosen if weight is None else chosen * weight[:, None])
        matrix = xp.astype(matrix, out.dtype)
        out = xp.moveaxis(xp.matmul(xp.moveaxis(out, axis, -1), matrix), -1, axis)
    return narrowed(xp.ascontiguousarray(out), v)


_resample_back: Op = Op(
    "resample_back",
    _resample_back_forward,
    vjp=dict(v=lambda g, axes: _resample(g, axes=axes)),
)
_resample: Op = Op(
    "resample",
    _resample_forward,
    vjp=dict(x=lambda g, axes: _resample_back(g, axes=axes)),
    promotes=("x",),
    floating=True,
)


# What users call


def _images(name: str, x: Any, axes: int) -> Tensor:
    """Return x as a tensor; ValueError unless it is one image with channels or a batch of them."""
    images: Tensor = as_tensor(x)
    check_images(name, images, axes)
    if 0 in images.shape[-axes:]:
        raise ValueError(f"{name}: there are no points to pool in shape {images.shape}")
    return images


def _pool_windows(
    name: str,
    x: Tensor,
    axes: int,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> Windows:
    kernel = for_each_axis(name, "kernel_size", kernel_size, axes, 1)
    stride = kernel if stride is None else for_each_axis(name, "stride", stride, axes, 1)
    padding = for_each_axis(name, "padding", padding, axes, 0)
    dilation = for_each_axis(name, "dilation", dilation, axes, 1)
    for span, n in zip(spans_of(kernel, dilation), padding, strict=True):
        if 2 * n > span:
            raise ValueError(
                f"{name}: padding is at most half of the kernel, which reaches over {span} points; "
                f"got {n}"
            )
    around = [(n, n) for n in padding]
    return windows_over(name, x.shape[-axes:], kernel, stride, around, dilation, ceil_mode)


def _max_pooled(
    name: str, x: Any, axes: int, options: Sequence[Any], return_indices: bool
) -> Tensor | tuple[Tensor, Tensor]:
    x = _images(name, x, axes)
    if x.dtype.kind not in "iuf":
        raise TypeError(f"{name}: expected real numbers, got {x.dtype}")
    windows = _pool_windows(name, x, axes, *options)
    out, place = apply(_max_pool, (x,), {"windows": windows})
    return (out, _max_indices(place, windows=windows)) if return_indices else out


def max_pool1d(
    x: Tensor,
    kernel_size: int | tuple[int],
    stride: int | tuple[int] | None = None,
    padding: int | tuple[int] = 0,
    dilation: int | tuple[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the maxima of windows over the last axis: `max_pool2d` for one axis."""
    options = kernel_size, stride, padding, dilation, ceil_mode
    return _max_pooled("max_pool1d", x, 1, options, return_indices)


def max_pool2d(
    x: Tensor,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the maxima of windows over the last two axes of (n, c, h, w) or (c, h, w).

    stride: between windows, kernel_size if None. padding: points on each side that never win, at
    most half of a window. dilation: between the points of a window. ceil_mode: a last window may
    hang over the end. return_indices: also where in the flattened h·w the maxima are, as int64.
    The first of tied maxima has the gradient, as in PyTorch; a nan wins. ValueError for windows
    that do not fit.
    """
    options = kernel_size, stride, padding, dilation, ceil_mode
    return _max_pooled("max_pool2d", x, 2, options, return_indices)


def _avg_pooled(
    name: str,
    x: Any,
    axes: int,
    options: Sequence[Any],
    count_include_pad: bool,
    divisor: int | None = None,
) -> Tensor:
    x = _images(name, x, axes)
    kernel_size, stride, padding, ceil_mode = options
    windows = _pool_windows(name, x, axes, kernel_size, stride, padding, 1, ceil_mode)
    params = {"windows": windows, "count_padding": bool(count_include_pad), "divisor": divisor}
    result: Tensor = apply(_avg_pool, (x,), params)
    return result


def avg_pool1d(
    x: Tensor,
    kernel_size: int | tuple[int],
    stride: int | tuple[int] | None = None,
    padding: int | tuple[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Return the means of windows over the last axis: `avg_pool2d` for one axis."""
    options = kernel_size, stride, padding, ceil_mode
    return _avg_pooled("avg_pool1d", x, 1, options, count_include_pad)


def avg_pool2d(
    x: Tensor,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    padding: int | tuple[int, int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the means of windows over the last two axes of (n, c, h, w) or (c, h, w).

    The windows are those of `max_pool2d`; padding is 0. count_include_pad: whether it counts in
    the mean; what hangs over it because of ceil_mode never does. divisor_override: what the sums
    are divided by instead. ValueError for windows that do not fit or a divisor below 1.
    """
    if divisor_override is not None:
        (divisor_override,) = for_each_axis(
            "avg_pool2d", "divisor_override", divisor_override, 1, 1
        )
    options = kernel_size, stride, padding, ceil_mode
    return _avg_pooled("avg_pool2d", x, 2, options, count_include_pad, divisor_override)


def _adaptive(name: str, x: Any, axes: int, output_size: Any) -> Tensor:
    x = _images(name, x, axes)
    lengths = x.shape[-axes:]
    wanted = output_size if isinstance(output_size, Sequence) else (output_size,) * axes
    if len(wanted) == axes:  # else it is refused below
        wanted = [n if size is None else size for n, size in zip(lengths, wanted, strict=True)]
    sizes = for_each_axis(name, "output_size", wanted, axes, 1)
    if any(n % size for n, size in zip(lengths, sizes, strict=True)):
        parts = zip(lengths, sizes, strict=True)
        return _resample(x, axes=tuple(Resampling("mean", n, size) for n, size in parts))
    split = [m for n, size in zip(lengths, sizes, strict=True) for m in (size, n // size)]
    batch = x.shape[:-axes]
    parts_of_x = reshape(x, (*batch, *split))
    return mean(parts_of_x, axis=tuple(range(len(batch) + 1, parts_of_x.ndim, 2)))


def adaptive_avg_pool1d(x: Tensor, output_size: int | tuple[int]) -> Tensor:
    """Return the means of windows over the last axis: `adaptive_avg_pool2d` for one axis."""
    return _adaptive("adaptive_avg_pool1d", x, 1, output_size)


def adaptive_avg_pool2d(
    x: Tensor, output_size: int | tuple[int | None, int | None] | None
) -> Tensor:
    """Return the means of output_size windows over the last two axes of (n, c, h, w) or (c, h, w).

    Window i of m over an axis of n goes from floor(i·n/m) to ceil((i + 1)·n/m), so windows of
    unequal length overlap where m does not divide n. output_size: one for both axes or a pair;
    None keeps an axis as it is. ValueError for a size below 1.
    """
    return _adaptive("adaptive_avg_pool2d", x, 2, output_size)


_MODES = {"nearest": (1, 2, 3), "linear": (1,), "bilinear": (2,), "trilinear": (3,)}


def interpolate(
    x: Tensor,
    size: int | tuple[int, ...] | None = None,
    scale_factor: float | tuple[float, ...] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Return images (n, c, ...) with another number of points along their last axes.

    size: that number for each axis or for all; or scale_factor: how many points one becomes, the
    size rounded down. An axis whose length this does not change stays as it is. mode: "nearest",
    "linear" (one axis), "bilinear" (two) or "trilinear". align_corners: whether the outermost
    points are the outermost of x, or points are the middles of equal parts of it. Integers become
    the default dtype. ValueError for what does not fit.
    """
    x = as_tensor(x)
    axes = x.ndim - 2
    if mode not in _MODES:
        raise ValueError(f"interpolate: mode is one of {', '.join(_MODES)}, not {mode!r}")
    if axes not in _MODES[mode]:
        counts = " or ".join(map(str, _MODES[mode]))
        raise ValueError(
            f"interpolate: mode {mode!r} expects (batch, channels) and {counts} axes more, got "
            f"shape {x.shape}"
        )
    if mode == "nearest" and align_corners is not None:
        raise ValueError("interpolate: align_corners belongs to the linear modes, not to 'nearest'")
    lengths = x.shape[2:]
    if 0 in lengths:
        raise ValueError(f"interpolate: there are no points to take from in shape {x.shape}")
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"interpolate: expected either size or scale_factor, got {size} and {scale_factor}"
        )
    if size is not None:
        sizes = for_each_axis("interpolate", "size", size, axes, 1)
        scales = [(float(n), float(m)) for n, m in zip(lengths, sizes, strict=True)]
    else:
        several = isinstance(scale_factor, Sequence)
        factors: Any = scale_factor if several else (scale_factor,) * axes
        if len(factors) != axes or not all(f > 0 for f in factors):
            raise ValueError(
                f"interpolate: scale_factor needs a number above 0 for each of {axes} axes, got "
                f"{scale_factor!r}"
            )
        scaled = [int(n * f) for n, f in zip(lengths, factors, strict=True)]
        sizes = for_each_axis("interpolate", "the size by scale_factor", scaled, axes, 1)
        scales = [(1.0, float(f)) for f in factors]
    if mode != "nearest":
        mode = "corners" if align_corners else "linear"
    if mode == "corners":
        scales = [(n - 1.0, max(m - 1.0, 1.0)) for n, m in zip(lengths, sizes, strict=True)]
    parts = [
        (n, m, (1, 1) if n == m else scale)
        for n, m, scale in zip(lengths, sizes, scales, strict=True)
    ]
    return _resample(x, axes=tuple(Resampling(mode, *part) for part in parts))
