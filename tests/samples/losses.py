"""Losses."""

import math

import numpy as np

from minigrad.engine import TABLE

from .rows import *


def reference_target(labels, weight=None, *, classes, ignore_index, label_smoothing, dtype):
    weight = np.ones(classes) if weight is None else weight
    out = np.zeros((len(labels), classes))
    for row, label in zip(out, labels, strict=True):
        if label != ignore_index:
            row += label_smoothing / classes * weight
            row[label] += (1 - label_smoothing) * weight[label]
    return out


def wide(dtype):
    """Return the dtype of a denominator, which float16 may not hold."""
    return SINGLE if dtype == HALF else floating(dtype)


def reduced(loss, labels, weight, ignore_index, reduction):
    """Return losses of rows, or their sum or mean, and by what the sum was divided."""
    used = labels != ignore_index
    shares = used * (1 if weight is None else weight[np.where(used, labels, 0)])
    total = (shares.sum() or 1) if reduction == "mean" else 1
    return loss if reduction == "none" else loss.sum() / total, np.array(total, loss.dtype)


def reference_cross_entropy(
    logits, labels, weight=None, *, ignore_index, label_smoothing, reduction
):
    target = reference_target(
        labels,
        weight,
        classes=logits.shape[1],
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        dtype=None,
    )
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    mass = target.sum(axis=1, keepdims=True)
    loss = -(target * np.log(p)).sum(axis=1)
    loss, total = reduced(loss, labels, weight, ignore_index, reduction)
    return loss, mass * p - target, total


def reference_soft_cross_entropy(logits, target):
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    loss = -(target * np.log(p)).sum(axis=1)
    return loss, target.sum(axis=1, keepdims=True) * p - target


def reference_nll(log_p, labels, weight=None, *, ignore_index, reduction):
    used = labels != ignore_index
    safe = np.where(used, labels, 0)
    share = used * (np.ones(log_p.shape[1]) if weight is None else weight)[safe]
    loss = -share * log_p[np.arange(len(labels)), safe]
    return reduced(loss, labels, weight, ignore_index, reduction)


def reference_binary(logits, target, pos_weight=1):
    p = 1 / (1 + np.exp(-logits))
    return -pos_weight * target * np.log(p) - (1 - target) * np.log(1 - p)


REDUCTIONS = ("none", "sum", "mean")
LABELLED = [
    ({"ignore_index": -100, "label_smoothing": 0.0}, None),
    ({"ignore_index": -100, "label_smoothing": 0.1}, None),
    ({"ignore_index": 2, "label_smoothing": 0.0}, Reals((3,), POSITIVE)),
    ({"ignore_index": 0, "label_smoothing": 0.2}, Reals((3,), POSITIVE)),
    ({"ignore_index": -100, "label_smoothing": 1.0}, None),
]

PROBABILITY = ((0.1, 0.9),)

LOSSES = {
    "cross_entropy_target": Row(
        TABLE["cross_entropy_target"],
        reference_target,
        tuple(
            Case((Ints((4,), 0, 3), weight), {**params, "classes": 3, "dtype": DOUBLE})
            for params, weight in LABELLED
        ),
        order=0,
        result=lambda _: DOUBLE,
        dtypes=(DOUBLE,),
    ),
    "softmax_cross_entropy": Row(
        TABLE["softmax_cross_entropy"],
        reference_cross_entropy,
        (
            *(
                Case((Reals((4, 3)), Ints((4,), 0, 3), w), {**params, "reduction": reduction})
                for params, w in LABELLED
                for reduction in REDUCTIONS
            ),
            Case((Reals((0, 3)), Ints((0,)), None), {**LABELLED[0][0], "reduction": "mean"}),
        ),
        result=lambda dtype: (floating(dtype), floating(dtype), wide(dtype)),
        wrong=(
            Wrong(
                (np.ones((2, 3)), np.array([0, 3])),
                ValueError,
                r"\[0, 3\).* 3 at position 1",
                {**LABELLED[0][0], "reduction": "none"},
            ),
            Wrong(
                (np.ones((2, 3)), np.array([-1, 0])),
                ValueError,
                r"\[0, 3\).* -1 at position 0",
                {**LABELLED[0][0], "reduction": "none"},
            ),
        ),
    ),
    "soft_cross_entropy": Row(
        TABLE["soft_cross_entropy"],
        reference_soft_cross_entropy,
        (
            Case((Reals((4, 3)), Reals((4, 3), PROBABILITY))),
            Case((Reals((0, 3)), Reals((0, 3), PROBABILITY))),
        ),
        result=floating,
    ),
    "nll_loss": Row(
        TABLE["nll_loss"],
        reference_nll,
        (
            *(
                Case(
                    (Reals((4, 3)), Ints((4,), 0, 3), *weight),
                    {"ignore_index": ignore_index, "reduction": reduction},
                )
                for ignore_index, weight in [(-100, ()), (2, (Reals((3,), POSITIVE),))]
                for reduction in REDUCTIONS
            ),
            Case((Reals((0, 3)), Ints((0,))), {"ignore_index": -100, "reduction": "mean"}),
        ),
        result=lambda dtype: (floating(dtype), wide(dtype)),
        kinks=(
            Kink(
                ([[-math.inf, 0.0], [-1.0, -math.inf]], np.array([1, 0])),
                ([[0.0, -1.0], [-1.0, 0.0]], None),
                {"ignore_index": -100, "reduction": "none"},
            ),
        ),
        wrong=(
            Wrong(
                (np.ones((2, 3)), np.array([0, 3])),
                ValueError,
                r"\[0, 3\) or be -100.* 3 at position 1",
                {"ignore_index": -100, "reduction": "none"},
            ),
        ),
    ),
    "smooth_l1": Row(
        TABLE["smooth_l1"],
        lambda d, beta: np.where(np.abs(d) < beta, d * d / (2 * beta), np.abs(d) - beta / 2),
        tuple(
            Case((Reals(shape, ((-2.0, -0.8), (-0.6, 0.6), (0.8, 2.0))),), {"beta": 0.7})
            for shape in SHAPES
        ),
        result=floating,
        kinks=(
            Kink(([-1e4, -0.5, 0.0, 0.5, 1e4],), ([-1.0, -1.0, 0.0, 1.0, 1.0],), {"beta": 0.5}),
        ),
    ),
    "kl_div_of_logarithms": Row(
        TABLE["kl_div_of_logarithms"],
        lambda log_p, target: np.exp(target) * (target - log_p),
        tuple(Case((Reals(shape), Reals(shape))) for shape in SHAPES),
        result=floating,
        kinks=(
            Kink(
                ([-np.inf, -1.0, 0.0, np.inf], [-np.inf] * 4),
                ([0.0] * 4, [0.0] * 4),
            ),
        ),
        wrong=(NO_FIT,),
    ),
    "binary_cross_entropy": Row(
        TABLE["binary_cross_entropy"],
        lambda p, target: -target * np.log(p) - (1 - target) * np.log1p(-p),
        tuple(Case((Reals(shape, PROBABILITY), Reals(shape, PROBABILITY))) for shape in SHAPES),
        result=floating,
        kinks=(Kink(([0.0, 1.0], [0.0, 1.0]), ([0.0, 0.0], [100.0, -100.0])),),
        wrong=(
            Wrong((np.array([0.5, 1.5]), np.ones(2)), ValueError, r"\[0, 1\]; got 1.* position 1"),
            NO_FIT,
        ),
    ),
    "binary_cross_entropy_with_logits": Row(
        TABLE["binary_cross_entropy_with_logits"],
        reference_binary,
        (
            *(Case((Reals(shape), Reals(shape, PROBABILITY))) for shape in SHAPES),
            Case((Reals((2, 3)), Reals((2, 3), PROBABILITY), Reals((3,), POSITIVE))),
            Case((Reals((2, 3)), Reals((2, 3), PROBABILITY), Reals((), POSITIVE))),
        ),
        result=floating,
        kinks=(
            Kink(
                ([-1e4, 1e4, -1e4, 1e4], [0.0, 0.0, 1.0, 1.0]), ([0.0, 1, -1, 0], [1e4, -1e4] * 2)
            ),
            Kink(
                ([-1e4, 1e4, 1e4], [1.0, 1.0, 0.0], 2.0),
                ([-2.0, 0.0, 1.0], [2e4, -1e4, -1e4], 1e4),
            ),
        ),
        wrong=(NO_FIT,),
    ),
}
