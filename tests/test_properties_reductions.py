"""What holds for every shape, axis and dtype of reductions, scans and sorting."""

import math

import hypothesis.extra.numpy as arrays_of
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import minigrad as mg

REDUCTIONS = {
    "prod": np.prod,
    "min": np.min,
    "std": np.std,
    "median": np.median,
    "norm": np.linalg.vector_norm,
    "count_nonzero": np.count_nonzero,
    "any": np.any,
    "all": np.all,
    "logsumexp": lambda x, **where: np.log(np.sum(np.exp(x), **where)),
}
ALONG = {
    "cumulative_sum": np.cumulative_sum,
    "cumulative_prod": np.cumulative_prod,
    "diff": np.diff,
    "sort": np.sort,
    "argsort": np.argsort,
}
SMALL = arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=4)
LINES = arrays_of.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)
DTYPES = st.sampled_from([np.dtype(name) for name in ("float16", "float32", "float64")])
ANY_AXIS = st.one_of(
    st.integers(-5, 5),
    st.lists(st.integers(-3, 3), max_size=3).map(tuple),
    st.sampled_from([None, 0.0, "0", (0.0,), ((0,),), [0]]),
)


def numbers(shape, dtype=np.float64, seed=0):
    """Return distinct numbers near 1, of which no product is far away."""
    rng = np.random.default_rng(seed)
    return (0.75 + rng.permutation(math.prod(shape)) / 128).reshape(shape).astype(dtype)


def axes(data, shape):
    """Return None, an axis or some axes of a shape."""
    every = st.integers(-len(shape), len(shape) - 1)
    some = st.lists(every, unique_by=lambda a: a % len(shape)).map(tuple)
    return data.draw(st.one_of(st.none(), *([every, some] if shape else [])))


def check(y, expected, x):
    """Check a result's value and dtype, and that a gradient, where there is one, is like x."""
    found = y.detach().numpy()
    floating = np.asarray(expected).dtype.kind == "f"
    assert found.dtype == (x.dtype if floating else np.asarray(expected).dtype)
    precision = 32 * np.finfo(x.dtype).eps if floating else 0
    assert found.shape == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=precision, atol=precision)
    if floating:
        y.backward(mg.ones_like(y.detach()))
        assert (x.grad.shape, x.grad.dtype) == (x.shape, x.dtype)
        assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize("name", REDUCTIONS)
@given(SMALL, st.data(), st.booleans(), DTYPES)
def test_reductions_are_numpys(backend, name, shape, data, keepdims, dtype):
    where = {"axis": axes(data, shape), "keepdims": keepdims}
    array = numbers(shape, dtype)
    x = mg.tensor(array, requires_grad=True, backend=backend)
    expected = REDUCTIONS[name](array.astype(np.float64), **where)
    check(getattr(mg, name)(x, **where), expected, x)


@given(
    SMALL, st.data(), st.booleans(), DTYPES, st.sampled_from([0, 1, 1.5, 3, math.inf, -math.inf])
)
def test_norms_are_numpys(backend, shape, data, keepdims, dtype, order):
    where = {"axis": axes(data, shape), "keepdims": keepdims}
    array = numbers(shape, dtype)
    x = mg.tensor(array, requires_grad=True, backend=backend)
    expected = np.linalg.vector_norm(array.astype(np.float64), ord=order, **where)
    check(mg.norm(x, order, **where), expected, x)


@given(SMALL, st.data(), st.booleans(), DTYPES, arrays_of.array_shapes(min_dims=0, max_dims=2))
def test_quantiles_are_numpys(backend, shape, data, keepdims, dtype, several):
    q = data.draw(arrays_of.arrays(np.float64, several, elements=st.floats(0, 1)))
    where = {"axis": axes(data, shape), "keepdims": keepdims}
    array = numbers(shape, dtype)
    x = mg.tensor(array, requires_grad=True, backend=backend)
    check(mg.quantile(x, q, **where), np.quantile(array.astype(np.float64), q, **where), x)


@pytest.mark.parametrize("name", ALONG)
@given(LINES, st.data(), DTYPES)
def test_functions_along_an_axis_are_numpys(backend, name, shape, data, dtype):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    array = numbers(shape, dtype)
    x = mg.tensor(array, requires_grad=True, backend=backend)
    check(getattr(mg, name)(x, axis=axis), ALONG[name](array.astype(np.float64), axis=axis), x)


@given(LINES, st.data(), DTYPES, st.booleans())
def test_topk_is_the_beginning_of_sort(backend, shape, data, dtype, largest):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    k = data.draw(st.integers(0, shape[axis]))
    array = numbers(shape, dtype)
    x = mg.tensor(array, requires_grad=True, backend=backend)
    values, indices = mg.topk(x, k, axis, largest=largest)
    ordered = np.flip(np.sort(array, axis), axis) if largest else np.sort(array, axis)
    np.testing.assert_array_equal(np.take_along_axis(array, indices.numpy(), axis), values.detach())
    check(values, np.take(ordered, range(k), axis), x)


@pytest.mark.parametrize("name", [*REDUCTIONS, *ALONG, "sum", "mean", "max", "var", "argmax"])
@given(SMALL, ANY_AXIS)
def test_an_axis_is_taken_or_refused_by_name(backend, name, shape, axis):
    x = mg.tensor(numbers(shape), backend=backend)
    try:
        getattr(mg, name)(x, axis=axis)
    except (np.exceptions.AxisError, ValueError, TypeError) as error:
        assert str(error).startswith(f"{name}:")
