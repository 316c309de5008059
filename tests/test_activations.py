"""Activations, embeddings and dropout of channels: the ends of the range, masks, modules."""

import numpy as np
import pytest
from on_backend import tensor

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F

pytestmark = pytest.mark.usefixtures("on_each_backend")

MODULES = [
    nn.GELU(),
    nn.GELU("tanh"),
    nn.SiLU(),
    nn.Mish(),
    nn.ELU(),
    nn.SELU(),
    nn.CELU(0.5),
    nn.LeakyReLU(),
    nn.Softplus(),
    nn.LogSigmoid(),
    nn.Hardtanh(),
    nn.ReLU6(),
    nn.Hardsigmoid(),
    nn.Hardswish(),
    nn.ReLU(),
    nn.Sigmoid(),
    nn.Tanh(),
]


@pytest.mark.parametrize("module", MODULES, ids=str)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_far_away_nothing_overflows(module, dtype):
    x = tensor(np.array([-1e4, -300, 300, 1e4], dtype))
    slope = mg.grad(lambda x: module(x).sum())
    found = [module(x), slope(x), mg.grad(lambda x: slope(x).sum())(x)]
    assert [y.dtype for y in found] == [dtype] * 3
    assert np.isfinite([y.tolist() for y in found]).all()
    np.testing.assert_allclose(found[2].numpy(), 0, atol=1e-100)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_not_a_number_stays_so(module):
    assert np.isnan(module(tensor([np.nan, 1.0])).numpy()).tolist() == [True, False]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_infinity_is_as_in_pytorch(module):
    torch = pytest.importorskip("torch", reason="compares with torch (the extra minigrad[compare])")
    options = {k: v for k, v in vars(module).items() if not k.startswith("_") and k != "training"}
    if isinstance(module, nn.Softplus):
        options.pop("threshold")
    theirs = getattr(torch.nn, type(module).__name__)(**options)
    x = np.array([-np.inf, np.inf])
    with np.errstate(invalid="ignore"):
        found = module(tensor(x)).numpy()
    np.testing.assert_array_equal(found, theirs(torch.tensor(x)).numpy())


def test_prelu_starts_anew():
    layer = nn.PReLU(2, init=0.1)
    with mg.no_grad():
        layer.weight += 1
    layer.reset_parameters()
    np.testing.assert_allclose(layer.weight.detach().numpy(), 0.1)
    assert str(layer) == "PReLU(num_parameters=2)"


def test_softplus_is_a_line_above_a_threshold():
    assert F.softplus(tensor([2.0, 30.0]), beta=2.0, threshold=1.0).tolist() == [2, 30]
    assert F.softplus(tensor(np.array([20.5]))).item() > 20.5


@pytest.mark.parametrize(("dtype", "beta"), [("float16", 100.0), ("float32", 1e36)])
def test_a_steep_softplus_does_not_overflow(dtype, beta):
    x = tensor(np.array([1e4, 700, -1e4], dtype)).requires_grad_()
    y = F.softplus(x, beta=beta)
    y.sum().backward()
    assert y.tolist() == [1e4, 700, 0]
    assert x.grad.tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("module", "shape", "places"),
    [
        (nn.Dropout1d(), (50, 40, 3), (2,)),
        (nn.Dropout1d(), (2000, 3), (1,)),
        (nn.Dropout2d(), (50, 40, 2, 3), (2, 3)),
    ],
)
def test_channels_are_dropped_as_a_whole(module, shape, places):
    x = tensor(np.ones(shape, np.float32), requires_grad=True)
    y = module(x)
    kept = y.detach().numpy().any(axis=places)
    assert set(np.unique(y.detach().numpy())) == {0.0, 2.0}
    assert (y.detach().numpy().all(axis=places) == kept).all()
    assert 0.45 < kept.mean() < 0.55
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())
    assert module.eval()(x) is x
    module.train()


def test_all_or_no_channels():
    x = mg.ones((2, 3, 4))
    assert not F.dropout1d(x, 1.0).numpy().any()
    assert F.dropout1d(x, 0.0) is x
    assert isinstance(F.dropout(np.ones(3), training=False), mg.Tensor)
    assert set(nn.Dropout()([1.0] * 50).tolist()) <= {0.0, 2.0}


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: nn.Dropout1d(1.5), "Dropout1d: p must lie in .* got 1.5"),
        (lambda: F.dropout2d(mg.ones((1, 1, 1, 1)), -1), "dropout2d: p must lie in"),
        (lambda: F.dropout1d(mg.ones(2)), r"dropout1d: expected x of shape \(n, .* got \(2,\)"),
        (lambda: F.dropout2d(mg.ones((1, 2, 3))), r"got \(1, 2, 3\); .*dropout1d"),
        (lambda: nn.Embedding(3, 2, padding_idx=3), "Embedding: padding_idx=3 .* 3 rows"),
        (lambda: nn.Embedding.from_pretrained(mg.ones(3)), r"embedding_dim\), got shape \(3,\)"),
    ],
)
def test_what_does_not_fit_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_an_embedding_is_made_of_rows():
    rows = mg.tensor([[1.0, 2.0], [3.0, 4.0]])
    layer = nn.Embedding.from_pretrained(rows, padding_idx=-1)
    assert layer(tensor([[1], [0]])).tolist() == [[[3, 4]], [[1, 2]]]
    assert str(layer) == "Embedding(2, 2, padding_idx=1)"
    assert not layer.weight.requires_grad
    assert nn.Embedding.from_pretrained(rows, freeze=False).weight.requires_grad
    with mg.no_grad():
        rows += 1
    assert layer.weight.tolist() == [[1, 2], [3, 4]]


def test_the_row_of_padding_starts_at_0_and_stays():
    layer = nn.Embedding(5, 3, padding_idx=2)
    assert layer.weight[2].tolist() == [0, 0, 0]
    layer(tensor([2, 2, 1])).sum().backward()
    assert layer.weight.grad.tolist() == [[0] * 3, [1] * 3, *[[0] * 3] * 3]
    assert layer([1, 2]).shape == (2, 3)


def test_indices_and_rows_may_be_arrays_that_are_used_again():
    indices, weight = np.array([0]), tensor([[1.0], [2.0]], requires_grad=True)
    rows = F.embedding(indices, weight)
    indices[0] = 1
    rows.sum().backward()
    assert weight.grad.tolist() == [[1], [0]]
    assert F.embedding([1, 0], np.array([[1.0], [2.0]])).tolist() == [[2], [1]]


FLOATS_OF_INTEGERS = [
    *(module for module in MODULES if not isinstance(module, nn.ReLU)),
    nn.GLU(),
    nn.Dropout(),
    nn.Dropout1d(),
    lambda x: F.prelu(x, 2),
]


@pytest.mark.parametrize("function", FLOATS_OF_INTEGERS, ids=str)
def test_integers_become_the_default_dtype(function):
    assert function(mg.ones((2, 2), dtype=mg.int64)).dtype == mg.float32


def test_the_gradient_of_log_softmax_is_summed_in_float32():
    for shape, g in [((1, 70_000), -1.0), ((4, 5000), -60.0)]:
        x = tensor(np.zeros(shape, np.float16), requires_grad=True)
        F.log_softmax(x).backward(np.full(shape, g, np.float16))
        np.testing.assert_allclose(x.grad.numpy(), 0, atol=abs(g) * 2e-3)


def test_an_index_out_of_range_is_named():
    with pytest.raises(IndexError, match=r"\[0, 5\); got 7 at position"):
        nn.Embedding(5, 3)(tensor([[0, 1], [7, 2]])).detach().numpy()
