"""The card that GPU kernels are measured on: what it is, and the most that it does."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

COPIED, SIDE = 1 << 30, 4096  # bytes, and rows and columns of a product


def copy(size: int) -> Callable[[], Any]:
    """Return what copies so many bytes from the card's memory to itself."""
    import cupy

    source, out = (cupy.zeros(size, np.uint8) for _ in range(2))
    return partial(cupy.copyto, out, source)


def product(side: int) -> Callable[[], Any]:
    """Return what multiplies square matrices of float32 by cuBLAS."""
    import cupy

    # Zeros would cost less power, and so run at a higher clock.
    x = cupy.sin(cupy.arange(side * side, dtype=np.float32)).reshape(side, side)
    return partial(cupy.matmul, x, x, out=cupy.empty_like(x))


#: by name, what to call and how much that is at one call in a microsecond
RATES: dict[str, tuple[Callable[[], Callable[[], Any]], float]] = {
    "copy_gb_s": (partial(copy, COPIED), 2 * COPIED / 1e3),
    "product_tflop_s": (partial(product, SIDE), 2 * SIDE**3 / 1e6),
}


def facts() -> dict[str, Any]:
    """Return the card's name and memory, and the versions of its driver and libraries."""
    import cupy

    from minigrad.hardware import gpu

    card = gpu()
    cublas = cupy.cuda.cublas.getVersion(cupy.cuda.device.get_cublas_handle())
    return {
        "name": card["name"],
        "memory_gib": round(card["memory"] / 2**30, 1),
        "driver": card.get("driver", "unknown"),
        "cuda": card["cuda"],
        "cublas": cublas,
    }
