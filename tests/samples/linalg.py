"""Products, factorizations and inverses of matrices. Vectors are compared where signs are free."""

import math

import numpy as np

import minigrad as mg
from minigrad.engine import TABLE

from .rows import *

PRODUCTS = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3, 4)),
    ((2, 0), (0, 3)),
    ((0, 2), (2, 3)),
    ((4, 2, 3), (3, 2)),
    ((2, 3), (4, 3, 2)),
    ((2, 1, 1, 3), (2, 3, 2)),
    ((3,), (2, 3, 2)),
    ((2, 2, 3), (3,)),
    ((1, 2, 3), (4, 3, 1)),
]

SHAPES = [(3, 3), (1, 1), (0, 0), (2, 2, 2), (0, 2, 2), (2, 1, 4, 4)]
RECTANGULAR = [(3, 3), (2, 4), (3, 2), (0, 3), (3, 0), (2, 2, 3), (0, 2, 3), (2, 1, 1, 3)]


def full_rank(shape):
    """Matrices with singular values near 1, and some beside."""
    rng = np.random.default_rng(3)
    return np.eye(*shape[-2:]) * rng.choice([-1, 1, 1.5], shape) + rng.uniform(-0.2, 0.2, shape)


def symmetric(shape):
    x = full_rank(shape)
    return x + x.swapaxes(-1, -2)


def positive_definite(shape):
    x = full_rank(shape)
    return x @ x.swapaxes(-1, -2) + 0.2 * np.eye(shape[-1])


def adjoint(x):
    return x.swapaxes(-1, -2).conj()


def of_symmetric(f):
    """f of the symmetric part: factorizations read one triangle, their gradients are symmetric."""

    def of_mean(x, **params):
        square = x.ndim > 1 and x.shape[-1] == x.shape[-2]
        return f((x + adjoint(x)) / 2 if square else x, **params)

    return of_mean


NO_MATRIX = Wrong((np.ones(3),), ValueError, r"at least two axes.*\(3,\)")
NOT_SQUARE = Wrong((np.ones((2, 3)),), ValueError, r"square.*2 by 3.*\(2, 3\)")
SINGULAR = Wrong((np.ones((2, 2)),), np.linalg.LinAlgError, "Singular matrix")


def of_matrices(
    f, reference, matrices=full_rank, shapes=SHAPES, wrong=(), params=({},), flat=(), **more
):
    """A function of matrices in the last two axes, square ones unless shapes are given.

    flat: params with which it is not differentiated.
    """
    cases = [
        Case((Given(matrices(shape)),), p, order=0 if p in flat or math.prod(shape) > 9 else None)
        for shape in shapes
        for p in (*params, *flat)
    ]
    wrong = (NO_MATRIX, *((NOT_SQUARE,) if shapes is SHAPES else ()), *wrong)
    return Row(f, reference, tuple(cases), wrong=wrong, **more)


def eigh_of(xp):
    def f(x):
        values, vectors = xp.linalg.eigh(x)
        product = (vectors * values[..., None, :]) @ adjoint(vectors)
        return values, product, xp.abs(vectors)

    return of_symmetric(f)


def qr_of(xp):
    def f(x, mode="reduced"):
        q, r = xp.linalg.qr(x, mode=mode)
        k = min(x.shape[-2:])
        more = q[..., k:]
        return xp.abs(q[..., :k]), xp.abs(r), q @ r, adjoint(q) @ q, more @ adjoint(more)

    return f


def svd_of(xp):
    def f(x, full_matrices=True):
        u, s, vh = xp.linalg.svd(x, full_matrices=full_matrices)
        k = s.shape[-1]
        product = (u[..., :k] * s[..., None, :]) @ vh[..., :k, :]
        sizes = xp.abs(u[..., :k]), xp.abs(vh[..., :k, :])
        return s, product, *sizes, u @ adjoint(u), adjoint(vh) @ vh

    return f


def triangular(x, y, upper, left=True, unitriangular=False):
    """Solve with one triangle of x, as NumPy does with all of it."""
    triangle = np.triu(x) if upper else np.tril(x)
    if unitriangular:
        triangle = np.where(np.eye(x.shape[-1], dtype=bool), 1, triangle)
    if left:
        return np.linalg.solve(triangle, y)
    return np.linalg.solve(triangle.mT, y.mT).mT


def cofactors(x):
    """The determinants of what is left without a row and a column, with their signs."""
    n = range(x.shape[-1])
    out = np.zeros_like(x)
    for i in n:
        for j in n:
            rest = np.delete(np.delete(x, i, axis=-2), j, axis=-1)
            out[..., i, j] = (-1) ** (i + j) * np.linalg.det(rest)
    return out


LINALG = {
    "cholesky": of_matrices(
        of_symmetric(mg.linalg.cholesky),
        of_symmetric(np.linalg.cholesky),
        positive_definite,
        params=({"upper": False}, {"upper": True}),
        wrong=(Wrong((-np.eye(2),), np.linalg.LinAlgError, "not positive definite"),),
    ),
    "cofactor": of_matrices(TABLE["cofactor"], cofactors, dtypes=(SINGLE, DOUBLE)),
    "cross": Row(
        mg.linalg.cross,
        np.linalg.cross,
        tuple(
            Case((Reals(a), Reals(b)), {"axis": axis})
            for a, b, axis in [
                ((3,), (3,), -1),
                ((2, 3), (3,), -1),
                ((3, 2), (3, 2), 0),
                ((3, 1), (2, 3, 4), -2),
                ((0, 3), (0, 3), 1),
            ]
        ),
        dtypes=NUMBERS,
        wrong=(
            Wrong((np.ones((2, 2)), np.ones((2, 2))), ValueError, r"length 3.*\(2, 2\)"),
            Wrong((np.ones(3), np.ones(())), np.exceptions.AxisError, r"axis -1.*\(\)"),
        ),
    ),
    "det": of_matrices(
        mg.linalg.det,
        np.linalg.det,
        kinks=(
            Kink(([[1.0, 2.0], [2.0, 4.0]],), ([[4.0, -2.0], [-2.0, 1.0]],)),
            Kink((np.diag([1.0, 2.0, 0.0]),), (np.diag([0.0, 0.0, 2.0]),)),
            Kink((np.diag([3.0, 0.0, 0.0]),), (np.zeros((3, 3)),)),
        ),
    ),
    "eigh": of_matrices(eigh_of(mg), eigh_of(np), symmetric),
    "eigvalsh": of_matrices(
        of_symmetric(mg.linalg.eigvalsh),
        of_symmetric(np.linalg.eigvalsh),
        symmetric,
        kinks=(Kink((np.eye(3),), (np.eye(3),)),),
    ),
    "inv": of_matrices(mg.linalg.inv, np.linalg.inv, wrong=(SINGULAR,)),
    "kron": Row(
        mg.kron,
        np.kron,
        tuple(
            Case((Reals(a), Reals(b)))
            for a, b in [((2, 2), (1, 3)), ((2,), (3,)), ((2, 1), (3,)), ((), (2,)), ((0, 2), (2,))]
        ),
        dtypes=NUMBERS,
    ),
    "matrix_rank": of_matrices(
        lambda x, rtol=None: mg.linalg.matrix_rank(x, rtol=rtol),
        lambda x, rtol=None: np.asarray(np.linalg.matrix_rank(x, rtol=rtol)),
        lambda shape: np.ones(shape) + (np.arange(shape[-1]) > 2),
        [shape for shape in RECTANGULAR if 0 not in shape],
        result=index,
        flat=({}, {"rtol": 0.9}),
        params=(),
    ),
    "matmul": Row(
        lambda x, y: x @ y,
        np.matmul,
        tuple(Case((Reals(a), Reals(b))) for a, b in PRODUCTS),
        dtypes=(*FLOATS, *INTEGERS),
        wrong=(
            Wrong(
                (np.ones((2, 3)), np.ones((4, 5))),
                ValueError,
                r"axis -1 of x has length 3.*axis -2 of y has 4.*\(2, 3\).*\(4, 5\)",
            ),
            Wrong((np.ones((2, 3)), np.ones(2)), ValueError, r"axis -1 of y has 2"),
            Wrong((np.ones((2, 3)), np.array(2.0)), ValueError, r"at least one axis.*\(\)"),
            Wrong(
                (np.ones((2, 2, 3)), np.ones((3, 3, 2))), ValueError, r"\(2, 2, 3\).*\(3, 3, 2\)"
            ),
        ),
    ),
    "lstsq": Row(
        lambda x, y: mg.linalg.lstsq(x, y)[::3],
        lambda x, y: (np.linalg.pinv(x) @ y, np.linalg.svdvals(x)),
        tuple(
            Case((Given(full_rank(a)), Reals(b)))
            for a, b in [
                ((3, 2), (3, 2)),
                ((2, 3), (2, 1)),
                ((2, 3, 2), (3, 1)),
                ((3, 2), (2, 3, 1)),
                ((0, 3, 2), (3, 1)),
            ]
        ),
        wrong=(
            Wrong((np.ones((2, 3)), np.ones(3)), ValueError, r"\(2, 3\) and \(3,\)"),
            Wrong((np.ones(3), np.ones((3, 1))), ValueError, r"\(3,\) and \(3, 1\)"),
        ),
    ),
    "pinv": of_matrices(
        lambda x, rtol=None: mg.linalg.pinv(x, rtol=rtol),
        lambda x, rtol=None: np.linalg.pinv(x, rtol=rtol),
        shapes=RECTANGULAR,
        flat=({"rtol": 0.9},),  # as if what is left out was exactly 0
    ),
    "qr": of_matrices(qr_of(mg), qr_of(np), shapes=RECTANGULAR, params=({}, {"mode": "complete"})),
    "slogdet": of_matrices(
        lambda x: tuple(mg.linalg.slogdet(x)), lambda x: tuple(np.linalg.slogdet(x))
    ),
    "solve": Row(
        mg.linalg.solve,
        np.linalg.solve,
        tuple(
            Case((Given(full_rank(a)), Reals(b)))
            for a, b in [
                ((3, 3), (3,)),
                ((3, 3), (3, 2)),
                ((2, 3, 3), (3,)),
                ((2, 3, 3), (3, 1)),
                ((3, 3), (2, 1, 3, 2)),
                ((2, 1, 2, 2), (3, 2, 1)),
                ((0, 0), (0,)),
                ((0, 2, 2), (2, 3)),
            ]
        ),
        wrong=(
            Wrong((np.ones((2, 3)), np.ones(2)), ValueError, r"square.*2 by 3.*\(2, 3\).*\(2,\)"),
            Wrong((np.eye(2), np.ones(3)), ValueError, r"2 equations.*\(2, 2\).*\(3,\)"),
            Wrong((np.eye(2), np.ones(())), ValueError, r"axes.*\(\)"),
            Wrong((np.ones((2, 2)), np.ones(2)), np.linalg.LinAlgError, "Singular matrix"),
        ),
    ),
    "solve_triangular": Row(
        mg.linalg.solve_triangular,
        triangular,
        tuple(
            Case((Given(full_rank(a)), Reals(b)), params)
            for a, b, params in [
                ((3, 3), (3,), {"upper": False}),
                ((2, 2, 2), (2, 1), {"upper": True}),
                ((2, 2), (2, 3, 2), {"upper": True, "left": False}),
                ((3, 3), (3, 1), {"upper": True, "unitriangular": True}),
                ((2, 2), (1, 2), {"upper": False, "left": False, "unitriangular": True}),
                ((0, 0), (0, 2), {"upper": True}),
                ((0, 2, 2), (2, 3), {"upper": False}),
            ]
        ),
        wrong=(
            Wrong((np.ones((2, 3)), np.ones(2)), ValueError, "square", {"upper": True}),
            Wrong((np.eye(2), np.ones(3)), ValueError, r"2 equations.*\(3,\)", {"upper": True}),
            Wrong(
                (np.zeros((2, 2)), np.ones(2)),
                np.linalg.LinAlgError,
                "Singular matrix",
                {"upper": True},
            ),
        ),
    ),
    "svd": of_matrices(
        svd_of(mg),
        svd_of(np),
        shapes=RECTANGULAR,
        params=({"full_matrices": True}, {"full_matrices": False}),
    ),
    "svdvals": of_matrices(
        mg.linalg.svdvals,
        np.linalg.svdvals,
        shapes=RECTANGULAR,
        kinks=(
            Kink((np.eye(3),), (np.eye(3),)),
            Kink((np.diag([2.0, 0.0])[:, ::-1],), ([[0.0, 1.0], [0.0, 0.0]],)),
            Kink((np.zeros((2, 3)),), (np.zeros((2, 3)),)),
        ),
    ),
}
