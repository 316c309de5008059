"""Dense layers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..backends import Backend
from ..engine import Tensor
from ..ops.axes import count
from ..ops.creation import asarray, zeros
from . import functional as F
from . import init
from .module import Module, Parameter


class Linear(Module):
    """x @ weight.T + bias: (..., in_features) to (..., out_features).

    weight: (out_features, in_features). bias: (out_features,), or None for bias=False. Both start
    uniform in ±1/sqrt(in_features), as in PyTorch, of the default dtype on the default backend.
    TypeError for sizes that are no integers, ValueError for negative ones.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self._allocate(in_features, out_features, bias)
        self.reset_parameters()

    def _allocate(
        self, in_features: int, out_features: int, bias: bool, backend: Backend | None = None
    ) -> None:
        rows = count(type(self).__name__, "out_features", out_features, 0)
        columns = count(type(self).__name__, "in_features", in_features, 0)
        weight = Parameter(zeros((rows, columns), backend=backend))
        self.weight, self.bias = weight, Parameter(zeros(rows, backend=backend)) if bias else None
        self.in_features, self.out_features = columns, rows

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


class LazyLinear(Linear):
    """A Linear that takes in_features from its first batch and is a plain `Linear` from then on.

    Its parameters, on the batch's backend, are drawn at that moment, or read by `load_state_dict`;
    before it has none, and asking for them, for an optimizer too, is a RuntimeError.
    """

    _lazy = True

    def __init__(self, out_features: int, bias: bool = True) -> None:
        Module.__init__(self)
        self.out_features = count("LazyLinear", "out_features", out_features, 0)
        self._has_bias = bool(bias)

    def reset_parameters(self) -> None:
        """Do nothing: there is nothing to draw yet."""

    def forward(self, x: Tensor) -> Tensor:
        x = x if isinstance(x, Tensor) else asarray(x)
        if not x.ndim:
            raise ValueError("LazyLinear: x needs an axis of features, got a 0-d tensor")
        self._allocate(x.shape[-1], self.out_features, self._has_bias, x.backend)
        Linear.reset_parameters(self)
        self._become_linear()
        return self.forward(x)

    def _take_sizes(self, state: Mapping[str, Any], path: str, like: Tensor | None) -> bool:
        weight = state.get(f"{path}.weight" if path else "weight")
        shape: Sequence[int] = getattr(weight, "shape", ())
        features = shape[1] if len(shape) == 2 else 0
        backend = None if like is None else like.backend
        self._allocate(features, self.out_features, self._has_bias, backend)
        self._become_linear()
        return weight is not None

    def _become_linear(self) -> None:
        """Be plain, which comes last: what fails before leaves the layer lazy."""
        del self._has_bias
        self.__class__ = Linear  # type: ignore[assignment]

    def extra_repr(self) -> str:
        return f"in_features=?, out_features={self.out_features}, bias={self._has_bias}"
