"""The training loop: what it yields, when it stops, what it leaves behind."""

from time import perf_counter

import numpy as np
import pytest

import minigrad as mg
from minigrad.data import DataLoader
from minigrad.nn import CrossEntropyLoss, Linear, Module, Sequential
from minigrad.optim import SGD
from minigrad.train import Epoch, evaluate, fit, mlp

LOSS = CrossEntropyLoss()


def blobs(n=60, seed=0):
    """Rows around three corners of a triangle, and which corner."""
    labels = np.arange(n) % 3
    corners = np.array([[0, 4], [4, 0], [-4, -4]], np.float32)
    with mg.use_backend("numpy"):
        generator = mg.random.Generator(seed)
        noise = mg.random.normal((n, 2), generator=generator).numpy()
    return corners[labels] + noise, labels


def trained(epochs=3, backend="numpy", seed=0):
    with mg.use_backend(backend):
        mg.manual_seed(seed)
        model = mlp(2, [8], 3)
        loader = DataLoader(blobs(), 16, shuffle=True, seed=seed)
        validation = DataLoader(blobs(seed=1), 7)
        optimizer = SGD(model.parameters(), lr=0.1)
        results = list(fit(model, LOSS, optimizer, loader, validation, epochs=epochs))
    return model, results


def test_fit(backend):
    started = perf_counter()
    model, results = trained(8, backend)
    elapsed = perf_counter() - started
    assert [epoch.number for epoch in results] == list(range(1, 9))
    assert all(isinstance(epoch, Epoch) and epoch.seconds > 0 for epoch in results)
    assert sum(epoch.seconds for epoch in results) < elapsed
    assert results[-1].training_loss < results[0].training_loss / 2
    assert results[-1].validation.accuracy > 0.9
    assert results[-1].validation == evaluate(
        model, DataLoader(blobs(seed=1), 7, backend=backend), LOSS
    )


def test_fit_is_the_same_each_time(backend):
    one, two = (trained(2, backend)[0].state_dict() for _ in range(2))
    for name, value in one.items():
        assert value.numpy().tobytes() == two[name].numpy().tobytes()


def test_fit_runs_as_far_as_it_is_asked():
    model = Linear(2, 3)
    before = model.weight.detach().numpy(copy=True)
    loader = DataLoader(blobs(), 16)
    epochs = fit(model, LOSS, SGD(model.parameters(), lr=0.1), loader, epochs=2)
    np.testing.assert_array_equal(model.weight.detach().numpy(), before)
    first = next(epochs)
    assert first.validation is None
    assert loader.epoch == 1
    assert len(list(epochs)) == 1


def test_training_loss_is_the_mean_over_rows():
    x, y = blobs(5)
    model = Linear(2, 3)
    # A learning rate of 0 changes nothing, so the loss of each batch is that of the whole.
    (epoch,) = fit(model, LOSS, SGD(model.parameters(), lr=0.0), DataLoader((x, y), 3))
    whole = LOSS(model(mg.tensor(x)), mg.tensor(y))
    assert epoch.training_loss == pytest.approx(whole.item(), rel=1e-6)
    assert evaluate(model, DataLoader((x, y), 2), LOSS).loss == pytest.approx(
        whole.item(), rel=1e-6
    )


def test_evaluate_counts_hits():
    class Given(Module):
        def forward(self, x):
            return x

    logits = np.eye(3, dtype=np.float32)[[0, 1, 2, 2]]
    assert evaluate(Given(), DataLoader((logits, np.array([0, 1, 2, 0])), 3), LOSS).accuracy == 0.75


class Spy(Module):
    """Notes the mode and the recording of each call."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.inner = Linear(2, 3)

    def forward(self, x):
        self.calls.append((self.training, mg.is_grad_enabled()))
        return self.inner(x)


def test_modes():
    spy = Spy()
    one_batch = DataLoader(blobs(), 60)
    list(fit(spy, LOSS, SGD(spy.parameters(), lr=0.1), one_batch, one_batch, epochs=2))
    assert spy.calls == [(True, True), (False, False)] * 2
    assert spy.training
    spy.eval()
    evaluate(spy, one_batch, LOSS)
    assert not spy.training


def test_evaluate_restores_the_mode_after_an_error():
    spy = Spy()
    with pytest.raises(ValueError, match="labels must lie in"):
        evaluate(spy, DataLoader((blobs()[0], np.full(60, 3)), 60), LOSS)
    assert spy.training


def test_divergence_is_an_error():
    model = Linear(2, 3)
    optimizer = SGD(model.parameters(), lr=1e38)
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError) as caught:
        list(fit(model, LOSS, optimizer, DataLoader(blobs(), 16), epochs=5))
    assert str(caught.value) == "training diverged: the training loss is nan in epoch 1"


def test_divergence_in_the_last_step_is_seen_in_validation():
    model = Linear(2, 3)
    optimizer = SGD(model.parameters(), lr=1e38)
    everything = DataLoader(blobs(), 60)
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="the validation loss"):
        list(fit(model, LOSS, optimizer, everything, everything))


def test_no_batches():
    empty = DataLoader((np.zeros((0, 2), np.float32), np.zeros(0, np.int64)))
    model = Linear(2, 3)
    with pytest.raises(ValueError, match="yields no batch"):
        evaluate(model, empty, LOSS)
    with pytest.raises(ValueError, match="yields no batch"):
        list(fit(model, LOSS, SGD(model.parameters(), lr=0.1), empty))


def test_bar(capsys):
    model, loader = Linear(2, 3), DataLoader(blobs(), 16)
    for progress, seen in ((True, True), (False, False), (None, False)):
        epochs = fit(model, LOSS, SGD(model.parameters()), loader, epochs=2, progress=progress)
        list(epochs)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert ("8/8" in captured.err or "0/8" in captured.err) == seen


@pytest.mark.parametrize(
    ("hidden", "layers"),
    [
        ([], ["Linear"]),
        ([5], ["Linear", "Tanh", "Linear"]),
        ([5, 4], ["Linear", "Tanh", "Linear", "Tanh", "Linear"]),
    ],
)
def test_mlp(hidden, layers):
    model = mlp(6, hidden, 3, "tanh")
    assert isinstance(model, Sequential)
    assert [type(layer).__name__ for layer in model] == layers
    assert model(mg.zeros((2, 6))).shape == (2, 3)
