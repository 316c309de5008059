"""What layers compute."""

import math

import numpy as np

import minigrad as mg
from minigrad.engine import TABLE

from .random import reference_bits, reference_unit
from .rows import *

NP_ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "gelu": lambda x: x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2 if x.size else x,
    "silu": lambda x: x / (1 + np.exp(-x)),
}

STATE = np.array([5, 2**40, 2**32 - 1], np.uint64)


def reference_dropout(x, state, keep, scale, shape):
    bits, _ = reference_bits(state, int(np.prod(shape)))
    mask = reference_unit(bits, SINGLE) < np.float32(keep)
    return np.where(mask.reshape(shape), x * scale, 0)


NEURAL = {
    "embedding": Row(
        mg.embedding,
        lambda indices, weight, padding_idx=None: weight[indices],
        (
            Case((Ints((5,)), Reals((4, 2)))),
            Case((Ints((2, 3), dtype=np.int32), Reals((4, 2)))),
            Case((Ints((), dtype=np.uint8), Reals((4, 2)))),
            Case((Ints((0, 3)), Reals((4, 2)))),
            Case((Ints((3,)), Reals((4, 2))), {"padding_idx": 1}, order=0),
        ),
        kinks=tuple(
            Kink(
                (np.array([[0, 2], [1, 2]]), np.ones((3, 1))),
                (None, [[1.0], [1.0], [0.0]]),
                {"padding_idx": padding_idx},
            )
            for padding_idx in (2, -1)
        ),
        wrong=(
            Wrong(
                (np.array([0, 4]), np.ones((4, 2))), IndexError, r"\[0, 4\); got 4 at position 1"
            ),
            Wrong((np.array([-1]), np.ones((4, 2))), IndexError, "got -1 at position 0"),
            Wrong((np.array([0.0]), np.ones((4, 2))), TypeError, "integer indices, got float64"),
            Wrong((np.array([0]), np.ones(4)), ValueError, r"num_embeddings.*\(4,\)"),
            Wrong((np.array([0]), np.ones((4, 2))), ValueError, "=4 .* 4 rows", {"padding_idx": 4}),
        ),
    ),
    "one_hot": Row(
        mg.one_hot,
        lambda labels, num_classes: np.eye(num_classes, dtype=np.int64)[labels],
        tuple(
            Case((Ints(shape, 0, 4, dtype),), {"num_classes": 4})
            for shape in SHAPES
            for dtype in (np.int64, np.uint8)
        ),
        order=0,
        result=index,
        wrong=(
            Wrong(
                (np.array([[0, 1], [4, 2]]),),
                ValueError,
                r"\[0, 4\); got 4 at position",
                {"num_classes": 4},
            ),
            Wrong((np.array([0, -1]),), ValueError, "-1 at position 1", {"num_classes": 4}),
            Wrong((np.ones(2),), TypeError, "integer labels, got float64", {"num_classes": 4}),
            Wrong((np.empty(0, int),), ValueError, "no label to infer"),
            Wrong((np.array([1]),), ValueError, "a count, or -1.*got -2", {"num_classes": -2}),
        ),
    ),
    "linear": Row(
        mg.linear,
        lambda x, weight, bias=None: x @ weight.T + (0 if bias is None else bias),
        (
            Case((Reals((4, 3)), Reals((2, 3)), Reals((2,)))),
            Case((Reals((4, 3)), Reals((2, 3)))),
            Case((Reals((3,)), Reals((2, 3)), Reals((2,)))),
            Case((Reals((2, 2, 3)), Reals((2, 3)), Reals((2,)))),
            Case((Reals((0, 3)), Reals((2, 3)), Reals((2,)))),
        ),
        wrong=(
            Wrong((np.ones((4, 3)), np.ones((2, 5))), ValueError, r"axis -1.*\(4, 3\).*\(2, 5\)"),
            Wrong(
                (np.ones((4, 3)), np.ones((2, 3)), np.ones(3)), ValueError, r"bias.*\(2,\).*\(3,\)"
            ),
        ),
    ),
    **{
        f"linear_{kind}": Row(
            mg.linear,
            lambda x, weight, bias=None, activation="": NP_ACTIVATIONS[activation](
                x @ weight.T + (0 if bias is None else bias)
            ),
            tuple(
                Case(inputs, {"activation": activation})
                for activation in activations
                for inputs in (
                    (Reals((4, 3)), Reals((2, 3)), Reals((2,))),
                    (Reals((2, 2, 3)), Reals((2, 3))),
                    (Reals((3,)), Reals((2, 3)), Reals((2,))),
                )
            ),
            wrong=(
                Wrong(
                    (np.ones((4, 3)), np.ones((2, 5))),
                    ValueError,
                    r"axis -1.*\(4, 3\).*\(2, 5\)",
                    {"activation": activations[0]},
                ),
            ),
        )
        for kind, activations in {
            "value": ("relu", "sigmoid", "tanh"),
            "input": ("gelu", "silu"),
        }.items()
    },
    "dropout": Row(
        lambda x, state, **params: TABLE["dropout"](x, state, **params)[0],
        reference_dropout,
        tuple(
            Case(
                (Reals(shape), Given(STATE)), {"keep": keep, "scale": 1.25, "shape": shape_of_mask}
            )
            for shape, shape_of_mask, keep in [
                *((shape, shape, 0.6) for shape in SHAPES),
                ((2, 3), (2, 1), 0.6),
                ((2, 3), (1, 3), 0.6),
                ((2, 3, 2), (2, 3, 1), 0.5),
                ((7,), (7,), 0.0),
                ((7,), (7,), 1.0),
            ]
        ),
    ),
    "masked": Row(
        TABLE["masked"],
        lambda x, mask, scale: np.where(mask, x * scale, 0),
        tuple(
            Case((Reals(shape), Bools(shape_of_mask)), {"scale": 1.25})
            for shape, shape_of_mask in [
                *((shape, shape) for shape in SHAPES),
                ((2, 3), (2, 1)),
                ((2, 3), (1, 3)),
            ]
        ),
    ),
}
