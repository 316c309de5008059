"""Losses as modules: criterion(output, target)."""

from typing import Any

from .. import backends
from ..engine import Tensor
from . import functional as F
from .module import Module


class MSELoss(Module):
    """(prediction - target)²; reduction: "none", "sum" or "mean"."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, prediction: Tensor, target: Any) -> Tensor:
        return F.mse_loss(prediction, target, self.reduction)


class CrossEntropyLoss(Module):
    """-Σ target · log softmax(logits) over the classes; the arguments are those of `cross_entropy`.

    weight: (classes,), a tensor or an array, or None; a buffer.
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if weight is not None and not isinstance(weight, Tensor):
            weight = Tensor(weight, backend=backends.default())
        self.register_buffer("weight", weight)
        self.ignore_index, self.reduction = ignore_index, reduction
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, target: Any) -> Tensor:
        return F.cross_entropy(
            logits,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )
