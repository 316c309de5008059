"""What the library does with the machine: its threads, and the code compiled for it."""

import importlib
import os
from typing import Any

from . import backends


def set_num_threads(n: int) -> None:
    """Let products of matrices (BLAS) and parallel kernels use n threads, from now on.

    ValueError for less than 1. Results are the same bits for the same number of threads.
    """
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"set_num_threads: expected an int, got {type(n).__name__}")
    if n < 1:
        raise ValueError(f"set_num_threads: expected at least 1 thread, got {n}")
    pools = importlib.import_module("threadpoolctl").ThreadpoolController()
    for library in pools.select(user_api="blas").lib_controllers:
        _kernel_threads().limit_blas(library, n)
    _kernel_threads().limit = n


def get_num_threads() -> int:
    """Return the number of threads that was set, or else that of the cores that may be used."""
    limit: int | None = _kernel_threads().limit
    if limit is not None:
        return limit
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _kernel_threads() -> Any:
    return importlib.import_module("minigrad.kernels.threads")


def warmup(backend: str | backends.Backend | None = None) -> None:
    """Compile the kernels of a backend, the default one if need be, which otherwise first use does.

    Takes some minutes, once: they are cached on disk. Errors are those of `use_backend`.
    """
    backends.resolve(backend).warmup()
