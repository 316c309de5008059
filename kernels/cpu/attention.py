"""Attention and its backward in one walk over the heads, with no matrix of scores kept.

For LANES queries of a head at a time, the scores of all keys are worked out, masked, made weights
and multiplied with the values, in a buffer that stays in the cache; backward does so for LANES keys
at a time, from the logarithm of each row's sum (Dao et al., FlashAttention, 2022, without its
running maximum: a block of queries has whole rows). The LANES numbers lie side by side, so that
products, exponentials and sums over keys all work on vectors. Blocks that a causal mask hides
altogether are left out. A score costs 2 E + 2 V operations and an exponential, backward 6 E + 4 V;
of memory each head is read and written once: the processor decides. Heads are walked where they
lie, one after the other or side by side in longer vectors. Measured, float32, one thread, 64 to 256
queries of size 16 to 64: with a causal mask 0.3 of NumPy's time forward and 0.25 to 0.55 backward,
without one 0.35 to 0.55 and 0.55 to 0.75; beside PyTorch, with the mask and both ways, 0.85 to 1.
Products of some hundred features leave the cache, and BLAS is faster by up to 3 times.
"""

import math
from typing import Any

import numpy as np

from ..calls import attention_backward_calls, attention_calls
from .compiler import FLOATS, Array, jit, kernel, loop, plain, prange
from .elementary import exp
from .vectors import WIDTH, load, maximum, multiply_add, store, wide

LANES = 32  # queries, or in backward keys and features, that are computed side by side
PART = 256  # queries of a head that one thread computes at a time in forward
QUERIES = 64  # of which backward takes the scores with LANES keys at a time: 8 KB of float32
SCATTERED = 16  # rows that are written side by side
TERMS = 16  # exponentials that are added up in their own precision before they join the sum

# A mask, or whatever there is for each score: its numbers, where those of each head start, and the
# steps from query to query and from key to key. Without numbers: there is none.
Spread = tuple[Array, Array, int, int]


@kernel(attention_calls)
def scaled_dot_product_attention(
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None = None,
    bias: Array | None = None,
    keep: Array | None = None,
    *,
    scale: float,
    causal: bool,
    share: float,
) -> Any:
    """Return the means of the values by softmax(scale * query key^T + bias), and each logsumexp.

    query (..., L, E), key (..., S, E), value (..., S, V); mask, bias and keep broadcast to
    (..., L, S): false in mask is a score of -inf, false in keep a weight of 0, the others times
    share. A row of scores of -inf gives 0 and 0. Declines other dtypes than float32 and float64,
    and leading axes that differ; with causal also what is not finite: masked, it still counts.
    """
    count = _count(query)
    heads = _heads(query, key, value, count)
    if heads is None or (causal and not _is_finite(heads[2])):
        return NotImplemented
    q, k, v = heads
    work = _work(q, k, v)
    if not _pays(q.shape[1], q.shape[3] + v.shape[3], causal, work):
        return NotImplemented
    out = _empty((*query.shape[:-1], value.shape[-1]), q.dtype, count)
    logsumexp = np.empty((*query.shape[:-1], 1), q.dtype)
    masks = _spread(query, mask, bias, keep)
    params = float(scale), bool(causal), float(share)
    sums = logsumexp.reshape(q.shape[0] * q.shape[2], q.shape[1])
    _forward(work, q, k, v, *masks, *params, _as_heads(out, count), sums)
    return out, logsumexp


@kernel(attention_backward_calls)
def attention_backward(
    g_out: Array,
    g_logsumexp: Array | None,
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None,
    bias: Array | None,
    keep: Array | None,
    out: Array,
    logsumexp: Array,
    *,
    scale: float,
    causal: bool,
    share: float,
    wanted: tuple[str, ...],
) -> Any:
    """Return the cotangents of those of query, key and value that are wanted.

    Declines as forward does, and where the bias has a cotangent, or logsumexp.
    """
    count = _count(query)
    heads = _heads(query, key, value, count)
    if heads is None or g_logsumexp is not None or "bias" in wanted or g_out.dtype != query.dtype:
        return NotImplemented
    q, k, v = heads
    work = _work(q, k, v)
    if not _pays(min(q.shape[1], k.shape[1]), q.shape[3] + v.shape[3], causal, work):
        return NotImplemented
    g, o = _as_heads(g_out, count), _as_heads(out, count)
    if causal and not all(map(_is_finite, (g, q, k, v))):
        return NotImplemented
    sums = plain(logsumexp).reshape(q.shape[0] * q.shape[2], q.shape[1])
    inputs = {"query": query, "key": key, "value": value}
    found = {name: _empty(x.shape, x.dtype, count) for name, x in inputs.items()}
    masks = _spread(query, mask, bias, keep)
    params = float(scale), bool(causal), float(share)
    filled = [_as_heads(x, count) for x in found.values()]
    _backward(work, g, q, k, v, o, sums, *masks, *params, *filled)
    return tuple([found[name] for name in wanted])


def _count(query: Array) -> int:
    """Return how many heads lie side by side in memory: those cut from longer vectors, or one."""
    return 1 if query.ndim < 4 or query.flags.c_contiguous else query.shape[-3]


def _heads(query: Array, key: Array, value: Array, count: int) -> tuple[Array, Array, Array] | None:
    """Return all as `_as_heads` does; None for what is declined."""
    dtype, batch = query.dtype, query.shape[:-2]
    if dtype not in FLOATS or key.dtype != dtype or value.dtype != dtype:
        return None
    if key.shape[:-2] != batch or value.shape[:-2] != batch:
        return None
    return _as_heads(query, count), _as_heads(key, count), _as_heads(value, count)


def _as_heads(x: Array, count: int) -> Array:
    """Return (..., length, size) as (batch, length, count, size), plain, without copying if so."""
    *batch, length, size = x.shape
    return plain(x.reshape(math.prod(batch) // count, count, length, size).swapaxes(1, 2))


def _empty(shape: tuple[int, ...], dtype: Any, count: int) -> Array:
    """Return an array of a shape (..., length, size) of which `_as_heads` makes no copy."""
    if count == 1:
        return np.empty(shape, dtype)
    *batch, length, size = shape
    heads = np.empty((math.prod(batch) // count, length, count, size), dtype)
    return heads.swapaxes(1, 2).reshape(shape)


def _is_finite(x: Array) -> bool:
    """Return whether the squares of x have a sum: a product of BLAS takes no time."""
    flat = x.reshape(-1)
    return math.isfinite(np.dot(flat, flat))


def _work(q: Array, k: Array, v: Array) -> int:
    """Return the multiplications of forward, of which an exponential counts for 32."""
    return int(math.prod(q.shape[:3]) * k.shape[1] * (q.shape[3] + v.shape[3] + 32))


def _pays(length: int, features: int, causal: bool, work: int) -> bool:
    """Return whether half of the lanes have work and the cache holds them, or there is little.

    NumPy's way takes longer then. It computes what the mask hides as well.
    """
    fits = length >= LANES // 2 and features <= (1024 if causal else 384)
    return fits or work < 1 << 16


def _spread(
    query: Array, mask: Array | None, bias: Array | None, keep: Array | None
) -> tuple[Spread, Spread, Spread]:
    batch = query.shape[:-2]
    return (
        _for_heads(mask, batch, np.bool_),
        _for_heads(bias, batch, query.dtype),
        _for_heads(keep, batch, np.bool_),
    )


def _for_heads(array: Array | None, batch: tuple[int, ...], dtype: Any) -> Spread:
    if array is None:
        return np.empty(0, dtype), np.empty(0, np.int64), 0, 0
    length, steps = (1, 1, *array.shape)[-2:]
    starts = np.arange(math.prod(array.shape[:-2])) * (length * steps)
    starts = np.broadcast_to(starts.reshape(array.shape[:-2]), batch).reshape(-1)
    flat = plain(array).reshape(-1)
    return flat, plain(starts), steps if length > 1 else 0, int(steps > 1)


@loop(parallel_from=3 << 19)
def _forward(
    q: Array,
    k: Array,
    v: Array,
    mask: Spread,
    bias: Spread,
    keep: Spread,
    scale: float,
    causal: bool,
    share: float,
    out: Array,
    logsumexp: Array,
) -> None:
    """Fill ``out`` (batch, length, heads, size) and ``logsumexp`` (batch * heads, length)."""
    parts = (q.shape[1] + PART - 1) // PART
    for i in prange(q.shape[0] * q.shape[2] * parts):
        head, begin = i // parts, i % parts * PART
        _attend(head, begin, q, k, v, mask, bias, keep, scale, causal, share, out, logsumexp)


@jit("contract")
def _attend(
    head: int,
    begin: int,
    q: Array,
    k: Array,
    v: Array,
    mask: Spread,
    bias: Spread,
    keep: Spread,
    scale: float,
    causal: bool,
    share: float,
    out: Array,
    logsumexp: Array,
) -> None:
    """Compute a part of one head from a query on, LANES queries at a time."""
    _, length, heads, size = q.shape
    steps, width = k.shape[1], v.shape[3]
    b, h = head // heads, head % heads
    dtype, real = q.dtype, q.dtype.type
    queries = np.zeros(size * LANES, dtype)  # by feature
    scores = np.empty(steps * LANES, dtype)  # by key
    means = np.empty(width * LANES, dtype)  # by feature
    peak, total, shares = np.empty(LANES, dtype), np.empty(LANES, dtype), np.empty(LANES, dtype)
    keys, values = _rows(k, b, 0, h), _rows(v, b, 0, h)
    end = min(begin + PART, length)
    for first in range(begin, end, LANES):
        last = min(first + LANES, end)
        seen = min(last, steps) if causal else steps
        _to_lanes(_rows(q, b, first, h), heads * size, last - first, size, real(scale), queries)
        scores[: seen * LANES] = 0
        means[:] = 0
        _add_products(keys, heads * size, 1, seen, size, queries, scores)
        _mask(scores, 1, LANES, first, last, 0, seen, head, mask, bias, causal)
        _softmax(scores, seen, peak, total)
        _put(scores, 0.0, 1, LANES, first, last, 0, seen, head, keep)
        _add_products(values, 1, heads * width, width, seen, scores, means)
        for lane in range(last - first):
            logsumexp[head, first + lane] = peak[lane] + np.log(total[lane])
        for lane in range(LANES):
            shares[lane] = real(share) / total[lane]
        _from_lanes(means, shares, last - first, width, _rows(out, b, first, h), heads * width)


@loop(parallel_from=3 << 18)
def _backward(
    g: Array,
    q: Array,
    k: Array,
    v: Array,
    out: Array,
    logsumexp: Array,
    mask: Spread,
    bias: Spread,
    keep: Spread,
    scale: float,
    causal: bool,
    share: float,
    dq: Array,
    dk: Array,
    dv: Array,
) -> None:
    """Fill ``dq``, ``dk`` and ``dv``, which are shaped like q, k and v."""
    for head in prange(q.shape[0] * q.shape[2]):
        _differentiate(
            head, g, q, k, v, out, logsumexp, mask, bias, keep, scale, causal, share, dq, dk, dv
        )


@jit("contract")
def _differentiate(
    head: int,
    g: Array,
    q: Array,
    k: Array,
    v: Array,
    out: Array,
    logsumexp: Array,
    mask: Spread,
    bias: Spread,
    keep: Spread,
    scale: float,
    causal: bool,
    share: float,
    dq: Array,
    dk: Array,
    dv: Array,
) -> None:
    """Compute one head, LANES keys at a time, each with QUERIES queries at a time.

    With the weights P and what is kept of them D: dv = share D^T g; with dS = P * (share g v^T
    where kept - sum(g * out)), dq = scale dS k and dk = scale dS^T q.
    """
    _, length, heads, size = q.shape
    steps, width = k.shape[1], v.shape[3]
    b, h = head // heads, head % heads
    dtype, real = q.dtype, q.dtype.type
    inner = np.empty(length, dtype)
    for i in range(length):
        inner[i] = _dot(g[b, i, h], out[b, i, h])
    chunks = (size + LANES - 1) // LANES  # of features, for dq
    keys, values = np.zeros(size * LANES, dtype), np.zeros(width * LANES, dtype)  # by feature
    dkeys, dvalues = np.empty(size * LANES, dtype), np.empty(width * LANES, dtype)
    rows = np.zeros((chunks, LANES * LANES), dtype)  # by key
    dqueries = np.zeros((chunks, length * LANES), dtype)  # by query
    weights, cotangents = np.empty(QUERIES * LANES, dtype), np.empty(QUERIES * LANES, dtype)
    ones, shares = np.ones(LANES, dtype), np.full(LANES, share, dtype)
    # As forward has it, so that the scores are made again to the last bit.
    scaled = np.empty(length * size, dtype)
    _copy_rows(_rows(q, b, 0, h), heads * size, length, size, real(scale), scaled, size)
    for begin in range(0, steps, LANES):
        end = min(begin + LANES, steps)
        count = end - begin
        _to_lanes(_rows(k, b, begin, h), heads * size, count, size, real(1), keys)
        _to_lanes(_rows(v, b, begin, h), heads * width, count, width, real(share), values)
        rows[:] = 0
        for chunk in range(chunks):
            part = keys[chunk * LANES * LANES :]
            _from_lanes(part, ones, count, min(LANES, size - chunk * LANES), rows[chunk], LANES)
        dkeys[:] = 0
        dvalues[:] = 0
        for first in range(begin if causal else 0, length, QUERIES):
            last = min(first + QUERIES, length)
            seen = last - first
            weights[: seen * LANES] = 0
            cotangents[: seen * LANES] = 0
            queries, upstream = scaled[first * size :], _rows(g, b, first, h)
            _add_products(queries, size, 1, seen, size, keys, weights)
            _add_products(upstream, heads * width, 1, seen, width, values, cotangents)
            _mask(weights, LANES, 1, first, last, begin, end, head, mask, bias, causal)
            _put(cotangents, 0.0, LANES, 1, first, last, begin, end, head, keep)
            for i in range(seen):
                low = logsumexp[head, first + i]
                for at in range(np.uint64(i * LANES), np.uint64(i * LANES + LANES)):
                    weights[at] -= low
            _exponentiate(weights[: seen * LANES])
            for i in range(seen):
                mean = inner[first + i]
                for at in range(np.uint64(i * LANES + count), np.uint64(i * LANES + LANES)):
                    weights[at] = 0
                for at in range(np.uint64(i * LANES), np.uint64(i * LANES + LANES)):
                    cotangents[at] = weights[at] * (cotangents[at] - mean)
            _put(weights, 0.0, LANES, 1, first, last, begin, end, head, keep)
            _add_products(upstream, 1, heads * width, width, seen, weights, dvalues)
            _add_products(queries, 1, size, size, seen, cotangents, dkeys)
            for chunk in range(chunks):
                sums = dqueries[chunk, first * LANES :]
                _add_products(cotangents, LANES, 1, seen, LANES, rows[chunk], sums)
        _from_lanes(dkeys, ones, count, size, _rows(dk, b, begin, h), heads * size)
        _from_lanes(dvalues, shares, count, width, _rows(dv, b, begin, h), heads * width)
    for chunk in range(chunks):
        left = chunk * LANES
        into, count = _rows(dq, b, 0, h)[left:], min(LANES, size - left)
        _copy_rows(dqueries[chunk], LANES, length, count, real(scale), into, heads * size)


@jit()
def _rows(x: Array, b: int, i: int, h: int) -> Array:
    """Return x (batch, length, heads, size) from x[b, i, h] on, as a vector."""
    _, length, heads, size = x.shape
    return x.reshape(x.size)[((b * length + i) * heads + h) * size :]


@jit("contract", "reassoc")
def _dot(x: Array, y: Array) -> Any:
    total = x.dtype.type(0)
    for i in range(x.size):
        total += x[i] * y[i]
    return total


@jit()
def _to_lanes(rows: Array, step: int, count: int, size: int, factor: Any, lanes: Array) -> None:
    """Write each feature of some rows, times a factor, into lanes of its own."""
    for i in range(np.uint64(count)):
        at = i * np.uint64(step)
        for e in range(np.uint64(size)):
            lanes[e * np.uint64(LANES) + i] = rows[at + e] * factor


@jit()
def _from_lanes(lanes: Array, factor: Array, count: int, size: int, rows: Array, step: int) -> None:
    """Write lanes, times a factor for each, back into rows.

    By as many lanes at a time as the few places of the cache hold that distant rows may share.
    """
    whole = np.uint64(count - count % SCATTERED)
    for first in range(np.uint64(0), whole, np.uint64(SCATTERED)):
        for e in range(np.uint64(size)):
            for lane in range(np.uint64(SCATTERED)):
                i = first + lane
                rows[i * np.uint64(step) + e] = lanes[e * np.uint64(LANES) + i] * factor[i]
    for e in range(np.uint64(size)):
        for i in range(whole, np.uint64(count)):
            rows[i * np.uint64(step) + e] = lanes[e * np.uint64(LANES) + i] * factor[i]


@jit()
def _copy_rows(
    rows: Array, step: int, count: int, size: int, factor: Any, into: Array, to_step: int
) -> None:
    """Write rows, times a factor, to others."""
    for i in range(np.uint64(count)):
        at, to = i * np.uint64(step), i * np.uint64(to_step)
        for e in range(np.uint64(size)):
            into[to + e] = rows[at + e] * factor


@jit()
def _add_products(
    a: Array, by_row: int, by_term: int, rows: int, terms: int, x: Array, y: Array
) -> None:
    """Add a @ x to y, of LANES columns each; the steps in a are those of its rows and columns.

    Four rows of y by two vectors stay in registers for all terms, so that two vectors of x and four
    numbers of a are loaded for eight multiplications and additions of vectors.
    """
    # Unsigned, or each place would be tested for counting from the end.
    row_step, term_step = np.uint64(by_row), np.uint64(by_term)
    lanes, width = np.uint64(LANES), np.uint64(WIDTH // x.itemsize)
    whole = rows - rows % 4
    for row in range(0, whole, 4):
        for lane in range(np.uint64(0), lanes, width + width):
            s0 = np.uint64(row) * lanes + lane
            s1, s2, s3 = s0 + lanes, s0 + lanes + lanes, s0 + lanes + lanes + lanes
            y00, y01, y10, y11 = load(y, s0), load(y, s0 + width), load(y, s1), load(y, s1 + width)
            y20, y21, y30, y31 = load(y, s2), load(y, s2 + width), load(y, s3), load(y, s3 + width)
            p0 = np.uint64(row) * row_step
            p1, p2, p3 = (
                p0 + row_step,
                p0 + row_step + row_step,
                p0 + row_step + row_step + row_step,
            )
            at = np.uint64(lane)
            for _ in range(terms):
                x0, x1 = load(x, at), load(x, at + width)
                y00, y01 = multiply_add(a[p0], x0, y00), multiply_add(a[p0], x1, y01)
                y10, y11 = multiply_add(a[p1], x0, y10), multiply_add(a[p1], x1, y11)
                y20, y21 = multiply_add(a[p2], x0, y20), multiply_add(a[p2], x1, y21)
                y30, y31 = multiply_add(a[p3], x0, y30), multiply_add(a[p3], x1, y31)
                p0, p1, p2, p3 = p0 + term_step, p1 + term_step, p2 + term_step, p3 + term_step
                at += lanes
            store(y, s0, y00)
            store(y, s0 + width, y01)
            store(y, s1, y10)
            store(y, s1 + width, y11)
            store(y, s2, y20)
            store(y, s2 + width, y21)
            store(y, s3, y30)
            store(y, s3 + width, y31)
    for row in range(whole, rows):
        for lane in range(np.uint64(0), lanes, width):
            total = load(y, np.uint64(row) * lanes + lane)
            place, at = np.uint64(row) * row_step, np.uint64(lane)
            for _ in range(terms):
                total = multiply_add(a[place], load(x, at), total)
                place += term_step
                at += lanes
            store(y, np.uint64(row) * lanes + lane, total)


@jit()
def _softmax(scores: Array, rows: int, peak: Array, total: Array) -> None:
    """Replace scores by exp(score - peak), and find their peaks and totals for each lane.

    A lane without a finite score has the peak 0 and the total 1.
    """
    lanes, width = np.uint64(LANES), np.uint64(WIDTH // scores.itemsize)
    end, one = np.uint64(rows) * lanes, scores.dtype.type(1)
    peak[:] = -np.inf
    for lane in range(np.uint64(0), lanes, width):
        top = load(peak, lane)
        for at in range(lane, end, lanes):
            top = maximum(load(scores, at), top)
        store(peak, lane, top)
    for lane in range(LANES):
        if peak[lane] == -np.inf:
            peak[lane] = 0
    for lane in range(np.uint64(0), lanes, width):
        top = load(peak, lane)
        for at in range(lane, end, lanes):
            store(scores, at, multiply_add(-one, top, load(scores, at)))
    _exponentiate(scores[:end])
    total[:] = 0
    for lane in range(np.uint64(0), lanes, width):
        whole = load(total, lane)
        for start in range(lane, end, np.uint64(TERMS) * lanes):
            part = load(scores, start)
            for at in range(start + lanes, min(start + np.uint64(TERMS) * lanes, end), lanes):
                part = multiply_add(one, load(scores, at), part)
            whole = multiply_add(one, part, whole)
        store(total, lane, whole)
    for lane in range(LANES):
        if total[lane] == 0:
            total[lane] = 1


@jit()
def _exponentiate(x: Array) -> None:
    """Replace all numbers by their exponentials."""
    wide()
    for i in range(x.size):
        x[i] = exp(x[i])


@jit()
def _mask(
    scores: Array,
    by_query: int,
    by_key: int,
    first: int,
    last: int,
    begin: int,
    end: int,
    head: int,
    mask: Spread,
    bias: Spread,
    causal: bool,
) -> None:
    """Add the bias to the scores of queries first to last and keys begin to end, and mask them."""
    numbers, starts, query_step, key_step = bias
    if numbers.size:
        for i in range(first, last):
            for j in range(begin, end):
                at = (i - first) * by_query + (j - begin) * by_key
                scores[at] += numbers[starts[head] + i * query_step + j * key_step]
    _put(scores, -np.inf, by_query, by_key, first, last, begin, end, head, mask)
    if causal:
        for i in range(first, min(last, end)):
            for j in range(max(begin, i + 1), end):
                scores[(i - first) * by_query + (j - begin) * by_key] = -np.inf


@jit()
def _put(
    scores: Array,
    value: float,
    by_query: int,
    by_key: int,
    first: int,
    last: int,
    begin: int,
    end: int,
    head: int,
    mask: Spread,
) -> None:
    """Set to a value what the mask has false."""
    numbers, starts, query_step, key_step = mask
    if numbers.size:
        for i in range(first, last):
            for j in range(begin, end):
                if not numbers[starts[head] + i * query_step + j * key_step]:
                    scores[(i - first) * by_query + (j - begin) * by_key] = value
