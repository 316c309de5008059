"""Fourier transforms: four ops, through all the functions that they are."""

import numpy as np

import minigrad as mg

from .rows import *

COMPLEX_INPUT = Given(np.random.default_rng(2).normal(size=(2, 4, 3)) * (1 + 2j) - 1j)

ALONG_ONE = [
    ((5,), {}),
    ((0, 4), {}),
    ((2, 6), {"axis": 0, "norm": "ortho"}),
    ((2, 3), {"n": 5, "norm": "forward"}),
    ((2, 6), {"n": 4, "axis": -1}),
]
ALONG_ALL = [
    ((5,), {}),
    ((2, 3), {}),
    ((2, 0, 3), {"axes": (0, -1)}),
    ((2, 1, 3), {"axes": (2, 0), "norm": "ortho"}),
    ((2, 3, 1), {"axes": (0, 1), "s": (3, 2), "norm": "forward"}),
    ((1, 2, 3), {"axes": (1, 2), "s": (-1, 4)}),
]


def to_complex(dtype):
    return np.result_type(floating(dtype), np.complex64)


def to_real(dtype):
    return np.finfo(to_complex(dtype)).dtype


def transform(names, result, complex_too=True, **more):
    """The row of one op: `names` are the functions of one axis, of several, and of its mirror."""
    functions = {"one": names[0], "all": names[1], "mirrored": names[2:] and names[2]}

    def of(xp):
        return lambda x, kind, **keywords: getattr(xp.fft, functions[kind])(x, **keywords)

    drawn = [(Reals(shape), "one", params) for shape, params in ALONG_ONE]
    drawn += [(Reals(shape), "all", params) for shape, params in ALONG_ALL]
    drawn += [(Ints((4,)), "one", {}), (Ints((4, 3)), "all", {})]
    if complex_too:
        drawn += [(COMPLEX_INPUT, "one", {"axis": 1}), (COMPLEX_INPUT, "all", {"axes": (0, 1)})]
    if names[2:]:
        drawn += [(x, "mirrored", params) for x, kind, params in drawn if kind == "one"]
    cases = tuple(
        Case((x,), {"kind": kind, **params}, order=None if type(x) is Reals else 0)
        for x, kind, params in drawn
    )
    wrong = tuple(
        Wrong((np.ones(shape),), error, says, {"kind": "all", **params})
        for shape, error, says, params in [
            ((2, 3), np.exceptions.AxisError, r"axis 2.*\(2, 3\)", {"axes": (0, 2)}),
            ((2, 3), ValueError, r"once", {"axes": (1, -1)}),
            ((2, 3), ValueError, r"lengths \(2, 0\)", {"s": (2, 0)}),
            ((), ValueError, r"at least one axis.*\(\)", {}),
            ((2, 3), ValueError, r"\(2,\), for the axes \(0, 1\)", {"s": (2,), "axes": (0, 1)}),
            ((2, 3), ValueError, r"norm.*'x'", {"norm": "x"}),
        ]
    )
    return Row(of(mg), of(np), cases, result=result, wrong=wrong, **more)


def frequencies(name):
    def of(xp, dtype):
        return lambda n, d=1.0: getattr(xp.fft, name)(n, d=d, **dtype)

    cases = [{"n": 1}, {"n": 5}, {"n": 8, "d": 0.5}]
    wrong = Wrong((), ValueError, "length of at least 1, got 0", {"n": 0})
    return Row(
        of(mg, {"dtype": np.float64}),
        of(np, {}),
        tuple(Case((), params) for params in cases),
        order=0,
        result=None,
        wrong=(wrong,),
    )


FOURIER = {
    "fftfreq": frequencies("fftfreq"),
    "fftn": transform(("fft", "fftn"), to_complex),
    "ifftn": transform(("ifft", "ifftn"), to_complex),
    "irfftn": transform(("irfft", "irfftn", "hfft"), to_real),
    "rfftn": transform(("rfft", "rfftn", "ihfft"), to_complex, complex_too=False),
    "rfftfreq": frequencies("rfftfreq"),
}
