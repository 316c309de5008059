"""Softmax, log_softmax, logsumexp and their gradients: every axis, length and kind of row."""

import numpy as np
import pytest
from contract import (
    COMPILED,
    OPS,
    TOLERANCE,
    XP,
    assert_declines,
    assert_same,
    bits_of,
    computed,
    cpu,
    floats,
    random,
    referenced,
)

softmax = cpu.softmax
INF, NAN = np.inf, np.nan
FORWARD = ["softmax", "log_softmax", "logsumexp"]
NAMES = [*FORWARD, *(f"{name}_backward" for name in FORWARD)]
names = pytest.mark.parametrize("name", NAMES)


def call(name, x, axis):
    """Return arrays and params of a call on slices of x along an axis."""
    forward = name.removesuffix("_backward")
    params = {"axis": (axis,), "keepdims": False} if forward == "logsumexp" else {"axis": axis}
    if name in FORWARD:
        return [x], params
    with np.errstate(all="ignore"):
        out = OPS[forward].forward(XP, x, **params)
    arrays = [random(*out.shape, seed=1, dtype=x.dtype), out]
    return [*arrays, x] if params.pop("keepdims", None) is False else arrays, params


def check(name, x, axis, declines=False):
    arrays, params = call(name, x, axis)
    with np.errstate(all="ignore"):  # without the compiler NumPy reports inf - inf
        found = computed(name, arrays, params)
    if found is None:
        assert declines
    else:
        assert_same(found, referenced(name, arrays, params), TOLERANCE[x.dtype.type])


LENGTHS = [1, softmax.SHORT, softmax.SHORT + 1, softmax.BLOCK + 1, 1100]
SHAPES = [
    *(((3, n), 1) for n in LENGTHS),
    *(((softmax.BLOCK + 1, n), 1) for n in (1, 2)),
    *(((2, 3, n), 1) for n in (softmax.COLUMNS, softmax.COLUMNS + 1)),
    ((70, 5), 0),
    ((2, 3, 4, 5), 2),
    ((0, 3), 1),
    ((3, 0, 2), 0),
]


@names
@floats
def test_slices_of_any_length_along_any_axis(name, dtype):
    for shape, axis in SHAPES:
        check(name, 3 * random(*shape, dtype=dtype), axis)
        check(name, 1000 * random(*shape, dtype=dtype), axis)


ROWS = [
    [1000, -1000, 0],
    [0, -INF, 1],
    [-INF, 0, -INF],
    [-INF, -INF, -INF],
    [INF, 0, 1],
    [1, INF, INF],
    [INF, -INF, 0],
    [NAN, 0, 1],
    [0, 1, NAN],
    [0, 1, -NAN],
    [-NAN, 0, -INF],
    [-NAN, -INF, -INF],
    [-NAN, INF, -INF],
    [NAN, -NAN, NAN],
]


@names
@floats
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_infinities_and_nans_are_those_of_the_reference(name, row, dtype):
    for length in (3, softmax.SHORT + 10):
        x = random(4, length, dtype=dtype)
        x[1:3] = -INF if row[0] == -INF else 0.5
        x[1:3, -3:] = row
        check(name, x, 1, declines="logsum" in name)
        check(name, x.T, 0, declines="logsum" in name)


@floats
@pytest.mark.parametrize("name", FORWARD)
def test_a_broken_row_leaves_the_others_alone(name, dtype):
    x = random(3, 5, dtype=dtype)
    (alone,), (arrays, params) = computed(name, *call(name, x, 1)), call(name, x.copy(), 1)
    arrays[0][1] = NAN
    assert bits_of(computed(name, arrays, params)[0][[0, 2]]) == bits_of(alone[[0, 2]])


@floats
@pytest.mark.parametrize("axis", [(0,), (1, 2), (0, 1, 2), (2, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp_over_neighbouring_axes(axis, keepdims, dtype):
    x, params = 3 * random(3, 4, 5, dtype=dtype), {"axis": axis, "keepdims": keepdims}
    found = computed("logsumexp", [x], params)
    assert_same(found, referenced("logsumexp", [x], params), TOLERANCE[dtype])
    out, params = found[0], {"axis": tuple(sorted(axis))}
    arrays = [random(*out.shape, dtype=dtype), out, x]
    found = computed("logsumexp_backward", arrays, params)
    assert_same(found, referenced("logsumexp_backward", arrays, params), TOLERANCE[dtype])


def test_declines():
    x, y = random(3, 4, 5, dtype=np.float32), random(3, 4, 5)
    for axis in ((0, 2), ()):
        assert_declines("logsumexp", [x], {"axis": axis, "keepdims": False})
    for name in ("softmax_backward", "log_softmax_backward"):
        assert_declines(name, [y, x], {"axis": 1})
    out = x.max(axis=1)
    assert_declines("logsumexp_backward", [y.max(axis=1), out, x], {"axis": (1,)})
    assert_declines("logsumexp_backward", [out, out * -INF, x], {"axis": (1,)})
    for kind in (np.int64, np.complex64, np.dtype(np.float32).newbyteorder()):
        assert_declines("softmax", [x.astype(kind)], {"axis": 1})


@floats
def test_a_long_sum_does_not_drift(dtype):
    n = 1 << 20 if COMPILED else 1 << 10
    for shape, axis in (((1, n), 1), ((n, 1), 0)):
        found = computed("logsumexp", [np.zeros(shape, dtype)], {"axis": (axis,), "keepdims": True})
        np.testing.assert_allclose(found[0], np.log(n), rtol=np.finfo(dtype).eps)
