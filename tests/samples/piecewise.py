"""Elementwise functions in pieces: rounding and signs."""

import numpy as np

import minigrad as mg

from .rows import *

BETWEEN = ((-1.4, -1.1), (0.6, 0.9), (-1.9, -1.6), (0.1, 0.4))  # whole numbers and halves
JUMPS = [-2.0, -0.5, 0.0, 0.5, 1.0]


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
}
