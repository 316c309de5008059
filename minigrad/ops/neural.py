"""What layers compute, beside activations, losses and what has a family of its own."""

import math
from typing import Any

import numpy as np

from ..arrays import get_default_dtype
from ..engine import TABLE, Op, Tensor, apply
from ..messages import did_you_mean
from . import random
from .activations import silu
from .axes import answers_torch
from .creation import as_tensor, asarray, astype, constant_like
from .elementwise import relu, sigmoid, tanh, where
from .fused import fused
from .indexing import Array, scatter
from .predicates import equal, is_class
from .reductions import sum_to
from .shape import expand_dims, reshape, rows_of

__all__ = [
    "dropout",
    "dropout1d",
    "dropout2d",
    "embedding",
    "linear",
    "one_hot",
]


def _one_hot_forward(xp: Any, labels: Any, *, classes: int) -> Any:
    bad = (labels < 0) | (labels >= classes)
    xp.refuse(bad, labels, f"one_hot: labels must lie in [0, {classes})")
    return xp.astype(is_class(xp, labels, classes), np.int64)


_one_hot = Op("one_hot", _one_hot_forward)


def one_hot(labels: Any, num_classes: int = -1) -> Tensor:
    """Return int64 rows with a 1 at the label's place: shape labels.shape + (num_classes,).

    labels: integers in [0, num_classes), ValueError for others. num_classes -1: the largest label
    plus 1, for which a device is waited for; ValueError where there is no label at all.
    """
    labels = labels if isinstance(labels, Tensor) else asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"one_hot: expected integer labels, got {labels.dtype}")
    if num_classes < -1:
        raise ValueError(f"one_hot: num_classes is a count, or -1 to infer it; got {num_classes}")
    if num_classes == -1:
        if not labels.size:
            raise ValueError("one_hot: there is no label to infer num_classes from; pass it")
        num_classes = max(int(labels.max()) + 1, 0)
    rows: Tensor = _one_hot(labels, classes=int(num_classes))
    return rows


def _embedding_forward(xp: Any, indices: Any, weight: Any, *, padding_idx: int | None) -> Any:
    bad = (indices < 0) | (indices >= len(weight))
    xp.refuse(bad, indices, f"embedding: indices must lie in [0, {len(weight)})", IndexError)
    return weight[indices]


def _embedding_weight(
    g: Tensor, indices: Tensor, *, weight_shape: tuple[int, ...], padding_idx: int | None
) -> Tensor:
    if padding_idx is not None:
        g = where(expand_dims(equal(indices, padding_idx), -1), 0, g)
    dweight: Tensor = scatter(g, indices, key=(Array(0),), shape=weight_shape)
    return dweight


_embedding = Op(
    "embedding",
    _embedding_forward,
    vjp=dict(weight=fused("embedding_backward", _embedding_weight)),
)


def embedding(indices: Any, weight: Any, padding_idx: int | None = None) -> Tensor:
    """Return the rows of weight (num_embeddings, dim) at indices: shape indices.shape + (dim,).

    indices: integers in [0, num_embeddings), IndexError for others. A row that is named repeatedly
    gets the sum of its gradients; the row padding_idx, which may count from the end, gets none.
    """
    weight = as_tensor(weight)
    if not isinstance(indices, Tensor):
        indices = asarray(indices, copy=True, backend=weight.backend)  # the tape keeps them
    if indices.dtype.kind not in "iu":
        raise TypeError(f"embedding: expected integer indices, got {indices.dtype}")
    if weight.ndim != 2:
        raise ValueError(
            f"embedding: expected weight (num_embeddings, dim), got shape {weight.shape}"
        )
    if padding_idx is not None:
        padding_idx = row_of("embedding", padding_idx, len(weight))
    return _embedding(indices, weight, padding_idx=padding_idx)


def row_of(name: str, padding_idx: int, rows: int) -> int:
    """Return padding_idx counted from the start; ValueError for none of the rows."""
    if not -rows <= padding_idx < rows:
        raise ValueError(
            f"{name}: padding_idx={padding_idx} is none of the {rows} rows of the weight"
        )
    return padding_idx % rows


def _linear_forward(xp: Any, x: Any, weight: Any, bias: Any = None) -> Any:
    if not x.ndim or weight.ndim != 2 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"axis -1 of x, shape {x.shape}, must fit axis 1 of weight "
            f"(out_features, in_features), shape {weight.shape}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"expected a bias of shape {weight.shape[:1]}, got {bias.shape}")
    # One product over all rows: matmul makes one for each of the leading axes, at 0.4 of the speed.
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1]) if x.ndim > 2 else x
    out = xp.matmul(rows, xp.matrix_transpose(weight))
    if bias is not None:
        out += bias
    return out.reshape(*x.shape[:-1], len(weight)) if x.ndim > 2 else out


def _linear_rule(
    g: Tensor, x: Tensor | None, weight: Tensor | None, *, wanted: tuple[str, ...]
) -> tuple[Tensor | None, ...]:
    dx = dweight = None
    if "x" in wanted and weight is not None:
        dx = g @ weight
        if g.ndim > 2:  # one product over all rows, as forward has it
            dx = reshape(rows_of(g) @ weight, (*g.shape[:-1], weight.shape[1]))
    if "weight" in wanted and x is not None:
        dweight = rows_of(g).mT @ rows_of(x)
    return dx, dweight, sum_to(g, g.shape[-1:]) if "bias" in wanted else None


#: What `fused` is told of the rules of dense layers.
_OF_LINEAR: dict[str, Any] = {
    "wanted": ("x", "weight", "bias"),
    "only_for": {"x": ("weight",), "weight": ("x",)},
}

_linear = Op(
    "linear",
    _linear_forward,
    vjp={_OF_LINEAR["wanted"]: fused("linear_backward", _linear_rule, **_OF_LINEAR)},
    promotes=("x", "weight", "bias"),
)

#: The activations that a dense layer can compute with its product. Those of the first group have a
#: derivative that follows from their value, those of the second need what they were applied to.
_OF_VALUE: dict[str, Op] = {"relu": relu, "sigmoid": sigmoid, "tanh": tanh}
_OF_INPUT: dict[str, Op] = {"gelu": TABLE["gelu"], "silu": silu}


def _activated(activation: Op, xp: Any, z: Any) -> Any:
    return activation.forward(xp, z, **({"approximate": "none"} if activation.params else {}))


def _slope(activation: Op, g: Tensor, of: Tensor) -> Tensor:
    """Return what the rule of an activation gives for a cotangent of its value."""
    d: Tensor = activation.rules[0].function(g, of, *(("none",) if activation.params else ()))
    return d


def _linear_value_rule(
    g: Tensor,
    x: Tensor | None,
    weight: Tensor | None,
    out: Tensor,
    *,
    activation: str,
    wanted: tuple[str, ...],
) -> tuple[Tensor | None, ...]:
    return _linear_rule(_slope(_OF_VALUE[activation], g, out), x, weight, wanted=wanted)


_linear_value = Op(
    "linear_value",
    lambda xp, x, weight, bias=None, *, activation: _activated(
        _OF_VALUE[activation], xp, _linear_forward(xp, x, weight, bias)
    ),
    vjp={_OF_LINEAR["wanted"]: fused("linear_value_backward", _linear_value_rule, **_OF_LINEAR)},
    promotes=("x", "weight", "bias"),
    floating=True,
)
"""A dense layer and an activation by name, of which the tape keeps the value."""


def _linear_input_forward(
    xp: Any, x: Any, weight: Any, bias: Any = None, *, activation: str
) -> tuple[Any, Any]:
    z = _linear_forward(xp, x, weight, bias)
    return _activated(_OF_INPUT[activation], xp, z), z


def _linear_input_rule(
    g_out: Tensor | None,
    g_z: Tensor | None,
    x: Tensor | None,
    weight: Tensor | None,
    z: Tensor,
    *,
    activation: str,
    wanted: tuple[str, ...],
) -> tuple[Tensor | None, ...]:
    g = None if g_out is None else _slope(_OF_INPUT[activation], g_out, z)
    if g_z is not None:
        g = g_z if g is None else g + g_z
    return (None,) * 3 if g is None else _linear_rule(g, x, weight, wanted=wanted)


_linear_input = Op(
    "linear_input",
    _linear_input_forward,
    vjp={_OF_LINEAR["wanted"]: fused("linear_input_backward", _linear_input_rule, **_OF_LINEAR)},
    outputs=("out", "z"),
    promotes=("x", "weight", "bias"),
    floating=True,
)
"""A dense layer and an activation by name, of which the tape keeps what it is applied to, z."""


def linear(x: Any, weight: Any, bias: Any = None, activation: str | None = None) -> Tensor:
    """x @ weightᵀ + bias, the bias left out if need be; ValueError for shapes that do not fit.

    x: (..., in_features), weight: (out_features, in_features), bias: (out_features,). activation:
    "relu", "sigmoid", "tanh", "gelu" or "silu", applied to it in the same pass.
    """
    x = as_tensor(x)
    factors = [f if f is None else constant_like(f, x) for f in (weight, bias)]
    if activation is None:
        out: Tensor = apply(_linear, (x, *factors))
        return out
    params = {"activation": activation}
    if activation in _OF_VALUE:
        out = apply(_linear_value, (x, *factors), params)
    elif activation in _OF_INPUT:
        out = apply(_linear_input, (x, *factors), params)[0]
    else:
        known = (*_OF_VALUE, *_OF_INPUT)
        hint = did_you_mean(str(activation), known)
        raise ValueError(
            f"linear: activation must be None or one of {', '.join(known)}, "
            f"not {activation!r}{hint}"
        )
    return out


_masked: Op = Op(
    "masked",
    lambda xp, x, mask, *, scale: xp.where(mask, x * scale, 0),
    vjp=dict(x=lambda g, mask, scale: _masked(g, mask, scale=scale)),
)
"""scale · x where a mask of its shape, or of one that broadcasts to it, is true; 0 elsewhere."""


def _dropout_forward(
    xp: Any, x: Any, state: Any, *, keep: float, scale: float, shape: tuple[int, ...]
) -> tuple[Any, Any]:
    mask = random.mask_of(xp, state, keep, shape)
    return _masked.forward(xp, x, mask, scale=scale), mask


_dropout = Op(
    "dropout",
    _dropout_forward,
    vjp=dict(x=lambda g_out, mask, scale: _masked(g_out, mask.detach(), scale=scale)),
    outputs=("out", "mask"),
)
"""x by a mask of a shape that broadcasts to its own, drawn from a generator's state."""


@answers_torch
def dropout(x: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """Set each element to 0 with probability p and divide the others by 1 - p.

    Integers become floats; but x itself where not training or p is 0. ValueError for p outside
    [0, 1].
    """
    x = as_tensor(x)
    return _dropped("dropout", x, p, training, x.shape)


@answers_torch
def dropout1d(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Set each channel of x, (n, channels, length) or (channels, length), to 0 with probability p.

    The others are divided by 1 - p; otherwise as `dropout`. Tompson et al., "Efficient object
    localization using convolutional networks" (2015).
    """
    x = as_tensor(x)
    if x.ndim not in (2, 3):
        raise ValueError(
            "dropout1d: expected x of shape (n, channels, length) or (channels, length), "
            f"got {x.shape}"
        )
    return _dropped("dropout1d", x, p, training, (*x.shape[:-1], 1))


@answers_torch
def dropout2d(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Set each channel of x, (n, channels, height, width), to 0 with probability p.

    Otherwise as `dropout1d`.
    """
    x = as_tensor(x)
    if x.ndim != 4:
        raise ValueError(
            f"dropout2d: expected x of shape (n, channels, height, width), got {x.shape}; for "
            "channels of one axis there is dropout1d"
        )
    return _dropped("dropout2d", x, p, training, (*x.shape[:2], 1, 1))


def _dropped(name: str, x: Tensor, p: float, training: bool, shape: tuple[int, ...]) -> Tensor:
    """Drop what shares an element of a mask of the given shape together."""
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p must lie in [0, 1], got {p}")
    if not training or p == 0:
        return x
    if x.dtype.kind not in "fc":
        x = astype(x, get_default_dtype())
    state = random.reserve(math.prod(shape), x.backend)
    params = {"keep": 1 - p, "scale": 0.0 if p == 1 else 1 / (1 - p), "shape": shape}
    out: Tensor = apply(_dropout, (x, state), params)[0]
    return out
