"""The linalg extension: complex numbers, dtypes, names of results, what composes, what refuses."""

import numpy as np
import pytest
from on_backend import tensor

import minigrad as mg
from minigrad.engine import TABLE

pytestmark = pytest.mark.usefixtures("on_each_backend")

RNG = np.random.default_rng(11)
SQUARE = RNG.normal(size=(2, 3, 3)) + 1j * RNG.normal(size=(2, 3, 3)) + 2 * np.eye(3)
HERMITIAN = SQUARE + SQUARE.swapaxes(-1, -2).conj()
POSITIVE = SQUARE @ SQUARE.swapaxes(-1, -2).conj() + np.eye(3)
WIDE = RNG.normal(size=(2, 3)) + 1j * RNG.normal(size=(2, 3))
VECTOR = WIDE[0]


def adjoint(x):
    return x.swapaxes(-1, -2).conj()


def product(xp, name, *more, **keywords):
    """Return what puts a factorization of a matrix together again."""

    def f(x):
        first, *others = getattr(xp.linalg, name)(x, *more, **keywords)
        if name == "eigh":
            return first, (others[0] * first[..., None, :]) @ adjoint(others[0])
        if name == "svd":
            values, vh = others
            return values, (first[..., : values.shape[-1]] * values[..., None, :]) @ vh
        return xp.abs(others[0]), first @ others[0]

    return f


#: Functions of one namespace, on complex arrays.
COMPLEX = {
    "cholesky": (lambda xp: xp.linalg.cholesky, POSITIVE),
    "cholesky upper": (lambda xp: lambda x: xp.linalg.cholesky(x, upper=True), POSITIVE),
    "cross": (lambda xp: lambda x: xp.linalg.cross(x, x[..., ::-1] * 2j), SQUARE),
    "det": (lambda xp: xp.linalg.det, SQUARE),
    "diagonal": (lambda xp: lambda x: xp.linalg.diagonal(x, offset=-1), SQUARE),
    "eigh": (lambda xp: product(xp, "eigh"), HERMITIAN),
    "eigvalsh": (lambda xp: xp.linalg.eigvalsh, HERMITIAN),
    "inv": (lambda xp: xp.linalg.inv, SQUARE),
    "matmul": (lambda xp: lambda x: xp.linalg.matmul(x, x), SQUARE),
    "matrix_norm": (lambda xp: lambda x: xp.linalg.matrix_norm(x, ord=-2), SQUARE),
    "matrix_power": (lambda xp: lambda x: xp.linalg.matrix_power(x, -3), SQUARE),
    "matrix_rank": (lambda xp: lambda x: xp.asarray(xp.linalg.matrix_rank(x)), WIDE),
    "matrix_transpose": (lambda xp: xp.linalg.matrix_transpose, WIDE),
    "outer": (lambda xp: lambda x: xp.linalg.outer(x, x), VECTOR),
    "pinv": (lambda xp: xp.linalg.pinv, WIDE),
    "qr": (lambda xp: product(xp, "qr"), SQUARE),
    "slogdet": (lambda xp: lambda x: tuple(xp.linalg.slogdet(x)), SQUARE),
    "solve": (lambda xp: lambda x: xp.linalg.solve(x, x[..., 0, :, None] * 1j), SQUARE),
    "svd": (lambda xp: product(xp, "svd", full_matrices=False), WIDE),
    "svdvals": (lambda xp: xp.linalg.svdvals, WIDE),
    "tensordot": (lambda xp: lambda x: xp.linalg.tensordot(x, x, axes=((0, 2), (0, 1))), SQUARE),
    "trace": (lambda xp: lambda x: xp.linalg.trace(x, offset=1), SQUARE),
    "vecdot": (lambda xp: lambda x: xp.linalg.vecdot(x, 1j * x, axis=-2), SQUARE),
    "vector_norm": (lambda xp: lambda x: xp.linalg.vector_norm(x, axis=(0, 2), ord=3), SQUARE),
}


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("name", COMPLEX)
def test_complex_values(name, dtype):
    f, x = COMPLEX[name]
    found, wanted = f(mg)(tensor(x.astype(dtype))), f(np)(x.astype(dtype))
    pairs = zip(found, wanted, strict=True) if isinstance(wanted, tuple) else [(found, wanted)]
    for y, value in pairs:
        assert y.dtype == value.dtype
        assert y.shape == value.shape
        tolerance = 2e-5 if dtype == "complex64" else 1e-13
        np.testing.assert_allclose(y.numpy(), value, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "fields"),
    {
        "eigh": ("eigenvalues", "eigenvectors"),
        "qr": ("Q", "R"),
        "slogdet": ("sign", "logabsdet"),
        "svd": ("U", "S", "Vh"),
    }.items(),
)
def test_results_have_the_names_of_the_standard(name, fields):
    result = getattr(mg.linalg, name)(tensor(np.eye(2)))
    assert result._fields == fields == getattr(np.linalg, name)(np.eye(2))._fields
    assert all(getattr(result, field) is part for field, part in zip(fields, result, strict=True))


def test_integers_become_the_default_dtype():
    x = tensor(np.array([[2, 1], [1, 3]]))
    assert mg.linalg.inv(x).dtype == mg.linalg.solve(x, x[0]).dtype == mg.float32
    assert mg.linalg.solve(x, tensor(np.ones(2))).dtype == mg.float64
    assert mg.linalg.matrix_power(x, 2).dtype == mg.linalg.vecdot(x, x).dtype == mg.int64


DIFFERENTIABLE = {
    "cross": lambda x, y: mg.linalg.cross(x, y, axis=0),
    "diagonal": lambda x, y: mg.linalg.diagonal(x * y, offset=1),
    "matrix_norm": lambda x, y: mg.linalg.matrix_norm(x) + mg.linalg.matrix_norm(y, ord=1),
    "matrix_power": lambda x, y: mg.linalg.matrix_power(x, 3) + mg.linalg.matrix_power(y, 1),
    "matrix_transpose": lambda x, y: mg.linalg.matrix_transpose(x) * y,
    "outer": lambda x, y: mg.linalg.outer(x[0], y[1]),
    "tensordot": lambda x, y: mg.tensordot(x, y, axes=1) + mg.tensordot(x, y),
    "tensordot over pairs": lambda x, y: mg.tensordot(x, y, axes=((-1,), (1,))),
    "trace": lambda x, y: mg.linalg.trace(x @ y),
    "vector_norm": lambda x, y: mg.linalg.vector_norm(x - y, axis=1),
    "vecdot": lambda x, y: mg.vecdot(x, y) + mg.vecdot(x, y[0], axis=-1),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_what_composes_has_derivatives(name):
    xs = [tensor(RNG.normal(size=(3, 3))) for _ in range(2)]
    assert mg.gradcheck(lambda x, y: DIFFERENTIABLE[name](x, y).sum(), xs, order=2)


@pytest.mark.parametrize("axes", [0, 1, 2, ((1, -1), (0, 1)), ((), ()), ((0,), (-1,))])
def test_tensordot(axes):
    x, y = RNG.normal(size=(4, 2, 3)), RNG.normal(size=(2, 3, 4))
    if axes == 1:
        y = y.swapaxes(0, 1)
    found = mg.tensordot(tensor(x), tensor(y), axes=axes)
    np.testing.assert_allclose(found.numpy(), np.tensordot(x, y, axes=axes), rtol=1e-13)


def test_empty_products():
    x = mg.zeros((2, 0))
    assert mg.vecdot(x, x).tolist() == [0, 0]
    assert mg.tensordot(x, x.T, axes=1).tolist() == [[0, 0], [0, 0]]
    assert mg.linalg.outer(x[0], mg.ones(2)).shape == (0, 2)
    assert mg.linalg.matrix_power(mg.zeros((0, 2, 2)), 0).shape == (0, 2, 2)
    assert mg.linalg.matrix_rank(mg.zeros((2, 0, 3))).tolist() == [0, 0]
    for ord in (1, 2, np.inf):
        assert mg.linalg.matrix_norm(mg.zeros((2, 0, 3)), ord=ord).tolist() == [0, 0]
        assert mg.linalg.matrix_norm(x.T, ord=ord).item() == 0


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("ord", ["fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_matrix_norms(ord, keepdims):
    x = RNG.normal(size=(2, 3, 4))
    found = mg.linalg.matrix_norm(tensor(x), ord=ord, keepdims=keepdims)
    wanted = np.linalg.matrix_norm(x, ord=ord, keepdims=keepdims)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-13)


def test_traces_of_small_integers():
    x = tensor(np.full((3, 3), 100, np.int8))
    assert mg.linalg.trace(x).item() == 300 and mg.linalg.trace(x).dtype == mg.int64
    assert mg.linalg.trace(x, offset=-2, dtype=mg.float32).dtype == mg.float32


@pytest.mark.parametrize("power", [-2, -1, 0, 1, 2, 7])
def test_matrix_power(power):
    x = RNG.normal(size=(2, 3, 3))
    found = mg.linalg.matrix_power(given := tensor(x), power)
    assert found is not given
    np.testing.assert_allclose(found.numpy(), np.linalg.matrix_power(x, power), rtol=1e-11)


def test_cholesky_reads_the_triangle_that_it_gives():
    x = tensor(np.array([[4.0, 9.0], [2.0, 5.0]]))
    assert mg.linalg.cholesky(x).tolist() == [[2, 0], [1, 2]]
    x = tensor(np.array([[4.0, 2.0], [9.0, 5.0]]))
    assert mg.linalg.cholesky(x, upper=True).tolist() == [[2, 1], [0, 2]]


def test_ranks_of_a_batch_with_a_tolerance_each():
    x = tensor(np.stack([np.diag([1.0, 0.1]), np.diag([1.0, 0.1])]))
    assert mg.linalg.matrix_rank(x, rtol=tensor([0.5, 0.01])).tolist() == [1, 2]
    assert mg.linalg.pinv(x, rtol=tensor([0.5, 0.01]))[:, 1, 1].tolist() == [0, 10]


@pytest.mark.parametrize(
    ("name", "f", "says"),
    [
        ("vecdot", lambda x: mg.vecdot(x, x[:, :2]), r"lengths 3 and 2"),
        (
            "tensordot",
            lambda x: mg.tensordot(x, x, axes=1),
            r"\(1,\) .* \(0,\) .* differ in length",
        ),
        ("tensordot", lambda x: mg.tensordot(x, x, axes=3), r"3 axes cannot be paired.*\(2, 3\)"),
        ("outer", lambda x: mg.linalg.outer(x, x), r"two vectors.*\(2, 3\)"),
        ("matrix_power", lambda x: mg.linalg.matrix_power(x, 2), r"square.*\(2, 3\)"),
        ("matrix_norm", lambda x: mg.linalg.matrix_norm(x, ord=3), "ord is .*not 3"),
        ("diagonal", lambda x: mg.linalg.diagonal(x[0]), "axis -2"),
        ("qr", lambda x: mg.linalg.qr(x, mode="raw"), r"mode.*'raw'"),
    ],
)
def test_errors(name, f, says):
    with pytest.raises(ValueError, match=f"^{name}: .*{says}"):
        f(tensor(np.ones((2, 3))))


RULELESS = [op for op in TABLE.values() if op.differentiable and not op.rules and op.inputs]


@pytest.mark.parametrize("op", RULELESS, ids=lambda op: op.name)
def test_what_has_no_rule_yet_says_so_by_name(op):
    x = tensor(np.eye(2)).requires_grad_()
    params = {"upper": False, "mode": "reduced", "full_matrices": True}
    params |= {"s": (2,), "axes": (0,), "norm": "ortho"}
    others = [x.detach()] * (len(op.inputs) - 1 - op.optional)
    params = {name: params[name] for name in op.params}
    with pytest.raises(TypeError, match=rf"^{op.name}: no derivative with respect to 'x'.*detach"):
        op(x, *others, **params)
    with mg.no_grad():
        op(x, *others, **params)


def test_ranks_are_constant():
    x = tensor(np.eye(2)).requires_grad_()
    with pytest.raises(RuntimeError, match="has no derivative"):
        mg.linalg.matrix_rank(x).backward()
