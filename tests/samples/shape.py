"""Shapes."""

import numpy as np

import minigrad as mg

from .rows import *


def along(name, *pairs, wrong=(), f=None, reference=None):
    """A row for an op with one input of a given shape, and params."""
    cases = tuple(Case((Reals(shape),), params) for shape, params in pairs)
    return Row(
        f or getattr(mg, name),
        reference or getattr(np, name),
        cases,
        dtypes=(*NUMBERS, BOOL),
        wrong=wrong,
    )


def joined(f, reference, shapes, wrong):
    cases = tuple(Case(tuple(map(Reals, group)), {"axis": axis}) for group, axis in shapes)
    return Row(
        lambda *xs, axis: f(xs, axis=axis),
        lambda *xs, axis: reference(xs, axis=axis),
        cases,
        dtypes=(*FLOATS, *INTEGERS),
        wrong=wrong,
    )


SHAPING = {
    "reshape": along(
        "reshape",
        ((2, 3), {"shape": (3, 2)}),
        ((2, 3), {"shape": -1}),
        ((2, 3), {"shape": (1, -1, 2)}),
        ((), {"shape": (1, 1)}),
        ((1, 1), {"shape": ()}),
        ((0, 3), {"shape": (3, 0)}),
        wrong=(
            Wrong((np.ones((2, 3)),), ValueError, r"\(2, 3\).*\(4, 2\)", {"shape": (4, 2)}),
            Wrong((np.ones((2, 3)),), ValueError, r"\(2, 3\).*\(4, -1\)", {"shape": (4, -1)}),
        ),
    ),
    "permute_dims": along(
        "permute_dims",
        ((), {"axes": ()}),
        ((2, 3), {"axes": (1, 0)}),
        ((2, 0, 3), {"axes": (2, 0, 1)}),
        ((2, 1, 3), {"axes": (-1, 0, 1)}),
        wrong=(
            Wrong((np.ones((2, 3)),), ValueError, r"\(0,\)", {"axes": (0,)}),
            Wrong((np.ones((2, 3)),), ValueError, r"once.*\(0, 0\)", {"axes": (0, 0)}),
        ),
    ),
    "expand_dims": along(
        "expand_dims",
        ((), {"axis": 0}),
        ((2, 3), {"axis": -1}),
        ((2, 3), {"axis": (0, -1)}),
        ((0,), {"axis": 1}),
        wrong=(
            Wrong((np.ones((2, 3)),), np.exceptions.AxisError, r"axis 3.*\(2, 3\)", {"axis": 3}),
        ),
    ),
    "squeeze": along(
        "squeeze",
        ((1, 3, 1), {}),
        ((1, 3, 1), {"axis": -1}),
        ((1, 3, 1), {"axis": (0, 2)}),
        ((), {}),
        wrong=(Wrong((np.ones((2, 3)),), ValueError, r"\(2, 3\)", {"axis": 0}),),
    ),
    "broadcast_to": along(
        "broadcast_to",
        ((), {"shape": (2, 2)}),
        ((3,), {"shape": (2, 3)}),
        ((2, 1), {"shape": (2, 3)}),
        ((1,), {"shape": (0,)}),
        ((2, 3), {"shape": (2, 3)}),
        wrong=(Wrong((np.ones((2, 3)),), ValueError, r"\(2, 3\)", {"shape": (3, 3)}),),
    ),
    "flip": along(
        "flip",
        ((2, 3), {}),
        ((2, 3), {"axis": 0}),
        ((2, 1, 3), {"axis": (0, -1)}),
        ((), {}),
        ((0,), {"axis": 0}),
        wrong=NO_AXIS,
    ),
    "matrix_transpose": along(
        "matrix_transpose",
        ((2, 3), {}),
        ((4, 2, 3), {}),
        ((0, 3), {}),
        wrong=(Wrong((np.ones(3),), ValueError, r"\(3,\)"),),
    ),
    "concat": joined(
        mg.concat,
        np.concatenate,
        [
            ([(2, 3), (1, 3)], 0),
            ([(2, 3), (2, 0), (2, 1)], -1),
            ([(3,)], 0),
            ([(2, 1), (3,)], None),
        ],
        wrong=(
            Wrong(
                (np.ones((2, 3)), np.ones((2, 4))),
                ValueError,
                r"\(2, 3\).*\(2, 4\)",
                {"axis": 0},
            ),
            Wrong((np.ones((2, 3)),) * 2, np.exceptions.AxisError, "axis 2", {"axis": 2}),
            Wrong((), ValueError, "at least one", {"axis": 0}),
        ),
    ),
    "stack": joined(
        mg.stack,
        np.stack,
        [([(2, 3), (2, 3)], 0), ([(2, 3), (2, 3)], -1), ([()] * 3, 0), ([(0,)], 1)],
        wrong=(
            Wrong(
                (np.ones((2, 3)), np.ones((2, 4))),
                ValueError,
                r"\(2, 3\).*\(2, 4\)",
                {"axis": 0},
            ),
            Wrong((), ValueError, "at least one", {"axis": 0}),
        ),
    ),
}
