"""The steps of the optimizers on the CPU."""

import itertools

import numpy as np
import pytest
from contract import (
    OPS,
    TOLERANCE,
    assert_declines,
    assert_same,
    computed,
    floats,
    one_more,
    random,
    referenced,
    to,
    written,
)

INF, NAN = np.inf, np.nan


def adam_call(dtype, shape=(5, 6), step=2, weight_decay=0.1, decoupled=False, l1=None):
    p, g, m = (random(*shape, seed=seed, dtype=dtype) for seed in range(3))
    values = (step, 1e-2, 0.9, 0.99, 1e-8, weight_decay, l1)
    scalars = [None if x is None else np.array(float(x)) for x in values]
    return [p, g, m, np.asarray(m * m), *scalars], dict(decoupled=decoupled)


def update_calls(dtype, shape=(5, 6)):
    """Return (name, arrays, params) of updates, each with all the state and penalties it can have.

    State that can be absent is so in one of them.
    """
    rows = [
        ("sgd_update", 1, [2, 1e-2, 0.9, 0.3, 0.1, 0.2], {"nesterov": True}),
        ("sgd_update", None, [None, 1e-2, 0.9, 0.3, None, 0.2], {"nesterov": False}),
        ("adagrad_update", 1, [2, 1e-2, 0.3, 1e-10, 0.1, 0.2], {}),
        ("rmsprop_update", 3, [2, 1e-2, 0.9, 1e-8, 0.1, 0.9, 0.2], {}),
        ("adam_update", 2, [2, 1e-2, 0.9, 0.99, 1e-8, 0.1, 0.2], {"decoupled": False}),
    ]
    for name, kept, scalars, params in rows:
        p, g = (random(*shape, seed=seed, dtype=dtype) for seed in range(2))
        state = [np.asarray(1 + p * p + i) for i in range(kept)] if kept else [None]
        values = [None if x is None else np.array(float(x)) for x in scalars]
        yield name, [p, g, *state, *values], params


@floats
@pytest.mark.parametrize("shape", [(), (0,), (1, 1), (4,), (2, 3, 4)], ids=str)
def test_updates_of_any_shape_in_either_order(shape, dtype):
    in_c, in_fortran = list(update_calls(dtype, shape)), list(update_calls(dtype, shape))
    for (name, arrays, params), (_, others, _) in zip(in_c, in_fortran, strict=True):
        wanted = referenced(name, arrays, params)
        assert_same(computed(name, arrays, params), wanted, TOLERANCE[dtype])
        # Parameter and state in the other order; the gradient as it was.
        for i in written(name, arrays):
            others[i] = others[i] if others[i] is None else np.asarray(others[i], order="F")
        assert_same(computed(name, others, params), wanted, TOLERANCE[dtype])


def test_a_declined_update_changes_nothing_and_counts_nothing():
    changes = [to(np.float16), to(np.float64), to(np.dtype(np.float32).newbyteorder()), one_more]
    for change, number in itertools.product(changes, range(len(list(update_calls(np.float32))))):
        name, plain, _ = list(update_calls(np.float32))[number]
        for i, array in enumerate(plain):
            if array is not None and array.ndim:
                _, arrays, params = list(update_calls(np.float32))[number]
                arrays[i] = change(array)
                assert_declines(name, arrays, params)


def test_adam_declines_integers_and_gradients_of_another_shape():
    for position, change in ((0, to(np.int64)), (1, np.transpose)):
        arrays, params = adam_call(np.float32)
        arrays[position] = change(arrays[position])
        assert_declines("adam_update", arrays, params)


def textbook_adam(p, g, m, v, step, lr, beta1, beta2, eps, weight_decay, l1, decoupled):
    """Algorithm 1 of Kingma and Ba (2015), or 2 of Loshchilov and Hutter (2019), in float64."""
    p, g, m, v = (x.astype(np.float64) for x in (p, g, m, v))
    weight_decay, l1 = (0 if x is None else x for x in (weight_decay, l1))
    g = g + l1 * np.sign(p)
    if not decoupled:
        g = g + weight_decay * p
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    step = step + 1
    corrected = (m / (1 - beta1**step)) / (np.sqrt(v / (1 - beta2**step)) + eps)
    return [p - lr * corrected - (lr * weight_decay * p if decoupled else 0), m, v, step]


@floats
@pytest.mark.parametrize("decoupled", [False, True], ids=["Adam", "AdamW"])
@pytest.mark.parametrize(("weight_decay", "l1"), [(None, None), (0, 0), (0.3, None), (None, 0.2)])
@pytest.mark.parametrize("step", [0, 1, 1000, 1_000_000])
def test_adam_is_the_textbook_s(step, weight_decay, l1, decoupled, dtype):
    arrays, params = adam_call(dtype, (3, 4), step, weight_decay, decoupled, l1)
    if step == 0:
        arrays[2], arrays[3] = np.zeros((2, 3, 4), dtype)
    wanted = textbook_adam(*arrays, **params)
    for x, y in zip(computed("adam_update", arrays, params), wanted, strict=True):
        assert x.dtype == (dtype if x.ndim else np.float64)
        np.testing.assert_allclose(x, y, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@floats
def test_adam_s_first_step_is_the_learning_rate(dtype):
    (p, g, m, v, *scalars), params = adam_call(dtype, step=0, weight_decay=0)
    before, lr = p.copy(), float(scalars[1])
    computed("adam_update", [p, g, np.zeros_like(m), np.zeros_like(v), *scalars], params)
    np.testing.assert_allclose(before - p, lr * np.sign(g), rtol=1e-3)


@floats
@pytest.mark.parametrize("penalised", [False, True])
def test_updates_of_what_is_not_finite(penalised, dtype):
    huge = np.finfo(dtype).max
    broken = np.array([NAN, INF, -INF, huge, -huge, 1], dtype)
    for number, (name, plain, _) in enumerate(update_calls(dtype, (6,))):
        for i in (i for i, array in enumerate(plain) if array is not None and array.ndim):
            _, arrays, params = list(update_calls(dtype, (6,)))[number]
            arrays[i] = broken if i < 2 else abs(broken)
            if not penalised:
                for penalty in ("weight_decay", "l1"):
                    arrays[OPS[name].inputs.index(penalty)] = None
            wanted = referenced(name, arrays, params)
            with np.errstate(all="ignore"):
                found = computed(name, arrays, params)
            assert_same(found, wanted, TOLERANCE[dtype])


@floats
def test_adam_s_infinite_gradients_make_nan_and_huge_ones_do_not(dtype):
    arrays, params = adam_call(dtype, (6,))
    huge = np.finfo(dtype).max
    arrays[1] = np.array([NAN, INF, -INF, huge, -huge, 1], dtype)
    with np.errstate(all="ignore"):
        found = computed("adam_update", arrays, params)
    assert np.isnan(found[0][:3]).all()
    assert np.isfinite(found[0][3:]).all()


@floats
def test_a_variance_that_rounding_takes_below_0_is_0(dtype):
    p, g, v, mean = np.full((4, 50), 0.1, dtype)
    g[...] = mean[...] = np.linspace(0.1, 0.9, 50)
    v[...] = mean * mean * dtype(1 - 1e-3)
    scalars = [np.array(x) for x in (2.0, 1e-2, 0.9, 1e-8)]
    arrays = [p, g, v, mean, None, *scalars, None, np.array(0.9), None]
    wanted = referenced("rmsprop_update", arrays, {})
    found = computed("rmsprop_update", arrays, {})
    assert np.isfinite(found[0]).all()
    assert_same(found, wanted, TOLERANCE[dtype])


@floats
@pytest.mark.parametrize("eps", [0.0, 1e-30, 1e-8])
def test_tiny_gradients_are_no_zeros(eps, dtype):
    huge = 1e150 if dtype == np.float64 else 1
    for size in (1e-12, 1e-17, 1e-20, 0):
        p, g = np.ones(3, dtype), np.full(3, size / huge, dtype)
        m, v = np.full(3, size / huge, dtype), np.full(3, (size / huge) ** 2, dtype)
        arrays = [p, g, m, v, *(np.array(x) for x in (5.0, 0.1, 0.9, 0.999, eps)), None, None]
        wanted = referenced("adam_update", arrays, {"decoupled": False})
        assert_same(computed("adam_update", arrays, {"decoupled": False}), wanted, 1e-5)


@floats
def test_running_means_of_gradients_that_stay_0_settle_at_0(dtype):
    tiny = np.finfo(dtype).tiny
    p, g, v = np.ones(2, dtype), np.zeros(2, dtype), np.ones(2, dtype)
    m = np.array([tiny, 1], dtype)
    arrays = [p, g, m, v, *(np.array(x) for x in (5.0, 0.1, 0.9, 0.999, 1e-8)), None, None]
    computed("adam_update", arrays, {"decoupled": False})
    assert m[0] == 0
    assert m[1] > 0
