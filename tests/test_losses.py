"""Losses: from the definition, as PyTorch has them, at the ends of the range, refused."""

from itertools import product

import numpy as np
import pytest
from on_backend import tensor

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F

X = np.random.default_rng(0).normal(size=(3, 4))
SHARES = np.random.default_rng(2).random(X.shape)


pytestmark = pytest.mark.usefixtures("on_each_backend")


LABELS, WEIGHT = np.array([1, 3, -100]), np.array([1.0, 2.0, 0.5, 3.0])
LOGP = X - np.log(np.exp(X).sum(1, keepdims=True))


def picked(smoothing=0.0, weight=1.0):
    """The losses of the rows with labels 1 and 3, from the definition."""
    target = (1 - smoothing) * np.eye(4)[[1, 3]] + smoothing / 4
    return -(target * weight * LOGP[:2]).sum(axis=1)


LOSSES = {
    "mse": (lambda: nn.MSELoss(), 2 * X, (X**2).mean()),
    "mse sum": (lambda: nn.MSELoss("sum"), 2 * X, (X**2).sum()),
    "mse none": (lambda: nn.MSELoss(reduction="none"), 2 * X, X**2),
    "l1": (lambda: nn.L1Loss(), 2 * X, np.abs(X).mean()),
    "smooth l1": (lambda: nn.SmoothL1Loss(beta=100), 2 * X, (X**2 / 200).mean()),
    "smooth l1 without squares": (lambda: nn.SmoothL1Loss("sum", 0), 2 * X, np.abs(X).sum()),
    "huber": (lambda: nn.HuberLoss(delta=100), 2 * X, (X**2 / 2).mean()),
    "kl": (lambda: nn.KLDivLoss(), SHARES, (SHARES * (np.log(SHARES) - X)).mean()),
    "bce": (lambda: nn.BCEWithLogitsLoss(), 0 * X, np.log1p(np.exp(X)).mean()),
    "bce weights": (
        lambda: nn.BCEWithLogitsLoss(WEIGHT, "none", pos_weight=tensor(2.0)),
        1 + 0 * X,
        2 * WEIGHT * np.log1p(np.exp(-X)),
    ),
    "ce": (lambda: nn.CrossEntropyLoss(), LABELS, picked().mean()),
    "ce none": (lambda: nn.CrossEntropyLoss(reduction="none"), LABELS, [*picked(), 0]),
    "ce ignore": (lambda: nn.CrossEntropyLoss(ignore_index=3), [1, 3, 3], picked()[0]),
    "ce weight": (lambda: nn.CrossEntropyLoss(WEIGHT), LABELS, picked(weight=WEIGHT).sum() / 5),
    "ce smooth": (
        lambda: nn.CrossEntropyLoss(label_smoothing=0.1, reduction="sum"),
        LABELS,
        picked(0.1).sum(),
    ),
    "ce smooth, weight": (
        lambda: nn.CrossEntropyLoss(weight=tensor(WEIGHT), label_smoothing=0.1),
        LABELS,
        picked(0.1, WEIGHT).sum() / 5,
    ),
}


@pytest.mark.parametrize(("criterion", "target", "expected"), LOSSES.values(), ids=LOSSES)
def test_losses(criterion, target, expected):
    loss = criterion()(tensor(X), target)
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (nn.CrossEntropyLoss, "weight"),
        (nn.NLLLoss, "weight"),
        (nn.BCELoss, "weight"),
        (nn.BCEWithLogitsLoss, "weight"),
        (nn.BCEWithLogitsLoss, "pos_weight"),
    ],
)
def test_the_factors_of_a_loss_are_buffers(kind, name):
    criterion = kind(**{name: WEIGHT})
    state = {name: x.tolist() for name, x in criterion.state_dict().items()}
    assert state == {name: WEIGHT.tolist()}
    assert list(criterion.parameters()) == []
    assert kind().state_dict() == {}


WEIGHTED = {
    "ce": (lambda w: nn.CrossEntropyLoss(w), np.array([1, 3, 0])),
    "ce of probabilities": (lambda w: nn.CrossEntropyLoss(w), SHARES),
    "nll": (lambda w: nn.NLLLoss(w), np.array([1, 3, 0])),
    "bce of probabilities": (lambda w: nn.BCELoss(w), SHARES),
    "bce": (lambda w: nn.BCEWithLogitsLoss(w, pos_weight=w), SHARES),
    "bce by a function": (
        lambda w: lambda x, t: F.binary_cross_entropy_with_logits(x, t, w, pos_weight=w),
        SHARES,
    ),
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("of", [np.asarray, tensor], ids=["array", "tensor"])
@pytest.mark.parametrize(("criterion", "target"), WEIGHTED.values(), ids=WEIGHTED)
def test_weights_make_no_loss_float64(criterion, target, of, dtype):
    target = target.astype(dtype) if target.dtype.kind == "f" else target
    x = tensor(SHARES.astype(dtype), requires_grad=True)
    loss = criterion(of(WEIGHT))(x, target)
    loss.backward()
    assert x.grad.dtype == dtype
    assert (loss.dtype == np.float64) == (dtype == np.float64)
    exact = criterion(WEIGHT)(tensor(SHARES), target)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-2 if dtype == np.float16 else 1e-5)


# As PyTorch has them: minigrad's module, PyTorch's name of it, target, options

REDUCTIONS = ("none", "sum", "mean")
NEAR = X + np.random.default_rng(1).normal(size=X.shape)
HITS = (SHARES > 0.5).astype(float)
FACTORS = np.array([0.5, 1.0, 2.0, 0.0])
SPREAD = np.random.default_rng(3).random((3, 1))
MAPS = np.random.default_rng(4).normal(size=(2, 3, 4, 5))
PLACES = np.random.default_rng(5).integers(0, 3, (2, 4, 5))


def grid(**options):
    """Return every choice of one value for each option."""
    return [dict(zip(options, values, strict=True)) for values in product(*options.values())]


AGAINST_PYTORCH = [
    *(("MSELoss", X, NEAR, options) for options in grid(reduction=REDUCTIONS)),
    *(("L1Loss", X, NEAR, options) for options in grid(reduction=REDUCTIONS)),
    *(
        ("SmoothL1Loss", X, NEAR, options)
        for options in grid(reduction=REDUCTIONS, beta=(0.0, 0.1, 1.0, 7.5))
    ),
    *(
        ("BCEWithLogitsLoss", X, target, options)
        for target in (SHARES, HITS)
        for options in grid(
            weight=(None, FACTORS, SPREAD), reduction=REDUCTIONS, pos_weight=(None, FACTORS)
        )
    ),
    *(
        (name, scores, target, options)
        for name in ("NLLLoss", "CrossEntropyLoss")
        for scores, target, weights in [
            (X, np.array([1, 3, 0]), (None, FACTORS)),
            (X[0], np.array(2), (None, FACTORS)),
            (MAPS, PLACES, (None, FACTORS[:3])),
        ]
        for options in grid(weight=weights, ignore_index=(-100, 0), reduction=REDUCTIONS)
    ),
]


@pytest.mark.parametrize(("name", "x", "target", "options"), AGAINST_PYTORCH)
def test_value_and_gradient_are_pytorchs(name, x, target, options):
    torch = pytest.importorskip("torch", reason="compares with PyTorch (minigrad[compare])")
    theirs = torch.tensor(x, requires_grad=True)
    arrays = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    expected = getattr(torch.nn, name)(**arrays)(theirs, torch.tensor(target))
    expected.backward(torch.ones_like(expected))
    ours = tensor(x, requires_grad=True)
    found = getattr(nn, name)(**options)(ours, target)
    found.backward(np.ones(found.shape))
    np.testing.assert_allclose(
        found.detach().numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-10
    )
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("num_classes", [-1, 4, 7])
@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_one_hot_is_pytorchs(shape, num_classes):
    torch = pytest.importorskip("torch", reason="compares with PyTorch (minigrad[compare])")
    labels = np.random.default_rng(0).integers(0, 4, shape)
    expected = torch.nn.functional.one_hot(torch.tensor(labels), num_classes).numpy()
    for given in (tensor(labels), labels, labels.tolist()):
        found = mg.one_hot(given, num_classes)
        assert found.dtype == mg.int64
        np.testing.assert_array_equal(found.numpy(), expected)


TWICE = {
    "huber": lambda x, t: F.huber_loss(x, t, delta=0.7),
    "kl": lambda x, t: F.kl_div(x, t),
    "kl of logarithms": lambda x, t: F.kl_div(x, t, "batchmean", log_target=True),
    "smooth_l1": lambda x, t: F.smooth_l1_loss(x, t, beta=0.7),
    "smooth_l1 none": lambda x, t: F.smooth_l1_loss(x, t, "none", beta=0.7),
    "l1": lambda x, t: F.l1_loss(x, t) ** 2,
    "bce": lambda x, t: F.binary_cross_entropy_with_logits(x, t),
    "bce weight": lambda x, t: F.binary_cross_entropy_with_logits(
        x, t, FACTORS, "sum", pos_weight=FACTORS
    ),
    "nll": lambda x, t: F.nll_loss(F.log_softmax(x * t), np.array([1, 3, 0]), FACTORS),
}


@pytest.mark.parametrize("f", TWICE.values(), ids=TWICE)
def test_second_derivatives(f):
    assert mg.gradcheck(f, [tensor(X), tensor(SHARES)], order=2)


def test_the_second_derivative_of_smooth_l1_where_there_is_no_difference():
    x = tensor([2.0], requires_grad=True)
    loss = F.smooth_l1_loss(x, [2.0], beta=0.5)
    (slope,) = mg.autograd.grad(loss, x, create_graph=True)
    (curvature,) = mg.autograd.grad(slope.sum(), x)
    assert (slope.item(), curvature.item()) == (0, 2)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_ends_of_the_range(dtype):
    far, target = np.array([-1e4, 1e4, -1e4, 1e4], dtype), np.array([0, 1, 1, 0], dtype)
    x = tensor(far, requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(x, target, reduction="none")
    loss.backward(np.ones(4, dtype))
    assert x.grad.dtype == dtype
    assert (loss.dtype == np.float64) == (dtype == np.float64)
    assert loss.tolist() == np.array([0, 0, 1e4, 1e4], dtype).tolist()
    assert x.grad.tolist() == [0, 0, -1, 1]
    for function in (F.l1_loss, F.smooth_l1_loss, F.huber_loss):
        x = tensor(far, requires_grad=True)
        loss = function(x, np.zeros(4, dtype), "none")
        loss.backward(np.ones(4, dtype))
        assert loss.dtype == x.grad.dtype == dtype
        np.testing.assert_allclose(loss.detach().numpy(), np.abs(far), atol=0.5)
        assert x.grad.tolist() == [-1, 1, -1, 1]


def test_sure_logits_and_infinite_log_probabilities():
    x = tensor([np.inf, -np.inf], requires_grad=True)
    F.binary_cross_entropy_with_logits(x, [1.0, 0.0], reduction="sum").backward()
    assert x.grad.tolist() == [0, 0]
    log_p = tensor([[0.0, -np.inf], [-np.inf, 0.0]], requires_grad=True)
    loss = F.nll_loss(log_p, [0, -100])
    loss.backward()
    assert loss.item() == 0
    assert log_p.grad.tolist() == [[-1, 0], [0, 0]]


@pytest.mark.parametrize("log_target", [False, True])
@pytest.mark.parametrize("impossible", [-np.inf, -1.0, np.inf])
def test_a_target_of_probability_0_counts_nothing(impossible, log_target):
    log_p = tensor([impossible, 0.0], requires_grad=True)
    target = tensor([-np.inf, 0.0] if log_target else [0.0, 1.0], requires_grad=log_target)
    loss = F.kl_div(log_p, target, "sum", log_target)
    loss.backward()
    assert (loss.item(), log_p.grad.tolist()) == (0, [0, -1])
    assert not log_target or target.grad.tolist() == [0, 1]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_sure_probabilities(dtype):
    p = tensor(np.array([0, 1, 0, 1], dtype), requires_grad=True)
    loss = F.binary_cross_entropy(p, np.array([0, 1, 1, 0], dtype), reduction="none")
    assert (loss.dtype, loss.tolist()) == (dtype, [0, 0, 100, 100])
    loss[:2].sum().backward()
    assert p.grad.tolist() == [0, 0, 0, 0]


def test_divergence_of_a_batch():
    loss = F.kl_div(tensor(X), np.log(SHARES), "batchmean", log_target=True)
    expected = (SHARES * (np.log(SHARES) - X)).sum() / 3
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    assert F.kl_div(tensor(np.zeros((0, 2))), np.zeros((0, 2)), "batchmean").item() == 0


def test_half_precision_over_more_classes_than_it_counts():
    """The sum of the exponentials is beyond what float16 holds."""
    logits = tensor(np.zeros((1, 70_000), np.float16), requires_grad=True)
    labels = np.array([3])
    loss = F.cross_entropy(logits, labels, label_smoothing=0.1)
    loss.backward()
    gradient = np.full(70_000, 0.9 / 70_000)
    gradient[3] -= 0.9
    np.testing.assert_allclose(loss.item(), np.log(70_000), rtol=1e-3)
    np.testing.assert_allclose(logits.grad.numpy()[0], gradient, rtol=4e-3, atol=1e-7)
    for found in (F.log_softmax(logits).detach(), mg.log(F.softmax(logits)).detach()):
        np.testing.assert_allclose(found.numpy(), -np.log(70_000), rtol=1e-3)


ROWS = 70_000  # more than float16 counts
AVERAGES = {
    "nll": (lambda x, labels: F.nll_loss(x, labels), 1.0),
    "nll weighted": (lambda x, labels: F.nll_loss(x, labels, [2.0, 1.0]), 1.0),
    "ce": (lambda x, labels: F.cross_entropy(x, labels), np.log(2)),
    "kl": (lambda x, labels: F.kl_div(x, np.ones((ROWS, 2), np.float16), "batchmean"), 2.0),
}


@pytest.mark.parametrize(("loss", "expected"), AVERAGES.values(), ids=AVERAGES)
def test_means_of_float16_hold_what_their_sums_do_not(loss, expected):
    x = tensor(np.full((ROWS, 2), -1, np.float16), requires_grad=True)
    found = loss(x, np.zeros(ROWS, int))
    found.backward()
    assert found.dtype == x.grad.dtype == np.float16
    assert found.item() == pytest.approx(expected, rel=1e-3)
    share = 0.5 if expected == np.log(2) else 1  # of the label's probability
    np.testing.assert_allclose(x.grad.numpy()[:, 0], -share / ROWS, rtol=0.01)


def test_rows_of_large_losses_have_a_mean_in_float16():
    logits = np.tile(np.array([[-1e4, 0]], np.float16), (200, 1))
    for loss in (F.cross_entropy, F.nll_loss):
        assert loss(tensor(logits), np.zeros(200, int)).item() == 1e4


@pytest.mark.parametrize(
    "loss",
    [
        F.mse_loss,
        F.l1_loss,
        F.smooth_l1_loss,
        F.huber_loss,
        F.kl_div,
        F.binary_cross_entropy,
        F.binary_cross_entropy_with_logits,
    ],
)
def test_the_tape_keeps_no_memory_of_the_users(loss):
    """A prediction may be an array, which is filled anew before backward."""
    given, target = SHARES.copy(), tensor(HITS, requires_grad=True)
    found = loss(given, target)
    given[...] = 0.9
    found.backward()
    again = tensor(HITS, requires_grad=True)
    loss(tensor(SHARES), again).backward()
    np.testing.assert_array_equal(target.grad.numpy(), again.grad.numpy())


@pytest.mark.parametrize("weight", [None, [1.0, 2.0]])
@pytest.mark.parametrize("labels", [[-100, -100], np.empty(0, np.int64)], ids=str)
def test_nll_without_a_valid_row(labels, weight):
    log_p = tensor(np.zeros((len(labels), 2)), requires_grad=True)
    loss = F.nll_loss(log_p, labels, weight)
    loss.backward()
    assert loss.item() == 0
    np.testing.assert_array_equal(log_p.grad.numpy(), np.zeros((len(labels), 2)))


EMPTY = {
    "mse": (F.mse_loss, "all"),
    "l1": (F.l1_loss, "all"),
    "smooth l1": (F.smooth_l1_loss, "all"),
    "huber": (F.huber_loss, "all"),
    "kl": (F.kl_div, "all"),
    "bce of probabilities": (F.binary_cross_entropy, "all"),
    "bce": (F.binary_cross_entropy_with_logits, "all"),
    "ce of probabilities": (F.cross_entropy, "probabilities"),
    "ce of labels": (F.cross_entropy, "labels"),
    "nll": (F.nll_loss, "labels"),
}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(0, 3), (2, 3, 0)], ids=str)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("loss", "targets"), EMPTY.values(), ids=EMPTY)
def test_nothing_costs_nothing(loss, targets, dtype, shape, reduction):
    rows = shape[:1] + shape[2:]
    target = np.zeros(rows, int) if targets == "labels" else np.zeros(shape, dtype)
    x = tensor(np.zeros(shape, dtype), requires_grad=True)
    found = loss(x, target, reduction=reduction)
    found.sum().backward()
    assert (found.shape, found.dtype) == (
        () if reduction != "none" else shape if targets == "all" else rows,
        dtype,
    )
    assert found.sum().item() == 0
    assert (x.grad.shape, x.grad.dtype) == (shape, dtype)


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 0), (2, 0, 3)], ids=str)
def test_no_classes(shape):
    rows = shape[:1] + shape[2:] if len(shape) > 1 else ()
    for loss, target in [
        (F.cross_entropy, np.zeros(shape)),
        (F.cross_entropy, np.zeros(rows, int)),
        (F.nll_loss, np.zeros(rows, int)),
    ]:
        with pytest.raises(ValueError, match=rf"^{loss.__name__}: expected at least one class"):
            loss(mg.zeros(shape), target)


def test_targets_may_be_integers_or_booleans():
    for target in ([1, 0], [True, False]):
        loss = F.binary_cross_entropy_with_logits(tensor([0.5, 0.5]), target, reduction="none")
        np.testing.assert_allclose(loss.numpy(), np.log1p(np.exp([-0.5, 0.5])), rtol=1e-6)
        assert loss.dtype == mg.float32


def test_factors_given_as_numbers_are_exact_in_float64():
    x = tensor(np.array([0.0]))
    found = F.binary_cross_entropy_with_logits(x, np.array([1.0]), 0.1, pos_weight=[0.3])
    assert found.item() == pytest.approx(0.03 * np.log(2), rel=1e-15)
    assert F.nll_loss(-1 + tensor(np.zeros((1, 2))), [0], [0.1, 1], reduction="sum").item() == 0.1


def ones(*shape):
    return mg.ones(shape)


REFUSED = {
    "l1": (lambda: F.l1_loss(ones(2), ones(3)), r"l1_loss: prediction .*\(2,\).*target .*\(3,\)"),
    "smooth": (
        lambda: F.smooth_l1_loss(ones(2), ones(2, 1)),
        r"smooth_l1_loss: .*\(2,\).*\(2, 1\)",
    ),
    "beta": (
        lambda: nn.SmoothL1Loss(beta=-1)(ones(2), ones(2)),
        "smooth_l1_loss: beta must be at least 0, got -1",
    ),
    "delta": (
        lambda: F.huber_loss(ones(2), ones(2), delta=0),
        "huber_loss: delta .* above 0, got 0",
    ),
    "kl": (lambda: F.kl_div(ones(2), ones(3)), r"kl_div: .*\(2,\).*\(3,\)"),
    "bce of probabilities": (
        lambda: nn.BCELoss()(1.5 * ones(2), ones(2)).item(),
        r"binary_cross_entropy: .*\[0, 1\]; got 1",
    ),
    "bce": (
        lambda: nn.BCEWithLogitsLoss()(ones(2, 1), ones(2)),
        r"binary_cross_entropy_with_logits: .*\(2, 1\).*\(2,\)",
    ),
    "weight": (
        lambda: nn.BCEWithLogitsLoss([1.0, 2.0, 3.0])(ones(2), ones(2)),
        r"binary_.*: weight of shape \(3,\) does not broadcast to the prediction of shape \(2,\)",
    ),
    "pos_weight": (
        lambda: nn.BCEWithLogitsLoss(pos_weight=np.ones((2, 2)))(ones(2), ones(2)),
        r"binary_.*: pos_weight of shape \(2, 2\) does not broadcast",
    ),
    "reduction": (
        lambda: nn.L1Loss("avg")(ones(2), ones(2)),
        'l1_loss: reduction must be "none", "mean" or "sum", not \'avg\'',
    ),
    "reduction of labels": (
        lambda: nn.NLLLoss(reduction="batchmean")(ones(2, 3), [0, 1]),
        'nll_loss: reduction must be "none", "mean" or "sum", not \'batchmean\'',
    ),
    "reduction of a divergence": (
        lambda: F.kl_div(ones(2), ones(2), "batch_mean"),
        'kl_div: reduction must be "none", "mean", "sum" or "batchmean", not \'batch_mean\'',
    ),
    "labels of another shape": (
        lambda: F.nll_loss(ones(2, 3), [0]),
        r"nll_loss: for log-probabilities of shape \(2, 3\), labels have shape \(2,\), not \(1,\)",
    ),
    "no classes": (
        lambda: F.nll_loss(mg.tensor(0.0), 0),
        "nll_loss: log-probabilities need an axis of classes, got a 0-d tensor",
    ),
    "weights of classes": (
        lambda: nn.NLLLoss([1.0, 2.0])(ones(2, 3), [0, 1]),
        r"nll_loss: expected one weight for each of 3 classes, got shape \(2,\)",
    ),
}


@pytest.mark.parametrize(("call", "says"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(call, says):
    with pytest.raises(ValueError, match="^" + says):
        call()


def test_probabilities_are_no_labels():
    with pytest.raises(TypeError, match=r"^nll_loss: expected integer labels, got float32$"):
        F.nll_loss(ones(2, 3), ones(2, 3))


@pytest.mark.parametrize(
    ("labels", "bad"),
    [
        ([0, 3], "3 at position 1"),
        ([-1, 0], "-1 at position 0"),
        ([[0, 1], [3, 0]], r"3 at position \(1, 0\)"),
    ],
)
@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
def test_a_label_out_of_range_is_named_as_it_was_given(loss, labels, bad):
    scores = ones(2, 3, *np.shape(labels)[1:])
    says = rf"^(softmax_)?{loss.__name__}: labels must lie in \[0, 3\) or be -100; got {bad}"
    with pytest.raises(ValueError, match=says) as caught:
        loss(scores, labels).item()
    if scores.device == "cpu":
        assert str(caught.value).endswith(f"labels: int64 {np.shape(labels)}")
