"""Dense layers."""

import math

from ..engine import Tensor
from ..ops.creation import zeros
from . import functional as F
from . import init
from .module import Module, Parameter


class Linear(Module):
    """x @ weight.T + bias: (..., in_features) to (..., out_features).

    weight: (out_features, in_features). bias: (out_features,), or None for bias=False. Both start
    uniform in ±1/sqrt(in_features), as in PyTorch, of the default dtype on the default backend.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(zeros((out_features, in_features)))
        self.bias = Parameter(zeros(out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )
