"""Activation functions."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np

import minigrad as mg

from .rows import *


def reference_softmax(x, axis=-1):
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


def reference_gelu(x, approximate="none"):
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x * np.vectorize(lambda v: math.erfc(-v / math.sqrt(2)) / 2, otypes=[float])(x)


def reference_elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def reference_hardsigmoid(x):
    return np.clip(x / 6 + 0.5, 0, 1)


def reference_prelu(x, weight):
    weight = weight.reshape(-1, *[1] * (x.ndim - 2)) if x.ndim > 1 else weight[0]
    return np.where(x > 0, x, weight * x)


def reference_glu(x, axis=-1):
    value, gate = np.split(x, 2, axis)
    return value / (1 + np.exp(-gate))


def around(*kinks):
    """A domain that has these kinks."""
    edges = [kinks[0] - 2, *kinks, kinks[-1] + 2]
    return tuple((low + 0.2, high - 0.2) for low, high in pairwise(edges))


def bent(f, reference, slopes, domain, params=None):
    """With other params than the defaults in one more case. slopes: by place."""
    row = unary(f, reference, domain, result=floating)
    kinks = (Kink((list(slopes),), (list(slopes.values()),)),)
    return replace(row, kinks=kinks, cases=(*row.cases, Case((Reals((2, 3), domain),), params)))


def smooth(f, reference, middle):
    """middle: the slope at 0; far away it is 0 and 1."""
    return bent(f, reference, {-1e4: 0.0, 0.0: middle, 1e4: 1.0}, ((-4.0, 4.0),), {})


SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772

ACTIVATIONS = {
    "gelu": replace(
        smooth(mg.gelu, reference_gelu, 0.5),
        cases=tuple(
            Case((Reals((2, 3), ((-4.0, 4.0),)),), params)
            for params in ({}, {"approximate": "none"}, {"approximate": "tanh"})
        ),
        kinks=tuple(
            Kink(([-1e4, -300.0, 0.0, 300.0, 1e4],), ([0.0, 0.0, 0.5, 1.0, 1.0],), params)
            for params in ({}, {"approximate": "tanh"})
        ),
        wrong=(Wrong((np.ones(2),), ValueError, "\"tanh\", not 'erf'", {"approximate": "erf"}),),
    ),
    "silu": smooth(mg.silu, lambda x: x / (1 + np.exp(-x)), 0.5),
    "mish": smooth(mg.mish, lambda x: x * np.tanh(np.log1p(np.exp(x))), 0.6),
    "elu": bent(
        mg.elu, reference_elu, {-1e4: 0.0, 0.0: 1.0, 1e4: 1.0}, around(0.0), {"alpha": 0.7}
    ),
    "selu": bent(
        mg.selu,
        lambda x: SCALE * reference_elu(x, ALPHA),
        {-1e4: 0.0, 0.0: SCALE * ALPHA, 1e4: SCALE},
        around(0.0),
        {},
    ),
    "celu": replace(
        bent(
            mg.celu,
            lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha)),
            {-1e4: 0.0, 0.0: 1.0, 1e4: 1.0},
            around(0.0),
            {"alpha": 0.7},
        ),
        wrong=(Wrong((np.ones(2),), ValueError, "above 0, got 0", {"alpha": 0}),),
    ),
    "leaky_relu": bent(
        mg.leaky_relu,
        lambda x, negative_slope=0.01: np.where(x > 0, x, negative_slope * x),
        {-1e4: 0.01, 0.0: 0.01, 1e4: 1.0},
        around(0.0),
        {"negative_slope": 0.3},
    ),
    "prelu": Row(
        mg.prelu,
        reference_prelu,
        (
            Case((Reals((3,), around(0.0)), Reals((1,)))),
            Case((Reals((), around(0.0)), Reals((1,)))),
            Case((Reals((2, 3), around(0.0)), Reals((3,)))),
            Case((Reals((2, 3, 2), around(0.0)), Reals((3,)))),
            Case((Reals((0, 3)), Reals((3,)))),
        ),
        kinks=(Kink(([-1e4, 0.0, 1e4], [0.5]), ([0.5, 0.5, 1.0], [-1e4])),),
        wrong=(
            Wrong((np.ones((2, 3)), np.ones(2)), ValueError, r"axis 1.*\(2, 3\).*\(2,\)"),
            Wrong((np.ones(3), np.ones(3)), ValueError, r"\(3,\)"),
        ),
    ),
    "hardtanh": replace(
        bent(
            mg.hardtanh,
            lambda x, min_val=-1.0, max_val=1.0: np.clip(x, min_val, max_val),
            {-1e4: 0.0, -1.0: 0.0, 0.5: 1.0, 1.0: 0.0, 1e4: 0.0},
            around(-2.0, -1.0, 1.0),
            {"min_val": -2.0, "max_val": 1.0},
        ),
        wrong=(Wrong((np.ones(2),), ValueError, "1 and -1", {"min_val": 1, "max_val": -1}),),
    ),
    "relu6": bent(
        mg.relu6,
        lambda x: np.clip(x, 0, 6),
        {-1e4: 0.0, 0.0: 0.0, 1.0: 1.0, 6.0: 0.0, 1e4: 0.0},
        around(0.0, 6.0),
        {},
    ),
    "hardsigmoid": bent(
        mg.hardsigmoid,
        reference_hardsigmoid,
        {-1e4: 0.0, -3.0: 0.0, 0.0: 1 / 6, 3.0: 0.0, 1e4: 0.0},
        around(-3.0, 3.0),
        {},
    ),
    "hardswish": bent(
        mg.hardswish,
        lambda x: x * reference_hardsigmoid(x),
        {-1e4: 0.0, -3.0: 0.0, 0.0: 0.5, 3.0: 1.0, 1e4: 1.0},
        around(-3.0, 3.0),
        {},
    ),
    "glu": Row(
        mg.glu,
        reference_glu,
        tuple(
            Case((Reals(shape),), params)
            for shape, params in [
                ((4,), {}),
                ((2, 4), {"axis": 1}),
                ((2, 3), {"axis": 0}),
                ((2, 2, 2), {"axis": -2}),
                ((0, 2), {}),
            ]
        ),
        result=floating,
        kinks=(Kink(([3.0, -1e4],), ([0.0, 0.0],)), Kink(([3.0, 1e4],), ([1.0, 0.0],))),
        wrong=(
            *NO_AXIS,
            TORCH_NAMES[0],
            Wrong((np.ones((2, 3)),), ValueError, r"axis 1 .*even.*\(2, 3\)"),
        ),
    ),
    "softmax": Row(
        mg.softmax,
        reference_softmax,
        tuple(Case((Reals(shape),), params) for shape, params in [*ALONG, ((0, 3), {})]),
        result=floating,
        wrong=(*NO_AXIS, TORCH_NAMES[0]),
        kinks=(Kink(([1000.0, 1000.0],), ([0.0, 0.0],)),),
    ),
    "log_softmax": Row(
        mg.log_softmax,
        lambda x, axis=-1: np.log(reference_softmax(x, axis)),
        tuple(Case((Reals(shape),), params) for shape, params in [*ALONG, ((0, 3), {})]),
        result=floating,
        wrong=(*NO_AXIS, TORCH_NAMES[0]),
        kinks=(Kink(([1000.0, -1000.0],), ([-1.0, 1.0],)),),
    ),
}
