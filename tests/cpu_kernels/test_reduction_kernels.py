"""Reductions on the CPU."""

import math

import numpy as np
import pytest
from contract import (
    COMPILED,
    TOLERANCE,
    assert_declines,
    computed,
    cpu,
    floats,
    random,
    referenced,
    to,
)

reductions = cpu.reductions
INF, NAN = np.inf, np.nan

LONG = reductions.BLOCK + 3 if COMPILED else 5
MANY = 2 * reductions.SAMPLES + 7 if COMPILED else 7
WIDE = reductions.STRIPE + 3 if COMPILED else 5
AXES = {
    "rows": ((3, LONG), (1,)),
    "short rows": ((MANY, 3), (1,)),
    "the last two axes": ((3, 4, 5), (1, 2)),
    "everything": ((3, 1, 4), (0, 1, 2)),
    "columns": ((MANY, WIDE), (0,)),
    "the first two axes": ((2, MANY, 3), (0, 1)),
    "a middle axis": ((2, MANY, 3), (1,)),
    "all but channels": ((2, 3, 4, 5), (0, 2, 3)),
    "an axis of length 1 as well": ((3, 1, 4), (0, 1)),
}
each_axis = pytest.mark.parametrize("axes", AXES)
PARAMS = {"sum": {}, "mean": {}, "var": {"correction": 1.0}, "std": {"correction": 0.0}}
each_op = pytest.mark.parametrize("name", PARAMS)


def call(name, axes, dtype, keepdims=False):
    shape, axis = AXES[axes]
    x = random(*shape, dtype=dtype) + dtype(0.5)
    return [x], dict(axis=axis, keepdims=keepdims) | PARAMS[name]


def assert_close(found, wanted, dtype):
    for x, y in zip(found, wanted, strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        atol = 4 * TOLERANCE[dtype] * np.abs(y).max(initial=1)
        np.testing.assert_allclose(x, y, rtol=0, atol=atol)


@floats
@each_axis
@each_op
def test_along_any_axes(name, axes, dtype):
    for keepdims in (False, True):
        arrays, params = call(name, axes, dtype, keepdims)
        assert_close(computed(name, arrays, params), referenced(name, arrays, params), dtype)


@floats
@each_axis
def test_sum_to_any_shape(axes, dtype):
    (x,), params = call("sum", axes, dtype, keepdims=True)
    shape = np.sum(x, **params).shape
    for small in (shape, shape[next((i for i, n in enumerate(shape) if n != 1), len(shape)) :]):
        wanted = referenced("sum_to", [x], dict(shape=small))
        assert_close(computed("sum_to", [x], dict(shape=small)), wanted, dtype)


@floats
@pytest.mark.parametrize("broken", [NAN, INF, -INF])
@each_axis
@each_op
def test_what_is_not_finite_breaks_its_own_result_alone(name, axes, broken, dtype):
    for place in (0, -1):
        arrays, params = call(name, axes, dtype)
        arrays[0].flat[place] = broken
        with np.errstate(all="ignore"):
            found = computed(name, arrays, params)
        for x, y in zip(found, referenced(name, arrays, params), strict=True):
            np.testing.assert_array_equal(np.isnan(x), np.isnan(y))
            np.testing.assert_array_equal(np.isposinf(x), np.isposinf(y))
            np.testing.assert_array_equal(np.isneginf(x), np.isneginf(y))


@floats
@pytest.mark.parametrize("axes", ["rows", "columns", "a middle axis", "all but channels"])
def test_the_variance_of_large_numbers_close_together(axes, dtype):
    (x,), params = call("var", axes, dtype)
    x += dtype(1e4)
    wanted = x.astype(np.longdouble).var(params["axis"], ddof=1)
    np.testing.assert_allclose(*computed("var", [x], params), wanted, rtol=8 * TOLERANCE[dtype])
    x[...] = 1000.3
    assert not computed("std", [x], params)[0].any()


@floats
@pytest.mark.parametrize("axis", [0, 1])
def test_the_error_of_a_sum_does_not_grow_with_its_length(axis, dtype):
    n = 300_000 if COMPILED else 300
    x = np.full((n, 2) if axis == 0 else (2, n), 1.1, dtype)
    wanted = math.fsum([float(dtype(1.1))] * n)
    (found,) = computed("sum", [x], dict(axis=(axis,), keepdims=False))
    np.testing.assert_allclose(found, wanted, rtol=8 * TOLERANCE[dtype])


DECLINED = [
    ("sum", to(np.float16), (0,)),
    ("sum", to(np.int64), (0,)),
    ("sum", to(np.complex64), (0,)),
    ("sum", to(np.dtype(np.float32).newbyteorder()), (0,)),
    ("sum", lambda x: x, ()),
    ("sum", lambda x: x, (0, 2)),
    ("sum", lambda x: x[:0], (0,)),
    ("mean", lambda x: x[:0], (0,)),
    ("var", lambda x: x, (0, 2)),
    ("var", lambda x: x[:1], (0,)),
]


@pytest.mark.parametrize(("name", "change", "axis"), DECLINED)
def test_declines_and_leaves_everything_as_it_was(name, change, axis):
    x = random(3, 4, 5, 6, dtype=np.float32)
    assert_declines(name, [change(x)], dict(axis=axis, keepdims=False) | PARAMS[name])


def test_what_numpy_does_as_fast_is_left_to_it():
    f32, f64 = np.dtype(np.float32), np.dtype(np.float64)
    assert not reductions._is_numpy_s(f32, 1, 128, 256)
    assert reductions._is_numpy_s(f32, 1, 100_000, 10)
    assert not reductions._is_numpy_s(f64, 1, 100_000, 10)
    assert reductions._is_numpy_s(f64, 1, 1000, 1000)
    assert reductions._is_numpy_s(f64, 1000, 3, 3)
    assert not reductions._is_numpy_s(f64, 1000, 30, 30)
