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
@pytest.mark.parametrize(("axis", "width"), [(0, 2), (1, 2), (1, 1)])
def test_the_error_of_a_sum_does_not_grow_with_its_length(axis, width, dtype):
    n = (300_000 if width > 1 else 700_000) if COMPILED else 300
    x = np.full((n, width) if axis == 0 else (width, n), 1.1, dtype)
    wanted = math.fsum([float(dtype(1.1))] * n)
    (found,) = computed("sum", [x], dict(axis=(axis,), keepdims=False))
    np.testing.assert_allclose(found, wanted, rtol=8 * TOLERANCE[dtype])


@floats
@pytest.mark.parametrize("name", ["sum", "mean"])
def test_a_single_row_is_summed_in_pieces(name, dtype, monkeypatch):
    monkeypatch.setattr(reductions._piece_sums, "pays_from", 0)
    if not COMPILED:
        monkeypatch.setattr(reductions, "PIECE", 8)
    x = random(2 * reductions.PIECE + 5, dtype=dtype).reshape(1, -1)
    call = name, [x], dict(axis=(0, 1), keepdims=False)
    assert_close(computed(*call), referenced(*call), dtype)


@floats
@pytest.mark.parametrize("turn", [lambda x: x, lambda x: x.T])
def test_many_rows_are_never_added_up_one_by_one(turn, dtype, monkeypatch):
    for loop in (reductions._row_sums, reductions._column_sums):
        monkeypatch.setattr(loop, "pays_from", 10_000)
    x = turn(np.full((4900, 2), 0.1, dtype))
    found = computed("sum", [x], dict(axis=(x.shape.index(4900),), keepdims=False))
    if found is not None:  # else it is the reference's
        np.testing.assert_allclose(found[0], 4900 * float(dtype(0.1)), rtol=8 * TOLERANCE[dtype])


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


@pytest.mark.parametrize("axis", [(), (0, 2), (1, 3)], ids=str)
@pytest.mark.parametrize("name", ["sum", "mean"])
def test_few_numbers_over_any_axes(name, axis, monkeypatch):
    monkeypatch.setattr(reductions._row_sums, "pays_from", 10_000)
    x = random(3, 4, 5, 6, dtype=np.float32)
    params = dict(axis=axis, keepdims=False)
    assert_close(computed(name, [x], params), referenced(name, [x], params), np.float32)


NUMPY_S = [
    ((np.float32, 1, 128, 256), False),
    ((np.float32, 1, 100_000, 10), True),
    ((np.float64, 1, 100_000, 10), False),
    ((np.float64, 1, 1000, 1000), True),
    ((np.float64, 1000, 30, 30), False),
    ((np.float64, 1000, 3, 3), True),
]


@pytest.mark.parametrize(("matrix", "is_numpy_s"), NUMPY_S)
def test_what_numpy_sums_as_fast_is_left_to_it(matrix, is_numpy_s):
    assert reductions._is_numpy_s(*matrix, summed=True) == is_numpy_s


BACKWARD = {"var_backward": "var", "std_backward": "std", "extremes_backward": "max"}
each_backward = pytest.mark.parametrize("name", BACKWARD)


def backward_call(name, axes, dtype, change=None):
    shape, axis = AXES[axes]
    x = np.rint(2 * random(*shape, dtype=dtype))
    if change is not None:
        change(x)
    params = dict(keepdims=False) if name == "extremes_backward" else dict(correction=1.0)
    with np.errstate(all="ignore"):
        if name == "extremes_backward":
            out = np.max(x, axis)
        else:
            out = np.std(x, axis, ddof=1)
    g = random(*out.shape, seed=1, dtype=dtype)
    arrays = [g, x] if name == "var_backward" else [g, np.asarray(out), x]
    return arrays, dict(axis=axis) | params


@floats
@each_axis
@each_backward
def test_backward_along_any_axes(name, axes, dtype):
    arrays, params = backward_call(name, axes, dtype)
    assert_close(computed(name, arrays, params), referenced(name, arrays, params), dtype)


def constant(x):
    x[...] = 0.1


def broken(value):
    def change(x):
        x.flat[0] = value

    return change


CHANGES = {"constant": constant} | {str(v): broken(v) for v in (NAN, INF, -INF)}


@floats
@pytest.mark.parametrize("change", CHANGES)
@each_axis
@each_backward
def test_backward_of_equal_and_of_non_finite_numbers(name, axes, change, dtype):
    arrays, params = backward_call(name, axes, dtype, CHANGES[change])
    with np.errstate(all="ignore"):
        found = computed(name, arrays, params)
    wanted = referenced(name, arrays, params)
    if change == "constant" and name != "extremes_backward":
        assert not found[0].any()
    else:
        np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
        assert_close(
            *(np.nan_to_num([r], posinf=1, neginf=-1) for r in (found[0], wanted[0])), dtype
        )


DECLINED_BACKWARD = [
    (to(np.float16), (0,), 0.0),
    (lambda x: x, (0, 2), 0.0),
    (lambda x: x[:1], (0,), 0.0),
    (lambda x: x, (0,), 3.0),
]


@pytest.mark.parametrize(("change", "axis", "correction"), DECLINED_BACKWARD)
def test_backward_declines(change, axis, correction):
    x = change(random(3, 4, 5, 6, dtype=np.float32))
    g = np.ones(np.sum(x, axis).shape, x.dtype)
    assert_declines("var_backward", [g, x], dict(axis=axis, correction=correction))
    assert_declines("std_backward", [g, g, x], dict(axis=axis, correction=correction))
    if correction == 0:
        assert_declines("extremes_backward", [g, g, x], dict(axis=axis, keepdims=False))
