"""Recurrent layers over a whole sequence, step by step in NumPy."""

import numpy as np

from minigrad.engine import TABLE

from .rows import *


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference_rnn(gates, weight, h, nonlinearity):
    steps = []
    for gate in gates:
        inner = gate + h @ weight.T
        h = np.tanh(inner) if nonlinearity == "tanh" else np.maximum(inner, 0)
        steps.append(h)
    return np.stack(steps)


def reference_lstm(gates, weight, h, c, projection=None):
    steps = []
    for gate in gates:
        i, f, g, o = np.split(gate + h @ weight.T, 4, axis=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c = f * c + i * g
        h = o * np.tanh(c)
        h = h if projection is None else h @ projection.T
        steps.append((h, c, np.concatenate([i, f, g, o], axis=-1)))
    return tuple(map(np.stack, zip(*steps, strict=True)))


def reference_gru(gates, weight, bias, h):
    steps = []
    for gate in gates:
        passed = h @ weight.T + (0 if bias is None else bias)
        (r, z, n), (pr, pz, pn) = np.split(gate, 3, axis=-1), np.split(passed, 3, axis=-1)
        r, z = sigmoid(r + pr), sigmoid(z + pz)
        n = np.tanh(n + r * pn)
        h = (1 - z) * n + z * h
        steps.append((h, np.concatenate([r, z, n], axis=-1)))
    return tuple(map(np.stack, zip(*steps, strict=True)))


RECURRENT = {
    "rnn": Row(
        TABLE["rnn"],
        reference_rnn,
        (
            Case((Reals((3, 2, 2)), Reals((2, 2)), Reals((2, 2))), {"nonlinearity": "tanh"}),
            Case(
                (Reals((2, 1, 2), AWAY_FROM_0), Reals((2, 2), ((-0.1, 0.1),)), Reals((1, 2))),
                {"nonlinearity": "relu"},
            ),
            Case((Reals((2, 0, 2)), Reals((2, 2)), Reals((0, 2))), {"nonlinearity": "tanh"}),
        ),
    ),
    "lstm": Row(
        TABLE["lstm"],
        reference_lstm,
        (
            Case((Reals((3, 1, 8)), Reals((8, 2)), Reals((1, 2)), Reals((1, 2)))),
            Case((Reals((2, 2, 8)), Reals((8, 1)), Reals((2, 1)), Reals((2, 2)), Reals((1, 2)))),
            Case((Reals((2, 0, 4)), Reals((4, 1)), Reals((0, 1)), Reals((0, 1)))),
        ),
    ),
    "gru": Row(
        TABLE["gru"],
        reference_gru,
        (
            Case((Reals((3, 1, 6)), Reals((6, 2)), Reals((6,)), Reals((1, 2)))),
            Case((Reals((2, 2, 3)), Reals((3, 1)), None, Reals((2, 1)))),
            Case((Reals((2, 0, 3)), Reals((3, 1)), Reals((3,)), Reals((0, 1)))),
        ),
    ),
}
