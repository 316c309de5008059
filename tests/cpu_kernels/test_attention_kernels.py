"""Attention on the CPU."""

import math

import numpy as np
import pytest
from contract import (
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

import minigrad as mg

LANES, PART, QUERIES = cpu.attention.LANES, cpu.attention.PART, cpu.attention.QUERIES
INF, NAN = np.inf, np.nan
FORWARD, BACKWARD = "scaled_dot_product_attention", "attention_backward"
WANTED = ("query", "key", "value")


def attention_call(
    dtype=np.float64, batch=(2,), lengths=(3, 4), sizes=(3, 2), masks=(), causal=False
):
    """Return the arrays and params of forward; masks: the shapes of mask, bias and keep."""
    (length, steps), (size, width) = lengths, sizes
    query = random(*batch, length, size, dtype=dtype)
    key = random(*batch, steps, size, seed=1, dtype=dtype)
    value = random(*batch, steps, width, seed=2, dtype=dtype)
    given = [None if s is None else random(*s, seed=3 + i) for i, s in enumerate(masks)]
    given += [None] * (3 - len(given))
    mask, bias, keep = (x if x is None else x > -0.5 for x in given)
    if bias is not None:
        bias = given[1].astype(dtype)
    share = 1.0 if keep is None else 1.5
    params = dict(scale=0.7, causal=causal, share=share)
    return [query, key, value, mask, bias, keep], params


def backward_call(*args, **options):
    arrays, params = attention_call(*args, **options)
    with np.errstate(all="ignore"):
        out, logsumexp = referenced(FORWARD, arrays, params)
    g = random(*out.shape, seed=9, dtype=out.dtype)
    return [g, None, *arrays, out, logsumexp], dict(params, wanted=WANTED)


def compare(*args, **options):
    for name, make in ((FORWARD, attention_call), (BACKWARD, backward_call)):
        arrays, params = make(*args, **options)
        tolerance = 4 * TOLERANCE[arrays[0].dtype.type]
        assert_same(computed(name, arrays, params), referenced(name, arrays, params), tolerance)


@floats
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "lengths",
    [
        (1, 1),
        (1, 5),
        (5, 1),
        (LANES, LANES),
        (LANES + 1, LANES - 1),
        (QUERIES + 2, LANES + 3),
        (PART + LANES + 1, 3),
    ],
    ids=str,
)
def test_lengths_around_a_block(lengths, causal, dtype):
    compare(dtype, (1,), lengths, causal=causal)


@pytest.mark.parametrize("sizes", [(1, 1), (4, 8), (LANES + 2, 3), (3, LANES + 2), (0, 2), (2, 0)])
def test_sizes(sizes):
    compare(lengths=(6, 5), sizes=sizes)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (2, 1, 2), (0,), (2, 0)], ids=str)
def test_leading_axes(batch):
    compare(batch=batch)
    compare(batch=batch, causal=True)


@floats
@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1), (3, 4), (2, 1, 1, 4), (2, 3, 3, 4)])
@pytest.mark.parametrize("place", range(3), ids=["mask", "bias", "keep"])
def test_masks_of_every_shape(place, shape, dtype):
    masks = [shape if i == place else None for i in range(3)]
    compare(dtype, (2, 3), masks=masks)
    compare(dtype, (2, 3), masks=masks, causal=True)


def test_all_masks_together_over_several_blocks():
    shape = (QUERIES + 1, LANES + 1)
    compare(lengths=shape, masks=[shape, shape, (2, *shape)], causal=True)


@floats
def test_a_query_that_sees_nothing_gives_0(dtype):
    arrays, params = attention_call(dtype, masks=[(3, 4)])
    arrays[3][1] = False
    out, logsumexp = computed(FORWARD, arrays, params)
    assert not out[:, 1].any()
    assert not logsumexp[:, 1].any()
    (arrays, params) = backward_call(dtype, masks=[(3, 4)])
    arrays[5][1] = False
    arrays[8:] = referenced(FORWARD, arrays[2:8], {k: params[k] for k in params if k != "wanted"})
    assert not computed(BACKWARD, arrays, params)[0][:, 1].any()


@floats
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("position", range(3))
def test_what_is_not_finite(position, bad, dtype):
    arrays, params = attention_call(dtype)
    arrays[position][0, 1, 1] = bad
    with np.errstate(all="ignore"):
        found = computed(FORWARD, arrays, params)
    assert_same(found, referenced(FORWARD, arrays, params), TOLERANCE[dtype])


def test_large_scores():
    arrays, params = attention_call(np.float32)
    arrays[0] *= 1e4
    assert_same(computed(FORWARD, arrays, params), referenced(FORWARD, arrays, params), 2e-6)


@pytest.mark.parametrize("wanted", [WANTED, WANTED[:1], WANTED[1:], ("value",), ()], ids=str)
def test_the_cotangents_that_are_wanted(wanted):
    arrays, params = backward_call()
    found = computed(BACKWARD, arrays, dict(params, wanted=wanted))
    every = dict(zip(WANTED, computed(BACKWARD, arrays, params), strict=True))
    assert_same(found, [every[name] for name in wanted])


def test_heads_that_were_cut_from_vectors_are_neither_copied_nor_moved():
    arrays, params = backward_call(batch=(2, 3))
    inside = [a.swapaxes(1, 2).copy().swapaxes(1, 2) for a in arrays[2:5]]
    arrays[2:5] = inside
    for array in (
        *computed(FORWARD, arrays[2:8], dict(scale=1, causal=False, share=1))[:1],
        *computed(BACKWARD, arrays, params),
    ):
        assert array.swapaxes(1, 2).flags.c_contiguous


DECLINED = [
    *[(position, to(dtype)) for position in range(3) for dtype in (np.float16, np.float32, ">f8")],
    *[(position, lambda x: x[:1]) for position in range(3)],
]


@pytest.mark.parametrize(("position", "change"), DECLINED)
def test_declines_and_leaves_everything_as_it_was(position, change):
    for name, make, first in ((FORWARD, attention_call, 0), (BACKWARD, backward_call, 2)):
        arrays, params = make()
        arrays[first + position] = change(arrays[first + position])
        assert_declines(name, arrays, params)


def test_declines_what_counts_though_it_is_masked():
    arrays, params = attention_call(causal=True)
    arrays[2][0, 3, 0] = NAN
    assert_declines(FORWARD, arrays, params)
    for position in (0, 2, 3, 4):
        arrays, params = backward_call(causal=True)
        arrays[position][0, 2, 0] = INF
        assert_declines(BACKWARD, arrays, params)


@pytest.mark.parametrize(("lengths", "rows"), [((3, 400), 2), ((400, 3), 2)])
def test_declines_what_leaves_lanes_empty(lengths, rows):
    arrays, params = backward_call(batch=(rows,), lengths=lengths)
    assert_declines(BACKWARD, arrays, params)
    del params["wanted"]
    assert (computed(FORWARD, arrays[2:8], params) is None) == (lengths[0] < lengths[1])


@pytest.mark.parametrize("causal", [False, True])
def test_declines_features_that_leave_the_cache(causal):
    for make, name in ((attention_call, FORWARD), (backward_call, BACKWARD)):
        arrays, params = make(lengths=(QUERIES, QUERIES), sizes=(512, 513), causal=causal)
        assert_declines(name, arrays, params)


def test_declines_other_cotangents():
    arrays, params = backward_call(masks=[None, (3, 4)])
    assert_declines(BACKWARD, arrays, dict(params, wanted=(*WANTED, "bias")))
    arrays[0] = arrays[0].astype(np.float32)
    assert_declines(BACKWARD, arrays, params)
    arrays, params = backward_call()
    arrays[1] = np.ones_like(arrays[-1])
    assert_declines(BACKWARD, arrays, params)


@pytest.mark.parametrize("scale", [0.3, 1 / math.sqrt(3)])
def test_backward_makes_the_scores_again_to_the_last_bit(scale):
    # Scores of 1e4: a bit more or less is a factor of 1.001 of the probability.
    query = np.full((1, 1, 17, 8), 1100, np.float32)
    signs = np.where(np.arange(17) == 0, np.float32(1.3), np.float32(-1.3))
    key, value = np.tile(signs[:, None], (1, 1, 1, 8)), np.ones((1, 1, 17, 1), np.float32)
    xs = [mg.tensor(x, backend="numba", requires_grad=True) for x in (query, key, value)]
    out = mg.scaled_dot_product_attention(*xs, scale=scale)
    assert out.detach().numpy().tolist() == np.ones((1, 1, 17, 1)).tolist()
    out.sum().backward()
    assert xs[2].grad.numpy().ravel().tolist() == [17] + [0] * 16
