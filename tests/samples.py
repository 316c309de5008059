"""One row for every op: how it is called, on what, and what NumPy says it is."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.engine import TABLE
from minigrad.ops.indexing import Array, Slice
from minigrad.ops.reductions import spread, sum_to

HALF, SINGLE, DOUBLE = map(np.dtype, ("float16", "float32", "float64"))
FLOATS = (HALF, SINGLE, DOUBLE)
INTEGERS = tuple(map(np.dtype, ("int8", "int32", "int64")))
BOOL, COMPLEX = np.dtype("bool"), np.dtype("complex128")
NUMBERS = (*FLOATS, *INTEGERS, COMPLEX)


@dataclass(frozen=True)
class Reals:
    """Floats drawn evenly from intervals: the domain, without the kinks."""

    shape: tuple[int, ...] = ()
    intervals: tuple[tuple[float, float], ...] = ((-2.0, 2.0),)

    def draw(self, rng):
        low, high = np.array(self.intervals)[rng.integers(len(self.intervals), size=self.shape)].T
        return np.asarray(low.T + (high - low).T * rng.random(self.shape))


@dataclass(frozen=True)
class Ints:
    """Integers from [low, high): indices and labels, which no derivative reaches."""

    shape: tuple[int, ...]
    low: int = 0
    high: int = 4
    dtype: Any = np.int64

    def draw(self, rng):
        return np.asarray(rng.integers(self.low, self.high, self.shape, self.dtype))


@dataclass(frozen=True)
class Bools:
    """Masks."""

    shape: tuple[int, ...] = ()

    def draw(self, rng):
        return np.asarray(rng.random(self.shape) < 0.5)


@dataclass(frozen=True)
class Given:
    """These values."""

    values: Any

    def draw(self, rng):
        return np.array(self.values)


@dataclass(frozen=True)
class Hyper(Given):
    """A hyper-parameter of an optimizer: float64, 0-d, whatever the parameter's dtype is."""


def title(inputs, params):
    """Return what tells a test from its neighbours: the shapes and the params."""
    shapes = [x.shape if hasattr(x, "shape") else np.shape(getattr(x, "values", x)) for x in inputs]
    values = {k: "..." if callable(v) else v for k, v in params.items()}
    return "-".join(map(str, [*shapes, *(f"{k}={v}" for k, v in values.items())]))


@dataclass(frozen=True)
class Case:
    """Inputs and params of one call. order: which derivatives are checked, the row's if None."""

    inputs: tuple[Any, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    order: int | None = None

    def arrays(self, dtype=DOUBLE):
        """Return the same arrays at every call, fresh, the floating ones in `dtype`."""
        rng = np.random.default_rng(7)
        arrays = [None if x is None else x.draw(rng) for x in self.inputs]
        return [
            a.astype(dtype) if a is not None and a.dtype.kind == "f" and type(x) is not Hyper else a
            for a, x in zip(arrays, self.inputs, strict=True)
        ]

    def up_to(self, order):
        return order if self.order is None else self.order

    def is_empty(self):
        return any(a is not None and not a.size for a in self.arrays())

    def is_floating(self):
        return any(a is not None and a.dtype.kind == "f" for a in self.arrays())

    def __str__(self):
        return title(self.inputs, self.params)


@dataclass(frozen=True)
class Kink:
    """A singular point: the inputs, the gradients there of the result's sum, the params."""

    inputs: tuple[Any, ...]
    gradients: tuple[Any, ...]
    params: dict[str, Any] = field(default_factory=dict)

    def __str__(self):
        return title(self.inputs, self.params)


@dataclass(frozen=True)
class Wrong:
    """Inputs that must raise: the type, and what the message says beside the op's name."""

    inputs: tuple[Any, ...]
    error: type[Exception]
    says: str
    params: dict[str, Any] = field(default_factory=dict)

    def __str__(self):
        return title(self.inputs, self.params)


@dataclass(frozen=True)
class Row:
    """One op. f: as users call it, on tensors; reference: the same on float64 NumPy arrays.

    order: how often it can be differentiated. dtypes: what the floating inputs may be cast to;
    result: the result's dtype for each, None where it is the reference's. writes: the inputs that
    change, which f returns.
    """

    f: Callable[..., Any]
    reference: Callable[..., Any]
    cases: tuple[Case, ...]
    order: int = 2
    dtypes: tuple[np.dtype, ...] = FLOATS
    result: Callable[[np.dtype], Any] = lambda dtype: dtype
    kinks: tuple[Kink, ...] = ()
    wrong: tuple[Wrong, ...] = ()
    writes: tuple[int, ...] = ()


def floating(dtype):
    """The result of an op that makes floats of integers."""
    return dtype if dtype.kind in "fc" else mg.get_default_dtype()


def summed(dtype):
    """The result of a sum."""
    return {"b": np.int64, "i": np.int64, "u": np.uint64}.get(dtype.kind, dtype)


def boolean(_):
    """The result of a test."""
    return BOOL


def index(_):
    """The result of a search."""
    return np.dtype(np.int64)


# Domains

ALL = ((-2.0, 2.0),)
POSITIVE = ((0.3, 3.0),)
AWAY_FROM_0 = ((-3.0, -0.3), (0.3, 3.0))
ABOVE, BELOW = ((0.5, 2.0),), ((-2.0, -0.5),)

# Elementwise ops

SHAPES = [(), (0,), (1, 3), (2, 3)]
PAIRS = [
    ((), ()),
    ((0,), (1,)),
    ((2, 3), (2, 3)),
    ((2, 3), (3,)),
    ((2, 1), (1, 3)),
    ((), (2, 2)),
    ((2, 0), (1, 1)),
]
NO_FIT = Wrong(
    (np.ones((2, 3)), np.ones((2, 4))), ValueError, r"axis -1.* 3 and 4.*\(2, 3\).*\(2, 4\)"
)


def unary(f, reference, domain=ALL, **more):
    cases = tuple(Case((Reals(shape, domain),)) for shape in SHAPES)
    return Row(f, reference, cases, **more)


def binary(f, reference, x=ALL, y=ALL, cases=(), wrong=(), **more):
    pairs = tuple(Case((Reals(a, x), Reals(b, y))) for a, b in PAIRS)
    return Row(f, reference, pairs + cases, wrong=(NO_FIT, *wrong), **more)


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


def logical(f, reference, inputs=2, result=boolean):
    """A function of truth values, or with `result` of bits."""
    cases = tuple(
        Case(tuple(map(kind, shapes[:inputs])))
        for kind in (Bools, Ints)
        for shapes in [((), ()), ((2, 3), (3,)), ((0,), (1,)), ((2, 1), (1, 3))]
    )
    return Row(f, reference, cases, order=0, result=result)


def bitwise(f, reference, inputs=2):
    return logical(f, reference, inputs, result=lambda dtype: dtype)


def halves(x, y):
    """Ties: one half of the cotangent each."""
    return Kink((x, y), (np.full(np.shape(x), 0.5), np.full(np.shape(y), 0.5)))


ELEMENTWISE = {
    "absorb": binary(
        mg.absorb,
        lambda x, a: np.where(x == 0, 0, x * a),
        x=AWAY_FROM_0,
        kinks=(
            Kink((0.0, math.inf), (math.inf, 0.0)),
            Kink((0.0, math.nan), (math.nan, 0.0)),
            Kink((2.0, 0.0), (0.0, 2.0)),
        ),
    ),
    "where": Row(
        lambda condition, x, y: mg.where(condition, x, y),
        lambda condition, x, y: np.where(condition, x, y),
        (
            *(Case((Bools(a), Reals(b), Reals(c))) for a, b, c in [((), (), ()), ((2, 3),) * 3]),
            *(Case((Bools((2, 1)), Reals(b), Reals(c))) for b, c in [((3,), ()), ((0,), (1, 1))]),
            Case((Bools((2, 3)), Reals((3,))), {"y": 0.5}),
            Case((Ints((2, 3), 0, 2), Reals((3,)), Reals((2, 1)))),
        ),
        wrong=(
            Wrong(
                (np.ones(2, bool), np.ones((2, 3)), np.ones(3)),
                ValueError,
                r"axis -1 has lengths 2 and 3 and 3.*\(2,\).*\(2, 3\)",
            ),
        ),
    ),
    "add": binary(lambda x, y: x + y, np.add, dtypes=NUMBERS),
    "subtract": binary(lambda x, y: x - y, np.subtract, dtypes=NUMBERS),
    "multiply": binary(lambda x, y: x * y, np.multiply, dtypes=NUMBERS),
    "divide": binary(
        lambda x, y: x / y, np.divide, y=AWAY_FROM_0, dtypes=(*FLOATS, COMPLEX), result=floating
    ),
    "floor_divide": binary(lambda x, y: x // y, np.floor_divide, y=AWAY_FROM_0),
    "remainder": binary(lambda x, y: x % y, np.remainder, y=AWAY_FROM_0),
    "pow": binary(
        lambda x, y: x**y,
        lambda x, y: np.power(x, y),
        x=POSITIVE,
        cases=(
            *(Case((Reals((2, 3), AWAY_FROM_0),), {"y": y}) for y in (0, 1, 2, 3, 2.0)),
            *(Case((Reals((2, 3), ABOVE),), {"y": y}) for y in (-1, -2.0)),
            Case((Reals((2, 3), POSITIVE),), {"y": 0.5}),
            Case((Reals((3,), POSITIVE), Ints((2, 1)))),
        ),
        kinks=(
            Kink((0.0,), (0.0,), {"y": 0}),
            Kink(([-1.0, 0.0, 2.0],), ([0.0, 0.0, 0.0],), {"y": 0.0}),
            Kink(([-1.0, 0.0, 2.0],), ([1.0, 1.0, 1.0],), {"y": 1}),
            Kink(([-1.0, 0.0, 2.0],), ([-2.0, 0.0, 4.0],), {"y": 2}),
            Kink((0.0, 0.0), (0.0, 0.0)),
            Kink((0.0, 2.0), (0.0, 0.0)),
            Kink((0.0, 0.5), (math.inf, 0.0)),
            Kink((-2.0, 2.0), (-4.0, math.nan)),
            Kink((0.0,), (math.inf,), {"y": 0.5}),
        ),
    ),
    "positive": unary(lambda x: +x, np.positive, dtypes=NUMBERS),
    "negative": unary(lambda x: -x, np.negative, dtypes=NUMBERS),
    "abs": unary(mg.abs, np.abs, AWAY_FROM_0, kinks=(Kink((0.0,), (0.0,)),)),
    "sign": unary(mg.sign, np.sign, AWAY_FROM_0, kinks=(Kink((0.0,), (0.0,)),)),
    "exp": unary(mg.exp, np.exp, result=floating),
    "log": unary(mg.log, np.log, POSITIVE, result=floating),
    "sqrt": unary(mg.sqrt, np.sqrt, POSITIVE, result=floating, kinks=(Kink((0.0,), (math.inf,)),)),
    "tanh": unary(mg.tanh, np.tanh, result=floating),
    "sigmoid": unary(
        mg.sigmoid,
        lambda x: 1 / (1 + np.exp(-x)),
        result=floating,
        kinks=(Kink(([-1000.0, 1000.0],), ([0.0, 0.0],)),),
    ),
    "relu": unary(mg.relu, lambda x: np.maximum(x, 0), AWAY_FROM_0, kinks=(Kink((0.0,), (0.0,)),)),
    "maximum": binary(mg.maximum, np.maximum, kinks=(halves(0.0, 0.0), halves([1.0], [1.0]))),
    "minimum": binary(mg.minimum, np.minimum, kinks=(halves(0.0, 0.0), halves([1.0], [1.0]))),
    "clip": Row(
        mg.clip,
        lambda x, min=None, max=None: np.minimum(
            np.maximum(x, -np.inf if min is None else min), np.inf if max is None else max
        ),
        (
            *(Case((Reals(shape),), {"min": -0.5, "max": 0.7}) for shape in SHAPES),
            Case((Reals((2, 3)),), {"min": 0.1}),
            Case((Reals((2, 3)),), {"max": 0.1}),
            Case((Reals((2, 3)),)),
            Case((Reals((2, 3)), Reals((3,), BELOW), Reals((2, 1), ABOVE))),
            Case((Reals((2, 3)), None, Reals((), ABOVE))),
        ),
        kinks=(
            Kink(([-1.0, 0.0, 1.0],), ([1.0, 1.0, 1.0],), {"min": -1.0, "max": 1.0}),
            Kink(([2.0, 0.0],), ([0.0, 0.0],), {"min": 1.0, "max": -1.0}),
        ),
        wrong=(NO_FIT,),
    ),
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
    "isnan": predicate(mg.isnan, np.isnan),
    "isinf": predicate(mg.isinf, np.isinf),
    "isfinite": predicate(mg.isfinite, np.isfinite),
}


# Making and moving arrays. Without inputs, the default backend is the one under test.


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

# Reductions

REDUCED = [
    ((), {}),
    ((3,), {}),
    ((2, 3), {}),
    ((2, 3), {"axis": 0}),
    ((2, 3), {"axis": -1, "keepdims": True}),
    ((2, 1, 3), {"axis": (0, 2)}),
    ((2, 1, 3), {"axis": (-1, 0), "keepdims": True}),
    ((1, 3), {"axis": ()}),
]
ALONG = [
    ((3,), {"axis": 0}),
    ((2, 3), {"axis": -1}),
    ((2, 3), {"axis": 0}),
    ((2, 1, 3), {"axis": 1}),
]
NO_AXIS = (
    Wrong((np.ones((2, 3)),), np.exceptions.AxisError, r"axis 2 .*\(2, 3\)", {"axis": 2}),
    Wrong((np.ones((2, 3)),), np.exceptions.AxisError, r"axis -3 .*\(2, 3\)", {"axis": -3}),
)
TWICE = Wrong((np.ones((2, 3)),), ValueError, r"once.*\(0, -2\)", {"axis": (0, -2)})
TORCH_NAMES = (
    Wrong((np.ones((2, 3)),), TypeError, "axis=", {"dim": 0}),
    Wrong((np.ones((2, 3)),), TypeError, "keepdims=", {"keepdim": True}),
)


def reduction(f, reference, empty=ValueError, options=(), wrong=(), **more):
    """A reduction over axes. empty: its value without elements, or the error."""
    cases = tuple(Case((Reals(shape),), params) for shape, params in REDUCED)
    cases += tuple(Case((Reals((2, 3)),), {**params, "axis": 1}) for params in options)
    if empty == 0:
        cases += (Case((Reals((0,)),)), Case((Reals((2, 0)),), {"axis": 1}))
    else:
        wrong += (Wrong((np.ones((2, 0)),), empty, r"\(2, 0\)", {"axis": 1}),)
    wrong += (*NO_AXIS, TWICE, *TORCH_NAMES)
    return Row(f, reference, cases, wrong=wrong, **more)


def truth(f, reference):
    cases = tuple(Case((Bools(shape),), params) for shape, params in REDUCED)
    cases += (Case((Ints((2, 3), 0, 2),), {"axis": 1}), Case((Bools((0,)),)))
    wrong = (*NO_AXIS, *TORCH_NAMES)
    return Row(f, reference, cases, order=0, result=boolean, wrong=wrong)


def search(f, reference):
    cases = tuple(
        Case((Reals(shape),), params) for shape, params in [((), {}), ((2, 3), {}), *ALONG]
    )
    cases += (Case((Given([[1.0, 2.0, 2.0, 1.0]]),), {"axis": 1, "keepdims": True}),)
    wrong = (*NO_AXIS, *TORCH_NAMES, Wrong((np.ones(0),), ValueError, r"\(0,\)"))
    return Row(f, reference, cases, order=0, result=index, wrong=wrong)


def reference_logsumexp(x, axis=None, keepdims=False):
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
        result=floating,
        kinks=(
            Kink(([1000.0, 1000.0],), ([0.5, 0.5],)),
            Kink(([-math.inf, 0.0],), ([0.0, 1.0],)),
            Kink(([-math.inf, -math.inf],), ([0.0, 0.0],)),
        ),
    ),
    "any": truth(mg.any, np.any),
    "all": truth(mg.all, np.all),
    "argmax": search(mg.argmax, np.argmax),
    "argmin": search(mg.argmin, np.argmin),
}

# Indexing. A key is a function of the index arrays.


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

# Shapes


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

# Products and neural functions

PRODUCTS = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3, 4)),
    ((2, 0), (0, 3)),
    ((0, 2), (2, 3)),
    ((4, 2, 3), (3, 2)),
    ((2, 3), (4, 3, 2)),
    ((2, 1, 1, 3), (2, 3, 2)),
    ((3,), (2, 3, 2)),
    ((2, 2, 3), (3,)),
    ((1, 2, 3), (4, 3, 1)),
]


def reference_softmax(x, axis=-1):
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


def reference_target(labels, weight=None, *, classes, ignore_index, label_smoothing, dtype):
    weight = np.ones(classes) if weight is None else weight
    out = np.zeros((len(labels), classes))
    for row, label in zip(out, labels, strict=True):
        if label != ignore_index:
            row += label_smoothing / classes * weight
            row[label] += (1 - label_smoothing) * weight[label]
    return out


def reference_cross_entropy(logits, labels, weight=None, *, ignore_index, label_smoothing):
    target = reference_target(
        labels,
        weight,
        classes=logits.shape[1],
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        dtype=None,
    )
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    mass = target.sum(axis=1, keepdims=True)
    return -(target * np.log(p)).sum(axis=1), mass * p - target


def reference_nll(log_p, labels, weight=None, *, ignore_index):
    used = labels != ignore_index
    safe = np.where(used, labels, 0)
    share = used * (np.ones(log_p.shape[1]) if weight is None else weight)[safe]
    return -share * log_p[np.arange(len(labels)), safe]


def reference_binary(logits, target, pos_weight=1):
    p = 1 / (1 + np.exp(-logits))
    return -pos_weight * target * np.log(p) - (1 - target) * np.log(1 - p)


LABELLED = [
    ({"ignore_index": -100, "label_smoothing": 0.0}, None),
    ({"ignore_index": -100, "label_smoothing": 0.1}, None),
    ({"ignore_index": 2, "label_smoothing": 0.0}, Reals((3,), POSITIVE)),
    ({"ignore_index": 0, "label_smoothing": 0.2}, Reals((3,), POSITIVE)),
    ({"ignore_index": -100, "label_smoothing": 1.0}, None),
]

NEURAL = {
    "matmul": Row(
        lambda x, y: x @ y,
        np.matmul,
        tuple(Case((Reals(a), Reals(b))) for a, b in PRODUCTS),
        dtypes=(*FLOATS, *INTEGERS),
        wrong=(
            Wrong(
                (np.ones((2, 3)), np.ones((4, 5))),
                ValueError,
                r"axis -1 of x has length 3.*axis -2 of y has 4.*\(2, 3\).*\(4, 5\)",
            ),
            Wrong((np.ones((2, 3)), np.ones(2)), ValueError, r"axis -1 of y has 2"),
            Wrong((np.ones((2, 3)), np.array(2.0)), ValueError, r"at least one axis.*\(\)"),
            Wrong(
                (np.ones((2, 2, 3)), np.ones((3, 3, 2))), ValueError, r"\(2, 2, 3\).*\(3, 3, 2\)"
            ),
        ),
    ),
    "softmax": Row(
        mg.softmax,
        reference_softmax,
        tuple(Case((Reals(shape),), params) for shape, params in [*ALONG, ((0, 3), {})]),
        result=floating,
        wrong=(*NO_AXIS, TORCH_NAMES[0]),
        kinks=(Kink(([1000.0, 1000.0],), ([0.0, 0.0],)),),
    ),
    "log_softmax": Row(
        mg.log_softmax,
        lambda x, axis=-1: np.log(reference_softmax(x, axis)),
        tuple(Case((Reals(shape),), params) for shape, params in [*ALONG, ((0, 3), {})]),
        result=floating,
        wrong=(*NO_AXIS, TORCH_NAMES[0]),
        kinks=(Kink(([1000.0, -1000.0],), ([-1.0, 1.0],)),),
    ),
    "cross_entropy_target": Row(
        TABLE["cross_entropy_target"],
        reference_target,
        tuple(
            Case((Ints((4,), 0, 3), weight), {**params, "classes": 3, "dtype": DOUBLE})
            for params, weight in LABELLED
        ),
        order=0,
        result=lambda _: DOUBLE,
        dtypes=(DOUBLE,),
    ),
    "softmax_cross_entropy": Row(
        TABLE["softmax_cross_entropy"],
        reference_cross_entropy,
        (
            *(Case((Reals((4, 3)), Ints((4,), 0, 3), w), params) for params, w in LABELLED),
            Case((Reals((0, 3)), Ints((0,)), None), LABELLED[0][0]),
        ),
        result=floating,
        wrong=(
            Wrong(
                (np.ones((2, 3)), np.array([0, 3])),
                ValueError,
                r"\[0, 3\).* 3 at position 1",
                LABELLED[0][0],
            ),
            Wrong(
                (np.ones((2, 3)), np.array([-1, 0])),
                ValueError,
                r"\[0, 3\).* -1 at position 0",
                LABELLED[0][0],
            ),
        ),
    ),
    "nll_loss": Row(
        TABLE["nll_loss"],
        reference_nll,
        (
            Case((Reals((4, 3)), Ints((4,), 0, 3)), {"ignore_index": -100}),
            Case((Reals((4, 3)), Ints((4,), 0, 3), Reals((3,), POSITIVE)), {"ignore_index": 2}),
            Case((Reals((0, 3)), Ints((0,))), {"ignore_index": -100}),
        ),
        result=floating,
        kinks=(
            Kink(
                ([[-math.inf, 0.0], [-1.0, -math.inf]], np.array([1, 0])),
                ([[0.0, -1.0], [-1.0, 0.0]], None),
                {"ignore_index": -100},
            ),
        ),
        wrong=(
            Wrong(
                (np.ones((2, 3)), np.array([0, 3])),
                ValueError,
                r"\[0, 3\) or be -100.* 3 at position 1",
                {"ignore_index": -100},
            ),
        ),
    ),
    "binary_cross_entropy_with_logits": Row(
        TABLE["binary_cross_entropy_with_logits"],
        reference_binary,
        (
            *(Case((Reals(shape), Reals(shape, ((0.1, 0.9),)))) for shape in SHAPES),
            Case((Reals((2, 3)), Reals((2, 3), ((0.1, 0.9),)), Reals((3,), POSITIVE))),
            Case((Reals((2, 3)), Reals((2, 3), ((0.1, 0.9),)), Reals((), POSITIVE))),
        ),
        result=floating,
        kinks=(
            Kink(
                ([-1e4, 1e4, -1e4, 1e4], [0.0, 0.0, 1.0, 1.0]), ([0.0, 1, -1, 0], [1e4, -1e4] * 2)
            ),
            Kink(
                ([-1e4, 1e4, 1e4], [1.0, 1.0, 0.0], 2.0),
                ([-2.0, 0.0, 1.0], [2e4, -1e4, -1e4], 1e4),
            ),
        ),
        wrong=(NO_FIT,),
    ),
    "one_hot": Row(
        mg.one_hot,
        lambda labels, num_classes: np.eye(num_classes, dtype=np.int64)[labels],
        tuple(
            Case((Ints(shape, 0, 4, dtype),), {"num_classes": 4})
            for shape in SHAPES
            for dtype in (np.int64, np.uint8)
        ),
        order=0,
        result=index,
        wrong=(
            Wrong(
                (np.array([[0, 1], [4, 2]]),),
                ValueError,
                r"\[0, 4\); got 4 at position",
                {"num_classes": 4},
            ),
            Wrong((np.array([0, -1]),), ValueError, "-1 at position 1", {"num_classes": 4}),
            Wrong((np.ones(2),), TypeError, "integer labels, got float64", {"num_classes": 4}),
            Wrong((np.empty(0, int),), ValueError, "no label to infer"),
            Wrong((np.array([1]),), ValueError, "a count, or -1.*got -2", {"num_classes": -2}),
        ),
    ),
    "linear": Row(
        mg.linear,
        lambda x, weight, bias=None: x @ weight.T + (0 if bias is None else bias),
        (
            Case((Reals((4, 3)), Reals((2, 3)), Reals((2,)))),
            Case((Reals((4, 3)), Reals((2, 3)))),
            Case((Reals((3,)), Reals((2, 3)), Reals((2,)))),
            Case((Reals((2, 2, 3)), Reals((2, 3)), Reals((2,)))),
            Case((Reals((0, 3)), Reals((2, 3)), Reals((2,)))),
        ),
        wrong=(
            Wrong((np.ones((4, 3)), np.ones((2, 5))), ValueError, r"axis -1.*\(4, 3\).*\(2, 5\)"),
            Wrong(
                (np.ones((4, 3)), np.ones((2, 3)), np.ones(3)), ValueError, r"bias.*\(2,\).*\(3,\)"
            ),
        ),
    ),
    "dropout": Row(
        lambda x, mask, scale: TABLE["dropout"](x, mask, scale=scale),
        lambda x, mask, scale: np.where(mask, x * scale, 0),
        tuple(Case((Reals(shape), Bools(shape)), {"scale": 1.25}) for shape in SHAPES),
    ),
}

# Random numbers, in Python's integers

LOW = 0xFFFFFFFF


def philox(counter, stream, key):
    """Return the four words of a block: Salmon et al. (2011), section 5.3."""
    c = [counter & LOW, counter >> 32, stream & LOW, stream >> 32]
    k = [key & LOW, key >> 32]
    for _ in range(10):
        left, right = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [right >> 32 ^ c[1] ^ k[0], right & LOW, left >> 32 ^ c[3] ^ k[1], left & LOW]
        k = [k[0] + 0x9E3779B9 & LOW, k[1] + 0xBB67AE85 & LOW]
    return c


def reference_bits(state, size):
    key, stream, counter = map(int, state)
    blocks = -(-size // 4)
    words = [w for i in range(blocks) for w in philox(counter + i, stream, key)][:size]
    return np.array(words, np.uint32), np.array([key, stream, counter + blocks], np.uint64)


def drawn(state, size):
    return TABLE["random_bits"](state, size=size), state


def pairs_of(bits):
    return [(int(a) << 32) + int(b) for a, b in bits.reshape(-1, 2)]


def reference_unit(bits, dtype):
    if dtype == DOUBLE:
        return np.array([((p >> 37 << 26) + ((p & LOW) >> 6)) / 2**53 for p in pairs_of(bits)])
    keep = {HALF: 11, SINGLE: 24}[dtype]
    return np.array([(int(b) >> 32 - keep) / 2**keep for b in bits], dtype)


def reference_normal(bits, dtype):
    first, second = bits[: len(bits) // 2].astype(float), bits[len(bits) // 2 :].astype(float)
    point = np.sqrt(-2 * np.log((first + 1) / 2**32)) * np.exp(2j * np.pi * second / 2**32)
    return np.concatenate([point.real, point.imag]).astype(dtype)


WORDS = Ints((6,), 0, 2**32, np.uint32)
RANDOM = {
    "random_bits": Row(
        drawn,
        reference_bits,
        tuple(
            Case((Given(np.array(state, np.uint64)),), {"size": size})
            for state, size in [
                ((0, 0, 0), 4),
                ((2**64 - 1, 7, 2**32 - 1), 9),
                ((5, 2**40, 2**40), 3),
                ((1, 2, 3), 0),
            ]
        ),
        order=0,
        result=None,
        writes=(0,),
    ),
    "random_unit": Row(
        TABLE["random_unit"],
        reference_unit,
        tuple(
            Case((words,), {"dtype": dtype})
            for words in (WORDS, Given(np.array([0, LOW] * 2, np.uint32)))
            for dtype in FLOATS
        ),
        order=0,
        result=None,
    ),
    "random_normal": Row(
        TABLE["random_normal"],
        reference_normal,
        (
            Case((WORDS,), {"dtype": DOUBLE}),
            Case((Given(np.array([0, LOW], np.uint32)),), {"dtype": DOUBLE}),
            Case((WORDS,), {"dtype": SINGLE}),
        ),
        order=0,
        result=None,
    ),
    "random_integers": Row(
        TABLE["random_integers"],
        lambda bits, low, high, dtype: np.array(
            [low + p % (high - low) for p in pairs_of(bits)], dtype
        ),
        (
            Case((WORDS,), {"low": -3, "high": 4, "dtype": np.dtype(np.int64)}),
            Case((WORDS,), {"low": 0, "high": 2**40, "dtype": np.dtype(np.int64)}),
            Case((WORDS,), {"low": 0, "high": 10, "dtype": np.dtype(np.int8)}),
        ),
        order=0,
        result=None,
    ),
    "random_order": Row(
        TABLE["random_order"],
        lambda bits: np.argsort(np.array(pairs_of(bits), np.uint64)),
        (Case((WORDS,)), Case((Given(np.empty(0, np.uint32)),))),
        order=0,
        result=index,
    ),
}

# Updates


def updated(name, *changed):
    """Return how to call an update op: on its inputs; the changed ones are the result."""

    def f(*inputs, **params):
        TABLE[name](*inputs, **params)
        return tuple(inputs[i] for i in changed if inputs[i] is not None)

    return f


def penalised(p, g, weight_decay, l1):
    return g + (weight_decay or 0) * p + (l1 or 0) * np.sign(p)


def reference_sgd(p, g, v, step, lr, momentum, dampening, weight_decay, l1=None, *, nesterov):
    g = penalised(p, g, weight_decay, l1)
    if v is None:
        return (p - lr * g,)
    v = momentum * v + (1 if step == 1 else 1 - dampening) * g
    return p - lr * (g + momentum * v if nesterov else v), v


def reference_adagrad(p, g, total, step, lr, lr_decay, eps, weight_decay, l1=None):
    g = penalised(p, g, weight_decay, l1)
    total = total + g**2
    return p - lr / (1 + (step - 1) * lr_decay) * g / (np.sqrt(total) + eps), total


def reference_rmsprop(p, g, v, mean, velocity, lr, alpha, eps, weight_decay, momentum, l1=None):
    g = penalised(p, g, weight_decay, l1)
    variance = v = alpha * v + (1 - alpha) * g**2
    if mean is not None:
        mean = alpha * mean + (1 - alpha) * g
        variance = v - mean**2
    g = g / (np.sqrt(variance) + eps)
    if velocity is not None:
        g = velocity = momentum * velocity + g
    return tuple(x for x in (p - lr * g, v, mean, velocity) if x is not None)


def reference_adam(p, g, m, v, step, lr, beta1, beta2, eps, weight_decay, l1=None, *, decoupled):
    g = penalised(p, g, None if decoupled else weight_decay, l1)
    if decoupled:
        p = p - lr * (weight_decay or 0) * p
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    m_hat, v_hat = m / (1 - beta1**step), v / (1 - beta2**step)
    return p - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


def hypers(*values):
    return tuple(None if value is None else Hyper(np.float64(value)) for value in values)


GRADIENTS = [[()], [(2, 3)], [(0,)], [(2, 3), (), (0,), (4,)]]


def together(gs):
    return np.concatenate([g.ravel() for g in gs])


UPDATES = {
    "assign": Row(
        lambda x, value: mg.assign(x, value),
        lambda x, value: np.broadcast_to(value, x.shape),
        (
            Case((Reals((2, 3)), Reals((2, 3)))),
            Case((Reals((2, 3)), Reals((3,)))),
            Case((Reals((2, 3)),), {"value": 2.0}),
            Case((Reals(()), Reals(()))),
            Case((Reals((0,)), Reals((1,)))),
        ),
        order=0,
        writes=(0,),
        wrong=(
            Wrong((np.ones((2, 3)), np.ones(2)), ValueError, r"\(2, 3\).*\(2,\)"),
            Wrong((np.ones(3, int), np.ones(3)), TypeError, "float64.*int64"),
        ),
    ),
    "sgd_update": Row(
        updated("sgd_update", 0, 2),
        reference_sgd,
        tuple(
            Case(
                (
                    Reals(shape),
                    Reals(shape),
                    Reals(shape) if momentum else None,
                    *hypers(step, 0.1, momentum, 0.5, decay, *l1),
                ),
                {"nesterov": nesterov},
            )
            for shape in SHAPES
            for momentum, step, nesterov, decay, l1 in [
                (0.0, 1, False, None, ()),
                (0.0, 1, False, 0.01, (0.2,)),
                (0.9, 1, False, 0.01, ()),
                (0.9, 2, False, None, (0.2,)),
                (0.9, 2, True, 0.01, (0.2,)),
            ]
        ),
        order=0,
        writes=(0, 2),
    ),
    "adagrad_update": Row(
        updated("adagrad_update", 0, 2),
        reference_adagrad,
        tuple(
            Case(
                (
                    *(Reals(shape) for _ in range(2)),
                    Reals(shape, POSITIVE),
                    *hypers(step, 0.1, 0.3, 1e-10, decay, *l1),
                )
            )
            for shape in SHAPES
            for step, decay, l1 in [(1, 0.01, ()), (3, 0.01, (0.2,)), (3, None, ())]
        ),
        order=0,
        writes=(0, 2),
    ),
    "rmsprop_update": Row(
        updated("rmsprop_update", 0, 2, 3, 4),
        reference_rmsprop,
        tuple(
            Case(
                (
                    *(Reals(shape) for _ in range(2)),
                    Reals(shape, ((1.0, 3.0),)),
                    Reals(shape, ((-0.5, 0.5),)) if centered else None,
                    Reals(shape) if momentum else None,
                    *hypers(0.1, 0.9, 1e-8, decay, momentum, *l1),
                )
            )
            for shape in SHAPES
            for centered, momentum, decay, l1 in [
                (False, 0.0, None, ()),
                (True, 0.0, 0.01, (0.2,)),
                (False, 0.9, None, (0.2,)),
                (True, 0.9, 0.01, ()),
            ]
        ),
        order=0,
        writes=(0, 2, 3, 4),
    ),
    "adam_update": Row(
        updated("adam_update", 0, 2, 3),
        reference_adam,
        tuple(
            Case(
                (
                    *(Reals(shape) for _ in range(3)),
                    Reals(shape, POSITIVE),
                    *hypers(step, 0.1, 0.9, 0.99, 1e-8, decay, *l1),
                ),
                {"decoupled": decoupled},
            )
            for shape in SHAPES
            for step, decay, decoupled, l1 in [
                (1, 0.0, False, ()),
                (2, None, False, (0.2,)),
                (2, None, True, ()),
                (3, 0.1, False, ()),
                (3, 0.1, False, (0.2,)),
                (2, 0.1, True, ()),
                (2, 0.1, True, (0.2,)),
            ]
        ),
        order=0,
        writes=(0, 2, 3),
    ),
    "total_norm": Row(
        TABLE["total_norm"],
        lambda *gs: np.linalg.norm(together(gs)),
        tuple(Case(tuple(map(Reals, shapes))) for shapes in GRADIENTS),
        order=0,
        result=lambda dtype: DOUBLE,
    ),
    "total_p_norm": Row(
        TABLE["total_p_norm"],
        lambda *gs, norm_type: np.linalg.norm([0.0, *together(gs)], norm_type),
        tuple(
            Case(tuple(map(Reals, shapes)), {"norm_type": norm_type})
            for shapes in GRADIENTS
            for norm_type in (1.0, 2.0, 3.5, math.inf)
        ),
        order=0,
        result=lambda dtype: DOUBLE,
    ),
    "scale_update": Row(
        updated("scale_update", 0),
        lambda g, factor: g * factor,
        tuple(Case((Reals(shape), *hypers(0.3))) for shape in SHAPES),
        order=0,
        writes=(0,),
    ),
}

ROWS = {
    **CREATION,
    **ELEMENTWISE,
    **REDUCTIONS,
    **INDEXING,
    **SHAPING,
    **NEURAL,
    **RANDOM,
    **UPDATES,
}
