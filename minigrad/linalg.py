"""Linear algebra, by the names of the array API standard and, beyond it, PyTorch's and NumPy's."""

from typing import TYPE_CHECKING

from .ops.linalg import (
    cholesky,
    cross,
    det,
    diagonal,
    eigh,
    eigvalsh,
    inv,
    kron,
    lstsq,
    matmul,
    matrix_norm,
    matrix_power,
    matrix_rank,
    outer,
    pinv,
    qr,
    slogdet,
    solve,
    solve_triangular,
    svd,
    svdvals,
    tensordot,
    trace,
    vecdot,
    vector_norm,
)
from .ops.shape import matrix_transpose
from .spellings import no_such_function

__all__ = [
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "kron",
    "lstsq",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]

if not TYPE_CHECKING:  # for whom it would give every name a type

    def __getattr__(name: str) -> object:
        raise no_such_function(name, __all__, __name__)
