"""Dropout on the CPU: the same masks as drawn apart, masks of channels, what is declined."""

import numpy as np
import pytest
from contract import (
    COMPILED,
    assert_declines,
    assert_same,
    computed,
    cpu,
    floats,
    random,
    referenced,
    to,
)

import minigrad as mg

STATE = np.array([5, 2**40, 2**32 - 3], np.uint64)


def call(x, shape, keep=0.8):
    return [x, STATE], dict(keep=keep, scale=1.25, shape=shape)


@floats
@pytest.mark.parametrize("keep", [0.0, 2.0**-25, 0.3, 1 - 2.0**-25, 1.0])
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_the_mask_has_no_seam_between_chunks(offset, keep, dtype, monkeypatch):
    if not COMPILED:
        monkeypatch.setattr(cpu.dropout, "CHUNK", 2)
    n = 8 * cpu.dropout.CHUNK + offset
    for shape, of_mask in (((n,), (n,)), ((n, 2), (n, 1))):
        arrays, params = call(random(*shape, dtype=dtype), of_mask, keep)
        wanted = referenced("dropout", arrays, params)
        assert_same(computed("dropout", arrays, params), wanted)
        of_wanted = [arrays[0], wanted[1]], dict(scale=1.25)
        assert_same(computed("masked", *of_wanted), wanted[:1])


def test_every_backend_and_bernoulli_draw_one_mask():
    masks = []
    for backend in ("numpy", "numba"):
        mg.manual_seed(3)
        x = mg.ones((5, 6), backend=backend)
        masks += [mg.nn.functional.dropout(x, 0.4).numpy() != 0 for _ in range(2)]
        mg.manual_seed(3)
        masks += [mg.random.bernoulli(0.6, (5, 6), backend=backend).numpy() for _ in range(2)]
    for mask in masks:
        assert (mask == masks[0]).all() or (mask == masks[1]).all()
    assert [m.tobytes() for m in masks] == [masks[0].tobytes(), masks[1].tobytes()] * 4
    assert masks[0].tobytes() != masks[1].tobytes()


@floats
def test_what_is_dropped_is_0_whatever_it_was(dtype):
    x = np.array([np.nan, np.inf, -np.inf, 1] * 8, dtype)
    arrays, params = call(x, x.shape, 0.5)
    out, mask = computed("dropout", arrays, params)
    assert_same([out, mask], referenced("dropout", arrays, params))
    assert not out[~mask].any()


@pytest.mark.parametrize(
    ("x", "shape"),
    [
        (random(2, 3, dtype=np.float16), (2, 3)),
        (random(2, 3, dtype=np.dtype(np.float32).newbyteorder()), (2, 3)),
        (random(2, 3), (1, 3)),
        (random(2, 3, 4), (2, 1, 4)),
        (random(2, 3), (3,)),
    ],
    ids=str,
)
def test_declines(x, shape):
    assert_declines("dropout", *call(x, shape))
    assert_declines("masked", [x, np.ones(shape, bool)], dict(scale=1.25))


def test_declines_what_is_no_mask_and_no_state():
    x = random(2, 3)
    assert_declines("masked", [x, np.ones((2, 3), np.uint8)], dict(scale=1.25))
    for change in (to(np.int64), lambda state: state[:2], to(np.dtype(np.uint64).newbyteorder())):
        (_, state), params = call(x, (2, 3))
        assert_declines("dropout", [x, change(state)], params)
