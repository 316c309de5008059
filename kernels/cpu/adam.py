"""Adam and AdamW in one pass over the parameter."""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from .compiler import FLOATS, Array, Call, kernel, loop, plain, prange


def _calls(dtype: Any, n: int) -> Iterator[Call]:
    p, g, m = np.random.default_rng(0).normal(size=(3, n, 6)).astype(dtype)
    for weight_decay, l1, decoupled in ((0.1, None, False), (None, 0.2, True)):
        values = (3, 1e-2, 0.9, 0.99, 1e-8, weight_decay, l1)
        scalars = [None if x is None else np.array(float(x)) for x in values]
        yield [p.copy(), g, m.copy(), m * m, *scalars], {"decoupled": decoupled}


@kernel(_calls)
def adam_update(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    step: Array,
    lr: Array,
    beta1: Array,
    beta2: Array,
    eps: Array,
    weight_decay: Array | None,
    l1: Array | None = None,
    *,
    decoupled: bool,
) -> Any:
    """Update parameter ``p`` and its moments ``m`` and ``v`` in place from the gradient ``g``.

    All four have one shape and one dtype, float32 or float64; step (1 at the first update) and the
    hyper-parameters are 0-d float64. The coefficients are worked out in float64 and rounded to the
    parameter's dtype, in which the rest is computed. ``decoupled`` shrinks p by lr * weight_decay
    (Loshchilov and Hutter, Decoupled weight decay regularization, 2019); otherwise the decay is
    added to the gradient (Kingma and Ba, Adam, 2015, with an L2 penalty). ``l1 * sign(p)`` is added
    to the gradient in both. A weight_decay or l1 of None is absent. Declines p, m, v that are not
    all contiguous in the same order, or not writable.
    """
    order: Literal["C", "F"]
    if p.flags.c_contiguous and m.flags.c_contiguous and v.flags.c_contiguous:
        order = "C"
    elif p.flags.f_contiguous and m.flags.f_contiguous and v.flags.f_contiguous:
        order = "F"
    else:
        return NotImplemented
    if not (p.flags.behaved and m.flags.behaved and v.flags.behaved):
        return NotImplemented
    if (
        p.dtype not in FLOATS
        or not p.dtype == g.dtype == m.dtype == v.dtype
        or not p.shape == g.shape == m.shape == v.shape
    ):
        return NotImplemented
    _update(
        p.size,
        p.ravel(order),
        plain(g.ravel(order)),
        m.ravel(order),
        v.ravel(order),
        float(step),
        float(lr),
        float(beta1),
        float(beta2),
        float(eps),
        weight_decay is not None,
        0.0 if weight_decay is None else float(weight_decay),
        l1 is not None,
        0.0 if l1 is None else float(l1),
        decoupled,
    )
    return None


@loop(parallel_from=1 << 18)
def _update(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    step: float,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    has_decay: bool,
    weight_decay: float,
    has_l1: bool,
    l1: float,
    decoupled: bool,
) -> None:
    """Update the flat arrays ``p``, ``m`` and ``v``."""
    real = p.dtype.type
    keep1, take1 = real(beta1), real(1 - beta1)
    keep2, take2 = real(beta2), real(1 - beta2)
    rate = real(lr / (1 - beta1**step))
    unbias = real(1 / np.sqrt(1 - beta2**step))
    epsilon, decay, lasso = real(eps), real(weight_decay), real(l1)
    shrink = real(1 - lr * weight_decay)
    for i in prange(p.size):
        param, grad = p[i], g[i]
        if has_l1:
            grad += lasso * np.sign(param)
        if decoupled:
            param *= shrink
        elif has_decay:
            grad += decay * param
        m[i] = keep1 * m[i] + take1 * grad
        v[i] = keep2 * v[i] + take2 * (grad * grad)
        p[i] = param - rate * m[i] / (np.sqrt(v[i]) * unbias + epsilon)
