"""Linear algebra: products of matrices, vectors and batches of them, factorizations, solving."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from operator import index
from typing import Any, NamedTuple

import numpy as np

from ..engine import Op, Tensor
from ..methods import Axis
from ..promotion import common_dtype
from .axes import answers_torch, axes_of, axis_of
from .creation import as_tensor, astype, eye, zeros_like
from .elementwise import absorb, conj_of, imag, real, where
from .piecewise import maximum
from .predicates import equal, less_equal, logical_not, logical_or
from .reductions import count_nonzero, norm, sum, sum_to
from .reductions import max as greatest
from .reductions import min as least
from .scans import prod
from .shape import concat, expand_dims, moveaxis, pad, permute_dims, squeeze, tril, triu
from .shape import diagonal as diagonal_of

__all__ = [
    "kron",
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


def _fitted(g: Tensor, wide: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
    """Return g summed to one shape and seen in another; itself where that leaves it as it is.

    Whoever keeps a view as a gradient copies it.
    """
    g = g if g.shape == wide else sum_to(g, wide)
    return g if wide == shape else g.reshape(shape)


def _matmul_x(g: Tensor, y: Tensor, x_shape: tuple[int, ...]) -> Tensor:
    g = _as_matrices(g, len(x_shape), y.ndim)
    y = conj_of(y)
    gx = g @ (y.mT if y.ndim > 1 else expand_dims(y, 0))
    return _fitted(gx, (1, *x_shape) if len(x_shape) == 1 else x_shape, x_shape)


def _matmul_y(g: Tensor, x: Tensor, y_shape: tuple[int, ...]) -> Tensor:
    g = _as_matrices(g, x.ndim, len(y_shape))
    if x.ndim > 2 >= len(y_shape):  # one product over all batches instead of a sum of many
        rows = math.prod(x.shape[:-1])
        x, g = x.reshape((rows, x.shape[-1])), g.reshape((rows, g.shape[-1]))
    x = conj_of(x)
    gy = (x.mT if x.ndim > 1 else expand_dims(x, -1)) @ g
    return _fitted(gy, (*y_shape, 1) if len(y_shape) == 1 else y_shape, y_shape)


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
    shape = np.broadcast_shapes(x.shape, y.shape)  # CuPy does not broadcast them
    return xp.linalg.cross(xp.broadcast_to(x, shape), xp.broadcast_to(y, shape))


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


@answers_torch
def matrix_norm(x: Tensor, /, *, keepdims: bool = False, ord: float | str = "fro") -> Tensor:
    """Norms of the matrices in the last two axes.

    ord: "fro", the root of the sum of |x|²; 1 or inf, the greatest sum of |x| in a column or in a
    row; 2, the greatest singular value; -1, -inf, -2, the least of these; "nuc", the sum of the
    singular values. Tied extremes share the gradient; a singular value of 0 has none.
    """
    x = as_tensor(x)
    if x.ndim < 2:
        raise ValueError(f"matrix_norm: expected matrices, of two axes or more, got {x.shape}")
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


def kron(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The Kronecker product: x2 times each element of x1, laid out as x1 is.

    Of different numbers of axes, the smaller has axes of length 1 in front.
    """
    x1, x2 = as_tensor(x1), as_tensor(x2)
    ndim = max(x1.ndim, x2.ndim)
    a, b = ((1,) * (ndim - x.ndim) + x.shape for x in (x1, x2))
    blocks = x1.reshape([n for length in a for n in (length, 1)])
    inner = x2.reshape([n for length in b for n in (1, length)])
    return (blocks * inner).reshape([m * n for m, n in zip(a, b, strict=True)])


def _of_matrices(
    name: str,
    forward: Callable[..., Any],
    vjp: Mapping[Any, Callable[..., Any]],
    *,
    square: bool = False,
    **more: Any,
) -> Callable[..., Tensor]:
    """Define an op of matrices in the last two axes of x; return what calls it, also for float16.

    LAPACK has no float16: it becomes float32 before, for the derivative as well, and is rounded
    after.
    """

    @wraps(forward)
    def checked(xp: Any, x: Any, *others: Any, **params: Any) -> Any:
        if x.ndim < 2:
            raise ValueError("expected matrices, which have at least two axes")
        if square and x.shape[-1] != x.shape[-2]:
            raise ValueError(f"expected square matrices, not {x.shape[-2]} by {x.shape[-1]}")
        return forward(xp, x, *others, **params)

    more = {"promotes": ("x",), **more}
    op = Op(name, checked, vjp, floating=True, complex_rules=True, **more)

    def call(*xs: Any, **params: Any) -> Tensor:
        dtypes = [getattr(x, "dtype", None) for x in xs]
        if np.float16 not in dtypes:
            return op(*xs, **params)
        pairs = zip(xs, dtypes, strict=True)
        promoted = [d for i, d in enumerate(dtypes) if d is not None and op.promotes >> i & 1]
        out = op(*(astype(x, np.float32) if d == np.float16 else x for x, d in pairs), **params)
        if common_dtype(promoted) != np.float16:
            return out
        return tuple(map(_narrow, out)) if isinstance(out, tuple) else _narrow(out)

    return call


def _narrow(x: Tensor) -> Tensor:
    return astype(x, np.float16) if x.dtype.kind == "f" else x


def _adjoint(xp: Any, x: Any) -> Any:
    return xp.conj(xp.matrix_transpose(x))


def _adjoint_of(x: Tensor) -> Tensor:
    """The conjugate transpose xᴴ: a view of what is real."""
    adjoint: Tensor = conj_of(x).mT
    return adjoint


def _columns(x: Tensor) -> Tensor:
    """Vectors, or numbers for each matrix, as columns: what scales rows."""
    return expand_dims(x, -1)


def _rows(x: Tensor) -> Tensor:
    """Vectors as rows: what scales columns."""
    return expand_dims(x, -2)


def _identity(x: Tensor) -> Tensor:
    return eye(x.shape[-1], dtype=x.dtype, backend=x.backend)


def _hermitian(upper: Tensor) -> Tensor:
    """The Hermitian matrices that have an upper triangle; of its diagonal, the real part."""
    half = (triu(upper) + triu(upper, k=1)) / 2
    return half + _adjoint_of(half)


def _cholesky_forward(xp: Any, x: Any, *, upper: bool) -> Any:
    lower = xp.linalg.cholesky(_adjoint(xp, x) if upper else x)
    if xp.lenient and x.shape[-1]:
        pivot = xp.min(xp.real(xp.diagonal(lower, 0, -2, -1)), axis=-1)
        what = "cholesky: Matrix is not positive definite: expected positive pivots"
        shown = xp.where(xp.isfinite(pivot), pivot, 0)
        xp.refuse(xp.logical_not(pivot > 0), shown, what, np.linalg.LinAlgError)
    return _adjoint(xp, lower) if upper else lower


def _cholesky_x(g: Tensor, out: Tensor, upper: bool) -> Tensor:
    """½ L⁻ᴴ H L⁻¹, where the Hermitian H has the lower triangle of Lᴴ g: Murray (2016)."""
    if upper:
        out, g = _adjoint_of(out), _adjoint_of(g)
    raised = _adjoint_of(out)
    half = _solve_triangular(
        raised, _hermitian(_adjoint_of(g) @ out) / 2, upper=True, unitriangular=False
    )
    return _solve_triangular(raised, _adjoint_of(half), upper=True, unitriangular=False)


_cholesky = _of_matrices("cholesky", _cholesky_forward, dict(x=_cholesky_x), square=True)


def cholesky(x: Tensor, /, *, upper: bool = False) -> Tensor:
    """The lower triangular L with L·Lᴴ = x, or the upper triangular U with Uᴴ·U = x.

    x: symmetric or Hermitian; the triangle that is asked for is the one that is read, but the
    gradient is symmetric: that of the mean of x and xᴴ. numpy.linalg.LinAlgError, a ValueError,
    where x is not positive definite; on a GPU it comes with the next transfer. Derivative: Murray
    (2016), "Differentiation of the Cholesky decomposition".
    """
    return _cholesky(x, upper=upper)


def _products_without(xp: Any, s: Any) -> Any:
    """Return for each of the values along the last axis the product of the others."""
    mask = xp.eye(s.shape[-1], dtype=np.bool_)
    return xp.prod(xp.where(mask, 1, s[..., None, :]), axis=-1)


def _cofactor_forward(xp: Any, x: Any) -> Any:
    """With x = U S Vᴴ, adj x = det(U Vᴴ) · V adj(S) Uᴴ: finite where an inverse is not."""
    u, s, vh = xp.linalg.svd(x, full_matrices=False)
    turn = xp.conj(xp.linalg.det(u) * xp.linalg.det(vh))
    return xp.matmul(u * (turn[..., None, None] * _products_without(xp, s)[..., None, :]), vh)


def _cofactor_x(g: Tensor, x: Tensor) -> Tensor:
    """With M = Uᴴ dx V, d(adj S) is -P∘M + diag(P diag M), where P holds the products of all
    singular values but two; the rule is the adjoint of that.
    """
    u, s, vh = _svd(x, full_matrices=False)
    turn = _columns(_columns(det(u) * det(vh)))
    one = eye(x.shape[-1], dtype=np.bool_, backend=x.backend)
    kept = where(logical_or(_rows(one), expand_dims(one, 0)), 1, expand_dims(_rows(s), -2))
    products = where(one, 0, prod(kept, axis=-1))
    inner = turn * (_adjoint_of(u) @ g @ _adjoint_of(vh))
    diagonals = products @ _columns(diagonal(inner))
    return u @ _adjoint_of(where(one, diagonals, -products * inner)) @ vh


#: The adjoint of the adjugate: the derivative of the determinant, also of singular matrices.
_cofactor = _of_matrices("cofactor", _cofactor_forward, dict(x=_cofactor_x), square=True)

_det = _of_matrices(
    "det",
    lambda xp, x: xp.linalg.det(x),
    dict(x=lambda g, x: _columns(_columns(g)) * _cofactor(x)),
    square=True,
)


def det(x: Tensor, /) -> Tensor:
    """The determinants of square matrices; of an empty matrix it is 1.

    The derivative, the cofactor matrix, comes from a singular value decomposition and is exact
    where the matrix is singular too, at second order as well. `slogdet` has a cheaper one.
    """
    return _det(x)


def _slogdet_x(
    g_sign: Tensor | None, g_logabsdet: Tensor | None, sign: Tensor, x: Tensor
) -> Tensor | None:
    """x⁻ᴴ times the cotangent of log det x, whose imaginary part turns the sign."""
    g = g_logabsdet
    if g_sign is not None and sign.dtype.kind == "c":
        turned = -1j * imag(conj_of(g_sign) * sign)
        g = turned if g is None else g + turned
    if g is None:
        return None
    singular = _columns(_columns(equal(sign, 0)))  # inv would raise, also where g is 0
    inverse = inv(where(singular, _identity(x), x))
    return absorb(_columns(_columns(g)), where(singular, math.nan, _adjoint_of(inverse)))


_slogdet = _of_matrices(
    "slogdet",
    lambda xp, x: tuple(xp.linalg.slogdet(x)),
    dict(x=_slogdet_x),
    square=True,
    outputs=("sign", "logabsdet"),
)


class SlogdetResult(NamedTuple):
    """The determinant as sign · exp(logabsdet)."""

    sign: Tensor
    logabsdet: Tensor


def slogdet(x: Tensor, /) -> SlogdetResult:
    """Sign (a number of modulus 1) and logarithm of |det x|: 0 and -inf where x is singular.

    Derivative: the inverse, where x is singular nan.
    """
    return SlogdetResult(*_slogdet(x))


def _refuse_singular(xp: Any, name: str, x: Any, out: Any) -> None:
    """Refuse what a device has divided by 0 without a word; NumPy raises by itself."""
    if xp.lenient and x.shape[-1]:
        usable = xp.all(xp.isfinite(x), axis=(-2, -1))
        bad = usable & xp.logical_not(xp.all(xp.isfinite(out), axis=(-2, -1)))
        what = f"{name}: Singular matrix: expected a determinant other than 0"
        xp.refuse(bad, xp.logical_not(bad), what, np.linalg.LinAlgError)


def _inv_forward(xp: Any, x: Any) -> Any:
    out = xp.linalg.inv(x)
    _refuse_singular(xp, "inv", x, out)
    return out


_inv = _of_matrices(
    "inv",
    _inv_forward,
    dict(x=lambda g, out: -(_adjoint_of(out) @ g @ _adjoint_of(out))),
    square=True,
)


def inv(x: Tensor, /) -> Tensor:
    """The inverses of square matrices.

    numpy.linalg.LinAlgError, a ValueError, where one is singular; on a GPU it comes with the next
    transfer. Derivative: Giles (2008), "Collected matrix derivative results", section 2.2.3.
    """
    return _inv(x)


def _solved(xp: Any, name: str, x: Any, y: Any, lower: bool = False) -> Any:
    """Solve x @ out = y; `lower` says that x is a lower triangle."""
    if not y.ndim:
        raise ValueError("expected a vector or matrices on the right, which have axes")
    if y.shape[-2:][0] != x.shape[-1]:
        raise ValueError(f"{x.shape[-1]} equations need as many right-hand sides")
    right = y if y.ndim > 1 else y[:, None]
    batch = np.broadcast_shapes(x.shape[:-2], right.shape[:-2])  # CuPy does not broadcast them
    x = xp.broadcast_to(x, (*batch, *x.shape[-2:]))
    right = xp.broadcast_to(right, (*batch, *right.shape[-2:]))
    if lower:
        # LU finds no row to swap in an upper triangle, and substitutes; swapping those of a lower
        # one loses digits: at 60 by 60 all but two. So the equations are solved back to front.
        x, right = xp.flip(x, axis=(-2, -1)), xp.flip(right, axis=-2)
    # Without right-hand sides CuPy divides by the bytes between two of them.
    out = xp.linalg.solve(x, right) if right.size else xp.zeros(right.shape, dtype=right.dtype)
    _refuse_singular(xp, name, x, out)
    if lower:
        out = xp.flip(out, axis=-2)
    return out if y.ndim > 1 else out[..., 0]


def _solution_rule(
    g: Tensor,
    out: Tensor,
    x_shape: tuple[int, ...],
    y_shape: tuple[int, ...],
    wanted: tuple[str, ...],
    solver: Callable[[Tensor], Tensor],
) -> tuple[Tensor | None, Tensor | None]:
    """Where x @ out = y: x⁻ᴴ g, which the solver finds, goes to y, -(x⁻ᴴ g) outᴴ to x."""
    vector = len(y_shape) == 1
    columns = solver(_columns(g) if vector else g)
    gx = gy = None
    if "x" in wanted:
        gx = sum_to(-(columns @ _adjoint_of(_columns(out) if vector else out)), x_shape)
    if "y" in wanted:
        gy = sum_to(columns[..., 0] if vector else columns, y_shape)
    return gx, gy


def _solve_xy(
    g: Tensor, out: Tensor, x: Tensor, y_shape: tuple[int, ...], wanted: tuple[str, ...]
) -> tuple[Tensor | None, Tensor | None]:
    return _solution_rule(
        g, out, x.shape, y_shape, wanted, lambda columns: _solve(_adjoint_of(x), columns)
    )


_solve: Callable[..., Tensor] = _of_matrices(
    "solve",
    lambda xp, x, y: _solved(xp, "solve", x, y),
    {("x", "y"): _solve_xy},
    square=True,
    promotes=("x", "y"),
)


def solve(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The z with x1 @ z = x2, for a vector x2 or matrices; batch axes broadcast.

    numpy.linalg.LinAlgError, a ValueError, where x1 is singular; on a GPU it comes with the next
    transfer. Derivative: Giles (2008), "Collected matrix derivative results", section 2.3.1.
    """
    return _solve(x1, x2)


def _solve_triangular_forward(xp: Any, x: Any, y: Any, *, upper: bool, unitriangular: bool) -> Any:
    triangle = (xp.triu if upper else xp.tril)(x)
    if unitriangular:
        one = xp.eye(x.shape[-1], dtype=np.bool_)
        triangle = xp.where(one, 1, triangle)
    return _solved(xp, "solve_triangular", triangle, y, lower=not upper)


def _solve_triangular_xy(
    g: Tensor,
    out: Tensor,
    x: Tensor,
    y_shape: tuple[int, ...],
    upper: bool,
    unitriangular: bool,
    wanted: tuple[str, ...],
) -> tuple[Tensor | None, Tensor | None]:
    def solver(columns: Tensor) -> Tensor:
        return _solve_triangular(
            _adjoint_of(x), columns, upper=not upper, unitriangular=unitriangular
        )

    gx, gy = _solution_rule(g, out, x.shape, y_shape, wanted, solver)
    if gx is not None:
        k = int(unitriangular)
        gx = triu(gx, k=k) if upper else tril(gx, k=-k)
    return gx, gy


_solve_triangular: Callable[..., Tensor] = _of_matrices(
    "solve_triangular",
    _solve_triangular_forward,
    {("x", "y"): _solve_triangular_xy},
    square=True,
    promotes=("x", "y"),
)


def solve_triangular(
    x1: Tensor, x2: Tensor, /, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """The z with x1 @ z = x2, or z @ x1 = x2 where not `left`, for triangular matrices x1.

    upper: which triangle of x1 is read. unitriangular: whether its diagonal is 1, whatever x1 has
    there. x2 is a vector or matrices; batch axes broadcast. numpy.linalg.LinAlgError, a
    ValueError, for a 0 on the diagonal; on a GPU it comes with the next transfer.
    """
    x1, x2 = as_tensor(x1), as_tensor(x2)
    if left:
        return _solve_triangular(x1, x2, upper=upper, unitriangular=unitriangular)
    if x1.ndim > 1:
        x1 = x1.mT
    if x2.ndim < 2:
        return _solve_triangular(x1, x2, upper=not upper, unitriangular=unitriangular)
    return _solve_triangular(x1, x2.mT, upper=not upper, unitriangular=unitriangular).mT


def _reciprocal(x: Tensor, negligible: Tensor) -> Tensor:
    """1 / x, but 0 where x is too small to be told from 0."""
    return where(negligible, 0, 1 / where(negligible, 1, x))


def _inverse_gaps(values: Tensor, scale: Tensor) -> Tensor:
    """1 / (vⱼ - vᵢ), but 0 where rounding may have parted values that are equal.

    scale: the largest |v|. A matrix of n by n that was put together in floating point has its
    equal values up to about 2·n·eps·scale apart.
    """
    gaps = _rows(values) - _columns(values)
    rtol = 8 * _rounding(values.dtype, values.shape[-1])
    return _reciprocal(gaps, less_equal(abs(gaps), rtol * _columns(scale)))


def _eigh_x(
    g_eigenvalues: Tensor | None,
    g_eigenvectors: Tensor | None,
    eigenvalues: Tensor,
    eigenvectors: Tensor,
) -> Tensor:
    """V (diag(g of λ) + skew(Vᴴ g of V) / (λⱼ - λᵢ)) Vᴴ: Giles (2008), section 3.1."""
    adjoint = _adjoint_of(eigenvectors)
    turned = zeros_like(eigenvectors)
    if g_eigenvalues is not None:
        turned = eigenvectors * _rows(g_eigenvalues)
    if g_eigenvectors is not None:
        size = abs(eigenvalues)
        gaps = _inverse_gaps(eigenvalues, maximum(size[..., :1], size[..., -1:]))
        overlap = adjoint @ g_eigenvectors
        skew = (overlap - _adjoint_of(overlap)) / 2
        turned = turned + eigenvectors @ (skew * gaps)
    return turned @ adjoint


_eigh = _of_matrices(
    "eigh",
    lambda xp, x: tuple(xp.linalg.eigh(x)),
    dict(x=_eigh_x),
    square=True,
    outputs=("eigenvalues", "eigenvectors"),
)


class EighResult(NamedTuple):
    """Ascending real eigenvalues; orthonormal eigenvectors in the columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


def eigh(x: Tensor, /) -> EighResult:
    """Eigenvalues and eigenvectors of symmetric or Hermitian matrices, of the lower triangle.

    Derivatives are of functions that do not depend on the signs of the vectors, or their phases;
    the gradient is symmetric: that of the mean of x and xᴴ. How eigenvalues that repeat are
    treated says docs/semantics.md. Giles (2008), "Collected matrix derivative results", section
    3.1.
    """
    return EighResult(*_eigh(x))


_eigvalsh = _of_matrices(
    "eigvalsh",
    lambda xp, x: xp.linalg.eigvalsh(x),
    dict(x=lambda g, x: _eigh_x(g, None, *_eigh(x))),
    square=True,
)


def eigvalsh(x: Tensor, /) -> Tensor:
    """The real eigenvalues of symmetric or Hermitian matrices, ascending; see `eigh`."""
    return _eigvalsh(x)


def _qr_x(g_Q: Tensor | None, g_R: Tensor | None, Q: Tensor, R: Tensor) -> Tensor:
    """(gQ + Q H) R⁻ᴴ, where the Hermitian H has the upper triangle of gR Rᴴ - Qᴴ gQ.

    Of a wide x = [X, Y], QR = X and Y = Q (Qᴴ Y): Roberts & Roberts (2020), "QR and LQ
    decomposition matrix backpropagation algorithms for square, wide and deep matrices".
    """
    k = min(Q.shape[-2], R.shape[-1])
    q, q_more = Q[..., :k], Q[..., k:]
    r, r_more = R[..., :k, :k], R[..., :k, k:]
    gq, gr = zeros_like(q), None
    if g_Q is not None:
        gq = g_Q[..., :k]
        if Q.shape[-1] > k:  # what completes Q turns with it
            gq = gq - q_more @ (_adjoint_of(g_Q[..., k:]) @ q)
    if g_R is not None:
        gr = g_R[..., :k, :k]
        if R.shape[-1] > k:
            gr_more = g_R[..., :k, k:]
            gq = gq + (q @ r_more) @ _adjoint_of(gr_more)
    upper = -(_adjoint_of(q) @ gq)
    if gr is not None:
        upper = upper + gr @ _adjoint_of(r)
    try:
        gx = solve_triangular(_adjoint_of(r), gq + q @ _hermitian(upper), upper=False, left=False)
    except np.linalg.LinAlgError as error:
        raise np.linalg.LinAlgError(
            f"qr: no derivative where the first {k} columns are not independent"
        ) from error
    if R.shape[-1] == k:
        return gx
    return concat([gx, zeros_like(q @ r_more) if g_R is None else q @ gr_more], -1)


_qr = _of_matrices(
    "qr",
    lambda xp, x, *, mode: tuple(xp.linalg.qr(x, mode=mode)),
    dict(x=_qr_x),
    outputs=("Q", "R"),
)


class QRResult(NamedTuple):
    """Orthonormal columns Q and an upper triangular R."""

    Q: Tensor
    R: Tensor


def qr(x: Tensor, /, *, mode: str = "reduced") -> QRResult:
    """The factorization x = Q @ R; of m by n, with k = min(m, n), Q is m by k and R k by n.

    mode: "complete" makes Q m by m and R m by n; derivatives are then of functions that do not
    depend on which columns complete Q. The first k columns of x must be independent for a
    derivative; LinAlgError in backward where they are not.
    """
    if mode not in ("reduced", "complete"):
        raise ValueError(f'qr: expected the mode "reduced" or "complete", got {mode!r}')
    return QRResult(*_qr(x, mode=mode))


def _turned(vectors: Tensor, g: Tensor, s: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return what singular vectors on one side contribute, before it meets those on the other.

    Vectors beyond the singular values s belong to the value 0. shape: of the whole matrix.
    """
    count, k = vectors.shape[-1], s.shape[-1]
    values = pad(s, {-1: (0, count - k)}) if count > k else s
    overlap = _adjoint_of(vectors) @ g
    gaps = _inverse_gaps(values, values[..., :1])
    sums = _rows(values) + _columns(values)
    apart = gaps * _reciprocal(sums, equal(gaps, 0))  # 1 / (vⱼ² - vᵢ²)
    inner = (overlap - _adjoint_of(overlap)) * apart
    turned = vectors @ (inner[..., :k] * _rows(s))
    if vectors.shape[-2] > count:  # what lies outside their span
        inverse = _reciprocal(s, _negligible(s, shape, None))
        turned = turned + (g - vectors @ overlap) * _rows(inverse)
    return turned


def _svd_x(
    g_U: Tensor | None, g_S: Tensor | None, g_Vh: Tensor | None, U: Tensor, S: Tensor, Vh: Tensor
) -> Tensor:
    """Wan & Zhang (2019); what completes U or Vh has the singular value 0."""
    k = S.shape[-1]
    shape = (U.shape[-2], Vh.shape[-1])
    zero = _negligible(S, shape, None)
    u, vh = U[..., :k], Vh[..., :k, :]
    left = zeros_like(u)
    if g_S is not None:  # the derivative of a singular value at 0, which is its kink, is 0
        left = u * _rows(where(zero, 0, g_S))
    if g_U is not None:
        left = left + _turned(U, g_U, S, shape)
        if U.dtype.kind == "c":  # the phases of u, against those of v
            phases = imag(sum(conj_of(u) * g_U[..., :k], axis=-2)) * _reciprocal(S, zero)
            left = left + u * _rows(phases * 1j)
    if g_Vh is None:
        return left @ vh
    right = _turned(_adjoint_of(Vh), _adjoint_of(g_Vh), S, shape)
    return left @ vh + u @ _adjoint_of(right)


_svd = _of_matrices(
    "svd",
    lambda xp, x, *, full_matrices: tuple(xp.linalg.svd(x, full_matrices=full_matrices)),
    dict(x=_svd_x),
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
    m by k and k by n. Derivatives are of functions that do not depend on the choice of vectors:
    their signs, phases, and what completes U and Vh. How singular values that repeat are treated
    says docs/semantics.md. Wan & Zhang (2019), "Automatic differentiation for complex valued SVD".
    """
    return SVDResult(*_svd(x, full_matrices=full_matrices))


def _svdvals_x(g: Tensor, x: Tensor) -> Tensor:
    u, s, vh = _svd(x, full_matrices=False)
    return _svd_x(None, g, None, u, s, vh)


_svdvals = _of_matrices(
    "svdvals", lambda xp, x: xp.linalg.svd(x, compute_uv=False), dict(x=_svdvals_x)
)


def svdvals(x: Tensor, /) -> Tensor:
    """The singular values of matrices, descending; see `svd`. The derivative of one at 0 is 0."""
    return _svdvals(x)


def _rounding(dtype: Any, size: int) -> float:
    """Return which share of the largest singular value of so large a matrix is rounding."""
    return size * float(np.finfo(dtype).eps)


def _negligible(s: Any, shape: tuple[int, ...], rtol: Any) -> Any:
    """Return which singular values, descending, are too small to be told from 0."""
    if rtol is None:
        rtol = _rounding(s.dtype, max(shape[-2:]))
    elif hasattr(rtol, "ndim"):
        rtol = rtol[..., None]
    return s <= rtol * s[..., :1]


def _pinv_forward(xp: Any, x: Any, rtol: Any = None) -> tuple[Any, Any]:
    u, s, vh = xp.linalg.svd(x, full_matrices=False)
    out = _negligible(s, x.shape, rtol)
    inverse = xp.where(out, 0, 1 / xp.where(out, 1, s))
    return xp.matmul(_adjoint(xp, vh) * inverse[..., None, :], _adjoint(xp, u)), s


def _product(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Return a @ b @ c in the cheaper order."""
    (p, q), (r, s) = a.shape[-2:], c.shape[-2:]
    return (a @ b) @ c if p * r * (q + s) <= q * s * (r + p) else a @ (b @ c)


def _pinv_x(g_out: Tensor | None, g_S: Tensor | None, out: Tensor, x: Tensor) -> Tensor:
    """Golub & Pereyra (1973), for matrices that keep their rank; products alone, so that equal
    singular values do no harm at any order.
    """
    if g_out is None:
        return _svdvals_x(g_S, x)  # type: ignore[arg-type]
    inverse, g = _adjoint_of(out), _adjoint_of(g_out)
    rows, columns = _product(g, out, inverse), _product(inverse, out, g)
    gx = rows - _product(x, out, rows) + columns - _product(columns, out, x)
    gx = gx - _product(inverse, g_out, inverse)
    return gx if g_S is None else gx + _svdvals_x(g_S, x)


#: The pseudo-inverses, and the singular values for whoever wants them as well.
_pinv = _of_matrices("pinv", _pinv_forward, dict(x=_pinv_x), outputs=("out", "S"))


def pinv(x: Tensor, /, *, rtol: Any = None) -> Tensor:
    """The Moore-Penrose pseudo-inverses of matrices.

    rtol: singular values up to rtol times the largest count as 0; a number or one for each matrix;
    max(m, n) · eps of the dtype where None. Derivative: Golub & Pereyra (1973), "The
    differentiation of pseudo-inverses", among matrices of the same rank.
    """
    return _pinv(x, rtol)[0]


def _lstsq_forward(xp: Any, x: Any, y: Any, rtol: Any = None) -> tuple[Any, Any]:
    inverse, s = _pinv_forward(xp, x, rtol)
    return xp.matmul(inverse, y), s


def _lstsq_xy(
    g_solution: Tensor | None,
    g_S: Tensor | None,
    solution: Tensor,
    x: Tensor,
    y: Tensor,
    rtol: Any,
    wanted: tuple[str, ...],
) -> tuple[Tensor | None, Tensor | None]:
    """`_pinv_x` of the cotangent g yᴴ, with z for x⁺ y; x⁺ is made again, as large as x.

    To x goes -x⁺ᴴ g zᴴ + (y - x z) (x⁺ x⁺ᴴ g)ᴴ + x⁺ᴴ z (g - x⁺ x g)ᴴ, to y x⁺ᴴ g.
    """
    gx = gy = None
    if g_S is not None and "x" in wanted:
        gx = sum_to(_svdvals_x(g_S, x), x.shape)
    if g_solution is None:
        return gx, gy
    g, inverse = g_solution, _pinv(x, rtol)[0]
    adjoint = _adjoint_of(inverse)
    columns = adjoint @ g
    if "x" in wanted:
        direct = (y - x @ solution) @ _adjoint_of(inverse @ columns)
        direct = direct - columns @ _adjoint_of(solution)
        outside = _adjoint_of(g - inverse @ (x @ g))
        direct = sum_to(direct + (adjoint @ solution) @ outside, x.shape)
        gx = direct if gx is None else gx + direct
    if "y" in wanted:
        gy = sum_to(columns, y.shape)
    return gx, gy


_lstsq = _of_matrices(
    "lstsq",
    _lstsq_forward,
    {("x", "y"): _lstsq_xy},
    outputs=("solution", "S"),
    promotes=("x", "y"),
)


class LstsqResult(NamedTuple):
    """What `lstsq` returns."""

    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


def lstsq(x1: Tensor, x2: Tensor, /, *, rcond: Any = None) -> LstsqResult:
    """The z for which |x1 @ z - x2|² is least, the shortest of them, for a vector x2 or matrices.

    x1: matrices of m by n; batch axes broadcast. Also returned: the sums of squares that are left,
    for each right-hand side, none where m <= n; the ranks of x1; its singular values, of which
    those up to rcond times the largest count as 0, see `pinv`. The derivative is `pinv`'s, among
    matrices of the same rank; the tape keeps x1, x2 and the solution.
    """
    x1, x2 = as_tensor(x1), as_tensor(x2)
    if x1.ndim < 2 or not x2.ndim or x2.shape[-2:][0] != x1.shape[-2]:
        raise ValueError(
            "lstsq: expected matrices and as many right-hand sides as they have rows, got shapes "
            f"{x1.shape} and {x2.shape}"
        )
    dtype = common_dtype([x1.dtype, x2.dtype], floating=True)
    x1, x2 = astype(x1, dtype, copy=False), astype(x2, dtype, copy=False)
    right = _columns(x2) if x2.ndim == 1 else x2
    solution, s = _lstsq(x1, right, rcond)
    left = right - x1 @ solution
    residuals = real(sum(left * conj_of(left), axis=-2))
    if x1.shape[-2] <= x1.shape[-1]:
        residuals = residuals[..., :0]
    rank = count_nonzero(logical_not(_negligible(s, x1.shape, rcond)), axis=-1)
    return LstsqResult(solution[..., 0] if x2.ndim == 1 else solution, residuals, rank, s)


def _matrix_rank_forward(xp: Any, x: Any, rtol: Any = None) -> Any:
    s = xp.linalg.svd(x, compute_uv=False)
    return xp.count_nonzero(xp.logical_not(_negligible(s, x.shape, rtol)), axis=-1)


_matrix_rank = _of_matrices("matrix_rank", _matrix_rank_forward, {})


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
        # On the tape, with the derivative 0, also of what is not finite.
        identity = eye(x.shape[-1], dtype=x.dtype, backend=x.backend)
        return where(zeros_like(x, dtype=np.bool_), x, identity)
    base = x if n > 0 else inv(x)
    result = base
    for bit in f"{abs(n):b}"[1:]:
        result = result @ result
        if bit == "1":
            result = result @ base
    return +result if result is x else result
