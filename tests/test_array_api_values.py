"""The functions of the array API standard give what NumPy's give: values, dtypes, shapes.

Where the standard and NumPy part (`sort(descending=True)`, the default dtype), the tables say so.
"""

import array
import warnings
from itertools import product
from types import SimpleNamespace

import hypothesis.extra.numpy as arrays_of
import hypothesis.strategies as st
import numpy as np
import pytest
from against_numpy import assert_alike, assert_same, eps_on, hosted, numbers, on
from hypothesis import given, settings
from standard import BINARY, KINDS, PROMOTIONS, SCALARS, SIGNATURES, TAKES, UNARY

import minigrad as mg
from minigrad import backends


@pytest.fixture(autouse=True)
def quiet():
    """Poles, overflow and nan are values here."""
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (np.float64(1.0), np.float32(1.0)),
        (np.zeros(1), np.zeros(())),
        (np.zeros(2), np.zeros(3)),
        (np.array(0.0), np.array(-0.0)),
        (np.array(complex(1.0, -0.0)), np.array(complex(1.0, 0.0))),
        (np.array(np.nan), np.array(1.0)),
        (np.array(1.0), np.nextafter(1.0, 2.0)),
        (np.array([1, 2]), np.array([1, 3])),
        ((np.zeros(1),), (np.zeros(1), np.zeros(1))),
        ((np.zeros(1), np.ones(1)), np.linalg.slogdet(np.eye(2))),
    ],
)
def test_a_difference_is_noticed(found, expected):
    with pytest.raises((AssertionError, ValueError)):
        assert_same(on("numpy", found if isinstance(found, tuple) else np.asarray(found)), expected)


# Elementwise functions

SHAPES = [(), (0,), (5,), (2, 0, 3), (2, 3, 4)]
PAIRS = [
    ((), ()),
    ((3,), ()),
    ((3, 1), (1, 4)),
    ((2, 3), (3,)),
    ((0, 1), (1, 3)),
    ((1,), (2, 1, 1)),
]

REAL_EDGES = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -3.0, 3.5]


def edges(dtype):
    """Return the values of a dtype at which functions are special."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind in "iu":
        facts = np.iinfo(dtype)
        values = {facts.min, facts.min + 1, -1, 0, 1, 2, 7, facts.max - 1, facts.max}
        return np.array(sorted(v for v in values if v >= facts.min), dtype)
    facts = np.finfo(dtype)
    sizes = [facts.max, facts.smallest_normal, facts.smallest_subnormal, facts.eps]
    real = np.array([*REAL_EDGES, *sizes, *(-size for size in sizes)], facts.dtype)
    if dtype.kind == "f":
        return real
    z = np.empty((len(real), len(real)), dtype)
    z.real, z.imag = real[:, None], real
    return z.reshape(-1)


def few_edges(dtype):
    """Return edges whose pairs are not too many."""
    values = edges(dtype)
    if np.dtype(dtype).kind != "c":
        return values
    real = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -2.0])
    z = np.empty((len(real), len(real)), dtype)
    z.real, z.imag = real[:, None], real
    return z.reshape(-1)


def compare(backend, name, *arrays):
    """Call one function on arrays and on their tensors."""
    expected = getattr(np, name)(*arrays)
    found = getattr(mg, name)(*on(backend, arrays))
    if backends.get(backend).device == "cuda:0":
        assert_alike(found, expected)
        expected = np.where(is_open_on_a_gpu(name, arrays, expected), found.to_host(), expected)
    simple = expected.dtype.kind != "c" and name not in QUOTIENTS
    assert_same(found, expected, eps_on(backend, on_a_gpu=4.0 if simple else 64.0))


#: Of complex numbers, what treats the parts alone.
BY_PARTS = {
    *"add conj equal imag isfinite isinf isnan negative not_equal".split(),
    *"positive real round subtract".split(),
}
QUOTIENTS = {"floor_divide", "remainder"}


def is_open_on_a_gpu(name, arrays, expected):
    """Return where a GPU's own arithmetic may part from NumPy's, as docs/semantics.md says."""
    operands = np.broadcast_arrays(arrays[0], arrays[-1])
    is_complex = any(x.dtype.kind == "c" for x in operands)
    is_open = np.zeros(operands[0].shape, bool)
    for x in operands:
        for size in map(abs, (x.real, x.imag)):
            if size.dtype == np.float32:
                is_open |= (size > 0) & (size < np.finfo(np.float32).smallest_normal)
            if is_complex and name not in BY_PARTS:
                root = np.finfo(expected.dtype).max ** 0.5 / 4
                is_open |= ~((size == 0) | (size > 1 / root) & (size < root))
    if expected.dtype.kind == "f":
        size = abs(expected)
        is_open |= (size > np.finfo(expected.dtype).max / 2) & (size < np.inf)
    elif is_complex and name not in BY_PARTS:
        is_open |= ~np.isfinite(expected)
    x, y = operands
    if is_complex and name == "pow":
        is_open |= ~(abs(y * np.log(x)) < 16)
    if expected.dtype.kind == "f" and name in QUOTIENTS:
        quotient = x / y
        near = (abs(quotient - np.rint(quotient)) < 0.1) & (np.fmod(x, y) != 0)
        is_open |= near | ~(abs(quotient) < 8) | np.isinf(y)
    return is_open


def fits(name, x, y):
    """Return y made harmless for a function of integers that has no value, or no sense, there."""
    if isinstance(y, np.ndarray) and y.dtype.kind in "iu":
        if name == "pow":
            return np.asarray(abs(y) & np.iinfo(y.dtype).max)  # abs(-128) is -128
        if name.endswith("_shift"):
            return np.asarray(abs(y) % (8 * min(x.dtype.itemsize, y.dtype.itemsize)))
    return y


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_array(backend, name):
    for dtype, shape in product(UNARY[name], SHAPES):
        compare(backend, name, numbers(shape, dtype))
    for dtype in UNARY[name]:
        compare(backend, name, numbers((4, 3, 2), dtype).T[::-1, :, ::2])


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_array_at_special_values(backend, name):
    for dtype in UNARY[name]:
        x = edges(dtype)
        compare(backend, name, x)
        compare(backend, name, x[-1:].reshape(()))


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_arrays(backend, name):
    for a, b in PROMOTIONS:
        if {a, b} <= {*BINARY[name]}:
            for left, right in PAIRS:
                x, y = numbers(left, a), numbers(right, b, seed=1)
                compare(backend, name, x, fits(name, x, y))


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_arrays_at_special_values(backend, name):
    for dtype in BINARY[name]:
        x = few_edges(dtype)
        y = fits(name, x, x)
        compare(backend, name, x[:, None], y)
        compare(backend, name, x[:1].reshape(()), y)


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_an_array_and_a_scalar(backend, name):
    for dtype in BINARY[name]:
        x = numbers((2, 3), dtype)
        for kind, value in product(SCALARS[dtype], (0, 1, 3)):
            scalar = kind(value)
            compare(backend, name, x, scalar)
            compare(backend, name, scalar, fits(name, x, x))


FLOATING_UNARY = sorted(name for name in UNARY if "float64" in UNARY[name])
FLOATING_BINARY = sorted(name for name in BINARY if "float64" in BINARY[name])


@settings(max_examples=50)
@given(
    st.sampled_from(FLOATING_UNARY),
    st.sampled_from(TAKES["floating"]),
    arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    st.data(),
)
def test_functions_of_any_array(backend, name, dtype, shape, data):
    if dtype in UNARY[name]:
        compare(backend, name, data.draw(arrays_of.arrays(dtype, shape)))


@settings(max_examples=50)
@given(
    st.sampled_from(FLOATING_BINARY),
    st.sampled_from([pair for pair in PROMOTIONS if {*pair} <= {*TAKES["floating"]}]),
    arrays_of.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4, min_side=0),
    st.data(),
)
def test_functions_of_any_two_arrays(backend, name, dtypes, shapes, data):
    if {*dtypes} <= {*BINARY[name]}:
        pairs = zip(dtypes, shapes.input_shapes, strict=True)
        compare(backend, name, *(data.draw(arrays_of.arrays(*pair)) for pair in pairs))


@settings(max_examples=50)
@given(
    st.sampled_from(sorted({*UNARY, *BINARY})),
    st.sampled_from(KINDS["integral"]),
    st.data(),
)
def test_functions_of_any_integers(backend, name, dtype, data):
    values = arrays_of.arrays(dtype, arrays_of.array_shapes(max_dims=2, max_side=4))
    x = data.draw(values)
    if dtype in UNARY.get(name, ()):
        compare(backend, name, x)
    elif dtype in BINARY.get(name, ()):
        y = data.draw(arrays_of.arrays(dtype, x.shape))
        compare(backend, name, x, fits(name, x, np.where(y == np.iinfo(dtype).min, 1, y)))


# Every other function: calls written once and run on both


def _sort(x, /, *, axis=-1, descending=False, stable=True):
    return np.take_along_axis(x, _argsort(x, axis=axis, descending=descending), axis)


def _argsort(x, /, *, axis=-1, descending=False, stable=True):
    if not descending:
        return np.argsort(x, axis=axis, stable=True)
    # Equal elements keep their order: turn around, sort, turn back.
    turned = np.flip(np.argsort(np.flip(x, axis), axis=axis, stable=True), axis)
    return x.shape[axis] - 1 - turned


def _floating(function):
    """What new floats are: of minigrad's default dtype, which is not NumPy's."""
    return lambda *args, dtype=None, **kw: function(*args, dtype=dtype or mg.float32, **kw)


def _frequencies(function):
    return lambda n, *, d=1.0, dtype=mg.float32: function(n, d=d).astype(dtype)


#: NumPy as the standard has it.
REFERENCE = SimpleNamespace(**{name: getattr(np, name) for name in SIGNATURES if hasattr(np, name)})
REFERENCE.linalg, REFERENCE.fft = (SimpleNamespace(**vars(m)) for m in (np.linalg, np.fft))
REFERENCE.sort, REFERENCE.argsort = _sort, _argsort
for name in ("zeros", "ones", "empty", "eye", "linspace"):
    setattr(REFERENCE, name, _floating(getattr(np, name)))
REFERENCE.fft.fftfreq, REFERENCE.fft.rfftfreq = map(_frequencies, (np.fft.fftfreq, np.fft.rfftfreq))
# What NumPy 2.1 does not have: the default axis, and the rank of empty matrices.
REFERENCE.take_along_axis = lambda x, indices, axis=-1: np.take_along_axis(x, indices, axis)
REFERENCE.linalg.matrix_rank = lambda x, rtol=None: (
    np.linalg.matrix_rank(x, rtol=rtol) if x.size else np.zeros(x.shape[:-2], np.int64)
)

ROWS = {}


def row(name, takes, *shapes, eps=0.0, **calls):
    """Add calls of one function: dtypes that it takes, shapes of its arrays, how it is called."""
    ROWS.setdefault(name, []).extend((TAKES[takes], shapes, eps, call) for call in calls.values())


def calls_of(name, *keywords):
    """Return a call of a function for each line of keywords."""
    return {
        str(i): lambda f, *arrays, _keywords=line: f(*arrays, **_keywords)
        for i, line in enumerate(keywords)
    }


def rows(names, takes, shapes, keywords, eps=0.0):
    """Add calls that differ in keywords only: positional arrays of `shapes`, one row for each."""
    for name, shape in product(names.split(), shapes):
        arrays = shape if isinstance(shape, list) else [shape]
        row(name, takes, *arrays, eps=eps, **calls_of(name, *keywords))


AXES = [{}, {"axis": 0}, {"axis": -1, "keepdims": True}, {"axis": None, "keepdims": True}]
SEVERAL = [{"axis": (0, 2)}, {"axis": (-1, 0), "keepdims": True}, {"axis": ()}]
FILLED = [(3,), (2, 3, 4), (1, 1)]
WITH_EMPTY = [*FILLED, (0,), (0, 3)]

rows("max min", "real", FILLED, AXES)
rows("max min", "real", [(2, 3, 4)], SEVERAL)
rows("max min", "real", [(2, 0)], [{"axis": 0}])
rows("argmax argmin", "real", FILLED, AXES)
rows("all any", "any", WITH_EMPTY, AXES)
rows("all any", "any", [(2, 3, 4)], SEVERAL)
rows("count_nonzero", "any", WITH_EMPTY, AXES)
rows("count_nonzero", "any", [(2, 3, 4)], SEVERAL)
rows("sum prod", "numeric", WITH_EMPTY, AXES, eps=64)
rows("sum prod", "numeric", [(2, 3, 4)], SEVERAL, eps=64)
for kind in ("real floating", "complex floating"):
    wide = [{"dtype": np.dtype(name)} for name in TAKES[kind]]
    rows("sum prod", kind, [(2, 3)], wide, eps=64)
rows("sum prod", "integer", [(2, 3)], [{"dtype": mg.int64}, {"dtype": mg.int32, "axis": 1}])
rows("mean", "floating", FILLED, AXES, eps=16)
rows("mean", "floating", [(2, 3, 4)], SEVERAL, eps=16)
rows("var std", "real floating", FILLED, AXES, eps=64)
rows("var std", "real floating", [(2, 3, 4)], [*SEVERAL, {"correction": 1, "axis": 1}], eps=64)
rows("var std", "real floating", [(2, 3, 4)], [{"correction": 0.5}, {"correction": 1.0}], eps=64)

CUMULATIVE = [{}, {"axis": 0}, {"axis": -1, "include_initial": True}, {"include_initial": True}]
rows("cumulative_sum cumulative_prod", "numeric", [(4,), (0,)], CUMULATIVE, eps=64)
rows("cumulative_sum cumulative_prod", "numeric", [(2, 3), (3, 0)], CUMULATIVE[1:3], eps=64)
rows("cumulative_sum cumulative_prod", "integer", [(4,)], [{"dtype": mg.int32}])

rows("sort argsort", "real", [(7,), (3, 4), (0,), (2, 0)], [{}, {"axis": 0}])
rows("sort argsort", "real", [(7,), (3, 4)], [{"descending": True}, {"axis": 0, "stable": False}])
rows("sort argsort", "real", [(3, 4)], [{"axis": 0, "descending": True, "stable": True}])
rows("nonzero", "any", [(5,), (2, 3), (0,), (2, 0)], [{}])
rows("unique_all unique_counts unique_inverse unique_values", "any", [(9,), (3, 4), (0,)], [{}])


def ordered(x):
    """Return x sorted."""
    return (mg if isinstance(x, mg.Tensor) else REFERENCE).sort(x)


row(
    "searchsorted",
    "real",
    (6,),
    (2, 3),
    left=lambda f, x, v: f(ordered(x), v, side="left"),
    right=lambda f, x, v: f(ordered(x), v, side="right"),
    sorter=lambda f, x, v: f(x, v, sorter=indices_that_sort(x)),
    all=lambda f, x, v: f(x, v, side="right", sorter=indices_that_sort(x)),
    number=lambda f, x, v: f(ordered(x), v[0, 0]),
)


def indices_that_sort(x):
    return (mg if isinstance(x, mg.Tensor) else REFERENCE).argsort(x)


row("clip", "real", (2, 3), none=lambda f, x: f(x), two=lambda f, x: f(x, 1, 3))
row("clip", "real", (2, 3), low=lambda f, x: f(x, min=2), high=lambda f, x: f(x, max=2))
row(
    "clip",
    "real",
    (2, 3),
    (3,),
    arrays=lambda f, x, y: f(x, min=y),
    mixed=lambda f, x, y: f(x, 0, y),
)
row("clip", "real", (), (2, 1), both=lambda f, x, y: f(x, y, y))

row("where", "any", (2, 1), (3,), plain=lambda f, x, y: f(x == x, x, y))
row("where", "any", (2, 3), (3,), mask=lambda f, x, y: f(y != 0, x, y))
row(
    "where", "any", (2, 3), left=lambda f, x: f(x != 0, True, x), right=lambda f, x: f(x == 0, x, 0)
)
row("where", "floating", (2, 3), number=lambda f, x: f(x == x, x, 0.5))

row(
    "take",
    "any",
    (3, 4),
    axis=lambda f, x: f(x, like(x, [2, 0, 0]), axis=0),
    negative=lambda f, x: f(x, like(x, [3, 1]), axis=-1),
    empty=lambda f, x: f(x, like(x, []), axis=1),
)
row("take", "any", (5,), default=lambda f, x: f(x, like(x, [4, 0])))
row(
    "take_along_axis",
    "any",
    (3, 4),
    default=lambda f, x: f(x, like(x, [[3, 0], [1, 1], [2, 2]])),
    axis=lambda f, x: f(x, like(x, [[2, 0, 1, 1]]), axis=0),
    negative=lambda f, x: f(x, like(x, [[-1, -4, 0, 1]] * 3), axis=-1),
)


def like(x, indices):
    """Return indices as an array beside x."""
    array = np.array(indices, np.int64)
    return mg.tensor(array, backend=x.backend) if isinstance(x, mg.Tensor) else array


row(
    "broadcast_arrays",
    "any",
    (2, 1),
    (3,),
    (),
    three=lambda f, *xs: f(*xs),
    one=lambda f, *xs: f(xs[0]),
)
row(
    "broadcast_to",
    "any",
    (3, 1),
    plain=lambda f, x: f(x, (2, 3, 4)),
    same=lambda f, x: f(x, (3, 1)),
)
row("broadcast_to", "any", (), plain=lambda f, x: f(x, (2, 3)), empty=lambda f, x: f(x, (0,)))
row("broadcast_to", "any", (1,), keyword=lambda f, x: f(x, shape=(3, 0)))
row(
    "concat",
    "any",
    (2, 3),
    (1, 3),
    default=lambda f, *xs: f(xs),
    a_list=lambda f, *xs: f([*xs, xs[0]], axis=-2),
    flat=lambda f, *xs: f(xs, axis=None),
    one=lambda f, x, _: f([x], axis=1),
)
row("concat", "any", (0,), (3,), empty=lambda f, *xs: f(xs))
row("concat", "any", (), (2, 2), flat=lambda f, *xs: f(xs, axis=None))
row("expand_dims", "any", (2, 3), first=lambda f, x: f(x, 0), last=lambda f, x: f(x, axis=-1))
row("expand_dims", "any", (2, 3), middle=lambda f, x: f(x, axis=1), low=lambda f, x: f(x, axis=-3))
row("expand_dims", "any", (), plain=lambda f, x: f(x, axis=0))
rows("flip", "any", [(2, 3, 4), (), (0,)], [{}, {"axis": None}])
rows("flip", "any", [(2, 3, 4)], [{"axis": 1}, {"axis": -1}, {"axis": (0, -1)}, {"axis": ()}])
row(
    "moveaxis",
    "any",
    (2, 3, 4),
    plain=lambda f, x: f(x, 0, 2),
    negative=lambda f, x: f(x, -1, 0),
    several=lambda f, x: f(x, (0, 1), (-1, 0)),
)
row("permute_dims", "any", (2, 3, 4), plain=lambda f, x: f(x, (2, 0, 1)))
row("permute_dims", "any", (2, 3), keyword=lambda f, x: f(x, axes=(1, 0)))
row("permute_dims", "any", (), plain=lambda f, x: f(x, ()))
row(
    "repeat",
    "any",
    (2, 3),
    flat=lambda f, x: f(x, 2),
    axis=lambda f, x: f(x, 3, axis=1),
    zero=lambda f, x: f(x, 0, axis=-1),
    each=lambda f, x: f(x, like(x, [2, 0, 1]), axis=1),
    one=lambda f, x: f(x, like(x, [2]), axis=0),
    flat_each=lambda f, x: f(x, like(x, [1, 2, 0, 3, 1, 1])),
)
row("repeat", "any", (), plain=lambda f, x: f(x, 3))
row(
    "reshape",
    "any",
    (2, 3),
    plain=lambda f, x: f(x, (3, 2)),
    inferred=lambda f, x: f(x, shape=(-1,)),
    copied=lambda f, x: f(x, (6, 1), copy=True),
    shared=lambda f, x: f(x, (1, 2, 3), copy=False),
)
row("reshape", "any", (1, 1), scalar=lambda f, x: f(x, ()))
row(
    "reshape",
    "any",
    (0, 2),
    empty=lambda f, x: f(x, (3, 0)),
    empty_shared=lambda f, x: f(x, (3, 0), copy=False),
)
row(
    "roll",
    "any",
    (2, 3, 4),
    flat=lambda f, x: f(x, 5),
    axis=lambda f, x: f(x, -1, axis=1),
    keyword=lambda f, x: f(x, shift=7, axis=-1),
    several=lambda f, x: f(x, (1, -2), axis=(0, 2)),
    same=lambda f, x: f(x, 2, axis=(0, 1)),
    twice=lambda f, x: f(x, (1, 2), axis=(2, 2)),
)
rows("roll", "any", [(), (0,), (0, 3)], [{"shift": 1}])
row("squeeze", "any", (1, 3, 1), one=lambda f, x: f(x, 0), negative=lambda f, x: f(x, axis=-1))
row("squeeze", "any", (1, 3, 1), both=lambda f, x: f(x, (0, 2)), none=lambda f, x: f(x, ()))
row(
    "stack",
    "any",
    (2, 3),
    (2, 3),
    default=lambda f, *xs: f(xs),
    last=lambda f, *xs: f([*xs], axis=-1),
    middle=lambda f, *xs: f(xs, axis=1),
)
row("stack", "any", (), scalars=lambda f, x: f([x, x, x]))
row(
    "tile",
    "any",
    (2, 3),
    plain=lambda f, x: f(x, (2, 3)),
    fewer=lambda f, x: f(x, (2,)),
    more=lambda f, x: f(x, (2, 1, 3)),
    zero=lambda f, x: f(x, (0, 1)),
    none=lambda f, x: f(x, ()),
)
row("tile", "any", (), plain=lambda f, x: f(x, (2, 2)))
row("unstack", "any", (2, 3), default=lambda f, x: f(x), last=lambda f, x: f(x, axis=-1))
row("unstack", "any", (0, 2), empty=lambda f, x: f(x))
row(
    "meshgrid",
    "any",
    (2,),
    (3,),
    default=lambda f, *xs: f(*xs),
    ij=lambda f, *xs: f(*xs, indexing="ij"),
    three=lambda f, x, y: f(x, y, x),
    one=lambda f, x, _: f(x),
)
row("meshgrid", "any", (0,), (3,), empty=lambda f, *xs: f(*xs))
rows("tril triu", "any", [(3, 3), (2, 3, 4), (0, 2)], [{}, {"k": 1}, {"k": -1}, {"k": 9}])
row(
    "diff",
    "numeric",
    (3, 4),
    default=lambda f, x: f(x),
    twice=lambda f, x: f(x, n=2, axis=0),
    never=lambda f, x: f(x, n=0),
    too_often=lambda f, x: f(x, n=5),
    before=lambda f, x: f(x, prepend=x[:, :1]),
    after=lambda f, x: f(x, append=x[:1], axis=0),
    both=lambda f, x: f(x, prepend=x, append=x[:, :2], n=2),
)

rows("zeros_like ones_like", "any", [(2, 3), (), (0,)], [{}, {"dtype": mg.int8}, {"dtype": None}])
rows("full_like", "any", [[(2, 3)], [()]], [{"fill_value": True}])
rows("full_like", "numeric", [(2, 3)], [{"fill_value": 3}, {"fill_value": 2, "dtype": mg.float64}])
row("astype", "any", (2, 3), same=lambda f, x: f(x, x.dtype, copy=False))
row(
    "astype",
    "real",
    (2, 3),
    **{
        dtype: lambda f, x, _to=dtype: f(abs(x), getattr(mg, _to))
        for dtype in [*TAKES["boolean"], *TAKES["numeric"]]
    },
)
row(
    "astype", "any", (2, 3), wide=lambda f, x: f(x, mg.complex128), truth=lambda f, x: f(x, mg.bool)
)

VECTORS = [[(3,), (3,)], [(2, 3), (3,)], [(2, 1, 3), (4, 3)], [(0,), (0,)]]
rows("vecdot", "numeric", VECTORS, [{}, {"axis": -1}], eps=32)
row("vecdot", "numeric", (3, 2), (3, 2), eps=32, first=lambda f, x, y: f(x, y, axis=-2))
MATRICES = [
    [(3,), (3,)],
    [(2, 3), (3,)],
    [(3,), (3, 2)],
    [(2, 3), (3, 4)],
    [(5, 2, 3), (3, 4)],
    [(2, 1, 2, 3), (4, 3, 2)],
    [(2, 0), (0, 3)],
    [(0, 2), (2, 3)],
]
rows("matmul linalg.matmul", "numeric", MATRICES, [{}], eps=64)
rows("matrix_transpose linalg.matrix_transpose", "any", [(2, 3), (4, 2, 3), (0, 1)], [{}])
row(
    "tensordot",
    "numeric",
    (2, 3, 4),
    (3, 4, 5),
    eps=64,
    default=lambda f, x, y: f(x, y),
    count=lambda f, x, y: f(x, y, axes=2),
    pairs=lambda f, x, y: f(x, y, axes=((1, 2), (0, 1))),
    lists=lambda f, x, y: f(x, y, axes=([-1], [1])),
    outer=lambda f, x, y: f(x[0, 0], y[0, 0], axes=0),
)
ROWS["linalg.tensordot"], ROWS["linalg.vecdot"] = ROWS["tensordot"], ROWS["vecdot"]


# linalg: what is unique is compared, what is not is put together again


def square(x):
    """Return a well-conditioned square matrix, or a stack of them, made of x."""
    return x + 8 * (mg.eye if isinstance(x, mg.Tensor) else np.eye)(
        x.shape[-1], dtype=x.dtype, **({"backend": x.backend} if isinstance(x, mg.Tensor) else {})
    )


def positive(x):
    """Return a positive definite Hermitian matrix, or a stack of them, made of x."""
    xp = mg if isinstance(x, mg.Tensor) else np
    return square(x @ xp.conj(xp.matrix_transpose(x)))


STACKS = [(3, 3), (2, 3, 3), (1, 1), (2, 0, 0), (0, 2, 2)]
for shape in STACKS:
    row("linalg.cholesky", "floating", shape, eps=64, lower=lambda f, x: f(positive(x)))
    row("linalg.cholesky", "floating", shape, eps=64, upper=lambda f, x: f(positive(x), upper=True))
    row("linalg.det", "floating", shape, eps=256, plain=lambda f, x: f(square(x)))
    row("linalg.slogdet", "floating", shape, eps=256, plain=lambda f, x: f(square(x)))
    row("linalg.inv", "floating", shape, eps=64, plain=lambda f, x: f(square(x)))
    row("linalg.eigvalsh", "floating", shape, eps=256, plain=lambda f, x: f(positive(x)))
    row("linalg.eigh", "floating", shape, eps=512, plain=lambda f, x: f(positive(x)))
    row(
        "linalg.matrix_power",
        "floating",
        shape,
        eps=4096,
        none=lambda f, x: f(square(x), 0),
        once=lambda f, x: f(square(x), 1),
        thrice=lambda f, x: f(square(x), 3),
        inverse=lambda f, x: f(square(x), -2),
    )
    vector = (*shape[:-2], shape[-1], 2)
    row("linalg.solve", "floating", shape, vector, eps=64, plain=lambda f, a, b: f(square(a), b))
row("linalg.solve", "floating", (3, 3), (3,), eps=64, vector=lambda f, a, b: f(square(a), b))
row("linalg.solve", "floating", (2, 3, 3), (3,), eps=64, vector=lambda f, a, b: f(square(a), b))
row("linalg.solve", "floating", (3, 3), (4, 3, 2), eps=64, stack=lambda f, a, b: f(square(a), b))

RECTANGLES = [(3, 3), (4, 2), (2, 4), (2, 3, 2), (2, 0), (0, 3, 2)]
for shape in RECTANGLES:
    row(
        "linalg.qr",
        "floating",
        shape,
        eps=256,
        default=lambda f, x: f(x),
        complete=lambda f, x: f(x, mode="complete"),
    )
    row(
        "linalg.svd",
        "floating",
        shape,
        eps=512,
        full=lambda f, x: f(x),
        thin=lambda f, x: f(x, full_matrices=False),
    )
    row("linalg.svdvals", "floating", shape, eps=256, plain=lambda f, x: f(x))
    row(
        "linalg.matrix_norm",
        "floating",
        shape,
        eps=256,
        default=lambda f, x: f(x),
        kept=lambda f, x: f(x, keepdims=True),
        nuclear=lambda f, x: f(x, ord="nuc"),
    )
    row("linalg.matrix_rank", "floating", shape, plain=lambda f, x: f(x))
    row("linalg.matrix_rank", "floating", shape, loose=lambda f, x: f(x, rtol=0.5))
    rows("linalg.diagonal", "any", [shape], [{}, {"offset": 1}, {"offset": -1}])
    rows("linalg.trace", "numeric", [shape], [{}, {"offset": 1}, {"offset": -1}], eps=32)
for shape in RECTANGLES[:4]:
    orders = [{"ord": order} for order in (1, -1, 2, -2, np.inf, -np.inf)]
    rows("linalg.matrix_norm", "floating", [shape], orders, eps=256)
    row("linalg.pinv", "floating", shape, eps=1024, plain=lambda f, x: f(x))
    row("linalg.pinv", "floating", shape, eps=1024, loose=lambda f, x: f(x, rtol=0.1))
rows("linalg.trace", "floating", [(3, 3)], [{"dtype": mg.complex128}], eps=32)
rows("linalg.trace", "integer", [(3, 3)], [{"dtype": mg.int32}])
rows("linalg.cross", "numeric", [[(3,), (3,)], [(2, 3), (2, 3)], [(2, 1, 3), (4, 3)]], [{}], eps=8)
row("linalg.cross", "numeric", (3, 2), (3, 2), eps=8, first=lambda f, x, y: f(x, y, axis=-2))
rows("linalg.outer", "numeric", [[(2,), (3,)], [(0,), (3,)]], [{}])
rows("linalg.vector_norm", "floating", [(2, 3, 4), (3,), ()], [{}, {"keepdims": True}], eps=64)
ORDERS = [{"ord": order, "axis": -1} for order in (0, 1, 2, 3, 0.5, np.inf, -np.inf, -1, -2)]
rows("linalg.vector_norm", "floating", [(2, 3, 4)], ORDERS, eps=64)
rows("linalg.vector_norm", "floating", [(2, 3, 4)], [{"axis": (0, 2)}, {"axis": 1}], eps=64)

# fft

LENGTHS = [{}, {"n": 3}, {"n": 7}, {"axis": 0}, {"norm": "ortho"}, {"norm": "forward", "n": 4}]
rows("fft.fft fft.ifft", "complex floating", [(5,), (2, 4), (3, 1)], LENGTHS, eps=64)
rows("fft.rfft fft.ihfft", "real floating", [(5,), (2, 4), (3, 1)], LENGTHS, eps=64)
rows("fft.irfft fft.hfft", "complex floating", [(5,), (2, 4), (3, 2)], LENGTHS, eps=64)
MANY = [{}, {"axes": (0, 2)}, {"s": (3, 5), "axes": (-1, 0)}, {"norm": "ortho"}]
rows("fft.fftn fft.ifftn", "complex floating", [(2, 3, 4)], MANY, eps=64)
rows("fft.rfftn", "real floating", [(2, 3, 4)], [*MANY, {"norm": "forward"}], eps=64)
rows("fft.irfftn", "complex floating", [(2, 3, 4)], [*MANY, {"norm": "forward"}], eps=64)
SHIFTS = [{}, {"axes": 0}, {"axes": (0, 1)}, {"axes": -1}]
rows("fft.fftshift fft.ifftshift", "floating", [(5, 4), (3, 2, 2)], SHIFTS)

#: What of a result is determined where the rest is not, as arrays.
DETERMINED = {
    "linalg.eigh": lambda r: (r[0], (r[1] * r[0][..., None, :]) @ np.conj(r[1]).mT),
    "linalg.svd": lambda r: (
        r[1],
        abs(r[0][..., : r[1].shape[-1]]),
        abs(r[2][..., : r[1].shape[-1], :]),
    ),
    "linalg.qr": lambda r: (abs(r[0][..., : r[1].shape[-1]]), abs(r[1])),
    "unique_values": np.sort,
}


def function(namespace, name):
    for part in name.split("."):
        namespace = getattr(namespace, part)
    return namespace


@pytest.mark.parametrize("name", ROWS)
def test_a_function_is_numpys(backend, name):
    expected_from, found_from = function(REFERENCE, name), function(mg, name)
    for takes, shapes, eps, call in ROWS[name]:
        for dtype in takes:
            arrays = [numbers(shape, dtype, seed) for seed, shape in enumerate(shapes)]
            expected = call(expected_from, *arrays)
            found = call(found_from, *on(backend, arrays))
            if name in DETERMINED:
                assert_alike(found, expected)
                expected = DETERMINED[name](expected)
                found = on(backend, DETERMINED[name](hosted(found)))
            assert_same(found, expected, eps_on(backend, eps, on_a_gpu=4.0))


def any_axis(shape, several=False):
    """Draw an axis of a shape, or a tuple of them, or None."""
    one = st.integers(-len(shape), len(shape) - 1) if shape else st.nothing()
    some = st.lists(one, unique_by=lambda axis: axis % len(shape)).map(tuple) if shape else one
    return st.none() | one | some if several else one


REDUCTIONS = {
    **dict.fromkeys("sum prod".split(), "numeric"),
    **dict.fromkeys("max min".split(), "real"),
    **dict.fromkeys("var std".split(), "real floating"),
    **dict.fromkeys("all any count_nonzero".split(), "any"),
    "mean": "floating",
}
ALONG = {
    **dict.fromkeys("argmax argmin sort argsort".split(), "real"),
    **dict.fromkeys("cumulative_sum cumulative_prod diff".split(), "numeric"),
    **dict.fromkeys("flip unstack".split(), "any"),
}


@settings(max_examples=50)
@given(
    st.sampled_from(sorted({**REDUCTIONS, **ALONG})),
    arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    st.data(),
)
def test_functions_along_any_axis(backend, name, shape, data):
    dtype = data.draw(st.sampled_from(TAKES[{**REDUCTIONS, **ALONG}[name]]))
    x = numbers(shape, dtype, seed=data.draw(st.integers(0, 3)))
    if name in REDUCTIONS:
        keywords = {"axis": data.draw(any_axis(shape, True)), "keepdims": data.draw(st.booleans())}
    elif shape:
        keywords = {"axis": data.draw(any_axis(shape))}
    else:
        return
    try:
        with warnings.catch_warnings(action="ignore"):  # NumPy warns of the mean of nothing
            expected = getattr(REFERENCE, name)(x, **keywords)
    except ValueError:
        with pytest.raises(ValueError):
            getattr(mg, name)(mg.tensor(x, backend=backend), **keywords)
    else:
        found = getattr(mg, name)(mg.tensor(x, backend=backend), **keywords)
        assert_same(found, expected, eps_on(backend, 256))


#: Functions of several arrays whose dtypes are promoted together -> how they are called.
JOINT = {
    "concat": ("any", (2,), (3,), lambda f, x, y: f([x, y])),
    "stack": ("any", (3,), (3,), lambda f, x, y: f([x, y])),
    "where": ("any", (3,), (3,), lambda f, x, y: f(x == x, x, y)),
    "matmul": ("numeric", (2, 3), (3, 2), lambda f, x, y: f(x, y)),
    "tensordot": ("numeric", (2, 3), (3, 2), lambda f, x, y: f(x, y, axes=1)),
    "vecdot": ("numeric", (2, 3), (3,), lambda f, x, y: f(x, y)),
    "linalg.cross": ("numeric", (2, 3), (3,), lambda f, x, y: f(x, y)),
    "linalg.outer": ("numeric", (2,), (3,), lambda f, x, y: f(x, y)),
    "linalg.solve": ("floating", (3, 3), (3, 2), lambda f, x, y: f(square(x), y)),
    "broadcast_arrays": ("any", (2, 1), (3,), lambda f, x, y: f(x, y)),
    "searchsorted": ("real", (5,), (3,), lambda f, x, y: f(ordered(x), y)),
}


@pytest.mark.parametrize("name", JOINT)
def test_functions_promote_their_arrays_together(backend, name):
    takes, left, right, call = JOINT[name]
    for a, b in PROMOTIONS:
        if {a, b} <= {*TAKES[takes]}:
            arrays = numbers(left, a), numbers(right, b, seed=1)
            expected = call(function(REFERENCE, name), *arrays)
            found = call(function(mg, name), *on(backend, arrays))
            assert_same(found, expected, eps_on(backend, 64))


@pytest.mark.parametrize("name", ["take", "take_along_axis", "repeat"])
def test_indices_and_counts_may_have_every_integer_dtype(backend, name):
    x = numbers((3,), "float64")
    for dtype in TAKES["integer"]:
        indices = np.array([2, 0, 1], dtype)
        assert_same(
            getattr(mg, name)(*on(backend, (x, indices)), axis=0),
            getattr(np, name)(x, indices.astype(np.int64), axis=0),
        )


SPECIAL_SAMPLES = [
    [],
    [np.nan],
    [1.0, np.nan, 2.0],
    [np.inf, 1.0],
    [-np.inf, 1.0],
    [np.inf, -np.inf],
    [0.0, np.inf],
    [-0.0],
    [-0.0, -0.0],
    [np.nan, np.inf, -np.inf],
    [3.0],
]


@pytest.mark.parametrize(
    "name", [*REDUCTIONS, "argmax", "argmin", "cumulative_sum", "cumulative_prod"]
)
def test_reductions_of_special_values(backend, name):
    for sample, dtype in product(SPECIAL_SAMPLES, ["float32", "float64"]):
        x = np.array(sample, dtype)
        for keywords in [{}, {"correction": 1.0}, {"correction": 2.0}]:
            if (keywords and name not in ("var", "std")) or (not sample and name in NEED_ELEMENTS):
                continue
            with warnings.catch_warnings(action="ignore"):
                expected = getattr(np, name)(x, **keywords)
            assert_same(getattr(mg, name)(mg.tensor(x, backend=backend), **keywords), expected, 4)


NEED_ELEMENTS = ("max", "min", "argmax", "argmin")


@pytest.mark.parametrize("name", NEED_ELEMENTS)
def test_nothing_has_no_extreme(backend, name):
    with pytest.raises(ValueError):
        getattr(mg, name)(mg.zeros((0,), backend=backend))


@pytest.mark.parametrize("name", [name for name in ROWS if name.startswith("unique")])
def test_each_nan_is_unique_and_zeros_are_not(backend, name):
    x = np.array([np.nan, 1.0, np.nan, 0.0, -0.0, 1.0, np.inf])
    expected, found = getattr(np, name)(x), getattr(mg, name)(mg.tensor(x, backend=backend))
    if name == "unique_values":
        expected, found = np.sort(expected), on(backend, np.sort(found.to_host()))
    assert_same(found, expected, 1)  # which of the two zeros stays is open


# Creation from nothing

CREATIONS = {
    "arange": [
        lambda f, **k: f(5, **k),
        lambda f, **k: f(2, 7, **k),
        lambda f, **k: f(7, 2, -2, **k),
        lambda f, **k: f(0, stop=1, step=3, **k),
        lambda f, **k: f(3, 3, **k),
        lambda f, **k: f(-2, **k),
    ],
    "empty": [lambda f, **k: f((0,), **k), lambda f, **k: f((2, 0), **k)],
    "eye": [
        lambda f, **k: f(3, **k),
        lambda f, **k: f(2, 4, **k),
        lambda f, **k: f(3, 2, k=-1, **k),
        lambda f, **k: f(2, None, k=1, **k),
        lambda f, **k: f(0, **k),
    ],
    "ones": [lambda f, **k: f(3, **k), lambda f, **k: f((2, 3), **k), lambda f, **k: f((), **k)],
    "zeros": [lambda f, **k: f(3, **k), lambda f, **k: f((2, 0), **k), lambda f, **k: f((), **k)],
}


@pytest.mark.parametrize("name", CREATIONS)
def test_a_new_array_is_numpys(on_each_backend, name):
    dtypes = TAKES["real"] if name == "arange" else TAKES["any"]
    for call, dtype in product(CREATIONS[name], [None, *dtypes]):
        keywords = {} if dtype is None else {"dtype": np.dtype(dtype)}
        expected = call(getattr(REFERENCE, name), **keywords)
        assert_same(call(getattr(mg, name), **keywords), expected)
        assert_same(call(getattr(mg, name), **keywords, device=None), expected)


def test_arange_of_floats_has_the_default_dtype(on_each_backend):
    for bounds in [(0.0, 2.0, 0.5), (1, 2.5), (3.5,), (1, 0, -0.25), (0, 3, 1.0)]:
        assert_same(mg.arange(*bounds), np.arange(*bounds, dtype=np.float32))
        for dtype in TAKES["real floating"]:
            expected = np.arange(*bounds, dtype=dtype)
            assert_same(mg.arange(*bounds, dtype=np.dtype(dtype)), expected)


def test_full_takes_its_dtype_from_the_value(on_each_backend):
    for value, dtype in [(True, bool), (3, np.int64), (2.5, np.float32), (1 - 2j, np.complex64)]:
        for shape in [3, (2, 3), (), (0,)]:
            assert_same(mg.full(shape, value), np.full(shape, value, dtype))
    for dtype in TAKES["numeric"]:
        assert_same(mg.full((2,), 3, dtype=np.dtype(dtype)), np.full((2,), 3, dtype))


@pytest.mark.parametrize("dtype", TAKES["floating"])
def test_linspace_is_numpys(on_each_backend, dtype):
    for start, stop, num in [(0, 1, 5), (2.5, -2.5, 4), (1, 1, 3), (0, 1, 1), (0, 1, 0)]:
        for keywords in ({}, {"endpoint": False}, {"endpoint": True}):
            found = mg.linspace(start, stop, num, dtype=np.dtype(dtype), **keywords)
            assert_same(found, np.linspace(start, stop, num, dtype=dtype, **keywords), eps=2)
    found = mg.linspace(0.0, 1.0, num=3)
    assert_same(found, np.linspace(0.0, 1.0, num=3, dtype=np.float32))
    if np.dtype(dtype).kind == "c":
        assert_same(mg.linspace(0, 1 + 2j, 5), np.linspace(0, 1 + 2j, 5).astype("c8"))
        found = mg.linspace(1j, 2, 5, dtype=np.dtype(dtype))
        assert_same(found, np.linspace(1j, 2, 5, dtype=dtype), eps=2)


@pytest.mark.parametrize("dtype", TAKES["any"])
def test_empty_is_of_the_shape_and_dtype_asked_for(on_each_backend, dtype):
    x = mg.empty((2, 3), dtype=np.dtype(dtype))
    assert (x.shape, x.dtype) == ((2, 3), np.dtype(dtype))
    assert (mg.empty_like(x).shape, mg.empty_like(x).dtype) == ((2, 3), np.dtype(dtype))
    assert mg.empty_like(x, dtype=mg.int8, device=x.device).dtype == mg.int8
    assert mg.empty(4).shape == (4,)


@pytest.mark.parametrize("name", ["fftfreq", "rfftfreq"])
def test_frequencies_are_numpys(on_each_backend, name):
    for n, keywords in product([1, 4, 5], [{}, {"d": 0.5}, {"d": 2.0, "dtype": mg.float64}]):
        expected = getattr(REFERENCE.fft, name)(n, **keywords)
        assert_same(getattr(mg.fft, name)(n, **keywords), expected, eps=2)


LISTS = [
    (True, bool),
    ([True, False], bool),
    (3, np.int64),
    ([[1, 2], [3, 4]], np.int64),
    ([True, 2], np.int64),
    (1.5, np.float32),
    ([1, 2.5], np.float32),
    ((0.5, (True)), np.float32),
    ([1j, 2, 0.5], np.complex64),
    ([], np.float32),
    ([[], []], np.float32),
]


@pytest.mark.parametrize(("data", "dtype"), LISTS, ids=[str(data) for data, _ in LISTS])
def test_asarray_of_python_numbers(on_each_backend, data, dtype):
    assert_same(mg.asarray(data), np.asarray(data, dtype))
    assert_same(mg.asarray(data, dtype=None, device=None, copy=None), np.asarray(data, dtype))
    for wide in ("complex64", "complex128"):
        assert_same(mg.asarray(data, dtype=np.dtype(wide)), np.asarray(data, wide))
    assert_same(mg.asarray(data, copy=True), np.asarray(data, dtype))


def test_asarray_loses_nothing_of_large_integers(on_each_backend):
    values = [2**64 - 1, 2**63 + 1, 0, True]  # as an array of its own choice, NumPy has floats
    assert_same(mg.asarray(values, dtype=mg.uint64), np.array(values, np.uint64))
    for data, dtype in [(values, None), ([2**63, -1], None), ([[128]], mg.int8), (-1, mg.uint8)]:
        with pytest.raises(OverflowError):
            mg.asarray(data, dtype=dtype)


@pytest.mark.parametrize("dtype", TAKES["any"])
def test_asarray_of_arrays(on_each_backend, dtype):
    values = numbers((2, 3), dtype)
    x = mg.tensor(values)
    for data in (x, values):
        assert_same(mg.asarray(data), values)
        assert_same(mg.asarray(data, copy=True), values)
        assert_same(mg.asarray(data, dtype=mg.complex128), values.astype(complex))
    assert_same(mg.asarray(x, device=x.device), values)


def test_asarray_shares_the_memory_of_a_buffer(on_each_backend):
    buffer = array.array("d", [1.0, 2.0, 3.0])
    assert_same(mg.asarray(buffer), np.array([1.0, 2.0, 3.0]))
    assert_same(mg.asarray(memoryview(b"ab")), np.array([97, 98], np.uint8))
    if mg.asarray(0).device == "cpu":
        x = mg.asarray(buffer, copy=False)
        buffer[0] = 7.0
        assert float(x[0]) == 7.0
        assert float(mg.asarray(buffer, copy=True)[0]) == 7.0


@pytest.mark.parametrize("name", ["asarray", "reshape", "astype", "from_dlpack"])
@pytest.mark.parametrize("copy", [True, False, None])
def test_copy_says_whether_memory_is_shared(name, copy):
    x = mg.arange(6, dtype=mg.float64)
    y = {
        "asarray": lambda: mg.asarray(x, copy=copy),
        "reshape": lambda: mg.reshape(x, (2, 3), copy=copy),
        "astype": lambda: mg.astype(x, mg.float64, copy=bool(copy)),
        "from_dlpack": lambda: mg.from_dlpack(x, copy=copy),
    }[name]()
    x[0] = 7
    assert float(mg.reshape(y, (-1,))[0]) == (0.0 if copy else 7.0)


def test_copy_false_raises_where_a_copy_is_needed():
    x = mg.arange(6)
    with pytest.raises(ValueError, match="copy"):
        mg.asarray(x, dtype=mg.float32, copy=False)
    with pytest.raises(ValueError, match="copy"):
        mg.reshape(mg.reshape(x, (2, 3)).T, (6,), copy=False)


# What the standard asks to be refused

REFUSED = [
    ("broadcast_to", lambda x: mg.broadcast_to(x, (3, 2)), ValueError),
    ("cumulative_sum", lambda x: mg.cumulative_sum(x), ValueError),
    ("cumulative_prod", lambda x: mg.cumulative_prod(x), ValueError),
    ("expand_dims", lambda x: mg.expand_dims(x, axis=4), IndexError),
    ("expand_dims", lambda x: mg.expand_dims(x, axis=-4), IndexError),
    ("linalg.cross", lambda x: mg.linalg.cross(x[:, :2], x[:, :2]), ValueError),
    ("linalg.det", lambda x: mg.linalg.det(x), ValueError),
    ("matmul", lambda x: mg.matmul(x, x), ValueError),
    ("matmul", lambda x: mg.matmul(x, x[0, 0]), ValueError),
    ("matmul", lambda x: x @ 2.0, ValueError),
    ("matrix_transpose", lambda x: mg.matrix_transpose(x[0]), ValueError),
    ("meshgrid", lambda x: mg.meshgrid(x[0], indexing="yx"), ValueError),
    ("mT", lambda x: x[0].mT, ValueError),
    ("nonzero", lambda x: mg.nonzero(x[0, 0]), ValueError),
    ("reshape", lambda x: mg.reshape(x, (4, 2)), ValueError),
    ("squeeze", lambda x: mg.squeeze(x, 0), ValueError),
    ("stack", lambda x: mg.stack([x, x[0]]), ValueError),
    ("stack", lambda x: mg.stack([x, x], axis=3), IndexError),
    ("sum", lambda x: mg.sum(x, axis=2), IndexError),
    ("take", lambda x: mg.take(x, mg.asarray([7]), axis=0), IndexError),
    ("unstack", lambda x: mg.unstack(x, axis=2), IndexError),
    ("vecdot", lambda x: mg.vecdot(x, x[:, :2]), ValueError),
    ("permute_dims", lambda x: mg.permute_dims(x, 1), ValueError),
    ("sum", lambda x: mg.sum(x, axis="a"), TypeError),
    ("roll", lambda x: mg.roll(x, 1, axis=0.5), TypeError),
    ("__getitem__", lambda x: x[5], IndexError),
    ("__getitem__", lambda x: x[0, 0, 0], IndexError),
    ("__bool__", lambda x: bool(x), ValueError),
]


@pytest.mark.parametrize(("name", "call", "error"), REFUSED, ids=[name for name, _, _ in REFUSED])
def test_what_is_undefined_is_refused(on_each_backend, name, call, error):
    with pytest.raises(error):  # on a device, when the result is read
        hosted(call(mg.asarray(numbers((2, 3), "float64"))))


def test_every_function_of_the_standard_is_compared():
    elsewhere = {"__array_namespace_info__", "can_cast", "empty_like", "finfo", "from_dlpack"}
    elsewhere |= {"asarray", "full", "iinfo", "isdtype", "linspace", "result_type"}
    elsewhere |= {"fft.fftfreq", "fft.rfftfreq"}
    compared = {*UNARY, *BINARY, *ROWS, *CREATIONS, *elsewhere}
    assert compared == {*SIGNATURES}
