"""Data sets, their parts, and the loader that makes batches of them."""

import gc
import subprocess
import sys
import threading
import time
import traceback
import types
from collections import namedtuple
from fractions import Fraction

import numpy as np
import pytest

import minigrad as mg
from minigrad.data import (
    DataLoader,
    Dataset,
    Subset,
    Table,
    TensorDataset,
    as_dataset,
    default_collate,
    random_split,
)


@pytest.mark.parametrize(
    ("data", "second"),
    [
        (TensorDataset([1, 2, 3]), (2,)),
        (([1, 2, 3], np.array([4, 5, 6])), (2, 5)),
        ([1, 2, 3], 2),
        (range(1, 4), 2),
    ],
)
def test_as_dataset(data, second):
    dataset = as_dataset(data)
    assert isinstance(dataset, Dataset)
    assert as_dataset(dataset) is dataset
    assert len(dataset) == 3
    assert dataset[1] == second


@pytest.mark.parametrize("data", [np.zeros(3), mg.zeros(3), "abc", 3, iter([1])])
def test_as_dataset_refuses(data):
    with pytest.raises(TypeError, match=f"expected a Dataset, .*, got {type(data).__name__}; "):
        as_dataset(data)


@pytest.mark.parametrize("data", [{"x": np.zeros(3)}, {0: 1.0, 1: 2.0}, types.MappingProxyType({})])
def test_as_dataset_refuses_a_mapping(data):
    with pytest.raises(TypeError, match=f"got {type(data).__name__}; give its arrays as a tuple"):
        as_dataset(data)


class Columns:
    """A table as pandas has it: by the names of its columns."""

    def __init__(self, missing):
        self.missing = missing

    def __len__(self):
        return 3

    def __getitem__(self, key):
        raise KeyError(key if self.missing is None else self.missing)


def test_table_by_columns_is_no_data_set():
    with pytest.raises(TypeError, match=r"samples by number, but Columns has no 0; .* \(x, y\)"):
        next(iter(DataLoader(Columns(None))))
    with pytest.raises(KeyError, match="label"):
        next(iter(DataLoader(Columns("label"))))


def test_tensor_dataset():
    x, y = np.arange(6, dtype=np.float32).reshape(3, 2), mg.tensor([0, 1, 2])
    dataset = TensorDataset(x, y)
    assert len(dataset) == 3
    row, label = dataset[1]
    assert row.tolist() == [2, 3]
    assert label.item() == 1
    assert [t.shape for t in dataset[[2, 0]]] == [(2, 2), (2,)]
    assert [label.item() for _, label in dataset] == [0, 1, 2]


@pytest.mark.parametrize(
    ("arrays", "shapes"),
    [
        ((), "of none"),
        ((np.zeros(3), np.zeros((4, 2))), r"\(3,\), \(4, 2\)"),
        ((np.zeros(3), np.float32(1)), r"\(3,\), \(\)"),
    ],
)
def test_tensor_dataset_refuses(arrays, shapes):
    with pytest.raises(ValueError, match=f"same first length, got shapes {shapes}"):
        TensorDataset(*arrays)


def rows(loader):
    """One epoch's rows: the only array of each batch, as a list of lists."""
    return [batch.tolist() for (batch,) in loader]


@pytest.mark.parametrize(
    ("n", "drop_last", "sizes"),
    [(10, False, [4, 4, 2]), (10, True, [4, 4]), (8, True, [4, 4]), (3, True, []), (0, False, [])],
)
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches(n, drop_last, sizes, shuffle):
    loader = DataLoader((np.arange(n),), 4, shuffle, drop_last, seed=0)
    found = rows(loader)
    assert [len(batch) for batch in found] == sizes
    assert len(loader) == len(sizes)
    flat = [i for batch in found for i in batch]
    assert len(set(flat)) == len(flat)
    if not shuffle:
        assert flat == list(range(sum(sizes)))


def test_batches_are_tensors_on_the_backend(backend):
    x, y = np.arange(10, dtype=np.float32).reshape(5, 2), np.arange(5)
    with mg.use_backend(backend):
        loader = DataLoader((x, y), batch_size=2, shuffle=True, seed=3)
    for inputs, labels in loader:
        assert inputs.backend.name == labels.backend.name == backend
        assert inputs.dtype == np.float32
        np.testing.assert_array_equal(inputs[:, 0].numpy(), 2 * labels.numpy())
    named = DataLoader(TensorDataset(x, y), batch_size=2, shuffle=True, seed=3, backend=backend)
    orders = [
        [y.tolist() for _, y in each] for each in (named, DataLoader((x, y), 2, True, seed=3))
    ]
    assert orders[0] == orders[1]


def test_batches_are_one_indexing_call_for_each_array():
    loader = DataLoader((np.zeros((6, 2)), np.zeros(6)), batch_size=3, shuffle=True, seed=0)
    with mg.profile() as profile:
        list(loader)
    # In each of two batches: a slice of the order, then both arrays by it.
    assert profile.rows["getitem", "forward"].calls == 2 * 3


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_are_copies(shuffle):
    x = np.zeros((4, 2))
    for (batch,) in DataLoader((x,), batch_size=2, shuffle=shuffle, seed=0):
        batch += 1
    assert not x.any()


def test_order_is_a_function_of_seed_and_epoch():
    loader = DataLoader((np.arange(50),), 7, shuffle=True, seed=1)
    epochs = [rows(loader) for _ in range(3)]
    assert loader.epoch == 3
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]

    mg.manual_seed(99)
    mg.rand(1000)
    again = DataLoader((np.arange(50),), 7, shuffle=True, seed=1)
    again.epoch = 2
    assert rows(again) == epochs[2]
    again.epoch = 0
    assert rows(again) == epochs[0]
    assert rows(DataLoader((np.arange(50),), 7, shuffle=True, seed=2)) != epochs[0]


def test_order_is_not_the_default_generators():
    mg.manual_seed(1)
    drawn = mg.random.permutation(50).tolist()
    assert rows(DataLoader((np.arange(50),), 50, shuffle=True, seed=1)) != [drawn]


def test_epoch_counts_the_iterations_begun():
    loader = DataLoader((np.arange(50),), 50, shuffle=True, seed=0)
    left = [next(iter(loader))[0].tolist() for _ in range(2)]
    assert left[0] != left[1]
    assert loader.epoch == 2
    first, second = zip(*zip(loader, loader, strict=True), strict=True)
    assert [b.tolist() for (b,) in first] != [b.tolist() for (b,) in second]
    assert loader.epoch == 4


def test_seed_comes_from_the_default_generator_once():
    mg.manual_seed(4)
    loader = DataLoader((np.arange(30),), 30, shuffle=True)
    state = mg.random.get_state()
    epochs = [rows(loader), rows(loader)]
    np.testing.assert_array_equal(mg.random.get_state(), state)
    mg.manual_seed(4)
    same, other = (DataLoader((np.arange(30),), 30, shuffle=True) for _ in range(2))
    assert [rows(same), rows(same)] == epochs
    assert rows(other) != epochs[0]
    mg.manual_seed(4)
    before = mg.random.get_state()
    DataLoader((np.arange(30),), 30)
    np.testing.assert_array_equal(mg.random.get_state(), before)


@pytest.mark.parametrize("size", [0, -1])
def test_loader_refuses_a_batch_size(size):
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, got {size}"):
        DataLoader((np.zeros(3),), size)


def test_loader_refuses_what_is_no_data_set():
    for data in (np.zeros(3), mg.zeros(3), "abc", 3, iter([1])):
        with pytest.raises(TypeError, match=f"a tuple of arrays, .*got {type(data).__name__}"):
            DataLoader(data)
    with pytest.raises(ValueError, match="same first length"):
        DataLoader((np.zeros(3), np.zeros(2)))


def test_order_is_the_same_in_another_process():
    code = (
        "import numpy as np; from minigrad.data import DataLoader;"
        "print([b.tolist() for (b,) in DataLoader((np.arange(20),), 6, shuffle=True, seed=7)])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = rows(DataLoader((np.arange(20),), 6, shuffle=True, seed=7))
    assert run.stdout.strip() == str(expected)


@pytest.mark.parametrize("name", ["batch_size", "num_workers", "prefetch_factor"])
def test_loader_refuses_a_setting(name):
    with pytest.raises(ValueError, match=f"DataLoader: {name} must be at least ., got -1"):
        DataLoader((np.zeros(3),), **{name: -1})
    with pytest.raises(TypeError, match=f"DataLoader: {name} must be a whole number, got 1.5"):
        DataLoader((np.zeros(3),), **{name: 1.5})


class Squares(Dataset):
    """Sample i is {"x": [i, i²], "even": bool, "name": str}."""

    def __init__(self, n=10):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        if not 0 <= index < self.n:
            raise IndexError(index)
        x = np.array([index, index**2], np.float32)
        return {"x": x, "even": index % 2 == 0, "name": str(index)}


class InBatches(Squares):
    def __getitems__(self, indices):
        assert all(type(index) is int for index in indices)
        return np.array(indices), [mg.tensor(indices), None]


Pair = namedtuple("Pair", "x y")


@pytest.mark.parametrize(
    ("samples", "expected", "dtype"),
    [
        ([1, 2], [1, 2], "int64"),
        ([1.5, 2], [1.5, 2], "float32"),
        ([True, False], [True, False], "bool"),
        ([np.float64(1), np.float64(2)], [1, 2], "float64"),
        ([np.ones(2, np.uint8), np.zeros(2, np.uint8)], [[1, 1], [0, 0]], "uint8"),
        ([np.float16(1), np.zeros((), np.float16)], [1, 0], "float16"),
        ([np.zeros((2, 4))[:, ::2]], [[[0, 0], [0, 0]]], "float64"),
        ([np.zeros((0, 3), np.float32)] * 2, [[], []], "float32"),
    ],
)
def test_collate_numbers_and_arrays(samples, expected, dtype):
    batch = default_collate(samples)
    assert batch.dtype == dtype
    assert batch.tolist() == expected


def test_collate_keeps_the_structure(backend):
    samples = [(Pair(1, [2.0, 3]), {"a": mg.tensor([i], backend=backend)}, "s") for i in range(2)]
    pair, mapping, strings = default_collate(samples)
    assert type(pair) is Pair
    assert pair.x.tolist() == [1, 1]
    assert type(pair.y) is list
    assert [y.tolist() for y in pair.y] == [[2, 2], [3, 3]]
    assert mapping["a"].backend.name == backend
    assert mapping["a"].tolist() == [[0], [1]]
    assert strings == ["s", "s"]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([np.zeros(2), np.zeros(3)], r"of one shape, got ndarray \(2,\), ndarray \(3,\); give the"),
        ([mg.zeros(2), mg.zeros(3)], r"of one shape, got Tensor \(2,\), Tensor \(3,\); give the"),
        ([None, None], "expected arrays or numbers of one shape, got NoneType, NoneType"),
        ([(1, 2), (1,)], r"different numbers of entries, \[2, 1\]; give the loader a collate_fn"),
    ],
)
def test_collate_refuses(samples, message):
    with pytest.raises((ValueError, TypeError), match=f"default_collate: .*{message}"):
        default_collate(samples)


def test_data_set_of_ones_own(backend):
    loader = DataLoader(Squares(), 4, backend=backend)
    batches = list(loader)
    assert [batch["x"].shape for batch in batches] == [(4, 2), (4, 2), (2, 2)]
    assert {batch["x"].backend.name for batch in batches} == {backend}
    assert batches[1]["x"].tolist() == [[4, 16], [5, 25], [6, 36], [7, 49]]
    assert batches[1]["even"].tolist() == [True, False, True, False]
    assert batches[2]["name"] == ["8", "9"]
    shuffled = [name for batch in DataLoader(Squares(), 4, True, seed=1) for name in batch["name"]]
    order = [i for batch in rows(DataLoader((np.arange(10),), 4, True, seed=1)) for i in batch]
    assert shuffled == [str(i) for i in order]


def test_data_set_that_reads_whole_batches(backend):
    numbers, (same, nothing) = next(iter(DataLoader(InBatches(), 3, backend=backend)))
    assert numbers.backend.name == same.backend.name == backend
    assert numbers.tolist() == same.tolist() == [0, 1, 2]
    assert nothing is None


def test_any_container_is_a_data_set():
    class Container:
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return index, -index

    assert [y.tolist() for _, y in DataLoader(Container(), 2)] == [[0, -1], [-2]]
    assert rows(DataLoader([(1.0,), (2.0,)], 2)) == [[1, 2]]
    with pytest.raises(ValueError, match="belong together row by row as a tuple"):
        next(iter(DataLoader([np.zeros((3, 2)), np.zeros(3)], 2)))


def test_data_set_without_its_methods():
    class Unfinished(Dataset):
        pass

    with pytest.raises(NotImplementedError, match="Unfinished needs a method __len__"):
        len(Unfinished())
    with pytest.raises(NotImplementedError, match="Unfinished needs a method __getitem__"):
        Unfinished()[0]


def test_collate_fn_gets_the_samples():
    loader = DataLoader(Squares(), 4, collate_fn=lambda samples: [s["name"] for s in samples])
    assert list(loader) == [["0", "1", "2", "3"], ["4", "5", "6", "7"], ["8", "9"]]
    pairs = DataLoader((np.arange(3), np.arange(3) + 5), 3, collate_fn=lambda s: int(s[2][1]))
    assert list(pairs) == [7]


@pytest.mark.parametrize("indices", [[4, 0, -1], range(4, 1, -1), np.array([2], np.uint8), []])
def test_subset(backend, indices):
    x = np.arange(10, dtype=np.float32).reshape(5, 2)
    part = Subset(TensorDataset(mg.tensor(x, backend=backend)), indices)
    assert len(part) == len(indices)
    assert [row.tolist() for (row,) in part] == x[list(indices)].tolist()
    (batch,) = part[:]
    assert batch.backend.name == backend
    assert batch.tolist() == x[list(indices)].tolist()
    for where in ("numpy", backend):
        batches = DataLoader(part, 2, backend=where)
        assert [row for batch in rows(batches) for row in batch] == x[list(indices)].tolist()


def test_subsets_of_subsets(backend):
    array = mg.tensor(np.arange(10) * 3, backend=backend)
    for data in (TensorDataset(array), [(3 * i,) for i in range(10)]):
        part = Subset(Subset(data, [9, 7, 5, 3]), mg.tensor([3, 0]))
        assert [int(x) for (x,) in part] == [9, 27]
        assert rows(DataLoader(part, 2, backend=backend)) == [[9, 27]]


def test_subset_is_one_indexing_call_for_each_array():
    loader = DataLoader(Subset((np.zeros((6, 2)), np.zeros(6)), range(6)), 3, backend="numpy")
    with mg.profile() as profile:
        list(loader)
    # In each of two batches: a slice of the order, the subset's numbers by it, then both arrays.
    assert profile.rows["getitem", "forward"].calls == 2 * 4


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([0, 5], IndexError, r"must lie in \[-5, 5\), got 5 at position 1"),
        (np.array([2**63 + 5], np.uint64), IndexError, f"got {2**63 + 5} at position 0"),
        ([-6], IndexError, r"must lie in \[-5, 5\), got -6 at position 0"),
        ([0.0, 1.0], TypeError, r"whole numbers \(n,\), got float64 \(2,\)"),
        ([True, False], TypeError, r"whole numbers \(n,\), got bool \(2,\)"),
        ([[0]], TypeError, r"whole numbers \(n,\), got int64 \(1, 1\)"),
    ],
)
def test_subset_refuses(indices, error, message):
    with pytest.raises(error, match=f"Subset: .*{message}"):
        Subset((np.zeros(5),), indices)


@pytest.mark.parametrize(
    ("n", "lengths", "sizes"),
    [
        (10, [7, 3], [7, 3]),
        (10, [10, 0], [10, 0]),
        (10, [0.8, 0.2], [8, 2]),
        (10, [0.55, 0.25, 0.2], [6, 2, 2]),
        (11, [1 / 3, 1 / 3, 1 / 3], [4, 4, 3]),
        (3, [0.1] * 10, [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]),
        (7, [1], [7]),
        (0, [0.5, 0.5], [0, 0]),
        (10, np.array([0.5, 0.5]), [5, 5]),
        (10, np.array([0.5, 0.5], np.float32), [5, 5]),
        (10, np.array([7, 3], np.uint8), [7, 3]),
        (40, [20.0, 20.0], [20, 20]),
        (40, (np.float64(30), 10), [30, 10]),
        (4, [Fraction(1, 2), Fraction(1, 2)], [2, 2]),
    ],
)
def test_random_split(n, lengths, sizes):
    parts = random_split((np.arange(n),), lengths, seed=1)
    assert [len(part) for part in parts] == sizes
    assert sorted(int(x) for part in parts for (x,) in part) == list(range(n))


def test_random_split_is_as_long_as_torchs():
    torch = pytest.importorskip("torch", reason="compares the lengths with torch's random_split")
    for n in (10, 97):
        for lengths in ([0.5, 0.5], [0.7, 0.2, 0.1], [0.15, 0.35, 0.5], [1 / 3] * 3):
            theirs = torch.utils.data.random_split(range(n), lengths)
            assert list(map(len, random_split(range(n), lengths))) == list(map(len, theirs))


def test_random_split_is_the_same_everywhere(backend):
    def split(seed, backend):
        data = TensorDataset(mg.arange(50, backend=backend))
        return [part.indices.tolist() for part in random_split(data, [40, 10], seed=seed)]

    mg.manual_seed(8)
    before = mg.random.get_state()
    assert split(3, backend) == split(3, "numpy") != split(4, "numpy")
    np.testing.assert_array_equal(mg.random.get_state(), before)
    order = [i for part in split(3, backend) for i in part]
    assert rows(DataLoader((np.arange(50),), 50, shuffle=True, seed=3)) != [order]


def test_random_split_draws_from_a_generator():
    def split(generator=None):
        return [part.indices.tolist() for part in random_split(range(30), [20, 10], generator)]

    assert split(mg.random.Generator(1)) == split(mg.random.Generator(1))
    mg.manual_seed(2)
    first, second = split(), split()
    mg.manual_seed(2)
    assert split() == first != second


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([5, 4], r"must add up to the 10 samples, or as fractions to 1, got \[5, 4\], in all 9"),
        ([0.5, 0.4], "must add up to the 10 samples, or as fractions to 1"),
        ([11, -1], "lengths must be numbers of at least 0"),
        ([], "lengths must be numbers of at least 0"),
        (0.8, "lengths must be numbers of at least 0, one for each part, got 0.8"),
        (["a"], "lengths must be numbers of at least 0"),
        (np.ones((2, 2)), "lengths must be numbers of at least 0"),
        ([np.nan, 1], "lengths must be numbers of at least 0"),
        ([np.inf, 1], "must add up to the 10 samples"),
        ([5.5, 4.5], "must add up to the 10 samples"),
    ],
)
def test_random_split_refuses(lengths, message):
    with pytest.raises(ValueError, match=f"random_split: .*{message}"):
        random_split(range(10), lengths)


def test_random_split_refuses_two_sources():
    with pytest.raises(ValueError, match="give a generator or a seed, not both"):
        random_split(range(2), [1, 1], generator=mg.random.Generator(), seed=1)


def noisy(batch, generator):
    (x,) = batch
    return x + mg.random.normal(x.shape, generator=generator, backend=x.backend)


@pytest.mark.parametrize("workers", [0, 2])
def test_transform_draws_by_seed_epoch_and_batch(backend, workers):
    x = np.zeros((6, 2), np.float32)

    def epochs(**options):
        loader = DataLoader((x,), 2, backend=backend, num_workers=workers, **options)
        return [[batch.numpy().tolist() for batch in loader] for _ in range(2)]

    loader = epochs(transform=noisy, seed=3)
    noise = [batch for epoch in loader for batch in epoch]
    assert len({str(batch) for batch in noise}) == 6
    assert epochs(transform=noisy, seed=3) == loader
    on_numpy = DataLoader((x,), 2, backend="numpy", transform=noisy, seed=3)
    np.testing.assert_allclose([batch.numpy() for batch in on_numpy], loader[0], rtol=1e-5)
    assert epochs(transform=noisy, seed=4) != loader


def content(batch):
    """Everything in a batch, bit for bit."""
    if isinstance(batch, dict):
        return {key: content(value) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        return [content(value) for value in batch]
    return (str(batch.dtype), batch.numpy().tobytes()) if isinstance(batch, mg.Tensor) else batch


def loader_threads():
    return [t for t in threading.enumerate() if t.name.startswith("minigrad-loader")]


DATA = {
    "arrays": lambda: (np.arange(46, dtype=np.float64).reshape(23, 2), np.arange(23)),
    "samples": lambda: Squares(23),
    "part": lambda: Subset(Squares(40), range(30, 7, -1)),
}


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize(("workers", "factor"), [(1, 1), (2, 3), (4, 2), (4, 100)])
def test_batches_are_the_same_with_workers(backend, data, workers, factor):
    def epochs(**options):
        loader = DataLoader(DATA[data](), 3, True, seed=5, backend=backend, **options)
        return [[content(batch) for batch in loader] for _ in range(2)]

    assert epochs(num_workers=workers, prefetch_factor=factor) == epochs()
    assert not loader_threads()


class Watched(Dataset):
    """Counts what was asked for; sample i waits, fails or tells its context."""

    def __init__(self, fails_at=None):
        self.asked, self.threads, self.fails_at = [], set(), fails_at

    def __len__(self):
        return 40

    def __getitem__(self, index):
        self.asked.append(index)
        self.threads.add(threading.current_thread().name)
        time.sleep(0.001 * (index % 3))
        if index == self.fails_at:
            raise KeyError("no such sample")
        return index, mg.is_grad_enabled(), mg.tensor(0.0).backend.name == "numba"


def test_workers_are_threads_that_run_ahead_within_bounds():
    data = Watched()
    loader = DataLoader(data, 1, num_workers=2, prefetch_factor=3)
    assert not loader_threads()
    for received, (index, *_) in enumerate(loader, 1):
        assert index.tolist() == [received - 1]
        assert len(data.asked) <= received + 6
    assert sorted(data.asked) == list(range(40))
    assert data.threads
    assert all(name.startswith("minigrad-loader") for name in data.threads)
    assert not loader_threads()


@pytest.mark.parametrize("workers", [0, 3])
def test_workers_inherit_the_context(workers):
    name = "numba" if mg.backends.status()["numba"].usable else "numpy"
    with mg.use_backend(name):
        loader = DataLoader(Watched(), 10, num_workers=workers)
        with mg.no_grad():
            inside = list(loader)
        outside = list(loader)
    for batches, recording in ((inside, False), (outside, True)):
        for _, recorded, on_numba in batches:
            assert set(recorded.tolist()) == {recording}
            assert set(on_numba.tolist()) == {name == "numba"}


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_error_in_a_worker_is_raised_where_its_batch_would_come(workers):
    loader = DataLoader(Watched(fails_at=17), 5, num_workers=workers)
    received = []
    with pytest.raises(KeyError, match="no such sample") as caught:
        for batch, *_ in loader:
            received.append(batch.tolist())
    assert received == [[5 * k + i for i in range(5)] for k in range(3)]
    assert "in __getitem__" in "".join(traceback.format_tb(caught.value.__traceback__))
    assert loader.state_dict()["position"] == 3
    del caught
    assert not loader_threads()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sample_that_raises_stop_iteration_ends_no_epoch_early(workers):
    def collate(samples):
        return next(iter(samples if samples != ["c"] else []))

    loader = DataLoader(["a", "b", "c", "d"], num_workers=workers, collate_fn=collate)
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(loader)
    assert loader.state_dict()["position"] == 2


def test_workers_stop_where_the_consumer_stops():
    loader = DataLoader(Watched(), 1, num_workers=4)
    for _ in loader:
        break
    assert not loader_threads()

    held = iter(loader)
    next(held)
    assert loader_threads()
    del held
    assert not loader_threads()

    in_a_cycle = [iter(loader)]
    in_a_cycle.append(in_a_cycle)
    next(in_a_cycle[0])
    del in_a_cycle
    gc.collect()
    assert not loader_threads()

    held = iter(loader)
    del held
    with pytest.raises(ZeroDivisionError):
        for _ in loader:
            1 / 0  # noqa: B018
    gc.collect()
    assert not loader_threads()


@pytest.mark.parametrize("end", ["", "raise SystemExit(0)", "del first; del loader"])
def test_workers_stop_where_the_interpreter_ends(end):
    code = (
        "import numpy as np; from minigrad.data import DataLoader;"
        "loader = iter(DataLoader((np.arange(10**4),), 1, num_workers=4, prefetch_factor=8));"
        f"first = next(loader); print(first[0].tolist()); {end}"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout == "[0]\n"
    assert run.stderr == ""


@pytest.mark.parametrize("workers", [0, 4])
def test_loading_leaves_the_default_generator(workers):
    mg.manual_seed(6)
    loader = DataLoader((np.zeros((20, 2)),), 3, True, num_workers=workers, transform=noisy)
    state = mg.random.get_state()
    list(loader)
    np.testing.assert_array_equal(mg.random.get_state(), state)


def names(loader):
    return [batch["name"] for batch in loader]


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("drop_last", [False, True])
def test_resuming_goes_on_with_the_next_batch(tmp_path, workers, shuffle, drop_last):
    def new(seed):
        return DataLoader(Squares(), 3, shuffle, drop_last, seed, num_workers=workers)

    whole = new(seed=7)
    epochs = [names(whole) for _ in range(4)]
    for epoch in range(2):
        for position in range(len(whole) + 1):
            loader = new(seed=7)
            loader.epoch = epoch
            iterator = iter(loader)
            for _ in range(position):
                next(iterator)
            state = loader.state_dict()
            assert (state["epoch"], state["position"]) == (epoch, position)
            mg.save(state, tmp_path / "loader.safetensors")

            resumed = new(seed=1)
            resumed.load_state_dict(mg.load(tmp_path / "loader.safetensors"))
            assert resumed.state_dict() == state
            assert len(resumed) == len(whole)
            assert resumed.epoch == epoch
            assert names(resumed) == epochs[epoch][position:]
            assert resumed.epoch == epoch + 1
            assert names(resumed) == epochs[epoch + 1]


def test_state_is_plain_and_counts_what_was_received():
    loader = DataLoader(Squares(), np.int64(4), np.True_, seed=np.int64(2), num_workers=2)
    fields = {"rows": 10, "batch_size": 4, "shuffle": True, "drop_last": False}
    state = {"seed": 2, "epoch": 0, "position": 0, **fields}
    assert loader.state_dict() == state
    for position, _ in enumerate(loader, 1):
        assert loader.state_dict() == state | {"position": position}
        assert loader.epoch == 1
    assert loader.state_dict() == state | {"epoch": 1}
    assert {type(value) for value in loader.state_dict().values()} == {int, bool}
    for _ in loader:
        break
    assert loader.state_dict() == state | {"epoch": 1, "position": 1}
    for _ in loader:
        break
    assert loader.state_dict() == state | {"epoch": 2, "position": 1}
    loader.epoch = 0
    assert loader.state_dict() == state
    iter(loader)
    assert loader.state_dict() == state


def test_state_refuses_to_mix_two_iterations():
    loader = DataLoader((np.arange(6),), 2)
    older, newer = iter(loader), iter(loader)
    next(newer)
    assert (loader.state_dict()["epoch"], loader.state_dict()["position"]) == (1, 1)
    next(older)
    with pytest.raises(RuntimeError, match="no one position; give each its own loader"):
        loader.state_dict()
    list(loader)
    assert (loader.state_dict()["epoch"], loader.state_dict()["position"]) == (3, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 11}, "rows was 11 when the state was saved, this loader has 10"),
        ({"batch_size": 5}, "batch_size was 5 when the state was saved, this loader has 4"),
        ({"shuffle": True}, "shuffle was True when the state was saved, this loader has False"),
        ({"drop_last": True}, "drop_last was True when"),
        ({"position": 4}, "position must lie between 0 and the 3 batches of an epoch, got 4"),
        ({"position": -1}, "position must lie between 0 and the 3 batches of an epoch, got -1"),
        ({"epoch": -1}, "epoch must be at least 0, got -1"),
        ({"epoch": 1.0}, "epoch must be a whole number, got 1.0"),
        ({"position": "1"}, "position must be a whole number, got '1'"),
        ({"seed": "7"}, "seed must be a whole number, got '7'"),
        ({"seed": 1.5}, "seed must be a whole number, got 1.5"),
    ],
)
def test_loader_refuses_a_state(change, message):
    loader = DataLoader(Squares(), 4)
    state = loader.state_dict()
    with pytest.raises(ValueError, match=message):
        loader.load_state_dict(state | change)
    for field in state:
        with pytest.raises(ValueError, match=f"the state has no '{field}'"):
            loader.load_state_dict({k: v for k, v in state.items() if k != field})
    assert loader.state_dict() == state


def test_loader_that_draws_refuses_a_state_without_a_seed():
    for options in ({"shuffle": True}, {"transform": noisy}):
        loader = DataLoader(Squares(), 4, seed=1, **options)
        with pytest.raises(ValueError, match="seed must be a whole number, got None"):
            loader.load_state_dict(loader.state_dict() | {"seed": None})


@pytest.mark.parametrize("data", [(np.zeros((0, 3)),), Squares(0), []])
@pytest.mark.parametrize("workers", [0, 2])
def test_empty_data_gives_no_batches(data, workers):
    loader = DataLoader(data, 4, shuffle=True, num_workers=workers)
    assert len(loader) == 0
    assert list(loader) == []
    assert (loader.state_dict()["epoch"], loader.state_dict()["position"]) == (1, 0)


def test_a_table_is_a_data_set():
    table = Table(np.zeros((4, 2), np.float32), np.array([0, 1, 1, 0]), ("no", "yes"))
    x, y = next(iter(DataLoader(table, 3)))
    assert (x.shape, y.tolist()) == ((3, 2), [0, 1, 1])
