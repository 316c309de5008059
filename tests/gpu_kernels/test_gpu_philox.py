"""Random numbers on the GPU: the bits of every other backend, and masks that are declined."""

import numpy as np
import pytest
from test_gpu_contract import computed

import minigrad as mg


def drawn(backend):
    """Return what a seed gives on a backend."""
    mg.manual_seed(7)
    with mg.use_backend(backend):
        x = mg.rand(3, 5, 2)
        found = [x, mg.randn(9), mg.nn.functional.dropout(x, 0.3), mg.randint(0, 9, (4,))]
        found.append(mg.nn.functional.dropout2d(mg.rand(2, 3, 4, 5), 0.5))
        return [t.numpy() for t in found]


def test_a_seed_gives_the_same_bits_as_on_the_host(emulated, device):
    for x, y in zip(drawn("emulated"), drawn("numpy"), strict=True):
        np.testing.assert_array_equal(x, y)
    names = {"random_bits", "dropout_float_each", "dropout_float_shared"}
    assert names <= set(device.launched)


@pytest.mark.parametrize("shape", [(2, 1, 4), (1, 3, 4), (3, 4)])
def test_declines_masks_of_which_neighbours_differ(shape, emulated):
    arrays = [np.ones((2, 3, 4), np.float32), np.ones(shape, bool)]
    assert computed(emulated, "masked", arrays, {"scale": 2.0}) is None
    arrays[1] = np.array([1, 2, 3], np.uint64)
    params = {"scale": 2.0, "keep": 0.5, "shape": shape}
    assert computed(emulated, "dropout", arrays, params) is None


@pytest.mark.parametrize("mask", [np.ones(3, np.uint8), np.ones(3, np.float32)])
def test_declines_masks_that_are_not_boolean(mask, emulated):
    assert computed(emulated, "masked", [np.ones(3, np.float32), mask], {"scale": 2.0}) is None


def test_keeping_all_and_nothing(emulated):
    arrays = [np.ones(9, np.float32), np.array([1, 2, 3], np.uint64)]
    for keep in (0.0, 1.0):
        params = {"scale": 1.0, "keep": keep, "shape": (9,)}
        out, mask = computed(emulated, "dropout", arrays, params)
        assert (out == keep).all() and (mask == keep).all()
