"""NumPy's functions on tensors: the values of NumPy on arrays, and derivatives."""

import math

import numpy as np
import pytest
from on_backend import tensor
from samples import ROWS, Ints, Reals

import minigrad as mg
from minigrad import numpy_protocol
from minigrad.engine import TABLE, Op

pytestmark = pytest.mark.usefixtures("on_each_backend")


def found_in(module, kind):
    """Yield the functions of a NumPy module that minigrad takes, by name."""
    for name in dir(module):
        function = getattr(module, name)
        if kind(function):
            try:
                if isinstance(function, np.ufunc):
                    numpy_protocol._of_ufunc(function, "__call__")
                else:
                    numpy_protocol._of_function(function)
            except TypeError:
                continue
            yield name, function


def is_dispatched(function):
    return hasattr(function, "_implementation")


def is_ufunc(function):
    return isinstance(function, np.ufunc)


UFUNCS = dict(found_in(np, is_ufunc))
FUNCTIONS = {
    f"{prefix}{name}": function
    for module, prefix in ((np, ""), (np.linalg, "linalg."), (np.fft, "fft."))
    for name, function in found_in(module, is_dispatched)
}


def on_host(value):
    """Return what a function gave as NumPy has it."""
    if isinstance(value, tuple | list):
        return [on_host(part) for part in value]
    return value.detach().numpy() if isinstance(value, mg.Tensor) else np.asarray(value)


def assert_same(found, wanted):
    found, wanted = on_host(found), on_host(wanted)
    for y, value in (
        zip(found, wanted, strict=True) if isinstance(wanted, list) else [(found, wanted)]
    ):
        assert y.dtype == value.dtype and y.shape == value.shape
        np.testing.assert_allclose(y, value, rtol=1e-12, atol=1e-12)


def operands(name, count):
    """Return inputs in the domain of a ufunc, from its row, or any."""
    name = numpy_protocol.FUNCTIONS.get(name, name)
    drawn = (Reals((2, 3)), Reals((2, 3)))
    for case in ROWS[name].cases if name in ROWS else ():
        if [type(x) for x in case.inputs] == [Reals] * count and case.inputs[0].shape == (2, 3):
            drawn = case.inputs
    if name.startswith("bitwise"):
        drawn = (Ints((2, 3)), Ints((2, 3)))
    rng = np.random.default_rng(7)
    return [x.draw(rng) for x in drawn[:count]]


@pytest.mark.parametrize("name", UFUNCS)
def test_ufuncs(name):
    ufunc = UFUNCS[name]
    arrays = operands(ufunc.__name__, ufunc.nin)
    if ufunc is np.matmul:
        arrays[1] = arrays[1].T
    xs = list(map(tensor, arrays))
    assert_same(ufunc(*xs), ufunc(*arrays))
    if ufunc.nin == 2:
        assert_same(ufunc(xs[0], arrays[1]), ufunc(*arrays))
        assert_same(ufunc(arrays[0], xs[1]), ufunc(*arrays))
    ours = numpy_protocol._of_ufunc(ufunc, "__call__")
    op = TABLE.get(numpy_protocol.FUNCTIONS.get(ufunc.__name__, ufunc.__name__))
    if isinstance(op, Op) and op.rules and arrays[0].dtype.kind == "f":
        for x in xs:
            x.requires_grad = True
        ufunc(*xs).sum().backward()
        grads = [x.grad.numpy() for x in xs]
        for x in xs:
            x.grad = None
        ours(*xs).sum().backward()
        for x, g in zip(xs, grads, strict=True):
            np.testing.assert_array_equal(x.grad.numpy(), g)


#: One call of each of NumPy's other functions; x is 3 by 3, symmetric, positive definite.
CALLS = {
    "all": lambda f, x: f(x, axis=0),
    "allclose": lambda f, x: f(x, x + 1e-12),
    "amax": lambda f, x: f(x, 1, keepdims=True),
    "amin": lambda f, x: f(x, axis=(0, 1)),
    "any": lambda f, x: f(x, 0),
    "argmax": lambda f, x: f(x, axis=1),
    "argmin": lambda f, x: f(x),
    "argsort": lambda f, x: f(x, axis=0),
    "around": lambda f, x: f(x, 1),
    "array2string": lambda f, x: f(x, precision=2),
    "array_equal": lambda f, x: f(x, x),
    "array_equiv": lambda f, x: f(x, x + 1),
    "array_repr": lambda f, x: f(x),
    "array_str": lambda f, x: f(x),
    "astype": lambda f, x: f(x, np.float64),
    "broadcast_arrays": lambda f, x: f(x, x[:1]),
    "broadcast_to": lambda f, x: f(x, (2, 3, 3)),
    "can_cast": lambda f, x: f(x.dtype, np.float32),
    "clip": lambda f, x: f(x, 0.5, a_max=2.0),
    "concat": lambda f, x: f((x, np.ones((1, 3)))),
    "concatenate": lambda f, x: f([x, x], axis=-1),
    "copy": lambda f, x: f(x),
    "count_nonzero": lambda f, x: f(x, axis=0),
    "cross": lambda f, x: f(x, x[::-1]),
    "cumprod": lambda f, x: f(x),
    "cumsum": lambda f, x: f(x, 1),
    "cumulative_prod": lambda f, x: f(x, axis=0),
    "cumulative_sum": lambda f, x: f(x, axis=1, include_initial=True),
    "diagonal": lambda f, x: f(x, 1),
    "diff": lambda f, x: f(x, axis=0),
    "dot": lambda f, x: f(x, np.ones((2, 3, 2))),
    "einsum": lambda f, x: f("ij,...j,j->...i", x, np.ones((2, 3)), x[0], optimize="greedy"),
    "empty_like": lambda f, x: f(x) * 0,
    "expand_dims": lambda f, x: f(x, 1),
    "fft.fft": lambda f, x: f(x, 4, 0),
    "fft.fftn": lambda f, x: f(x, norm="ortho"),
    "fft.fftshift": lambda f, x: f(x, 1),
    "fft.hfft": lambda f, x: f(x, axis=0),
    "fft.ifft": lambda f, x: f(x, n=2),
    "fft.ifftn": lambda f, x: f(x, axes=(0,)),
    "fft.ifftshift": lambda f, x: f(x),
    "fft.ihfft": lambda f, x: f(x),
    "fft.irfft": lambda f, x: f(x),
    "fft.irfftn": lambda f, x: f(x, (3, 5), (0, 1)),
    "fft.rfft": lambda f, x: f(x),
    "fft.rfftn": lambda f, x: f(x),
    "flip": lambda f, x: f(x, axis=1),
    "full_like": lambda f, x: f(x, 2.0),
    "imag": lambda f, x: f(x),
    "inner": lambda f, x: f(x, x[:2]),
    "iscomplexobj": lambda f, x: f(x),
    "isrealobj": lambda f, x: f(x),
    "kron": lambda f, x: f(x, x[:2]),
    "linalg.cholesky": lambda f, x: f(x + x.T, upper=True),
    "linalg.cross": lambda f, x: f(x, x[::-1], axis=0),
    "linalg.det": lambda f, x: f(x),
    "linalg.diagonal": lambda f, x: f(x, offset=-1),
    "linalg.eigh": lambda f, x: f(x + x.T)[0],
    "linalg.eigvalsh": lambda f, x: f(x + x.T),
    "linalg.inv": lambda f, x: f(x),
    "linalg.lstsq": lambda f, x: f(x, np.ones(3))[0],
    "linalg.matmul": lambda f, x: f(x, x),
    "linalg.matrix_norm": lambda f, x: f(x, ord=1),
    "linalg.matrix_power": lambda f, x: f(x, 3),
    "linalg.matrix_rank": lambda f, x: f(x),
    "linalg.matrix_transpose": lambda f, x: f(x),
    "linalg.norm": lambda f, x: f(x, axis=1),
    "linalg.outer": lambda f, x: f(x[0], x[1]),
    "linalg.pinv": lambda f, x: f(x),
    "linalg.qr": lambda f, x: abs(f(x)[1]),
    "linalg.slogdet": lambda f, x: f(x),
    "linalg.solve": lambda f, x: f(x, np.ones(3)),
    "linalg.svd": lambda f, x: f(x)[1],
    "linalg.svdvals": lambda f, x: f(x),
    "linalg.tensordot": lambda f, x: f(x, x, axes=1),
    "linalg.trace": lambda f, x: f(x, offset=1),
    "linalg.vecdot": lambda f, x: f(x, x, axis=0),
    "linalg.vector_norm": lambda f, x: f(x, axis=0, ord=1),
    "matrix_transpose": lambda f, x: f(x),
    "max": lambda f, x: f(x, axis=0),
    "may_share_memory": lambda f, x: f(x, x + 1),
    "mean": lambda f, x: f(x, axis=0, keepdims=True),
    "median": lambda f, x: f(x, axis=0),
    "meshgrid": lambda f, x: f(x[0], x[1], indexing="ij"),
    "min": lambda f, x: f(x),
    "moveaxis": lambda f, x: f(x[None], 0, -1),
    "ndim": lambda f, x: f(x),
    "nonzero": lambda f, x: f(x > 1),
    "ones_like": lambda f, x: f(x),
    "outer": lambda f, x: f(x, x[0]),
    "pad": lambda f, x: f(x, 1, constant_values=2.0),
    "permute_dims": lambda f, x: f(x, (1, 0)),
    "prod": lambda f, x: f(x, axis=1),
    "quantile": lambda f, x: f(x, 0.3, axis=0),
    "ravel": lambda f, x: f(x),
    "real": lambda f, x: f(x),
    "repeat": lambda f, x: f(x, 2, axis=1),
    "reshape": lambda f, x: f(x, (1, 9)),
    "result_type": lambda f, x: str(f(x, np.float64)),
    "roll": lambda f, x: f(x, 1, axis=0),
    "round": lambda f, x: f(x, decimals=1),
    "searchsorted": lambda f, x: f(np.arange(4.0), x, side="right"),
    "shape": lambda f, x: f(x),
    "shares_memory": lambda f, x: f(x, x + 1),
    "sinc": lambda f, x: f(x),
    "size": lambda f, x: (f(x), f(x, 0)),
    "sort": lambda f, x: f(x, axis=0),
    "split": lambda f, x: f(x, 3, axis=1),
    "squeeze": lambda f, x: f(x[:1]),
    "stack": lambda f, x: f((x, x), axis=1),
    "std": lambda f, x: f(x, axis=0, ddof=1),
    "sum": lambda f, x: f(x, axis=0),
    "swapaxes": lambda f, x: f(x, 0, 1),
    "take": lambda f, x: [f(x, [0, 5]), f(x, np.array([0, 2]), axis=1)],
    "take_along_axis": lambda f, x: f(x, np.array([[0], [1], [2]]), axis=1),
    "tensordot": lambda f, x: f(x, x),
    "tile": lambda f, x: f(x, (2, 1)),
    "trace": lambda f, x: f(x, 1),
    "transpose": lambda f, x: (f(x[0]), f(x), f(x, (0, 1))),
    "tril": lambda f, x: f(x, -1),
    "triu": lambda f, x: f(x, k=1),
    "unique": lambda f, x: f(x),
    "unique_all": lambda f, x: f(x),
    "unique_counts": lambda f, x: f(x),
    "unique_inverse": lambda f, x: f(x),
    "unique_values": lambda f, x: f(x),
    "unstack": lambda f, x: f(x, axis=1),
    "var": lambda f, x: f(x, axis=0, ddof=1),
    "vdot": lambda f, x: f(x, x),
    "where": lambda f, x: f(x > 1, x, 0.0),
    "zeros_like": lambda f, x: f(x),
}

#: Those that write files; what they write is what NumPy reads.
SAVE = {"save", "savetxt", "savez", "savez_compressed"}

#: Those whose results do not change with x, or only in jumps, or are no tensors.
FLAT = set(
    """
    all allclose any argmax argmin argsort around array2string array_equal array_equiv array_repr
    array_str can_cast count_nonzero empty_like full_like imag iscomplexobj isrealobj
    linalg.matrix_rank may_share_memory ndim nonzero ones_like result_type round searchsorted shape
    shares_memory size unique unique_all unique_counts unique_inverse unique_values zeros_like
    """.split()
)


def matrix():
    x = np.random.default_rng(9).uniform(0.2, 1, (3, 3))
    return x @ x.T + np.eye(3)


def test_every_function_is_called_here():
    assert set(FUNCTIONS) == set(CALLS) | SAVE


@pytest.mark.parametrize("name", CALLS)
def test_functions(name):
    f, x = FUNCTIONS[name], matrix()
    found, wanted = CALLS[name](f, tensor(x)), CALLS[name](f, x)
    if isinstance(wanted, str | bool):
        assert found == wanted and type(found) is type(wanted)
    else:
        assert_same(found, wanted)


@pytest.mark.parametrize("name", sorted(set(CALLS) - FLAT))
def test_functions_stay_on_the_tape(name):
    def f(x):
        result = CALLS[name](FUNCTIONS[name], x)
        parts = result if isinstance(result, tuple | list) else [result]
        return sum((part * part).real.sum() for part in parts)

    assert mg.gradcheck(f, [tensor(matrix())], fast=True)


def test_files(tmp_path):
    x = tensor(matrix())
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x)
    np.savetxt(tmp_path / "x.txt", x)
    for loaded in (
        np.load(tmp_path / "x.npy"),
        np.load(tmp_path / "x.npz")["x"],
        np.loadtxt(tmp_path / "x.txt"),
    ):
        np.testing.assert_array_equal(loaded, matrix())


@pytest.mark.parametrize(
    ("method", "ours"),
    [
        (lambda np, x: np.add.reduce(x), lambda x: mg.sum(x, axis=0)),
        (lambda np, x: np.multiply.reduce(x, axis=1), lambda x: mg.prod(x, axis=1)),
        (lambda np, x: np.maximum.reduce(x, axis=None), lambda x: mg.max(x)),
        (
            lambda np, x: np.minimum.reduce(x, keepdims=True),
            lambda x: mg.min(x, axis=0, keepdims=True),
        ),
        (lambda np, x: np.logaddexp.reduce(x), lambda x: mg.logsumexp(x, axis=0)),
        (lambda np, x: np.logical_and.reduce(x > 1), lambda x: mg.all(x > 1, axis=0)),
        (lambda np, x: np.add.accumulate(x, 1), lambda x: mg.cumulative_sum(x, axis=1)),
        (lambda np, x: np.multiply.accumulate(x), lambda x: mg.cumulative_prod(x, axis=0)),
        (lambda np, x: np.subtract.outer(x, x[0]), lambda x: x[:, :, None] - x[0]),
        (lambda np, x: np.greater.outer(np.ones(2), x), lambda x: mg.ones((2, 1, 1)) > x),
    ],
)
def test_methods_of_ufuncs(method, ours):
    x = tensor(matrix())
    assert_same(method(np, x), method(np, matrix()))
    assert_same(method(np, x), ours(x))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda x: np.cbrt(x), r"np\.cbrt does not take tensors.*detach\(\)\.numpy\(\)"),
        (lambda x: np.interp(x[0], x[0], x[1]), r"np\.interp does not take tensors"),
        (lambda x: np.linalg.eig(x), r"np\.linalg\.eig does not take tensors"),
        (lambda x: np.linspace(x[0], x[1], 3), r"np\.linspace does not take tensors"),
        (lambda x: np.add.at(x, 0, 1), r"np\.add\.at does not take tensors"),
        (lambda x: np.divide.reduce(x), r"np\.divide\.reduce does not take tensors"),
        (lambda x: np.add.reduceat(x, [0]), r"np\.add\.reduceat does not take tensors"),
        (lambda x: np.copyto(np.ones((3, 3)), x), r"np\.copyto does not take tensors"),
        (lambda x: np.exp(x, out=np.ones((3, 3))), r"np\.exp .* out= .*assign the result"),
        (lambda x: np.exp(np.ones((3, 3)), out=x), r"np\.exp .* out= .*assign the result"),
        (lambda x: np.exp(x, where=np.ones((3, 3), bool)), r"np\.exp does not take where="),
        (lambda x: np.add(x, x, dtype=np.float64), r"np\.add does not take dtype="),
        (lambda x: np.sum(x, 0, None, np.ones(3)), r"np\.sum does not take out="),
        (lambda x: np.sum(x, initial=1), r"np\.sum does not take initial="),
        (lambda x: np.add.reduce(x, initial=1), r"np\.add\.reduce does not take initial="),
        (lambda x: np.reshape(x, 9, order="F"), r"np\.reshape does not take order="),
        (lambda x: np.ones((3, 3)).__iadd__(x), r"np\.add does not take out="),
        (lambda x: np.multiply(x, "a"), "multiply: expected tensors.*got str"),
    ],
)
def test_refusals(call, says):
    for x in (tensor(matrix()), tensor(matrix()).requires_grad_()):
        with pytest.raises(TypeError, match=says):
            call(x)


def test_defaults_that_are_spelled_out_are_taken():
    x = tensor(matrix())
    assert np.sum(x, None, None, None).shape == ()
    assert np.reshape(x, (9,), order="C").shape == (9,)
    assert np.clip(x, min=0.5, max=1.0).max().item() == 1


def test_the_other_function_of_that_name():
    x = tensor(matrix())
    assert_same(np.where(x > 1), np.where(matrix() > 1))
    assert_same(np.linalg.norm(x), np.linalg.norm(matrix()))
    assert_same(np.linalg.norm(x, 2), np.linalg.norm(matrix(), 2))
    assert_same(np.linalg.norm(x[0], 1), np.linalg.norm(matrix()[0], 1))
    stack = np.stack([matrix(), 2 * matrix()])
    for axis, ord, keepdims in [((0, 2), 1, True), ((2, 1), None, False), (1, np.inf, True)]:
        wanted = np.linalg.norm(stack, ord, axis, keepdims)
        assert_same(np.linalg.norm(tensor(stack), ord, axis, keepdims), wanted)
    with pytest.raises(ValueError, match=r"name the axes .*\(2, 3, 3\)"):
        np.linalg.norm(tensor(stack), 2)
    assert_same(np.dot(x, 2.0), 2 * matrix())
    assert_same(np.dot(x[0], x), matrix()[0] @ matrix())
    assert_same(np.inner(3.0, x), 3 * matrix())


OPERATORS = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y,
    "//": lambda x, y: x // y,
    "%": lambda x, y: x % y,
    "**": lambda x, y: x**y,
    "@": lambda x, y: x @ y,
    "<": lambda x, y: x < y,
    ">=": lambda x, y: x >= y,
    "==": lambda x, y: x == y,
    "!=": lambda x, y: x != y,
}


@pytest.mark.parametrize("name", OPERATORS)
def test_arrays_on_the_left_of_operators(name):
    x, f = matrix(), OPERATORS[name]
    assert_same(f(x, tensor(x)), f(x, x))
    assert type(f(x, tensor(x))) is mg.Tensor
    if name in "+-*/@":
        assert f(x, tensor(x).requires_grad_()).requires_grad


def test_numpy_scalars_stay_weak():
    x = tensor(matrix().astype(np.float32)).requires_grad_()
    for y in (np.float64(3) * x, x * np.float64(3), np.multiply(x, np.float64(3))):
        assert (y.dtype, y.requires_grad) == (mg.float32, True)
    assert (np.ones(3) * x).dtype == mg.float64
    assert np.exp(x).dtype == mg.float32


def test_operators_of_device_arrays_give_way():
    assert tensor([1.0]).__array_ufunc__ is None  # what CuPy asks
    assert callable(mg.Tensor.__array_ufunc__)  # what NumPy asks


class Foreign:
    """A class that knows what to do with tensors."""

    def answer(self, other):
        return "foreign"

    __radd__ = __rmul__ = __rmatmul__ = __gt__ = answer


class Ufuncs(Foreign):
    __array_ufunc__ = __array_function__ = lambda self, *args, **keywords: "foreign"


def test_foreign_classes_have_their_turn():
    x = tensor(matrix()).requires_grad_()
    assert x + Foreign() == x * Foreign() == x @ Foreign() == (x < Foreign()) == "foreign"
    y = x.detach()
    y += Foreign()
    assert y == "foreign"
    assert np.add(x, Ufuncs()) == np.add(Ufuncs(), x) == np.concatenate([x, Ufuncs()]) == "foreign"
    with pytest.raises(TypeError, match="'Tensor' and 'Foreign'"):
        x - Foreign()
    for stranger in ("a", [1.0], {}, object()):
        with pytest.raises(TypeError, match="subtract: expected tensors, arrays or numbers, got"):
            x - stranger
        with pytest.raises(TypeError, match="subtract: expected tensors, arrays or numbers, got"):
            stranger - x
    assert x != object()


def test_what_numpy_answers_from_values():
    x = tensor(matrix())
    np.testing.assert_allclose(x, matrix())
    np.testing.assert_array_equal(x, x)
    assert np.isscalar(x) is False
    assert np.shares_memory(x, x[0]) == (x.device == "cpu")
    assert math.sqrt(tensor([4.0])[0]) == 2
    tracked = x.requires_grad_()
    for f in (np.asarray, np.testing.assert_allclose, np.allclose, np.array_equal):
        with pytest.raises(RuntimeError, match=r"requires grad.*detach\(\)\.numpy\(\)"):
            f(tracked) if f is np.asarray else f(tracked, tracked)
    assert np.shape(tracked) == (3, 3) and np.result_type(tracked, 1.0) == mg.float64


def test_host_and_device_do_not_mix():
    x = mg.tensor(matrix(), backend="strict")
    with mg.use_backend("numpy"):
        for f in (np.add, np.matmul, lambda a, b: np.concatenate([a, b]), lambda a, b: a * b):
            with pytest.raises(TypeError, match=r"different devices.*strict"):
                f(matrix(), x)
