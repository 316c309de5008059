"""Layers that give values mean 0 and variance 1 over some axes, and then a learned scale."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..engine import Tensor, no_grad
from ..ops.axes import count
from ..ops.creation import as_tensor, ones, zeros
from ..ops.updates import assign
from . import functional as F
from . import init
from .module import Module, Parameter


class _Scaled(Module):
    """The base of layers with a weight and a bias, either of which may be None."""

    weight: Parameter | None
    bias: Parameter | None

    def _count(self, what: str, value: Any, least: int = 0) -> int:
        return count(type(self).__name__, what, value, least)

    def _lengths(self, normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
        given = normalized_shape if isinstance(normalized_shape, Sequence) else (normalized_shape,)
        return tuple(self._count("normalized_shape", n) for n in given)

    def _scale_by(self, shape: tuple[int, ...], weight: bool, bias: bool) -> None:
        self.weight = Parameter(ones(shape)) if weight else None
        self.bias = Parameter(zeros(shape)) if bias else None

    def reset_parameters(self) -> None:
        """Set weight to 1 and bias to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class LayerNorm(_Scaled):
    """(x - mean) / √(var + eps) · weight + bias, mean and var over the last axes.

    normalized_shape: their lengths, or that of the last one. weight and bias have that shape and
    start at 1 and 0; bias=False and elementwise_affine=False leave them out.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.normalized_shape, self.eps = self._lengths(normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        self._scale_by(self.normalized_shape, elementwise_affine, elementwise_affine and bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class RMSNorm(_Scaled):
    """x / √(mean of x² + eps) · weight, the mean over the last axes.

    normalized_shape: their lengths, or that of the last one. weight has that shape and starts at
    1; elementwise_affine=False leaves it out. eps None: the machine epsilon of x's dtype.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
    ) -> None:
        super().__init__()
        self.normalized_shape, self.eps = self._lengths(normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        self._scale_by(self.normalized_shape, elementwise_affine, False)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(_Scaled):
    """Each of num_groups groups of channels of each sample with mean 0 and variance 1, then scaled.

    weight and bias: (num_channels,), 1 and 0 at the start; affine=False leaves both out.
    ValueError where num_groups does not divide num_channels.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_groups = self._count("num_groups", num_groups, 1)
        self.num_channels = self._count("num_channels", num_channels)
        if self.num_channels % self.num_groups:
            raise ValueError(
                f"GroupNorm: num_groups={num_groups} must divide num_channels={num_channels}"
            )
        self.eps, self.affine = eps, affine
        self._scale_by((self.num_channels,), affine, affine and bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class _BatchNorm(_Scaled):
    """The base of batch norms, which differ in the number of axes that x may have."""

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None
    _shapes: ClassVar[dict[int, str]]  # number of axes -> what they are

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features = self._count("num_features", num_features)
        self.eps, self.momentum = eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self._scale_by((num_features,), affine, affine and bias)
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(num_features) if tracked else None)
        self.register_buffer("running_var", ones(num_features) if tracked else None)
        self.register_buffer("num_batches_tracked", zeros((), dtype=np.int64) if tracked else None)

    def reset_running_stats(self) -> None:
        """Forget all batches: mean 0, variance 1."""
        with no_grad():
            for buffer, value in (
                (self.running_mean, 0),
                (self.running_var, 1),
                (self.num_batches_tracked, 0),
            ):
                if buffer is not None:
                    assign(buffer, value)

    def reset_parameters(self) -> None:
        """Set weight to 1 and bias to 0, and forget all batches."""
        super().reset_parameters()
        self.reset_running_stats()

    def forward(self, x: Tensor) -> Tensor:
        x = as_tensor(x)
        if x.ndim not in self._shapes or x.shape[1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__}: expected x of shape {' or '.join(self._shapes.values())} "
                f"with num_features={self.num_features}, got {x.shape}"
            )
        momentum: float | Tensor = 0.0 if self.momentum is None else self.momentum
        batches = self.num_batches_tracked if self.training else None
        if batches is not None:
            with no_grad():
                batches = batches + 1
                if self.momentum is None:  # the mean over all batches
                    momentum = 1 / batches
        mean, var = self.running_mean, self.running_var
        training = self.training or mean is None
        out = F.batch_norm(x, mean, var, self.weight, self.bias, training, momentum, self.eps)
        if batches is not None and self.num_batches_tracked is not None:
            assign(self.num_batches_tracked, batches)
        return out

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """(x - mean) / √(var + eps) · weight + bias for each feature, or channel, of a batch.

    x: (n, num_features) or (n, num_features, length). In training, mean and var are the batch's;
    the buffers running_mean and running_var follow them by the share momentum, None: as the mean
    over all batches. In eval mode they are the running ones, or, without track_running_stats, the
    batch's. weight and bias start at 1 and 0; affine=False leaves both out.
    """

    _shapes: ClassVar = {2: "(n, num_features)", 3: "(n, num_features, length)"}


class BatchNorm2d(_BatchNorm):
    """`BatchNorm1d` for x of shape (n, num_features, height, width)."""

    _shapes: ClassVar = {4: "(n, num_features, height, width)"}
