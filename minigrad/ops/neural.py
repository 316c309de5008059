"""Functions of neural networks. What a derivative needs again is an output, a residual."""

import math
from collections.abc import Mapping
from typing import Any

from ..engine import Op, Tensor, apply
from . import random
from .creation import asarray, astype
from .elementwise import absorb, equal, exp, not_equal, where
from .reductions import accurate_sum, axis_of, reject_unknown, sum_op, sum_to
from .shape import expand_dims, permute_dims, reshape

__all__ = [
    "cross_entropy",
    "dropout",
    "linear",
    "log_softmax",
    "mse_loss",
    "softmax",
]


def _sum_last(x: Tensor, axis: int) -> Tensor:
    return sum_op(x, axis=(axis,), keepdims=True)


def _shifted(xp: Any, x: Any, axis: int) -> Any:
    """Return x minus its maximum along an axis, so that exp does not overflow."""
    return x - xp.max(x, axis=axis, keepdims=True) if x.size else x


def _softmax_forward(xp: Any, x: Any, *, axis: int) -> Any:
    weights = xp.exp(_shifted(xp, x, axis))
    return weights / accurate_sum(xp, weights, axis=(axis,), keepdims=True)


def _log_softmax_forward(xp: Any, x: Any, *, axis: int) -> Any:
    shifted = _shifted(xp, x, axis)
    return shifted - xp.log(accurate_sum(xp, xp.exp(shifted), axis=(axis,), keepdims=True))


_softmax = Op(
    "softmax",
    _softmax_forward,
    vjp=dict(x=lambda g, out, axis: out * (g - _sum_last(g * out, axis))),
    promotes=("x",),
    floating=True,
)
_log_softmax = Op(
    "log_softmax",
    _log_softmax_forward,
    vjp=dict(x=lambda g, out, axis: g - exp(out) * _sum_last(g, axis)),
    promotes=("x",),
    floating=True,
)


def softmax(x: Tensor, axis: int = -1, **unknown: Any) -> Tensor:
    """Return exp(x) / Σ exp(x) along an axis, without overflow."""
    return _along(_softmax, x, axis, unknown)


def log_softmax(x: Tensor, axis: int = -1, **unknown: Any) -> Tensor:
    """Return log(softmax(x)) along an axis, without overflow or log(0)."""
    return _along(_log_softmax, x, axis, unknown)


def _along(op: Op, x: Tensor, axis: int, unknown: Mapping[str, Any]) -> Tensor:
    if unknown:
        reject_unknown(op.name, unknown)
    x = x if isinstance(x, Tensor) else asarray(x)
    result: Tensor = op(x, axis=axis_of(op.name, axis, x.shape))
    return result


def _target_forward(
    xp: Any,
    labels: Any,
    weight: Any = None,
    *,
    classes: int,
    ignore_index: int,
    label_smoothing: float,
    dtype: Any,
) -> Any:
    """Return the rows of class probabilities that labels stand for, smoothed, then weighted."""
    valid = (labels != ignore_index)[:, None]
    one_hot = xp.where(valid, labels[:, None], 0) == xp.arange(classes)
    target = (1 - label_smoothing) * one_hot
    if weight is not None:
        # The smoothed part is weighted by each class, the rest by the label's, which is the same.
        target = target * weight
    smooth = label_smoothing / classes * (1 if weight is None else weight)
    return xp.astype(xp.where(valid, target + smooth, 0), dtype)


_target = Op("cross_entropy_target", _target_forward)


def _cross_entropy_forward(
    xp: Any,
    logits: Any,
    labels: Any,
    weight: Any = None,
    *,
    ignore_index: int,
    label_smoothing: float,
) -> tuple[Any, Any]:
    classes = logits.shape[1]
    if not classes:
        raise ValueError("expected at least one class")
    outside = (labels != ignore_index) & ((labels < 0) | (labels >= classes))
    valid = f"labels must lie in [0, {classes}) or be {ignore_index}"
    xp.refuse(outside, labels, f"softmax_cross_entropy: {valid}")
    target = _target_forward(
        xp,
        labels,
        weight,
        classes=classes,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        dtype=logits.dtype,
    )
    shifted = logits - xp.max(logits, axis=1, keepdims=True)
    weights = xp.exp(shifted)
    total = accurate_sum(xp, weights, axis=(1,), keepdims=True)
    terms = target * xp.where(target == 0, 0, shifted - xp.log(total))
    loss = xp.where(outside, xp.nan, -accurate_sum(xp, terms, axis=(1,), keepdims=False))
    used = (labels != ignore_index)[:, None]
    mass = xp.sum(target, axis=1, keepdims=True)
    dlogits = xp.where(used, mass * (weights / total) - target, 0)
    return xp.astype(loss, logits.dtype), dlogits


def _cross_entropy_logits(
    g_loss: Tensor | None,
    g_dlogits: Tensor | None,
    dlogits: Tensor,
    labels: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
) -> Tensor | None:
    """First order: dlogits is the derivative. Second order: with s·p = dlogits + target,
    d(dlogits)/d(logits) = s·(diag(p) - p pᵀ).
    """
    first = None if g_loss is None else expand_dims(g_loss, -1) * dlogits
    if g_dlogits is None:
        return first
    target = _target(
        labels,
        weight,
        classes=dlogits.shape[1],
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        dtype=dlogits.dtype,
    )
    scaled, mass = dlogits + target, _sum_last(target, 1)
    p = where(equal(mass, 0), 0, scaled / where(equal(mass, 0), 1, mass))
    bent = scaled * g_dlogits
    second = bent - p * _sum_last(bent, 1)
    return second if first is None else first + second


#: Rows of logits (n, c) and labels (n,) -> (loss (n,), its derivative by the logits (n, c)).
#: With the target t of `cross_entropy_target`, s = Σ t and p = softmax(logits), the loss
#: is -Σ t log p and the derivative s·p - t.
_cross_entropy = Op(
    "softmax_cross_entropy",
    _cross_entropy_forward,
    vjp=dict(logits=_cross_entropy_logits),
    outputs=("loss", "dlogits"),
    promotes=("logits", "weight"),
    floating=True,
)


def cross_entropy(
    logits: Tensor,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return -Σ target · log softmax(logits) over the classes.

    logits: (c,), (n, c) or (n, c, ...). target: integer labels of the shape without c, or class
    probabilities of the shape of logits. weight: (c,), one factor a class. reduction: "none",
    "sum" or "mean": over all rows, for labels weighted and without those equal to ignore_index;
    0 where no row is left. ValueError for shapes that do not fit and labels outside [0, c).
    """
    _check_reduction(reduction)
    logits = logits if isinstance(logits, Tensor) else asarray(logits)
    if not isinstance(target, Tensor):
        target = asarray(target, copy=True, backend=logits.backend)
    if not logits.ndim:
        raise ValueError("cross_entropy: logits need an axis of classes, got a 0-d tensor")
    axis = 1 if logits.ndim > 1 else 0
    classes, rows = logits.shape[axis], logits.shape[:axis] + logits.shape[axis + 1 :]
    soft = target.dtype.kind == "f"
    expected = logits.shape if soft else rows
    if target.dtype.kind not in "iuf":
        raise TypeError(
            f"cross_entropy: expected integer labels or class probabilities, got {target.dtype}"
        )
    if target.shape != expected:
        raise ValueError(
            f"cross_entropy: for logits of shape {logits.shape}, "
            f"{'class probabilities' if soft else 'labels'} have shape {expected}, "
            f"not {target.shape}"
        )
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing {label_smoothing} is not in [0, 1]")
    if weight is not None:
        weight = weight if isinstance(weight, Tensor) else asarray(weight, backend=logits.backend)
        if weight.shape != (classes,):
            raise ValueError(
                f"cross_entropy: expected one weight for each of {classes} classes, "
                f"got shape {weight.shape}"
            )
    order = (*range(axis), *range(axis + 1, logits.ndim), axis)
    if soft:
        smoothed = (1 - label_smoothing) * target + label_smoothing / max(classes, 1)
        if weight is not None:
            smoothed = smoothed * weight.reshape((classes,) + (1,) * (logits.ndim - axis - 1))
        # absorb: a class of probability 0 counts nothing, even where its logit is -inf.
        loss = -absorb(smoothed, log_softmax(logits, axis)).sum(axis=axis)
        return _reduced(loss, reduction) if loss.size else loss.sum()
    flat = logits if axis == logits.ndim - 1 else permute_dims(logits, order)
    labels = reshape(target, (target.size,))
    loss, _ = apply(
        _cross_entropy,
        (reshape(flat, (target.size, classes)), labels, weight),
        {"ignore_index": ignore_index, "label_smoothing": float(label_smoothing)},
    )
    if reduction != "mean":
        return _reduced(reshape(loss, rows), reduction)
    mean: Tensor = loss.sum() / _weight_of(labels, weight, ignore_index, loss)
    return mean


def _weight_of(labels: Tensor, weight: Tensor | None, ignore_index: int, loss: Tensor) -> Tensor:
    """Return by what the mean of weighted rows is divided: their weights' sum, 1 if that is 0."""
    used = not_equal(labels, ignore_index)
    if weight is None:
        total = used.sum()
    else:
        total = where(used, weight[where(used, labels, 0)], 0).sum()
    return astype(where(equal(total, 0), 1, total), loss.dtype)


def _check_reduction(reduction: str) -> None:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f'reduction must be "none", "mean" or "sum", not {reduction!r}')


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    return loss if reduction == "none" else loss.sum() if reduction == "sum" else loss.mean()


def mse_loss(prediction: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """Return the squared differences, or their mean or sum; both of one shape (ValueError)."""
    _check_reduction(reduction)
    prediction = prediction if isinstance(prediction, Tensor) else asarray(prediction)
    if not isinstance(target, Tensor):
        target = asarray(target, copy=True, backend=prediction.backend)
    if prediction.shape != target.shape:
        raise ValueError(
            f"mse_loss: prediction of shape {prediction.shape} and target of shape {target.shape}"
        )
    loss: Tensor = (prediction - target) ** 2
    return _reduced(loss, reduction)


def _linear_forward(xp: Any, x: Any, weight: Any, bias: Any = None) -> Any:
    if not x.ndim or weight.ndim != 2 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"axis -1 of x, shape {x.shape}, must fit axis 1 of weight "
            f"(out_features, in_features), shape {weight.shape}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"expected a bias of shape {weight.shape[:1]}, got {bias.shape}")
    out = xp.matmul(x, xp.matrix_transpose(weight))
    if bias is not None:
        out += bias
    return out


def _rows(x: Tensor) -> Tensor:
    return x if x.ndim == 2 else reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


linear = Op(
    "linear",
    _linear_forward,
    vjp=dict(
        x=lambda g, weight: g @ weight,
        weight=lambda g, x: _rows(g).mT @ _rows(x),
        bias=lambda g, bias_shape: sum_to(g, bias_shape),
    ),
    promotes=("x", "weight", "bias"),
)

_dropout: Op = Op(
    "dropout",
    lambda xp, x, mask, *, scale: xp.where(mask, x * scale, 0),
    vjp=dict(x=lambda g, mask, scale: _dropout(g, mask, scale=scale)),
)


def dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Set each element to 0 with probability p and divide the others by 1 - p.

    x itself where not training or p is 0. ValueError for p outside [0, 1].
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p must lie in [0, 1], got {p}")
    if not training or p == 0:
        return x
    mask = random.bernoulli(1 - p, x.shape, backend=x.backend)
    return _dropout(x, mask, scale=0.0 if p == 1 else 1 / (1 - p))
