"""Layer norm and RMS norm on the GPU: extremes, and what is left to the reference."""

import numpy as np
import pytest
from test_gpu_contract import assert_same, computed, floats, numbers, referenced

import minigrad as mg

RMS = {"axis": (1,), "eps": 1e-5}
PARAMS = {**RMS, "shape": None}


@floats
@pytest.mark.parametrize(
    "row",
    [
        [3.0, 3.0, 3.0],
        [1e6, 1e6 + 1, 1e6 + 2],
        [1e30, -1e30, 0.0],
        [65504.0, 65504.0, -65504.0],
        [6e-8, 1.2e-7, 0.0],
        [np.nan, 1.0, 2.0],
        [np.inf, 1.0, 2.0],
        [1.0, -np.inf, 2.0],
    ],
    ids=str,
)
@pytest.mark.parametrize(("name", "params"), [("normalize", PARAMS), ("rms_normalize", RMS)])
def test_extremes_are_as_in_the_reference(name, params, row, dtype, emulated):
    arrays = [numbers([row, [0.5, 1.0, 2.0]], dtype)]
    found = computed(emulated, name, arrays, params)
    assert_same(found, referenced(name, arrays, params), dtype)


def test_addresses_without_vectors_give_the_same_bits(emulated):
    x = np.random.default_rng(0).normal(size=(2, 304)).astype(np.float16)
    shifted = np.concatenate([x.ravel()[:1], x.ravel()])[1:].reshape(x.shape)
    found = [computed(emulated, "normalize", [a], PARAMS) for a in (x, shifted)]
    assert [a.tobytes() for a in found[0]] == [a.tobytes() for a in found[1]]


@pytest.mark.parametrize(
    ("shape", "axis", "weights"),
    [
        ((2, 4097), (1,), None),
        ((2, 3, 4), (1,), None),
        ((2, 3, 4), (0,), None),
        ((2, 3, 4), (1, 2), (3, 1)),
        ((2, 3, 4), (1, 2), (4,)),
        ((2, 3, 4), (2,), (3, 4)),
    ],
)
def test_declines(shape, axis, weights, emulated):
    x = np.ones(shape, np.float32)
    weight = None if weights is None else np.ones(weights, np.float32)
    params = {"axis": axis, "eps": 0.1, "shape": None}
    assert computed(emulated, "normalize", [x, weight, None], params) is None


def test_weights_of_more_axes(emulated):
    arrays = [np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.ones((1, 3, 4), np.float32)]
    params = {"axis": (2, 1), "eps": 0.1}
    assert_same(
        computed(emulated, "rms_normalize", arrays, params),
        referenced("rms_normalize", arrays, params),
        np.float32,
    )


def test_launches_of_a_layer(emulated, device):
    layer = mg.nn.LayerNorm(8).to("emulated")
    x = mg.tensor(np.ones((4, 8), np.float32), backend=emulated)
    layer(x).sum().backward()
    assert device.launched == [
        "normalize_float_short",
        "normalize_backward_float_short",
        "add_up_float",
    ]
    assert layer.bias.grad.numpy().tolist() == [4] * 8
