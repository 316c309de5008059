"""Every op on every backend: value, dtypes, derivatives, kernels, errors. See samples/."""

import contextlib

import numpy as np
import pytest
from samples import DOUBLE, FLOATS, HALF, ROWS, SINGLE

import minigrad as mg
from minigrad import backends
from minigrad.engine import TABLE

pytestmark = pytest.mark.usefixtures("however_small")

LAYOUTS = ["plain", "transposed", "strided", "reversed"]
PRECISION = {HALF: 4e-3, SINGLE: 2e-6, DOUBLE: 1e-14}
PRECISION |= {np.dtype("complex64"): 2e-6, np.dtype("complex128"): 1e-14}
ROOM = {"cupy": 4}  # for a GPU's own factorizations and functions


def over(pairs):
    """Parametrise by the name of a row and something of the row."""
    return pytest.mark.parametrize(("name", "case"), pairs, ids=lambda part: str(part) or "call")


def of_rows(attribute):
    return [(name, element) for name, row in ROWS.items() for element in getattr(row, attribute)]


CASES = of_rows("cases")
DIFFERENTIABLE = [(name, case) for name, case in CASES if case.up_to(ROWS[name].order)]
# A derivative by no element at all has nothing to check but its shape.
CHECKED = [(name, case) for name, case in DIFFERENTIABLE if not case.is_empty()]


def laid_out(x, layout):
    """Return the same values in another memory layout, on whatever device they are."""
    if layout == "transposed":
        return mg.copy(x.T).T
    if layout == "strided" and x.ndim:
        return mg.stack([x, x], axis=-1)[..., 0]
    if layout == "reversed" and x.ndim:
        return mg.copy(x[..., ::-1])[..., ::-1]
    return x


def tensors(arrays, backend, layout="plain"):
    """Return fresh tensors of a case's inputs."""
    return [
        None if array is None else laid_out(mg.tensor(array, backend=backend), layout)
        for array in arrays
    ]


def run(row, xs, params, backend):
    """Return the results as a tuple. Without inputs, the default backend says where they live."""
    with contextlib.nullcontext() if xs else mg.use_backend(backend):
        result = row.f(*xs, **params)
    return result if isinstance(result, tuple) else (result,)


def expected(row, arrays, params):
    """Return the reference's results, computed in float64 where the inputs are floats."""
    wide = [a.astype(DOUBLE) if a is not None and a.dtype in FLOATS else a for a in arrays]
    result = row.reference(*wide, **params)
    return result if isinstance(result, tuple) else (result,)


def assert_close(found, value, dtype, note="", backend="numpy"):
    precision = PRECISION.get(dtype, 0) * ROOM.get(backend, 1)
    assert np.shape(found) == np.shape(value), note
    bounds = dict(rtol=precision, atol=precision, equal_nan=True)
    # The assertion applies the same rule and says where it fails, which takes 2.4 times as long.
    if not np.allclose(found, value, **bounds):
        np.testing.assert_allclose(found, value, **bounds, err_msg=str(note))


def real_parts(ys):
    """Return results with real and imaginary parts in place of the complex ones.

    Derivatives are those of real results.
    """
    return [part for y in ys for part in ((y.real, y.imag) if "complex" in str(y.dtype) else (y,))]


def of_free(name, case, xs, backend):
    """Return f as a real function of the inputs that have a derivative, and these."""
    row = ROWS[name]
    free = [i for i, x in enumerate(xs) if x is not None and x.dtype.kind == "f"]
    if op := TABLE.get(name):
        ruled = {name for rule in op.rules for name in rule.names}
        named = [op.inputs[i] if i < len(op.inputs) else op.variadic for i in range(len(xs))]
        free = [i for i in free if named[i] in ruled]

    def f(*moved):
        places = dict(zip(free, moved, strict=True))
        inputs = [places.get(i, x) for i, x in enumerate(xs)]
        return tuple(real_parts(run(row, inputs, case.params, backend)))

    return f, [xs[i] for i in free]


def gradients(f, xs):
    """Return the gradient of the sum of f's results with respect to each of xs."""
    for x in xs:
        x.requires_grad = True
    sum(y.sum() for y in f(*xs)).backward()
    return [x.grad for x in xs]


@pytest.mark.parametrize("name", ["numpy", "numba", pytest.param("cupy", marks=pytest.mark.gpu)])
def test_this_backend_is_tested_here(name):
    status = backends.status()[name]
    if not status.usable:
        pytest.skip(f"{name} needs its library, and cupy a CUDA device: {status.reason}")


def test_every_op_has_a_row_and_every_row_an_op_or_a_function():
    assert set(TABLE) <= set(ROWS)
    assert set(ROWS) - set(TABLE) <= set(mg.__all__)


@over(CASES)
def test_value(name, case, backend):
    row = ROWS[name]
    for dtype in row.dtypes if case.is_floating() else [DOUBLE]:
        arrays = case.arrays(dtype)
        values = expected(row, arrays, case.params)
        for layout in LAYOUTS if arrays else ["plain"]:
            found = run(row, tensors(arrays, backend, layout), case.params, backend)
            for y, value in zip(found, values, strict=True):
                assert_close(y.numpy(), value, y.dtype, (dtype, layout), backend)


@over(CASES)
def test_forward_keeps_dtypes_and_leaves_its_inputs_alone(name, case, backend):
    row = ROWS[name]
    for dtype in row.dtypes if case.is_floating() else [DOUBLE]:
        arrays = case.arrays(dtype)
        xs = tensors(arrays, backend)
        found = run(row, xs, case.params, backend)
        if row.result:
            wanted = row.result(dtype if case.is_floating() else arrays[0].dtype)
            wanted = list(wanted) if isinstance(wanted, tuple) else [wanted] * len(found)
        else:
            wanted = [value.dtype for value in expected(row, arrays, case.params)]
        assert [y.dtype for y in found] == wanted
        for i, (x, array) in enumerate(zip(xs, arrays, strict=True)):
            if x is not None and i not in row.writes:
                np.testing.assert_array_equal(x.numpy(), array)
                assert not any(y._array is x._array for y in found)


@over(DIFFERENTIABLE)
def test_gradients_have_the_dtype_and_shape_of_their_inputs(name, case, backend):
    exact = []
    for dtype in [d for d in (DOUBLE, SINGLE, HALF) if d in ROWS[name].dtypes]:
        # The same values in every dtype: those that the narrowest can hold.
        arrays = case.arrays(HALF)
        arrays = [a.astype(dtype) if a is not None and a.dtype == HALF else a for a in arrays]
        f, xs = of_free(name, case, tensors(arrays, backend), backend)
        found = gradients(f, xs)
        exact = exact or [g.numpy() for g in found]
        for x, g, value in zip(xs, found, exact, strict=True):
            assert (g.dtype, g.shape) == (x.dtype, x.shape)
            assert_close(g.numpy(), value, dtype, dtype, backend)


@over(CHECKED)
def test_derivatives(name, case, backend):
    f, xs = of_free(name, case, tensors(case.arrays(), backend, "transposed"), backend)
    assert mg.gradcheck(f, xs, order=ROWS[name].order)


@over(CHECKED)
def test_second_derivative_where_the_first_is_zero(name, case, backend):
    f, xs = of_free(name, case, tensors(case.arrays(), backend), backend)
    lowest = f(*xs)

    def bowl(*xs):
        return sum(((y - at) ** 2).sum() for y, at in zip(f(*xs), lowest, strict=True))

    assert mg.gradcheck(bowl, xs, order=ROWS[name].order, fast=True)


@over(of_rows("kinks"))
def test_gradient_at_kinks_and_singular_points(name, case, backend):
    for dtype in FLOATS:
        arrays = [np.asarray(x) for x in case.inputs]
        arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
        f, xs = of_free(name, case, tensors(arrays, backend), backend)
        values = [value for value in case.gradients if value is not None]
        for g, value in zip(gradients(f, xs), values, strict=True):
            assert_close(g.numpy(), value, dtype, dtype, backend)


@over(of_rows("wrong"))
def test_errors_name_the_op_and_what_came(name, case, backend):
    xs = tensors([np.asarray(x) for x in case.inputs], backend)
    if case.host_only and backend == "cupy":
        for y in run(ROWS[name], xs, case.params, backend):
            assert not np.isfinite(y.numpy()).all()
        return
    with pytest.raises(case.error, match=case.says) as caught:
        for y in run(ROWS[name], xs, case.params, backend):
            y.numpy()  # a device says what is wrong at the first transfer
    assert type(caught.value) is case.error
    if xs and issubclass(case.error, ValueError):
        assert name in str(caught.value)


KERNELS = backends.get("numba").kernels if backends.status()["numba"].usable else {}


@pytest.mark.skipif(not KERNELS, reason="needs Numba (the extra minigrad[numba])")
@over([(name, case) for name, case in CASES if name in KERNELS] or CASES[:1])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE], ids=str)
def test_kernel_equals_reference(name, case, layout, dtype):
    ours, theirs = (
        everything(xs, run(ROWS[name], xs, case.params, backend))
        for backend in ("numba", "numpy")
        for xs in [tensors(case.arrays(dtype), backend, layout)]
    )
    for y, wanted in zip(ours, theirs, strict=True):
        assert y.dtype == wanted.dtype
        assert_close(y, wanted, wanted.dtype)


def everything(inputs, results):
    """Return the arrays that a call can have changed or made."""
    return [tensor.numpy() for tensor in (*inputs, *results) if tensor is not None]
