"""Linear algebra: products of matrices, vectors and batches of them."""

import math
from typing import Any

from ..engine import Op, Tensor
from .elementwise import conj_of
from .reductions import sum_to
from .shape import expand_dims

__all__ = [
    "matmul",
]


def _matmul_forward(xp: Any, x: Any, y: Any) -> Any:
    if not x.ndim or not y.ndim:
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
