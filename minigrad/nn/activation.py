"""Activation functions as modules."""

from typing import Any

from ..engine import Tensor
from ..ops.axes import reject_unknown
from . import functional as F
from .module import Module


class ReLU(Module):
    """max(x, 0), elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x)), elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        return F.sigmoid(x)


class Tanh(Module):
    """tanh(x), elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        return F.tanh(x)


class _AlongAxis(Module):
    """The base of functions along one axis."""

    def __init__(self, axis: int = -1, **unknown: Any) -> None:
        super().__init__()
        reject_unknown(type(self).__name__, unknown)
        self.axis = axis

    def extra_repr(self) -> str:
        return f"axis={self.axis}"


class Softmax(_AlongAxis):
    """exp(x) / Σ exp(x) along an axis."""

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, self.axis)


class LogSoftmax(_AlongAxis):
    """log(softmax(x)) along an axis, without overflow or log(0)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(x, self.axis)
