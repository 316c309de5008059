"""Pooling and interpolation."""

from itertools import product

import numpy as np

import minigrad as mg
from minigrad.engine import TABLE
from minigrad.ops.pooling import Resampling
from minigrad.ops.windows import Windows

from .rows import *


def by_axes(name):
    """The function of that name, for the number of axes that a case says."""
    return lambda x, axes, **options: getattr(mg, f"{name}{axes}d")(x, **options)


def each(value, axes):
    return value if isinstance(value, tuple) else (value,) * axes


def points(windows):
    """Yield for each window its place in the result, and the points it looks at, None outside."""
    for at in product(*map(range, windows.sizes)):
        starts = np.multiply(at, windows.stride) - windows.padding
        yield (
            at,
            [
                tuple(p)
                if all(0 <= i < n for i, n in zip(p, windows.lengths, strict=True))
                else None
                for p in (
                    starts + np.multiply(k, windows.dilation) for k in np.ndindex(windows.kernel)
                )
            ],
        )


def windows_of(x, axes, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    kernel, padding, dilation = (each(v, axes) for v in (kernel_size, padding, dilation))
    stride = kernel if stride is None else each(stride, axes)
    lengths, sizes = x.shape[-axes:], []
    for n, k, s, p, d in zip(lengths, kernel, stride, padding, dilation, strict=True):
        fits = [i for i in range(0, n + p, s) if i + d * (k - 1) < n + 2 * p]
        rest = ceil_mode and (not fits or fits[-1] + d * (k - 1) + 1 < n + 2 * p)
        sizes.append(len(fits) + (rest and len(fits) * s < n + p))
    return Windows(kernel, stride, padding, dilation, lengths, tuple(sizes))


def reference_max(x, windows):
    out = np.empty((*x.shape[: -len(windows.sizes)], *windows.sizes))
    for at, inside in points(windows):
        out[(..., *at)] = np.max([x[(..., *p)] for p in inside if p], axis=0)
    return out


def reference_indices(x, axes, **options):
    windows = windows_of(x, axes, **options)
    out = np.empty((*x.shape[:-axes], *windows.sizes), np.int64)
    for at, inside in points(windows):
        inside = [p for p in inside if p]
        best = np.argmax([x[(..., *p)] for p in inside], axis=0)
        out[(..., *at)] = np.array([np.ravel_multi_index(p, windows.lengths) for p in inside])[best]
    return out


def reference_unpool(v, place, windows):
    out = np.zeros((*v.shape[:1], *windows.lengths))
    for at, inside in points(windows):
        for k, p in enumerate(inside):
            if p:
                out[(..., *p)] += np.where(place[(..., *at)] == k, v[(..., *at)], 0)
    return out


def reference_pick(x, place, windows):
    out = np.zeros((*x.shape[:1], *windows.sizes))
    for at, inside in points(windows):
        for k, p in enumerate(inside):
            if p:
                out[(..., *at)] += np.where(place[(..., *at)] == k, x[(..., *p)], 0)
    return out


def mean_matrix(windows, count_padding, divisor):
    """The map from the flattened points to the flattened windows."""
    matrix = np.zeros((*windows.sizes, *windows.lengths))
    for at, inside in points(windows):
        starts = np.multiply(at, windows.stride)
        ends = np.add(windows.lengths, np.multiply(windows.padding, 2))
        count = np.prod(np.minimum(starts + windows.kernel, ends) - starts)
        count = count if count_padding else sum(p is not None for p in inside)
        for p in inside:
            if p:
                matrix[(*at, *p)] = 1 / (divisor or count)
    return matrix.reshape(np.prod(windows.sizes), -1)


def mapped(x, matrix, lengths, sizes):
    batch = x.shape[: x.ndim - len(lengths)]
    return (x.reshape(*batch, np.prod(lengths)) @ matrix.T).reshape(*batch, *sizes)


def reference_avg(x, axes, count_include_pad=True, divisor_override=None, **options):
    return reference_means(x, windows_of(x, axes, **options), count_include_pad, divisor_override)


def reference_means(x, windows, count_padding, divisor):
    matrix = mean_matrix(windows, count_padding, divisor)
    return mapped(x, matrix, windows.lengths, windows.sizes)


def reference_avg_unpool(v, windows, count_padding, divisor):
    matrix = mean_matrix(windows, count_padding, divisor)
    return mapped(v, matrix.T, windows.sizes, windows.lengths)


def weights(along):
    """The map of one axis, as a matrix (size, length)."""
    mode, n, m, (numerator, denominator) = along
    matrix = np.zeros((m, n))
    for i in range(m):
        if mode == "mean":
            start, end = i * n // m, -(-(i + 1) * n // m)
            matrix[i, start:end] = 1 / (end - start)
            continue
        at = i * numerator / denominator
        if mode == "linear":
            at = max((i + 0.5) * numerator / denominator - 0.5, 0)
        low = min(int(at), n - 1)
        share = 0 if mode == "nearest" else min(at - low, 1)
        matrix[i, low] += 1 - share
        matrix[i, min(low + 1, n - 1)] += share
    return matrix


def reference_resample(x, axes, back=False):
    for axis, along in enumerate(axes, -len(axes)):
        matrix = weights(along).T if back else weights(along)
        x = np.moveaxis(np.moveaxis(x, axis, -1) @ matrix.T, -1, axis)
    return x


def from_to(shape, sizes, modes, back=False):
    """The maps of the last axes to the sizes; back: those from the sizes."""
    axes = []
    for n, m, mode in zip(shape[-len(sizes) :], sizes, modes, strict=True):
        n, m = (m, n) if back else (n, m)
        scale = (n - 1.0, max(m - 1.0, 1.0)) if mode == "corners" else (float(n), float(m))
        axes.append(Resampling(mode, n, m, scale))
    return tuple(axes)


def reference_interpolate(x, size=None, scale_factor=None, mode="nearest", align_corners=None):
    axes = []
    for i, n in enumerate(x.shape[2:]):
        factor = None if scale_factor is None else each(scale_factor, x.ndim - 2)[i]
        m = int(n * factor) if factor else each(size, x.ndim - 2)[i]
        scale = (1, factor) if factor else (n, m)
        if align_corners:
            scale = (n - 1, max(m - 1, 1))
        kind = mode if mode == "nearest" else "corners" if align_corners else "linear"
        axes.append(Resampling(kind, n, m, scale))
    return reference_resample(x, axes)


def reference_adaptive(x, output_size):
    sizes = [n if m is None else m for n, m in zip(x.shape[-2:], each(output_size, 2), strict=True)]
    axes = [Resampling("mean", n, m) for n, m in zip(x.shape[-2:], sizes, strict=True)]
    return reference_resample(x, axes)


FEW, NONE, CUBE = np.ones((1, 2, 3)), np.ones((2, 0, 3)), np.ones((2, 2, 3, 4, 2))
POOLED = [
    ((2, 1, 4, 3), {"axes": 2, "kernel_size": 2}),
    ((2, 5, 4), {"axes": 2, "kernel_size": (3, 2), "stride": (2, 1), "padding": 1}),
    ((2, 1, 5), {"axes": 1, "kernel_size": 2, "padding": 1, "ceil_mode": True}),
    ((0, 2, 4, 4), {"axes": 2, "kernel_size": 2}),
]
DILATED = ((1, 5, 4), {"axes": 2, "kernel_size": 2, "stride": 1, "dilation": (3, 2), "padding": 1})
NO_FIT_IN_WINDOWS = (
    Wrong(
        (FEW,),
        ValueError,
        r"larger than the input: along axis -2 .* over 3 points, of 2 .*\(2, 3\)",
        {"axes": 2, "kernel_size": 3},
    ),
    Wrong((FEW,), ValueError, "at most half.*got 2", {"axes": 2, "kernel_size": 3, "padding": 2}),
    Wrong(
        (FEW,),
        ValueError,
        r"kernel_size .* at least 1.*\(2, 0\)",
        {"axes": 2, "kernel_size": (2, 0)},
    ),
    Wrong((FEW,), ValueError, "stride .* at least 1", {"axes": 2, "kernel_size": 2, "stride": 0}),
    Wrong(
        (FEW,), ValueError, "padding .* at least 0", {"axes": 2, "kernel_size": 2, "padding": -1}
    ),
    Wrong(
        (FEW,),
        ValueError,
        r"or 2 of them, got \(1, 2, 3\)",
        {"axes": 2, "kernel_size": (1, 2, 3)},
    ),
    Wrong((FEW,), TypeError, "an integer, or 2 of them, got 1.5", {"axes": 2, "kernel_size": 1.5}),
    Wrong((NONE,), ValueError, r"no points.*\(2, 0, 3\)", {"axes": 2, "kernel_size": 1}),
    Wrong(
        (CUBE,), ValueError, r"\(c, h, w\), got \(2, 2, 3, 4, 2\)", {"axes": 2, "kernel_size": 1}
    ),
)

OVERLAPPING = Windows((2, 2), (1, 2), (1, 0), (1, 1), (3, 3), (4, 1))
APART = Windows((2,), (2,), (0,), (1,), (5,), (2,))
RESAMPLED = [
    ((2, 3), (5,), ("nearest",)),
    ((1, 2, 3), (3, 2), ("linear", "corners")),
    ((2, 5), (3,), ("mean",)),
]

POOLING = {
    "max_pool": Row(
        lambda x, windows: TABLE["max_pool"](x, windows=windows)[0],
        lambda x, windows: reference_max(x, windows),
        tuple(
            Case((Reals((*shape, *windows.lengths)),), {"windows": windows})
            for shape, windows in [((2, 1), OVERLAPPING), ((1,), APART), ((0, 2), OVERLAPPING)]
        ),
    ),
    "max_pool2d": Row(
        by_axes("max_pool"),
        lambda x, axes, **options: reference_max(x, windows_of(x, axes, **options)),
        tuple(Case((Reals(shape),), params) for shape, params in [*POOLED, DILATED]),
        kinks=(
            # The first of a window has it all, and where windows overlap it has more than one.
            Kink(([[1.0, 1.0, 0.0]],), ([[1, 1, 0]],), {"axes": 1, "kernel_size": 2, "stride": 1}),
            Kink(([[2.0, 5.0, 2.0]],), ([[0, 2, 0]],), {"axes": 1, "kernel_size": 2, "stride": 1}),
        ),
        wrong=(
            *NO_FIT_IN_WINDOWS,
            Wrong(
                (FEW,),
                ValueError,
                "dilation .* at least 1",
                {"axes": 2, "kernel_size": 2, "dilation": 0},
            ),
            Wrong((FEW > 0,), TypeError, "real numbers, got bool", {"axes": 2, "kernel_size": 2}),
        ),
    ),
    "max_indices": Row(
        lambda x, **options: by_axes("max_pool")(x, **options, return_indices=True)[1],
        reference_indices,
        tuple(Case((Reals(shape),), params) for shape, params in [*POOLED, DILATED]),
        order=0,
        result=index,
    ),
    "max_unpool": Row(
        lambda v, place, windows: TABLE["max_unpool"](v, place, windows=windows),
        reference_unpool,
        (
            Case((Reals((2, 4, 1)), Ints((2, 4, 1), dtype=np.uint8)), {"windows": OVERLAPPING}),
            Case((Reals((3, 2)), Ints((3, 2), 0, 2, np.uint8)), {"windows": APART}),
        ),
    ),
    "max_pick": Row(
        lambda x, place, windows: TABLE["max_pick"](x, place, windows=windows),
        reference_pick,
        (
            Case((Reals((2, 3, 3)), Ints((2, 4, 1), dtype=np.uint8)), {"windows": OVERLAPPING}),
            Case((Reals((3, 5)), Ints((3, 2), 0, 2, np.uint8)), {"windows": APART}),
        ),
    ),
    "avg_pool": Row(
        lambda x, **params: TABLE["avg_pool"](x, **params),
        reference_means,
        (
            Case(
                (Reals((2, 3, 3)),),
                {"windows": OVERLAPPING, "count_padding": False, "divisor": None},
            ),
            Case((Reals((3, 5)),), {"windows": APART, "count_padding": True, "divisor": 3}),
            Case(
                (Reals((0, 3, 3)),),
                {"windows": OVERLAPPING, "count_padding": True, "divisor": None},
            ),
        ),
    ),
    "avg_pool2d": Row(
        by_axes("avg_pool"),
        reference_avg,
        (
            *(Case((Reals(shape),), params) for shape, params in POOLED),
            Case((Reals(POOLED[1][0]),), {**POOLED[1][1], "count_include_pad": False}),
            Case((Reals(POOLED[2][0]),), {**POOLED[2][1], "count_include_pad": False}),
            Case((Reals((1, 3, 4)),), {"axes": 2, "kernel_size": 2, "divisor_override": 3}),
        ),
        dtypes=(*FLOATS, *INTEGERS),
        result=floating,
        wrong=(
            *NO_FIT_IN_WINDOWS,
            Wrong(
                (FEW,),
                ValueError,
                "divisor_override .* at least 1, got 0",
                {"axes": 2, "kernel_size": 2, "divisor_override": 0},
            ),
        ),
    ),
    "avg_unpool": Row(
        lambda v, **params: TABLE["avg_unpool"](v, **params),
        reference_avg_unpool,
        (
            Case(
                (Reals((2, 4, 1)),),
                {"windows": OVERLAPPING, "count_padding": False, "divisor": None},
            ),
            Case((Reals((3, 2)),), {"windows": APART, "count_padding": True, "divisor": 3}),
        ),
    ),
    "adaptive_avg_pool2d": Row(
        mg.adaptive_avg_pool2d,
        reference_adaptive,
        tuple(
            Case((Reals(shape),), {"output_size": size})
            for shape, size in [((2, 1, 4, 3), (2, 1)), ((1, 5, 2), (3, 4)), ((1, 3, 5), (None, 2))]
        ),
        wrong=(
            Wrong((FEW,), ValueError, "output_size .* at least 1", {"output_size": 0}),
            Wrong((FEW,), ValueError, "2 of them", {"output_size": (1, 2, 3)}),
            Wrong((NONE,), ValueError, "no points", {"output_size": 1}),
        ),
    ),
    "interpolate": Row(
        mg.interpolate,
        reference_interpolate,
        tuple(
            Case((Reals(shape),), params)
            for shape, params in [
                ((1, 2, 3), {"scale_factor": 1.7}),
                ((1, 1, 2, 3), {"size": (3, 2)}),
                ((1, 1, 2, 3), {"scale_factor": (2, 1.5), "mode": "bilinear"}),
                ((1, 1, 3, 2), {"size": (5, 1), "mode": "bilinear", "align_corners": True}),
                ((1, 2, 4), {"size": 3, "mode": "linear", "align_corners": False}),
                ((0, 2, 3), {"size": 2, "mode": "linear"}),
            ]
        ),
        result=floating,
        wrong=(
            Wrong((FEW,), ValueError, "size or scale_factor, got None and None"),
            Wrong((FEW,), ValueError, "got 2 and 3", {"size": 2, "scale_factor": 3}),
            Wrong((FEW,), ValueError, "size .* at least 1, got 0", {"size": 0}),
            Wrong((FEW,), ValueError, r"at least 1, got \[0\]", {"scale_factor": 0.1}),
            Wrong((FEW,), ValueError, "above 0.*got -1", {"scale_factor": -1}),
            Wrong((FEW,), ValueError, "one of nearest.*not 'cubic'", {"size": 2, "mode": "cubic"}),
            Wrong((FEW,), ValueError, "'bilinear' expects", {"size": 2, "mode": "bilinear"}),
            Wrong((FEW,), ValueError, "align_corners", {"size": 2, "align_corners": True}),
            Wrong((np.ones((2, 1, 0)),), ValueError, r"no points.*\(2, 1, 0\)", {"size": 1}),
        ),
    ),
    "resample": Row(
        lambda x, **to: TABLE["resample"](x, axes=from_to(x.shape, **to)),
        lambda x, **to: reference_resample(x, from_to(x.shape, **to)),
        tuple(
            Case((Reals(shape),), {"sizes": sizes, "modes": modes})
            for shape, sizes, modes in RESAMPLED
        ),
        dtypes=(*FLOATS, *INTEGERS),
        result=floating,
    ),
    "resample_back": Row(
        lambda v, **to: TABLE["resample_back"](v, axes=from_to(v.shape, **to, back=True)),
        lambda v, **to: reference_resample(v, from_to(v.shape, **to, back=True), back=True),
        tuple(
            Case((Reals((2, *sizes)),), {"sizes": shape[-len(sizes) :], "modes": modes})
            for shape, sizes, modes in RESAMPLED
        ),
    ),
}
