"""Layers that drop values at random while training."""

from ..engine import Tensor
from . import functional as F
from .module import Module


class _Dropout(Module):
    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: p must lie in [0, 1], got {p}")
        self.p = p

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout(_Dropout):
    """Each element 0 with probability p and the others divided by 1 - p; in eval mode x itself.

    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014).
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training)


class Dropout1d(_Dropout):
    """`Dropout` of whole channels: x is (n, channels, length) or (channels, length)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout1d(x, self.p, self.training)


class Dropout2d(_Dropout):
    """`Dropout` of whole channels: x is (n, channels, height, width)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout2d(x, self.p, self.training)
