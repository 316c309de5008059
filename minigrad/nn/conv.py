"""Convolutional layers."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

from ..engine import Tensor
from ..messages import did_you_mean
from ..ops.axes import count, for_each_axis
from ..ops.convolution import padding_of
from ..ops.creation import zeros
from ..ops.shape import pad
from ..ops.windows import spans_of
from . import functional as F
from . import init
from .module import Module, Parameter, unusual

#: What a layer calls its padding_mode -> what `pad` calls it.
_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


class _Layer(Module):
    """What convolutions and their transposes share: sizes, a weight and a bias."""

    _ndim: ClassVar[int]
    _function: ClassVar[Callable[..., Tensor]]
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        dilation: Any,
        groups: int,
        padding_mode: str,
    ) -> None:
        super().__init__()
        self.in_channels = count(self._name(), "in_channels", in_channels, 1)
        self.out_channels = count(self._name(), "out_channels", out_channels, 1)
        self.groups = count(self._name(), "groups", groups, 1)
        self.kernel_size = self._numbers("kernel_size", kernel_size, 1)
        self.stride = self._numbers("stride", stride, 1)
        self.dilation = self._numbers("dilation", dilation, 1)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"{self._name()}: groups must divide in_channels and out_channels; got "
                f"groups={groups}, in_channels={in_channels}, out_channels={out_channels}"
            )
        if padding_mode not in _MODES:
            raise ValueError(
                f"{self._name()}: unknown padding_mode {padding_mode!r}, expected one of "
                f"{', '.join(_MODES)}{did_you_mean(padding_mode, _MODES)}"
            )
        self.padding_mode = padding_mode

    def _name(self) -> str:
        return type(self).__name__

    def _numbers(self, what: str, value: Any, least: int) -> tuple[int, ...]:
        return for_each_axis(self._name(), what, value, self._ndim, least)

    def _allocate(self, rows: int, columns: int, bias: bool) -> None:
        self.weight = Parameter(zeros((rows, columns // self.groups, *self.kernel_size)))
        self.bias = Parameter(zeros(self.out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        usual = {
            "padding": (0,) * self._ndim,
            "dilation": (1,) * self._ndim,
            "output_padding": (0,) * self._ndim,
            "groups": 1,
            "padding_mode": "zeros",
        }
        sizes = f"kernel_size={self.kernel_size}, stride={self.stride}"
        bias = "" if self.bias is not None else ", bias=False"
        return f"{self.in_channels}, {self.out_channels}, {sizes}{unusual(self, usual)}{bias}"


class _Conv(_Layer):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, dilation, groups, padding_mode
        )
        self.padding = padding if isinstance(padding, str) else self._numbers("padding", padding, 0)
        self._around()  # refuses what is no padding
        self._allocate(self.out_channels, self.in_channels, bias)

    def _around(self) -> list[tuple[int, int]]:
        """Return how much is beside x, before and after each axis."""
        spans = spans_of(self.kernel_size, self.dilation)
        return padding_of(self._name(), spans, self.stride, self.padding)

    def forward(self, x: Tensor) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            axes = range(-self._ndim, 0)
            around = dict(zip(axes, self._around(), strict=True))
            x, padding = pad(x, around, _MODES[self.padding_mode]), 0
        return self._function(
            x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )


class Conv1d(_Conv):
    """`Conv2d` over one axis: (n, in_channels, l) or (in_channels, l)."""

    _ndim = 1
    _function = staticmethod(F.conv1d)


class Conv2d(_Conv):
    """`F.conv2d` with a weight and a bias to learn: (n, in_channels, h, w), or without n.

    kernel_size, stride, padding, dilation: a number or one for each axis; padding also "valid" or
    "same". padding_mode: what is beside the input, "zeros", "reflect", "replicate" or "circular".
    weight: (out_channels, in_channels / groups, *kernel_size); bias: (out_channels,), or None for
    bias=False. Both start uniform in ±1/sqrt(fan_in), as in PyTorch. ValueError for groups that do
    not divide the channels and for sizes below 1.
    """

    _ndim = 2
    _function = staticmethod(F.conv2d)


class Conv3d(_Conv):
    """`Conv2d` over three axes: (n, in_channels, d, h, w) or (in_channels, d, h, w)."""

    _ndim = 3
    _function = staticmethod(F.conv3d)


class _ConvTranspose(_Layer):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, dilation, groups, padding_mode
        )
        if padding_mode != "zeros":
            raise ValueError(
                f'{self._name()}: padding_mode is "zeros", the only one of a transpose; '
                f"got {padding_mode!r}"
            )
        self.padding = self._numbers("padding", padding, 0)
        self.output_padding = self._numbers("output_padding", output_padding, 0)
        self._allocate(self.in_channels, self.out_channels, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self._function(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
        )


class ConvTranspose1d(_ConvTranspose):
    """`ConvTranspose2d` over one axis: (n, in_channels, l) or (in_channels, l)."""

    _ndim = 1
    _function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_ConvTranspose):
    """`F.conv_transpose2d` with a weight and a bias to learn: (n, in_channels, h, w), or without n.

    The lengths that a `Conv2d` with these options would bring to those of the input;
    output_padding, less than stride or dilation, makes them greater. weight: (in_channels,
    out_channels / groups, *kernel_size); it and the bias start as in PyTorch, uniform in
    ±1/sqrt(out_channels / groups · Π kernel_size).
    """

    _ndim = 2
    _function = staticmethod(F.conv_transpose2d)


class Unfold(Module):
    """What the windows of a `Conv2d` see: (n, c, h, w) to (n, c · kh · kw, windows), or without n.

    The arguments are those of `functional.unfold`.
    """

    def __init__(
        self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.kernel_size = for_each_axis(name, "kernel_size", kernel_size, 2, 1)
        self.dilation = for_each_axis(name, "dilation", dilation, 2, 1)
        self.padding = for_each_axis(name, "padding", padding, 2, 0)
        self.stride = for_each_axis(name, "stride", stride, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Fold(Unfold):
    """The sums where windows overlap: (n, c · kh · kw, windows) to (n, c, *output_size).

    The transpose of `Unfold` with these arguments, over an input of output_size.
    """

    def __init__(
        self,
        output_size: Any,
        kernel_size: Any,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
    ) -> None:
        super().__init__(kernel_size, dilation, padding, stride)
        self.output_size = for_each_axis("Fold", "output_size", output_size, 2, 0)

    def forward(self, columns: Tensor) -> Tensor:
        return F.fold(
            columns, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, {super().extra_repr()}"
