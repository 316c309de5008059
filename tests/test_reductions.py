"""Reductions, scans, sorting and sets beside NumPy's: dtypes, long arrays, ties, nan, errors."""

import math
import tracemalloc

import numpy as np
import pytest
from on_backend import tensor

import minigrad as mg

pytestmark = pytest.mark.usefixtures("on_each_backend")

REAL = [np.dtype(f"{kind}{8 * n}") for kind in ("int", "uint") for n in (1, 2, 4, 8)]
REAL += [np.dtype(f"float{n}") for n in (16, 32, 64)]
EVERY = [np.dtype(bool), *REAL, np.dtype("complex64"), np.dtype("complex128")]
VALUES = [[3, 0, 2, 2], [1, 3, 0, 3], [2, 2, 2, 2]]

#: name -> (NumPy's, the dtypes that the standard allows or NumPy takes)
PLAIN = {
    "sum": (np.sum, EVERY),
    "prod": (np.prod, EVERY),
    "max": (np.max, EVERY),
    "min": (np.min, EVERY),
    "any": (np.any, EVERY),
    "all": (np.all, EVERY),
    "argmax": (np.argmax, EVERY),
    "argmin": (np.argmin, EVERY),
    "cumulative_sum": (np.cumulative_sum, EVERY),
    "cumulative_prod": (np.cumulative_prod, EVERY),
    "count_nonzero": (np.count_nonzero, EVERY),
    "diff": (np.diff, EVERY),
    "sort": (np.sort, EVERY),
    "mean": (np.mean, EVERY[-5:]),
    "var": (np.var, EVERY[-5:]),
    "std": (np.std, EVERY[-5:]),
    "median": (np.median, EVERY[-5:-2]),
}


def assert_alike(found, expected):
    found = found.detach().numpy()
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    eps = np.finfo(expected.dtype).eps if expected.dtype.kind in "fc" else 0
    np.testing.assert_allclose(found, expected, rtol=8 * eps, atol=8 * eps)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", PLAIN)
def test_every_dtype(name, axis):
    reference, dtypes = PLAIN[name]
    for dtype in dtypes:
        x = np.array(VALUES).astype(dtype)
        x = x * dtype.type(1 - 2j) if dtype.kind == "c" else x
        assert_alike(getattr(mg, name)(tensor(x), axis=axis), reference(x, axis=axis))


@pytest.mark.parametrize("name", ["sum", "prod", "cumulative_sum", "cumulative_prod"])
def test_dtype_is_what_elements_are_cast_to_and_the_result_has(name):
    for dtype in EVERY[:-2]:
        x = np.array([100.0, 2, 3, 1], dtype)
        for wanted in EVERY:
            with np.errstate(over="ignore"):
                expected = getattr(np, name)(x, dtype=wanted)
                assert_alike(getattr(mg, name)(tensor(x), dtype=wanted), expected)


@pytest.mark.parametrize("name", ["sum", "prod", "cumulative_sum", "cumulative_prod"])
def test_dtype_keeps_the_derivative(name):
    x = tensor(np.float32([0.5, 2.0, 3.0]), requires_grad=True)
    y = getattr(mg, name)(x, dtype=mg.float64)
    y.sum().backward()
    assert (y.dtype, x.grad.dtype) == (np.float64, np.float32)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex64], ids=str)
def test_long_scans_do_not_drift(dtype):
    x = np.full(200_000 if dtype != np.float16 else 2000, 0.1, dtype)
    wide, eps = np.result_type(dtype, np.float64), np.finfo(dtype).eps
    exact = np.cumsum(x.astype(wide)).astype(dtype)
    found = mg.cumulative_sum(tensor(x))
    # NumPy adds one by one, and so drifts by 3e-12 itself; a GPU adds in blocks.
    tolerance = 1e-11 if dtype == np.float64 and found.device == "cuda:0" else eps
    np.testing.assert_allclose(found.numpy(), exact, rtol=tolerance)
    x = np.full(1000, 1 + 4 * eps, dtype)
    exact = np.cumprod(x.astype(wide)).astype(dtype)
    tolerance = 1e-12 if dtype == np.float64 else eps
    np.testing.assert_allclose(mg.cumulative_prod(tensor(x)).numpy(), exact, rtol=tolerance)


def test_half_precision_does_not_overflow_on_the_way():
    x = tensor(np.array([300.0, 300.0, 2.0**-10, 0.5], np.float16))
    assert mg.prod(x).item() == pytest.approx(300 * 300 / 2048, rel=1e-3)
    assert mg.norm(x[:2] * 100).item() == pytest.approx(math.sqrt(2) * 3e4, rel=1e-3)


def test_the_derivative_of_a_long_product_takes_little_memory(backend):
    n = 1 << 15
    x = tensor(np.linspace(0.99, 1.01, n), requires_grad=True)
    tracemalloc.start()
    mg.prod(x).backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 * 8 * n
    expected = mg.prod(x).item() / x.detach().numpy()
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-10)


def hessian(f, x):
    """The matrix of second derivatives of a scalar function, row by row."""
    x = tensor(x, requires_grad=True)
    (g,) = mg.autograd.grad(f(x), [x], create_graph=True)
    rows = [mg.autograd.grad(g[i], [x], create_graph=True)[0] for i in range(x.size)]
    return np.array([row.detach().numpy() for row in rows])


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ([0.0, 2.0, 3.0], [[0, 3, 2], [3, 0, 0], [2, 0, 0]]),
        ([0.0, 2.0, 0.0], [[0, 0, 2], [0, 0, 0], [2, 0, 0]]),
        ([0.0, 0.0, 0.0], np.zeros((3, 3))),
    ],
)
def test_second_derivatives_of_products_are_exact_at_zeros(x, expected):
    np.testing.assert_array_equal(hessian(mg.prod, x), expected)
    np.testing.assert_array_equal(hessian(lambda x: mg.cumulative_prod(x)[-1], x), expected)


@pytest.mark.parametrize("order", [0.5, 1, 1.5, 2, 3, -1, math.inf, -math.inf])
def test_second_derivatives_of_norms_are_0_at_the_zero_vector(order):
    with np.errstate(divide="ignore"):  # 0 to the power -1
        assert not hessian(lambda x: mg.norm(x, order), [0.0, 0.0]).any()


def test_second_derivative_of_the_norm_where_an_element_is_zero():
    np.testing.assert_allclose(hessian(mg.norm, [2.0, 0.0]), [[0, 0], [0, 0.5]])


@pytest.mark.parametrize("correction", [2, 3])
def test_without_degrees_of_freedom_a_variance_is_infinite(correction):
    x = tensor([[1.0, 2.0], [3.0, 3.0]])
    with np.errstate(all="ignore"):
        for name in ("var", "std"):
            found = getattr(mg, name)(x, axis=1, correction=correction).tolist()
            np.testing.assert_array_equal(found, [math.inf, math.nan])


def test_nan_is_greatest():
    x = tensor([1.0, math.nan, 3.0, math.nan, -math.inf])
    for descending, order in ((False, [4, 0, 2, 1, 3]), (True, [1, 3, 2, 0, 4])):
        assert mg.argsort(x, descending=descending).tolist() == order
        found = mg.sort(x, descending=descending).numpy()
        np.testing.assert_array_equal(found, x.numpy()[order])
    assert mg.topk(x, 3).indices.tolist() == [1, 3, 2]
    assert mg.topk(x, 2, largest=False).indices.tolist() == [4, 0]


@pytest.mark.parametrize("f", [mg.median, lambda x, **axis: mg.quantile(x, 0.2, **axis)])
def test_order_statistics_of_nan_are_nan(f):
    x = tensor([[1.0, math.nan, 3.0], [4.0, 0.0, 1.0]], requires_grad=True)
    y = f(x, axis=1)
    assert np.isnan(y.detach().numpy()).tolist() == [True, False]
    y[1].backward()
    assert np.isfinite(x.grad.numpy()).all() and not x.grad[0].any()


def test_quantiles_come_in_the_precision_of_x():
    x = tensor(np.arange(5, dtype=np.float32))
    for q in (0.5, [0.25, 0.5], np.array([0.3]), tensor(np.float64([0.1]))):
        assert mg.quantile(x, q).dtype == np.float32
    assert mg.median(tensor([1, 2])).item() == 1.5
    assert mg.median(tensor([1, 2])).dtype == mg.get_default_dtype()


def test_order_statistics_reach_through_several_axes():
    x = np.random.default_rng(0).random((2, 3, 4))
    for axis in ((0, 2), (2, 0), (-1, 1), ()):
        assert_alike(mg.median(tensor(x), axis=axis), np.median(x, axis=axis))
        expected = np.quantile(x, [0.2, 0.9], axis=axis, keepdims=True)
        assert_alike(mg.quantile(tensor(x), [0.2, 0.9], axis=axis, keepdims=True), expected)


def test_names_of_what_comes_together():
    x = tensor([2.0, 1.0, 2.0])
    assert mg.unique_all(x)._fields == ("values", "indices", "inverse_indices", "counts")
    assert mg.unique_counts(x)._fields == ("values", "counts")
    assert mg.unique_inverse(x)._fields == ("values", "inverse_indices")
    assert mg.topk(x, 1)._fields == ("values", "indices")


@pytest.mark.parametrize("dtype", EVERY, ids=str)
def test_sets_of_every_dtype(dtype):
    x = np.array(VALUES).astype(dtype)
    found, expected = mg.unique_all(tensor(x)), np.unique_all(x)
    for name, value in found._asdict().items():
        assert_alike(value, getattr(expected, name))
    assert_alike(mg.unique_values(tensor(x)), expected.values)
    assert_alike(mg.unique_counts(tensor(x)).counts, expected.counts)
    rebuilt = mg.unique_inverse(tensor(x))
    assert_alike(rebuilt.values[rebuilt.inverse_indices], x)


@pytest.mark.parametrize("dtype", REAL, ids=str)
def test_equal_elements_keep_their_order(dtype):
    x = np.array(VALUES).astype(dtype)
    order = np.argsort(x, axis=1, kind="stable")
    assert_alike(mg.argsort(tensor(x)), order)
    backwards = np.argsort(-x.astype(np.int64), axis=1, kind="stable")
    assert_alike(mg.argsort(tensor(x), descending=True), backwards)
    assert_alike(mg.topk(tensor(x), 2).indices, backwards[:, :2])
    assert_alike(mg.sort(tensor(x), descending=True), np.flip(np.sort(x), 1))


def test_searching_for_numbers():
    x = tensor([1.0, 2.0, 3.0])
    assert mg.searchsorted(x, 2.0).item() == 1
    assert mg.searchsorted(x, 2, side="right").item() == 2
    assert mg.searchsorted(tensor([2.0, 1.0]), 1.5, sorter=tensor([1, 0])).item() == 1


def test_only_vectors_are_scanned_without_an_axis():
    for f in (mg.cumulative_sum, mg.cumulative_prod):
        with pytest.raises(ValueError, match=rf"{f.__name__}.*\(1, 3\).*axis="):
            f(mg.ones((1, 3)))
        assert f(tensor(2.0)).tolist() == [2.0]
        assert f(tensor(2.0), include_initial=True).shape == (2,)


@pytest.mark.parametrize(
    ("f", "values", "gradient"),
    [
        (mg.prod, [300, 300, 2, 0], [0, 0, 0, np.inf]),  # 300 · 300 is beyond float16
        (mg.std, [2**-16, 3 * 2**-16], [-0.5, 0.5]),  # and so is one over their deviation
    ],
)
def test_derivatives_do_not_overflow_on_the_way(f, values, gradient):
    x = tensor(np.array(values, np.float16), requires_grad=True)
    f(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), gradient, rtol=2**-8)


def test_many_halves_are_summed_before_their_logarithm():
    x = tensor(np.ones(70_000, np.float16), requires_grad=True)
    y = mg.logsumexp(x)
    y.backward()
    np.testing.assert_allclose(y.item(), 1 + math.log(70_000), rtol=2**-10)
    np.testing.assert_allclose(x.grad.numpy(), 1 / 70_000, rtol=0.02)


def test_arrays_and_lists_are_taken_as_tensors():
    x = np.array([3.0, 1.0])
    assert mg.sort(x).tolist() == [1.0, 3.0]
    assert mg.median(x).item() == 2.0
    assert mg.cumulative_sum(x).tolist() == [3.0, 4.0]
    assert mg.diff(tensor(x), prepend=x, append=[2.0]).tolist() == [-2.0, 2.0, -2.0, 1.0]
    assert mg.norm([3.0, 4.0]).item() == 5.0
    assert mg.argmax([1.0, 3.0]).item() == 1
    assert mg.flip([3.0, 1.0]).tolist() == [1.0, 3.0]
    assert mg.linalg.outer([1.0, 2.0], x).tolist() == [[3.0, 1.0], [6.0, 2.0]]
    for f in (mg.unstack, lambda x: mg.split(x, 2), lambda x: (mg.take(x, [0]),)):
        assert all(isinstance(part, mg.Tensor) for part in f(x))
