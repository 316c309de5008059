"""Dense layers on the CPU: the two ways round that their products are made."""

import numpy as np
import pytest
from contract import assert_declines, assert_same, computed, cpu, floats, random, referenced

linear = cpu.linear
TOLERANCE = {np.float32: 3e-4, np.float64: 1e-12}  # of sums of 256 products, each way

GRADIENTS = ("x", "weight", "bias")


@pytest.fixture(params=["in loops", "by NumPy"], autouse=True)
def where_products_are_made(request, however_small, monkeypatch):
    if request.param == "by NumPy":
        for loop in (linear._layer, linear._products):
            monkeypatch.setattr(loop, "pays_from", np.inf)


@pytest.fixture(params=[1, 2, 3])
def shares(request, monkeypatch):
    """Set in how many shares the work is cut, whatever the number of threads."""
    monkeypatch.setattr(linear, "_shares", lambda n, m: request.param)


@floats
@pytest.mark.parametrize("activation", ["relu", "tanh", None])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 7, 8, 33, 64, 65])
def test_products_of_few_rows_with_large_weights(rows, bias, activation, dtype, monkeypatch):
    monkeypatch.setattr(linear, "LARGE", 256)
    x, weight = random(rows, 16, dtype=dtype), random(17, 16, seed=1, dtype=dtype)
    arrays = [x, weight, random(17, seed=2, dtype=dtype) if bias else None]
    name, params = ("linear_value", {"activation": activation}) if activation else ("linear", {})
    for weights in (weight, np.asfortranarray(weight)):
        arrays[1] = weights
        found = computed(name, arrays, params)
        assert_same(found, referenced(name, arrays, params), TOLERANCE[dtype])


@floats
@pytest.mark.parametrize("rows", [1, 2, 64, 65, 129])
@pytest.mark.parametrize("wanted", [("x",), ("weight",), ("bias",), ("weight", "bias"), GRADIENTS])
@pytest.mark.usefixtures("shares")
def test_gradients_of_every_number_of_rows(wanted, rows, dtype):
    g, x, weight = random(rows, 3, dtype=dtype), random(rows, 5, seed=1, dtype=dtype), None
    if "x" in wanted:
        weight = random(3, 5, seed=2, dtype=dtype)
    arrays, params = [g, x, weight], {"wanted": wanted}
    found = computed("linear_backward", arrays, params)
    assert_same(found, referenced("linear_backward", arrays, params), TOLERANCE[dtype])
    assert all(f.base is None for f in found)


@floats
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh", "gelu", "silu"])
@pytest.mark.parametrize("rows", [4, 66])
@pytest.mark.usefixtures("shares")
def test_shares_of_a_layer_and_its_gradients(rows, activation, dtype):
    value = activation in ("relu", "sigmoid", "tanh")
    name, params = f"linear_{'value' if value else 'input'}", {"activation": activation}
    arrays = [random(*s, seed=i, dtype=dtype) for i, s in enumerate([(rows, 5), (33, 5), (33,)])]
    found = computed(name, arrays, params)
    assert_same(found, referenced(name, arrays, params), TOLERANCE[dtype])
    g = random(rows, 33, seed=4, dtype=dtype)
    arrays = [g, *([] if value else [None]), *arrays[:2], found[-1]]
    name, params = f"{name}_backward", params | {"wanted": GRADIENTS}
    found = computed(name, arrays, params)
    assert_same(found, referenced(name, arrays, params), TOLERANCE[dtype])


@floats
@pytest.mark.parametrize("leading", [(), (2, 3), (0, 2)])
def test_any_number_of_leading_axes(leading, dtype):
    x, weight = random(*leading, 5, dtype=dtype), random(4, 5, seed=1, dtype=dtype)
    arrays = [x, weight, random(4, seed=2, dtype=dtype)]
    found = computed("linear", arrays, {})
    assert_same(found, referenced("linear", arrays, {}), TOLERANCE[dtype])
    arrays, params = [random(*leading, 4, seed=3, dtype=dtype), x, weight], {"wanted": GRADIENTS}
    found = computed("linear_backward", arrays, params)
    assert_same(found, referenced("linear_backward", arrays, params), TOLERANCE[dtype])
    assert all(f.base is None for f in found)


@pytest.mark.parametrize(
    ("position", "change"),
    [
        (0, lambda x: x[:, :-1]),
        (0, lambda x: x.astype(np.float64)),
        (0, lambda x: x[0, 0]),
        (1, lambda weight: weight[0]),
        (1, lambda weight: weight.astype(np.float16)),
        (2, lambda bias: bias[:-1]),
        (2, lambda bias: bias.astype(np.float64)),
    ],
)
def test_declines_what_does_not_fit(position, change):
    arrays = [random(*shape, dtype=np.float32) for shape in ((4, 5), (3, 5), (3,))]
    arrays[position] = change(arrays[position])
    assert_declines("linear", arrays, {})


def test_declines_what_no_axis_of_features_has():
    arrays = [np.ones((2, 0), np.float32), np.ones((3, 0), np.float32), None]
    assert_declines("linear", arrays, {})
    assert_declines(
        "linear_backward", [np.ones((2, 0)), np.ones((2, 3)), np.ones((0, 3))], {"wanted": ("x",)}
    )
    z, g = np.ones((2, 3)), np.ones((2, 3))
    params = {"activation": "gelu", "wanted": ("bias",)}
    assert_declines("linear_input_backward", [g, g, None, None, z], params)
