"""Layers that drop values at random while training."""

from ..engine import Tensor
from . import functional as F
from .module import Module


class Dropout(Module):
    """Each element 0 with probability p and the others divided by 1 - p; in eval mode x itself.

    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014).
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p must lie in [0, 1], got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"
