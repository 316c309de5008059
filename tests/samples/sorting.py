"""Sorting, searching in what is sorted, and order statistics."""

import math

import numpy as np

import minigrad as mg
from minigrad.ops.sorting import _reorder, _share, _tie_mean, _tied

from .reductions import reduction
from .rows import *

WRONG_AXIS = (
    *NO_AXIS,
    TORCH_NAMES[0],
    Wrong((1.0,), np.exceptions.AxisError, "axis -1"),
    Wrong((np.ones((2, 3)),), TypeError, "one axis", {"axis": None}),
)
TIED = [[2.0, -1.0, 2.0, -1.0, 0.5], [3.0, 3.0, 3.0, -2.0, 3.0]]
QUANTILES = (
    "hazen",
    "higher",
    "interpolated_inverted_cdf",
    "lower",
    "median_unbiased",
    "midpoint",
    "nearest",
    "normal_unbiased",
    "weibull",
)
NANS = [2.0, math.nan, -math.inf, math.nan, 2.0, math.inf]


def along(*more):
    """Cases along an axis, ascending and descending."""
    lines = [*((Reals(shape), params) for shape, params in ALONG), *more]
    lines += [(Reals((2, 3)), {}), (Reals((0,)), {}), (Reals((2, 0)), {"axis": 0})]
    return tuple(
        Case((x,), {**params, **order})
        for x, params in lines
        for order in ({}, {"descending": True})
    )


def reference_sort(x, axis=-1, descending=False):
    ascending = np.sort(x, axis=axis)
    return np.flip(ascending, axis) if descending else ascending


def reference_argsort(x, axis=-1, descending=False):
    """The descending order by sorting what is negative."""
    keys = -x if descending else x
    if descending and x.dtype.kind == "f":  # nan comes first
        keys = np.where(np.isnan(x), -np.inf, keys)
        assert not np.isposinf(x).any()
    return np.argsort(keys, axis=axis, kind="stable")


def reference_reorder(x, order, axis, back):
    order = np.argsort(order, axis) if back else order
    return np.take_along_axis(x, order, axis)


def reference_topk(x, k, axis=-1, largest=True):
    return np.take(reference_sort(x, axis, largest), range(k), axis)


def reference_tie_mean(v, x):
    alike = x[None] == x[:, None]
    return (alike * v[None]).sum(axis=1) / alike.sum(axis=1)


SORTING = {
    "sort": Row(
        mg.sort,
        reference_sort,
        (
            *along(),
            Case((Ints((4, 5)),), {"descending": True}, order=0),
            Case((Bools((5,)),), {"descending": True}, order=0),
            Case((Given(NANS),), {"descending": True}, order=0),
        ),
        dtypes=(*FLOATS, COMPLEX),
        wrong=WRONG_AXIS,
        kinks=(Kink(([2.0, 1.0, 2.0],), ([1.0, 1.0, 1.0],)),),
    ),
    "argsort": Row(
        mg.argsort,
        reference_argsort,
        (
            *along((Given(TIED), {}), (Given(TIED), {"axis": 0})),
            Case((Given(NANS),)),
            Case((Given([1.0, math.nan, 2.0, math.nan]),), {"descending": True}),
            Case((Ints((4, 9)),)),
            Case((Ints((4, 9)),), {"descending": True}),
            Case((Given([3, 0, 255, 3]),)),
            Case((Bools((9,)),)),
        ),
        order=0,
        result=index,
        wrong=WRONG_AXIS,
    ),
    "reorder": Row(
        _reorder,
        reference_reorder,
        tuple(
            Case((Reals(np.shape(order)), Given(order)), {"axis": axis, "back": back})
            for order, axis in [
                ([2, 0, 1], 0),
                ([[2, 0, 1], [0, 1, 2]], 1),
                ([[1, 0, 1], [0, 1, 0]], 0),
                (np.zeros((2, 0), int), 1),
            ]
            for back in (False, True)
        ),
        dtypes=(*NUMBERS, BOOL),
    ),
    "topk": Row(
        lambda x, **params: mg.topk(x, **params).values,
        reference_topk,
        (
            *(Case((Reals((2, 4)),), {"k": k}) for k in (0, 1, 4)),
            Case((Reals((3, 1, 2)),), {"k": 2, "axis": 0, "largest": False}),
            Case((Reals((0,)),), {"k": 0}),
            Case((Given(TIED),), {"k": 3, "axis": 1}, order=0),
        ),
        kinks=(Kink(([2.0, 1.0, 2.0, 2.0],), ([1.0, 0.0, 1.0, 0.0],), {"k": 2}),),
        wrong=(
            Wrong((np.ones((2, 3)),), ValueError, r"k=4.*axis 1.*\(2, 3\)", {"k": 4}),
            Wrong((np.ones((2, 3)),), ValueError, r"k=-1", {"k": -1}),
            Wrong((np.ones((2, 3)),), np.exceptions.AxisError, "axis 2", {"k": 1, "axis": 2}),
            Wrong((np.ones((2, 3)),), TypeError, "axis=", {"k": 1, "dim": 0}),
        ),
    ),
    "searchsorted": Row(
        lambda x1, x2, sorter=None, **side: mg.searchsorted(x1, x2, sorter=sorter, **side),
        lambda x1, x2, sorter=None, **side: np.searchsorted(x1, x2, sorter=sorter, **side),
        (
            Case((Given([-1.0, 0.5, 0.5, 2.0]), Reals((2, 3))), {"side": "left"}),
            Case((Given([-1.0, 0.5, 0.5, 2.0]), Given([0.5, -1.0, 3.0])), {"side": "right"}),
            Case((Given([-1.0, 0.5, 0.5, math.nan]), Given([math.nan, math.inf]))),
            Case((Given([3, 1, 2]), Given([[2, 0], [4, 3]]), Given([1, 2, 0]))),
            Case((Reals((0,)), Reals((2,)))),
            Case((Given([1, 2]), Given(1.5))),
            Case((Given([1, 2, 3]), Given([1.5, -1.0]))),
        ),
        order=0,
        result=index,
        wrong=(
            Wrong((np.ones((2, 2)), 1.0), ValueError, r"one axis.*\(2, 2\)"),
            Wrong((np.ones(2), 1.0), ValueError, "'middle'", {"side": "middle"}),
        ),
    ),
    "tie_mean": Row(
        _tie_mean,
        reference_tie_mean,
        tuple(
            Case((Reals(np.shape(x)), Given(x)))
            for x in ([1, 1, 1, 2], np.sort(np.transpose(TIED), 0) * 2, np.zeros((0, 2), int))
        ),
    ),
    "tied": Row(_tied, np.array, (Case((Reals((3,)),)), Case((Reals((3, 2)),)))),
    "share": unary(_share, np.array, ((0.0, 1.0),)),
    "median": reduction(
        mg.median,
        np.median,
        empty=FloatingPointError,
        given=(([3.0, 1.0, math.inf, 2.0], {}),),
        result=floating,
        kinks=(
            Kink(([1.0, 2.0, 2.0, 2.0, 3.0],), ([0.0, 1 / 3, 1 / 3, 1 / 3, 0.0],)),
            Kink(([2.0, 1.0, 2.0, 1.0],), ([0.25, 0.25, 0.25, 0.25],)),
            Kink(([1.0, 3.0, 3.0, 0.0],), ([0.5, 0.25, 0.25, 0.0],)),
        ),
    ),
    "quantile": Row(
        lambda x, q=0.3, **params: mg.quantile(x, q, **params),
        lambda x, q=0.3, **params: np.quantile(x, q, **params),
        (
            *(Case((Reals(shape),), params) for shape, params in REDUCED),
            *(Case((Reals((2, 5)),), {"q": q, "axis": 1}) for q in (0, 0.25, 0.7, 1)),
            *(
                Case((Reals((2, 5)),), {"q": q, "axis": 1, "method": method})
                for q in (0.05, 0.375, 0.6)
                for method in QUANTILES
            ),
            Case((Reals((2, 4)), Given([[0.1, 0.9, 0.5]])), {"axis": 1, "keepdims": True}),
            Case((Reals((7,)), Given(0.4)), {"method": "hazen"}),
        ),
        kinks=(
            Kink(([1.0, 2.0, 2.0, 5.0, 7.0],), ([0.0, 0.1, 0.1, 0.8, 0.0],), {"q": 0.7}),
            Kink(([1.0, 2.0, math.inf],), ([0.0, 1.0, 0.0],), {"q": 0.5}),
        ),
        wrong=(
            *NO_AXIS,
            TWICE,
            *TORCH_NAMES,
            Wrong((np.ones(3),), ValueError, r"\[0, 1\]", {"q": 1.5}),
            Wrong((np.ones(3),), ValueError, "'cubic'", {"method": "cubic"}),
            Wrong((np.ones((2, 0)),), ValueError, r"\(2, 0\)", {"axis": 1}),
        ),
    ),
}
