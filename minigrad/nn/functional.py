"""The functions behind the modules."""

from ..ops.elementwise import relu, sigmoid, tanh
from ..ops.neural import cross_entropy, dropout, linear, log_softmax, mse_loss, softmax

__all__ = [
    "cross_entropy",
    "dropout",
    "linear",
    "log_softmax",
    "mse_loss",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]
