"""Making and moving arrays. Without inputs, the default backend is the one under test."""

import numpy as np

import minigrad as mg

from .rows import *


def other_device(x):
    return mg.to(x, "numpy" if x.device == "strict:0" else "strict")


CREATION = {
    "zeros": Row(
        mg.zeros,
        np.zeros,
        (
            Case((), {"shape": (2, 3), "dtype": np.float64}),
            Case((), {"shape": (), "dtype": np.int8}),
            Case((), {"shape": 0, "dtype": bool}),
        ),
        order=0,
        result=None,
        wrong=(Wrong((), ValueError, r"negative.*\(2, -1\)", {"shape": (2, -1)}),),
    ),
    "full": Row(
        mg.full,
        np.full,
        (
            Case((), {"shape": (2, 3), "fill_value": 2}),
            Case((), {"shape": (), "fill_value": True}),
            Case((), {"shape": (1, 0), "fill_value": 0.5, "dtype": np.float64}),
        ),
        order=0,
        result=None,
    ),
    "eye": Row(
        lambda rows, columns=None, **options: mg.eye(rows, columns, **options),
        lambda rows, columns=None, **options: np.eye(rows, columns, **options),
        (
            Case((), {"rows": 3, "dtype": np.int64}),
            Case((), {"rows": 2, "columns": 3, "k": 1, "dtype": np.float64}),
            Case((), {"rows": 0, "dtype": np.float64}),
        ),
        order=0,
        result=None,
    ),
    "arange": Row(
        lambda start, stop=None, step=1, dtype=None: mg.arange(start, stop, step, dtype=dtype),
        lambda start, stop=None, step=1, dtype=None: np.arange(
            *((0, start) if stop is None else (start, stop)), step, dtype
        ),
        (
            Case((), {"start": 4}),
            Case((), {"start": 5, "stop": -3, "step": -2}),
            Case((), {"start": 0.5, "stop": 2, "step": 0.25, "dtype": np.float64}),
        ),
        order=0,
        result=None,
    ),
    "linspace": Row(
        lambda start, stop, num, **options: mg.linspace(start, stop, num, **options),
        np.linspace,
        (
            Case((), {"start": -1, "stop": 1, "num": 5, "dtype": np.float64}),
            Case((), {"start": 0, "stop": 1, "num": 4, "endpoint": False, "dtype": np.float64}),
            Case((), {"start": 0, "stop": 1, "num": 0, "dtype": np.float64}),
        ),
        order=0,
        result=None,
    ),
    "zeros_like": unary(mg.zeros_like, np.zeros_like, order=0, dtypes=(*NUMBERS, BOOL)),
    "ones_like": unary(mg.ones_like, np.ones_like, order=0, dtypes=(*NUMBERS, BOOL)),
    "copy": unary(mg.copy, np.copy, dtypes=(*NUMBERS, BOOL)),
    "astype": Row(
        lambda x, dtype: mg.astype(x, dtype),
        lambda x, dtype: x.astype(dtype),
        (
            *(Case((Reals(shape),), {"dtype": DOUBLE}) for shape in SHAPES),
            Case((Reals((2, 3)),), {"dtype": SINGLE}, order=0),
            Case((Reals((2, 3)),), {"dtype": np.dtype(np.int64)}, order=0),
            Case((Ints((2, 3), -5, 5),), {"dtype": DOUBLE}, order=0),
            Case((Bools((2, 3)),), {"dtype": DOUBLE}, order=0),
        ),
        dtypes=(DOUBLE,),
        result=None,
    ),
    "to": unary(other_device, np.copy, dtypes=(*NUMBERS, BOOL)),
}
