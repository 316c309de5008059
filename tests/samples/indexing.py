"""Indexing. A key is a function of the index arrays."""

import math

import numpy as np

import minigrad as mg
from minigrad.engine import TABLE
from minigrad.ops.indexing import Array, Slice

from .rows import *


def indexed(x, *indices, key):
    return x[key(*indices)]


def reference_scatter(v, *indices, key, shape):
    out = np.zeros(shape)
    (k,) = key
    np.add.at(out, indices[k.number] if type(k) is Array else slice(*k), v)
    return out


def scatter(v, *indices, key, shape):
    return TABLE["scatter"](v, *indices, key=key, shape=shape)


def replaced(x, v, *indices, key):
    return x.at[key(*indices)].set(v)


def reference_replaced(x, v, *indices, key):
    out = x.copy()
    out[key(*indices)] = v
    return out


def increased(x, v, *indices, key):
    return x.at[key(*indices)].add(v)


def reference_increased(x, v, *indices, key):
    out = x.copy()
    np.add.at(out, key(*indices), v)
    return out


def overwritten(x, v, *indices, key):
    x[key(*indices)] = v
    return x


# (shape of x, index arrays, key, shape of the result)
INDEXED = [
    ((3,), (), lambda: 1, ()),
    ((3,), (), lambda: slice(None, None, -1), (3,)),
    ((3, 4), (), lambda: (-1, slice(0, 4, 2)), (2,)),
    ((3, 4), (), lambda: (..., None, 0), (3, 1)),
    ((3, 4), (), lambda: slice(2, 2), (0, 4)),
    ((), (), lambda: ..., ()),
    ((4,), (Given([0, 3, 0, -1]),), lambda i: i, (4,)),
    ((4, 3), (Ints((2, 2), -4, 4),), lambda i: i, (2, 2, 3)),
    ((2, 4), (Ints((3,), -4, 4),), lambda i: (slice(None), i), (2, 3)),
    ((4, 3), (Ints((2, 1)), Ints((3,), 0, 3)), lambda i, j: (i, j), (2, 3)),
    ((4, 2, 3), (Ints((2,)), Ints((2,), 0, 3)), lambda i, j: (i, slice(None), j), (2, 2)),
    ((4, 3), (Given(np.empty(0, np.int64)),), lambda i: i, (0, 3)),
    ((4,), (Given([True, False, True, False]),), lambda mask: mask, (2,)),
    ((2, 2), (Given([[True, False], [True, True]]),), lambda mask: mask, (3,)),
]
BAD_INDICES = (
    Wrong((np.ones((2, 3)),), IndexError, r"2.*\(2, 3\)", {"key": lambda: 2}),
    Wrong((np.ones((2, 3)),), IndexError, r"\(2, 3\)", {"key": lambda: (0, 0, 0)}),
    Wrong((np.ones((2, 3)),), IndexError, "float", {"key": lambda: [0.5]}),
    Wrong((np.ones((2, 3)),), IndexError, "'a'", {"key": lambda: "a"}),
    Wrong(
        (np.ones((2, 3)), np.ones(3, bool)), IndexError, r"\(3,\).*\(2, 3\)", {"key": lambda m: m}
    ),
    Wrong(
        (np.ones((2, 3)), np.ones(2, bool)),
        IndexError,
        r"mask.*\(2,\) at axis 1.*\(2, 3\)",
        {"key": lambda m: (..., m)},
    ),
)


def changes(f, reference, **more):
    """A row for what writes v at a key of x. Only keys that name no element twice."""
    once = [(shape, given, key, out) for shape, given, key, out in INDEXED if not given]
    masked = [(shape, given, key, out) for shape, given, key, out in INDEXED[-2:]]
    cases = [Case((Reals(x), Reals(v), *i), {"key": key}) for x, i, key, v in once + masked]
    cases += [
        Case((Reals((3, 2)), Reals((2,))), {"key": lambda: slice(1, None)}),
        Case((Reals((3, 2)),), {"v": 0.5, "key": lambda: 0}),
        Case((Reals((4, 2)), Reals((2, 2)), Given([3, 0])), {"key": lambda i: i}),
    ]
    wrong = (
        Wrong((np.ones((2, 3)), np.ones(4)), ValueError, r"\(2, 3\).*\(4,\)", {"key": lambda: 0}),
    )
    return Row(f, reference, tuple(cases), wrong=wrong, **more)


INDEXING = {
    "getitem": Row(
        indexed,
        indexed,
        tuple(Case((Reals(shape), *given), {"key": key}) for shape, given, key, _ in INDEXED),
        dtypes=(*NUMBERS, BOOL),
        wrong=BAD_INDICES,
        kinks=(Kink(([1.0, 2.0], [0, 0, -2, 1]), ([3.0, 1.0], None), {"key": lambda i: i}),),
    ),
    "scatter": Row(
        scatter,
        reference_scatter,
        (
            Case((Reals((3,)), Given([0, 3, 0])), {"key": (Array(0),), "shape": (4,)}),
            Case((Reals((2, 3)), Ints((2,), -4, 4)), {"key": (Array(0),), "shape": (4, 3)}),
            Case((Reals((2,)),), {"key": (Slice(0, 4, 2),), "shape": (4,)}),
            Case((Reals((0,)),), {"key": (Slice(0, 0, None),), "shape": (3,)}),
        ),
    ),
    "take": Row(
        mg.take,
        np.take,
        (
            Case((Reals((4,)), Given([0, 3, 0, -1]))),
            Case((Reals((2, 4)), Ints((3,), -4, 4)), {"axis": 1}),
            Case((Reals((2, 4)), Ints((2, 2), -2, 2)), {"axis": 0}),
            Case((Reals((2, 4)), Given(1)), {"axis": -1}),
            Case((Reals((2, 4)), Given(np.array([0, 3], np.uint8))), {"axis": 1}),
            Case((Reals((2, 0)), Given(np.empty(0, np.int64))), {"axis": 1}),
        ),
        dtypes=(*NUMBERS, BOOL),
        wrong=(
            Wrong((np.ones((2, 3)), [0, 3]), IndexError, "axis 1", {"axis": 1}),
            Wrong((np.ones((2, 3)), [0]), ValueError, r"axis.*\(2, 3\)"),
            Wrong((np.ones(2), [0.0]), IndexError, "float64"),
            Wrong((np.ones(2), [True, False]), IndexError, "bool"),
            Wrong((np.ones(2), [0]), np.exceptions.AxisError, "axis 1", {"axis": 1}),
        ),
    ),
    "take_along_axis": Row(
        mg.take_along_axis,
        lambda x, indices, axis=-1: np.take_along_axis(x, indices, axis),
        (
            Case((Reals((2, 4)), Ints((2, 3), -4, 4))),
            Case((Reals((2, 4)), Ints((3, 4), -2, 2)), {"axis": 0}),
            Case((Reals((2, 4)), Ints((1, 3))), {"axis": 1}),
            Case((Reals((1, 4)), Ints((2, 3))), {"axis": -1}),
            Case((Reals((2, 3)), Ints((5,))), {"axis": None}),
            Case((Reals((2, 3, 2)), Ints((2, 1, 2), 0, 3)), {"axis": -2}),
            Case((Reals((2, 3)), Ints((2, 0)))),
        ),
        dtypes=(*NUMBERS, BOOL),
        wrong=(
            Wrong((np.ones((2, 3)), [[0], [3]]), IndexError, "axis 1"),
            Wrong((np.ones((2, 3)), [0]), ValueError, r"2 axes.*\(1,\)"),
            Wrong((np.ones(2), [0.0]), IndexError, "float64"),
        ),
    ),
    "index_set": changes(replaced, reference_replaced),
    "index_add": Row(
        increased,
        reference_increased,
        (
            *changes(increased, None).cases,
            *(
                Case((Reals(x), Reals(v), *given), {"key": key})
                for x, given, key, v in INDEXED
                if given
            ),
        ),
        kinks=(
            Kink(
                ([1.0, 2.0], [1.0, 1.0], [0, 0]),
                ([1.0, 1.0], [1.0, 1.0], None),
                {"key": lambda i: i},
            ),
        ),
    ),
    "setitem": changes(overwritten, reference_replaced, order=0, writes=(0,)),
    "nonzero": Row(
        mg.nonzero,
        np.nonzero,
        (
            Case((Bools((5,)),)),
            Case((Ints((2, 3), 0, 2),)),
            Case((Given([0.0, math.nan, 2.0]),)),
            Case((Given(np.zeros((2, 0))),)),
        ),
        order=0,
        result=index,
        wrong=(Wrong((1.0,), ValueError, "0-d"),),
    ),
}
