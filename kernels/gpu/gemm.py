"""Launches gemm.cu: a product of matrices with bias and activation, to be read beside cuBLAS."""

import numpy as np

from .launcher import NAMES, Array, Device, plain

TILE, PER, THREADS = 64, 4, 256  # of a block and a thread, as in the source
DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
ACTIVATIONS = ("none", "relu", "sigmoid", "tanh", "silu", "gelu")


def matmul(
    device: Device,
    a: Array,
    b: Array,
    bias: Array | None = None,
    activation: str = "none",
    z: Array | None = None,
) -> Array:
    """Return the activation of a @ b + bias, of a (m, k), b (k, n) and bias (n,).

    All are float32 or all float64, in any layout; the transpose of a contiguous matrix is not
    copied. `z`, (m, n) and contiguous, is filled with what the activation is of. TypeError for
    other dtypes, ValueError for shapes that do not fit and other activations.
    """
    if a.dtype not in DTYPES or any(x.dtype != a.dtype for x in (b, bias, z) if x is not None):
        names = ", ".join(str(x.dtype) for x in (a, b, bias, z) if x is not None)
        raise TypeError(f"matmul: expected float32 or float64 throughout, got {names}")
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not fit")
    (m, k), n = a.shape, b.shape[1]
    if bias is not None and bias.shape != (n,):
        raise ValueError(f"matmul: expected a bias of shape {(n,)}, got {bias.shape}")
    if z is not None and (z.shape != (m, n) or not z.flags.c_contiguous):
        raise ValueError(f"matmul: expected a contiguous z of shape {(m, n)}, got {z.shape}")
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"matmul: expected an activation of {', '.join(ACTIVATIONS)}, got {activation!r}"
        )
    out = device.empty((m, n), a.dtype)
    if out.size:
        made = [out] if z is None else [out, z]
        device.launch(
            *("gemm", f"gemm_{activation}_{NAMES[a.dtype]}"),
            *(-(-m // TILE) * -(-n // TILE), THREADS),
            *(*_factor(device, a), *_factor(device, b.T)),
            *(None if bias is None else plain(bias), m, n, k),
            *(_has_vectors(device, n, *made), z, out),
        )
    return out


def _factor(device: Device, matrix: Array) -> tuple[Array, bool, bool]:
    """Return what the source's Factor asks of a matrix of (lines, depth)."""
    by_lines = matrix.flags.c_contiguous or not matrix.flags.f_contiguous
    rows = plain(matrix if by_lines else matrix.T)
    return rows, by_lines, _has_vectors(device, rows.shape[1], rows)


def _has_vectors(device: Device, row: int, *arrays: Array) -> bool:
    return row % PER == 0 and device.has_vectors(row, *arrays)
