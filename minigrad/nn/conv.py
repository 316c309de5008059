"""Convolutional layers."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

from ..engine import Tensor
from ..messages import did_you_mean
from ..ops.axes import for_each_axis
from ..ops.convolution import padding_of
from ..ops.creation import zeros
from ..ops.shape import pad
from . import functional as F
from . import init
from .module import Module, Parameter

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
        (self.in_channels,) = self._numbers("in_channels", in_channels, 1, 1)
        (self.out_channels,) = self._numbers("out_channels", out_channels, 1, 1)
        (self.groups,) = self._numbers("groups", groups, 1, 1)
        self.kernel_size = self._numbers("kernel_size", kernel_size, 1)
        self.stride = self._numbers("stride", stride, 1)
        self.dilation = self._numbers("dilation", dilation, 1)
        if in_channels % groups or out_channels % groups:
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

    def _numbers(self, what: str, value: Any, least: int, count: int = 0) -> tuple[int, ...]:
        return for_each_axis(self._name(), what, value, count or self._ndim, least)

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
        usual: dict[str, Any] = {
            "padding": (0,) * self._ndim,
            "dilation": (1,) * self._ndim,
            "output_padding": (0,) * self._ndim,
            "groups": 1,
            "padding_mode": "zeros",
        }
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        parts.append(f"stride={self.stride}")
        for name, value in usual.items():
            if (own := getattr(self, name, value)) != value:
                parts.append(f"{name}={own}")
        return ", ".join(parts) + ("" if self.bias is not None else ", bias=False")


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
        spans = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        self._around = padding_of(self._name(), spans, self.stride, padding)
        self.padding = padding if isinstance(padding, str) else self._numbers("padding", padding, 0)
        self._allocate(self.out_channels, self.in_channels, bias)

    def forward(self, x: Tensor) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            axes = range(-self._ndim, 0)
            around = dict(zip(axes, self._around, strict=True))
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
