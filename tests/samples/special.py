"""Special functions."""

import math

import numpy as np

import minigrad as mg

from .rows import *

INF = math.inf


def polygamma(x, n):
    """By recurrence to x + 1000, where four terms of the asymptotic series are enough."""
    f, w = math.factorial, x + 1000
    terms = [f(n) / (x + k) ** (n + 1) for k in range(1000)]
    terms += [f(n - 1) / w**n if n else -math.log(w), f(n) / 2 / w ** (n + 1)]
    terms += [f(n + 1) / 12 / w ** (n + 2), -f(n + 3) / 720 / w ** (n + 4)]
    return (-1) ** (n + 1) * math.fsum(terms)


def each(f):
    """A function of one number, of arrays."""
    return np.vectorize(f, otypes=[float])


COMPLEX_INPUT = (np.ones(3, complex),), TypeError, "expected real numbers, not complex128"
NOT_REAL = Wrong(*COMPLEX_INPUT)
GAMMA = ((-1.8, -1.2), (-0.8, -0.2), (0.3, 4.0))

SPECIAL = {
    "erf": unary(
        mg.erf,
        each(math.erf),
        result=floating,
        kinks=(Kink(([-INF, 0.0, INF],), ([0.0, 2 / math.sqrt(math.pi), 0.0],)),),
        wrong=(NOT_REAL,),
    ),
    "erfc": unary(
        mg.erfc,
        each(math.erfc),
        result=floating,
        kinks=(Kink(([-INF, 0.0, INF],), ([0.0, -2 / math.sqrt(math.pi), 0.0],)),),
        wrong=(NOT_REAL,),
    ),
    "lgamma": unary(mg.lgamma, each(math.lgamma), GAMMA, result=floating, wrong=(NOT_REAL,)),
    "polygamma": Row(
        lambda x, n: mg.polygamma(n, x),
        each(polygamma),
        (
            *(Case((Reals(shape, GAMMA),), {"n": 0}) for shape in SHAPES),
            Case((Reals((2, 3), GAMMA),), {"n": 1}),
            *(Case((Reals((2, 3), ABOVE),), {"n": n}) for n in (2, 3)),
        ),
        result=floating,
        wrong=(
            Wrong(*COMPLEX_INPUT, {"n": 0}),
            *(
                Wrong((np.ones(2),), ValueError, f"an integer of at least 0, got {n}", {"n": n})
                for n in (-1, 0.5)
            ),
        ),
    ),
    "sinc": Row(
        mg.sinc,
        np.sinc,
        (
            *(Case((Reals(shape),)) for shape in SHAPES),
            Case((Given([0.0, 1e-9, -1e-4, 0.5, 1.0, -2.0]),)),
        ),
        result=floating,
        kinks=(Kink(([0.0, 1.0, -2.0, INF],), ([0.0, -1.0, -0.5, 0.0],)),),
        wrong=(NOT_REAL,),
    ),
    "softplus": Row(
        mg.softplus,
        lambda x, beta=1.0: np.logaddexp(0, beta * x) / beta,
        (
            *(Case((Reals(shape),)) for shape in SHAPES),
            *(Case((Reals((2, 3)),), {"beta": beta}) for beta in (0.5, 3)),
        ),
        result=floating,
        kinks=(Kink(([-INF, -1000.0, 1000.0, INF],), ([0.0, 0.0, 1.0, 1.0],)),),
        wrong=(
            NOT_REAL,
            Wrong((np.ones(2),), ValueError, "beta must be above 0, got 0", {"beta": 0}),
        ),
    ),
    "logaddexp": binary(
        lambda x, y: mg.logaddexp(x, y),
        lambda x, y: np.logaddexp(x, y),
        cases=(
            *(Case((Reals((2, 3)),), {"y": y}) for y in (2, 0.5)),
            Case((Given([-1000.0, 1000.0]), Given([1000.0, 999.0]))),
        ),
        result=floating,
        kinks=(
            Kink((-INF, -INF), (0.5, 0.5)),
            Kink((INF, INF), (0.5, 0.5)),
            Kink(([-INF, INF, -INF], [1.0, 2.0, INF]), ([0.0, 1.0, 0.0], [1.0, 0.0, 1.0])),
        ),
    ),
    "xlogy": binary(
        lambda x, y: mg.xlogy(x, y),
        lambda x, y: np.where(x == 0, 0, x * np.log(y)),
        y=POSITIVE,
        cases=(Case((Reals((3,)),), {"y": 2}), Case((Given([0.0, 1.0]),), {"y": 0.5})),
        result=floating,
        kinks=(
            Kink(([0.0, 0.0, 0.0], [0.0, -1.0, 2.0]), ([0.0, 0.0, math.log(2)], [0.0] * 3)),
            Kink((0.0,), (0.0,), {"y": 0}),
        ),
    ),
}
