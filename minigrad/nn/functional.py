"""The functions behind the modules."""

from ..ops.elementwise import relu, sigmoid, tanh
from ..ops.neural import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    dropout,
    l1_loss,
    linear,
    log_softmax,
    mse_loss,
    nll_loss,
    one_hot,
    smooth_l1_loss,
    softmax,
)

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "dropout",
    "l1_loss",
    "linear",
    "log_softmax",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "relu",
    "sigmoid",
    "smooth_l1_loss",
    "softmax",
    "tanh",
]
