"""Anomaly detection and profiling: what they see, what they say, and that they leave no trace."""

import inspect
import os

import numpy as np
import pytest

import minigrad as mg
from minigrad import AnomalyError, detect_anomaly, engine, profile


@pytest.fixture(autouse=True)
def on_backend(backend):
    """Every tensor below is made on the backend under test, where nan is no error of NumPy's."""
    with mg.use_backend(backend), np.errstate(all="ignore"):
        yield


def leaf(values, dtype=np.float64):
    return mg.tensor(np.asarray(values, dtype), requires_grad=True)


def table(rows, names):
    """Parametrise by a dict: test id -> values."""
    values = [row if "," in names else (row,) for row in rows.values()]
    return pytest.mark.parametrize(names.split(", "), values, ids=list(rows))


def here(offset=0):
    """Return file:line of the caller as the messages have it."""
    return f"{os.path.abspath(__file__)}:{inspect.currentframe().f_back.f_lineno + offset}"


# Anomalies


FORWARD = {
    "log": (mg.log, "log gave -inf at element (1,) of (2,), the first of 1"),
    "sqrt": (lambda x: mg.sqrt(x - 1.0), "sqrt gave nan at element (1,)"),
    "operator": (lambda x: 1.0 / x, "divide gave inf at element (1,)"),
    "method": (lambda x: (x * 1e200).exp(), "exp gave inf at element (0,)"),
    "array": (lambda x: x / np.zeros(2), "divide gave inf at element (0,) of (2,), the first of 2"),
}


@table(FORWARD, "f, says")
@pytest.mark.parametrize("tracked", [False, True])
def test_the_first_anomaly_of_the_forward_pass_is_named(f, says, tracked):
    x = leaf([2, 0]).requires_grad_(tracked)
    with detect_anomaly(), pytest.raises(AnomalyError) as caught:
        f(x)
    text = str(caught.value)
    assert text.startswith(says)
    assert "from finite x: " in text and "float64 (2,)" in text
    assert "; in the forward pass at " in text and __file__ in text


def test_the_line_of_a_forward_anomaly():
    x = leaf([1, 0])
    with detect_anomaly(), pytest.raises(AnomalyError) as caught:
        line = here(1)
        mg.log(x)
    assert str(caught.value).endswith(f"; in the forward pass at {line}")


BACKWARD = {
    "sqrt at 0": (mg.sqrt, [], r"divide gave inf .* in the derivative of sqrt"),
    "a power at 0": (mg.pow, [0.5], r"pow gave inf .* in the derivative of pow"),
    "an overflow": (mg.divide, [1e-200], r"divide gave inf .* in the derivative of divide"),
}


@table(BACKWARD, "f, more, says")
def test_the_first_anomaly_of_backward_names_the_forward_line(f, more, says):
    x = leaf([1, 0])
    with detect_anomaly():
        line = here(1)
        y = f(x, *more)
        with pytest.raises(AnomalyError, match=says) as caught:
            y.backward(mg.tensor(np.full(2, 1e200)))
    assert str(caught.value).endswith(f"whose forward was called at {line}")
    assert "(2,)" in str(caught.value)


def test_backward_through_what_was_not_watched():
    x = leaf([1, 0])
    y = mg.sqrt(x).sum()
    with detect_anomaly(), pytest.raises(AnomalyError, match="at a line that was not watched"):
        y.backward()


def test_an_anomaly_of_the_second_order():
    x = leaf([0])
    with detect_anomaly():
        line = here(1)
        y = x**1.5
        with pytest.raises(AnomalyError, match="in the derivative of ") as caught:
            (g,) = mg.autograd.grad(y.sum(), x, create_graph=True)
            g.sum().backward()
    assert line in str(caught.value)


@table(
    {
        "inf that came in": lambda: mg.exp(leaf([np.inf, 1])).sum().backward(),
        "nan that came in": lambda: (leaf([np.nan, 1]) * 2).sum(),
        "inf as a number": lambda: mg.where(leaf([1, 2]) > 1, leaf([1, 2]), -np.inf),
        "inf as a constant": lambda: mg.maximum(leaf([1, 2]), -np.inf),
        "inf that was made": lambda: mg.full((2,), np.inf) + mg.full((), np.nan),
        "inf in data": lambda: mg.tensor([np.inf]),
        "inf in an array": lambda: leaf([1]) + np.array([np.inf]),
        "inf among several": lambda: mg.concat([leaf([1]), leaf([np.inf])]),
        "integers": lambda: mg.tensor([1, 2]) // mg.tensor([1, 1]),
        "nothing": lambda: mg.zeros((0,)).sum(),
        "all is well": lambda: mg.cross_entropy(
            leaf(np.ones((2, 3))), mg.tensor([0, 1])
        ).backward(),
    },
    "f",
)
def test_what_is_no_anomaly(f):
    with detect_anomaly():
        f()


def test_training_under_detect_anomaly():
    model = mg.nn.Linear(3, 2)
    optimizer = mg.optim.Adam(model.parameters(), lr=0.1)
    with detect_anomaly():
        for _ in range(3):
            loss = mg.cross_entropy(model(mg.ones((4, 3))), mg.tensor([0, 1, 0, 1]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert np.isfinite(loss.item())


def test_the_search_goes_on_after_an_anomaly():
    x = leaf([0])
    with detect_anomaly():
        for _ in range(2):
            y = mg.sqrt(x)
            with pytest.raises(AnomalyError, match="in the derivative of sqrt"):
                y.backward()
            with pytest.raises(AnomalyError, match="in the forward pass"):
                mg.log(x)


def test_the_line_is_the_users_inside_a_model():
    class Model(mg.nn.Module):
        def forward(self, x):
            self.line = here(1)
            return mg.log(x)

    model = mg.nn.Sequential(mg.nn.Identity(), Model()) if hasattr(mg.nn, "Identity") else Model()
    with detect_anomaly(), pytest.raises(AnomalyError) as caught:
        model(leaf([0]))
    inner = model if isinstance(model, Model) else model[1]
    assert str(caught.value).endswith(inner.line)


# Profiles


def work():
    x = leaf(np.ones((4, 3)), np.float32)
    y = mg.exp(x)
    z = mg.exp(x * 2.0) + y
    z.sum().backward()
    return x


def test_rows_count_calls_bytes_and_time_by_op_and_phase():
    with profile() as seen:
        work()
    assert {key: row.calls for key, row in seen.rows.items()} == {
        ("exp", "forward"): 2,
        ("multiply", "forward"): 1,
        ("add", "forward"): 1,
        ("sum", "forward"): 1,
        ("full", "forward"): 1,
        ("spread", "backward"): 1,
        ("absorb", "backward"): 2,
        ("multiply", "backward"): 1,
        ("add", "backward"): 1,
    }
    exp = seen.rows["exp", "forward"]
    assert (exp.op, exp.phase, exp.bytes) == ("exp", "forward", 2 * 12 * 4)
    assert seen.rows["sum", "forward"].bytes == 4
    assert all(row.seconds > 0 for row in seen.rows.values())


def test_what_follows_backward_is_forward_again():
    with profile() as seen:
        work()
        work()
        with pytest.raises(ZeroDivisionError):
            x = leaf(1)
            x.register_hook(lambda g: 1 / 0)
            mg.tanh(x).backward()
        mg.sqrt(leaf(1))
    assert seen.rows["exp", "forward"].calls == 4
    assert ("exp", "backward") not in seen.rows
    assert ("sqrt", "forward") in seen.rows


@table(
    {
        "item": (lambda x: x[0].item(), 1, 8),
        "float": (lambda x: float(x[0]), 1, 8),
        "bool": (lambda x: bool(x[0]), 1, 8),
        "numpy": (lambda x: x.numpy(), 1, 16),
        "tolist": (lambda x: x.tolist(), 1, 16),
        "repr": (repr, 1, 16),
        "asarray": (np.asarray, 1, 16),
        "a shape that depends on values": (mg.nonzero, 1, 16),
        "a mask": (lambda x: x[x > 1], 1, 2),
        "nothing": (lambda x: (x * 2).sum(), 0, 0),
        "slices": (lambda x: x[:1], 0, 0),
        "another tensor": (mg.tensor, 0, 0),
        "detach": (lambda x: x.detach(), 0, 0),
    },
    "f, reads, size",
)
def test_reads_by_the_host_are_counted(f, reads, size):
    x = mg.tensor(np.array([1.0, 2.0]))
    with profile() as seen:
        f(x)
    assert (seen.reads, seen.bytes_read) == (reads, size)


def test_training_reads_nothing():
    model = mg.nn.Linear(3, 2)
    optimizer = mg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, labels = mg.ones((4, 3)), mg.tensor([0, 1, 0, 1])
    with profile() as seen:
        for _ in range(2):
            optimizer.zero_grad()
            mg.cross_entropy(model(x), labels).backward()
            optimizer.step()
    assert seen.reads == 0
    assert seen.rows["sgd_update", "forward"].calls == 2


def test_the_table_is_sorted_by_time_and_adds_up():
    with profile() as seen:
        work().tolist()
    head, *rows, total, reads = str(seen).splitlines()
    assert head.split() == ["op", "phase", "calls", "ms", "share", "MiB"]
    assert len(rows) == len(seen.rows)
    seconds = [float(row.split()[3]) for row in rows]
    assert seconds == sorted(seconds, reverse=True)
    assert {tuple(row.split()[:2]) for row in rows} == set(seen.rows)
    assert sum(float(row.split()[4].rstrip("%")) for row in rows) == pytest.approx(100, abs=1)
    assert total.split()[:2] == ["all", str(sum(row.calls for row in seen.rows.values()))]
    assert reads == "reads by the host: 1, 48 bytes"


def test_the_table_of_nothing():
    with profile() as seen:
        pass
    assert len(str(seen).splitlines()) == 3
    assert not seen.rows and seen.reads == 0


def test_results_are_the_same_when_watched():
    expected = work().grad.tolist()
    with profile():
        profiled = work().grad.tolist()
    with detect_anomaly():
        watched = work().grad.tolist()
    assert profiled == watched == expected


# Together


@pytest.mark.parametrize("mode", [profile, detect_anomaly])
def test_observers_are_gone_afterwards(mode):
    with mode() as seen:
        mg.exp(leaf([1]))
    with pytest.raises(KeyError), mode():
        raise KeyError
    assert engine._observer.get() is None and engine._observing == 0
    mg.log(leaf([0])).sum().backward()  # nobody minds
    if seen is not None:
        assert set(seen.rows) == {("exp", "forward")}


def test_the_inner_observer_sees_and_the_outer_comes_back():
    x = leaf([0])
    with profile() as outer:
        mg.exp(x)
        with profile() as inner:
            mg.tanh(x)
        with detect_anomaly(), pytest.raises(AnomalyError):
            mg.log(x)
        mg.sqrt(x)
    assert set(outer.rows) == {("exp", "forward"), ("sqrt", "forward")}
    assert set(inner.rows) == {("tanh", "forward")}
    with detect_anomaly():
        with profile():
            mg.log(x)  # only the innermost looks
        with pytest.raises(AnomalyError):
            mg.log(x)
