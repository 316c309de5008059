"""Batches that are copied to the GPU beside what it computes.

The pretended CuPy puts every such copy off as long as it may, and notes who does not wait for it.
"""

import gc
import threading
from collections import namedtuple

import numpy as np
import pytest

import minigrad as mg
from minigrad import backends, nn
from minigrad.data import DataLoader, Dataset, Subset

Pair = namedtuple("Pair", "x y")


class Samples(Dataset):
    """Samples of some form, by number; one of them fails."""

    def __init__(self, form=lambda i: (np.full((2, 3), i, np.float32), i), rows=23, fails_at=None):
        self.form, self.rows, self.fails_at = form, rows, fails_at

    def __len__(self):
        return self.rows

    def __getitem__(self, index):
        if index == self.fails_at:
            raise KeyError("no such sample")
        return self.form(index)


def many_arrays():
    numbers = np.arange(46).reshape(23, 2)
    return tuple(numbers.astype(dtype) for dtype in ("?", "u1", "i4", "f2", "f4", "f8", "F", "D"))


DATA = {
    "tuples": lambda: Samples(),
    "numbers": lambda: Samples(float),
    "dicts": lambda: Samples(lambda i: {"name": f"n{i}", "at": [i, (np.float64(i),)]}),
    "named": lambda: Samples(lambda i: Pair(mg.tensor([i, i], backend="numpy"), i % 2 == 0)),
    "empty": lambda: Samples(lambda i: (np.zeros((0, 3), np.float32), i)),
    "part": lambda: Subset(Samples(rows=40), range(30, 7, -1)),
    "arrays": many_arrays,
    "part of arrays": lambda: Subset(many_arrays(), range(22, -1, -1)),
    "a batch": lambda: Samples(rows=3),
    "nothing": lambda: Samples(rows=0),
}


@pytest.fixture
def races(cupy):
    """What the pretended card saw go wrong, which is nothing where a test does not ask."""
    yield cupy.races
    gc.collect()
    assert not cupy.races


def content(batch):
    """Everything in a batch, bit for bit."""
    if isinstance(batch, dict):
        return {key: content(value) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        return [type(batch), *map(content, batch)]
    if isinstance(batch, mg.Tensor):
        return str(batch.dtype), batch.shape, batch.numpy().tobytes()
    return batch


def on_cupy(data, size=3, **options):
    return DataLoader(data, size, backend="cupy", pin_memory=True, **options)


def noted(monkeypatch, cupy):
    """A list of the arrays to which a copy is started, from now on."""
    arrays, original = [], cupy.Fillable.set

    def set(self, host, stream):
        arrays.append(self)
        original(self, host, stream)

    monkeypatch.setattr(cupy.Fillable, "set", set)
    return arrays


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("default", ["numpy", "cupy"])
def test_batches_are_those_of_the_host(races, data, workers, default):
    wanted = DataLoader(DATA[data](), 3, True, seed=5, backend="numpy")
    with mg.use_backend(default):
        found = on_cupy(DATA[data](), shuffle=True, seed=5, num_workers=workers)
        for _ in range(2):
            assert [content(batch) for batch in found] == [content(batch) for batch in wanted]


def test_the_next_batch_is_started_before_one_is_received(races, cupy, monkeypatch):
    started, counts = noted(monkeypatch, cupy), []
    for _ in on_cupy(Samples(float), 4):
        counts.append(len(started))
        assert len(counts) == 6 or np.isnan(started[-1]._host).all()
    assert counts == [2, 3, 4, 5, 6, 6]


def test_arrays_stay_on_the_host_only_where_memory_is_pinned(cupy):
    x = np.arange(6.0)
    for pin_memory, where in ((True, "numpy"), (False, "cupy")):
        loader = DataLoader((x,), 2, backend="cupy", pin_memory=pin_memory)
        assert loader.dataset.backend.name == where


@pytest.mark.parametrize("workers", [0, 2])
def test_pinned_memory_changes_no_batch(backend, workers):
    def epoch(**options):
        loader = DataLoader(many_arrays(), 3, True, seed=1, backend=backend, **options)
        return [(batch[0].backend.name, content(batch)) for batch in loader]

    assert epoch(pin_memory=True, num_workers=workers) == epoch()


def loader_threads():
    return [t for t in threading.enumerate() if t.name.startswith("minigrad-loader")]


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("received", [0, 1, 4])
def test_nothing_is_left_of_an_iteration_that_ends_early(races, cupy, workers, received):
    loader = on_cupy(Samples(), num_workers=workers)
    batches = iter(loader)
    for _ in range(received):
        next(batches)
    del batches
    assert not loader_threads()
    assert not any(stream.copies for stream in cupy.streams)
    loader.epoch = 0
    for _, numbers in loader:
        assert numbers.tolist() == [0, 1, 2]
        break
    assert not loader_threads()


@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize("fails_at", [0, 4, 17, 22])
def test_an_error_is_raised_where_its_batch_would_come(races, workers, fails_at):
    loader = on_cupy(Samples(fails_at=fails_at), 5, num_workers=workers)
    received = []
    with pytest.raises(KeyError, match="no such sample"):
        for _, numbers in loader:
            received += numbers.tolist()
    assert received == list(range(fails_at // 5 * 5))
    assert loader.state_dict()["position"] == fails_at // 5
    assert not loader_threads()


@pytest.mark.parametrize("workers", [0, 3])
def test_resuming_goes_on_with_the_next_batch(races, workers):
    def new():
        return on_cupy(Samples(), shuffle=True, seed=2, num_workers=workers)

    wanted = [content(batch) for batch in new()]
    for received in range(len(wanted) + 1):
        old, found = new(), []
        batches = iter(old)
        for _ in range(received):
            found.append(content(next(batches)))
        loader = new()
        loader.load_state_dict(old.state_dict())
        found += map(content, loader)
        assert found[: len(wanted)] == wanted


def noisy(batch, generator):
    x, number = batch
    return x + mg.random.normal(x.shape, generator=generator, backend=x.backend), number


@pytest.mark.parametrize("data", ["tuples", "arrays there"])
@pytest.mark.parametrize("workers", [0, 3])
def test_transforms_are_called_on_the_device_by_the_loops_own_thread(races, workers, data):
    threads = set()

    def transform(batch, generator):
        threads.add(threading.current_thread())
        assert {x.backend.name for x in batch} == {"cupy"}
        return noisy(batch, generator)

    data = Samples() if data == "tuples" else (np.zeros((23, 2), np.float32), np.arange(23))
    options = {"seed": 3, "num_workers": workers}
    found = DataLoader(data, 3, backend="cupy", transform=transform, **options)
    wanted = DataLoader(data, 3, backend="numpy", transform=noisy, **options)
    for (x, _), (y, _) in zip(found, wanted, strict=True):
        np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-6)
    assert threads == {threading.main_thread()}


@pytest.mark.parametrize("workers", [0, 3])
def test_all_happens_on_the_stream_of_the_loop(races, cupy, workers):
    seen = set()

    def sample(i):
        seen.add(cupy.get_current_stream())
        return np.full((2,), i, np.float32), mg.full((2,), float(i), backend="cupy")

    with cupy.Stream(non_blocking=True) as stream:
        for x, y in on_cupy(Samples(sample), num_workers=workers):
            assert x._array.stream is stream
            np.testing.assert_array_equal(x.numpy(), y.numpy())
    assert seen == {stream}


def test_a_tensor_on_the_tape_stays_on_it(races):
    weight = mg.tensor([2.0], backend="numpy", requires_grad=True)
    for (x,) in on_cupy(Samples(lambda i: (weight * i,), rows=4), 4):
        x.sum().backward()
    assert weight.grad.tolist() == [6.0]


def test_memory_that_is_short_is_told_of_where_the_batch_would_come(races, cupy, monkeypatch):
    whole, room = cupy.empty, iter(range(3))  # for a batch and the first array of the second

    def empty(*args):
        if next(room, None) is None:
            raise cupy.OutOfMemoryError(4 << 30, 76 << 30)
        return whole(*args)

    batches = iter(on_cupy(Samples()))
    monkeypatch.setattr(cupy, "empty", empty)
    assert next(batches)[1].tolist() == [0, 1, 2]
    with pytest.raises(MemoryError, match=r"^int64 \(3,\) to cupy: Out of memory alloc.*; try"):
        next(batches)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_trainer_has_its_batches_copied_ahead(cupy, monkeypatch, workers):
    data = Samples(lambda i: (np.full(4, i / 23, np.float32), i % 2))

    def losses(backend):
        mg.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).to(backend)
        optimizer = mg.optim.SGD(model.parameters(), lr=0.1)
        trainer = mg.train.Trainer(model, nn.functional.cross_entropy, optimizer)
        loader = DataLoader(data, 5, True, seed=1, backend=backend, num_workers=workers)
        history = trainer.fit(data if not workers else loader, batch_size=5, epochs=2, seed=1)
        return [row["loss"] for row in history]

    copies = noted(monkeypatch, cupy)
    found = losses("cupy")
    assert len(copies) == 2 * 2 * 5
    np.testing.assert_allclose(found, losses("numpy"), rtol=1e-5)


def test_no_batch_is_read_by_the_host(races, cupy, monkeypatch):
    def refuse(*_):
        raise AssertionError("the host reads the device")

    monkeypatch.setattr(cupy, "asnumpy", refuse)
    for loader in (on_cupy(Samples()), on_cupy(many_arrays(), num_workers=2, shuffle=True, seed=1)):
        assert len(list(loader)) == 8


def ignored(*_):
    pass


def without(kind, method, of=lambda _: True):
    """What takes a method's effect away, for those whom `of` chooses."""

    def broken(monkeypatch, cupy):
        whole = getattr(getattr(cupy, kind), method)
        monkeypatch.setattr(
            getattr(cupy, kind), method, lambda self, *args: of(self) or whole(self, *args)
        )

    return broken


BREAKS = {
    "a copy, for who had its memory": without("Stream", "wait_event", lambda s: s.non_blocking),
    "who computes, for the copy": without("Stream", "wait_event", lambda s: not s.non_blocking),
    "the host, for pinned memory": without("Event", "synchronize"),
    "the host, at an early end": without("Stream", "synchronize"),
}


@pytest.mark.parametrize("who", BREAKS)
def test_the_pretended_card_notices_who_does_not_wait(cupy, monkeypatch, who):
    BREAKS[who](monkeypatch, cupy)
    values = []
    for (x,) in on_cupy(Samples(lambda i: (np.full(3, i, np.float32),)), 2):
        values += x.numpy()[:, 0].tolist()
        if len(values) == 10:
            break
    gc.collect()
    assert cupy.races or values != list(range(10))
    cupy.races.clear()


@pytest.mark.gpu
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("own_stream", [False, True])
def test_on_a_card_no_batch_is_written_while_it_is_read(workers, own_stream):
    """Megabytes a batch, long products between: a copy that does not wait would be seen."""
    if not backends.status()["cupy"].usable:
        pytest.skip(backends.status()["cupy"].reason)
    import cupy

    data = Samples(lambda i: (np.full((256, 1024), i, np.float32), i), rows=64)
    weight = mg.ones((1024, 1024), backend="cupy") / 1024
    stream = cupy.cuda.Stream(non_blocking=True) if own_stream else cupy.cuda.Stream.null
    cupy.cuda.get_current_stream().synchronize()  # the weight is there, for any stream
    with stream, mg.no_grad():
        sums = []
        for x, number in DataLoader(data, 8, backend="cupy", num_workers=workers):
            for _ in range(4):
                x = x @ weight  # gives back the batch's own memory
            sums.append((x.mean(axis=(1, 2)), number))
        for found, number in sums:
            np.testing.assert_allclose(found.numpy(), number.numpy(), rtol=1e-4)
