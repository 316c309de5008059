"""Losses as modules: criterion(output, target)."""

from typing import Any

from .. import backends
from ..engine import Tensor
from . import functional as F
from .module import Module


class _Loss(Module):
    """The base of the losses. reduction: "none", "sum" or "mean"."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def _register_factors(self, name: str, factors: Any) -> None:
        """Make factors, a tensor, an array or None, a buffer."""
        if factors is not None and not isinstance(factors, Tensor):
            factors = Tensor(factors, backend=backends.default())
        self.register_buffer(name, factors)


class MSELoss(_Loss):
    """(prediction - target)²; reduction: "none", "sum" or "mean"."""

    def forward(self, prediction: Tensor, target: Any) -> Tensor:
        return F.mse_loss(prediction, target, self.reduction)


class L1Loss(_Loss):
    """|prediction - target|; reduction: "none", "sum" or "mean"."""

    def forward(self, prediction: Tensor, target: Any) -> Tensor:
        return F.l1_loss(prediction, target, self.reduction)


class SmoothL1Loss(_Loss):
    """Squares near 0, absolute differences beyond ±beta; the arguments of `smooth_l1_loss`."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, prediction: Tensor, target: Any) -> Tensor:
        return F.smooth_l1_loss(prediction, target, self.reduction, self.beta)


class HuberLoss(_Loss):
    """Squares near 0, absolute differences beyond ±delta; the arguments of `huber_loss`."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, prediction: Tensor, target: Any) -> Tensor:
        return F.huber_loss(prediction, target, self.reduction, self.delta)


class KLDivLoss(_Loss):
    """target · (log target - log_p); the arguments are those of `kl_div`.

    reduction: "none", "sum", "mean" or "batchmean", the sum over the length of axis 0.
    """

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, log_p: Tensor, target: Any) -> Tensor:
        return F.kl_div(log_p, target, self.reduction, self.log_target)


class BCELoss(_Loss):
    """-target · log p - (1 - target) · log(1 - p) for probabilities p.

    The arguments are those of `binary_cross_entropy`. weight: a tensor, an array or None; a buffer.
    """

    weight: Tensor | None

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._register_factors("weight", weight)

    def forward(self, p: Tensor, target: Any) -> Tensor:
        return F.binary_cross_entropy(p, target, self.weight, self.reduction)


class BCEWithLogitsLoss(_Loss):
    """-target · log p - (1 - target) · log(1 - p) for p = sigmoid(logits).

    The arguments are those of `binary_cross_entropy_with_logits`. weight and pos_weight: tensors,
    arrays or None; buffers.
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction)
        self._register_factors("weight", weight)
        self._register_factors("pos_weight", pos_weight)

    def forward(self, logits: Tensor, target: Any) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            logits, target, self.weight, self.reduction, self.pos_weight
        )


class NLLLoss(_Loss):
    """-log_p of the label's class; the arguments are those of `nll_loss`.

    weight: (classes,), a tensor or an array, or None; a buffer.
    """

    weight: Tensor | None

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self._register_factors("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, log_p: Tensor, target: Any) -> Tensor:
        return F.nll_loss(
            log_p, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction
        )


class CrossEntropyLoss(_Loss):
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
        super().__init__(reduction)
        self._register_factors("weight", weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, logits: Tensor, target: Any) -> Tensor:
        return F.cross_entropy(
            logits,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )
