"""Softmax and cross-entropy on the CPU: every kind of row."""

import math

import numpy as np
import pytest
from contract import (
    TOLERANCE,
    assert_declines,
    assert_same,
    bits_of,
    computed,
    floats,
    one_more,
    random,
    referenced,
    to,
)

import minigrad as mg


def cross_entropy_call(dtype, n=5, c=7, ignore_index=-1, label_smoothing=0.1):
    """Return arrays and params of a call in which one row is ignored."""
    labels = np.arange(n) % c
    labels[1:2] = ignore_index
    weight = np.linspace(0.5, 2, c, dtype=dtype)
    params = dict(ignore_index=ignore_index, label_smoothing=label_smoothing, reduction="none")
    return [3 * random(n, c, dtype=dtype), labels, weight], params


def label(value):
    return lambda labels: np.where(labels == 3, value, labels)


DECLINED = [
    (0, to(np.float16)),
    (0, to(np.int64)),
    (0, to(np.float64)),  # the weight is float32
    (0, to(np.dtype(np.float32).newbyteorder())),
    (0, one_more),
    (0, lambda logits: logits[0]),
    (0, lambda logits: logits[None]),
    (0, lambda logits: logits[:, :0]),
    (0, lambda logits: logits[:, :-1]),
    (1, to(np.float64)),
    (1, to(np.uint64)),
    (1, to(bool)),
    (1, one_more),
    (1, lambda labels: labels[:, None]),
    (1, label(7)),
    (1, label(-2)),
    (1, label(2**62)),
    (1, label(np.iinfo(np.int64).min)),
    (2, to(np.float16)),
    (2, to(np.float64)),
    (2, one_more),
    (2, lambda weight: weight[None]),
    # The reference gives 0 * inf = nan in the rows of every other class.
    (2, lambda weight: np.where(weight == weight.max(), np.inf, weight)),
    (2, lambda weight: np.where(weight == weight.max(), np.float32(np.nan), weight)),
]


@pytest.mark.parametrize(("position", "change"), DECLINED)
def test_declines_and_leaves_everything_as_it_was(position, change):
    arrays, params = cross_entropy_call(np.float32)
    arrays[position] = change(arrays[position])
    assert_declines("softmax_cross_entropy", arrays, params)


def test_what_the_reference_refuses_is_declined():
    labels, params = (
        np.zeros(0, np.int64),
        dict(ignore_index=-100, label_smoothing=0.0, reduction="none"),
    )
    nothing = np.zeros((0, 0), np.float32)
    assert computed("softmax_cross_entropy", [nothing, labels, None], params) is None
    with mg.use_backend("numba"):
        logits = mg.zeros((2, 3))
        with pytest.raises(ValueError, match=r"labels must lie in \[0, 3\).*got 3 at position 1"):
            mg.cross_entropy(logits, mg.tensor([0, 3]))
        with pytest.raises(ValueError, match="at least one class"):
            mg.cross_entropy(mg.zeros((0, 0)), mg.zeros((0,), dtype=np.int64))


INF, NAN = np.inf, np.nan
LOG2 = math.log(2)
# Logits, label, loss, dlogits.
EXACT_ROWS = [
    ([1000, -1000, 0], 0, 0, [0, 0, 0]),
    ([1000, -1000, 0], 1, 2000, [1, -1, 0]),
    ([-1000, -1000, 1000], 2, 0, [0, 0, 0]),
    ([-1000, -1000, -INF], 0, LOG2, [-0.5, 0.5, 0]),
    ([0, -INF, -INF], 0, 0, [0, 0, 0]),
    ([0, -INF, 0], 0, LOG2, [-0.5, 0, 0.5]),
    ([0, -INF, 0], 1, INF, [0.5, -1, 0.5]),
    ([1000, 1000, -1000], -100, 0, [0, 0, 0]),
    ([NAN, INF, -INF], -100, 0, [0, 0, 0]),
]
BROKEN_ROWS = [
    [-INF, -INF, -INF],
    [NAN, 0, 1],
    [0, 1, -NAN],
    [NAN, -NAN, NAN],
    [INF, 0, 1],
    [INF, INF, -INF],
    [NAN, INF, -INF],
]


def rows(dtype, logits, labels, weight=None, ignore_index=-100, label_smoothing=0.0):
    """Return loss and dlogits, having compared them with the reference's."""
    arrays = [
        np.array(logits, dtype),
        np.array(labels, np.int64),
        None if weight is None else np.array(weight, dtype),
    ]
    params = dict(ignore_index=ignore_index, label_smoothing=label_smoothing, reduction="none")
    with np.errstate(all="ignore"):  # without the compiler NumPy reports inf - inf
        found = computed("softmax_cross_entropy", arrays, params)
    assert_same(found, referenced("softmax_cross_entropy", arrays, params), TOLERANCE[dtype])
    for reduction in ("sum", "mean"):
        params["reduction"] = reduction
        with np.errstate(all="ignore"):
            reduced = computed("softmax_cross_entropy", arrays, params)
        wanted = referenced("softmax_cross_entropy", arrays, params)
        assert_same(reduced, wanted, TOLERANCE[dtype])
        assert bits_of(reduced[1:2]) == bits_of(found[1:2])
    return found[:2]


@floats
def test_cross_entropy_of_extreme_logits(dtype):
    logits, labels, losses, gradients = zip(*EXACT_ROWS, strict=True)
    loss, dlogits = rows(dtype, logits, labels)
    np.testing.assert_array_equal(loss, np.array(losses, dtype))
    np.testing.assert_array_equal(dlogits, np.array(gradients, dtype))


@floats
def test_cross_entropy_whose_differences_overflow(dtype):
    most = np.finfo(dtype).max
    loss, dlogits = rows(dtype, [[most, -most, 0], [most, -most, 0]], [0, 1])
    np.testing.assert_array_equal(loss, [0, INF])
    np.testing.assert_array_equal(dlogits, [[0, 0, 0], [1, -1, 0]])


@floats
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("weight", [None, [0, 0.5, 2]], ids=str)
@pytest.mark.parametrize("broken", BROKEN_ROWS, ids=str)
def test_a_broken_row_is_nan_and_leaves_the_others_alone(broken, weight, label_smoothing, dtype):
    options = dict(weight=weight, label_smoothing=label_smoothing)
    sound = random(2, 3)
    logits = [sound[0], broken, sound[1], broken, sound[0]]
    loss, dlogits = rows(dtype, logits, [0, 1, 2, -100, 1], **options)
    assert np.isnan(loss[1])
    assert np.isnan(dlogits[1]).all()
    assert loss[3] == 0
    assert not dlogits[3].any()
    others = [0, 2, 4]
    alone = rows(dtype, np.array(logits)[others], [0, 2, 1], **options)
    assert bits_of([loss[others], dlogits[others]]) == bits_of(alone)


@floats
def test_a_weight_of_0_counts_for_0_where_the_probability_is_0(dtype):
    logits = [[0, -INF, 0], [1, 2, -INF], [-INF, 0, 0]]
    for label_smoothing in (0.0, 0.3, 1.0):
        loss, dlogits = rows(dtype, logits, [1, 0, 1], [1, 0, 1], label_smoothing=label_smoothing)
        assert loss[0] < INF
        assert np.isfinite(dlogits).all()
    rows(dtype, logits, [1, 1, 1], [0, 0, 0], label_smoothing=0.3)


@floats
@pytest.mark.parametrize("label_smoothing", [0, 0.1, 1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore_index", [-100, -1, 0, 2])
def test_cross_entropy_options(ignore_index, weighted, label_smoothing, dtype):
    logits, labels = 3 * random(6, 4), [0, 1, 2, 3, 2, 0]
    labels = np.where(np.arange(6) == 4, ignore_index, labels)
    weight = [0.5, 0, 3, 1] if weighted else None
    loss, dlogits = rows(dtype, logits, labels, weight, ignore_index, label_smoothing)
    ignored = labels == ignore_index
    assert not loss[ignored].any()
    assert not dlogits[ignored].any()
    # Softmax is unchanged when every logit grows alike, so the gradient sums to 0.
    np.testing.assert_allclose(dlogits.sum(axis=1), 0, atol=4 * TOLERANCE[dtype])


@floats
@pytest.mark.parametrize("classes", [1, 2, 10, 511, 512, 513, 1100])
def test_cross_entropy_of_rows_of_any_length(classes, dtype):
    # Negative rows and a maximum at either end: floats that are ordered as integers.
    logits = np.stack([random(classes), np.arange(classes) - 2.0 * classes, -np.arange(classes)])
    rows(dtype, logits, [0, classes - 1, classes // 2])
    broken = np.full(classes, NAN)
    rows(dtype, [broken, *logits, broken], [-100, 0, -100, classes // 2, -100])


@floats
def test_cross_entropy_of_no_rows(dtype):
    loss, dlogits = rows(dtype, np.zeros((0, 3)), [])
    assert (loss.shape, dlogits.shape) == ((0,), (0, 3))
    loss, dlogits = rows(dtype, [[1, 2], [3, 4]], [-100, -100])
    assert not loss.any()
    assert not dlogits.any()


def test_cross_entropy_of_integer_labels_of_every_width():
    logits = random(3, 4, dtype=np.float32)
    params = dict(ignore_index=0, label_smoothing=0.1, reduction="none")
    wanted = computed("softmax_cross_entropy", [logits, np.array([1, 0, 3]), None], params)
    for code in (*"bBhHiIl", ">i2", ">i8"):
        found = computed("softmax_cross_entropy", [logits, np.array([1, 0, 3], code), None], params)
        assert bits_of(found) == bits_of(wanted)


SOFT_ROWS = [
    ([1000, -1000, 0], [1, 0, 0]),
    ([1000, -1000, 0], [0.25, 0.5, 0.25]),
    ([0, -INF, 0], [0.5, 0, 0.5]),
    ([0, -INF, 0], [0.5, 0.5, 0]),
    ([1, 2, 3], [0, 0, 0]),
    ([1, 2, 3], [-1, 2, 0.5]),
    ([1, 2, 3], [NAN, 1, 0]),
    ([1, 2, 3], [0, INF, 0]),
    *((row, [0.2, 0, 0.8]) for row in BROKEN_ROWS),
    *((row, [0, 0, 0]) for row in BROKEN_ROWS),
]


@floats
@pytest.mark.parametrize("classes", [3, 70, 600])
def test_targets_that_are_probabilities(classes, dtype):
    logits, target = random(2, len(SOFT_ROWS), classes, dtype=dtype)
    for i, rows in enumerate(zip(*SOFT_ROWS, strict=True)):
        (logits, target)[i][:, -3:] = rows
    with np.errstate(all="ignore"):
        found = computed("soft_cross_entropy", [logits, target], {})
    assert_same(found, referenced("soft_cross_entropy", [logits, target], {}), TOLERANCE[dtype])


def test_declines_probabilities_that_do_not_fit():
    x = random(4, 3, dtype=np.float32)
    for logits, target in [(x, x.astype(float)), (x, x[:3]), (x[0], x[0]), (x[:, :0], x[:, :0])]:
        assert_declines("soft_cross_entropy", [logits, target], {})
