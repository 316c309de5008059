"""Reductions."""

import math

import numpy as np

import minigrad as mg
from minigrad.ops.reductions import spread, sum_to

from .rows import *


def reduction(f, reference, empty=ValueError, options=(), given=(), wrong=(), **more):
    """A reduction over axes. empty: its value without elements, or the error.

    options: params of one case each; given: values and params of one case each.
    """
    cases = tuple(Case((Reals(shape),), params) for shape, params in REDUCED)
    cases += tuple(Case((Reals((2, 3)),), {**params, "axis": 1}) for params in options)
    cases += tuple(Case((Given(values),), params) for values, params in given)
    if not isinstance(empty, type):
        cases += (Case((Reals((0,)),)), Case((Reals((2, 0)),), {"axis": 1}))
    else:
        divides = empty is FloatingPointError  # 0 by 0
        wrong += (Wrong((np.ones((2, 0)),), empty, r"\(2, 0\)", {"axis": 1}, host_only=divides),)
    wrong += (*NO_AXIS, TWICE, *TORCH_NAMES)
    return Row(f, reference, cases, wrong=wrong, **more)


def truth(f, reference):
    cases = tuple(Case((Bools(shape),), params) for shape, params in REDUCED)
    cases += (Case((Ints((2, 3), 0, 2),), {"axis": 1}), Case((Bools((0,)),)))
    wrong = (*NO_AXIS, *TORCH_NAMES)
    return Row(f, reference, cases, order=0, result=boolean, wrong=wrong)


def reference_norm(x, ord=2, axis=None, keepdims=False):
    if not x.size and ord == np.inf:  # an error in NumPy 2.1
        ord = 1
    return np.linalg.vector_norm(x, ord=ord, axis=axis, keepdims=keepdims)


def search(f, reference):
    cases = tuple(
        Case((Reals(shape),), params) for shape, params in [((), {}), ((2, 3), {}), *ALONG]
    )
    cases += (Case((Given([[1.0, 2.0, 2.0, 1.0]]),), {"axis": 1, "keepdims": True}),)
    wrong = (*NO_AXIS, *TORCH_NAMES, Wrong((np.ones(0),), ValueError, r"\(0,\)"))
    return Row(f, reference, cases, order=0, result=index, wrong=wrong)


def reference_logsumexp(x, axis=None, keepdims=False):
    with np.errstate(divide="ignore"):  # of nothing, or of -inf
        return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


def reference_variance(x, axis=None, correction=0, keepdims=False):
    return np.var(x, axis=axis, ddof=correction, keepdims=keepdims)


def reference_deviation(x, axis=None, correction=0, keepdims=False):
    return np.sqrt(reference_variance(x, axis, correction, keepdims))


def reference_sum_to(x, shape):
    while x.ndim > len(shape):
        x = x.sum(axis=0)
    narrow = tuple(i for i, n in enumerate(shape) if n == 1 != x.shape[i])
    return x.sum(axis=narrow, keepdims=True)


REDUCTIONS = {
    "sum": reduction(mg.sum, np.sum, empty=0, dtypes=(*NUMBERS, BOOL), result=summed),
    "sum_to": Row(
        sum_to,
        reference_sum_to,
        tuple(
            Case((Reals(shape),), {"shape": target})
            for shape, target in [
                ((2, 3), ()),
                ((2, 3), (3,)),
                ((2, 3), (2, 1)),
                ((4, 2, 3), (1, 3)),
                ((0, 3), (1, 3)),
                ((2, 3), (2, 3)),
                ((), ()),
            ]
        ),
    ),
    "spread": Row(
        spread,
        lambda x, shape, axis: np.zeros(shape) + (np.expand_dims(x, axis) if x.ndim else x),
        (
            Case((Reals(()),), {"shape": (2, 3), "axis": (0, 1)}),
            Case((Reals((3,)),), {"shape": (2, 3), "axis": (0,)}),
            Case((Reals((3,)),), {"shape": (2, 3, 4), "axis": (0, 2)}),
            Case((Reals((0,)),), {"shape": (0, 3), "axis": (1,)}),
        ),
    ),
    "mean": reduction(mg.mean, np.mean, empty=FloatingPointError, result=floating),
    "var": reduction(
        mg.var,
        reference_variance,
        empty=FloatingPointError,
        options=[{"correction": 1}, {"correction": 0.5}],
        result=floating,
    ),
    "std": Row(
        mg.std,
        reference_deviation,
        (
            *(Case((Reals((2, 3)),), params) for shape, params in REDUCED if shape == (2, 3)),
            Case((Reals((3, 1, 2)),), {"axis": (0, -2), "keepdims": True}),
            Case((Reals((2, 3)),), {"axis": 1, "correction": 1}),
        ),
        result=floating,
        kinks=(
            Kink(([2.0, 2.0, 2.0],), ([0.0, 0.0, 0.0],)),
            Kink(([[2.0, 2.0], [0.0, 2.0]],), ([[0.0, 0.0], [-0.5, 0.5]],), {"axis": 1}),
            Kink((3.0,), (0.0,)),
        ),
        wrong=(*NO_AXIS, TWICE, *TORCH_NAMES),
    ),
    "norm": reduction(
        mg.norm,
        reference_norm,
        empty=0,
        options=[{"ord": p} for p in (0, 1, 1.5, 3, 0.5, -1, math.inf, -math.inf)],
        given=(
            ([[1.0, 0.0], [2.0, -3.0]], {"axis": 1}),
            ([], {"ord": math.inf}),
        ),
        result=floating,
        kinks=(
            *(Kink(([0.0, 0.0],), ([0.0, 0.0],), {"ord": p}) for p in (0, 1, 1.5, 2, 3, math.inf)),
            Kink(([3.0, 0.0],), ([1.0, 0.0],), {"ord": 1.5}),
            Kink(([3.0, 0.0],), ([1.0, 0.0],), {"ord": 1}),
            Kink(([2.0, -2.0, 1.0],), ([0.5, -0.5, 0.0],), {"ord": math.inf}),
            Kink(([2.0, -2.0, 4.0],), ([0.5, -0.5, 0.0],), {"ord": -math.inf}),
        ),
        wrong=(Wrong((np.ones(2),), TypeError, "number.*'fro'", {"ord": "fro"}),),
    ),
    "max": reduction(
        mg.max,
        np.max,
        dtypes=(*FLOATS, *INTEGERS),
        kinks=(
            Kink(([1.0, 3.0, 3.0],), ([0.0, 0.5, 0.5],)),
            Kink(([[2.0, 2.0], [2.0, 1.0]],), ([[1 / 3, 1 / 3], [1 / 3, 0.0]],)),
            Kink(([[2.0, 2.0], [2.0, 1.0]],), ([[0.5, 0.5], [1.0, 0.0]],), {"axis": 1}),
        ),
    ),
    "min": reduction(
        mg.min,
        np.min,
        dtypes=(*FLOATS, *INTEGERS),
        kinks=(Kink(([1.0, 1.0, 3.0],), ([0.5, 0.5, 0.0],)),),
    ),
    "logsumexp": reduction(
        mg.logsumexp,
        reference_logsumexp,
        empty=-math.inf,
        result=floating,
        kinks=(
            Kink(([1000.0, 1000.0],), ([0.5, 0.5],)),
            Kink(([-math.inf, 0.0],), ([0.0, 1.0],)),
            Kink(([-math.inf, -math.inf],), ([0.0, 0.0],)),
            Kink(([math.inf, 0.0, math.inf],), ([0.5, 0.0, 0.5],)),
        ),
    ),
    "count_nonzero": Row(
        mg.count_nonzero,
        np.count_nonzero,
        (
            *(Case((Ints(shape),), params) for shape, params in REDUCED),
            Case((Given([[0.0, math.nan], [-0.0, 2.0]]),), {"axis": 0}),
            Case((Bools((2, 3)),), {"axis": 1}),
            Case((Reals((0,)),)),
        ),
        order=0,
        dtypes=(*FLOATS, COMPLEX),
        result=index,
        wrong=(*NO_AXIS, TWICE, *TORCH_NAMES),
    ),
    "any": truth(mg.any, np.any),
    "all": truth(mg.all, np.all),
    "argmax": search(mg.argmax, np.argmax),
    "argmin": search(mg.argmin, np.argmin),
}
