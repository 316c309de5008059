"""Comparisons, logic and bits: what has no derivative."""

import math

import numpy as np

import minigrad as mg

from .rows import *


def predicate(f, reference, **more):
    """A function to booleans, on floats that are often equal and on nan and inf."""
    special = [[math.nan, math.inf, -math.inf], [0.0, -0.0, 1.0]]
    cases = (Case((Given(special),)), Case((Given(0.0),)), Case((Given(np.empty((0, 2))),)))
    return Row(f, reference, cases, order=0, result=boolean, **more)


def comparison(f, reference):
    special = [[math.nan, math.inf, -math.inf], [0.0, -0.0, 1.0]]
    cases = (
        Case((Given(special), Given(special[1]))),
        Case((Given(special), Given(np.inf))),
        Case((Given(0.0), Given(0.0))),
        Case((Reals((0,)), Reals((2, 1)))),
    )
    dtypes = (*FLOATS, COMPLEX) if f in (mg.equal, mg.not_equal) else FLOATS
    more = dict(result=boolean, wrong=(NO_FIT,))
    return Row(f, reference, cases, order=0, dtypes=dtypes, **more)


def logical(f, reference, inputs=2, result=boolean, kinds=(Bools, Ints)):
    """A function of truth values, or with `result` of bits."""
    cases = tuple(
        Case(tuple(map(kind, shapes[:inputs])))
        for kind in kinds
        for shapes in [((), ()), ((2, 3), (3,)), ((0,), (1,)), ((2, 1), (1, 3))]
    )
    return Row(f, reference, cases, order=0, result=result)


def bitwise(f, reference, inputs=2, **more):
    return logical(f, reference, inputs, result=lambda dtype: dtype, **more)


PREDICATES = {
    "equal": comparison(mg.equal, np.equal),
    "not_equal": comparison(mg.not_equal, np.not_equal),
    "less": comparison(mg.less, np.less),
    "less_equal": comparison(mg.less_equal, np.less_equal),
    "greater": comparison(mg.greater, np.greater),
    "greater_equal": comparison(mg.greater_equal, np.greater_equal),
    "logical_and": logical(mg.logical_and, np.logical_and),
    "logical_or": logical(mg.logical_or, np.logical_or),
    "logical_xor": logical(mg.logical_xor, np.logical_xor),
    "logical_not": logical(mg.logical_not, np.logical_not, inputs=1),
    "bitwise_and": bitwise(lambda x, y: x & y, np.bitwise_and),
    "bitwise_or": bitwise(lambda x, y: x | y, np.bitwise_or),
    "bitwise_xor": bitwise(lambda x, y: x ^ y, np.bitwise_xor),
    "bitwise_invert": bitwise(lambda x: ~x, np.bitwise_invert, inputs=1),
    "bitwise_left_shift": bitwise(lambda x, y: x << y, np.left_shift, kinds=(Ints,)),
    "bitwise_right_shift": bitwise(lambda x, y: x >> y, np.right_shift, kinds=(Ints,)),
    "isnan": predicate(mg.isnan, np.isnan),
    "isinf": predicate(mg.isinf, np.isinf),
    "isfinite": predicate(mg.isfinite, np.isfinite),
    "signbit": predicate(mg.signbit, np.signbit),
}
