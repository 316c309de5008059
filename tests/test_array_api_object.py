"""The array object of the array API standard: operators, indexing, conversions, interchange."""

import operator
from itertools import product

import numpy as np
import pytest
from against_numpy import assert_same, eps_on, numbers, on
from standard import (
    ARITHMETIC,
    BINARY,
    COMPARISONS,
    KINDS,
    PROMOTIONS,
    SCALARS,
    TAKES,
    UNARY,
    UNARY_OPERATORS,
)

import minigrad as mg

OPERATORS = {
    "__abs__": abs,
    "__pow__": pow,
    **{
        name: getattr(operator, name)
        for name in [*UNARY_OPERATORS, *COMPARISONS, *ARITHMETIC]
        if name != "__abs__"
    },
}
IN_PLACE = {name: getattr(operator, f"__i{name[2:]}") for name in ARITHMETIC}
ELEMENTWISE = [name for name in ARITHMETIC if name != "__matmul__"]


def takes(name):
    """The dtypes that an operator takes."""
    function = {**UNARY_OPERATORS, **COMPARISONS, **ARITHMETIC}[name]
    return {**UNARY, **BINARY, "matmul": TAKES["numeric"]}[function]


def operands(name, *dtypes, shapes=((2, 3), (3,))):
    """Return a pair of arrays, the second harmless where integers are shifted, divided, raised."""
    x, y = (numbers(s, d, seed) for s, d, seed in zip(shapes, dtypes, (0, 1), strict=True))
    if y.dtype.kind in "iu" and name not in COMPARISONS and name != "__matmul__":
        y = abs(y) + np.ones((), y.dtype)
    return x, y


@pytest.fixture(autouse=True)
def quiet():
    with np.errstate(all="ignore"):
        yield


# Operators


@pytest.mark.parametrize("name", UNARY_OPERATORS)
def test_an_operator_of_one_array_is_its_function(backend, name):
    for dtype, shape in product(takes(name), [(), (0,), (2, 3)]):
        x = numbers(shape, dtype)
        expected = getattr(np, UNARY_OPERATORS[name])(x)
        assert_same(OPERATORS[name](mg.tensor(x, backend=backend)), expected, eps_on(backend))
        assert_same(getattr(mg.tensor(x, backend=backend), name)(), expected, eps_on(backend))


@pytest.mark.parametrize("name", [*COMPARISONS, *ELEMENTWISE])
def test_an_operator_of_two_arrays_is_its_function(backend, name):
    function = getattr(np, {**COMPARISONS, **ARITHMETIC}[name])
    for a, b in PROMOTIONS:
        if {a, b} <= {*takes(name)}:
            x, y = operands(name, a, b)
            assert_same(OPERATORS[name](*on(backend, (x, y))), function(x, y), eps_on(backend))


@pytest.mark.parametrize("name", [*COMPARISONS, *ELEMENTWISE])
def test_an_operator_of_an_array_and_a_scalar(backend, name):
    for dtype in takes(name):
        for scalar in SCALARS[dtype]:
            x, y = operands(name, dtype, dtype)[1], scalar(2)
            t = mg.tensor(x, backend=backend)
            assert_same(OPERATORS[name](t, y), OPERATORS[name](x, y), eps_on(backend))
            if name in ARITHMETIC:
                x = abs(x) if x.dtype.kind in "iu" else x
                t = mg.tensor(x, backend=backend)
                assert_same(OPERATORS[name](y, t), OPERATORS[name](y, x), eps_on(backend))
                assert_same(getattr(t, f"__r{name[2:]}")(y), OPERATORS[name](y, x), eps_on(backend))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_an_operator_in_place_writes_there(backend, name):
    for a, b in PROMOTIONS:
        if {a, b} <= {*takes(name)} and PROMOTIONS[a, b] == a:
            x, y = operands(name, a, b)
            expected = OPERATORS[name](x, y)
            t, u = on(backend, [x, y])
            same = view = t[...]
            view = IN_PLACE[name](view, u)
            assert view is same
            for found in (view, t):
                assert_same(found, expected, eps_on(backend))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_an_operator_in_place_with_a_scalar(backend, name):
    for dtype in takes(name):
        for scalar in SCALARS[dtype]:
            x = numbers((2, 3), dtype)
            t = same = mg.tensor(x, backend=backend)
            t = IN_PLACE[name](t, scalar(2))
            assert t is same
            assert_same(t, OPERATORS[name](x, scalar(2)), eps_on(backend))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_an_operator_in_place_keeps_the_shape(backend, name):
    x, y = on(backend, operands(name, takes(name)[0], takes(name)[0], shapes=((3,), (2, 3))))
    with pytest.raises(ValueError):
        IN_PLACE[name](x, y)


def test_an_operator_in_place_keeps_the_dtype(backend):
    x, y = on(backend, operands("__add__", "int32", "float32"))
    with pytest.raises(TypeError):
        x += y
    with pytest.raises(TypeError):
        x += 1.5
    with pytest.raises(TypeError):
        x /= 2


@pytest.mark.parametrize("dtype", TAKES["numeric"])
def test_the_matrix_product_is_an_operator(backend, dtype):
    x, y = numbers((3, 3), dtype), numbers((3, 3), dtype, seed=1)
    t, u = on(backend, (x, y))
    assert_same(t @ u, x @ y, eps=64)
    assert_same(t.__rmatmul__(u), y @ x, eps=64)
    same = t
    t @= u
    assert t is same
    assert_same(t, x @ y, eps=64)


# Indexing

KEYS = {
    "an integer": 1,
    "a negative integer": -1,
    "integers": (1, -2, 0),
    "some integers": (0, 2),
    "a slice": slice(1, None),
    "slices": (slice(None, None, -1), slice(0, 3, 2), slice(-3, -1)),
    "a slice beyond the ends": slice(-9, 9),
    "an empty slice": slice(2, 1),
    "an integer and a slice": (1, slice(None), 2),
    "an ellipsis": ...,
    "an ellipsis first": (..., 1),
    "an ellipsis in the middle": (0, ..., slice(1, 2)),
    "an ellipsis for nothing": (0, 1, 2, ...),
    "a new axis": None,
    "new axes": (None, 1, None, ..., None),
    "nothing": (),
    "an array": np.array([1, 0, 1]),
    "an array of two axes": np.array([[1, 0], [0, -1]]),
    "an empty array": np.array([], np.int64),
    "a 0-d array": np.array(1),
    "a small array": np.array([0, 1], np.int8),
    "an unsigned array": np.array([0, 1], np.uint16),
    "arrays": (np.array([1, 0]), np.array([2, 1]), np.array([0, 3])),
    "arrays that broadcast": (np.array([[1], [0]]), np.array([2, 1, 0])),
    "an array and an integer": (np.array([1, 0]), 2),
    "integers and arrays for every axis": (1, np.array([0, 2]), np.array([3, 1])),
    "an array and a slice": (np.array([1, 0]), slice(1, None)),
    "a slice and an array": (slice(None), np.array([2, 0])),
    "arrays apart": (np.array([1, 0]), slice(None), np.array([2, 1])),
    "an array after an ellipsis": (..., np.array([3, 0])),
    "a list": [1, 0],
    "a mask": np.arange(24).reshape(2, 3, 4) % 5 == 0,
    "a mask of no axis": np.array(True),
    "a mask of the first axis": np.array([True, False]),
    "a mask of two axes": np.array([[True, False, True], [False, False, True]]),
    "a false mask": np.zeros((2, 3, 4), bool),
    "a mask of the last axis": (..., np.array([True, False, False, True])),
    "a truth": True,
    "a falsehood": False,
}
ADVANCED = [name for name, key in KEYS.items() if isinstance(key, np.ndarray | list)]


def moved(key, backend):
    """Return the key with its arrays on the backend."""
    if isinstance(key, list):
        return key
    return on(backend, key)


@pytest.mark.parametrize("name", KEYS)
def test_getitem_is_numpys(backend, name):
    key = KEYS[name]
    for dtype in TAKES["any"]:
        x = numbers((2, 3, 4), dtype)
        assert_same(mg.tensor(x, backend=backend)[moved(key, backend)], x[key])


@pytest.mark.parametrize("name", KEYS)
def test_setitem_writes_what_numpy_writes(backend, name):
    key = KEYS[name]
    for dtype in TAKES["any"]:
        x = numbers((2, 3, 4), dtype)
        scalars = [kind(1) for kind in SCALARS[dtype]]
        values = numbers(x[key].shape, dtype, seed=1)
        if name in ADVANCED:  # an element may be named twice, and which value wins is open
            values[...] = values.ravel()[:1] if values.size else 0
        for value in [*scalars, np.asarray(values.ravel()[0] if values.size else 0, dtype), values]:
            expected, t = x.copy(), mg.tensor(x, backend=backend)
            expected[key] = value
            t[moved(key, backend)] = on(backend, value)
            assert_same(t, expected)


def test_a_view_writes_to_its_base(backend):
    x = mg.tensor(np.arange(6.0).reshape(2, 3), backend=backend)
    view = x[1, ::2]
    view[...] = 9.0
    assert_same(x, np.array([[0.0, 1.0, 2.0], [9.0, 4.0, 9.0]]))


@pytest.mark.parametrize("key", [2, (0, 3), (0, -4), (0, 0, 0, 0), (..., ...), "a", 1.0])
def test_a_key_that_means_nothing_is_refused(backend, key):
    x = mg.zeros((2, 3, 4), backend=backend)
    with pytest.raises((IndexError, TypeError)):
        x[key]
    with pytest.raises((IndexError, TypeError)):
        x[key] = 1.0


@pytest.mark.parametrize("shape", [(3,), (2, 2), (2, 3, 4, 1)])
def test_a_mask_of_another_shape_is_refused(backend, shape):
    with pytest.raises(IndexError):
        mg.zeros((2, 3, 4), backend=backend)[mg.tensor(np.ones(shape, bool), backend=backend)]


def test_a_value_of_another_shape_is_refused(backend):
    x = mg.zeros((2, 3), backend=backend)
    with pytest.raises(ValueError):
        x[0] = mg.ones(2, backend=backend)


# Conversions


@pytest.mark.parametrize("dtype", TAKES["any"])
def test_a_0_d_array_is_a_python_number(backend, dtype):
    kind = np.dtype(dtype).kind
    for value in (0, 1, 3):
        x = mg.tensor(np.asarray(value).astype(dtype), backend=backend)
        number = x.to_host().item()
        converted = [bool(x), complex(x)]
        assert converted == [bool(number), complex(number)]
        assert [*map(type, converted)] == [bool, complex]
        if kind != "c":
            assert (type(int(x)), type(float(x))) == (int, float)
            assert (int(x), float(x)) == (int(number), float(number))
        if kind in "iu":
            assert type(operator.index(x)) is int
            assert [10, 11, 12, 13][x] == [10, 11, 12, 13][number]
        else:
            with pytest.raises(TypeError):
                operator.index(x)


def test_special_values_become_python_numbers(backend):
    for value in (np.nan, np.inf, -np.inf):
        x = mg.tensor(np.asarray(value), backend=backend)
        assert bool(x) is True
        assert repr(float(x)) == repr(value)
        assert repr(complex(x)) == repr(complex(value))
        with pytest.raises((OverflowError, ValueError)):
            int(x)
    for value in (0j, 1j, complex(np.nan, 0)):
        assert bool(mg.tensor(np.asarray(value), backend=backend)) is (value != 0)
    assert bool(mg.tensor(np.asarray(-0.0), backend=backend)) is False


def test_a_complex_array_is_no_real_number(backend):
    x = mg.tensor(np.asarray(1 + 2j), backend=backend)
    with pytest.raises(TypeError):
        float(x)
    with pytest.raises(TypeError):
        int(x)


@pytest.mark.parametrize("convert", [bool, int, float, complex, operator.index])
def test_several_elements_are_no_number(backend, convert):
    with pytest.raises((TypeError, ValueError)):
        convert(mg.zeros((2,), dtype=mg.int64, backend=backend))


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 0)])
def test_attributes_say_what_the_array_is(backend, shape):
    array = numbers(shape, "float32")
    x = mg.tensor(array, backend=backend)
    assert (x.shape, x.ndim, x.size, x.dtype) == (shape, array.ndim, array.size, array.dtype)
    assert [*map(type, (x.shape, x.ndim, x.size))] == [tuple, int, int]
    if len(shape) == 2:
        assert_same(x.T, array.T)
        assert_same(x.mT, array.mT)
    assert_same(mg.zeros((2, 3, 4), backend=backend).mT, np.zeros((2, 4, 3), np.float32))


# Devices and interchange


def test_an_array_stays_on_its_device(backend):
    x = mg.tensor(np.arange(3.0), backend=backend)
    assert_same(x.to_device(x.device), np.arange(3.0))
    assert x.to_device(x.device, stream=None).backend.name == backend
    assert mg.zeros_like(x, device=x.device).backend.name == backend
    assert mg.astype(x, mg.float32, device=x.device).backend.name == backend
    for like in (mg.zeros_like, mg.ones_like, mg.empty_like, lambda t: mg.full_like(t, 2.0)):
        assert like(x).backend.name == backend


HOSTED = pytest.mark.parametrize("backend", ["numpy", "numba"])


@HOSTED
@pytest.mark.parametrize("dtype", TAKES["any"])
def test_dlpack_shares_memory_with_numpy(backend, dtype):
    if backend == "numba":
        pytest.importorskip("numba")
    array = numbers((2, 3), dtype)
    x = mg.tensor(array, backend=backend)
    assert x.__dlpack_device__() == (1, 0)
    seen = np.from_dlpack(x)
    assert (seen.dtype, seen.tolist()) == (array.dtype, array.tolist())
    assert np.shares_memory(seen, x.to_host())
    assert not np.shares_memory(np.from_dlpack(x, copy=True), x.to_host())
    with mg.use_backend(backend):
        back = mg.from_dlpack(array)
        assert_same(back, array)
        assert back.backend.name == backend
        assert np.shares_memory(back.to_host(), array)
        assert not np.shares_memory(mg.from_dlpack(array, copy=True).to_host(), array)
        assert np.shares_memory(mg.from_dlpack(x, copy=False).to_host(), x.to_host())
        assert_same(mg.from_dlpack(array, device="cpu"), array)


@HOSTED
def test_dlpack_takes_the_keywords_of_the_standard(backend):
    if backend == "numba":
        pytest.importorskip("numba")
    x = mg.arange(3, backend=backend)
    for keywords in [{}, {"max_version": (1, 0)}, {"dl_device": (1, 0), "copy": None}]:
        assert "dltensor" in repr(x.__dlpack__(**keywords, stream=None))
    with pytest.raises(BufferError):
        x.__dlpack__(dl_device=(2, 0))


def test_dlpack_of_what_has_none_is_refused():
    with pytest.raises(AttributeError):
        mg.from_dlpack([1, 2, 3])


def test_dlpack_refuses_what_is_on_the_tape():
    x = mg.ones(3, requires_grad=True)
    with pytest.raises((BufferError, RuntimeError), match="detach"):
        (2 * x).__dlpack__()


@pytest.mark.parametrize("name", KINDS["bool"] + KINDS["integral"])
def test_arithmetic_of_integers_wraps_around_as_numpys(backend, name):
    if name == "bool":
        return
    facts = np.iinfo(name)
    x = np.array([facts.max, facts.min], name)
    t = mg.tensor(x, backend=backend)
    assert_same(t + t, x + x)
    assert_same(t - 1, x - 1)
    assert_same(-t, -x)
