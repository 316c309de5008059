"""Softmax and cross-entropy, loss and gradient in one pass over the logits.

One long row at a time, or a block of short ones, is read for its maximum, for its exponentials,
which go to where the gradient will be, and to scale them; it stays in the first-level cache, so
memory is read once and written once. Some 20 operations for each 8 bytes moved: `exp` decides.

Measured on one thread in float32 at (1024, 1000): labels take 1.1 to 1.5 times `np.exp` of the
logits, 0.05 of NumPy's path; smoothed labels and class probabilities, each of which enters the
loss, up to 2.4 times `np.exp`. At (32, 10) 0.1 of NumPy's path. That backward multiplies the
gradient by a cotangent costs 0.6 to 1 times `np.exp` more, all of it for memory: in place it would
cost 0.4 of that, and storing past the cache gained nothing. With it, half of PyTorch's two passes.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from .compiler import FLOATS, Array, Call, jit, kernel, loop, plain, prange
from .softmax import exponentials, rows_at_a_time, sums
from .vectors import wide

PER_ROW = 100  # what a row costs beside its elements, in elements
# The length beyond which rows that do not count are left out. With others in a block, rows of 65
# take 0.25 of the time that they take alone, of 256 0.45, of 1,000 0.86.
LONG = 512


def _calls(dtype: Any, n: int) -> Iterator[Call]:
    logits = 3 * np.random.default_rng(0).normal(size=(n, 7)).astype(dtype)
    labels = np.arange(n) % 7
    labels[1:2] = -1
    weight = np.linspace(0.5, 2, 7, dtype=dtype)
    for reduction, label_smoothing in (("none", 0.1), ("sum", 0.1), ("mean", 0.0)):
        params = {"label_smoothing": label_smoothing, "reduction": reduction}
        yield [logits, labels, weight], {"ignore_index": -1, **params}


@kernel(_calls)
def softmax_cross_entropy(
    logits: Array,
    labels: Array,
    weight: Array | None = None,
    *,
    ignore_index: int,
    label_smoothing: float,
    reduction: str,
) -> Any:
    """Return each row's cross-entropy, its gradient with respect to the row's logits, and 1.

    logits (n, c) float32 or float64, labels (n,) integers, weight (c,) of the logits' dtype; gives
    loss (n,) and dlogits (n, c). With w = weight, or 1, and e = label_smoothing, the target of a
    row labelled y is ``t = (1 - e) * w[y] * onehot(y) + e / c * w``; ``loss = -sum(t * log p)`` and
    ``dlogits = sum(t) * p - t``. Rows labelled ignore_index get zeros. Where the reduction is "sum"
    or "mean", the losses are added up; for the mean they are divided by the sum of the w[y], or by
    1 if that is 0, which is the third result. Declines other dtypes, labels out of range and
    weights that are not finite.
    """
    dtype = logits.dtype
    if logits.ndim != 2 or dtype not in FLOATS:
        return NotImplemented
    n, c = logits.shape
    kind = labels.dtype.kind
    if (
        labels.shape != (n,)
        or not (kind == "i" or (kind == "u" and labels.dtype.itemsize < 8))  # fits int64
        or (weight is not None and (weight.dtype != dtype or weight.shape != (c,)))
        or c == 0
    ):
        return NotImplemented
    smoothing = float(label_smoothing)  # for another type Numba would compile anew
    hit, share = 1 - smoothing, smoothing / c
    if weight is None:
        weight, spread = _ones(c, dtype), smoothing
    else:
        weight, total = plain(weight), float(weight.sum(dtype=np.float64))
        if not math.isfinite(total):  # 0 * inf = nan reaches the rows of the other classes too
            return NotImplemented
        spread = share * total
    loss, dlogits = np.empty(n, dtype), np.empty((n, c), dtype)
    misses, total_loss, total_weight = _rows(
        n * (c + PER_ROW),
        plain(logits),
        plain(labels.astype(np.int64, copy=False)),
        weight,
        int(ignore_index),
        hit,
        share,
        spread,
        loss,
        dlogits,
    )
    if misses:
        return NotImplemented
    if reduction == "none":
        return loss, dlogits, dtype.type(1)
    total = (total_weight or 1.0) if reduction == "mean" else 1.0
    return dtype.type(total_loss / total), dlogits, dtype.type(total)


@lru_cache(maxsize=8)
def _ones(c: int, dtype: Any) -> Array:
    """Return the weights of classes that have none; making them takes an eighth of a small call."""
    return np.ones(c, dtype)


def _soft_calls(dtype: Any, n: int) -> Iterator[Call]:
    logits, target = np.random.default_rng(0).normal(size=(2, n, 7)).astype(dtype)
    yield [3 * logits, np.abs(target)], {}


@kernel(_soft_calls)
def soft_cross_entropy(logits: Array, target: Array) -> Any:
    """Return what `softmax_cross_entropy` does of targets t that are given, both of shape (n, c).

    Declines all but two matrices of float32 or of float64.
    """
    dtype = logits.dtype
    if dtype not in FLOATS or target.dtype != dtype or logits.ndim != 2 or not logits.shape[1]:
        return NotImplemented
    if target.shape != logits.shape:
        return NotImplemented
    n, c = logits.shape
    loss, dlogits = np.empty(n, dtype), np.empty((n, c), dtype)
    _soft_rows(n * (c + PER_ROW), plain(logits), plain(target), loss, dlogits)
    return loss, dlogits


@loop(parallel_from=1 << 16)
def _soft_rows(logits: Array, target: Array, loss: Array, dlogits: Array) -> None:
    """Fill ``loss`` and ``dlogits``, a block of rows at a time."""
    n, c = logits.shape
    rows = rows_at_a_time(c)
    for block in prange((n + rows - 1) // rows):
        start, stop = block * rows, min(block * rows + rows, n)
        _soft_block(logits[start:stop], target[start:stop], loss[start:stop], dlogits[start:stop])


@jit()
def _soft_block(logits: Array, target: Array, loss: Array, dlogits: Array) -> None:
    """Do what `_soft_rows` does, for rows that are handled together."""
    wide()
    tops, totals = exponentials(logits, dlogits)
    masses = np.empty(logits.shape[0])
    sums(target, masses)
    for i in range(logits.shape[0]):
        loss[i] = _cost(target, i, logits, i, tops[i], math.log(totals[i]))
        scale = logits.dtype.type(masses[i] / totals[i])
        for j in range(logits.shape[1]):
            dlogits[i, j] = dlogits[i, j] * scale - target[i, j]


@loop(parallel_from=1 << 16)
def _rows(
    logits: Array,
    labels: Array,
    weight: Array,
    ignore_index: int,
    hit: float,
    share: float,
    spread: float,
    loss: Array,
    dlogits: Array,
) -> tuple[int, float, float]:
    """Fill ``loss`` and ``dlogits`` row by row.

    Return how many labels are out of range, and if there are none the sums of the losses and of the
    weights of the labels.

    A row's target is ``hit`` times the weight at its label, plus ``share`` times every weight;
    those sum to ``spread``.
    """
    n, c = logits.shape
    rows = rows_at_a_time(c)
    misses = 0
    for block in prange((n + rows - 1) // rows):
        end = min(block * rows + rows, n)
        alone = c > LONG and np.any(labels[block * rows : end] == ignore_index)
        for start in range(block * rows, end, 1 if alone else rows):
            stop = start + 1 if alone else end
            misses += _block(
                logits[start:stop],
                labels[start:stop],
                weight,
                ignore_index,
                hit,
                share,
                spread,
                loss[start:stop],
                dlogits[start:stop],
            )
    total_loss, total_weight = 0.0, 0.0
    if misses == 0:
        for i in range(n):  # one after the other: the number of threads changes no bit
            total_loss += loss[i]
            if labels[i] != ignore_index:
                total_weight += weight[labels[i]]
    return misses, total_loss, total_weight


@jit()
def _block(
    logits: Array,
    labels: Array,
    weight: Array,
    ignore_index: int,
    hit: float,
    share: float,
    spread: float,
    loss: Array,
    dlogits: Array,
) -> int:
    """Do what `_rows` does, for rows that are handled together."""
    wide()
    real = logits.dtype.type
    if logits.shape[0] == 1 and labels[0] == ignore_index:
        loss[:] = 0
        dlogits[:] = 0
        return 0
    tops, totals = exponentials(logits, dlogits)
    weights = weight.reshape(1, weight.size)
    misses = 0
    for i in range(logits.shape[0]):
        label = labels[i]
        if label == ignore_index:
            loss[i] = 0
            for j in range(logits.shape[1]):
                dlogits[i, j] = 0
        elif label < 0 or label >= logits.shape[1]:
            misses += 1
        else:
            log_total = math.log(totals[i])
            cost = 0.0
            if hit * weight[label] != 0:
                cost += hit * weight[label] * (log_total - (logits[i, label] - tops[i]))
            scale = real((hit * weight[label] + spread) / totals[i])
            if share > 0:
                cost += share * _cost(weights, 0, logits, i, tops[i], log_total)
                for j in range(logits.shape[1]):
                    dlogits[i, j] = dlogits[i, j] * scale - real(share) * weight[j]
            else:
                for j in range(logits.shape[1]):
                    dlogits[i, j] *= scale
            dlogits[i, label] -= real(hit) * weight[label]
            loss[i] = cost
    return misses


@jit("reassoc")
def _cost(target: Array, k: int, logits: Array, i: int, top: Any, log_total: float) -> float:
    """Return -sum(t * log p) of row k of targets and row i of logits; a t of 0 counts nothing."""
    wide()
    cost = 0.0
    for j in range(logits.shape[1]):
        if target[k, j] != 0:
            cost += target[k, j] * (log_total - (logits[i, j] - top))
    return cost
