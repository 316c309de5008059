"""Attention: weighted means of values, by how well their keys fit a query."""

import numpy as np

import minigrad as mg
from minigrad.engine import TABLE

from .rows import *


def scores_of(query, key, mask, bias, scale, causal):
    scores = scale * (query @ key.swapaxes(-1, -2))
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:])) > 0, scores, -np.inf)
    return scores


def reference_attention(query, key, value, attn_mask=None, is_causal=False, scale=None):
    masks = (attn_mask, None) if getattr(attn_mask, "dtype", None) == BOOL else (None, attn_mask)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    exps = np.exp(scores_of(query, key, *masks, scale, is_causal))
    total = exps.sum(-1, keepdims=True)
    return exps / np.where(total == 0, 1, total) @ value


def reference_weights(query, key, mask, bias, logsumexp, scale, causal):
    return np.exp(scores_of(query, key, mask, bias, scale, causal) - logsumexp)


def attended(*shapes, mask=None, **params):
    """A case of query, key and value of these shapes."""
    return Case((*map(Reals, shapes), *([] if mask is None else [mask])), params)


SEEN = Given([[True, False, True], [False, False, False]])
ATTENTION = {
    "scaled_dot_product_attention": Row(
        mg.scaled_dot_product_attention,
        reference_attention,
        (
            attended((2, 2), (3, 2), (3, 1)),
            attended((2, 1, 2), (2, 3, 2), (3, 2), scale=0.7),
            attended((1, 2, 2), (2, 3, 2), (3, 2), mask=SEEN),
            attended((2, 2), (2, 2), (2, 2), mask=Reals((2, 1))),
            attended((2, 2, 1), (2, 3, 1), (2, 3, 1), mask=Reals((2, 1, 3))),
            attended((2, 2), (3, 2), (3, 1), is_causal=True),
            attended((3, 2), (2, 2), (2, 1), is_causal=True),
            attended((2, 2), (0, 2), (0, 1)),
            attended((0, 2), (3, 2), (3, 1)),
        ),
        wrong=(
            Wrong((np.ones(2), np.ones((3, 2)), np.ones((3, 1))), ValueError, r"\(2,\).*two axes"),
            Wrong(
                (np.ones((2, 4)), np.ones((3, 2)), np.ones((3, 1))),
                ValueError,
                r"\(2, 4\), \(3, 2\), \(3, 1\): axis -1 of query, 4, and of key, 2",
            ),
            Wrong(
                (np.ones((2, 2)), np.ones((3, 2)), np.ones((4, 1))),
                ValueError,
                "axis -2 of key, 3, and of value, 4",
            ),
            Wrong(
                (np.ones((2, 2, 2)), np.ones((3, 3, 2)), np.ones((3, 1))),
                ValueError,
                "leading axes do not broadcast",
            ),
            Wrong(
                (np.ones((2, 2)), np.ones((3, 2)), np.ones((3, 1)), np.ones((4, 2, 3), bool)),
                ValueError,
                r"attn_mask of shape \(4, 2, 3\).*\(2, 3\)",
            ),
            Wrong(
                (np.ones((2, 2)), np.ones((3, 2)), np.ones((3, 1)), np.ones((2, 3), int)),
                TypeError,
                "booleans.*floats.*int64",
            ),
            Wrong(
                (np.ones((2, 2)), np.ones((3, 2)), np.ones((3, 1)), np.ones((2, 3), bool)),
                ValueError,
                "attn_mask or is_causal=True, not both",
                {"is_causal": True},
            ),
            Wrong(
                (np.ones((2, 2)), np.ones((3, 2)), np.ones((3, 1))),
                ValueError,
                r"\[0, 1\], got 2",
                {"dropout_p": 2},
            ),
        ),
    ),
    "attention_weights": Row(
        TABLE["attention_weights"],
        reference_weights,
        (
            Case(
                (Reals((2, 2)), Reals((3, 2)), SEEN, Reals((1, 3)), Reals((2, 1))),
                {"scale": 0.5, "causal": False},
            ),
            Case(
                (Reals((2, 2, 1)), Reals((3, 1)), None, None, Reals((2, 2, 1))),
                {"scale": 1.0, "causal": True},
            ),
        ),
    ),
}
