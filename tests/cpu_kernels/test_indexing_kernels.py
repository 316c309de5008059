"""Rows by their number on the CPU: what is left to NumPy, what is added to what."""

import numpy as np
import pytest
from contract import (
    COMPILED,
    assert_declines,
    assert_same,
    bits_of,
    computed,
    cpu,
    random,
    referenced,
    to,
)
from keyed import DECLINED_KEYS, FIRST, KEYS, PAIR, SECOND

import minigrad as mg


def embedding_call():
    return [np.array([3, 0, 3, 1]), random(4, 3)], dict(padding_idx=None)


def backward_call():
    (indices, weight), params = embedding_call()
    return [random(4, 3), indices], dict(params, weight_shape=weight.shape)


def scatter_call():
    return [random(4, 3), np.array([3, 0, -1, 1])], dict(key=(FIRST,), shape=(4, 3))


def index_add_call():
    (v, index), params = scatter_call()
    return [random(4, 3, seed=1), v, index], dict(key=params["key"])


def one_hot_call():
    return [np.array([3, 0, 3, 1])], dict(classes=4)


CALLS = {
    "embedding": embedding_call,
    "embedding_backward": backward_call,
    "scatter": scatter_call,
    "index_add": index_add_call,
    "one_hot": one_hot_call,
}


def put(value):
    def change(index):
        changed = index.copy()
        changed[2] = value
        return changed

    return change


DECLINED = [
    *[("embedding", 0, put(bad)) for bad in (4, -1)],
    ("embedding", 0, to(np.uint64)),
    *[("embedding", 1, to(dtype)) for dtype in (np.float16, np.int64, np.complex128, ">f8")],
    ("embedding_backward", 0, lambda g: g[:, :2]),
    *[("embedding_backward", 1, put(bad)) for bad in (4, -5)],
    *[("scatter", 0, to(dtype)) for dtype in (np.float16, np.int64, np.complex128, ">f8")],
    ("scatter", 0, lambda v: v[:1]),
    *[("scatter", 1, put(bad)) for bad in (4, -5)],
    ("scatter", 1, to(np.uint64)),
    ("index_add", 0, to(np.float32)),
    ("index_add", 1, to(np.float32)),
    ("index_add", 1, lambda v: v[0]),
    ("index_add", 1, lambda v: 0.5),
    ("index_add", 2, put(4)),
    *[("one_hot", 0, put(bad)) for bad in (4, -1)],
    ("one_hot", 0, to(np.uint64)),
]


@pytest.mark.parametrize(("name", "position", "change"), DECLINED)
def test_declines_and_leaves_everything_as_it_was(name, position, change):
    arrays, params = CALLS[name]()
    assert computed(name, arrays, params) is not None
    arrays[position] = change(arrays[position])
    if isinstance(
        arrays[position], float
    ):  # numbers are weak: the engine hands them on as they are
        assert cpu.TABLE[name](*arrays, **params) is NotImplemented
    else:
        assert_declines(name, arrays, params)


@pytest.mark.parametrize(("shape", "indices", "key", "values"), KEYS + DECLINED_KEYS)
def test_keys(shape, indices, key, values):
    calls = {
        "scatter": ([random(*values), *indices], dict(key=key, shape=shape)),
        "index_add": ([random(*shape), random(*values), *indices], dict(key=key)),
    }
    for name, (arrays, params) in calls.items():
        found = computed(name, arrays, params)
        wanted = referenced(name, arrays, params)
        assert (found is None) == any(key is row[2] for row in DECLINED_KEYS)
        if found is not None:
            assert_same(found, wanted)  # to the last bit: the order of addition is NumPy's


@pytest.mark.parametrize(("array", "bad"), [(0, 5), (0, -6), (1, 3), (1, -4)])
def test_a_bad_index_among_several_arrays_is_left_to_numpy(array, bad):
    indices = [index.copy() for index in PAIR]
    indices[array][0] = bad
    assert_declines("scatter", [random(2, 4), *indices], dict(key=(FIRST, SECOND), shape=(5, 3)))


def test_arrays_that_do_not_fit_each_other_are_left_to_numpy():
    params = dict(key=(FIRST, SECOND), shape=(5, 3))
    assert_declines("scatter", [random(4), PAIR[0], np.array([0, 1])], params)
    assert_declines("scatter", [random(4), PAIR[0], np.zeros(4, np.uint64)], params)


@pytest.mark.parametrize("name", CALLS)
def test_integers_of_every_width(name):
    position = {"embedding": 0, "one_hot": 0, "index_add": 2}.get(name, 1)
    (arrays, params), found = CALLS[name](), []
    arrays[position] = abs(arrays[position])
    for code in (*"bBhHiIl", ">i2", ">i8"):
        arrays[position] = arrays[position].astype(code)
        found.append(bits_of(computed(name, arrays, params)))
    assert found == found[:1] * len(found)


@pytest.mark.parametrize("columns", [1, 16, 33, 80])
def test_threads_share_no_column(columns, parallel_from, monkeypatch):
    monkeypatch.setattr(cpu.indexing, "num_threads", lambda: 3)
    v, index = random(50, columns, dtype=np.float32), np.arange(50) % 3
    call = [v, index], dict(key=(FIRST,), shape=(3, columns))
    parallel_from(0)
    assert_same(computed("scatter", *call), referenced("scatter", *call))


def test_what_is_not_finite_reaches_its_own_row_alone():
    (v, index), params = scatter_call()
    v[0], v[1, 1] = np.nan, np.inf
    with np.errstate(all="ignore"):
        found = computed("scatter", [v, index], params)
    assert_same(found, referenced("scatter", [v, index], params))
    assert np.isfinite(found[0]).tolist() == [
        [True, False, True],
        [True] * 3,
        [True] * 3,
        [False] * 3,
    ]


@pytest.mark.skipif(not COMPILED, reason="NUMBA_DISABLE_JIT: a large array takes seconds")
def test_a_large_table_is_trained_as_with_numpy():
    grads = []
    for backend in ("numpy", "numba"):
        weight = mg.tensor(random(300, 40), requires_grad=True, backend=backend)
        indices = mg.tensor(np.arange(9000).reshape(90, 100) % 299, backend=backend)
        out = mg.embedding(indices, weight, padding_idx=3)
        (out * out).sum().backward()
        grads.append(weight.grad.numpy())
    np.testing.assert_array_equal(*grads)
    assert not grads[1][3].any()
