"""Products, factorizations and inverses of matrices. Vectors are compared where signs are free."""

import numpy as np

import minigrad as mg

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

SHAPES = [(3, 3), (1, 1), (0, 0), (2, 3, 3), (0, 2, 2), (2, 1, 4, 4)]
RECTANGULAR = [(3, 3), (2, 4), (4, 2), (0, 3), (3, 0), (2, 3, 2), (0, 2, 3), (2, 1, 1, 3)]


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


NO_MATRIX = Wrong((np.ones(3),), ValueError, r"at least two axes.*\(3,\)")
NOT_SQUARE = Wrong((np.ones((2, 3)),), ValueError, r"square.*2 by 3.*\(2, 3\)")
SINGULAR = Wrong((np.ones((2, 2)),), np.linalg.LinAlgError, r"Singular.*\(2, 2\)")


def of_matrices(f, reference, matrices=full_rank, shapes=SHAPES, wrong=(), params=(), **more):
    """A function of matrices in the last two axes, square ones unless shapes are given."""
    cases = [Case((Given(matrices(shape)),), p) for shape in shapes for p in params or ({},)]
    wrong = (NO_MATRIX, *((NOT_SQUARE,) if shapes is SHAPES else ()), *wrong)
    return Row(f, reference, tuple(cases), order=0, wrong=wrong, **more)


def eigh_of(xp):
    def f(x):
        values, vectors = xp.linalg.eigh(x)
        return values, (vectors * values[..., None, :]) @ adjoint(vectors)

    return f


def qr_of(xp):
    def f(x, mode="reduced"):
        q, r = xp.linalg.qr(x, mode=mode)
        return xp.abs(q[..., : min(x.shape[-2:])]), xp.abs(r), q @ r, adjoint(q) @ q

    return f


def svd_of(xp):
    def f(x, full_matrices=True):
        u, s, vh = xp.linalg.svd(x, full_matrices=full_matrices)
        k = s.shape[-1]
        product = (u[..., :k] * s[..., None, :]) @ vh[..., :k, :]
        return s, product, adjoint(u) @ u, vh @ adjoint(vh)

    return f


LINALG = {
    "cholesky": of_matrices(
        mg.linalg.cholesky,
        np.linalg.cholesky,
        positive_definite,
        params=({"upper": False}, {"upper": True}),
        wrong=(
            Wrong((-np.eye(2),), np.linalg.LinAlgError, r"not positive definite.*\(2, 2\)", {}),
        ),
    ),
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
    "det": of_matrices(mg.linalg.det, np.linalg.det),
    "eigh": of_matrices(eigh_of(mg), eigh_of(np), symmetric),
    "eigvalsh": of_matrices(mg.linalg.eigvalsh, np.linalg.eigvalsh, symmetric),
    "inv": of_matrices(mg.linalg.inv, np.linalg.inv, wrong=(SINGULAR,)),
    "matrix_rank": of_matrices(
        lambda x, rtol=None: mg.linalg.matrix_rank(x, rtol=rtol),
        lambda x, rtol=None: np.asarray(np.linalg.matrix_rank(x, rtol=rtol)),
        lambda shape: np.ones(shape) + (np.arange(shape[-1]) > 2),
        [shape for shape in RECTANGULAR if 0 not in shape],
        result=index,
        params=({}, {"rtol": 0.9}),
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
    "pinv": of_matrices(
        lambda x, rtol=None: mg.linalg.pinv(x, rtol=rtol),
        lambda x, rtol=None: np.linalg.pinv(x, rtol=rtol),
        shapes=RECTANGULAR,
        params=({}, {"rtol": 0.9}),
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
        order=0,
        wrong=(
            Wrong((np.ones((2, 3)), np.ones(2)), ValueError, r"square.*2 by 3.*\(2, 3\).*\(2,\)"),
            Wrong((np.eye(2), np.ones(3)), ValueError, r"2 equations.*\(2, 2\).*\(3,\)"),
            Wrong((np.eye(2), np.ones(())), ValueError, r"axes.*\(\)"),
            Wrong((np.ones((2, 2)), np.ones(2)), np.linalg.LinAlgError, r"Singular.*\(2,\)"),
        ),
    ),
    "svd": of_matrices(
        svd_of(mg),
        svd_of(np),
        shapes=RECTANGULAR,
        params=({"full_matrices": True}, {"full_matrices": False}),
    ),
    "svdvals": of_matrices(mg.linalg.svdvals, np.linalg.svdvals, shapes=RECTANGULAR),
}
