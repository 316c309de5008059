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


#: the oldest driver, on Linux, of each extra's CUDA: its release notes, "Minimum Required Driver"
DRIVERS = {"cuda13": 580, "cuda12": 525}


def gpu() -> dict[str, Any]:
    """Return what can be found out of the first NVIDIA GPU; nothing where none is found.

    name, memory and free (bytes), and driver, from nvidia-smi or CuPy; from CuPy also cuda, the
    version it computes with, and newest_cuda, the newest that the driver runs.
    """
    found = _from_nvidia_smi()
    if backends.status()["cupy"].usable:
        cupy = importlib.import_module("cupy")
        runtime = cupy.cuda.runtime
        free, memory = runtime.memGetInfo()
        found |= {
            "name": runtime.getDeviceProperties(0)["name"].decode(),
            "memory": memory,
            "free": free,
            "cuda": _version(runtime.runtimeGetVersion()),
            "newest_cuda": _version(runtime.driverGetVersion()),
        }
    return found


def _version(number: int) -> str:
    """Return a version of CUDA, given as 1000 times the first number and 10 times the second."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _from_nvidia_smi() -> dict[str, Any]:
    """Return what NVIDIA's program says, which comes with the driver; nothing where it fails."""
    import subprocess

    fields = "--query-gpu=name,memory.total,memory.free,driver_version"
    command = ["nvidia-smi", fields, "--format=csv,noheader,nounits"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        name, memory, free, driver = ran.stdout.splitlines()[0].split(", ")
        return {
            "name": name,
            "memory": int(memory) << 20,
            "free": int(free) << 20,
            "driver": driver,
        }
    except (OSError, subprocess.SubprocessError, LookupError, ValueError):
        return {}
