"""Circular and hyperbolic functions, their inverses, and what is near exp and log."""

import math

import numpy as np

import minigrad as mg

from .rows import *

INSIDE = ((-0.9, 0.9),)  # between -1 and 1


def function(name, domain=ALL, *singular, reference=None):
    """A row for a function of one number; singular: (where, its derivative there)."""
    kinks = tuple(Kink((at,), (derivative,)) for at, derivative in singular)
    reference = reference or getattr(np, name)
    return unary(getattr(mg, name), reference, domain, kinks=kinks, result=floating)


TRANSCENDENTAL = {
    "sin": function("sin"),
    "cos": function("cos"),
    "tan": function("tan", ((-1.2, 1.2),)),
    "asin": function("asin", INSIDE, (1.0, math.inf), (-1.0, math.inf)),
    "acos": function("acos", INSIDE, (1.0, -math.inf), (-1.0, -math.inf)),
    "atan": function("atan"),
    "atan2": binary(
        lambda y, x: mg.atan2(y, x),
        lambda y, x: np.arctan2(y, x),
        x=AWAY_FROM_0,
        y=AWAY_FROM_0,
        result=floating,
        cases=(Case((Reals((2, 3), AWAY_FROM_0),), {"x": 2.0}),),
        kinks=(
            Kink((0.0, 0.0), (0.0, 0.0)),
            Kink((0.0, 2.0), (0.5, 0.0)),
            Kink((2.0, 0.0), (0.0, -0.5)),
        ),
    ),
    "hypot": binary(
        lambda x, y: mg.hypot(x, y),
        lambda x, y: np.hypot(x, y),
        x=AWAY_FROM_0,
        y=AWAY_FROM_0,
        result=floating,
        cases=(Case((Reals((2, 3), AWAY_FROM_0),), {"y": 2}),),
        kinks=(
            Kink((0.0, 0.0), (0.0, 0.0)),
            Kink((0.0, -2.0), (0.0, -1.0)),
        ),
    ),
    "sinh": function("sinh"),
    "cosh": function("cosh"),
    "asinh": function("asinh"),
    "acosh": function("acosh", ((1.2, 3.0),), (1.0, math.inf)),
    "atanh": function("atanh", INSIDE, (0.0, 1.0)),
    "expm1": function("expm1", ALL, (0.0, 1.0)),
    "log1p": function("log1p", ((-0.7, 2.0),), (0.0, 1.0)),
    "exp2": function("exp2"),
    "log2": function("log2", POSITIVE),
    "log10": function("log10", POSITIVE),
}
