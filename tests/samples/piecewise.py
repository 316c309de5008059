"""Elementwise functions in pieces: rounding, signs, limits."""

import numpy as np

import minigrad as mg

from .rows import *

BETWEEN = ((-1.4, -1.1), (0.6, 0.9), (-1.9, -1.6), (0.1, 0.4))  # whole numbers and halves
JUMPS = [-2.0, -0.5, 0.0, 0.5, 1.0]


def halves(x, y):
    """Ties: one half of the cotangent each."""
    return Kink((x, y), (np.full(np.shape(x), 0.5), np.full(np.shape(y), 0.5)))


def rounding(name):
    return unary(
        getattr(mg, name),
        getattr(np, name),
        BETWEEN,
        dtypes=(*FLOATS, *INTEGERS),
        kinks=(Kink((JUMPS,), ([0.0] * 5,)),),
    )


PIECEWISE = {
    "floor": rounding("floor"),
    "ceil": rounding("ceil"),
    "trunc": rounding("trunc"),
    "round": Row(
        mg.round,
        np.round,
        (
            *rounding("round").cases,
            Case((Given([-1.5, -0.5, 0.5, 1.5, 2.5, -0.0]),), order=0),
            Case((Reals((2, 3)),), {"decimals": 1}, order=0),
            Case((Given([15.0, 25.0, -25.0]),), {"decimals": -1}, order=0),
        ),
        dtypes=(*FLOATS, *INTEGERS, COMPLEX),
        kinks=(Kink((JUMPS,), ([0.0] * 5,)),),
    ),
    "copysign": binary(
        mg.copysign,
        np.copysign,
        x=AWAY_FROM_0,
        y=AWAY_FROM_0,
        result=floating,
        kinks=(
            Kink(([0.0, -0.0], [1.0, -1.0]), ([0.0, 0.0], [0.0, 0.0])),
            Kink(([2.0, -2.0], [-0.0, -0.0]), ([-1.0, 1.0], [0.0, 0.0])),
        ),
    ),
    "nextafter": binary(mg.nextafter, np.nextafter, y=((5.0, 6.0),), result=floating),
    "maximum": binary(mg.maximum, np.maximum, kinks=(halves(0.0, 0.0), halves([1.0], [1.0]))),
    "minimum": binary(mg.minimum, np.minimum, kinks=(halves(0.0, 0.0), halves([1.0], [1.0]))),
    "clip": Row(
        mg.clip,
        lambda x, min=None, max=None: np.minimum(
            np.maximum(x, -np.inf if min is None else min), np.inf if max is None else max
        ),
        (
            *(Case((Reals(shape),), {"min": -0.5, "max": 0.7}) for shape in SHAPES),
            Case((Reals((2, 3)),), {"min": 0.1}),
            Case((Reals((2, 3)),), {"max": 0.1}),
            Case((Reals((2, 3)),)),
            Case((Reals((2, 3)), Reals((3,), BELOW), Reals((2, 1), ABOVE))),
            Case((Reals((2, 3)), None, Reals((), ABOVE))),
        ),
        kinks=(
            Kink(([-1.0, 0.0, 1.0],), ([1.0, 1.0, 1.0],), {"min": -1.0, "max": 1.0}),
            Kink(([2.0, 0.0],), ([0.0, 0.0],), {"min": 1.0, "max": -1.0}),
        ),
        wrong=(NO_FIT,),
    ),
}
