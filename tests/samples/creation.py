"""Making and moving arrays. Without inputs, the default backend is the one under test."""

import numpy as np

import minigrad as mg

from .rows import *


def other_device(x):
    return mg.to(x, "numpy" if x.device == "strict:0" else "strict")


def like(name, f=None, reference=None, **params):
    """A row for what makes a tensor like another."""
    return unary(
        f or getattr(mg, name),
        reference or getattr(np, name),
        params=params,
        order=0,
        dtypes=(*NUMBERS, BOOL),
    )


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
            Case((), {"shape": 2, "fill_value": 1 + 2j, "dtype": np.complex64}),
            Case((), {"shape": 2, "fill_value": np.inf, "dtype": np.float64}),
        ),
        order=0,
        result=None,
        wrong=(
            Wrong((), OverflowError, "300", {"shape": 2, "fill_value": 300, "dtype": np.int8}),
            Wrong((), OverflowError, "int", {"shape": 2, "fill_value": 2**63}),
            Wrong((), TypeError, "number", {"shape": 2, "fill_value": "a"}),
        ),
    ),
    "eye": Row(
        lambda rows, columns=None, **options: mg.eye(rows, columns, **options),
        lambda rows, columns=None, **options: np.eye(rows, columns, **options),
        (
            Case((), {"rows": 3, "dtype": np.int64}),
            Case((), {"rows": 2, "columns": 3, "k": 1, "dtype": np.float64}),
            Case((), {"rows": 0, "dtype": np.float64}),
            Case((), {"rows": 3, "columns": 2, "k": -2, "dtype": bool}),
            Case((), {"rows": 2, "k": 5, "dtype": np.complex64}),
        ),
        order=0,
        result=None,
        wrong=(Wrong((), ValueError, "negative", {"rows": -1}),),
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
            Case((), {"start": 2, "stop": -1}),
            Case((), {"start": -3}),
            Case((), {"start": 0, "stop": 3, "step": -1}),
            Case((), {"start": 2, "stop": 7, "step": 3, "dtype": np.uint8}),
            Case((), {"start": 1.0, "stop": 0.0, "step": -0.3, "dtype": np.float64}),
            Case((), {"start": 2**53, "stop": 2**53 + 3}),
        ),
        order=0,
        result=None,
        wrong=(
            Wrong((), ValueError, "step", {"start": 0, "stop": 1, "step": 0}),
            Wrong((), TypeError, "real", {"start": 1j}),
            Wrong((), TypeError, "number", {"start": "3"}),
        ),
    ),
    "linspace": Row(
        lambda start, stop, num, **options: mg.linspace(start, stop, num, **options),
        np.linspace,
        (
            Case((), {"start": -1, "stop": 1, "num": 5, "dtype": np.float64}),
            Case((), {"start": 0, "stop": 1, "num": 4, "endpoint": False, "dtype": np.float64}),
            Case((), {"start": 0, "stop": 1, "num": 0, "dtype": np.float64}),
            Case((), {"start": 3, "stop": -1, "num": 1, "dtype": np.float64}),
            Case((), {"start": 1j, "stop": 2, "num": 4, "dtype": np.complex128}),
            Case((), {"start": 0, "stop": 1 + 1j, "num": 3, "endpoint": False, "dtype": complex}),
        ),
        order=0,
        result=None,
        wrong=(
            Wrong((), ValueError, "-1", {"start": 0, "stop": 1, "num": -1}),
            Wrong((), TypeError, "complex", {"start": 0, "stop": 1j, "num": 2, "dtype": DOUBLE}),
            Wrong((), TypeError, "number", {"start": None, "stop": 1, "num": 2}),
        ),
    ),
    "empty": Row(
        lambda **options: mg.zeros_like(mg.empty(**options)),
        np.zeros,
        (
            Case((), {"shape": (2, 3), "dtype": np.int8}),
            Case((), {"shape": 0, "dtype": np.float64}),
        ),
        order=0,
        result=None,
    ),
    "ones": Row(
        mg.ones,
        np.ones,
        (
            Case((), {"shape": (2, 3), "dtype": np.float64}),
            Case((), {"shape": 2, "dtype": np.complex64}),
            Case((), {"shape": (), "dtype": bool}),
        ),
        order=0,
        result=None,
        wrong=(Wrong((), ValueError, "negative", {"shape": -1}),),
    ),
    "zeros_like": like("zeros_like"),
    "ones_like": like("ones_like"),
    "full_like": like("full_like", fill_value=True),
    "empty_like": like(
        "empty_like",
        f=lambda x, **options: mg.zeros_like(mg.empty_like(x, **options)),
        reference=np.zeros_like,
    ),
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
            Case((Reals((2, 3)),), {"dtype": COMPLEX}, order=0),
            Case((Reals((2, 3)),), {"dtype": BOOL}, order=0),
        ),
        dtypes=(DOUBLE,),
        result=None,
        wrong=(
            Wrong((np.ones(2) * 1j,), TypeError, r"real\(\)", {"dtype": SINGLE}),
            Wrong((np.ones(2),), TypeError, "64 bits", {"dtype": "U4"}),
        ),
    ),
    "to": unary(other_device, np.copy, dtypes=(*NUMBERS, BOOL)),
}
