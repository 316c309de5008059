"""Convolutions over any number of axes."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..engine import Op, Tensor
from .axes import for_each_axis
from .creation import as_tensor, constant_like
from .reductions import accurate_sum, sum_op, wide_dtype
from .shape import expand_dims, squeeze
from .windows import AXES, Windows, check_images, spans_of, windows_over

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "fold",
    "unfold",
]

# Elements of columns made at a time: 1 MB of float32, which stays in a core's cache. All 128 images
# at once take up to twice as long (layers 1 -> 16, 5x5, 28x28 and 16 -> 32, 3x3, 14x14).
_BLOCK = 1 << 18


def _blocks(count: int, size: int, least: int = 0) -> Iterator[slice]:
    """Yield slices of `count` samples whose columns have a block's elements, or `least`.

    size: of the columns of one sample.
    """
    step = max(1, max(_BLOCK, least) // max(size, 1))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _columns(
    xp: Any, x: Any, windows: Windows, groups: int, dtype: Any, least: int = 0
) -> Iterator[tuple[slice, Any]]:
    """Yield samples of x and what their windows see: (samples, groups, c / groups · k, windows).

    The next block, of at least `least` elements, overwrites it. In this order of axes, with one
    product for each sample, the layers that _BLOCK names take 10 to 30 % less time than with the
    samples beside the windows, or with channels or samples last, which are brought there and back.
    """
    n, channels = len(x), x.shape[1] // groups
    x = x.reshape(n, groups, channels, *windows.lengths)
    matrix = channels * math.prod(windows.kernel), math.prod(windows.sizes)
    # What is outside x is 0 in all blocks.
    zeros: dict[int, Any] = {}
    for block in _blocks(n, groups * math.prod(matrix), least):
        part = x[block]
        for axis in reversed(range(len(windows.kernel))):
            if windows.are_points(axis):
                part = part[:, :, :, None]
                continue
            if axis not in zeros:
                shape = (*part.shape[:3], *windows.unfolded(axis))
                zeros[axis] = xp.zeros(shape, dtype=dtype)
            seen = zeros[axis][: len(part)]
            for which, inside in windows.keys(axis):
                seen[which] = part[inside]
            part = seen
        yield block, part.reshape(len(part), groups, *matrix).astype(dtype, copy=False)


def _folded(xp: Any, columns: Any, windows: Windows) -> Any:
    """Return the sums of columns where they saw the same: the transpose of `_columns`.

    From (samples, groups, c / groups · k, windows) to (samples, c, *lengths).
    """
    n, groups, rows, _ = columns.shape
    channels = rows // math.prod(windows.kernel)
    part = columns.reshape(n, groups, channels, *windows.unfolded(0))
    for axis in range(len(windows.kernel)):
        if windows.are_points(axis):
            part = part[:, :, :, 0]
            continue
        out = xp.zeros((n, groups, channels, *windows.unfolded(axis + 1)), dtype=part.dtype)
        for which, inside in windows.keys(axis):
            out[inside] += part[which]
        part = out
    return part.reshape(n, groups * channels, *windows.lengths)


def _grouped(weight: Any, groups: int, dtype: Any) -> Any:
    """Return (out, c / groups, *kernel) as (groups, out / groups, c / groups · k)."""
    shape = groups, weight.shape[0] // groups, math.prod(weight.shape[1:])
    return weight.reshape(shape).astype(dtype, copy=False)


def _convolution_forward(
    xp: Any, x: Any, weight: Any, bias: Any = None, *, windows: Windows, groups: int
) -> Any:
    n, channels, dtype = len(x), len(weight), wide_dtype(x.dtype)
    matrix = _grouped(weight, groups, dtype)
    out = xp.empty((n, *matrix.shape[:2], math.prod(windows.sizes)), dtype=x.dtype)
    for block, columns in _columns(xp, x, windows, groups, dtype):
        part = xp.matmul(matrix, columns)
        if bias is not None:
            part += bias.reshape(*matrix.shape[:2], 1)
        out[block] = part
    return out.reshape(n, channels, *windows.sizes)


def _mirrored(xp: Any, weight: Any, groups: int) -> Any:
    """Return (out, c / groups, *kernel) as (c, out / groups, *kernel), the kernels reversed."""
    out, channels, *kernel = weight.shape
    weight = weight.reshape(groups, out // groups, channels, *kernel)
    weight = xp.swapaxes(weight, 1, 2).reshape(groups * channels, out // groups, *kernel)
    return xp.flip(weight, axis=tuple(range(2, weight.ndim)))


def _transpose_forward(
    xp: Any, y: Any, weight: Any, bias: Any = None, *, windows: Windows, groups: int
) -> Any:
    if len(weight) <= 2 * groups * weight.shape[1] and set(windows.stride) == {1}:
        # To copy columns takes a quarter of the time of adding them up: for 16 -> 32, 3x3, 14x14
        # 9 ms and not 12, for 16 -> 16 half the time.
        mirrored = _mirrored(xp, weight, groups)
        return _convolution_forward(
            xp, y, mirrored, bias, windows=windows.mirrored(), groups=groups
        )
    n, channels, dtype = len(y), groups * weight.shape[1], wide_dtype(y.dtype)
    matrix = _grouped(weight, groups, dtype)
    y = y.reshape(n, *matrix.shape[:2], math.prod(windows.sizes))
    matrix = xp.matrix_transpose(matrix)
    out = xp.empty((n, channels, *windows.lengths), dtype=y.dtype)
    for block in _blocks(n, groups * matrix.shape[1] * y.shape[3]):
        columns = xp.matmul(matrix, y[block].astype(dtype, copy=False))
        part = _folded(xp, columns, windows)
        if bias is not None:
            part += bias.reshape(channels, *(1 for _ in windows.lengths))
        out[block] = part
    return out


def _weight_forward(xp: Any, x: Any, y: Any, *, windows: Windows, groups: int) -> Any:
    n, channels, dtype = len(x), y.shape[1], wide_dtype(x.dtype)
    y = y.reshape(n, groups, channels // groups, math.prod(windows.sizes)).astype(dtype, copy=False)
    shape = channels, x.shape[1] // groups, *windows.kernel
    # In float64, since there are many blocks.
    out = xp.zeros((groups, math.prod(shape[1:]), channels // groups), dtype=np.float64)
    for block, columns in _columns(xp, x, windows, groups, dtype, least=out.size):
        part = y[block]
        if part.shape[3] < part.shape[2]:  # a product for each sample would be larger than it
            columns, part = _side_by_side(xp, columns), _side_by_side(xp, part)
        products = xp.matmul(columns, xp.matrix_transpose(part))
        out += accurate_sum(xp, products, axis=(0,), keepdims=False)
    out = xp.matrix_transpose(out).reshape(shape)
    return out.astype(x.dtype, copy=False)


def _side_by_side(xp: Any, columns: Any) -> Any:
    """Return the columns of all samples as those of one."""
    n, groups, rows, count = columns.shape
    return xp.permute_dims(columns, (1, 2, 0, 3)).reshape(1, groups, rows, n * count)


def _by_channel(g: Tensor) -> Tensor:
    """Return the sums over samples and space: over space first, which lies together.

    0.6 ms for (128, 16, 28, 28), and 1.4 ms at once.
    """
    sums = sum_op(g, axis=tuple(range(2, g.ndim)), keepdims=False)
    return sum_op(sums, axis=(0,), keepdims=False)


# All three are linear in each of their two inputs, and each one's derivatives are the others.

_convolution: Op = Op(
    "convolution",
    _convolution_forward,
    vjp=dict(
        x=lambda g, weight, windows, groups: _transpose(g, weight, windows=windows, groups=groups),
        weight=lambda g, x, windows, groups: _weight(x, g, windows=windows, groups=groups),
        bias=_by_channel,
    ),
    promotes=("x", "weight", "bias"),
)
_transpose: Op = Op(
    "convolution_transpose",
    _transpose_forward,
    vjp=dict(
        y=lambda g, weight, windows, groups: _convolution(
            g, weight, windows=windows, groups=groups
        ),
        weight=lambda g, y, windows, groups: _weight(g, y, windows=windows, groups=groups),
        bias=_by_channel,
    ),
    promotes=("y", "weight", "bias"),
)
_weight: Op = Op(
    "convolution_weight",
    _weight_forward,
    vjp=dict(
        x=lambda g, y, windows, groups: _transpose(y, g, windows=windows, groups=groups),
        y=lambda g, x, windows, groups: _convolution(x, g, windows=windows, groups=groups),
    ),
    promotes=("x", "y"),
)


def _unfold_forward(xp: Any, x: Any, *, windows: Windows) -> Any:
    rows, count = x.shape[1] * math.prod(windows.kernel), math.prod(windows.sizes)
    out = xp.empty((len(x), rows, count), dtype=x.dtype)
    for block, columns in _columns(xp, x, windows, 1, x.dtype):
        out[block] = columns[:, 0]
    return out


def _fold_forward(xp: Any, columns: Any, *, windows: Windows) -> Any:
    n, rows, count = columns.shape
    dtype, channels = wide_dtype(columns.dtype), rows // math.prod(windows.kernel)
    out = xp.empty((n, channels, *windows.lengths), dtype=columns.dtype)
    for block in _blocks(n, rows * count):
        out[block] = _folded(xp, columns[block, None].astype(dtype, copy=False), windows)
    return out


_unfold: Op = Op(
    "unfold", _unfold_forward, vjp=dict(x=lambda g, windows: _fold(g, windows=windows))
)
_fold: Op = Op(
    "fold", _fold_forward, vjp=dict(columns=lambda g, windows: _unfold(g, windows=windows))
)


def _conv_windows(
    name: str,
    lengths: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: Any,
    padding: Any,
    dilation: Any,
) -> Windows:
    """Return how a kernel moves over axes of these lengths, from options as users give them."""
    ndim = len(kernel)
    stride = for_each_axis(name, "stride", stride, ndim, 1)
    dilation = for_each_axis(name, "dilation", dilation, ndim, 1)
    around = padding_of(name, spans_of(kernel, dilation), stride, padding)
    return windows_over(name, lengths, kernel, stride, around, dilation)


def padding_of(
    name: str, spans: Sequence[int], stride: Sequence[int], padding: Any
) -> list[tuple[int, int]]:
    """Return how many zeros are before and after each axis."""
    if padding == "valid":
        padding = 0
    if padding == "same":
        if any(s != 1 for s in stride):
            raise ValueError(f'{name}: padding "same" needs a stride of 1, got {tuple(stride)}')
        return [((span - 1) // 2, span // 2) for span in spans]
    if isinstance(padding, str):
        raise ValueError(f'{name}: padding is "same", "valid" or a number, got {padding!r}')
    return [(n, n) for n in for_each_axis(name, "padding", padding, len(spans), 0)]


def _operands(
    name: str, ndim: int, x: Tensor, weight: Any, bias: Any, groups: Any, transposed: bool = False
) -> tuple[Tensor, Tensor, Tensor | None, int]:
    """Return the inputs as tensors that fit each other, x with an axis of samples, and groups."""
    weight, bias = (a if a is None else constant_like(a, x) for a in (weight, bias))
    (groups,) = for_each_axis(name, "groups", groups, 1, 1)
    samples = _samples(name, ndim, x)
    if weight.ndim != ndim + 2 or 0 in weight.shape[2:]:
        order = "in, out / groups" if transposed else "out, in / groups"
        raise ValueError(
            f"{name}: weight has shape ({order}, {AXES[ndim]}), its kernel lengths of at least 1; "
            f"got {weight.shape}"
        )
    channels, rows, columns = samples.shape[1], weight.shape[0], weight.shape[1] * groups
    if channels % groups or rows % groups:
        raise ValueError(
            f"{name}: groups must divide the channels of x and axis 0 of weight; got "
            f"groups={groups}, x of shape {x.shape} and weight of shape {weight.shape}"
        )
    takes, gives = (rows, columns) if transposed else (columns, rows)
    if channels != takes:
        raise ValueError(
            f"{name}: weight of shape {weight.shape} with groups={groups} takes {takes} channels, "
            f"but x of shape {x.shape} has {channels}"
        )
    if bias is not None and bias.shape != (gives,):
        raise ValueError(f"{name}: expected a bias of shape ({gives},), got {bias.shape}")
    return samples, weight, bias, groups


def _samples(name: str, ndim: int, x: Tensor) -> Tensor:
    """Return x with an axis of samples, added where x is one; ValueError for other shapes."""
    check_images(name, x, ndim)
    return x if x.ndim == ndim + 2 else expand_dims(x, 0)


def _convolved(
    name: str,
    ndim: int,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> Tensor:
    x = as_tensor(x)
    samples, weight, bias, groups = _operands(name, ndim, x, weight, bias, groups)
    windows = _conv_windows(name, samples.shape[2:], weight.shape[2:], stride, padding, dilation)
    out = _convolution(samples, weight, bias, windows=windows, groups=groups)
    return out if samples is x else squeeze(out, 0)


def conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """`conv2d` over one axis: x (n, c, l), weight (out, c / groups, k)."""
    return _convolved("conv1d", 1, x, weight, bias, stride, padding, dilation, groups)


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Return bias + Σ weight · what each window of x sees, channels cut into groups.

    x: (n, c, h, w), or (c, h, w) without samples. weight: (out, c / groups, kh, kw). bias: (out,).
    Window i sees x at stride · i + dilation · k - padding, zeros beside x: lengths become
    (length + 2 · padding - dilation · (k - 1) - 1) // stride + 1. stride, padding, dilation: a
    number, or one for each axis; padding "valid" is 0, "same" keeps the lengths for a stride of 1.
    float16 is added up in float32. ValueError for shapes that do not fit and a kernel larger than
    the padded x.
    """
    return _convolved("conv2d", 2, x, weight, bias, stride, padding, dilation, groups)


def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """`conv2d` over three axes: x (n, c, d, h, w), weight (out, c / groups, kd, kh, kw)."""
    return _convolved("conv3d", 3, x, weight, bias, stride, padding, dilation, groups)


def _transposed(
    name: str,
    ndim: int,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: Any,
    dilation: Any,
) -> Tensor:
    x = as_tensor(x)
    samples, weight, bias, groups = _operands(name, ndim, x, weight, bias, groups, transposed=True)
    kernel, sizes = weight.shape[2:], x.shape[-ndim:]
    stride = for_each_axis(name, "stride", stride, ndim, 1)
    padding = for_each_axis(name, "padding", padding, ndim, 0)
    dilation = for_each_axis(name, "dilation", dilation, ndim, 1)
    more = for_each_axis(name, "output_padding", output_padding, ndim, 0)
    if any(m >= max(s, d) for m, s, d in zip(more, stride, dilation, strict=True)):
        raise ValueError(
            f"{name}: output_padding {more} must be less than stride {stride} or "
            f"dilation {dilation}"
        )
    lengths = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + m + 1
        for n, k, s, p, d, m in zip(sizes, kernel, stride, padding, dilation, more, strict=True)
    )
    if any(n < 1 for n in lengths):
        raise ValueError(
            f"{name}: the result would have lengths {lengths}: x of shape {x.shape} and a kernel "
            f"of {kernel} leave nothing within padding {padding}"
        )
    windows = Windows(kernel, stride, padding, dilation, lengths, sizes)
    out = _transpose(samples, weight, bias, windows=windows, groups=groups)
    return out if samples is x else squeeze(out, 0)


def conv_transpose1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """`conv_transpose2d` over one axis: x (n, c, l), weight (c, out / groups, k)."""
    return _transposed(
        "conv_transpose1d",
        1,
        x,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Return what `conv2d` with these arguments has as derivative by its x, plus a bias.

    x: (n, c, h, w), or (c, h, w) without samples. weight: (c, out / groups, kh, kw). bias: (out,).
    Lengths become (length - 1) · stride - 2 · padding + dilation · (k - 1) + output_padding + 1:
    output_padding, less than stride or dilation, says which of the lengths that conv2d would make
    this one of. ValueError for shapes that do not fit.
    """
    return _transposed(
        "conv_transpose2d",
        2,
        x,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )


def unfold(
    x: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Return what the windows of `conv2d` see: (n, c, h, w) to (n, c · kh · kw, windows).

    A window is a column, its channels in order; without samples, (c, h, w), so is the result.
    ValueError for other shapes and for a kernel larger than the padded x.
    """
    x = as_tensor(x)
    samples = _samples("unfold", 2, x)
    kernel = for_each_axis("unfold", "kernel_size", kernel_size, 2, 1)
    out = _unfold(
        samples,
        windows=_conv_windows("unfold", samples.shape[2:], kernel, stride, padding, dilation),
    )
    return out if samples is x else squeeze(out, 0)


def fold(
    columns: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Return the sums where windows overlap: (n, c · kh · kw, windows) to (n, c, *output_size).

    The transpose of `unfold` with these arguments. ValueError where it makes no such columns.
    """
    columns = as_tensor(columns)
    if columns.ndim not in (2, 3):
        raise ValueError(
            f"fold: columns have shape (n, c · kh · kw, windows), or no n, got {columns.shape}"
        )
    samples = columns if columns.ndim == 3 else expand_dims(columns, 0)
    kernel = for_each_axis("fold", "kernel_size", kernel_size, 2, 1)
    lengths = for_each_axis("fold", "output_size", output_size, 2, 0)
    windows = _conv_windows("fold", lengths, kernel, stride, padding, dilation)
    rows, count = math.prod(kernel), math.prod(windows.sizes)
    if samples.shape[1] % rows or samples.shape[2] != count:
        raise ValueError(
            f"fold: over {lengths}, a kernel of {kernel} has {count} windows of c · {rows} "
            f"elements, but columns have shape {columns.shape}"
        )
    out = _fold(samples, windows=windows)
    return out if samples is columns else squeeze(out, 0)
