"""The optimizers' steps on the GPU: many parameters in few launches, and what is declined."""

import numpy as np
import pytest
from test_gpu_contract import assert_same, computed, referenced

import minigrad as mg
from minigrad.kernels.gpu.updates import LEAST_CHUNK, MOST

SIZES = [0, 1, 5, LEAST_CHUNK - 1, LEAST_CHUNK, 3 * LEAST_CHUNK + 2]


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
