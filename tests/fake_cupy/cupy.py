"""What stands for CuPy where there is none: one card, whose arrays are the strict backend's.

Its backend has no kernels: those run in gpu_kernels/. A folder of its own, so that it is found only
where a test puts that on the path.
"""

from types import SimpleNamespace

import numpy as np
import strict
from strict import StrictArray as ndarray

from minigrad.kernels.gpu import launcher

launcher.KERNELS.clear()
globals().update(vars(strict.MODULE))


class OutOfMemoryError(MemoryError):
    """CuPy's, with its words."""

    def __init__(self, size, total):
        super().__init__(
            f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes)."
        )


class CUDARuntimeError(RuntimeError):
    pass


def asnumpy(array):
    return array._host.copy()


def asarray(array, dtype=None):
    if isinstance(array, np.ndarray):
        array = ndarray(array.copy())
    return strict.MODULE.asarray(array, dtype=dtype)


def copyto(out, source):
    out[...] = source


cuda = SimpleNamespace(
    runtime=SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        getDeviceCount=lambda: 1,
        getDeviceProperties=lambda device: {"name": b"NVIDIA Pretended"},
        memGetInfo=lambda: (3 << 30, 4 << 30),
        runtimeGetVersion=lambda: 12080,
        driverGetVersion=lambda: 12090,
    ),
    get_current_stream=lambda: SimpleNamespace(synchronize=lambda: None),
    cublas=SimpleNamespace(getVersion=lambda handle: 120804),
    device=SimpleNamespace(get_cublas_handle=lambda: 0),
)
