"""Losses. What a derivative needs again is an output, a residual."""

from typing import Any

import numpy as np

from ..engine import Op, Tensor, apply
from ..promotion import common_dtype
from .activations import log_softmax
from .creation import as_tensor, asarray, astype, constant_like, ones_like
from .elementwise import absorb, elementwise, exp, sigmoid, where
from .piecewise import clip, maximum
from .predicates import equal, is_class
from .reals import require_reals
from .reductions import accurate_sum, narrowed, sum_along, widened
from .shape import expand_dims, permute_dims, reshape
from .special import xlogy

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
]


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
    valid = labels != ignore_index
    target = (1 - label_smoothing) * is_class(xp, xp.where(valid, labels, 0), classes)
    if weight is not None:
        # The smoothed part is weighted by each class, the rest by the label's, which is the same.
        target = target * weight
    smooth = label_smoothing / classes * (1 if weight is None else weight)
    return xp.astype(xp.where(valid[:, None], target + smooth, 0), dtype)


_target = Op("cross_entropy_target", _target_forward)


def _refuse_labels(xp: Any, name: str, labels: Any, classes: int, ignore_index: int) -> Any:
    """Return where labels are no class and not ignored, which is refused: a device goes on."""
    outside = (labels != ignore_index) & ((labels < 0) | (labels >= classes))
    valid = f"labels must lie in [0, {classes}) or be {ignore_index}"
    xp.refuse(outside, labels, f"{name}: {valid}")
    return outside


def _checks_labels(name: str) -> Op:
    """Return an op that makes a vector of labels, and refuses one by its place among the axes.

    It has the name of the user's function.
    """

    def forward(xp: Any, labels: Any, *, classes: int, ignore_index: int) -> Any:
        _refuse_labels(xp, name, labels, classes, ignore_index)
        return xp.reshape(labels, (-1,))

    return Op(name, forward, view=True, listed=False)


_FLAT_LABELS = {name: _checks_labels(name) for name in ("cross_entropy", "nll_loss")}


def _reduced_rows(
    xp: Any, loss: Any, labels: Any, used: Any, weight: Any, reduction: str
) -> tuple[Any, Any]:
    """Return the losses of rows, which are weighted, or their sum or mean, and its denominator.

    That of the mean is the sum of the weights of the labels that are used, or 1 if that is 0.
    """
    total = xp.ones((), dtype=loss.dtype)
    if reduction == "mean":
        shares = used if weight is None else xp.where(used, weight[xp.where(used, labels, 0)], 0)
        sum_of_shares = xp.sum(widened(shares))
        total = xp.astype(xp.where(sum_of_shares == 0, 1, sum_of_shares), loss.dtype)
    if reduction != "none":
        loss = accurate_sum(xp, loss, axis=(0,), keepdims=False) / total
    return loss, total


def _per_row(g_loss: Tensor, total: Tensor, reduction: str) -> Tensor:
    """Return the cotangent of the loss of each row, or the one of all, as it was weighted."""
    if reduction == "none":
        return expand_dims(g_loss, -1)
    share: Tensor = narrowed(widened(g_loss) / total, g_loss)
    return share


def _against(xp: Any, logits: Any, target: Any) -> tuple[Any, Any]:
    """Return -Σ t log p of rows of logits and of class probabilities t, and s·p - t for s = Σ t."""
    shifted = logits - xp.max(logits, axis=1, keepdims=True)
    weights = xp.exp(shifted)
    total = accurate_sum(xp, weights, axis=(1,), keepdims=True)
    terms = target * xp.where(target == 0, 0, shifted - xp.log(total))
    mass = xp.sum(target, axis=1, keepdims=True)
    return -accurate_sum(xp, terms, axis=(1,), keepdims=False), mass * (weights / total) - target


def _bent(g_dlogits: Tensor, dlogits: Tensor, target: Tensor) -> Tensor:
    """Return the cotangent of the logits from that of dlogits = s·p - t.

    With s·p = dlogits + t, d(dlogits)/d(logits) = s·(diag(p) - p pᵀ).
    """
    scaled, mass = dlogits + target, sum_along(target, 1)
    p = where(equal(mass, 0), 0, scaled / where(equal(mass, 0), 1, mass))
    bent = scaled * g_dlogits
    return bent - p * sum_along(bent, 1)


def _cross_entropy_forward(
    xp: Any,
    logits: Any,
    labels: Any,
    weight: Any = None,
    *,
    ignore_index: int,
    label_smoothing: float,
    reduction: str,
) -> tuple[Any, Any, Any]:
    classes, wide = logits.shape[1], widened(logits)
    outside = _refuse_labels(xp, "softmax_cross_entropy", labels, classes, ignore_index)
    target = _target_forward(
        xp,
        labels,
        weight,
        classes=classes,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        dtype=wide.dtype,
    )
    loss, dlogits = _against(xp, wide, target)
    loss, used = xp.where(outside, xp.nan, loss), labels != ignore_index
    loss, total = _reduced_rows(xp, loss, labels, used & ~outside, weight, reduction)
    return narrowed(loss, logits), narrowed(xp.where(used[:, None], dlogits, 0), logits), total


def _cross_entropy_logits(
    g_loss: Tensor | None,
    g_dlogits: Tensor | None,
    dlogits: Tensor,
    total: Tensor,
    labels: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
    reduction: str,
) -> Tensor | None:
    first = None if g_loss is None else _per_row(g_loss, total, reduction) * dlogits
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
    second = _bent(g_dlogits, dlogits, target)
    return second if first is None else first + second


#: Rows of logits (n, c) and labels (n,) -> (loss (n,), or reduced; each row's derivative of its own
#: loss by the logits (n, c); by what the sum was divided).
#: With the target t of `cross_entropy_target`, s = Σ t and p = softmax(logits), the loss
#: is -Σ t log p and the derivative s·p - t.
_cross_entropy = Op(
    "softmax_cross_entropy",
    _cross_entropy_forward,
    vjp=dict(logits=_cross_entropy_logits),
    outputs=("loss", "dlogits", "total"),
    promotes=("logits", "weight"),
    floating=True,
)


def _soft_forward(xp: Any, logits: Any, target: Any) -> tuple[Any, Any]:
    loss, dlogits = _against(xp, widened(logits), widened(target))
    return narrowed(loss, logits), narrowed(dlogits, logits)


def _soft_logits(
    g_loss: Tensor | None, g_dlogits: Tensor | None, dlogits: Tensor, target: Tensor
) -> Tensor | None:
    first = None if g_loss is None else expand_dims(g_loss, -1) * dlogits
    if g_dlogits is None:
        return first
    second = _bent(g_dlogits, dlogits, target)
    return second if first is None else first + second


def _soft_target(g_loss: Tensor | None, g_dlogits: Tensor | None, logits: Tensor) -> Tensor | None:
    log_p = log_softmax(logits, 1)
    # absorb: what a row of loss 0 costs nothing of may be infinite.
    first = None if g_loss is None else -absorb(expand_dims(g_loss, -1), log_p)
    if g_dlogits is None:
        return first
    second = sum_along(g_dlogits * exp(log_p), 1) - g_dlogits
    return second if first is None else first + second


#: Rows of logits and of class probabilities t, both (n, c) -> (loss (n,), its derivative by the
#: logits), as of labels.
_soft_cross_entropy = Op(
    "soft_cross_entropy",
    _soft_forward,
    vjp=dict(logits=_soft_logits, target=_soft_target),
    outputs=("loss", "dlogits"),
    promotes=("logits", "target"),
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
    _check_reduction("cross_entropy", reduction)
    logits, target, axis = _by_class("cross_entropy", "logits", logits, target, probabilities=True)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing {label_smoothing} is not in [0, 1]")
    weight = _class_weight("cross_entropy", weight, logits, target, axis)
    if target.dtype.kind == "f":
        classes = logits.shape[axis]
        if label_smoothing:
            target = (1 - label_smoothing) * target + label_smoothing / classes
        if weight is not None:
            target = target * weight.reshape((classes,) + (1,) * (logits.ndim - axis - 1))
        rows = (_rows_of(logits, axis), _rows_of(target, axis))
        loss: Tensor = apply(_soft_cross_entropy, rows)[0]
        if logits.ndim != 2:
            loss = reshape(loss, logits.shape[:axis] + logits.shape[axis + 1 :])
        return _reduced(loss, reduction)
    params = {
        "ignore_index": ignore_index,
        "label_smoothing": float(label_smoothing),
        "reduction": reduction,
    }
    return _loss_of_labels("cross_entropy", _cross_entropy, logits, target, weight, axis, params)


def _nll_forward(
    xp: Any, log_p: Any, labels: Any, weight: Any = None, *, ignore_index: int, reduction: str
) -> tuple[Any, Any]:
    outside = _refuse_labels(xp, "nll_loss", labels, log_p.shape[1], ignore_index)
    used = (labels != ignore_index) & ~outside
    safe = xp.where(used, labels, 0)
    picked = widened(log_p[xp.arange(log_p.shape[0]), safe])
    share = xp.astype(xp.where(used, 1 if weight is None else weight[safe], 0), picked.dtype)
    # A row that does not count is 0, even where its log-probability is -inf.
    loss = xp.where(outside, xp.nan, share * xp.where(share == 0, 0, -picked))
    loss, total = _reduced_rows(xp, loss, safe, used, weight, reduction)
    return narrowed(loss, log_p), total


def _nll_log_p(
    g_loss: Tensor | None,
    total: Tensor,
    labels: Tensor,
    weight: Tensor | None,
    log_p_shape: tuple[int, int],
    log_p_dtype: Any,
    ignore_index: int,
    reduction: str,
) -> Tensor | None:
    if g_loss is None:  # `total` does not depend on log_p
        return None
    target = _target(
        labels,
        weight,
        classes=log_p_shape[1],
        ignore_index=ignore_index,
        label_smoothing=0.0,
        dtype=log_p_dtype,
    )
    return -_per_row(g_loss, total, reduction) * target


#: Rows of log-probabilities (n, c) and labels (n,) -> (what each label's is, negated and weighted,
#: or reduced; by what the sum was divided).
_nll = Op(
    "nll_loss",
    _nll_forward,
    vjp=dict(log_p=_nll_log_p),
    outputs=("loss", "total"),
    promotes=("log_p", "weight"),
    floating=True,
)


def nll_loss(
    log_p: Tensor,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return -log_p of the label's class: `cross_entropy` from log-probabilities.

    log_p: (c,), (n, c) or (n, c, ...), as `log_softmax` gives them. target: integer labels of the
    shape without c. The rest, the mean included, is as in `cross_entropy`.
    """
    _check_reduction("nll_loss", reduction)
    log_p, target, axis = _by_class("nll_loss", "log-probabilities", log_p, target)
    weight = _class_weight("nll_loss", weight, log_p, target, axis)
    params = {"ignore_index": ignore_index, "reduction": reduction}
    return _loss_of_labels("nll_loss", _nll, log_p, target, weight, axis, params)


def _by_class(
    name: str, what: str, scores: Any, target: Any, probabilities: bool = False
) -> tuple[Tensor, Tensor, int]:
    """Return scores by class and their target as tensors that fit, and the axis of the classes.

    what: what the scores are called in errors. probabilities: whether the target may be class
    probabilities as well as labels.
    """
    scores, target = _tensors(name, scores, target)
    if not scores.ndim:
        raise ValueError(f"{name}: {what} need an axis of classes, got a 0-d tensor")
    axis = 1 if scores.ndim > 1 else 0
    if not scores.shape[axis]:
        raise ValueError(f"{name}: expected at least one class, got {what} of shape {scores.shape}")
    soft = probabilities and target.dtype.kind == "f"
    if not soft and target.dtype.kind not in "iu":
        expected = "integer labels or class probabilities" if probabilities else "integer labels"
        raise TypeError(f"{name}: expected {expected}, got {target.dtype}")
    shape = scores.shape if soft else scores.shape[:axis] + scores.shape[axis + 1 :]
    if target.shape != shape:
        raise ValueError(
            f"{name}: for {what} of shape {scores.shape}, "
            f"{'class probabilities' if soft else 'labels'} have shape {shape}, "
            f"not {target.shape}{_if_labels_were_meant(target, scores, axis)}"
        )
    return scores, target, axis


def _if_labels_were_meant(target: Tensor, scores: Tensor, axis: int) -> str:
    labels = target.shape == scores.shape[:axis] + scores.shape[axis + 1 :]
    return f"; labels are integers, not {target.dtype}: target.astype('int64')" if labels else ""


def _tensors(name: str, prediction: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Return both as tensors; TypeError for complex numbers."""
    prediction = as_tensor(prediction)
    if not isinstance(target, Tensor):
        target = asarray(target, copy=True, backend=prediction.backend)  # the tape may keep it
    require_reals(prediction, target, name=name)
    return prediction, target


def _beside(prediction: Tensor, target: Tensor, factors: Any, name: str) -> Tensor:
    """Return factors as a tensor, float64 only where the prediction or the target is.

    Criteria keep what NumPy made as it is. TypeError for complex numbers.
    """
    tensor = constant_like(factors, prediction)
    require_reals(tensor, name=name)
    if tensor.dtype == np.float64:
        loss = common_dtype([prediction.dtype, target.dtype, np.dtype(np.float32)])
        tensor = astype(tensor, loss, copy=False)
    return tensor


def _class_weight(
    name: str, weight: Any, scores: Tensor, target: Tensor, axis: int
) -> Tensor | None:
    """Return the factors of the classes as a tensor; ValueError where there is not one for each."""
    if weight is None:
        return None
    factors, classes = _beside(scores, target, weight, name), scores.shape[axis]
    if factors.shape != (classes,):
        raise ValueError(
            f"{name}: expected one weight for each of {classes} classes, got shape {factors.shape}"
        )
    return factors


def _loss_of_labels(
    name: str,
    op: Op,
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None,
    axis: int,
    params: dict[str, Any],
) -> Tensor:
    """Return the losses that op(scores (n, c), labels (n,)) gives, in target's shape or reduced."""
    labels = target
    if scores.ndim != 2:
        labels = _FLAT_LABELS[name](
            target, classes=scores.shape[axis], ignore_index=params["ignore_index"]
        )
    loss: Tensor = apply(op, (_rows_of(scores, axis), labels, weight), params)[0]
    if params["reduction"] == "none" and scores.ndim != 2:
        return reshape(loss, target.shape)
    return loss


def _rows_of(x: Tensor, axis: int) -> Tensor:
    """Return a matrix with the axis of the classes last."""
    if x.ndim == 2:  # where it is the last already
        return x
    order = (*range(axis), *range(axis + 1, x.ndim), axis)
    flat = x if axis == x.ndim - 1 else permute_dims(x, order)
    return reshape(flat, (x.size // x.shape[axis], x.shape[axis]))


def _per(count: float, loss: Tensor) -> Tensor:
    """Return the sum of the losses over a count, which float16 may not hold, nor that sum."""
    mean: Tensor = narrowed(widened(loss).sum() / count, loss)
    return mean


def _check_reduction(name: str, reduction: str, *more: str) -> None:
    known = ["none", "mean", "sum", *more]
    if reduction not in known:
        *first, last = (f'"{word}"' for word in known)
        raise ValueError(
            f"{name}: reduction must be {', '.join(first)} or {last}, not {reduction!r}"
        )


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    """Return the losses, their sum or their mean, which is 0 where there are none."""
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" or not loss.size else loss.mean()


def _pair(
    name: str, prediction: Any, target: Any, reduction: str, *more: str
) -> tuple[Tensor, Tensor]:
    """Return what an elementwise loss compares as tensors; ValueError unless of one shape.

    more: reductions beside those of all losses.
    """
    _check_reduction(name, reduction, *more)
    prediction, target = _tensors(name, prediction, target)
    if prediction.shape != target.shape:
        raise ValueError(
            f"{name}: prediction of shape {prediction.shape} and target of shape {target.shape}; "
            "reshape one of them, as by target[:, None], so that they agree"
        )
    return prediction, target


def mse_loss(prediction: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """Return the squared differences, or their mean, 0 where there are none, or their sum.

    Prediction and target have one shape: ValueError for others.
    """
    prediction, target = _pair("mse_loss", prediction, target, reduction)
    return _reduced((prediction - target) ** 2, reduction)


def l1_loss(prediction: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """Return the absolute differences, or their mean, 0 where there are none, or their sum.

    Prediction and target have one shape: ValueError for others.
    """
    prediction, target = _pair("l1_loss", prediction, target, reduction)
    return _reduced((prediction - target).abs(), reduction)


def _smooth_l1_forward(xp: Any, d: Any, *, beta: float) -> Any:
    limited = xp.minimum(xp.maximum(d, -beta), beta)
    return (limited / beta) * (d - limited / 2)


#: d² / 2 beta for d up to ±beta and |d| - beta / 2 beyond.
_smooth_l1 = elementwise(
    "smooth_l1",
    _smooth_l1_forward,
    vjp=dict(d=lambda g, d, beta: g * (clip(d, -beta, beta) / beta)),
    floating=True,
)


def smooth_l1_loss(
    prediction: Tensor, target: Any, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """Return d² / 2 beta for differences d up to ±beta and |d| - beta / 2 beyond, or mean or sum.

    beta 0 is `l1_loss`. The mean of no differences is 0. ValueError for shapes that differ and for
    a beta below 0. Girshick, "Fast R-CNN" (2015), equation 3.
    """
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss: beta must be at least 0, got {beta}")
    if beta == 0:
        return l1_loss(prediction, target, reduction)
    prediction, target = _pair("smooth_l1_loss", prediction, target, reduction)
    return _reduced(_smooth_l1(prediction - target, beta=float(beta)), reduction)


def huber_loss(
    prediction: Tensor, target: Any, reduction: str = "mean", delta: float = 1.0
) -> Tensor:
    """Return d² / 2 for differences d up to ±delta and delta · (|d| - delta / 2) beyond.

    That is delta times `smooth_l1_loss`, or the mean or sum. The mean of no differences is 0.
    ValueError for shapes that differ and for a delta that is not above 0. Huber, "Robust estimation
    of a location parameter" (1964).
    """
    if not delta > 0:
        raise ValueError(f"huber_loss: delta must be above 0, got {delta}")
    prediction, target = _pair("huber_loss", prediction, target, reduction)
    loss = delta * _smooth_l1(prediction - target, beta=float(delta))
    return _reduced(loss, reduction)


def _divergence_forward(xp: Any, log_p: Any, target: Any) -> Any:
    q = xp.exp(target)
    never = q == 0
    return q * (xp.where(never, 0, target) - xp.where(never, 0, log_p))


#: exp(target) · (target - log_p), 0 where exp(target) is 0.
_divergence: Op = elementwise(
    "kl_div_of_logarithms",
    _divergence_forward,
    vjp=dict(
        log_p=lambda g, target: g * -exp(target),
        target=lambda g, log_p, target: g * (exp(target) + _divergence(log_p, target)),
    ),
    floating=True,
)


def kl_div(log_p: Tensor, target: Any, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """Return target · (log target - log_p), of which the sum is the divergence of target from p.

    log_p: log-probabilities. target: probabilities of the same shape, or their logarithms where
    log_target. What has probability 0 counts nothing. reduction: "none", "sum", "mean", of all
    elements, or "batchmean", the sum over the length of axis 0. ValueError for shapes that differ.
    Kullback & Leibler, "On information and sufficiency" (1951).
    """
    log_p, target = _pair("kl_div", log_p, target, reduction, "batchmean")
    if log_target:
        terms = _divergence(log_p, target)
    else:
        terms = xlogy(target, target) - absorb(target, log_p)
    if reduction == "batchmean":
        return _per(max(log_p.shape[0], 1) if log_p.ndim else 1, terms)
    return _reduced(terms, reduction)


_MOST = 100.0  # what a probability of 0 costs, as in PyTorch


def _probability_forward(xp: Any, p: Any, target: Any) -> Any:
    name = "binary_cross_entropy"
    xp.refuse((p < 0) | (p > 1), p, f"{name}: probabilities must lie in [0, 1]")
    never, always = p <= 0, p >= 1
    yes = xp.where(never, _MOST, xp.minimum(-xp.log(xp.where(never, 1, p)), _MOST))
    no = xp.where(always, _MOST, xp.minimum(-xp.log1p(-xp.where(always, 0, p)), _MOST))
    return target * yes + (1 - target) * no


def _probability_p(g: Tensor, p: Tensor, target: Tensor) -> Tensor:
    least = 1e-12 if p.dtype != np.float16 else 2.0**-15  # finite at 0 and 1, as in PyTorch
    return g * ((p - target) / maximum(p * (1 - p), least))


#: -target · log p - (1 - target) · log(1 - p), each logarithm at least -100.
_probability: Op = elementwise(
    "binary_cross_entropy",
    _probability_forward,
    vjp=dict(
        p=_probability_p,
        target=lambda g, p: g * (_probability(p, 1.0) - _probability(p, 0.0)),
    ),
    floating=True,
)


def binary_cross_entropy(
    p: Tensor, target: Any, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """Return -target · log p - (1 - target) · log(1 - p), or the mean or sum.

    p: probabilities, ValueError outside [0, 1]; a logarithm counts as -100 below that. From logits,
    `binary_cross_entropy_with_logits` is exact. target: probabilities of p's shape. weight: factors
    of the losses that broadcast to it. The mean of no losses is 0.
    """
    name = "binary_cross_entropy"
    p, target = _pair(name, p, target, reduction)
    weight = _factors(name, "weight", weight, p, target)
    loss: Tensor = _probability(p, target)
    return _reduced(loss if weight is None else loss * weight, reduction)


def _binary_forward(xp: Any, logits: Any, target: Any, pos_weight: Any = None) -> Any:
    yes, no = target, 1 - target
    if pos_weight is not None:
        yes = yes * pos_weight
    small = xp.log1p(xp.exp(-xp.abs(logits)))  # at most log 2: exp(-logits) would overflow
    # As in absorb: what has no share in the target counts nothing, even where it is infinite.
    return yes * xp.where(yes == 0, yes, xp.maximum(-logits, 0) + small) + no * xp.where(
        no == 0, no, xp.maximum(logits, 0) + small
    )


def _binary_logits(g: Tensor, logits: Tensor, target: Tensor, pos_weight: Tensor | None) -> Tensor:
    if pos_weight is None:
        return g * (sigmoid(logits) - target)
    yes = pos_weight * target
    return g * (sigmoid(logits) * (yes + (1 - target)) - yes)


def _binary_target(g: Tensor, logits: Tensor, pos_weight: Tensor | None) -> Tensor:
    if pos_weight is None:
        return g * -logits
    return g * ((pos_weight - 1) * _surprise(logits) - logits)


def _surprise(logits: Tensor) -> Tensor:
    """Return -log sigmoid(logits)."""
    surprise: Tensor = _binary(logits, ones_like(logits))
    return surprise


#: With p = sigmoid(logits): -pos_weight · target · log p - (1 - target) · log(1 - p).
_binary: Op = elementwise(
    "binary_cross_entropy_with_logits",
    _binary_forward,
    vjp=dict(
        logits=_binary_logits,
        target=_binary_target,
        pos_weight=lambda g, logits, target: g * (target * _surprise(logits)),
    ),
    floating=True,
)


def binary_cross_entropy_with_logits(
    logits: Tensor,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Tensor:
    """Return -target · log p - (1 - target) · log(1 - p) for p = sigmoid(logits), or mean or sum.

    target: probabilities of logits' shape. weight: factors of the losses, pos_weight: of the part
    of target alone; both broadcast to that shape. The mean of no losses is 0.
    ValueError for shapes that do not fit.
    """
    name = "binary_cross_entropy_with_logits"
    logits, target = _pair(name, logits, target, reduction)
    weight = _factors(name, "weight", weight, logits, target)
    pos_weight = _factors(name, "pos_weight", pos_weight, logits, target)
    loss: Tensor = _binary(logits, target, pos_weight)
    return _reduced(loss if weight is None else loss * weight, reduction)


def _factors(
    name: str, what: str, values: Any, prediction: Tensor, target: Tensor
) -> Tensor | None:
    """Return values as a tensor; ValueError unless they broadcast to the prediction's shape."""
    if values is None:
        return None
    factors = _beside(prediction, target, values, name)
    pairs = zip(reversed(factors.shape), reversed(prediction.shape), strict=False)
    if factors.ndim > prediction.ndim or any(n not in (1, m) for n, m in pairs):
        raise ValueError(
            f"{name}: {what} of shape {factors.shape} does not broadcast to the prediction of "
            f"shape {prediction.shape}"
        )
    return factors
