"""Layers that make images smaller or larger. They have no parameters."""

from collections.abc import Sequence
from typing import Any, ClassVar

from ..engine import Tensor
from ..ops.axes import count, for_each_axis
from . import functional as F
from .module import Module, unusual


class _Windows(Module):
    """The base of layers over windows, whose sizes are kept as they were given."""

    _ndim: ClassVar[int]
    kernel_size: Any
    stride: Any
    padding: Any
    dilation: Any

    def _set(self, least: int, **sizes: Any) -> None:
        for name, size in sizes.items():
            for_each_axis(type(self).__name__, name, size, self._ndim, least)
            setattr(self, name, size)


class _MaxPool(_Windows):
    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] | None = None,
        padding: int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        stride = kernel_size if stride is None else stride
        self._set(1, kernel_size=kernel_size, stride=stride, dilation=dilation)
        self._set(0, padding=padding)
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def _options(self) -> tuple[Any, ...]:
        """Return the arguments of the function in its order."""
        options = self.kernel_size, self.stride, self.padding, self.dilation
        return (*options, self.ceil_mode, self.return_indices)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
            f"{unusual(self, {'return_indices': False})}"
        )


class MaxPool1d(_MaxPool):
    """Maxima of windows of (n, c, length) or (c, length), as `functional.max_pool1d` has them.

    With return_indices, also their places.
    """

    _ndim = 1

    def forward(self, x: Tensor) -> Any:
        return F.max_pool1d(x, *self._options())


class MaxPool2d(_MaxPool):
    """Maxima of windows of (n, c, h, w) or (c, h, w), as `functional.max_pool2d` has them.

    With return_indices, also their places.
    """

    _ndim = 2

    def forward(self, x: Tensor) -> Any:
        return F.max_pool2d(x, *self._options())


class _AvgPool(_Windows):
    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] | None = None,
        padding: int | tuple[int, ...] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        stride = kernel_size if stride is None else stride
        self._set(1, kernel_size=kernel_size, stride=stride)
        self._set(0, padding=padding)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def extra_repr(self) -> str:
        usual = {"ceil_mode": False, "count_include_pad": True, "divisor_override": None}
        sizes = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return sizes + unusual(self, usual)


class AvgPool1d(_AvgPool):
    """Means of windows of (n, c, length) or (c, length), as `functional.avg_pool1d` has them."""

    _ndim = 1

    def forward(self, x: Tensor) -> Tensor:
        options = self.kernel_size, self.stride, self.padding
        return F.avg_pool1d(x, *options, self.ceil_mode, self.count_include_pad)


class AvgPool2d(_AvgPool):
    """Means of windows of (n, c, h, w) or (c, h, w), as `functional.avg_pool2d` has them."""

    _ndim = 2

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        if divisor_override is not None:
            count("AvgPool2d", "divisor_override", divisor_override, 1)
        self.divisor_override = divisor_override

    def forward(self, x: Tensor) -> Tensor:
        options = self.kernel_size, self.stride, self.padding, self.ceil_mode
        return F.avg_pool2d(x, *options, self.count_include_pad, self.divisor_override)


class AdaptiveAvgPool1d(Module):
    """Means of output_size windows of (n, c, length) or (c, length)."""

    def __init__(self, output_size: int | tuple[int]) -> None:
        super().__init__()
        for_each_axis("AdaptiveAvgPool1d", "output_size", output_size, 1, 1)
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool1d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool2d(Module):
    """Means of output_size windows of (n, c, h, w) or (c, h, w); None keeps an axis as it is."""

    def __init__(self, output_size: int | tuple[int | None, int | None] | None) -> None:
        super().__init__()
        given = output_size if isinstance(output_size, Sequence) else (output_size,)
        for size in given:
            if size is not None:
                count("AdaptiveAvgPool2d", "output_size", size, 1)
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class Upsample(Module):
    """Images (n, c, ...) with another number of points, as `functional.interpolate` has them."""

    def __init__(
        self,
        size: int | tuple[int, ...] | None = None,
        scale_factor: float | tuple[float, ...] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:
        super().__init__()
        for n in size if isinstance(size, Sequence) else () if size is None else (size,):
            count("Upsample", "size", n, 1)
        self.size, self.scale_factor = size, scale_factor
        self.mode, self.align_corners = mode, align_corners

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, self.size, self.scale_factor, self.mode, self.align_corners)

    def extra_repr(self) -> str:
        options = f"mode={self.mode!r}{unusual(self, {'align_corners': None})}"
        if self.scale_factor is None:
            return f"size={self.size}, {options}"
        return f"scale_factor={self.scale_factor}, {options}"
