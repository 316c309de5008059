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


def together(f, reference, groups, wrong=()):
    """A row for what takes any number of tensors: groups of shapes, and params."""
    cases = tuple(Case(tuple(map(Reals, shapes)), params) for shapes, params in groups)
    return Row(f, reference, cases, dtypes=(*NUMBERS, BOOL), wrong=wrong)


def matrices(name):
    """A row for a triangle."""
    return along(
        name,
        ((3, 3), {}),
        ((2, 4), {"k": 1}),
        ((2, 3, 2), {"k": -1}),
        ((2, 2), {"k": 5}),
        ((0, 3), {}),
        f=lambda x, **params: getattr(mg, name)(x, **params),
        wrong=(Wrong((np.ones(3),), ValueError, r"matrix.*\(3,\)"),),
    )


def positional(f):
    """Call f with what its params hold by place."""
    return lambda x, *, to, **params: f(x, *to, **params)


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
    "roll": along(
        "roll",
        ((5,), {"shift": 2}),
        ((2, 3), {"shift": -1}),
        ((2, 3), {"shift": 4, "axis": -1}),
        ((2, 3), {"shift": (1, 2), "axis": (0, 1)}),
        ((2, 3), {"shift": 1, "axis": (0, 1)}),
        ((4,), {"shift": (1, 2), "axis": 0}),
        ((2, 2), {"shift": (), "axis": ()}),
        ((), {"shift": 1}),
        ((0, 3), {"shift": 1, "axis": 0}),
        wrong=(
            Wrong((np.ones(3),), np.exceptions.AxisError, "axis 1", {"shift": 1, "axis": 1}),
            Wrong((np.ones(3),), TypeError, "float", {"shift": 0.5}),
        ),
    ),
    "moveaxis": along(
        "moveaxis",
        ((2, 3), {"to": (0, 1)}),
        ((2, 1, 3), {"to": (-1, 0)}),
        ((2, 1, 3, 2), {"to": ((0, 1), (-1, -3))}),
        ((2, 0), {"to": ((), ())}),
        f=positional(mg.moveaxis),
        reference=positional(np.moveaxis),
        wrong=(
            Wrong((np.ones((2, 3)),), ValueError, "as many", {"to": ((0, 1), 0)}),
            Wrong((np.ones((2, 3)),), np.exceptions.AxisError, "axis 2", {"to": (0, 2)}),
            Wrong((np.ones((2, 3)),), ValueError, "once", {"to": ((0, 0), (0, 1))}),
        ),
    ),
    "repeat": along(
        "repeat",
        ((3,), {"to": (2,)}),
        ((2, 3), {"to": (2,)}),
        ((2, 3), {"to": (1,), "axis": 0}),
        ((2, 3), {"to": (0,), "axis": -1}),
        ((2, 3), {"to": ([1, 0, 3],), "axis": 1}),
        ((2, 3), {"to": ([2],), "axis": 1}),
        ((2, 0), {"to": ([],), "axis": 1}),
        ((), {"to": (3,)}),
        f=positional(mg.repeat),
        reference=lambda x, *, to, axis=None: np.repeat(x, np.array(to[0], int), axis),
        wrong=(
            Wrong((np.ones(3),), ValueError, "negative", {"to": (-1,)}),
            Wrong((np.ones(3),), ValueError, r"3 for axis 0.*\(3,\)", {"to": ([1, 2],)}),
            Wrong((np.ones(3),), TypeError, "float", {"to": (1.5,)}),
            Wrong((np.ones(3),), np.exceptions.AxisError, "axis 1", {"to": (1,), "axis": 1}),
        ),
    ),
    "tile": along(
        "tile",
        ((3,), {"to": (2,)}),
        ((2, 3), {"to": ((2, 1),)}),
        ((2, 3), {"to": (2,)}),
        ((3,), {"to": ((2, 2),)}),
        ((2, 1, 3), {"to": ((1, 2),)}),
        ((2, 3), {"to": ((),)}),
        ((2, 3), {"to": ((0, 2),)}),
        ((), {"to": ((2,),)}),
        f=positional(mg.tile),
        reference=positional(np.tile),
        wrong=(Wrong((np.ones(3),), TypeError, "float", {"to": (1.5,)}),),
    ),
    "unstack": along(
        "unstack",
        ((3,), {}),
        ((2, 3), {"axis": 0}),
        ((2, 3, 1), {"axis": -2}),
        ((1, 0), {}),
        reference=lambda x, axis=0: tuple(np.moveaxis(x, axis, 0)),
        wrong=NO_AXIS,
    ),
    "split": along(
        "split",
        ((4,), {"indices_or_sections": 2}),
        ((2, 6), {"indices_or_sections": 3, "axis": 1}),
        ((2, 6), {"indices_or_sections": (1, 4), "axis": -1}),
        ((5,), {"indices_or_sections": [3, 2, -1, 9]}),
        ((3, 2), {"indices_or_sections": []}),
        ((0,), {"indices_or_sections": 2}),
        reference=lambda x, **params: tuple(np.split(x, **params)),
        wrong=(
            Wrong((np.ones((2, 3)),), ValueError, "2 equal", {"indices_or_sections": 2, "axis": 1}),
            Wrong((np.ones((2, 3)),), ValueError, "0 equal", {"indices_or_sections": 0}),
            Wrong(
                (np.ones(3),),
                np.exceptions.AxisError,
                "axis 1",
                {"indices_or_sections": 3, "axis": 1},
            ),
        ),
    ),
    "pad": along(
        "pad",
        ((3,), {"pad_width": 1}),
        ((2, 3), {"pad_width": (1, 2)}),
        ((2, 3), {"pad_width": ((0, 2), (1, 0)), "constant_values": True}),
        ((2, 3), {"pad_width": ((1,), (2,)), "constant_values": ((False, True), (True, False))}),
        ((0, 2), {"pad_width": (1, 0)}),
        ((), {"pad_width": 1}),
        ((2, 3), {"pad_width": 0, "mode": "edge"}),
        ((2, 3), {"pad_width": ((0, 1), (4, 1)), "mode": "edge"}),
        ((2, 3), {"pad_width": ((5, 1), (3, 1)), "mode": "reflect"}),
        ((1, 3), {"pad_width": 2, "mode": "reflect"}),
        ((2, 3), {"pad_width": ((5, 1), (3, 1)), "mode": "symmetric"}),
        ((2, 3), {"pad_width": ((5, 1), (3, 1)), "mode": "wrap"}),
        wrong=(
            Wrong((np.ones(3),), ValueError, "0 or more", {"pad_width": -1}),
            Wrong((np.ones(3),), ValueError, "1 axes", {"pad_width": (1, 2, 3)}),
            Wrong((np.ones(3),), ValueError, "edge", {"pad_width": 1, "mode": "edges"}),
            Wrong((np.ones((2, 0)),), ValueError, "axis 1", {"pad_width": 1, "mode": "wrap"}),
            Wrong((np.ones(3, int),), TypeError, "float", {"pad_width": 1, "constant_values": 0.5}),
        ),
    ),
    "tril": matrices("tril"),
    "triu": matrices("triu"),
    "diagonal": along(
        "diagonal",
        ((3, 3), {}),
        ((2, 4), {"offset": 1}),
        ((4, 2), {"offset": -2}),
        ((2, 3, 4), {"axis1": -1, "axis2": 1}),
        ((2, 3, 4), {"offset": -1, "axis1": 0, "axis2": 2}),
        ((2, 3), {"offset": 3}),
        ((0, 3), {}),
        wrong=(
            Wrong((np.ones(3),), np.exceptions.AxisError, r"axis 1.*\(3,\)"),
            Wrong((np.ones((2, 3)),), ValueError, "once", {"axis2": 0}),
        ),
    ),
    "ravel": along("ravel", ((2, 3), {}), ((), {}), ((2, 0), {})),
    "flatten": along(
        "flatten",
        ((2, 3), {}),
        ((2, 3, 4), {"start_axis": 1}),
        ((2, 3, 4), {"end_axis": 1}),
        ((), {}),
        reference=lambda x, start_axis=0, end_axis=None: x.reshape(
            (*x.shape[:start_axis], -1, *(x.shape[end_axis + 1 :] if end_axis else ()))
        ),
        wrong=(Wrong((np.ones((2, 3)),), ValueError, "after", {"start_axis": 1, "end_axis": 0}),),
    ),
    "swapaxes": along(
        "swapaxes",
        ((2, 3), {"axis1": 0, "axis2": 1}),
        ((2, 0, 3), {"axis1": -1, "axis2": 0}),
        f=lambda x, axis1, axis2: mg.swapaxes(x, axis1, axis2),
        wrong=(Wrong((np.ones(3),), np.exceptions.AxisError, "axis 1", {"axis1": 0, "axis2": 1}),),
    ),
    "transpose": along("transpose", ((2, 3), {}), ((2, 1, 3), {}), ((3,), {}), ((), {})),
    "meshgrid": together(
        mg.meshgrid,
        np.meshgrid,
        [
            ([(2,), (3,)], {}),
            ([(2,), (3,)], {"indexing": "ij"}),
            ([(2,), (1,), (3,)], {}),
            ([(2,), (), (3,)], {"indexing": "ij"}),
            ([(3,)], {}),
            ([(0,), (2,)], {}),
        ],
        wrong=(
            Wrong((np.ones(2),), ValueError, "'yx'", {"indexing": "yx"}),
            Wrong((np.ones((2, 2)),), ValueError, r"\(2, 2\)"),
        ),
    ),
    "broadcast_arrays": together(
        mg.broadcast_arrays,
        np.broadcast_arrays,
        [
            ([(2, 1), (3,), ()], {}),
            ([(2, 3)], {}),
            ([(0,), (2, 1)], {}),
        ],
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
