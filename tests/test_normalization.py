"""Normalizations: accuracy, running statistics, what the tape keeps, what is refused."""

import numpy as np
import pytest
from on_backend import tensor

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F

pytestmark = pytest.mark.usefixtures("on_each_backend")

NORMS = {
    "layer": lambda x: F.layer_norm(x, x.shape[1]),
    "group": lambda x: F.group_norm(x, 1),
    "batch": lambda x: F.batch_norm(x.T, None, None, training=True).T,
}
each_norm = pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape)


@each_norm
def test_a_large_common_part_costs_no_digits(norm):
    x = (1e4 + noise(4, 300)).astype(np.float32)
    wide = x.astype(np.float64)
    expected = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(norm(tensor(x)).numpy(), expected, atol=2e-6)


@each_norm
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_equal_values_become_0_and_have_no_gradient(norm, dtype):
    x = tensor(np.full((2, 7), 1000.3, dtype), requires_grad=True)
    y = norm(x)
    (y * noise(2, 7)).sum().backward()
    assert not y.detach().numpy().any()
    assert x.grad.dtype == dtype
    np.testing.assert_allclose(x.grad.numpy().sum(1), 0, atol=0.5)


@each_norm
def test_float16_is_summed_in_float32(norm):
    x = (300 * noise(2, 3000)).astype(np.float16)  # whose squares add up to more than it holds
    wide = x.astype(np.float64)
    expected = (wide - wide.mean(1, keepdims=True)) / wide.std(1, keepdims=True)
    np.testing.assert_allclose(norm(tensor(x)).numpy(), expected, atol=4e-3)
    np.testing.assert_allclose(
        F.rms_norm(tensor(x), 3000).numpy(),
        wide / np.sqrt((wide * wide).mean(1, keepdims=True)),
        atol=4e-3,
    )


@pytest.mark.parametrize(
    "norm",
    [
        lambda x, w: F.layer_norm(x, 50, w, w),
        lambda x, w: F.rms_norm(x, 50, w),
        lambda x, w: F.group_norm(x, 5, w, w),
        lambda x, w: F.batch_norm(x, None, None, w, w, training=True),
    ],
    ids=["layer", "rms", "group", "batch"],
)
def test_of_what_is_as_large_as_x_the_tape_keeps_x_alone(norm):
    x = tensor(noise(40, 50), requires_grad=True)
    node = norm(x, tensor(np.ones(50), requires_grad=True)).node
    while "normalize" not in node.op.name:
        node = node.parents[0]
    large = [kept for kept in node.saved if isinstance(kept, mg.Tensor) and kept.size >= x.size]
    assert len(large) == 1
    assert large[0].size == x.size


def test_gradients_of_the_weights_alone():
    x, weight = tensor(noise(4, 3)), tensor(np.ones(3), requires_grad=True)
    bias = tensor(np.zeros(3), requires_grad=True)
    y = F.layer_norm(x, 3, weight, bias)
    (y * 2).sum().backward()
    np.testing.assert_allclose(weight.grad.numpy(), 2 * y.detach().numpy().sum(0), atol=1e-12)
    assert bias.grad.tolist() == [8, 8, 8]


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics_are_those_of_all_batches(momentum):
    layer, batches = nn.BatchNorm1d(2, momentum=momentum), 3 + 2 * noise(4, 8, 2)
    for x in batches:
        layer(tensor(x))
    mean, var = np.zeros(2), np.ones(2)
    for number, x in enumerate(batches, 1):
        share = 1 / number if momentum is None else momentum
        mean = (1 - share) * mean + share * x.mean(0)
        var = (1 - share) * var + share * x.var(0, ddof=1)
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(layer.running_var.numpy(), var, rtol=1e-5)
    assert layer.num_batches_tracked.item() == 4
    y = layer.eval()(tensor(batches[0]))
    np.testing.assert_allclose(y.detach().numpy(), (batches[0] - mean) / np.sqrt(var + 1e-5), 1e-4)
    assert layer.num_batches_tracked.item() == 4
    layer.reset_parameters()
    assert layer.running_mean.tolist() == [0, 0]
    assert layer.running_var.tolist() == [1, 1]
    assert layer.num_batches_tracked.item() == 0


def test_the_statistics_of_float16_and_their_gradients_are_finite():
    x = tensor((100 + noise(64, 2)).astype(np.float16), requires_grad=True)
    mean, var = tensor(np.zeros(2, np.float16)), tensor(np.ones(2, np.float16))
    y = F.batch_norm(x, mean, var, training=True, momentum=1.0)
    y.sum().backward()
    assert mean.dtype == var.dtype == x.grad.dtype == np.float16
    np.testing.assert_allclose(mean.numpy(), x.detach().numpy().mean(0), rtol=1e-3)


def test_batches_of_one_and_of_none():
    layer = nn.BatchNorm2d(3)
    with pytest.raises(ValueError, match=r"more than one value; got x of shape \(1, 3, 1, 1\).*ev"):
        layer(mg.ones((1, 3, 1, 1)))
    assert layer.num_batches_tracked.item() == 0
    assert layer(mg.ones((1, 3, 1, 2))).tolist() == [[[[0, 0]]] * 3]
    before = layer.running_mean.tolist()
    x = mg.zeros((0, 3, 2, 2)).requires_grad_()
    layer(x).sum().backward()
    assert layer.running_mean.tolist() == before
    assert x.grad.shape == (0, 3, 2, 2)
    assert layer.eval()(mg.ones((1, 3, 1, 1))).shape == (1, 3, 1, 1)
    for norm in (nn.LayerNorm(3), nn.RMSNorm(3), nn.GroupNorm(3, 3)):
        assert norm(mg.ones((1, 3))).shape == (1, 3)
        assert norm(mg.ones((0, 3))).shape == (0, 3)


def test_without_running_statistics_a_batch_has_its_own():
    layer = nn.BatchNorm1d(2, affine=False, track_running_stats=False).eval()
    y = layer(tensor(noise(8, 2)))
    np.testing.assert_allclose(y.numpy().mean(0), 0, atol=1e-6)
    assert layer.state_dict() == {}


def test_a_transform_sees_through_batch_norm():
    layer, x = nn.BatchNorm1d(2), tensor(noise(6, 2).astype(np.float32))
    params = dict(layer.named_parameters())
    grads = mg.grad(lambda p: (nn.functional_call(layer, p, x) ** 2).sum())(params)
    assert grads["weight"].shape == (2,)
    np.testing.assert_allclose(grads["weight"].detach().numpy(), [12, 12], rtol=1e-3)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: nn.BatchNorm2d(3)(mg.ones((2, 3))), r"BatchNorm2d: .*, width\) .* got \(2, 3"),
        (lambda: nn.BatchNorm1d(3)(mg.ones(3)), r"\(n, num_features\) or .* got \(3,\)"),
        (lambda: nn.BatchNorm1d(3)(mg.ones((2, 4))), r"with num_features=3, got \(2, 4\)"),
        (lambda: nn.GroupNorm(2, 3), "GroupNorm: num_groups=2 must divide num_channels=3"),
        (lambda: nn.LayerNorm((2, 3))(mg.ones((3, 2))), r"=\(2, 3\).* x has shape \(3, 2\)"),
        (
            lambda: F.batch_norm(mg.ones((2, 3)), None, None),
            "without training, running_mean and running_var must be given",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()


@pytest.mark.parametrize("training", [False, True])
def test_running_statistics_that_could_not_be_changed_are_refused(training):
    mean, var = np.zeros(2), np.ones(2)
    with pytest.raises(TypeError, match=r"running_var is changed in place.*not ndarray"):
        F.batch_norm(tensor(noise(8, 2)), tensor(mean), var, training=training)


def test_layers_say_what_they_are():
    assert str(nn.LayerNorm(3)) == "LayerNorm((3,), eps=1e-05, elementwise_affine=True, bias=True)"
    assert str(nn.RMSNorm((2, 3))) == "RMSNorm((2, 3), eps=None, elementwise_affine=True)"
    assert str(nn.GroupNorm(2, 4)) == "GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)"
    assert str(nn.BatchNorm1d(3, affine=False)) == (
        "BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=False, bias=False, "
        "track_running_stats=True)"
    )


@pytest.mark.parametrize(
    "f",
    [
        lambda: (mg.zeros((0, 2)), lambda x: F.batch_norm(x, None, None, training=True)),
        lambda: (mg.zeros((2, 0)), lambda x: F.layer_norm(x, (0,))),
        lambda: (mg.zeros((0, 0, 4)), lambda x: F.layer_norm(x, (0, 4))),
        lambda: (mg.zeros((2, 2, 0)), lambda x: F.group_norm(x, 1)),
        lambda: (mg.zeros((0, 3)), lambda x: F.rms_norm(x, 3)),
    ],
)
def test_second_derivatives_of_nothing(f):
    x, normalized = f()
    x.requires_grad_()
    (g,) = mg.autograd.grad(normalized(x).sum(), [x], create_graph=True)
    (second,) = mg.autograd.grad((g * x).sum(), [x])
    assert g.shape == second.shape == x.shape
