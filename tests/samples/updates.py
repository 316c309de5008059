"""Optimizer steps and writes.

The steps count themselves in float64, which the tests of the optimizers look at.
"""

import math

import numpy as np

import minigrad as mg
from minigrad.engine import TABLE

from .rows import *


def updated(name, *changed):
    """Return how to call an update op: on its inputs; the changed ones are the result."""

    def f(*inputs, **params):
        TABLE[name](*inputs, **params)
        return tuple(inputs[i] for i in changed if inputs[i] is not None)

    return f


def penalised(p, g, weight_decay, l1):
    return g + (weight_decay or 0) * p + (l1 or 0) * np.sign(p)


def reference_sgd(p, g, v, step, lr, momentum, dampening, weight_decay, l1=None, *, nesterov):
    g = penalised(p, g, weight_decay, l1)
    if v is None:
        return (p - lr * g,)
    v = momentum * v + (1 if step == 0 else 1 - dampening) * g
    return p - lr * (g + momentum * v if nesterov else v), v


def reference_adagrad(p, g, total, step, lr, lr_decay, eps, weight_decay, l1=None):
    g = penalised(p, g, weight_decay, l1)
    total = total + g**2
    return p - lr / (1 + step * lr_decay) * g / (np.sqrt(total) + eps), total


def reference_rmsprop(
    p, g, v, mean, velocity, step, lr, alpha, eps, weight_decay, momentum, l1=None
):
    g = penalised(p, g, weight_decay, l1)
    variance = v = alpha * v + (1 - alpha) * g**2
    if mean is not None:
        mean = alpha * mean + (1 - alpha) * g
        variance = v - mean**2
    g = g / (np.sqrt(variance) + eps)
    if velocity is not None:
        g = velocity = momentum * velocity + g
    return tuple(x for x in (p - lr * g, v, mean, velocity) if x is not None)


def reference_adam(p, g, m, v, step, lr, beta1, beta2, eps, weight_decay, l1=None, *, decoupled):
    g = penalised(p, g, None if decoupled else weight_decay, l1)
    if decoupled:
        p = p - lr * (weight_decay or 0) * p
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    m_hat, v_hat = m / (1 - beta1 ** (step + 1)), v / (1 - beta2 ** (step + 1))
    return p - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


def hypers(*values):
    return tuple(None if value is None else Hyper(np.float64(value)) for value in values)


GRADIENTS = [[()], [(2, 3)], [(0,)], [(2, 3), (), (0,), (4,)]]


def together(gs):
    return np.concatenate([g.ravel() for g in gs])


UPDATES = {
    "assign": Row(
        lambda x, value: mg.assign(x, value),
        lambda x, value: np.broadcast_to(value, x.shape),
        (
            Case((Reals((2, 3)), Reals((2, 3)))),
            Case((Reals((2, 3)), Reals((3,)))),
            Case((Reals((2, 3)),), {"value": 2.0}),
            Case((Reals(()), Reals(()))),
            Case((Reals((0,)), Reals((1,)))),
        ),
        order=0,
        writes=(0,),
        wrong=(
            Wrong((np.ones((2, 3)), np.ones(2)), ValueError, r"\(2, 3\).*\(2,\)"),
            Wrong((np.ones(3, int), np.ones(3)), TypeError, "float64.*int64"),
        ),
    ),
    "sgd_update": Row(
        updated("sgd_update", 0, 2),
        reference_sgd,
        tuple(
            Case(
                (
                    Reals(shape),
                    Reals(shape),
                    Reals(shape) if momentum else None,
                    *hypers(step, 0.1, momentum, 0.5, decay, *l1),
                ),
                {"nesterov": nesterov},
            )
            for shape in SHAPES
            for momentum, step, nesterov, decay, l1 in [
                (0.0, None, False, None, ()),
                (0.0, None, False, 0.01, (0.2,)),
                (0.9, 0, False, 0.01, ()),
                (0.9, 1, False, None, (0.2,)),
                (0.9, 1, True, 0.01, (0.2,)),
            ]
        ),
        order=0,
        writes=(0, 2, 3),
    ),
    "adagrad_update": Row(
        updated("adagrad_update", 0, 2),
        reference_adagrad,
        tuple(
            Case(
                (
                    *(Reals(shape) for _ in range(2)),
                    Reals(shape, POSITIVE),
                    *hypers(step, 0.1, 0.3, 1e-10, decay, *l1),
                )
            )
            for shape in SHAPES
            for step, decay, l1 in [(0, 0.01, ()), (2, 0.01, (0.2,)), (2, None, ())]
        ),
        order=0,
        writes=(0, 2, 3),
    ),
    "rmsprop_update": Row(
        updated("rmsprop_update", 0, 2, 3, 4),
        reference_rmsprop,
        tuple(
            Case(
                (
                    *(Reals(shape) for _ in range(2)),
                    Reals(shape, ((1.0, 3.0),)),
                    Reals(shape, ((-0.5, 0.5),)) if centered else None,
                    Reals(shape) if momentum else None,
                    *hypers(2, 0.1, 0.9, 1e-8, decay, momentum, *l1),
                )
            )
            for shape in SHAPES
            for centered, momentum, decay, l1 in [
                (False, 0.0, None, ()),
                (True, 0.0, 0.01, (0.2,)),
                (False, 0.9, None, (0.2,)),
                (True, 0.9, 0.01, ()),
            ]
        ),
        order=0,
        writes=(0, 2, 3, 4, 5),
    ),
    "adam_update": Row(
        updated("adam_update", 0, 2, 3),
        reference_adam,
        tuple(
            Case(
                (
                    *(Reals(shape) for _ in range(3)),
                    Reals(shape, POSITIVE),
                    *hypers(step, 0.1, 0.9, 0.99, 1e-8, decay, *l1),
                ),
                {"decoupled": decoupled},
            )
            for shape in SHAPES
            for step, decay, decoupled, l1 in [
                (0, 0.0, False, ()),
                (1, None, False, (0.2,)),
                (1, None, True, ()),
                (2, 0.1, False, ()),
                (2, 0.1, False, (0.2,)),
                (1, 0.1, True, ()),
                (1, 0.1, True, (0.2,)),
            ]
        ),
        order=0,
        writes=(0, 2, 3, 4),
    ),
    "total_norm": Row(
        TABLE["total_norm"],
        lambda *gs: np.linalg.norm(together(gs)),
        tuple(Case(tuple(map(Reals, shapes))) for shapes in GRADIENTS),
        order=0,
        result=lambda dtype: DOUBLE,
    ),
    "total_p_norm": Row(
        TABLE["total_p_norm"],
        lambda *gs, norm_type: np.linalg.norm([0.0, *together(gs)], norm_type),
        tuple(
            Case(tuple(map(Reals, shapes)), {"norm_type": norm_type})
            for shapes in GRADIENTS
            for norm_type in (1.0, 2.0, 3.5, math.inf)
        ),
        order=0,
        result=lambda dtype: DOUBLE,
    ),
    "scale_update": Row(
        updated("scale_update", 0),
        lambda g, factor: g * factor,
        tuple(Case((Reals(shape), *hypers(factor))) for shape in SHAPES for factor in (0.3, 1.0)),
        order=0,
        writes=(0,),
    ),
    "limit_update": Row(
        updated("limit_update", 0),
        lambda g, limit: np.clip(g, -limit, limit),
        tuple(
            Case((Reals(shape),), {"limit": limit}) for shape in SHAPES for limit in (0.0, 0.5, 9.0)
        ),
        order=0,
        writes=(0,),
    ),
}
