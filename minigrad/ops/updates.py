"""Ops that change memory in place: assignment, the steps of the optimizers, gradient clipping.

Hyper-parameters and the step count arrive as float64 0-d arrays on the parameter's backend, so that
nothing which changes from step to step is a Python constant; they are rounded to the
parameter's dtype where they meet it. An update counts itself: step is how many were made before. A
weight_decay or l1 of None is absent: it costs no pass, and no 0 meets an infinity. After all that,
an update takes more parameters, each followed by what goes with it as the first is: one call for a
model costs a fraction of one for each of its parameters, most of which are small.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..engine import Op, Tensor
from .indexing import fitting

__all__ = [
    "adagrad_update",
    "adam_update",
    "assign",
    "limit_update",
    "rmsprop_update",
    "scale_update",
    "sgd_update",
    "total_norm",
    "total_p_norm",
]


def _assign_forward(xp: Any, x: Any, value: Any) -> None:
    x[...] = value


_assign = Op("assign", _assign_forward, outputs=(), writes=("x",))


def assign(x: Tensor, value: Any) -> Tensor:
    """Write value, broadcast to x's shape, into x's memory and return x.

    TypeError for another kind of dtype than x's, as NumPy's operators in place have it: what is
    signed does not go into what is not.
    """
    value = fitting(x, value)
    if isinstance(value, Tensor) and not np.can_cast(value.dtype, x.dtype, "same_kind"):
        raise TypeError(
            f"{value.dtype} does not fit in place into {x.dtype}; cast it with astype first"
        )
    _assign(x, value)
    return x


def clear_grads(tensors: Iterable[Tensor], set_to_none: bool) -> None:
    """Forget the gradients of tensors, or fill them with zeros in place."""
    for tensor in tensors:
        if set_to_none:
            tensor.grad = None
        elif tensor.grad is not None:
            assign(tensor.grad, 0)


def _penalised(xp: Any, p: Any, g: Any, weight_decay: Any, l1: Any) -> Any:
    """Return g plus the derivative of weight_decay/2 · p² + l1 · |p|, which at 0 is 0."""
    if weight_decay is not None:
        g = g + xp.astype(weight_decay, p.dtype) * p
    if l1 is not None:
        g = g + xp.astype(l1, p.dtype) * xp.sign(p)
    return g


def _side_by_side(*first: Any, more: tuple[Any, ...]) -> list[list[Any]]:
    """Return each parameter with what goes with it: the first, then as many at a time of more."""
    given, count = [*first, *more], len(first)
    return [given[at : at + count] for at in range(0, len(given), count)]


def _divisor(xp: Any, root: Any, eps: Any) -> Any:
    """Return root + eps, by which a step is divided; root is that of a mean or sum of g².

    In float16, g² is 0 for |g| up to 2⁻¹³, and so is an eps of 1e-8: there eps is at least 2⁻¹²,
    so that small gradients make small steps and none makes 0 / 0.
    """
    if root.dtype == np.float16:
        eps = xp.maximum(eps, 2.0**-12)
    return root + xp.astype(eps, root.dtype)


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
    l1: Any = None,
    *more: Any,
    nesterov: bool,
) -> None:
    parameters = _side_by_side(p, g, velocity, step, more=more)
    for p, g, velocity, step in parameters:
        g = _penalised(xp, p, g, weight_decay, l1)
        if velocity is not None:
            step += 1
            keep = xp.astype(momentum, p.dtype)
            fresh = xp.astype(xp.where(step == 1, 1, 1 - dampening), p.dtype)
            velocity *= keep
            velocity += fresh * g
            g = g + keep * velocity if nesterov else velocity
        p -= xp.astype(lr, p.dtype) * g


sgd_update = Op("sgd_update", _sgd_forward, outputs=(), writes=("p", "velocity", "step"), again=4)
"""One step of stochastic gradient descent; velocity and step None: no momentum. As PyTorch has it,
the first step is not dampened. Sutskever et al., "On the importance of initialization and
momentum in deep learning" (2013).
"""


def _adagrad_forward(
    xp: Any,
    p: Any,
    g: Any,
    total: Any,
    step: Any,
    lr: Any,
    lr_decay: Any,
    eps: Any,
    weight_decay: Any,
    l1: Any = None,
    *more: Any,
) -> None:
    parameters = _side_by_side(p, g, total, step, more=more)
    for p, g, total, step in parameters:
        step += 1
        g = _penalised(xp, p, g, weight_decay, l1)
        total += g * g
        p -= (
            xp.astype(lr / (1 + (step - 1) * lr_decay), p.dtype)
            * g
            / _divisor(xp, xp.sqrt(total), eps)
        )


adagrad_update = Op(
    "adagrad_update", _adagrad_forward, outputs=(), writes=("p", "total", "step"), again=4
)
"""One step of Adagrad; total is the sum of g². Duchi, Hazan & Singer, "Adaptive subgradient methods
for online learning and stochastic optimization" (2011), figure 1 with a diagonal matrix.
"""


def _rmsprop_forward(
    xp: Any,
    p: Any,
    g: Any,
    v: Any,
    mean: Any,
    velocity: Any,
    step: Any,
    lr: Any,
    alpha: Any,
    eps: Any,
    weight_decay: Any,
    momentum: Any,
    l1: Any = None,
    *more: Any,
) -> None:
    parameters = _side_by_side(p, g, v, mean, velocity, step, more=more)
    for p, g, v, mean, velocity, step in parameters:
        step += 1
        keep, take = xp.astype(alpha, p.dtype), xp.astype(1 - alpha, p.dtype)
        g = _penalised(xp, p, g, weight_decay, l1)
        v *= keep
        v += take * (g * g)
        variance = v
        if mean is not None:
            mean += take * (g - mean)
            variance = xp.maximum(v - mean * mean, 0)  # rounding can take it below 0
        g = g / _divisor(xp, xp.sqrt(variance), eps)
        if velocity is not None:
            velocity *= xp.astype(momentum, p.dtype)
            velocity += g
            g = velocity
        p -= xp.astype(lr, p.dtype) * g


rmsprop_update = Op(
    "rmsprop_update",
    _rmsprop_forward,
    outputs=(),
    writes=("p", "v", "mean", "velocity", "step"),
    again=6,
)
"""One step of RMSprop; v and mean are running means of g² and g; mean None: not centered, velocity
None: no momentum. Tieleman & Hinton, "Neural networks for machine learning" (2012), lecture 6.5;
centered: Graves, "Generating sequences with recurrent neural networks" (2013), equations 38-45.
"""


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
    l1: Any = None,
    *more: Any,
    decoupled: bool,
) -> None:
    parameters = _side_by_side(p, g, m, v, step, more=more)
    for p, g, m, v, step in parameters:
        step += 1
        g = _penalised(xp, p, g, None if decoupled else weight_decay, l1)
        if decoupled and weight_decay is not None:
            p *= xp.astype(1 - lr * weight_decay, p.dtype)
        m *= xp.astype(beta1, p.dtype)
        m += xp.astype(1 - beta1, p.dtype) * g
        v *= xp.astype(beta2, p.dtype)
        v += xp.astype(1 - beta2, p.dtype) * (g * g)
        root = xp.sqrt(v) / xp.astype(xp.sqrt(1 - beta2**step), p.dtype)
        p -= xp.astype(lr / (1 - beta1**step), p.dtype) * m / _divisor(xp, root, eps)


adam_update = Op("adam_update", _adam_forward, outputs=(), writes=("p", "m", "v", "step"), again=5)
"""One step of Adam (Kingma & Ba 2015, algorithm 1), or with decoupled decay of AdamW (Loshchilov &
Hutter 2019, algorithm 2).
"""


def _total_norm_forward(xp: Any, *gs: Any) -> Any:
    total = xp.zeros((), dtype=np.float64)
    for g in gs:
        x = xp.astype(g, np.float64).reshape(-1)  # holds the square of any float16 and float32
        total = total + xp.matmul(x, x)
    return xp.sqrt(total)


total_norm = Op("total_norm", _total_norm_forward)
"""The Euclidean norm of all elements of several tensors together, float64."""


def _total_p_norm_forward(xp: Any, *gs: Any, norm_type: float) -> Any:
    total = xp.zeros((), dtype=np.float64)
    for g in gs:
        if norm_type < math.inf:
            x = xp.abs(xp.astype(g, np.float64))
            total = total + xp.sum(x if norm_type == 1 else x**norm_type)
        elif g.size:  # the ends of the range: the largest of all absolute values without a copy
            total = xp.maximum(total, xp.maximum(xp.abs(xp.min(g)), xp.abs(xp.max(g))))
    return total if norm_type == math.inf else total ** (1 / norm_type)


total_p_norm = Op("total_p_norm", _total_p_norm_forward)
"""The p-norm of all elements of several tensors together, float64; norm_type is p or inf."""


def _scale_forward(xp: Any, g: Any, factor: Any) -> None:
    if g.dtype == np.float16:  # in which a small factor is 0
        g[...] = xp.astype(g, np.float32) * xp.astype(factor, np.float32)
    else:
        g *= xp.astype(factor, g.dtype)


scale_update = Op("scale_update", _scale_forward, outputs=(), writes=("g",))
"""g *= factor, a float64 0-d array, rounded once."""


def _limit_forward(xp: Any, g: Any, *, limit: float) -> None:
    xp.maximum(g, -limit, out=g)
    xp.minimum(g, limit, out=g)


limit_update = Op("limit_update", _limit_forward, outputs=(), writes=("g",))
"""Limit every element of g to [-limit, limit]; limit fits into g's dtype."""
