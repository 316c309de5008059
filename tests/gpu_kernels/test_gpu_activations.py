"""Activations on the GPU: extremes, dense layers, and what is left to the reference."""

import numpy as np
import pytest
from test_gpu_contract import assert_same, computed, floats, numbers, referenced

import minigrad as mg
from minigrad.kernels.gpu.activations import ROWS, WIDTH

EXTREMES = [0.0, -0.0, 6e-8, 1e-30, 5.0, -5.0, 40.0, -40.0, 65504.0, -65504.0]
EXTREMES += [np.inf, -np.inf, np.nan]
ALONE = [(name, {}) for name in ("relu", "sigmoid", "tanh", "silu")]
ALONE += [("gelu", {"approximate": kind}) for kind in ("none", "tanh")]


@floats
@pytest.mark.parametrize(("name", "params"), ALONE, ids=str)
def test_extremes_are_as_in_the_reference(name, params, dtype, emulated):
    x = numbers(EXTREMES, dtype)
    found = computed(emulated, name, [x], params)
    assert_same(found, referenced(name, [x], params), dtype)
    backward = f"{name}_backward"
    if name not in ("silu", "gelu"):
        (x,) = found
    g = np.full_like(x, 2)
    wanted = referenced(backward, [g, x], params)
    assert_same(computed(emulated, backward, [g, x], params), wanted, dtype)


@pytest.mark.parametrize("bias", [None, [65504.0, 3.0, 0.0, 1e-7, 1.0, np.nan, 2.0, -65504.0]])
def test_a_layer_of_float16_applies_its_activation_to_what_the_tape_keeps(bias, emulated):
    x = numbers([[1.0], [40.0], [np.inf], [6e-8]], np.float16)
    weight = numbers([[40.0], [3e4], [-3e4], [6e-8], [0.0], [1.0], [np.inf], [-40.0]], np.float16)
    arrays = [x, weight, None if bias is None else numbers(bias, np.float16)]
    with np.errstate(all="ignore"):
        out, z = computed(emulated, "linear_input", arrays, {"activation": "silu"})
        wanted = (x @ weight.T).astype(np.float32) + (0 if bias is None else arrays[2])
        np.testing.assert_array_equal(z, wanted.astype(np.float16))
    assert_same([out], referenced("silu", [z], {}), np.float16)


@pytest.mark.parametrize("wanted", [("x", "weight", "bias"), ("weight",), ("bias", "x")])
@pytest.mark.parametrize("shape", [(2 * ROWS + 3, 5), (3, 7, 5), (0, 5)])
def test_dense_layers_of_many_rows_and_columns(shape, wanted, emulated):
    rng = np.random.default_rng(0)
    m = WIDTH + 1
    x, weight, g, z = (
        rng.normal(size=s).astype(np.float32)
        for s in (shape, (m, 5), (*shape[:-1], m), (*shape[:-1], m))
    )
    params = {"activation": "gelu", "wanted": wanted}
    found = computed(emulated, "linear_input_backward", [g, None, x, weight, z], params)
    # In the order that is wanted, which the engine's is.
    order = [name for name in ("x", "weight", "bias") if name in wanted]
    exact = [a if a is None else a.astype(float) for a in (g, None, x, weight, z)]
    for y, name in zip(found, wanted, strict=True):
        expected = referenced("linear_input_backward", exact, params)[order.index(name)]
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("shape", "weight", "bias"),
    [((2, 3), (4, 2), None), ((2, 3), (3,), None), ((2, 3), (4, 3), (3,)), ((2, 0), (4, 0), None)],
)
def test_declines(shape, weight, bias, emulated):
    arrays = [np.ones(s, np.float32) for s in (shape, weight)]
    arrays.append(None if bias is None else np.ones(bias, np.float32))
    assert computed(emulated, "linear_value", arrays, {"activation": "relu"}) is None


def test_a_cotangent_of_what_is_activated_is_left_to_the_formula(emulated):
    g, z = np.ones((2, 3), np.float32), np.ones((2, 3), np.float32)
    params = {"activation": "silu", "wanted": ("bias",)}
    assert computed(emulated, "linear_input_backward", [g, g, None, None, z], params) is None


def test_launches_of_a_layer(emulated, device):
    layer = mg.nn.Sequential(mg.nn.Linear(3, 2), mg.nn.GELU()).to("emulated")
    layer(mg.tensor(np.ones((4, 3), np.float32), backend=emulated)).sum().backward()
    assert device.launched == ["linear_gelu_float", "linear_gelu_backward_float", "add_up_float"]
