"""Softmax and cross-entropy, loss and gradient in one pass over the logits."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .compiler import Array, Call, jit, kernel, loop, plain, prange
from .elementary import exp

BLOCK = 512  # terms of a softmax denominator that are summed in the logits' own precision
KEYS = {np.dtype(np.float32): np.dtype(np.int32), np.dtype(np.float64): np.dtype(np.int64)}


def _calls(dtype: Any, n: int) -> Iterator[Call]:
    logits = 3 * np.random.default_rng(0).normal(size=(n, 7)).astype(dtype)
    labels = np.arange(n) % 7
    labels[1:2] = -1
    params = {"ignore_index": -1, "label_smoothing": 0.1}
    yield [logits, labels, np.linspace(0.5, 2, 7, dtype=dtype)], params


@kernel(_calls)
def softmax_cross_entropy(
    logits: Array,
    labels: Array,
    weight: Array | None = None,
    *,
    ignore_index: int,
    label_smoothing: float,
) -> Any:
    """Return each row's cross-entropy and its gradient with respect to the row's logits.

    logits (n, c) float32 or float64, labels (n,) integers, weight (c,) of the logits' dtype; gives
    loss (n,) and dlogits (n, c). With w = weight, or 1, and e = label_smoothing, the target of a
    row labelled y is ``t = (1 - e) * w[y] * onehot(y) + e / c * w``; ``loss = -sum(t * log p)`` and
    ``dlogits = sum(t) * p - t``. Rows labelled ignore_index get zeros. Declines other dtypes,
    labels out of range and weights that are not finite.
    """
    dtype = logits.dtype
    if logits.ndim != 2 or dtype not in KEYS:
        return NotImplemented
    n, c = logits.shape
    if (
        labels.shape != (n,)
        or labels.dtype.kind not in "iu"
        or not np.can_cast(labels.dtype, np.int64)
        or (weight is not None and (weight.dtype != dtype or weight.shape != (c,)))
        or c == 0
    ):
        return NotImplemented
    smoothing = float(label_smoothing)  # for another type Numba would compile anew
    hit, share = 1 - smoothing, smoothing / c
    if weight is None:
        weight, spread = np.ones(c, dtype), smoothing
    else:
        weight, total = plain(weight), float(weight.sum(dtype=np.float64))
        if not math.isfinite(total):  # 0 * inf = nan reaches the rows of the other classes too
            return NotImplemented
        spread = share * total
    logits = plain(logits)
    loss, dlogits = np.empty(n, dtype), np.empty((n, c), dtype)
    misses = _rows(
        n * (c + 100),  # a row costs as much as some 100 elements more
        logits,
        logits.view(KEYS[dtype]),
        plain(labels.astype(np.int64, copy=False)),
        weight,
        int(ignore_index),
        hit,
        share,
        spread,
        loss,
        dlogits,
        dlogits.view(KEYS[dtype]),
    )
    return NotImplemented if misses else (loss, dlogits)


@loop(parallel_from=1 << 18)
def _rows(
    logits: Array,
    keys: Array,
    labels: Array,
    weight: Array,
    ignore_index: int,
    hit: float,
    share: float,
    spread: float,
    loss: Array,
    dlogits: Array,
    out_keys: Array,
) -> int:
    """Fill ``loss`` and ``dlogits`` row by row; return how many labels are out of range.

    A row's target is ``hit`` times the weight at its label, plus ``share`` times every weight;
    those sum to ``spread``. ``keys`` and ``out_keys`` are the bits of ``logits`` and ``dlogits``.
    The helpers take whole arrays: views of each row made rows of 10 twice as slow, of 1,000 8 %.
    """
    n, c = logits.shape
    real = logits.dtype.type
    misses = 0
    for i in prange(n):
        label = labels[i]
        if label == ignore_index:
            loss[i] = 0
            for j in range(c):
                dlogits[i, j] = 0
        elif label < 0 or label >= c:
            misses += 1
        else:
            out_keys[i, 0] = _greatest(keys, i)
            top = dlogits[i, 0]  # the same bits as a float
            total = 0.0
            for start in range(0, c, BLOCK):
                total += _exponentials(logits, i, start, min(start + BLOCK, c), top, dlogits)
            log_total = math.log(total)
            cost = 0.0
            if hit * weight[label] != 0:
                cost += hit * weight[label] * (log_total - (logits[i, label] - top))
            if share > 0:
                cost += share * _weighted_cost(logits, i, top, log_total, weight)
            loss[i] = cost
            scale = real((hit * weight[label] + spread) / total)
            for j in range(c):
                dlogits[i, j] = dlogits[i, j] * scale - real(share) * weight[j]
            dlogits[i, label] -= real(hit) * weight[label]
    return misses


@jit()
def _greatest(keys: Array, i: int) -> Any:
    """Return the bits of row i's greatest float, or of a nan there; ``keys`` are the floats' bits.

    Floats order like their bits read as integers, once those of negative floats are reversed. LLVM
    vectorises a maximum of integers and, since nan has no order, none of floats: 9 x slower.
    """
    integer, info = keys.dtype.type, np.iinfo(keys.dtype)
    best = info.min
    for j in range(keys.shape[1]):
        best = max(best, integer(keys[i, j] ^ ((keys[i, j] >> (info.bits - 1)) & info.max)))
    return best ^ ((best >> (info.bits - 1)) & info.max)


@jit("reassoc")  # the sum is vectorised only if its terms may be added in another order
def _exponentials(logits: Array, i: int, start: int, stop: int, top: Any, out: Array) -> Any:
    """Write exp(logits - top) of a stretch of row i to ``out``; return its sum, in their dtype."""
    total = logits.dtype.type(0)
    for j in range(np.uint64(start), np.uint64(stop)):  # a test for j < 0 stops vectorisation
        out[i, j] = exp(logits[i, j] - top)
        total += out[i, j]
    return total


@jit("reassoc")
def _weighted_cost(logits: Array, i: int, top: Any, log_total: float, weight: Array) -> float:
    """Return row i's -sum(weight * log p); a weight of 0 counts for 0 even where p is 0."""
    cost = 0.0
    for j in range(logits.shape[1]):
        if weight[j] != 0:
            cost += weight[j] * (log_total - (logits[i, j] - top))
    return cost
