"""Activation functions as modules."""

import math

from ..engine import Tensor
from ..ops.axes import count
from ..ops.creation import full
from . import functional as F
from . import init
from .module import Module, Parameter


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


class SiLU(Module):
    """x · sigmoid(x), elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x)


class Mish(Module):
    """x · tanh(softplus(x)), elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        return F.mish(x)


class SELU(Module):
    """1.0507 · elu(x, 1.6733), elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        return F.selu(x)


class Hardswish(Module):
    """x · hardsigmoid(x), elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        return F.hardswish(x)


class Hardsigmoid(Module):
    """(x + 3) / 6 limited to [0, 1], elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        return F.hardsigmoid(x)


class ReLU6(Module):
    """x limited to [0, 6]."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(x)


class LogSigmoid(Module):
    """log(sigmoid(x)), elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        return F.logsigmoid(x)


class GELU(Module):
    """x · P(standard normal < x), elementwise; approximate: "none", or "tanh" for a formula."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class _WithAlpha(Module):
    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class ELU(_WithAlpha):
    """x for x > 0, alpha · (exp(x) - 1) elsewhere."""

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(x, self.alpha)


class CELU(_WithAlpha):
    """x for x > 0, alpha · (exp(x / alpha) - 1) elsewhere."""

    def forward(self, x: Tensor) -> Tensor:
        return F.celu(x, self.alpha)


class Softplus(Module):
    """log(1 + exp(beta · x)) / beta, elementwise; x itself where beta · x is above threshold.

    There is no need for a threshold: the function does not overflow. PyTorch's is 20.
    """

    def __init__(self, beta: float = 1.0, threshold: float = math.inf) -> None:
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Tensor) -> Tensor:
        return F.softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Hardtanh(Module):
    """x limited to [min_val, max_val]."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        super().__init__()
        self.min_val, self.max_val = min_val, max_val

    def forward(self, x: Tensor) -> Tensor:
        return F.hardtanh(x, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"


class LeakyReLU(Module):
    """x for x > 0, negative_slope · x elsewhere."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class PReLU(Module):
    """x for x > 0, weight · x elsewhere.

    weight: (num_parameters,), one for all or one for each channel, that is axis 1; init at first.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        super().__init__()
        self.num_parameters = count("PReLU", "num_parameters", num_parameters, 1)
        self.init = init
        self.weight = Parameter(full(self.num_parameters, float(init)))

    def reset_parameters(self) -> None:
        """Set weight to init."""
        init.constant_(self.weight, self.init)

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class _AlongAxis(Module):
    """The base of functions along one axis."""

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
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


class GLU(_AlongAxis):
    """The first half of x along an axis times the sigmoid of the second."""

    def forward(self, x: Tensor) -> Tensor:
        return F.glu(x, self.axis)
