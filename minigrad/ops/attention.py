"""Attention: weighted means of values, by how well their keys fit a query."""

import math
from typing import Any

import numpy as np

from ..engine import Op, Tensor, apply
from . import random
from .creation import as_tensor, astype, constant_like
from .elementwise import where
from .fused import fused
from .reals import of_reals
from .reductions import accurate_sum, narrowed, sum_along, sum_to, widened

__all__ = ["scaled_dot_product_attention"]


def _scores(xp: Any, query: Any, key: Any, mask: Any, bias: Any, scale: float, causal: bool) -> Any:
    """Return scale · query keyᵀ + bias (..., L, S), -inf where a query must not see a key.

    Those of float16 are float32.
    """
    scores = xp.matmul(widened(query) * scale, xp.matrix_transpose(widened(key)))
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = xp.where(mask, scores, -xp.inf)
    if causal:
        length, keys = scores.shape[-2:]
        scores = xp.where(xp.arange(length)[:, None] >= xp.arange(keys), scores, -xp.inf)
    return scores


def _by_scores(
    d: Tensor, query: Tensor, key: Tensor, bias: Tensor | None, scale: float, wanted: Any
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the cotangents of query, key and bias for a cotangent of the scores."""
    return (
        _as_of(query, d @ widened(key) * scale) if "query" in wanted else None,
        _as_of(key, d.mT @ widened(query) * scale) if "key" in wanted else None,
        _as_of(bias, d) if bias is not None and "bias" in wanted else None,
    )


def _as_of(x: Tensor, g: Tensor) -> Tensor:
    """Return the cotangent of x from that of x widened and broadcast."""
    dx: Tensor = narrowed(sum_to(g, x.shape), x)
    return dx


def _weights_forward(
    xp: Any,
    query: Any,
    key: Any,
    mask: Any,
    bias: Any,
    logsumexp: Any,
    *,
    scale: float,
    causal: bool,
) -> Any:
    scores = _scores(xp, query, key, mask, bias, scale, causal)
    scores -= logsumexp
    return xp.exp(scores, out=scores).astype(logsumexp.dtype, copy=False)


def _weights_rule(
    g: Tensor,
    out: Tensor,
    query: Tensor,
    key: Tensor,
    bias: Tensor | None,
    scale: float,
    wanted: Any,
) -> tuple[Tensor | None, ...]:
    d = g * out
    by_logsumexp = -sum_along(d, d.ndim - 1) if "logsumexp" in wanted else None
    return *_by_scores(d, query, key, bias, scale, wanted), by_logsumexp


_SCORED = ("query", "key", "bias", "logsumexp")

#: The probabilities exp(scores - logsumexp), made again from what attention keeps, in logsumexp's
#: dtype.
_weights = Op(
    "attention_weights",
    _weights_forward,
    vjp={_SCORED: _weights_rule},
    promotes=_SCORED,
)


def _with_heads_inside(xp: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Return an empty array whose axis -3 lies beside the last one in memory.

    Where it is the heads, what puts them side by side is a view then, no copy that the tape keeps.
    """
    if len(shape) < 4:
        return xp.empty(shape, dtype=dtype)
    *batch, heads, length, size = shape
    return xp.swapaxes(xp.empty((*batch, length, heads, size), dtype=dtype), -3, -2)


@of_reals
def _attend_forward(
    xp: Any,
    query: Any,
    key: Any,
    value: Any,
    mask: Any = None,
    bias: Any = None,
    keep: Any = None,
    *,
    scale: float,
    causal: bool,
    share: float,
) -> tuple[Any, Any]:
    weights = _scores(xp, query, key, mask, bias, scale, causal)
    peak = xp.zeros((*weights.shape[:-1], 1), dtype=weights.dtype)
    if weights.size:
        peak = xp.max(weights, axis=-1, keepdims=True)
        peak = xp.where(peak == -xp.inf, 0, peak)  # of a row in which everything is masked
    weights -= peak
    xp.exp(weights, out=weights)
    total = accurate_sum(xp, weights, axis=(weights.ndim - 1,), keepdims=True)
    total = xp.where(total == 0, 1, total)
    if keep is not None:
        weights = xp.where(keep, weights, 0)
    means = xp.matmul(weights, widened(value))
    out = _with_heads_inside(xp, means.shape, value.dtype)
    return xp.multiply(means, share / total, out=out), peak + xp.log(total)


def _attend_rule(
    g_out: Tensor | None,
    g_logsumexp: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    keep: Tensor | None,
    out: Tensor,
    logsumexp: Tensor,
    *,
    scale: float,
    causal: bool,
    share: float,
    wanted: Any,
) -> tuple[Tensor | None, ...]:
    """With the probabilities P and what is kept of them D: dV = Dᵀ g; by the scores,
    P · (g Vᵀ where kept - Σ g · out + g of logsumexp).
    """
    weights = _weights(query, key, mask, bias, logsumexp, scale=scale, causal=causal)
    by_value = None
    inner = g_logsumexp
    if g_out is not None:
        g = wide = widened(g_out)
        kept = weights
        if keep is not None:
            g, kept = wide * share, where(keep, weights, 0)
        if "value" in wanted:
            by_value = _as_of(value, kept.mT @ g)
        by_kept = g @ widened(value).mT
        inner = by_kept if keep is None else where(keep, by_kept, 0)
        inner = inner - sum_along(wide * widened(out), out.ndim - 1)
        inner = inner if g_logsumexp is None else inner + g_logsumexp
    assert inner is not None
    by_query, by_key, by_bias = _by_scores(weights * inner, query, key, bias, scale, wanted)
    return by_query, by_key, by_value, by_bias


_OPERANDS = ("query", "key", "value", "bias")

#: query (..., L, E), key (..., S, E), value (..., S, V) -> the means (..., L, V) and the logarithm
#: of what the exponentials of each row's scores add up to (..., L, 1), 0 where all is masked; of
#: float16, that is float32. The tape keeps these and no probability: Dao et al., "FlashAttention"
#: (2022), section 3.1.
_attend = Op(
    "scaled_dot_product_attention",
    _attend_forward,
    vjp={_OPERANDS: fused("attention_backward", _attend_rule, wanted=_OPERANDS)},
    outputs=("out", "logsumexp"),
    promotes=_OPERANDS,
    floating=True,
)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Return softmax(scale · query keyᵀ + mask) value: for each query a mean of the values.

    query: (..., L, E), key: (..., S, E), value: (..., S, V); the leading axes broadcast. attn_mask:
    broadcasts to (..., L, S); booleans, true where a key takes part, or floats that are added to
    the scores. is_causal: query i sees the keys up to i, and there is no attn_mask. scale: 1/√E
    unless given. dropout_p: with which probability a weight becomes 0, the others divided by
    1 - dropout_p; it is always applied, so pass 0 in evaluation.
    A query that sees no key gives 0, with the gradient 0. What is masked has the weight 0, but
    0 · nan is nan: a masked value must be finite. float16 is computed in float32.
    ValueError for shapes that do not fit. Vaswani et al., "Attention is all you need" (2017).
    """
    return attend(query, key, value, attn_mask, dropout_p, is_causal, scale)[0]


def attend(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    need_weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Return `scaled_dot_product_attention` and, where needed, its weights before dropout."""
    query, key, value = as_tensor(query), as_tensor(key), as_tensor(value)
    shape = _shape_of_scores(query, key, value)
    half = all(x.dtype == np.float16 for x in (query, key, value))
    mask = None if attn_mask is None else _as_mask(attn_mask, widened(query), shape)
    if mask is not None and is_causal:
        raise ValueError(
            "scaled_dot_product_attention: pass attn_mask or is_causal=True, not both; "
            "a mask of both is attn_mask & mg.tril(mg.ones((L, S), dtype=bool))"
        )
    if not 0 <= dropout_p <= 1:
        raise ValueError(
            f"scaled_dot_product_attention: dropout_p must lie in [0, 1], got {dropout_p}"
        )
    keep = random.bernoulli(1 - dropout_p, shape, backend=query.backend) if dropout_p else None
    if scale is None:
        scale = 1 / math.sqrt(max(query.shape[-1], 1))
    added = mask is not None and mask.dtype.kind == "f"
    masks = (None, mask) if added else (mask, None)
    if half and added:  # what is added may be more than float16 holds
        query, key, value = map(widened, (query, key, value))
    params = {"scale": float(scale), "causal": bool(is_causal)}
    share = {"share": 1 / (1 - dropout_p) if dropout_p < 1 else 0.0}
    out, logsumexp = apply(_attend, (query, key, value, *masks, keep), {**params, **share})
    weights = None
    if need_weights:
        weights = apply(_weights, (query, key, *masks, logsumexp), params)
    if half:
        out = astype(out, np.float16, copy=False)
        weights = None if weights is None else astype(weights, np.float16)
    return out, weights


def _shape_of_scores(query: Tensor, key: Tensor, value: Tensor) -> tuple[int, ...]:
    """Return (..., L, S); ValueError for shapes that do not fit."""
    shapes = query.shape, key.shape, value.shape
    problem = ""
    if min(map(len, shapes)) < 2:
        problem = "each needs two axes"
    elif query.shape[-1] != key.shape[-1]:
        problem = f"axis -1 of query, {query.shape[-1]}, and of key, {key.shape[-1]}, must agree"
    elif key.shape[-2] != value.shape[-2]:
        problem = f"axis -2 of key, {key.shape[-2]}, and of value, {value.shape[-2]}, must agree"
    else:
        try:
            batch = np.broadcast_shapes(*(shape[:-2] for shape in shapes))
        except ValueError:
            problem = "their leading axes do not broadcast"
    if problem:
        raise ValueError(
            "scaled_dot_product_attention: expected query (..., L, E), key (..., S, E) and value "
            f"(..., S, V), got {', '.join(map(str, shapes))}: {problem}"
        )
    return (*batch, query.shape[-2], key.shape[-2])


def _as_mask(attn_mask: Any, query: Tensor, shape: tuple[int, ...]) -> Tensor:
    mask = constant_like(attn_mask, query)
    if mask.dtype.kind not in "bf":
        raise TypeError(
            "scaled_dot_product_attention: attn_mask is of booleans, true where a key takes part, "
            f"or of floats, which are added; got {mask.dtype}"
        )
    fits = len(mask.shape) <= len(shape) and all(
        n in (1, m) for n, m in zip(reversed(mask.shape), reversed(shape), strict=False)
    )
    if not fits:
        raise ValueError(
            f"scaled_dot_product_attention: attn_mask of shape {mask.shape} does not broadcast to "
            f"the scores, (..., L, S) = {shape}"
        )
    return mask
