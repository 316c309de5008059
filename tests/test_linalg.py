"""The linalg extension: complex numbers, dtypes, names of results, what composes, what refuses."""

from fractions import Fraction

import numpy as np
import pytest
from on_backend import tensor

import minigrad as mg
from minigrad import Tensor, backends

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


def fit(x, y):
    """The parts of a least-squares solution that have derivatives."""
    solution, residuals, _, values = mg.linalg.lstsq(x, y)
    return solution, residuals, values


DIFFERENTIABLE = {
    "cross": lambda x, y: mg.linalg.cross(x, y, axis=0),
    "diagonal": lambda x, y: mg.linalg.diagonal(x * y, offset=1),
    "lstsq": lambda x, y: sum(part.sum() for part in fit(x[:, :2], y[0])),
    "lstsq of several": lambda x, y: sum(part.sum() for part in fit(x[:2], y[:2, :2])),
    "matrix_norm": lambda x, y: mg.linalg.matrix_norm(x) + mg.linalg.matrix_norm(y, ord=1),
    "matrix_norm of singular values": lambda x, y: (
        mg.linalg.matrix_norm(x, ord="nuc") * mg.linalg.matrix_norm(y[:2], ord=-2)
    ),
    "matrix_power": lambda x, y: mg.linalg.matrix_power(x, -3) + mg.linalg.matrix_power(y, 1),
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
    for a in (mg.eye(2), mg.eye(2) + mg.zeros((3, 2, 2))):
        assert mg.linalg.solve(a, x).shape == (*a.shape[:-2], 2, 0)
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


def test_keepdim_is_answered_by_minigrads_keyword():
    says = "^matrix_norm: unexpected keyword 'keepdim'; minigrad calls it keepdims=$"
    with pytest.raises(TypeError, match=says):
        mg.linalg.matrix_norm(tensor(SQUARE.real), keepdim=True)
    with pytest.raises(TypeError, match=r"^matrix_norm: unexpected keyword 'dim'$"):
        mg.linalg.matrix_norm(tensor(SQUARE.real), dim=0)


def test_traces_of_small_integers():
    x = tensor(np.full((3, 3), 100, np.int8))
    assert mg.linalg.trace(x).item() == 300 and mg.linalg.trace(x).dtype == mg.int64
    assert mg.linalg.trace(x, offset=-2, dtype=mg.float32).dtype == mg.float32


@pytest.mark.parametrize("power", [-2, -1, 0, 1, 2, 7])
def test_matrix_power(power):
    x = RNG.normal(size=(2, 3, 3))
    found = mg.linalg.matrix_power(given := tensor(x, requires_grad=True), power)
    assert found is not given
    expected = np.linalg.matrix_power(x, power)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-11)
    found.sum().backward()
    assert given.grad.numpy().any() == (power != 0)


def test_a_matrix_that_is_not_finite_to_the_power_0():
    x = tensor(np.full((2, 2), np.inf), requires_grad=True)
    found = mg.linalg.matrix_power(x, 0)
    found.sum().backward()
    assert (found.tolist(), x.grad.tolist()) == ([[1, 0], [0, 1]], [[0, 0], [0, 0]])


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
        ("matrix_norm", lambda x: mg.linalg.matrix_norm(x[0], ord=2), r"two axes.*\(3,\)"),
        ("qr", lambda x: mg.linalg.qr(x, mode="raw"), r"mode.*'raw'"),
        ("lstsq", lambda x: mg.linalg.lstsq(x, x[0]), r"\(2, 3\) and \(3,\)"),
        ("lstsq", lambda x: mg.linalg.lstsq(x[0], x), r"\(3,\) and \(2, 3\)"),
        (
            "solve_triangular",
            lambda x: mg.linalg.solve_triangular(x[:, :2], x, upper=True, left=False),
            "2 equations",
        ),
    ],
)
def test_errors(name, f, says):
    with pytest.raises(ValueError, match=f"^{name}: .*{says}"):
        f(tensor(np.ones((2, 3))))


def test_ranks_are_constant():
    x = tensor(np.eye(2)).requires_grad_()
    with pytest.raises(RuntimeError, match="has no derivative"):
        mg.linalg.matrix_rank(x).backward()


def invariant(name, *more, **keywords):
    """Return what of a factorization of complex matrices does not depend on phases."""

    def f(x):
        return [mg.abs(part) for part in getattr(mg.linalg, name)(x, *more, **keywords)]

    return f


def hermitian(z):
    return z + adjoint(z)


#: Functions of a complex matrix of 2 by 2, or where it says so of 3 by 2 or 2 by 3.
COMPLEX_DERIVATIVES = {
    "cholesky": lambda z: mg.linalg.cholesky(z @ adjoint(z)),
    "cholesky upper": lambda z: mg.linalg.cholesky(z @ adjoint(z), upper=True),
    "det": mg.linalg.det,
    "det singular": lambda z: mg.linalg.det(z[:, :1] @ z[:1]),
    "eigh": lambda z: (product(mg, "eigh")(hermitian(z))[1], *invariant("eigh")(hermitian(z))),
    "eigvalsh": lambda z: mg.linalg.eigvalsh(hermitian(z)),
    "inv": mg.linalg.inv,
    "kron": lambda z: mg.kron(z, 2j * z[0]),
    "lstsq tall": lambda z: fit(z, z[:, 0] * z[:, 1]),
    "matrix_norm": lambda z: mg.linalg.matrix_norm(z, ord="nuc"),
    "pinv tall": mg.linalg.pinv,
    "pinv wide": mg.linalg.pinv,
    "qr": lambda z: (*mg.linalg.qr(z),),
    "qr tall": lambda z: (*mg.linalg.qr(z),),
    "qr wide": lambda z: (*mg.linalg.qr(z),),
    "qr complete tall": lambda z: completed(mg.linalg.qr(z, mode="complete").Q),
    "slogdet": lambda z: (*mg.linalg.slogdet(z),),
    "solve": lambda z: mg.linalg.solve(z, 1j * z[0]),
    "solve_triangular": lambda z: mg.linalg.solve_triangular(z, 1j * z, upper=True),
    "svd": lambda z: (*invariant("svd")(z), product(mg, "svd")(z)[1]),
    "svd tall": lambda z: (*invariant("svd", full_matrices=False)(z),),
    "svd wide": lambda z: (*invariant("svd", full_matrices=False)(z), polar(z)),
    "svd complete tall": lambda z: completed(mg.linalg.svd(z).U),
}


def completed(q):
    """The projection on what the columns after the second span."""
    return q[:, 2:] @ adjoint(q[:, 2:])


def polar(z):
    """The unitary factor of a matrix, to which both sides' phases contribute."""
    u, _, vh = mg.linalg.svd(z, full_matrices=False)
    return u @ vh


@pytest.mark.parametrize("name", COMPLEX_DERIVATIVES)
def test_complex_derivatives(name):
    shape = (3, 2) if "tall" in name else (2, 3) if "wide" in name else (2, 2)
    parts = np.random.default_rng(2).normal(size=(2, *shape)) + 2 * np.eye(*shape)

    def f(a, b):
        found = COMPLEX_DERIVATIVES[name](a + 1j * b)
        ys = [found] if isinstance(found, Tensor) else found
        return [part for y in ys for part in ([y.real, y.imag] if y.dtype.kind == "c" else [y])]

    assert mg.gradcheck(f, [tensor(part) for part in parts], order=2, fast=True)


def gradient(f, x):
    x = tensor(x, requires_grad=True)
    f(x).backward()
    return x.grad.numpy()


RANKS = {1: np.outer([1.0, 2, 3], [1, -1, 2]), 0: np.zeros((3, 3)), 2: np.diag([0.5, 0, 2])}


@pytest.mark.parametrize("rank", RANKS)
def test_determinants_of_singular_matrices_have_exact_derivatives(rank):
    assert mg.gradcheck(mg.linalg.det, [tensor(RANKS[rank])], order=2)


def test_the_logarithm_of_no_determinant_can_be_masked():
    def masked(x):
        sign, logabsdet = mg.linalg.slogdet(x)
        return mg.where(sign != 0, logabsdet, 0).sum()

    x = np.stack([np.ones((2, 2)), 2 * np.eye(2)])
    assert gradient(masked, x).tolist() == [[[0, 0], [0, 0]], [[0.5, 0], [0, 0.5]]]
    found = gradient(lambda x: mg.linalg.slogdet(x).logabsdet.sum(), x)
    assert np.isnan(found[0]).all() and not np.isnan(found[1]).any()


def of_eigenvalues(f):
    """V f(λ) Vᵀ."""

    def of(x):
        values, vectors = mg.linalg.eigh(x)
        return (vectors * f(values)[..., None, :]) @ vectors.mT

    return of


ROTATION = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
TWINS = (ROTATION * [1.0, 1.0, 1.0, 2.0]) @ ROTATION.T  # its equal eigenvalues differ by rounding


def test_traces_of_functions_of_matrices_with_equal_eigenvalues():
    squared = of_eigenvalues(mg.square)
    for x in (np.eye(3), np.zeros((3, 3)), TWINS):
        found = gradient(lambda x: mg.linalg.trace(squared(x)), x)
        np.testing.assert_allclose(found, 2 * x, atol=1e-13)
    found = gradient(lambda x: mg.log(mg.linalg.eigvalsh(x)).sum(), TWINS)
    np.testing.assert_allclose(found, np.linalg.inv(TWINS), atol=1e-13)


def test_projections_on_all_vectors_of_an_eigenvalue():
    weights = RNG.normal(size=(4, 4))

    def projected(x):
        vectors = mg.linalg.eigh((x + x.mT) / 2).eigenvectors[:, :3]
        return ((vectors @ vectors.mT) * tensor(weights)).sum()

    assert mg.gradcheck(projected, [tensor(TWINS)])


def test_between_equal_eigenvalues_the_derivative_of_a_function_is_missing():
    found = gradient(lambda x: of_eigenvalues(mg.square)(x).sum(), np.eye(2))
    assert found.tolist() == [[2, 0], [0, 2]]  # of x @ x it is 2 everywhere
    assert gradient(lambda x: (x @ x).sum(), np.eye(2)).tolist() == [[2, 2], [2, 2]]


@pytest.mark.parametrize("full_matrices", [False, True])
def test_functions_of_equal_singular_values(full_matrices):
    def put_together(x):
        u, s, vh = mg.linalg.svd(x, full_matrices=full_matrices)
        k = s.shape[-1]
        return mg.square((u[..., :k] * s) @ vh[..., :k, :]).sum()

    deficient = np.outer([1.0, 2, 2], [2.0, 1]) / 3
    for x in (np.eye(3), np.zeros((2, 3)), TWINS, deficient):
        np.testing.assert_allclose(gradient(put_together, x), 2 * x, atol=1e-13)
        found = gradient(lambda x: mg.square(mg.linalg.svdvals(x)).sum(), x)
        np.testing.assert_allclose(found, 2 * x, atol=1e-13)


def test_norms_where_singular_values_are_equal_or_0():
    nuclear = gradient(lambda x: mg.linalg.matrix_norm(x, ord="nuc"), np.outer([3.0, 4], [0, 2.0]))
    np.testing.assert_allclose(nuclear, [[0, 0.6], [0, 0.8]], atol=1e-15)
    for ord in (2, -2):
        found = gradient(lambda x, ord=ord: mg.linalg.matrix_norm(x, ord=ord), np.eye(2))
        np.testing.assert_allclose(found, np.eye(2) / 2, atol=1e-15)


@pytest.mark.parametrize("name", ["cholesky", "eigh", "eigvalsh"])
def test_gradients_are_symmetric_as_in_pytorch(name):
    torch = pytest.importorskip("torch", reason="compares with torch (the extra minigrad[compare])")
    weights = RNG.normal(size=(3, 3))

    def f(xp, weights):
        def of(x):
            found = getattr(xp.linalg, name)(x)
            if name == "eigh":
                return (found[0] * weights[0]).sum() + (abs(found[1]) * weights).sum()
            return (found * weights).sum()

        return of

    x = POSITIVE[0].real
    theirs = torch.tensor(x, requires_grad=True)
    f(torch, torch.tensor(weights))(theirs).backward()
    found = gradient(f(mg, tensor(weights)), x)
    np.testing.assert_allclose(found, theirs.grad.numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found, found.T, rtol=1e-10, atol=1e-12)


def test_the_other_triangle_is_not_read():
    x = np.array([[2.0, np.nan], [1.0, 4.0]])
    found = mg.linalg.solve_triangular(tensor(x), tensor([2.0, 5.0]), upper=False)
    assert found.tolist() == [1, 1]
    y = tensor(np.ones(2))
    found = gradient(lambda x: mg.linalg.solve_triangular(x, y, upper=False).sum(), x)
    assert found[0, 1] == 0 and not np.isnan(found).any()


def substituted(lower, right):
    """The exact solution of lower @ z = right, rounded once."""
    z = []
    for row, b in zip(lower.tolist(), right.tolist(), strict=True):
        *before, pivot = map(Fraction, row[: len(z) + 1])
        z.append((Fraction(b) - sum(x * y for x, y in zip(before, z, strict=True))) / pivot)
    return np.array([float(number) for number in z])


@pytest.mark.parametrize("upper", [False, True])
def test_triangles_are_solved_by_substitution(upper):
    """Whose error is small in each element, though the triangle's condition is about 1e18."""
    rng = np.random.default_rng(0)
    lower, right = np.tril(rng.normal(size=(60, 60))), rng.normal(size=60)
    x, y = tensor(lower[::-1, ::-1] if upper else lower), tensor(right)
    y.requires_grad = True
    found = mg.linalg.solve_triangular(x, mg.flip(y) if upper else y, upper=upper)
    exact = substituted(lower, right)
    np.testing.assert_allclose(found.detach().numpy(), exact[::-1] if upper else exact, rtol=1e-12)
    # The cotangent of y meets the adjoint triangle.
    turned = lower[::-1, ::-1].T
    found.backward(tensor(right[::-1] if not upper else right))
    exact = substituted(turned, right)
    np.testing.assert_allclose(y.grad.numpy(), exact[::-1], rtol=1e-12)


LEAST_SQUARES = {
    "tall": (RNG.normal(size=(4, 2)), RNG.normal(size=(4, 3))),
    "vector": (RNG.normal(size=(4, 2)), RNG.normal(size=4)),
    "wide": (RNG.normal(size=(2, 4)), RNG.normal(size=(2, 1))),
    "square": (RNG.normal(size=(3, 3)), RNG.normal(size=3)),
    "complex": (WIDE.T, WIDE[0] * WIDE[1]),
}


@pytest.mark.parametrize("name", LEAST_SQUARES)
def test_least_squares(name):
    x, y = LEAST_SQUARES[name]
    found, wanted = mg.linalg.lstsq(tensor(x), tensor(y)), np.linalg.lstsq(x, y)
    for part, value in zip(found, wanted, strict=True):
        assert part.shape == np.shape(value)
        np.testing.assert_allclose(part.numpy(), value, rtol=1e-11)
    assert found._fields == ("solution", "residuals", "rank", "singular_values")


def test_least_squares_of_batches_and_without_full_rank():
    x = np.stack([np.ones((3, 2)), np.eye(3, 2)])
    solution, residuals, rank, _ = mg.linalg.lstsq(tensor(x), tensor(np.array([1.0, 2, 6])))
    np.testing.assert_allclose(solution.numpy(), [[1.5, 1.5], [1, 2]], rtol=1e-14)
    np.testing.assert_allclose(residuals.numpy(), [[14], [36]], rtol=1e-14)
    assert rank.tolist() == [1, 2]
    scaled = mg.linalg.lstsq(tensor(np.diag([1.0, 0.1])), tensor([1.0, 1.0]), rcond=0.5)
    np.testing.assert_allclose(scaled.solution.numpy(), [1, 0], atol=1e-15)
    assert scaled.rank.item() == 1


@pytest.mark.parametrize("shapes", [((5, 3), (5, 2)), ((2, 3, 4), (3,)), ((4, 3), (2, 4, 1))])
@pytest.mark.parametrize("rank", [2, 3])
def test_least_squares_have_the_derivatives_of_a_pseudo_inverse(shapes, rank):
    rng = np.random.default_rng(rank)
    *batch, m, n = shapes[0]
    x = tensor(rng.normal(size=(*batch, m, rank)) @ rng.normal(size=(*batch, rank, n)))
    y = tensor(rng.normal(size=shapes[1]))
    column = y.ndim == 1

    def composed(x, y):
        return mg.linalg.pinv(x, rtol=1e-9) @ (y[:, None] if column else y)

    def solved(x, y):
        solution = mg.linalg.lstsq(x, y, rcond=1e-9).solution
        return solution[..., None] if column else solution

    def derivatives(f):
        first = mg.grad(lambda x, y: mg.sin(f(x, y)).sum(), argnums=(0, 1))
        second = mg.grad(lambda x, y: sum(mg.sin(g).sum() for g in first(x, y)), argnums=(0, 1))
        return *first(x, y), *second(x, y)

    for found, wanted in zip(derivatives(solved), derivatives(composed), strict=True):
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-7, atol=1e-8)


def test_least_squares_keep_their_inputs_and_the_solution():
    x, y = (tensor(RNG.normal(size=shape), requires_grad=True) for shape in [(64, 32), (64, 4)])
    node = mg.linalg.lstsq(x, y).solution.node
    kept = [value.shape for value in node.saved if isinstance(value, Tensor)]
    assert sorted(kept) == [(32, 4), (64, 4), (64, 32)]


def test_dependent_columns_have_no_factors_to_differentiate():
    r = mg.linalg.qr(tensor(np.outer([1.0, 0], [1, 2.0]), requires_grad=True)).R
    with pytest.raises(np.linalg.LinAlgError, match=r"first 2 columns|Singular"):
        r.sum().backward()
        backends.default().synchronize()  # a device says so later


#: How many arrays the tape keeps: no more than PyTorch's.
KEPT = {
    "cholesky": 1,
    "det": 1,
    "eigh": 2,
    "eigvalsh": 1,
    "inv": 1,
    "pinv": 2,
    "qr": 2,
    "slogdet": 2,
    "svd": 3,
    "svdvals": 1,
}


@pytest.mark.parametrize("name", KEPT)
def test_what_the_tape_keeps(name):
    found = getattr(mg.linalg, name)(tensor(POSITIVE.real).requires_grad_())
    node = (found[-1] if isinstance(found, tuple) else found).node
    assert sum(isinstance(value, Tensor) for value in node.saved) == KEPT[name]


@pytest.mark.parametrize("shape", [(0, 0), (0, 2, 2), (0, 3), (3, 0), (2, 0, 3)])
def test_derivatives_of_nothing(shape):
    names = ["pinv", "qr", "svd", "svdvals"]
    if shape[-1] == shape[-2]:
        names += ["cholesky", "det", "eigh", "eigvalsh", "inv", "slogdet"]
    for name in names:
        x = tensor(np.zeros(shape), requires_grad=True)
        found = getattr(mg.linalg, name)(x)
        sum(part.sum() for part in (found if isinstance(found, tuple) else [found])).backward()
        assert x.grad.shape == shape


@pytest.mark.parametrize("name", ["cholesky", "det", "inv", "pinv", "svdvals"])
def test_halves_are_rounded_once(name):
    x = POSITIVE.real.astype(np.float16)
    found, wide = (
        gradient(lambda x: getattr(mg.linalg, name)(x).sum(), y) for y in (x, x.astype(np.float32))
    )
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, wide, rtol=1e-3, atol=1e-6)


def test_halves_beside_other_dtypes():
    half, single = (tensor(POSITIVE[0].real.astype(d)) for d in (np.float16, np.float32))
    integers = tensor(np.arange(3))
    assert mg.linalg.solve(half, half).dtype == np.float16
    assert mg.linalg.solve(half, integers).dtype == np.float16
    assert mg.linalg.solve(half, single).dtype == np.float32
    assert mg.linalg.solve(single, half).dtype == np.float32
    assert mg.linalg.lstsq(half, half[0]).solution.dtype == np.float16
    assert mg.linalg.lstsq(half, integers).solution.dtype == np.float16
    assert mg.linalg.lstsq(half, single[0]).solution.dtype == np.float32
