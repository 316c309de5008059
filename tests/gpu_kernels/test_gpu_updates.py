"""The optimizers' steps on the GPU: many parameters in few launches, and what is declined."""

import numpy as np
import pytest
from test_gpu_contract import assert_same, computed, floats, referenced

import minigrad as mg
from minigrad.kernels.gpu.updates import LEAST_CHUNK, MOST

CHUNK = LEAST_CHUNK // 4  # elements of float32
SIZES = [0, 1, 5, CHUNK - 1, CHUNK, 3 * CHUNK + 2]


def adam(shapes, dtype=np.float32, order="C"):
    """Return the arrays of a call of Adam."""
    rng = np.random.default_rng(3)
    parameters = [
        [*(np.array(rng.uniform(0.1, 1, s), dtype, order=order) for _ in range(4)), np.array(1.0)]
        for s in shapes
    ]
    scalars = [np.array(x) for x in (0.1, 0.9, 0.99, 1e-8, 0.01)]
    return [*parameters[0], *scalars, None, *(x for group in parameters[1:] for x in group)]


def assert_equals_reference(backend, arrays):
    wanted = referenced("adam_update", arrays, {"decoupled": True})
    assert_same(computed(backend, "adam_update", arrays, {"decoupled": True}), wanted, np.float32)


@floats
def test_chunks_of_every_dtype(dtype, emulated):
    arrays = adam([2 * LEAST_CHUNK // np.dtype(dtype).itemsize + 3], dtype)
    arrays[8] = np.array(2.0**-12)  # float16 takes no smaller eps
    wanted = referenced("adam_update", arrays, {"decoupled": True})
    assert_same(computed(emulated, "adam_update", arrays, {"decoupled": True}), wanted, dtype)


@pytest.mark.parametrize("g", [1e-7, 6e-8, 1e-4, 0.0, 300.0, 65504.0])
def test_float16_steps_by_small_gradients_and_by_large_ones(g, emulated):
    """As the op does, eps is at least 2^-12 there."""
    p, g, m, v = (np.full(9, value, np.float16) for value in (1.0, g, 0.0, 0.0))
    scalars = [np.array(x) for x in (0.0, 0.1, 0.9, 0.999, 1e-8)]
    arrays = [p, g, m, v, *scalars, None]
    found = computed(emulated, "adam_update", arrays, {"decoupled": False})[0]
    exact = g.astype(float)
    wanted = 1 - 0.1 * exact / (exact + 2.0**-12)
    np.testing.assert_array_equal(found, wanted.astype(np.float16))


@pytest.mark.parametrize("shapes", [[(0,)], SIZES, [(3,)] * (MOST + 1)], ids=len)
def test_one_launch_for_as_many_as_fit(shapes, emulated, device):
    assert_equals_reference(emulated, adam(shapes))
    assert device.launched == ["adam_update_float"] * -(-len(shapes) // MOST)


def test_chunks_grow_with_the_parameters(emulated, monkeypatch):
    monkeypatch.setattr("minigrad.kernels.gpu.updates.MANY_BLOCKS", 2)
    assert_equals_reference(emulated, adam(SIZES))


def test_fortran_order(emulated, device):
    assert_equals_reference(emulated, adam([(3, 4), (5, 2)], order="F"))
    assert len(device.launched) == 1


@pytest.mark.parametrize(
    ("at", "change"),
    [
        (0, lambda x: np.repeat(x, 2, axis=-1)[..., ::2]),
        (2, np.asfortranarray),
        (1, np.float64),
        (4, np.float32),
        (5, np.float32),
        (11, np.float64),
    ],
)
def test_declines(at, change, emulated):
    arrays = adam([(3, 4), (2, 2)])
    arrays[at] = np.asarray(change(arrays[at]))
    assert computed(emulated, "adam_update", arrays, {"decoupled": True}) is None


@pytest.mark.parametrize("optimizer", [mg.optim.Adam, mg.optim.AdamW, mg.optim.SGD])
def test_a_model_is_trained_as_on_the_host(optimizer, emulated, device):
    options = {"momentum": 0.9} if optimizer is mg.optim.SGD else {}

    def trained(backend):
        mg.manual_seed(0)
        model = mg.nn.Sequential(mg.nn.Linear(4, 8), mg.nn.ReLU(), mg.nn.Linear(8, 3))
        model = model.to(backend)
        steps = optimizer(model.parameters(), lr=0.05, weight_decay=0.1, **options)
        rng = np.random.default_rng(0)
        x = mg.tensor(rng.normal(size=(12, 4)).astype(np.float32), backend=backend)
        y = mg.tensor(np.arange(12) % 3, backend=backend)
        for _ in range(5):
            steps.zero_grad()
            mg.nn.functional.cross_entropy(model(x), y).backward()
            steps.step()
        return [p.detach().numpy() for p in model.parameters()]

    for found, wanted in zip(trained("emulated"), trained("numpy"), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)
    loss, step = device.launched[1::5], device.launched[4::5]
    assert loss == ["softmax_cross_entropy_float_warp"] * 5
    assert len(step) == 5 and all("update" in name for name in step)
