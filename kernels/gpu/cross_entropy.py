"""Launches cross_entropy.cu: softmax cross-entropy, loss and gradient, in one launch."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .launcher import FLOATS, NAMES, Array, Call, Device, as_int64, kernel, plain, wide

THREADS = 128  # of a block, as in the source
# Of these a block takes one row, of shorter ones four. Not measured yet on a card.
LONG = 1 << 10
# What fills today's cards; the partial sums, and so the bits of the result, do not depend on which.
MOST_BLOCKS = 1 << 11
REDUCTIONS = {"none": 0, "sum": 1, "mean": 2}


def _calls(dtype: Any, n: int) -> Iterator[Call]:
    rng = np.random.default_rng(0)
    for rows, c, reduction, label_smoothing in (
        (n, 7, "none", 0.1),
        (n, 8, "sum", 0.1),
        (min(n, 5), LONG + 1, "mean", 0.0),
        (min(n, 5), LONG + 8, "mean", 0.1),
    ):
        logits = 3 * rng.normal(size=(rows, c)).astype(dtype)
        labels = np.arange(rows) % c
        labels[1:2] = -1
        weight = np.linspace(0.5, 2, c, dtype=dtype) if c % 2 else None
        params = {"label_smoothing": label_smoothing, "reduction": reduction}
        yield [logits, labels, weight], {"ignore_index": -1, **params}


@kernel(_calls)
def softmax_cross_entropy(
    device: Device,
    logits: Array,
    labels: Array,
    weight: Array | None = None,
    *,
    ignore_index: int,
    label_smoothing: float,
    reduction: str,
) -> Any:
    """Return the cross-entropy of rows, its gradient by each row's logits, and the denominator.

    logits (n, c) float16, float32 or float64, labels (n,) integers, weight (c,) of the logits'
    dtype; the denominator of float16 is float32. The loss of a label that is no class is nan, and
    the first of them goes to the device's error slot. Declines other dtypes.
    """
    dtype = logits.dtype
    if logits.ndim != 2 or dtype not in FLOATS:
        return NotImplemented
    n, c = logits.shape
    classes = as_int64(labels)
    if (
        classes is None
        or classes.shape != (n,)
        or (weight is not None and (weight.dtype != dtype or weight.shape != (c,)))
        or c == 0
    ):
        return NotImplemented
    logits, weight = plain(logits), None if weight is None else plain(weight)
    loss = device.empty((n,) if reduction == "none" else (), dtype)
    dlogits, total = device.empty((n, c), dtype), device.empty((), wide(dtype))
    by_block = c >= LONG
    blocks = min(max(n if by_block else -(-n // (THREADS // 32)), 1), MOST_BLOCKS)
    parts = device.empty((blocks, 3), np.float64)  # what a block found of its rows
    valid = f"labels must lie in [0, {c}) or be {ignore_index}"
    slot, code = device.slot.place(f"softmax_cross_entropy: {valid}", labels.shape)
    device.launch(
        "cross_entropy",
        f"softmax_cross_entropy_{NAMES[dtype]}_{'block' if by_block else 'warp'}",
        blocks,
        THREADS,
        logits,
        classes,
        weight,
        n,
        c,
        ignore_index,
        wide(dtype).type(1 - label_smoothing),
        wide(dtype).type(label_smoothing / c),
        loss,
        dlogits,
        total,
        REDUCTIONS[reduction],
        device.has_vectors(c, logits, dlogits),
        parts,
        device.counter(),
        slot,
        code,
    )
    return loss, dlogits, total
