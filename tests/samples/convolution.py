"""Convolutions and the windows that they look through, from their definition."""

import math

import numpy as np

import minigrad as mg
from minigrad.engine import TABLE
from minigrad.ops.windows import Windows

from .rows import *


def per_axis(value, ndim):
    return value if isinstance(value, tuple) else (value,) * ndim


def looks(windows):
    """Yield for each place in a window that is in x: the place, the window, where in x."""
    for window in np.ndindex(windows.sizes):
        for k in np.ndindex(windows.kernel):
            at = np.multiply(windows.stride, window) + np.multiply(windows.dilation, k)
            at = at - windows.padding
            if np.all((at >= 0) & (at < windows.lengths)):
                yield k, window, tuple(at.tolist())


def columns_of(x, windows):
    columns = np.zeros((*x.shape[:2], *windows.kernel, *windows.sizes), dtype=x.dtype)
    for k, window, at in looks(windows):
        columns[(..., *k, *window)] = x[(..., *at)]
    return columns


def sum_of(columns, windows):
    out = np.zeros((*columns.shape[:2], *windows.lengths), dtype=columns.dtype)
    for k, window, at in looks(windows):
        out[(..., *at)] += columns[(..., *k, *window)]
    return out


def in_groups(x, weight, y, windows, groups):
    """Return the three with axes for groups, channels, places and windows; None remains None."""
    count, area = math.prod(windows.sizes), math.prod(windows.kernel)
    shapes = [
        lambda a: (len(a), groups, a.shape[1] // groups, area, count),
        lambda a: (groups, len(a) // groups, a.shape[1], area),
        lambda a: (len(a), groups, a.shape[1] // groups, count),
    ]
    return [
        None if a is None else a.reshape(shape(a))
        for a, shape in zip((x, weight, y), shapes, strict=True)
    ]


def shifted(out, bias):
    return out if bias is None else out + bias.reshape(-1, *(1,) * (out.ndim - 2))


def convolution(x, weight, bias=None, *, windows, groups):
    n, channels = len(x), len(weight)
    x, weight, _ = in_groups(columns_of(x, windows), weight, None, windows, groups)
    out = np.einsum("ngckl,gock->ngol", x, weight)
    return shifted(out.reshape(n, channels, *windows.sizes), bias)


def transpose(y, weight, bias=None, *, windows, groups):
    n, channels = len(y), weight.shape[1] * groups
    _, weight, y = in_groups(None, weight, y, windows, groups)
    columns = np.einsum("ngol,gock->ngckl", y, weight)
    columns = columns.reshape(n, channels, *windows.kernel, *windows.sizes)
    return shifted(sum_of(columns, windows), bias)


def weight_gradient(x, y, *, windows, groups):
    shape = y.shape[1], x.shape[1] // groups, *windows.kernel
    x, _, y = in_groups(columns_of(x, windows), None, y, windows, groups)
    return np.einsum("ngckl,ngol->gock", x, y).reshape(shape)


def windows_over(lengths, kernel, stride=1, padding=0, dilation=1):
    ndim = len(lengths)
    stride, dilation = per_axis(stride, ndim), per_axis(dilation, ndim)
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    if padding == "same":
        sizes, padding = lengths, tuple((span - 1) // 2 for span in spans)
    else:
        padding = per_axis({"valid": 0}.get(padding, padding), ndim)
        sizes = tuple(
            (n + 2 * p - span) // s + 1
            for n, p, span, s in zip(lengths, padding, spans, stride, strict=True)
        )
    return Windows(tuple(kernel), stride, padding, dilation, tuple(lengths), sizes)


def with_samples(ndim, f):
    """Let f take and return one sample as well, without its axis."""

    def g(x, *more, **params):
        return f(x, *more, **params) if x.ndim == ndim else f(x[None], *more, **params)[0]

    return g


def conv(ndim):
    def f(x, weight, bias=None, groups=1, **params):
        windows = windows_over(x.shape[2:], weight.shape[2:], **params)
        return convolution(x, weight, bias, windows=windows, groups=groups)

    return with_samples(ndim + 2, f)


def conv_transpose(ndim):
    def f(y, weight, bias=None, groups=1, output_padding=0, **params):
        kernel, sizes = weight.shape[2:], y.shape[2:]
        some = windows_over((99,) * ndim, kernel, **params)
        # The end of the last window is as far away as the padding, or nearer by output_padding.
        ends = np.multiply(some.stride, sizes) - some.stride + 1
        ends += np.multiply(some.dilation, kernel) - some.dilation - 2 * np.array(some.padding)
        windows = some._replace(lengths=tuple((ends + output_padding).tolist()), sizes=sizes)
        return transpose(y, weight, bias, windows=windows, groups=groups)

    return with_samples(ndim + 2, f)


def unfold(x, kernel_size, **params):
    windows = windows_over(x.shape[2:], per_axis(kernel_size, 2), **params)
    columns = columns_of(x, windows)
    rows = x.shape[1] * math.prod(windows.kernel)
    return columns.reshape(len(x), rows, math.prod(windows.sizes))


def fold(columns, output_size, kernel_size, **params):
    windows = windows_over(per_axis(output_size, 2), per_axis(kernel_size, 2), **params)
    channels = columns.shape[1] // math.prod(windows.kernel)
    shape = len(columns), channels, *windows.kernel, *windows.sizes
    return sum_of(columns.reshape(shape), windows)


def reals(*shapes):
    return tuple(None if shape is None else Reals(shape) for shape in shapes)


def wrong(shapes, says, error=ValueError, **params):
    return Wrong(tuple(np.ones(shape) for shape in shapes), error, says, params)


# (what x, weight and out have beside the axes of samples and space, windows, groups)
PARTS = [
    (1, (2, 3), windows_over((4, 3), (2, 2), 1, (1, 0)), 1),
    (2, (4, 2), windows_over((5,), (2,), 3, 1, 2), 2),
    (2, (2, 2), windows_over((3,), (1,)), 1),
]


def parts(*names):
    """Cases of one of the three products: of x, weight, bias and out, which are its inputs."""
    cases = []
    for n, (out, channels), windows, groups in PARTS:
        shapes = {
            "x": (n, channels, *windows.lengths),
            "weight": (out, channels // groups, *windows.kernel),
            "y": (n, out, *windows.sizes),
            "bias of y": (out,),
            "bias of x": (channels,),
        }
        params = {"windows": windows, "groups": groups}
        cases.append(Case(reals(*(shapes[name] for name in names)), params))
    return tuple(cases)


def of_table(name):
    return lambda *xs, **params: TABLE[name](*xs, **params)


CONVOLUTION = {
    "convolution": Row(of_table("convolution"), convolution, parts("x", "weight", "bias of y")),
    "convolution_transpose": Row(
        of_table("convolution_transpose"), transpose, parts("y", "weight", "bias of x")
    ),
    "convolution_weight": Row(of_table("convolution_weight"), weight_gradient, parts("x", "y")),
    "conv1d": Row(
        mg.conv1d,
        conv(1),
        (
            Case(reals((2, 2, 4), (3, 2, 2), (3,))),
            Case(reals((2, 4), (3, 2, 3)), {"padding": "same"}),
            Case(reals((1, 2, 5), (2, 1, 2), None), {"stride": 3, "padding": 1, "groups": 2}),
            Case(reals((0, 2, 4), (3, 2, 2), (3,))),
        ),
        wrong=(
            wrong([(4,), (3, 2, 2)], r"\(n, c, l\) or \(c, l\), got \(4,\)"),
            wrong([(2, 4), (3, 2)], r"weight .*\(out, in / groups, l\).*\(3, 2\)"),
        ),
    ),
    "conv2d": Row(
        mg.conv2d,
        conv(2),
        (
            Case(reals((2, 1, 3, 4), (2, 1, 2, 2), (2,)), {"padding": (0, 1)}),
            Case(reals((2, 3, 3), (1, 2, 2, 1)), {"stride": (2, 1), "dilation": (2, 1)}),
            Case(reals((2, 2, 2, 3), (2, 2, 1, 1), (2,))),
            Case(reals((1, 2, 3, 3), (4, 1, 3, 2), (4,)), {"padding": 1, "groups": 2}),
            Case(reals((0, 1, 3, 4), (2, 1, 2, 2), (2,))),
            Case(reals((2, 0, 3, 3), (2, 0, 2, 2), (2,))),
            Case(reals((2, 1, 3, 3), (0, 1, 2, 2), (0,))),
        ),
        wrong=(
            wrong([(3, 4), (1, 3, 2, 2)], r"\(n, c, h, w\) or \(c, h, w\), got \(3, 4\)"),
            wrong([(1, 3, 4, 4), (1, 2, 2, 2)], "takes 2 channels, .* has 3"),
            wrong([(1, 3, 4, 4), (2, 1, 2, 2)], r"groups must divide.*=2.*3, 4, 4", groups=2),
            wrong([(1, 4, 4, 4), (3, 2, 2, 2)], r"groups must divide.*=2.*\(3, 2", groups=2),
            wrong([(1, 1, 4, 4), (3, 1, 2, 2), (2,)], r"bias of shape \(3,\), got \(2,\)"),
            wrong([(1, 1, 4, 4), (3, 1, 0, 2)], r"lengths of at least 1; got \(3, 1, 0, 2\)"),
            wrong(
                [(1, 1, 2, 9), (1, 1, 5, 5)],
                r"kernel \(5, 5\) is larger.* axis -2 .* over 5 points, of 4 with.*\(2, 9\)",
                padding=1,
            ),
            wrong([(1, 1, 4, 4), (1, 1, 2, 2)], "stride is an integer of at least 1.*0", stride=0),
            wrong([(1, 1, 4, 4), (1, 1, 2, 2)], r"2 of them, got \(1, 2, 3\)", padding=(1, 2, 3)),
            wrong([(1, 1, 4, 4), (1, 1, 2, 2)], "got 1.5", TypeError, dilation=1.5),
            wrong([(1, 1, 4, 4), (1, 1, 2, 2)], '"same", "valid"', padding="full"),
            wrong(
                [(1, 1, 4, 4), (1, 1, 2, 2)], r"stride of 1, got \(2, 2\)", padding="same", stride=2
            ),
        ),
    ),
    "conv3d": Row(
        mg.conv3d,
        conv(3),
        (Case(reals((1, 1, 2, 3, 2), (2, 1, 2, 2, 1), (2,)), {"stride": (1, 1, 2)}),),
    ),
    "conv_transpose1d": Row(
        mg.conv_transpose1d,
        conv_transpose(1),
        (
            Case(reals((2, 2, 3), (2, 3, 2), (3,))),
            Case(reals((2, 3), (2, 1, 2)), {"stride": 3, "output_padding": 2, "groups": 2}),
        ),
        wrong=(wrong([(1, 3, 4), (2, 3, 2)], "takes 2 channels, .* has 3"),),
    ),
    "conv_transpose2d": Row(
        mg.conv_transpose2d,
        conv_transpose(2),
        (
            Case(reals((1, 2, 2, 3), (2, 1, 2, 2), (1,)), {"stride": (2, 1), "padding": (0, 1)}),
            Case(
                reals((2, 2, 2), (2, 2, 3, 1), (2,)),
                {"padding": (1, 0), "dilation": (1, 2), "output_padding": (0, 1)},
            ),
            Case(reals((0, 2, 2, 3), (2, 1, 2, 2), (1,))),
        ),
        wrong=(
            wrong(
                [(1, 2, 3, 3), (2, 1, 2, 2)],
                r"output_padding \(2, 0\) must be less than stride \(2, 2\) or dilation \(1, 1\)",
                stride=2,
                output_padding=(2, 0),
            ),
            wrong([(1, 2, 1, 1), (2, 1, 2, 2)], r"lengths \(0, 0\)", padding=1),
            wrong([(1, 2, 1, 1), (2, 1, 2, 2)], "padding is an integer", TypeError, padding="same"),
        ),
    ),
    "unfold": Row(
        mg.unfold,
        with_samples(4, unfold),
        (
            Case(reals((2, 2, 3, 4)), {"kernel_size": 2}),
            Case(
                reals((2, 4, 3)),
                {"kernel_size": (2, 1), "dilation": (2, 1), "padding": (1, 0), "stride": 2},
            ),
            Case(reals((1, 2, 2, 2)), {"kernel_size": 1}),
            Case(reals((0, 2, 3, 4)), {"kernel_size": 2}),
        ),
        dtypes=(*FLOATS, *INTEGERS),
        wrong=(
            wrong([(2, 2)], r"\(n, c, h, w\) or \(c, h, w\)", kernel_size=1),
            wrong([(1, 2, 2)], r"kernel \(3, 3\) is larger.*\(2, 2\)", kernel_size=3),
        ),
    ),
    "fold": Row(
        mg.fold,
        with_samples(3, fold),
        (
            Case(reals((2, 8, 4)), {"output_size": 3, "kernel_size": 2}),
            Case(
                reals((4, 4)),
                {"output_size": (3, 4), "kernel_size": (2, 1), "padding": (1, 0), "stride": (2, 3)},
            ),
            Case(reals((2, 2, 4)), {"output_size": 2, "kernel_size": 1}),
        ),
        wrong=(
            wrong(
                [(1, 6, 4)], r"4 windows of c · 4.*\(1, 6, 4\)", output_size=(3, 3), kernel_size=2
            ),
            wrong([(4,)], "columns have shape", output_size=2, kernel_size=2),
        ),
    ),
}
