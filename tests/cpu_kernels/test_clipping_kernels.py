"""Norms of gradients, and gradients scaled and limited in place, on the CPU."""

import math

import numpy as np
import pytest
from contract import (
    COMPILED,
    TOLERANCE,
    assert_declines,
    assert_same,
    computed,
    cpu,
    floats,
    random,
    referenced,
    to,
)

INF, NAN = np.inf, np.nan
NORMS = [
    ("total_norm", {}),
    *[("total_p_norm", {"norm_type": p}) for p in (1.0, 2, 3.0, INF)],
]
norms = pytest.mark.parametrize(("name", "params"), NORMS, ids=str)


def norm_call(dtype, shapes=((5, 6), (7,))):
    return [random(*shape, dtype=dtype) for shape in shapes]


BIG_ENDIAN = np.float32().dtype.newbyteorder()
DECLINED = [
    *[
        (name, params, i, change)
        for name, params in NORMS
        for i, change in enumerate([to(BIG_ENDIAN), to(np.float16)])
    ],
    ("total_norm", {}, 0, to(np.longdouble)),
    ("total_p_norm", {"norm_type": 3.5}, 0, np.copy),
]


@pytest.mark.parametrize(("name", "params", "position", "change"), DECLINED)
def test_norms_that_are_declined(name, params, position, change):
    arrays = norm_call(np.float32)
    arrays[position] = change(arrays[position])
    assert_declines(name, arrays, params)


@pytest.mark.parametrize(
    "change", [to(BIG_ENDIAN), to(np.float16), to(np.int64), np.transpose, lambda x: x[:, ::2]]
)
def test_changes_that_are_declined(change):
    for name, more, params in (
        ("scale_update", [np.array(0.5)], {}),
        ("limit_update", [], {"limit": 0.5}),
    ):
        assert_declines(name, [change(random(5, 6, dtype=np.float32)), *more], params)


@floats
@norms
def test_norms_of_lengths_around_a_block(name, params, dtype):
    block, order = cpu.clipping.BLOCK, params.get("norm_type", 2)
    for n in (0, 1, *([block + d for d in (-1, 0, 1)] if COMPILED else [3])):
        x = random(n, dtype=dtype)
        absolute = np.abs(x.astype(np.float64))
        if order == INF:
            wanted = max(absolute, default=0)
        else:
            wanted = math.fsum(absolute**order) ** (1 / order)
        for arrays in ([x], [x[: n // 3], np.zeros((0, 2), dtype), x[n // 3 :, None]]):
            (found,) = computed(name, arrays, params)
            assert (found.dtype, found.shape) == (np.float64, ())
            np.testing.assert_allclose(found, wanted, rtol=1e-14)


@norms
def test_norms_of_both_dtypes_and_of_huge_and_tiny_numbers(name, params):
    order = params.get("norm_type", 2)
    for value in (1e30, -1e-30):
        arrays = [np.full((2, 2), value, np.float32), np.full(5, np.float32(value), np.float64)]
        (found,) = computed(name, arrays, params)
        wanted = abs(float(np.float32(value))) * 9 ** (1 / order)
        np.testing.assert_allclose(found, wanted, rtol=1e-14)


@floats
@norms
@pytest.mark.parametrize("broken", [NAN, -NAN, INF, -INF])
def test_norms_of_what_is_not_finite(broken, name, params, dtype):
    for position in range(2):
        arrays = norm_call(dtype)
        arrays[position][3] = broken
        (found,) = computed(name, arrays, params)
        assert_same([found], referenced(name, arrays, params))


@floats
def test_changes_of_what_is_not_finite(dtype):
    x = np.array([NAN, INF, -INF, np.finfo(dtype).max, -0.0, 1], dtype)
    for name, more, params in [
        *[("scale_update", [np.array(factor)], {}) for factor in (0.0, 0.5, 1.0, INF, NAN)],
        *[("limit_update", [], {"limit": limit}) for limit in (0.0, 0.5, INF)],
    ]:
        with np.errstate(all="ignore"):
            found = computed(name, [x.copy(), *more], params)
        assert_same(found, referenced(name, [x, *more], params), TOLERANCE[dtype])
