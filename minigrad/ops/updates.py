"""Ops that change memory in place: assignment and the steps of the optimizers.

Hyper-parameters and the step count arrive as float64 0-d arrays on the parameter's backend, so that
nothing which changes from step to step is a Python constant; they are rounded to the
parameter's dtype where they meet it.
"""

from typing import Any

from ..engine import Op, Tensor
from .indexing import fitting

__all__ = [
    "adam_update",
    "assign",
    "sgd_update",
]


def _assign_forward(xp: Any, x: Any, value: Any) -> None:
    x[...] = value


_assign = Op("assign", _assign_forward, outputs=(), writes=("x",))


def assign(x: Tensor, value: Any) -> Tensor:
    """Write value, broadcast to x's shape, into x's memory and return x."""
    _assign(x, fitting(x, value))
    return x


def _sgd_forward(
    xp: Any,
    p: Any,
    g: Any,
    velocity: Any,
    step: Any,
    lr: Any,
    momentum: Any,
    dampening: Any,
    weight_decay: Any,
    *,
    nesterov: bool,
) -> None:
    lr, momentum, weight_decay = (xp.astype(c, p.dtype) for c in (lr, momentum, weight_decay))
    g = g + weight_decay * p
    if velocity is not None:
        fresh = xp.astype(xp.where(step == 1, 1, 1 - dampening), p.dtype)
        velocity *= momentum
        velocity += fresh * g
        g = g + momentum * velocity if nesterov else velocity
    p -= lr * g


#: One step of stochastic gradient descent; velocity and step None: no momentum. As PyTorch has it,
#: the first step is not dampened. Sutskever et al., "On the importance of initialization and
#: momentum in deep learning" (2013).
sgd_update = Op("sgd_update", _sgd_forward, outputs=(), writes=("p", "velocity"))


def _adam_forward(
    xp: Any,
    p: Any,
    g: Any,
    m: Any,
    v: Any,
    step: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    eps: Any,
    weight_decay: Any,
    *,
    decoupled: bool,
) -> None:
    def scalar(c: Any) -> Any:
        return xp.astype(c, p.dtype)

    if decoupled:
        p *= scalar(1 - lr * weight_decay)
    else:
        g = g + scalar(weight_decay) * p
    m *= scalar(beta1)
    m += scalar(1 - beta1) * g
    v *= scalar(beta2)
    v += scalar(1 - beta2) * (g * g)
    spread = xp.sqrt(v) / scalar(xp.sqrt(1 - beta2**step)) + scalar(eps)
    p -= scalar(lr / (1 - beta1**step)) * m / spread


#: One step of Adam (Kingma & Ba 2015, algorithm 1), or with decoupled decay of AdamW (Loshchilov &
#: Hutter 2019, algorithm 2).
adam_update = Op("adam_update", _adam_forward, outputs=(), writes=("p", "m", "v"))
