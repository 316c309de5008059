"""Linear algebra: products of matrices, vectors and batches of them, factorizations, solving."""

import math
from collections.abc import Callable, Sequence
from functools import wraps
from operator import index
from typing import Any, NamedTuple

import numpy as np

from ..engine import Op, Tensor
from ..methods import Axis
from .axes import answers_torch, axes_of, axis_of
from .creation import as_tensor, eye, zeros_like
from .elementwise import conj_of
from .reductions import max as greatest
from .reductions import min as least
from .reductions import norm, sum, sum_to
from .shape import diagonal as diagonal_of
from .shape import expand_dims, moveaxis, permute_dims, squeeze

__all__ = [
    "matmul",
    "tensordot",
    "vecdot",
]


def _matmul_forward(xp: Any, x: Any, y: Any) -> Any:
    if not (getattr(x, "ndim", 0) and getattr(y, "ndim", 0)):  # numbers have none
        raise ValueError("operands need at least one axis; multiply by a scalar with *")
    inner = -2 if y.ndim > 1 else -1
    if x.shape[-1] != y.shape[inner]:
        raise ValueError(
            f"axis -1 of x has length {x.shape[-1]}, axis {inner} of y has {y.shape[inner]}"
        )
    return xp.matmul(x, y)


def _as_matrices(g: Tensor, x_ndim: int, y_ndim: int) -> Tensor:
    """Give g the axes that it lacks because x is a row or y a column vector."""
    if y_ndim == 1:
        g = expand_dims(g, -1)
    return expand_dims(g, -2) if x_ndim == 1 else g


def _matmul_x(g: Tensor, y: Tensor, x_shape: tuple[int, ...]) -> Tensor:
    g = _as_matrices(g, len(x_shape), y.ndim)
    y = conj_of(y)
    gx = g @ (y.mT if y.ndim > 1 else expand_dims(y, 0))
    return sum_to(gx, (1, *x_shape) if len(x_shape) == 1 else x_shape).reshape(x_shape)


def _matmul_y(g: Tensor, x: Tensor, y_shape: tuple[int, ...]) -> Tensor:
    g = _as_matrices(g, x.ndim, len(y_shape))
    if x.ndim > 2 >= len(y_shape):  # one product over all batches instead of a sum of many
        rows = math.prod(x.shape[:-1])
        x, g = x.reshape((rows, x.shape[-1])), g.reshape((rows, g.shape[-1]))
    x = conj_of(x)
    gy = (x.mT if x.ndim > 1 else expand_dims(x, -1)) @ g
    return sum_to(gy, (*y_shape, 1) if len(y_shape) == 1 else y_shape).reshape(y_shape)


matmul = Op(
    "matmul",
    _matmul_forward,
    vjp=dict(x=_matmul_x, y=_matmul_y),
    promotes=("x", "y"),
    complex_rules=True,
)
"""The matrix product, over leading batch axes that broadcast; 1-d operands are a row, a column."""


@answers_torch
def vecdot(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """Sum of conj(x1) · x2 along an axis of the same length in both; the other axes broadcast."""
    x1, x2 = _axis_last("vecdot", x1, axis), _axis_last("vecdot", x2, axis)
    if x1.shape[-1] != x2.shape[-1]:
        raise ValueError(
            f"vecdot: the vectors have lengths {x1.shape[-1]} and {x2.shape[-1]}; expected the "
            "same along the axis of both"
        )
    return (expand_dims(conj_of(x1), -2) @ expand_dims(x2, -1))[..., 0, 0]


def _axis_last(name: str, x: Tensor, axis: int) -> Tensor:
    x = as_tensor(x)
    return moveaxis(x, axis_of(name, axis, x.shape), -1)


def tensordot(
    x1: Tensor, x2: Tensor, /, *, axes: int | tuple[Sequence[int], Sequence[int]] = 2
) -> Tensor:
    """Sum of products over pairs of axes; what is left of x1's axes comes first, then x2's.

    axes: how many of the last axes of x1 to pair with the first of x2, or (axes of x1, axes of
    x2). ValueError where two that are paired differ in length.
    """
    x1, x2 = as_tensor(x1), as_tensor(x2)
    if isinstance(axes, Sequence):
        left, right = (
            axes_of("tensordot", a, x.shape) for a, x in zip(axes, (x1, x2), strict=True)
        )
    else:
        count = index(axes)
        if not 0 <= count <= min(x1.ndim, x2.ndim):
            raise ValueError(
                f"tensordot: {count} axes cannot be paired in shapes {x1.shape} and {x2.shape}"
            )
        left, right = tuple(range(x1.ndim - count, x1.ndim)), tuple(range(count))
    summed = [x1.shape[a] for a in left]
    if summed != [x2.shape[a] for a in right]:
        raise ValueError(
            f"tensordot: axes {left} of shape {x1.shape} and {right} of {x2.shape} differ in length"
        )
    rows = [a for a in range(x1.ndim) if a not in left]
    columns = [a for a in range(x2.ndim) if a not in right]
    inner = math.prod(summed)
    shape = [x1.shape[a] for a in rows], [x2.shape[a] for a in columns]
    matrix1 = permute_dims(x1, (*rows, *left)).reshape((math.prod(shape[0]), inner))
    matrix2 = permute_dims(x2, (*right, *columns)).reshape((inner, math.prod(shape[1])))
    return (matrix1 @ matrix2).reshape((*shape[0], *shape[1]))


def outer(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The products of all elements of one vector (rows) with all of another (columns)."""
    x1, x2 = as_tensor(x1), as_tensor(x2)
    if x1.ndim != 1 or x2.ndim != 1:
        raise ValueError(f"outer: expected two vectors, got shapes {x1.shape} and {x2.shape}")
    return expand_dims(x1, 1) * x2


def _cross_forward(xp: Any, x: Any, y: Any) -> Any:
    if x.shape[-1:] != (3,) or y.shape[-1:] != (3,):
        raise ValueError("expected vectors of length 3 along the axis of both")
    return xp.linalg.cross(x, y)


_cross: Op = Op(
    "cross",
    _cross_forward,
    vjp=dict(x=lambda g, y: _cross(conj_of(y), g), y=lambda g, x: _cross(g, conj_of(x))),
    elementwise=True,
    complex_rules=True,
)


@answers_torch
def cross(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """The cross product of vectors of length 3 along an axis; the other axes broadcast."""
    return moveaxis(_cross(_axis_last("cross", x1, axis), _axis_last("cross", x2, axis)), -1, axis)


def diagonal(x: Tensor, /, *, offset: int = 0) -> Tensor:
    """The diagonals of matrices, above the main one for a positive offset: a view."""
    return diagonal_of(x, offset, -2, -1)


def trace(x: Tensor, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """The sums of the diagonals of matrices, see `diagonal` and, for dtypes, `sum`."""
    return sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)


@answers_torch
def vector_norm(
    x: Tensor, /, *, axis: Axis = None, keepdims: bool = False, ord: float = 2
) -> Tensor:
    """(Σ |x|ᵖ)^(1/p) for p = ord over axes, all where None: see `minigrad.norm`."""
    return norm(x, ord, axis, keepdims=keepdims)


def matrix_norm(x: Tensor, /, *, keepdims: bool = False, ord: float | str = "fro") -> Tensor:
    """Norms of the matrices in the last two axes.

    ord: "fro", the root of the sum of |x|²; 1 or inf, the greatest sum of |x| in a column or in a
    row; 2, the greatest singular value; -1, -inf, -2, the least of these; "nuc", the sum of the
    singular values.
    """
    if ord == "fro":
        return norm(x, axis=(-2, -1), keepdims=keepdims)
    extreme = least
    if ord in (1, 2, math.inf):
        extreme = greatest if x.size else sum  # the greatest of nothing is 0
    if ord in ("nuc", 2, -2):
        reduced = sum if ord == "nuc" else extreme
        out = expand_dims(reduced(svdvals(x), axis=-1, keepdims=True), -1)
    elif ord in (1, -1, math.inf, -math.inf):
        along, across = (-2, -1) if abs(float(ord)) == 1 else (-1, -2)
        out = extreme(norm(x, 1, along, keepdims=True), axis=across, keepdims=True)
    else:
        raise ValueError(
            f"matrix_norm: ord is 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, not {ord!r}"
        )
    return out if keepdims else squeeze(out, (-2, -1))


def _wide(x: Any) -> Any:
    """Return float16 as float32: LAPACK has no other."""
    return x.astype(np.float32) if getattr(x, "dtype", None) == np.float16 else x


def _narrow(y: Any, like: Any) -> Any:
    return y.astype(np.float16) if like.dtype == np.float16 and y.dtype.kind == "f" else y


def _of_matrices(
    name: str, forward: Callable[..., Any], *, square: bool = False, **more: Any
) -> Op:
    """An op of matrices in the last two axes of x, whose batch axes are all before them."""

    @wraps(forward)
    def checked(xp: Any, x: Any, *others: Any, **params: Any) -> Any:
        if x.ndim < 2:
            raise ValueError("expected matrices, which have at least two axes")
        if square and x.shape[-1] != x.shape[-2]:
            raise ValueError(f"expected square matrices, not {x.shape[-2]} by {x.shape[-1]}")
        out = forward(xp, _wide(x), *map(_wide, others), **params)
        return tuple([_narrow(y, x) for y in out]) if isinstance(out, tuple) else _narrow(out, x)

    more = {"promotes": ("x",), "differentiable": True, **more}
    return Op(name, checked, floating=True, **more)


def _adjoint(xp: Any, x: Any) -> Any:
    return xp.conj(xp.matrix_transpose(x))


def _cholesky_forward(xp: Any, x: Any, *, upper: bool) -> Any:
    if upper:
        return _adjoint(xp, xp.linalg.cholesky(_adjoint(xp, x)))
    return xp.linalg.cholesky(x)


_cholesky = _of_matrices("cholesky", _cholesky_forward, square=True)


def cholesky(x: Tensor, /, *, upper: bool = False) -> Tensor:
    """The lower triangular L with L·Lᴴ = x, or the upper triangular U with Uᴴ·U = x.

    x: symmetric or Hermitian; the triangle that is asked for is the one that is read.
    numpy.linalg.LinAlgError, a ValueError, where x is not positive definite; a GPU does not notice.
    """
    return _cholesky(x, upper=upper)


det = _of_matrices("det", lambda xp, x: xp.linalg.det(x), square=True)
"""The determinants of square matrices; of an empty matrix it is 1."""

_slogdet = _of_matrices(
    "slogdet",
    lambda xp, x: tuple(xp.linalg.slogdet(x)),
    square=True,
    outputs=("sign", "logabsdet"),
)


class SlogdetResult(NamedTuple):
    """The determinant as sign · exp(logabsdet)."""

    sign: Tensor
    logabsdet: Tensor


def slogdet(x: Tensor, /) -> SlogdetResult:
    """Sign (a number of modulus 1) and logarithm of |det x|: 0 and -inf where x is singular."""
    return SlogdetResult(*_slogdet(x))


inv = _of_matrices("inv", lambda xp, x: xp.linalg.inv(x), square=True)
"""The inverses of square matrices.

numpy.linalg.LinAlgError, a ValueError, where one is singular; a GPU does not notice.
"""


def _solve_forward(xp: Any, x: Any, y: Any) -> Any:
    if not y.ndim:
        raise ValueError("expected a vector or matrices on the right, which have axes")
    if y.shape[-2:][0] != x.shape[-1]:
        raise ValueError(f"{x.shape[-1]} equations need as many right-hand sides")
    right = y if y.ndim > 1 else y[:, None]
    batch = np.broadcast_shapes(x.shape[:-2], right.shape[:-2])  # CuPy does not broadcast them
    x = xp.broadcast_to(x, (*batch, *x.shape[-2:]))
    right = xp.broadcast_to(right, (*batch, *right.shape[-2:]))
    out = xp.linalg.solve(x, right)
    return out if y.ndim > 1 else out[..., 0]


_solve = _of_matrices("solve", _solve_forward, square=True, promotes=("x", "y"))


def solve(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The z with x1 @ z = x2, for a vector x2 or matrices; batch axes broadcast.

    numpy.linalg.LinAlgError, a ValueError, where x1 is singular; a GPU does not notice.
    """
    return _solve(x1, x2)


_eigh = _of_matrices(
    "eigh",
    lambda xp, x: tuple(xp.linalg.eigh(x)),
    square=True,
    outputs=("eigenvalues", "eigenvectors"),
)


class EighResult(NamedTuple):
    """Ascending real eigenvalues; orthonormal eigenvectors in the columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


def eigh(x: Tensor, /) -> EighResult:
    """Eigenvalues and eigenvectors of symmetric or Hermitian matrices, of the lower triangle."""
    return EighResult(*_eigh(x))


eigvalsh = _of_matrices("eigvalsh", lambda xp, x: xp.linalg.eigvalsh(x), square=True)
"""The real eigenvalues of symmetric or Hermitian matrices, ascending; see `eigh`."""

_qr = _of_matrices(
    "qr", lambda xp, x, *, mode: tuple(xp.linalg.qr(x, mode=mode)), outputs=("Q", "R")
)


class QRResult(NamedTuple):
    """Orthonormal columns Q and an upper triangular R."""

    Q: Tensor
    R: Tensor


def qr(x: Tensor, /, *, mode: str = "reduced") -> QRResult:
    """The factorization x = Q @ R; of m by n, with k = min(m, n), Q is m by k and R k by n.

    mode: "complete" makes Q m by m and R m by n.
    """
    if mode not in ("reduced", "complete"):
        raise ValueError(f'qr: expected the mode "reduced" or "complete", got {mode!r}')
    return QRResult(*_qr(x, mode=mode))


_svd = _of_matrices(
    "svd",
    lambda xp, x, *, full_matrices: tuple(xp.linalg.svd(x, full_matrices=full_matrices)),
    outputs=("U", "S", "Vh"),
)


class SVDResult(NamedTuple):
    """Orthonormal columns U, descending singular values S, orthonormal rows Vh."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def svd(x: Tensor, /, *, full_matrices: bool = True) -> SVDResult:
    """The factorization x = (U · S) @ Vh; of m by n, with k = min(m, n), S has length k.

    full_matrices: U is m by m and Vh n by n, with more columns and rows than S has elements; else
    m by k and k by n.
    """
    return SVDResult(*_svd(x, full_matrices=full_matrices))


svdvals = _of_matrices("svdvals", lambda xp, x: xp.linalg.svd(x, compute_uv=False))
"""The singular values of matrices, descending."""


def _negligible(s: Any, shape: tuple[int, ...], rtol: Any) -> Any:
    """Return which singular values, descending, are too small to be told from 0."""
    if rtol is None:
        rtol = max(shape[-2:]) * float(np.finfo(s.dtype).eps)
    elif hasattr(rtol, "ndim"):
        rtol = rtol[..., None]
    return s <= rtol * s[..., :1]


def _pinv_forward(xp: Any, x: Any, rtol: Any = None) -> Any:
    u, s, vh = xp.linalg.svd(x, full_matrices=False)
    out = _negligible(s, x.shape, rtol)
    inverse = xp.where(out, 0, 1 / xp.where(out, 1, s))
    return xp.matmul(_adjoint(xp, vh) * inverse[..., None, :], _adjoint(xp, u))


_pinv = _of_matrices("pinv", _pinv_forward)


def pinv(x: Tensor, /, *, rtol: Any = None) -> Tensor:
    """The Moore-Penrose pseudo-inverses of matrices.

    rtol: singular values up to rtol times the largest count as 0; a number or one for each matrix;
    max(m, n) · eps of the dtype where None.
    """
    return _pinv(x, rtol)


def _matrix_rank_forward(xp: Any, x: Any, rtol: Any = None) -> Any:
    s = xp.linalg.svd(x, compute_uv=False)
    return xp.count_nonzero(xp.logical_not(_negligible(s, x.shape, rtol)), axis=-1)


_matrix_rank = _of_matrices("matrix_rank", _matrix_rank_forward, differentiable=False)


def matrix_rank(x: Tensor, /, *, rtol: Any = None) -> Tensor:
    """The ranks of matrices: how many singular values count, see `pinv`. No derivative."""
    return _matrix_rank(x, rtol)


def matrix_power(x: Tensor, n: int, /) -> Tensor:
    """The product of n times x; for n = 0 identity matrices, for n < 0 that of inverses."""
    x = as_tensor(x)
    n = index(n)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"matrix_power: expected square matrices, got shape {x.shape}")
    if n == 0:
        return zeros_like(x) + eye(x.shape[-1], dtype=x.dtype, backend=x.backend)
    base = x if n > 0 else inv(x)
    result = base
    for bit in f"{abs(n):b}"[1:]:
        result = result @ result
        if bit == "1":
            result = result @ base
    return +result if result is x else result
