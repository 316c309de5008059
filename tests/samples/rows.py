"""What rows are made of: inputs, cases, kinks, wrong calls, domains and the common kinds of row."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import minigrad as mg

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
    """Inputs that must raise: the type, and what the message says beside the op's name.

    host_only: a GPU does not notice, and goes on with what is not finite.
    """

    inputs: tuple[Any, ...]
    error: type[Exception]
    says: str
    params: dict[str, Any] = field(default_factory=dict)
    host_only: bool = False

    def __str__(self):
        return title(self.inputs, self.params)


@dataclass(frozen=True)
class Row:
    """One op. f: as users call it, on tensors; reference: the same on float64 NumPy arrays.

    order: how often it can be differentiated. dtypes: what the floating inputs may be cast to;
    result: the result's dtype for each, a tuple where several differ, None where it is the
    reference's. writes: the inputs that change, which f returns, except counters.
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


def part(dtype):
    """The result of a real part."""
    return DOUBLE if dtype == COMPLEX else dtype


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

# Kinds of row

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


def unary(f, reference, domain=ALL, params=None, **more):
    cases = tuple(Case((Reals(shape, domain),), params or {}) for shape in SHAPES)
    return Row(f, reference, cases, **more)


def binary(f, reference, x=ALL, y=ALL, cases=(), wrong=(), **more):
    pairs = tuple(Case((Reals(a, x), Reals(b, y))) for a, b in PAIRS)
    return Row(f, reference, pairs + cases, wrong=(NO_FIT, *wrong), **more)


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
