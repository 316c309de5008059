"""The product of matrices on the GPU that is there to be read, alone and within dense layers."""

import emulator
import numpy as np
import pytest
from strict import StrictArray
from test_gpu_contract import LAYOUTS, assert_same, referenced, results_of

from minigrad import backends
from minigrad.kernels import gpu
from minigrad.kernels.gpu import activations, gemm, launcher

# Of a row that vectors fit into, and not; of less than a tile of 64, a tile, and more.
LENGTHS = [1, 31, 33, 64, 65, 127, 132]
LAYERS = ["linear_value", "linear_input"]

floats = pytest.mark.parametrize("dtype", [dtype.type for dtype in gemm.DTYPES])


def random(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def matmul(device, *arrays, activation="none"):
    given = [None if a is None else StrictArray(a) for a in arrays]
    return gemm.matmul(device, *given, activation=activation)._host


def assert_product(c, a, b, bias=None):
    """Compare with the product in double precision, by the bound of sums of k terms."""
    exact = [x.astype(float) for x in (a, b)]
    wanted, size = exact[0] @ exact[1], abs(exact[0]) @ abs(exact[1])
    if bias is not None:
        wanted, size = wanted + bias, size + abs(bias)
    assert (c.dtype, c.shape) == (a.dtype, wanted.shape)
    bound = (a.shape[1] + 1) * np.finfo(a.dtype).eps * size
    assert (abs(c - wanted) <= bound).all()


@floats
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_products_of_every_shape(axis, length, dtype, emulated, device, monkeypatch):
    m, k, n = (length if i == axis else 5 + i for i in range(3))
    arrays = random(m, k, dtype=dtype), random(k, n, dtype=dtype, seed=1), random(n, dtype=dtype)
    c = matmul(device, *arrays)
    assert_product(c, *arrays)
    monkeypatch.setattr(device, "backwards", True)
    assert matmul(device, *arrays).tobytes() == c.tobytes()


@floats
@pytest.mark.parametrize("shape", [(65, 127, 33), (128, 64, 68)])
@pytest.mark.parametrize("layouts", [("C", "C"), ("C", "F"), ("F", "C"), ("F", "F")])
def test_transposes_are_read_where_they_lie(layouts, shape, dtype, emulated, device, monkeypatch):
    m, k, n = shape
    matrices = random(m, k, dtype=dtype), random(k, n, dtype=dtype, seed=1)
    a, b = (np.array(x, order=order) for x, order in zip(matrices, layouts, strict=True))
    with monkeypatch.context() as patch:
        patch.setattr(StrictArray, "copy", None)
        c = matmul(device, a, b)
    assert_product(c, a, b)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("which", [0, 1, 2])
def test_every_layout_of_each_input(which, layout, emulated, device):
    arrays = [random(8, 12), random(12, 20), random(20)]
    arrays[which] = LAYOUTS[layout](arrays[which])
    assert_product(matmul(device, *arrays), *arrays)


@floats
@pytest.mark.parametrize("activation", gemm.ACTIVATIONS)
def test_activations_of_extremes(activation, dtype, emulated, device):
    numbers = [0.0, -0.0, 1e-30, 5.0, -5.0, 40.0, -40.0, 1e4, -1e4, np.inf, -np.inf, np.nan]
    x = np.array(numbers, dtype)[:, None]
    made = matmul(device, x, np.ones((1, 1), dtype), activation=activation)
    params = {"approximate": "none"} if activation == "gelu" else {}
    wanted = [x] if activation == "none" else referenced(activation, [x], params)
    assert_same([made], wanted, dtype)


@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_not_finite_stays_in_its_row_or_column(order, emulated, device):
    a, b = np.ones((35, 19), np.float32, order), np.ones((19, 35), np.float32, order)
    a[1, 18], a[33, 0], b[2, 34] = np.inf, np.nan, -np.inf
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(matmul(device, a, b), a @ b)


@floats
@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 3, 0), (2, 0, 3)])
def test_products_of_nothing(shape, dtype, emulated, device):
    m, k, n = shape
    bias = -np.ones(n, dtype)
    made = matmul(device, np.ones((m, k), dtype), np.ones((k, n), dtype), bias, activation="relu")
    assert made.dtype == dtype
    np.testing.assert_array_equal(made, np.zeros((m, n)))
    assert len(device.launched) == bool(m * n)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"a": np.ones((2, 3), np.int64)}, TypeError, "float32 or float64 throughout, got int64"),
        ({"a": np.ones((2, 3), np.float16)}, TypeError, "got float16, float32"),
        ({"b": np.ones((3, 4))}, TypeError, "got float32, float64, float32, float32"),
        ({"bias": np.ones(4)}, TypeError, "got float32, float32, float64, float32"),
        ({"z": np.ones((2, 4))}, TypeError, "got float32, float32, float32, float64"),
        ({"b": random(2, 3)}, ValueError, r"shapes \(2, 3\) and \(2, 3\) do not fit"),
        ({"a": random(3)}, ValueError, r"shapes \(3,\) and \(3, 4\) do not fit"),
        ({"bias": random(3)}, ValueError, r"a bias of shape \(4,\), got \(3,\)"),
        ({"z": random(4, 2)}, ValueError, r"contiguous z of shape \(2, 4\), got \(4, 2\)"),
        ({"activation": "mish"}, ValueError, "an activation of none, relu, .*, got 'mish'"),
    ],
)
def test_what_does_not_fit_is_named(change, error, says, emulated, device):
    given = {"a": random(2, 3), "b": random(3, 4), "bias": random(4), "z": random(2, 4)} | change
    arrays = {name: StrictArray(x) for name, x in given.items() if name != "activation"}
    with pytest.raises(error, match=says):
        gemm.matmul(device, **arrays, activation=given.get("activation", "none"))
    assert not device.launched


@pytest.mark.parametrize("name", LAYERS)
@floats
@pytest.mark.parametrize(
    ("where", "n"),
    [*(("emulated", n) for n in (0, 1, 65)), pytest.param("cupy", 65, marks=pytest.mark.gpu)],
)
def test_layers_below_the_limit_are_one_launch(name, where, n, dtype, request, monkeypatch):
    if where == "cupy" and not backends.status()["cupy"].usable:
        pytest.skip(backends.status()["cupy"].reason)
    backend = backends.get("cupy") if where == "cupy" else request.getfixturevalue("emulated")
    device = request.getfixturevalue("device") if where == "emulated" else None
    monkeypatch.setattr(activations, "GEMM_BELOW", 1 << 20)
    for arrays, params in gpu.CALLS[name](dtype, n):
        given = [None if a is None else backend.from_numpy(a) for a in arrays]
        found = results_of(name, backend.kernels[name], given, params)
        wanted = referenced(name, arrays, params)
        assert_same([backend.to_numpy(a) for a in found], wanted, dtype, room=4)
        if device:
            function = f"gemm_{params['activation']}_{launcher.NAMES[np.dtype(dtype)]}"
            assert device.launched == [function] * bool(n)
            device.launched.clear()


def test_every_function_of_the_source_is_tested(emulated, device):
    x = random(2, 2)
    for dtype in gemm.DTYPES:
        for activation in gemm.ACTIVATIONS:
            matmul(device, x.astype(dtype), x.astype(dtype), activation=activation)
    functions = emulator.functions_of(launcher.source_of("gemm"))
    assert sorted(functions) == sorted(device.launched)
