"""Softmax cross-entropy on the GPU: extremes, and labels that are no class."""

import numpy as np
import pytest
from test_gpu_contract import assert_same, computed, floats, numbers, referenced

import minigrad as mg

PARAMS = {"ignore_index": -100, "label_smoothing": 0.0, "reduction": "none"}
INF = np.inf


@floats
@pytest.mark.parametrize(
    "row",
    [
        [1000.0, -1000.0, 0.0],
        [-INF, 1.0, 2.0],
        [1.0, -INF, 2.0],
        [-INF, -INF, -INF],
        [INF, 1.0, 2.0],
        [np.nan, 1.0, 2.0],
        [65504.0, -65504.0, 0.0],
        [1e38, -1e38, 0.0],
    ],
    ids=str,
)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, [1.0, 0.0, 2.0], [1.0, INF, 2.0]], ids=str)
def test_extremes_are_as_in_the_reference(row, label_smoothing, weight, dtype, emulated):
    logits = numbers([row, [0.5, 1.0, 2.0], row], dtype)
    weight = None if weight is None else numbers(weight, dtype)
    arrays = [logits, np.array([0, 1, -100]), weight]
    params = {**PARAMS, "label_smoothing": label_smoothing}
    found, wanted = (f(*a, arrays, params) for f, a in both(emulated))
    assert_same(found, wanted, dtype)


def both(backend):
    name = "softmax_cross_entropy"
    return (computed, (backend, name)), (referenced, (name,))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint32])
def test_labels_of_any_integers(dtype, emulated):
    arrays = [np.eye(3, dtype=np.float32), np.array([2, 0, 1], dtype), None]
    found, wanted = (f(*a, arrays, PARAMS) for f, a in both(emulated))
    assert_same(found, wanted, np.float32)


@pytest.mark.parametrize(
    "arrays",
    [
        [np.ones((2, 3), np.float32), np.zeros(2, np.uint64), None],
        [np.ones((2, 3), np.float32), np.zeros(2, int), np.ones(3)],
        [np.ones((2, 0), np.float32), np.zeros(2, int), None],
    ],
)
def test_declines(arrays, emulated):
    assert computed(emulated, "softmax_cross_entropy", arrays, PARAMS) is None


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_labels_that_are_no_class_are_refused_at_the_next_transfer(reduction, emulated):
    logits = mg.tensor(np.ones((300, 3), np.float32), backend=emulated)
    labels = np.zeros(300, np.int64)
    labels[[290, 7, 150]] = [9, -2, 3]
    labels[5] = -100
    loss = mg.nn.functional.cross_entropy(
        logits, mg.tensor(labels, backend=emulated), reduction=reduction
    )
    with pytest.raises(ValueError, match=r"\[0, 3\) or be -100; got -2 at position 7"):
        loss.numpy()
    found = np.atleast_1d(loss.numpy())  # raised once
    assert np.isnan(found if reduction != "none" else found[labels >= 3]).all()
    assert reduction != "none" or np.isfinite(found[labels == 0]).all()


def test_what_was_refused_first_is_told(emulated):
    x = mg.tensor(np.ones(3, np.float32), backend=emulated)
    taken = x[mg.tensor([5], backend=emulated)]
    logits = mg.tensor(np.ones((1, 3), np.float32), backend=emulated)
    mg.nn.functional.cross_entropy(logits, mg.tensor([3], backend=emulated))
    with pytest.raises(IndexError):
        taken.numpy()


def test_one_launch(emulated, device):
    logits = mg.tensor(np.ones((4, 3), np.float32), backend=emulated, requires_grad=True)
    labels = mg.tensor([0, 1, 2, 1], backend=emulated)
    mg.nn.functional.cross_entropy(logits, labels).backward()
    assert device.launched == ["softmax_cross_entropy_float_warp"]
