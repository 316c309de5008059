"""Activations and their derivatives on the CPU: what is not finite, orders, what is declined."""

import numpy as np
import pytest
from contract import (
    TOLERANCE,
    assert_declines,
    assert_same,
    calls,
    computed,
    cpu,
    floats,
    one_more,
    random,
    referenced,
    to,
)

INF, NAN = np.inf, np.nan

NAMES = sorted(n for n, k in cpu.TABLE.items() if k.__module__ == cpu.activations.__name__)
names = pytest.mark.parametrize("name", NAMES)


@floats
@names
def test_what_is_not_finite_or_huge(name, dtype):
    huge = np.finfo(dtype).max
    x = np.array([INF, -INF, NAN, huge, -huge, 300, -300, 3, -3, 0, -0.0], dtype)
    cotangents = [[1], [0], [NAN], [INF], [-2]] if name.endswith("_backward") else [None]
    for (_, params), g in ((c, g) for c in calls(name, dtype) for g in cotangents):
        arrays = [x] if g is None else [np.broadcast_to(np.array(g, dtype), x.shape), x]
        with np.errstate(all="ignore"):
            found = computed(name, arrays, params)
        assert_same(found, referenced(name, arrays, params), TOLERANCE[dtype])


@floats
@names
def test_the_result_lies_as_the_inputs_do(name, dtype):
    for arrays, params in calls(name, dtype):
        wanted = computed(name, arrays, params)[0]
        (found,) = computed(name, [np.asfortranarray(a) for a in arrays], params)
        assert found.flags.f_contiguous
        assert_same([found], [wanted])
        (found,) = computed(name, [np.asfortranarray(a[:, None]) for a in arrays], params)
        assert_same([found], [wanted[:, None]])
        (found,) = computed(name, [a[1, 1] for a in map(np.atleast_3d, arrays)], params)
        assert_same([found], [wanted[1, 1:2]])


@names
def test_a_number_alone(name):
    for arrays, params in calls(name, np.float32):
        alone = [a[0, 0].reshape(()) for a in arrays]
        assert_same(computed(name, alone, params), referenced(name, alone, params), 2e-6)


DECLINED = [to(np.float16), to(np.int64), to(np.float64), to(np.dtype(np.float32).newbyteorder())]


@names
def test_declines(name):
    ((arrays, params), *_) = calls(name, np.float32)
    for change in DECLINED if len(arrays) == 2 else [*DECLINED[:2], DECLINED[3]]:
        for i in range(len(arrays)):
            changed = [change(a) if i == j else a for j, a in enumerate(arrays)]
            assert_declines(name, changed, params)
    if len(arrays) == 2:
        assert_declines(name, [one_more(arrays[0]), arrays[1]], params)


@floats
def test_there_is_no_seam_between_chunks(dtype):
    x = random(2 * cpu.activations.CHUNK + 3, dtype=dtype)
    assert_same(computed("relu", [x], {}), referenced("relu", [x], {}))
