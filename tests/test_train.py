"""The trainer: what it measures, when it stops, what it leaves behind, what it refuses."""

import csv
import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.data import DataLoader, Dataset, Subset, TensorDataset
from minigrad.optim import lr_scheduler
from minigrad.train import (
    Accuracy,
    Callback,
    EarlyStopping,
    FunctionMetric,
    History,
    Trainer,
    mlp,
)

LOSS = nn.CrossEntropyLoss()


def blobs(n=60, seed=0):
    """Rows around three corners of a triangle, and which corner."""
    labels = np.arange(n) % 3
    corners = np.array([[0, 4], [4, 0], [-4, -4]], np.float32)
    with mg.use_backend("numpy"):
        generator = mg.random.Generator(seed)
        noise = mg.random.normal((n, 2), generator=generator).numpy()
    return corners[labels] + noise, labels


def trainer(model=None, lr=0.1, loss=LOSS, **options):
    model = nn.Linear(2, 3) if model is None else model
    return Trainer(model, loss, optim.SGD(model.parameters(), lr=lr), **options)


def weights(model):
    return {name: value.numpy(copy=True) for name, value in model.state_dict().items()}


def same(one, other):
    return all(one[name].tobytes() == other[name].tobytes() for name in one | other)


def test_fit(backend):
    def run():
        with mg.use_backend(backend):
            mg.manual_seed(0)
            net = trainer(mlp(2, [8], 3), metrics="accuracy")
            history = net.fit(blobs(), blobs(seed=1), epochs=8, batch_size=16, seed=0)
            return net, history

    net, history = run()
    assert history is net.history
    assert history.columns == [
        *("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds")
    ]
    assert history["epoch"] == list(range(1, 9))
    assert history[-1]["loss"] < history[0]["loss"] / 2
    assert history[-1]["val_accuracy"] > 0.9
    assert (net.epoch, net.steps) == (8, 32)
    measured = net.evaluate(blobs(seed=1), batch_size=7)
    assert measured["loss"] == pytest.approx(history[-1]["val_loss"], rel=1e-5)
    assert measured["accuracy"] == history[-1]["val_accuracy"]
    outputs = net.predict(blobs(seed=1)[0])
    assert (outputs.shape, outputs.requires_grad) == ((60, 3), False)
    assert (outputs.numpy().argmax(1) == blobs()[1]).mean() == measured["accuracy"]
    assert same(weights(net.model), weights(run()[0].model))


def test_fit_goes_on_where_the_last_one_ended():
    net = trainer()
    net.fit(blobs(), epochs=2)
    assert len(net.fit(blobs(), epochs=3)) == net.epoch == 5
    assert net.history["epoch"] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("data", ["loader", "dataset", "custom", "tensors"])
def test_kinds_of_data(data):
    x, y = blobs()

    class Rows(Dataset):
        def __len__(self):
            return len(x)

        def __getitem__(self, index):
            return x[index], y[index]

    given = {
        "loader": DataLoader((x, y), 10),
        "dataset": TensorDataset(x, y),
        "custom": Rows(),
        "tensors": (mg.tensor(x), mg.tensor(y)),
    }[data]
    net = trainer()
    net.fit(given, epochs=2, batch_size=10, shuffle=False)
    other = trainer(nn.Linear(2, 3))
    other.model.load_state_dict(net.model.state_dict())
    assert net.evaluate(given) == pytest.approx(other.evaluate((x, y)))
    assert net.history[-1]["loss"] < 1.5


def test_several_inputs():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 1), nn.Linear(3, 1)

        def forward(self, x, z):
            return self.a(x) + self.b(z)

    x, z = np.ones((8, 2), np.float32), np.ones((8, 3), np.float32)
    net = trainer(Sum(), loss=nn.MSELoss())
    net.fit((x, z, np.ones((8, 1), np.float32)), epochs=30)
    np.testing.assert_allclose(net.predict((x, z)).numpy(), 1, atol=0.05)


def test_loss_is_the_mean_over_rows():
    x, y = blobs(5)
    net = trainer(lr=0.0)  # changes nothing, so the loss of each batch is that of the whole
    whole = LOSS(net.model(mg.tensor(x)), mg.tensor(y)).item()
    assert net.fit((x, y), batch_size=3)[0]["loss"] == pytest.approx(whole, rel=1e-6)
    assert net.evaluate((x, y), batch_size=2)["loss"] == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("accumulate", [2, 3])
def test_accumulation_makes_the_step_of_one_large_batch(accumulate):
    x, y = blobs(50)  # the last batch is short, and the last step of an epoch too
    nets = [trainer(nn.Linear(2, 3).to("numpy")) for _ in range(2)]
    nets[1].model.load_state_dict(nets[0].model.state_dict())
    nets[1].accumulate = accumulate
    nets[0].fit((x, y), epochs=3, batch_size=8 * accumulate, seed=3)
    nets[1].fit((x, y), epochs=3, batch_size=8, seed=3)
    assert nets[0].steps == nets[1].steps == 3 * math.ceil(50 / (8 * accumulate))
    one, other = (weights(net.model) for net in nets)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-5, atol=1e-6)


def test_gradients_are_clipped():
    net = trainer(lr=1.0, max_norm=1e-3)
    before = weights(net.model)
    net.fit(blobs(), batch_size=60)
    moved = sum(((value - before[name]) ** 2).sum() for name, value in weights(net.model).items())
    assert math.sqrt(moved) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize(
    ("every", "schedule", "rates"),
    [
        ("epoch", lambda o: lr_scheduler.StepLR(o, 1, 0.5), [1e-3, 5e-4, 2.5e-4]),
        ("step", lambda o: lr_scheduler.StepLR(o, 3, 0.5), [5e-4, 2.5e-4, 1.25e-4]),
        (
            "step",
            lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=1e9, factor=0.5),
            [1e-3, 5e-4, 2.5e-4],
        ),
    ],
)
def test_schedules(every, schedule, rates):
    model = nn.Linear(2, 3)
    optimizer = optim.SGD(model.parameters(), lr=1e-3)
    net = Trainer(model, LOSS, optimizer, schedule=schedule(optimizer), schedule_every=every)
    # three steps an epoch
    assert net.fit(blobs(), epochs=3, batch_size=20)["lr"] == pytest.approx(rates)


def test_validation_split():
    class Seen(Callback):
        rows: list

        def on_fit_start(self, trainer):
            self.rows = np.sort(np.concatenate([x.numpy() for x, _ in trainer.loader], axis=None))

    x, y = np.arange(40, dtype=np.float32)[:, None], np.zeros(40, np.int64)
    learned = []
    for seed in (1, 1, 2):
        seen = Seen()
        net = trainer(nn.Linear(1, 3), lr=0.0, callbacks=[seen])
        history = net.fit((x, y), validation_split=0.25, seed=seed)
        assert len(seen.rows) == 30
        assert "val_loss" in history.columns
        learned.append(seen.rows.tolist())
    assert learned[0] == learned[1] != learned[2]


class Spy(nn.Module):
    """Notes the mode and the recording of each call."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.inner = nn.Linear(2, 3)
        self.frozen = nn.Dropout().eval()

    def forward(self, x):
        self.calls.append((self.training, mg.is_grad_enabled()))
        return self.inner(x)


def test_modes():
    spy = Spy()
    net = trainer(spy)
    net.fit(blobs(), blobs(), epochs=2, batch_size=60)
    assert spy.calls == [(True, True), (False, False)] * 2
    assert spy.training
    spy.eval().inner.train()
    net.evaluate(blobs())
    assert (spy.training, spy.inner.training) == (False, True)
    with pytest.raises(ValueError, match="labels must lie in"):
        net.evaluate((blobs()[0], np.full(60, 3)))
    assert (spy.training, spy.inner.training) == (False, True)


def mean_error(y_true, y_pred):
    return np.abs(y_true - y_pred).mean()


def test_metrics():
    x, y = blobs()
    given = {"errors": lambda true, predicted: (true != predicted).sum(), "accuracy": "accuracy"}
    net = trainer(metrics=given)
    history = net.fit((x, y), (x, y), epochs=3)
    assert history.columns == [
        *("epoch", "loss", "accuracy", "val_loss", "val_errors", "val_accuracy", "lr", "seconds")
    ]
    measured = net.evaluate((x, y), batch_size=7)
    assert measured["accuracy"] == pytest.approx(1 - measured["errors"] / 60)

    net = trainer(nn.Linear(2, 1), loss=nn.MSELoss(), metrics=[mean_error])
    assert net.evaluate((x, x[:, :1]))["mean_error"] > 0


def test_scikit_learn_metrics():
    metrics = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn")
    x, y = blobs()
    given = {
        "f1": lambda true, predicted: metrics.f1_score(true, predicted, average="macro"),
        "precision": metrics.balanced_accuracy_score,
    }
    net = trainer(metrics=["accuracy", metrics.accuracy_score])
    net.fit((x, y), epochs=5)
    measured = net.evaluate((x, y), batch_size=13)
    assert measured["accuracy_score"] == measured["accuracy"]
    assert set(Trainer(net.model, LOSS, metrics=given).evaluate((x, y))) == {"loss", *given}

    target = (y == 0).astype(np.float32)[:, None]
    binary = trainer(
        nn.Linear(2, 1),
        loss=nn.BCEWithLogitsLoss(),
        metrics=[
            "accuracy",
            metrics.roc_auc_score,
            FunctionMetric(metrics.f1_score, on="classes"),
        ],
    )
    binary.fit((x, target), epochs=20)
    measured = binary.evaluate((x, target))
    assert set(measured) == {"loss", "accuracy", "roc_auc_score", "f1_score"}
    assert all(value > 0.9 for name, value in measured.items() if name != "loss")


@pytest.mark.parametrize(
    ("outputs", "targets", "share"),
    [
        (np.eye(3)[[0, 1, 2, 2]], np.array([0, 1, 2, 0]), 0.75),
        (np.eye(3)[[0, 1, 2, 2]], np.eye(3)[[0, 1, 2, 0]], 0.75),
        (np.array([1.0, -1, 2, 3]), np.array([1.0, 0, 0, 1]), 0.75),
        (np.array([[1.0], [-1]]), np.array([[True], [True]]), 0.5),
        (np.array([[1.0], [-1], [2.0]]), np.array([1, 1, 0]), 1 / 3),
        (np.eye(2)[[[0, 1], [1, 1]]].transpose(0, 2, 1), np.array([[0, 1], [1, 0]]), 0.75),
    ],
)
def test_accuracy(backend, outputs, targets, share):
    accuracy = Accuracy()
    outputs, targets = (mg.asarray(x, backend=backend) for x in (outputs, targets))
    accuracy.update(outputs, targets, outputs.sum())
    assert accuracy.compute() == share
    accuracy.reset()
    assert math.isnan(accuracy.compute())


@pytest.mark.parametrize("when", ["on_batch_end", "on_epoch_start", "on_epoch_end"])
def test_evaluating_on_the_way_disturbs_nothing(when):
    class Asking(Callback):
        pass

    asked = []

    def ask(self, net, *row):
        asked.append(net.evaluate((X, Y)))

    setattr(Asking, when, ask)
    runs = []
    for callbacks in ((), Asking()):
        mg.manual_seed(0)
        net = trainer(mlp(2, [8], 3, dropout=0.2), metrics="accuracy", callbacks=callbacks)
        net.fit((X, Y), epochs=2, seed=1)
        runs.append((net.history["accuracy"], net.history["loss"], weights(net.model)))
    assert asked
    assert runs[0][:2] == runs[1][:2]
    assert same(runs[0][2], runs[1][2])


def test_a_loss_of_float16_does_not_overflow_on_the_way():
    x = np.ones((64, 1), np.float16)
    net = trainer(nn.Linear(1, 1), loss=lambda outputs, targets: targets.mean() * 1600)
    assert net.evaluate((x, x))["loss"] == 1600


@pytest.mark.parametrize("kind", ["list", "dataset", "loader"])
def test_predict(kind):
    class Rows(Dataset):
        def __len__(self):
            return len(X)

        def __getitem__(self, index):
            return X[index]

    net = trainer()
    given = {"list": X.tolist(), "dataset": Rows(), "loader": DataLoader((X,), 7)}[kind]
    for batch_size in (1, 7):
        outputs = net.predict(given, batch_size)
        np.testing.assert_allclose(outputs.numpy(), net.predict(X).numpy(), rtol=1e-5, atol=1e-6)


def test_predict_several_outputs():
    class Both(nn.Module):
        def forward(self, x):
            return x, 2 * x

    one, two = Trainer(Both()).predict(X, batch_size=7)
    np.testing.assert_array_equal(one.numpy(), X)
    np.testing.assert_array_equal(two.numpy(), 2 * X)


def test_accuracy_refuses_what_are_no_classes():
    with pytest.raises(ValueError, match=r"got float64 \(2,\) for outputs \(2, 3\)"):
        Accuracy().update(mg.zeros((2, 3)), mg.zeros(2, dtype=mg.float64), mg.zeros(()))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("acuracy", ValueError, "unknown metric 'acuracy': expected accuracy; did you mean"),
        ([3], TypeError, 'a metric is "accuracy", a function .* not int'),
        ([mean_error, mean_error], ValueError, "a metric cannot be called 'mean_error'"),
        ({"loss": mean_error}, ValueError, "a metric cannot be called 'loss'"),
        ({"val_f1": mean_error}, ValueError, "a metric cannot be called 'val_f1'"),
        ({"epoch": Accuracy()}, ValueError, "a metric cannot be called 'epoch'"),
    ],
)
def test_wrong_metrics(given, error, message):
    with pytest.raises(error, match=message):
        trainer(metrics=given)


class Fading(nn.Module):
    """Outputs that are best after the third epoch."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(np.zeros(1, np.float32))

    def forward(self, x):
        return (x * 0 + self.bias - 3) ** 2


def fading(**options):
    # The gradient of the mean of the outputs' negative is 1 for the bias: one step adds 1.
    model = Fading()

    def step(outputs, targets):
        return -model.bias.sum() if model.training else outputs.mean()

    return trainer(model, lr=1.0, loss=step, **options)


DATA = (np.zeros((4, 1), np.float32), np.zeros((4, 1), np.float32))


@pytest.mark.parametrize(("restore", "bias"), [(True, 3), (False, 5)])
def test_early_stopping(restore, bias):
    stopping = EarlyStopping(patience=2, restore_best=restore)
    net = fading(callbacks=[stopping])
    history = net.fit(DATA, DATA, epochs=20, batch_size=4)
    assert history["val_loss"] == [4, 1, 0, 1, 4]
    assert (net.model.bias.item(), stopping.best.epoch) == (bias, 3)
    net.fit(DATA, DATA, epochs=1, batch_size=4)
    assert net.epoch == 6  # a new fit waits anew


def test_best_weights_are_restored_when_the_epochs_run_out():
    net = fading(callbacks=[EarlyStopping(patience=9)])
    net.fit(DATA, DATA, epochs=6, batch_size=4)
    assert net.model.bias.item() == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"monitor": "val_f1"}, "say whether 'val_f1' is better small or large"),
        ({"mode": "low"}, 'mode must be "min" or "max", not \'low\''),
        ({"patience": 0}, "patience must be at least 1 epoch, got 0"),
        ({"min_delta": -1}, "min_delta must not be negative, got -1"),
    ],
)
def test_wrong_early_stopping(options, message):
    with pytest.raises(ValueError, match=message):
        EarlyStopping(**options)


def test_early_stopping_names_what_there_is():
    net = trainer(callbacks=[EarlyStopping("val_los", mode="min")])
    with pytest.raises(ValueError, match=r"no 'val_los' to go by.* did you mean 'val_loss'"):
        net.fit(blobs(), blobs())


def test_callbacks():
    seen = []

    class Noting(Callback):
        def on_fit_start(self, trainer):
            seen.append("start")

        def on_epoch_start(self, trainer):
            seen.append(f"epoch {trainer.epoch}")

        def on_batch_end(self, trainer):
            seen.append(f"batch {trainer.batch} step {trainer.steps}")

        def on_epoch_end(self, trainer, row):
            seen.append(f"row {row['epoch']}")
            trainer.stop = True

        def on_epoch_settled(self, trainer, row):
            seen.append("settled")

        def on_fit_end(self, trainer):
            seen.append("end")

        def close(self, trainer):
            seen.append("close")

    net = trainer(callbacks=[Noting()])
    net.fit(blobs(), epochs=5, batch_size=30)
    assert seen == [
        *(
            "start",
            "epoch 0",
            "batch 1 step 1",
            "batch 2 step 2",
            "row 1",
            "settled",
            "end",
            "close",
        )
    ]
    seen.clear()
    with pytest.raises(ValueError, match="labels must lie in"):
        net.fit((blobs()[0], np.full(60, 7)))
    assert seen == ["start", "epoch 1", "close"]


def test_an_epoch_after_one_that_failed_is_whole():
    class Failing(Callback):
        def on_batch_end(self, trainer):
            if trainer.epoch == 0 and trainer.batch == 2:
                raise KeyboardInterrupt

    net = trainer(lr=0.0, callbacks=[Failing()], accumulate=4)
    with pytest.raises(KeyboardInterrupt):
        net.fit(blobs(), batch_size=10)
    net.callbacks = []
    whole = net.evaluate(blobs())["loss"]
    assert net.fit(blobs(), batch_size=10)[0]["loss"] == pytest.approx(whole)
    assert net.steps == 2


def test_progress(capsys):
    for progress, seen in ((True, True), (False, False), (None, False)):
        trainer().fit(blobs(), epochs=2, batch_size=16, progress=progress)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert ("/8 [" in captured.err) == seen


def test_history(tmp_path):
    history = trainer(metrics="accuracy").fit(blobs(), blobs(), epochs=3)
    history.to_csv(tmp_path / "history.csv")
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{k: float(v) for k, v in row.items()} for row in rows] == history.rows
    assert repr(history).splitlines()[0].split() == history.columns
    assert len(repr(history).splitlines()) == 4
    assert repr(History()) == "History(no epochs)"
    with pytest.raises(KeyError, match=r"no column 'val_los'.* did you mean 'val_loss'"):
        history["val_los"]
    uneven = History([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "val_loss": 3.0}])
    assert math.isnan(uneven["val_loss"][0])


def test_plot(tmp_path):
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    history = trainer(metrics="accuracy").fit(blobs(), blobs(), epochs=3)
    figure = history.plot(tmp_path / "history.svg")
    assert [panel.get_ylabel() for panel in figure.axes] == ["loss", "accuracy"]
    assert [len(panel.lines) for panel in figure.axes] == [2, 2]
    assert b"<svg" in (tmp_path / "history.svg").read_bytes()
    with pytest.raises(ValueError, match=r"cannot plot to .*history.abc"):
        history.plot(tmp_path / "history.abc")
    with pytest.raises(ValueError, match="nothing to plot"):
        History().plot()


def test_divergence():
    net = trainer(lr=1e38)
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError) as caught:
        net.fit(blobs(), epochs=5, batch_size=16)
    assert str(caught.value).startswith(
        "training diverged: the training loss is nan in epoch 1, at a learning rate of 1e+38; lower"
    )
    net = trainer(lr=1e38)
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="the validation loss"):
        net.fit(blobs(), blobs(), batch_size=60)


def spoiled(array, at, value):
    array = array.copy()
    array[at] = value
    return array


X, Y = blobs()


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ((spoiled(X, (7, 1), np.nan), Y), ValueError, r"array 0 .* holds nan, first at \(7, 1\)"),
        ((X, spoiled(Y, 5, 3)), ValueError, "labels must lie in .*; got 3 at position"),
        ((X, Y[:50]), ValueError, r"same first length, got shapes \(60, 2\), \(50,\)"),
        ((X[:, :1], Y), ValueError, r"axis -1 of x, shape \(32, 1\), must fit axis 1 of weight"),
        ((X[:0], Y[:0]), ValueError, "there are no training batches: the data set is empty"),
        ((X, Y.astype(np.float32)), ValueError, r"class probabilities have shape \(32, 3\)"),
        (X, TypeError, "Dataset|arrays"),
        ("mnist", TypeError, "Dataset|arrays"),
    ],
)
def test_bad_data(data, error, message):
    net = trainer()
    before = weights(net.model)
    with pytest.raises(error, match=message):
        net.fit(data, shuffle=False)
    assert same(before, weights(net.model))


@pytest.mark.parametrize("nested", [False, True])
def test_rows_that_are_left_out_may_hold_nan(nested):
    rows = Subset((spoiled(X, 7, np.nan), Y), np.delete(np.arange(60), 7))
    trainer().fit(Subset(rows, range(30)) if nested else rows)
    with pytest.raises(ValueError, match=r"holds nan, first at \(7, 0\)"):
        trainer().fit(Subset((spoiled(X, 7, np.nan), Y), [3, 7]))


def test_nan_may_be_allowed():
    class Filling(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(2, 3)

        def forward(self, x):
            return self.inner(mg.where(mg.isnan(x), 0, x))

    net = trainer(Filling(), allow_nan=True)
    net.fit((spoiled(X, 7, np.nan), Y))
    with pytest.raises(ValueError, match="array 1 of the validation data"):
        trainer(nn.Linear(2, 2), loss=nn.MSELoss()).fit((X, X), (X, spoiled(X, 3, np.nan)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: trainer(accumulate=0),
            ValueError,
            "accumulate must be a whole number",
        ),
        (lambda: trainer(schedule_every="day"), ValueError, 'must be "epoch" or "step"'),
        (lambda: Trainer(nn.Linear(2, 3)).fit((X, Y)), RuntimeError, "a loss and an optimizer"),
        (lambda: Trainer(nn.Linear(2, 3)).evaluate((X, Y)), RuntimeError, "needs a loss"),
        (lambda: trainer().predict(X[:0]), ValueError, "there are no rows"),
        (lambda: trainer().fit((X, Y), validation_split=1.5), ValueError, "between 0 and 1"),
        (
            lambda: trainer().fit((X, Y), (X, Y), validation_split=0.5),
            ValueError,
            "either it or validation",
        ),
        (
            lambda: trainer().fit(DataLoader((X, Y)), validation_split=0.5),
            ValueError,
            "with a DataLoader only validation",
        ),
        (lambda: trainer().fit((X,)), ValueError, "inputs and targets"),
        (lambda: trainer().fit((X, Y), epochs=0), ValueError, "epochs must be a whole number"),
        (lambda: trainer().fit((X, Y), epochs=1.5), ValueError, "at least 1, got 1.5"),
        (lambda: trainer(accumulate=2.5), ValueError, "at least 1, got 2.5"),
        (lambda: trainer(callbacks=[print]), TypeError, "an instance of Callback, got builtin"),
        (lambda: trainer(callbacks=[EarlyStopping]), TypeError, "got EarlyStopping"),
        (
            lambda: trainer(loss=nn.CrossEntropyLoss).fit((X, Y)),
            TypeError,
            "must give a Tensor, the mean over the rows of a batch, not CrossEntropyLoss",
        ),
        (
            lambda: trainer(loss=nn.CrossEntropyLoss(reduction="none")).evaluate((X, Y)),
            ValueError,
            r"must give one number, the mean over the rows; got shape \(60,\)",
        ),
        (
            lambda: Trainer(nn.Linear(2, 3), LOSS, trainer().optimizer).fit((X, Y)),
            ValueError,
            "the optimizer holds no trainable parameter of this model",
        ),
        (
            lambda: trainer(schedule=lr_scheduler.StepLR(trainer().optimizer, 1)),
            ValueError,
            "the schedule belongs to another optimizer",
        ),
        (
            lambda: trainer(metrics={"f": lambda *both: np.zeros(2)}).evaluate((X, Y)),
            TypeError,
            "the metric 'f' must give a number, not array",
        ),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("hidden", "dropout", "layers"),
    [
        ([], 0.5, ["Linear"]),
        ([5], 0.0, ["Linear", "Tanh", "Linear"]),
        ([5, 4], 0.5, ["Linear", "Tanh", "Dropout", "Linear", "Tanh", "Dropout", "Linear"]),
    ],
)
def test_mlp(hidden, dropout, layers):
    model = mlp(6, hidden, 3, "tanh", dropout)
    assert isinstance(model, nn.Sequential)
    assert [type(layer).__name__ for layer in model] == layers
    assert model(mg.zeros((2, 6))).shape == (2, 3)
