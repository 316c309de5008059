"""Rows by their number on the GPU: keys, orders of addition, and indices out of range."""

import numpy as np
import pytest
from keyed import DECLINED_KEYS, FIRST, KEYS, PAIR, SECOND
from strict import StrictArray
from test_gpu_contract import assert_same, computed, floats, referenced

import minigrad as mg
from minigrad.kernels.gpu import indexing

SHORT = 32  # as in the source


def numbers(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@floats
@pytest.mark.parametrize(("shape", "indices", "key", "values"), KEYS + DECLINED_KEYS)
def test_keys(shape, indices, key, values, dtype, emulated):
    x, v = numbers(*shape, dtype=dtype), numbers(*values, dtype=dtype, seed=1)
    taken = any(key is row[2] for row in KEYS)
    for name, arrays, params in (
        ("scatter", [v, *indices], {"key": key, "shape": shape}),
        ("index_add", [x, v, *indices], {"key": key}),
    ):
        found = computed(emulated, name, arrays, params)
        assert (found is not None) == taken
        if taken:  # to the last bit: the order of addition is NumPy's
            np.testing.assert_array_equal(found[0], referenced(name, arrays, params)[0])


@pytest.mark.parametrize("columns", [0, 1, 3, 4, 33, 132])
@floats
def test_rows_that_are_named_often(columns, dtype, emulated, device, monkeypatch):
    """The sums are right, in NumPy's order up to a length, and depend on no order of threads."""
    times = [1, SHORT - 1, SHORT, SHORT + 1, 0, 3 * SHORT, 300]
    index = np.random.default_rng(1).permutation(np.repeat(np.arange(7), times))
    x, v = numbers(7, columns, dtype=dtype), numbers(len(index), columns, dtype=dtype, seed=1)
    arrays, params = [x, v, index], {"key": (FIRST,)}
    (found,) = computed(emulated, "index_add", arrays, params)
    exact = x.astype(float)
    np.add.at(exact, index, v.astype(float))
    assert_same([found], [exact.astype(dtype)], dtype, room=1 if dtype == np.float16 else 10)
    few = np.array(times) <= SHORT
    np.testing.assert_array_equal(found[few], referenced("index_add", arrays, params)[0][few])

    for name, value in (("FEW", 0), ("MOST_BLOCKS", 1)):
        monkeypatch.setattr(indexing, name, value)
        monkeypatch.setattr(device, "backwards", not device.backwards)
        (other,) = computed(emulated, "index_add", arrays, params)
        assert other.tobytes() == found.tobytes()


@pytest.mark.parametrize("v", [2, 0.5, True, numbers(3), numbers(4, 1), numbers(1, 3)], ids=str)
def test_what_is_added_broadcasts(v, emulated):
    x = mg.tensor(numbers(5, 3), backend=emulated)
    index = mg.tensor(PAIR[0], backend=emulated)
    added = mg.tensor(v, backend=emulated) if isinstance(v, np.ndarray) else v
    wanted = x.numpy().copy()
    np.add.at(wanted, PAIR[0], v)
    np.testing.assert_array_equal(x.at[index].add(added).numpy(), wanted)


SCATTER = [numbers(4, 3), PAIR[0]], {"key": (FIRST,), "shape": (5, 3)}
ADD = [numbers(5, 3), *SCATTER[0]], {"key": (FIRST,)}
TAKE = [abs(PAIR[0]), numbers(5, 3)], {"padding_idx": None}


@pytest.mark.parametrize(
    ("name", "call", "position", "array"),
    [
        ("scatter", SCATTER, 0, numbers(3, 3)),
        ("scatter", SCATTER, 1, PAIR[0].astype(np.uint64)),
        ("index_add", ADD, 0, numbers(5, 3, dtype=np.float64)),
        ("index_add", ADD, 1, numbers(4, 3, dtype=np.float64)),
        ("index_add", ADD, 1, numbers(1, 4, 3)),
        ("index_add", ADD, 1, numbers(2, 3)),
        ("embedding", TAKE, 0, TAKE[0][0].astype(np.uint64)),
    ],
)
def test_declines(name, call, position, array, emulated, device):
    arrays = list(call[0])
    arrays[position] = array
    assert computed(emulated, name, arrays, call[1]) is None
    assert not device.launched


@pytest.mark.parametrize("indices", [[PAIR[0], np.array([0, 1, 2])], [PAIR[0], np.ones(4, "u8")]])
def test_arrays_that_do_not_fit_each_other_are_declined(indices, emulated):
    params = {"key": (FIRST, SECOND), "shape": (5, 3)}
    assert computed(emulated, "scatter", [numbers(4), *indices], params) is None


@pytest.mark.parametrize("limit", ["MOST_ROWS", "MOST_INDICES"])
def test_what_does_not_fit_into_half_a_number_is_declined(limit, emulated, monkeypatch):
    monkeypatch.setattr(indexing, limit, 3)
    assert computed(emulated, "scatter", *SCATTER) is None


@pytest.mark.parametrize("code", "bBhHiIl")
def test_integers_of_every_width(code, emulated):
    (index, weight), params = TAKE
    (found,) = computed(emulated, "embedding", [index.astype(code), weight], params)
    np.testing.assert_array_equal(found, weight[index])


@pytest.mark.parametrize("columns", [0, 1, 8])
@pytest.mark.parametrize("rows", [0, 3])
def test_indices_of_an_embedding_out_of_range_are_refused_at_the_next_transfer(
    rows, columns, emulated, monkeypatch
):
    monkeypatch.setattr(indexing, "MOST_BLOCKS", 3)
    indices = np.zeros((100, 9), int)
    indices[[99, 2, 50], [1, 3, 4]] = 3, -1, 7
    if not rows:
        indices[0, 0] = 5
    weight = mg.tensor(numbers(rows, columns), backend=emulated)
    out = mg.embedding(mg.tensor(indices, backend=emulated), weight)
    at = r"-1 at position \(2, 3\)" if rows else r"5 at position \(0, 0\)"
    with pytest.raises(
        IndexError, match=rf"embedding: indices must lie in \[0, {rows}\); got {at}"
    ):
        out.numpy()
    is_bad = (indices < 0) | (indices >= rows)
    assert (np.isnan(out.numpy()) == is_bad[..., None]).all()  # raised once


@pytest.mark.parametrize("shape", [(5, 3), (5, 0), (0, 3)])
def test_an_index_to_add_at_that_is_out_of_range_is_refused(shape, emulated):
    index = np.array([-shape[0], shape[0] - 1, 2, -shape[0] - 1, shape[0]])
    if not shape[0]:
        index[:3] = 7
    x = mg.tensor(numbers(*shape), backend=emulated)
    out = x.at[mg.tensor(index, backend=emulated)].add(1.0)
    says = r"axis 0 must lie in \[-5, 5\); got -6 at position 3" if shape[0] else "got 7 at pos"
    with pytest.raises(IndexError, match=says):
        out.numpy()
    wanted = x.numpy().copy()
    np.add.at(wanted, index[:3] if shape[0] else [], 1.0)
    np.testing.assert_array_equal(out.numpy(), wanted)


@pytest.mark.parametrize(("array", "bad"), [(0, 5), (0, -6), (1, 3), (1, -4)])
def test_a_bad_index_among_several_arrays(array, bad, emulated):
    indices = [index.copy() for index in PAIR]
    indices[array][0] = bad
    x = mg.tensor(numbers(5, 3), backend=emulated)
    out = x.at[tuple(mg.tensor(i, backend=emulated) for i in indices)].add(1.0)
    with pytest.raises(IndexError, match=f"into axis {array} must .* got {bad} at position"):
        out.numpy()
    good = np.broadcast_arrays(*PAIR)
    kept = np.ones(good[0].shape, bool)
    kept[(slice(None), 0) if array == 0 else 0] = False
    wanted = x.numpy().copy()
    np.add.at(wanted, tuple(g[kept] for g in good), 1.0)
    np.testing.assert_array_equal(out.numpy(), wanted)


def test_what_is_out_of_range_is_left_out_of_gradients(emulated):
    (v, index), params = SCATTER
    bad = index.copy()
    bad[[0, 2]] = -6, 5
    (found,) = computed(emulated, "scatter", [v, bad], params)
    wanted = np.zeros((5, 3), np.float32)
    np.add.at(wanted, index[[1, 3]], v[[1, 3]])
    np.testing.assert_array_equal(found, wanted)
    emulated.synchronize()  # refuses nothing: whoever took these rows has been told


def test_what_is_not_finite_reaches_its_own_row_alone(emulated):
    (v, index), params = SCATTER
    v = v.copy()
    v[0], v[1, 1] = np.nan, np.inf
    (found,) = computed(emulated, "scatter", [v, index], params)
    np.testing.assert_array_equal(found, referenced("scatter", [v, index], params)[0])


def test_many_small_numbers_of_float16_are_added_up_in_float32(emulated):
    """In float16, 2048 + 1 is 2048 and 65504 + 8 is 65504."""
    for start, value, count, wanted in (
        (0.0, 1.0, 3000, 3000.0),
        (0.0, 1.0, SHORT - 1, 31.0),
        (2048.0, 1.0, SHORT - 1, 2080.0),  # 2079 lies between two even ones
        (65504.0, 8.0, 2, np.inf),
        (65504.0, 8.0, 1, 65504.0),
    ):
        x, v = np.full(1, start, np.float16), np.full(count, value, np.float16)
        arrays = [x, v, np.zeros(count, int)]
        assert computed(emulated, "index_add", arrays, {"key": (FIRST,)})[0] == wanted


def test_more_indices_than_are_ranked_are_sorted(emulated, device, monkeypatch):
    monkeypatch.setattr(indexing, "FEW", len(PAIR[0]) - 1)
    assert computed(emulated, "scatter", *SCATTER) is not None
    assert device.launched == ["list_pairs", "add_float"]


def test_launches_of_an_embedding(emulated, device):
    layer = mg.nn.Embedding(5, 4, padding_idx=2).to("emulated")
    out = layer(mg.tensor([[1, 2], [1, 0]], backend=emulated))
    out.sum().backward()
    assert device.launched == ["take_float", "rank_pairs", "add_float"]
    np.testing.assert_array_equal(layer.weight.grad.numpy(), [[1] * 4, [2] * 4] + [[0] * 4] * 3)


def test_addresses_without_vectors_give_the_same_bits(emulated):
    (v, index), params = [numbers(4, 8), PAIR[0]], {"key": (FIRST,), "shape": (5, 8)}
    shifted = np.concatenate([v.ravel()[:1], v.ravel()])[1:].reshape(v.shape)
    found = [computed(emulated, "scatter", [a, index], params)[0] for a in (v, shifted)]
    assert found[0].tobytes() == found[1].tobytes()


def test_an_emulated_device_sorts(device):
    array = StrictArray(np.array([3, -1, 2]))
    device.sort(array)
    assert array._host.tolist() == [-1, 2, 3]


@pytest.mark.parametrize(
    "taken",
    [
        lambda x, index: x[index],
        lambda x, index: x[:, index[:3]],
        lambda x, index: x[index, index % 3],
        lambda x, index: x[x > 0],
        lambda x, index: mg.take(x, index, axis=-1),
        lambda x, index: mg.take_along_axis(x, index[:3].reshape((1, 3)), axis=0),
        lambda x, index: mg.nn.functional.embedding(index, x, padding_idx=1),
    ],
)
def test_gradients_of_what_is_taken(taken, emulated, device):
    found = []
    for backend in ("numpy", "emulated"):
        x = mg.tensor(numbers(3, 3), backend=backend, requires_grad=True)
        out = taken(x, mg.tensor([2, 0, 2, 1, 2], backend=backend))
        (out * mg.tensor(numbers(*out.shape, seed=1), backend=backend)).sum().backward()
        found.append(x.grad.numpy())
    np.testing.assert_array_equal(*found)
    assert device.launched[-1] == "add_float"
