"""Elementwise functions."""

import math

import numpy as np

import minigrad as mg
from minigrad.engine import TABLE

from .rows import *

ELEMENTWISE = {
    "absorb": binary(
        mg.absorb,
        lambda x, a: np.where(x == 0, 0, x * a),
        x=AWAY_FROM_0,
        kinks=(
            Kink((0.0, math.inf), (math.inf, 0.0)),
            Kink((0.0, math.nan), (math.nan, 0.0)),
            Kink((2.0, 0.0), (0.0, 2.0)),
        ),
    ),
    "absorb_both": binary(
        TABLE["absorb_both"],
        np.multiply,
        kinks=(
            Kink((0.0, math.inf), (math.inf, 0.0)),
            Kink((math.nan, 0.0), (0.0, math.nan)),
            Kink((2.0, 3.0), (3.0, 2.0)),
        ),
    ),
    "where": Row(
        lambda condition, x, y: mg.where(condition, x, y),
        lambda condition, x, y: np.where(condition, x, y),
        (
            *(Case((Bools(a), Reals(b), Reals(c))) for a, b, c in [((), (), ()), ((2, 3),) * 3]),
            *(Case((Bools((2, 1)), Reals(b), Reals(c))) for b, c in [((3,), ()), ((0,), (1, 1))]),
            Case((Bools((2, 3)), Reals((3,))), {"y": 0.5}),
            Case((Ints((2, 3), 0, 2), Reals((3,)), Reals((2, 1)))),
        ),
        wrong=(
            Wrong(
                (np.ones(2, bool), np.ones((2, 3)), np.ones(3)),
                ValueError,
                r"axis -1 has lengths 2 and 3 and 3.*\(2,\).*\(2, 3\)",
            ),
        ),
    ),
    "add": binary(lambda x, y: x + y, np.add, dtypes=NUMBERS),
    "subtract": binary(lambda x, y: x - y, np.subtract, dtypes=NUMBERS),
    "multiply": binary(lambda x, y: x * y, np.multiply, dtypes=NUMBERS),
    "divide": binary(
        lambda x, y: x / y, np.divide, y=AWAY_FROM_0, dtypes=(*FLOATS, COMPLEX), result=floating
    ),
    "reciprocal": unary(
        mg.reciprocal, np.reciprocal, AWAY_FROM_0, dtypes=(*FLOATS, COMPLEX), result=floating
    ),
    "floor_divide": binary(lambda x, y: x // y, np.floor_divide, y=AWAY_FROM_0),
    "remainder": binary(lambda x, y: x % y, np.remainder, y=AWAY_FROM_0),
    "pow": binary(
        lambda x, y: x**y,
        lambda x, y: np.power(x, y),
        x=POSITIVE,
        cases=(
            *(Case((Reals((2, 3), AWAY_FROM_0),), {"y": y}) for y in (0, 1, 2, 3, 2.0)),
            *(Case((Reals((2, 3), ABOVE),), {"y": y}) for y in (-1, -2.0)),
            Case((Reals((2, 3), POSITIVE),), {"y": 0.5}),
            Case((Reals((3,), POSITIVE), Ints((2, 1)))),
        ),
        kinks=(
            Kink((0.0,), (0.0,), {"y": 0}),
            Kink(([-1.0, 0.0, 2.0],), ([0.0, 0.0, 0.0],), {"y": 0.0}),
            Kink(([-1.0, 0.0, 2.0],), ([1.0, 1.0, 1.0],), {"y": 1}),
            Kink(([-1.0, 0.0, 2.0],), ([-2.0, 0.0, 4.0],), {"y": 2}),
            Kink((0.0, 0.0), (0.0, 0.0)),
            Kink((0.0, 2.0), (0.0, 0.0)),
            Kink((0.0, 0.5), (math.inf, 0.0)),
            Kink((-2.0, 2.0), (-4.0, math.nan)),
            Kink((0.0,), (math.inf,), {"y": 0.5}),
        ),
    ),
    "square": unary(mg.square, np.square, dtypes=NUMBERS),
    "positive": unary(lambda x: +x, np.positive, dtypes=NUMBERS),
    "negative": unary(lambda x: -x, np.negative, dtypes=NUMBERS),
    "conj": unary(mg.conj, np.conj, dtypes=NUMBERS),
    "real": unary(mg.real, np.real, dtypes=(*NUMBERS, BOOL), result=part),
    "imag": unary(mg.imag, np.imag, dtypes=(*NUMBERS, BOOL), result=part),
    "abs": unary(mg.abs, np.abs, AWAY_FROM_0, kinks=(Kink((0.0,), (0.0,)),)),
    "sign": unary(mg.sign, np.sign, AWAY_FROM_0, kinks=(Kink((0.0,), (0.0,)),)),
    "exp": unary(mg.exp, np.exp, result=floating),
    "log": unary(mg.log, np.log, POSITIVE, result=floating),
    "sqrt": unary(mg.sqrt, np.sqrt, POSITIVE, result=floating, kinks=(Kink((0.0,), (math.inf,)),)),
    "tanh": unary(mg.tanh, np.tanh, result=floating),
    "sigmoid": unary(
        mg.sigmoid,
        lambda x: 1 / (1 + np.exp(-x)),
        result=floating,
        kinks=(Kink(([-1000.0, 1000.0],), ([0.0, 0.0],)),),
    ),
    "relu": unary(mg.relu, lambda x: np.maximum(x, 0), AWAY_FROM_0, kinks=(Kink((0.0,), (0.0,)),)),
}
