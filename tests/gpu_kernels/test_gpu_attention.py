"""Attention on the GPU: tiles, masks, what is not finite, and what is left to the reference."""

import numpy as np
import pytest
from test_gpu_contract import assert_same, computed, floats, referenced

import minigrad as mg
from minigrad.kernels.gpu.attention import WIDTHS

FORWARD, BACKWARD = "scaled_dot_product_attention", "attention_backward"
WANTED = ("query", "key", "value")
INF, NAN = np.inf, np.nan


def forward_call(
    dtype=np.float32, batch=(2,), lengths=(3, 4), sizes=(3, 2), masks=(), causal=False
):
    """Return the arrays and params of forward; masks: the shapes of mask, bias and keep."""
    rng, (length, steps), (size, width) = np.random.default_rng(0), lengths, sizes
    shapes = (length, size), (steps, size), (steps, width)
    rows = [rng.normal(size=(*batch, *shape)).astype(dtype) for shape in shapes]
    given = [None if shape is None else np.asarray(rng.normal(size=shape)) for shape in masks]
    mask, bias, keep = given + [None] * (3 - len(given))
    mask, keep = (x if x is None else np.asarray(x > -0.5) for x in (mask, keep))
    bias = bias if bias is None else bias.astype(dtype)
    params = {"scale": 0.5, "causal": causal, "share": 1.0 if keep is None else 1.5}
    return [*rows, mask, bias, keep], params


def backward_of(arrays, params):
    """Return the arrays and params of backward, after forward's."""
    out, logsumexp = referenced(FORWARD, arrays, params)
    g = np.random.default_rng(1).normal(size=out.shape).astype(out.dtype)
    return [g, None, *arrays, out, logsumexp], {**params, "wanted": WANTED}


def compare(backend, dtype, **options):
    """Compare forward and backward with the reference."""
    arrays, params = forward_call(dtype, **options)
    for name, call in ((FORWARD, (arrays, params)), (BACKWARD, backward_of(arrays, params))):
        assert_same(computed(backend, name, *call), referenced(name, *call), dtype, room=4)


@floats
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lengths", [(1, 1), (1, 33), (31, 65), (33, 31), (65, 1), (130, 67)])
def test_lengths_around_a_tile(lengths, causal, dtype, emulated):
    compare(emulated, dtype, lengths=lengths, causal=causal)


@floats
@pytest.mark.parametrize("sizes", [(1, 1), (16, 16), (64, 64), (33, 5), (0, 2), (2, 0)])
def test_sizes_of_a_head(sizes, dtype, emulated):
    compare(emulated, dtype, lengths=(33, 35), sizes=sizes)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (2, 1, 2), (0,), (2, 0)], ids=str)
def test_leading_axes(batch, emulated):
    for causal in (False, True):
        compare(emulated, np.float32, batch=batch, causal=causal)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1), (3, 4), (2, 1, 1, 4), (2, 3, 3, 4)])
@pytest.mark.parametrize("place", range(3), ids=["mask", "bias", "keep"])
def test_masks_of_every_shape(place, shape, emulated):
    masks = [shape if i == place else None for i in range(3)]
    for causal in (False, True):
        compare(emulated, np.float32, batch=(2, 3), masks=masks, causal=causal)


@floats
def test_all_masks_together_over_several_tiles(dtype, emulated):
    masks = [(65, 70), (65, 70), (2, 65, 70)]
    compare(emulated, dtype, lengths=(65, 70), masks=masks, causal=True)


@floats
def test_a_query_that_sees_nothing_gives_0_and_gets_0(dtype, emulated):
    arrays, params = forward_call(dtype, lengths=(3, 70), masks=[(3, 70)])
    arrays[3][1] = False
    out, logsumexp = computed(emulated, FORWARD, arrays, params)
    assert not out[:, 1].any() and not logsumexp[:, 1].any()
    dquery, *_ = computed(emulated, BACKWARD, *backward_of(arrays, params))
    assert not dquery[:, 1].any() and dquery[:, 2].all()


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("place", ["query", "key", "value", "bias"])
@pytest.mark.parametrize("row", [0, 40, 99])  # in a causal mask some tiles are hidden from others
def test_what_is_not_finite_goes_where_the_reference_has_it(row, place, bad, emulated):
    for causal in (False, True):
        lengths = masks = (100, 100)
        arrays, params = forward_call(lengths=lengths, masks=[None, masks], causal=causal)
        array = dict(zip([*WANTED, None, "bias"], arrays, strict=False))[place]
        array[(..., row, 1)] = bad
        found = computed(emulated, FORWARD, arrays, params)
        assert_same(found, referenced(FORWARD, arrays, params), np.float32)
        arrays, params = backward_of(arrays, params)
        found = computed(emulated, BACKWARD, arrays, params)
        for x, y in zip(found, referenced(BACKWARD, arrays, params), strict=True):
            np.testing.assert_array_equal(np.isfinite(x), np.isfinite(y))


@pytest.mark.parametrize("place", [0, 9, 10], ids=["g", "out", "logsumexp"])
@pytest.mark.parametrize("row", [0, 40, 99])
def test_a_cotangent_that_is_not_finite(row, place, emulated):
    arrays, params = backward_of(*forward_call(lengths=(100, 100), causal=True))
    arrays[{0: 0, 9: 8, 10: 9}[place]][:, row, 0] = NAN
    found = computed(emulated, BACKWARD, arrays, params)
    assert_same(found, referenced(BACKWARD, arrays, params), np.float32)


def test_scores_that_grow_from_tile_to_tile(emulated):
    arrays, params = forward_call(lengths=(3, 200))
    arrays[1] *= np.linspace(1, 300, 200, dtype=np.float32)[:, None]
    found = computed(emulated, FORWARD, arrays, params)
    assert_same(found, referenced(FORWARD, arrays, params), np.float32, room=20)


@pytest.mark.parametrize("wanted", [WANTED[:1], WANTED[1:], ("value",), ("query", "value"), ()])
def test_the_cotangents_that_are_wanted(wanted, emulated, device):
    arrays, params = backward_of(*forward_call())
    every = dict(zip(WANTED, computed(emulated, BACKWARD, arrays, params), strict=True))
    found = computed(emulated, BACKWARD, arrays, {**params, "wanted": wanted})
    assert [x.tobytes() for x in found] == [every[name].tobytes() for name in wanted]
    assert len(device.launched) == 1 + bool(wanted)


def test_heads_that_were_cut_from_vectors_stay_side_by_side(emulated):
    arrays, params = backward_of(*forward_call(batch=(2, 3)))
    arrays[2:5] = [a.swapaxes(1, 2).copy().swapaxes(1, 2) for a in arrays[2:5]]
    out, _ = computed(
        emulated, FORWARD, arrays[2:8], {k: params[k] for k in params.keys() - {"wanted"}}
    )
    for array in (out, *computed(emulated, BACKWARD, arrays, params)):
        assert array.swapaxes(1, 2).flags.c_contiguous


def other(place, make):
    """Return the arrays and params of forward with one array made another."""
    arrays, params = forward_call(batch=(2, 2), masks=[(3, 4)] * 3)
    arrays[place] = make(arrays[place])
    return arrays, params


@pytest.mark.parametrize(
    ("arrays", "params"),
    [
        forward_call(sizes=(WIDTHS[-1] + 1, 2)),
        forward_call(sizes=(2, WIDTHS[-1] + 1)),
        other(0, lambda query: query[:1]),
        other(2, lambda value: value[0]),
        other(1, lambda key: key.astype(float)),
        other(3, lambda mask: mask.astype(np.int8)),
        other(4, lambda bias: bias.astype(float)),
        forward_call(batch=(2, 3, 1), masks=[(3, 1, 3, 4)]),
    ],
)
def test_declines(arrays, params, emulated, device):
    assert computed(emulated, FORWARD, arrays, params) is None
    arrays, params = backward_of(arrays, params)
    assert computed(emulated, BACKWARD, arrays, params) is None
    assert not device.launched


def test_cotangents_of_the_bias_and_of_logsumexp_are_left_to_the_formula(emulated):
    arrays, params = backward_of(*forward_call(masks=[None, (3, 4)]))
    assert computed(emulated, BACKWARD, arrays, {**params, "wanted": ("query", "bias")}) is None
    arrays[1] = np.ones_like(arrays[-1])
    assert computed(emulated, BACKWARD, arrays, params) is None
    assert computed(emulated, BACKWARD, [None, *arrays[1:]], params) is None


def test_launches_of_a_layer(emulated, device):
    rng = np.random.default_rng(0)
    query, key, value = (
        mg.tensor(rng.normal(size=(2, 3, 4, 5)).astype(np.float32), backend=emulated)
        for _ in range(3)
    )
    query.requires_grad = value.requires_grad = True
    mg.scaled_dot_product_attention(query, key, value, is_causal=True).sum().backward()
    assert device.launched == ["attention_float_32", "attention_backward_float_32"]


@pytest.mark.parametrize(("mask", "kind"), [(None, "half"), (bool, "half"), (np.float32, "float")])
def test_float16_stays_float16_unless_a_mask_is_added(mask, kind, emulated, device):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(2, 3, 4, 8)).astype(np.float16) for _ in range(3)]
    given = None if mask is None else np.tri(4, 4).astype(mask)
    found = []
    for backend, dtype in (("emulated", np.float16), ("numpy", np.float32)):
        xs = [mg.tensor(a.astype(dtype), backend=backend, requires_grad=True) for a in arrays]
        kept = None if given is None else mg.tensor(given, backend=backend)
        out = mg.scaled_dot_product_attention(*xs, kept)
        out.sum().backward()
        found.append([t.detach().numpy().astype(np.float16) for t in (out, *(x.grad for x in xs))])
    assert device.launched == [f"attention_{kind}_32", f"attention_backward_{kind}_32"]
    for x, y in zip(*found, strict=True):
        np.testing.assert_allclose(x.astype(float), y.astype(float), rtol=4e-3, atol=2e-3)
