"""Scans along an axis, and products."""

import numpy as np

import minigrad as mg
from minigrad.ops.scans import _recurrence

from .reductions import reduction
from .rows import *


def scan(f, reference, given=(), **more):
    """A scan along an axis. given: values to scan beside those that are drawn."""
    cases = tuple(Case((Reals(shape),), params) for shape, params in ALONG)
    cases += tuple(Case((Given(values),), {"axis": -1}) for values in given)
    cases += (
        Case((Reals((3,)),)),
        Case((Reals(()),)),
        Case((Reals((0,)),)),
        Case((Reals((2, 0)),), {"axis": 1}),
        Case((Reals((2, 0)),), {"axis": 1, "include_initial": True}),
        Case((Reals((2, 3)),), {"axis": 0, "include_initial": True}),
        Case((Reals((17,)),), {"include_initial": True}),
        Case((Ints((5,), dtype=np.uint8),), order=0),
    )
    wrong = (*NO_AXIS, TORCH_NAMES[0], Wrong((np.ones((2, 3)),), ValueError, r"\(2, 3\).*axis="))
    wrong += (Wrong((np.ones((2, 3)),), TypeError, "one axis", {"axis": (0, 1)}),)
    return Row(
        f,
        reference,
        cases,
        dtypes=(*NUMBERS, BOOL),
        result=summed,
        wrong=wrong,
        **more,
    )


def reference_recurrence(a, b, axis, reverse):
    a, b = np.moveaxis(a, axis, 0), np.moveaxis(b, axis, 0)
    n, y = len(b), np.zeros(b.shape)
    for i in range(n)[::-1] if reverse else range(n):
        before, link = (i + 1, i + 1) if reverse else (i - 1, i)
        y[i] = b[i] + (a[link] * y[before] if 0 <= before < n else 0)
    return np.moveaxis(y, 0, axis)


def reference_diff(x, prepend=None, append=None, **params):
    ends = {"prepend": prepend, "append": append, **params}
    return np.diff(x, **{name: end for name, end in ends.items() if end is not None})


ZEROS = (
    [2.0, 0.0, 3.0, -1.5],
    [2.0, 0.0, 3.0, 0.0, 1.5],
    [[0.0, 2.0, -1.0], [0.0, 0.0, 0.0]],
)

SCANS = {
    "cumulative_sum": scan(mg.cumulative_sum, np.cumulative_sum),
    "cumulative_prod": scan(
        mg.cumulative_prod,
        np.cumulative_prod,
        ZEROS,
        kinks=(
            Kink(([2.0, 0.0, 3.0],), ([1.0, 8.0, 0.0],)),
            Kink(([0.0, 0.0, 3.0],), ([1.0, 0.0, 0.0],)),
        ),
    ),
    "recurrence": Row(
        _recurrence,
        reference_recurrence,
        tuple(
            Case((Reals(shape), Reals(shape)), {"axis": axis, "reverse": reverse})
            for shape, axis in [((1,), 0), ((5,), 0), ((2, 3), 1), ((3, 1, 2), 0), ((0, 2), 0)]
            for reverse in (False, True)
        ),
    ),
    "prod": reduction(
        mg.prod,
        np.prod,
        empty=1,
        given=(
            *((values, {}) for values in ZEROS),
            (ZEROS[2], {"axis": 1, "keepdims": True}),
        ),
        dtypes=(*NUMBERS, BOOL),
        result=summed,
        kinks=(
            Kink(([2.0, 0.0, 3.0],), ([0.0, 6.0, 0.0],)),
            Kink(([0.0, 0.0, 3.0],), ([0.0, 0.0, 0.0],)),
        ),
    ),
    "diff": Row(
        lambda x, prepend=None, append=None, **params: mg.diff(
            x, **{"prepend": prepend, "append": append, **params}
        ),
        reference_diff,
        (
            *(Case((Reals(shape),), params) for shape, params in ALONG),
            *(Case((Reals((2, 4)),), {"n": n}) for n in (0, 2, 4, 5)),
            Case((Reals((2, 3)),), {"axis": 0, "prepend": 1, "append": 2}),
            Case((Reals((2, 0)),), {"prepend": 0.5}),
            Case((Reals((3,)), Reals((2,)), Reals(()))),
            Case((Reals((3, 2)), None, Reals((1, 2))), {"axis": 0}),
            Case((Bools((2, 3)),), {"n": 2}, order=0),
        ),
        dtypes=(*FLOATS, COMPLEX),
        wrong=(
            *NO_AXIS,
            Wrong((1.0,), np.exceptions.AxisError, "axis -1"),
            Wrong((np.ones(3),), ValueError, "n must be", {"n": -1}),
            Wrong((np.ones(3),), TypeError, "axis=", {"dim": 0}),
        ),
    ),
}
