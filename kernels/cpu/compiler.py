"""How kernels are compiled, and which of a loop's two compilations runs."""

import os
import sys
import threading
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.core import event

F = TypeVar("F", bound=Callable[..., Any])
Array = np.ndarray[Any, Any]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))  # what Numba can compute with

# Numba's own types are partial; these are the parts of it that kernels need.
config: Any = numba.config
njit: Callable[..., Any] = numba.njit
prange: type[range] = numba.prange

# Numba's usual choice, OpenMP, spins between kernels, which slows the BLAS beside it, and GNU's
# kills a forked child. What the user has set, in the environment or in numba.config, stands.
if "NUMBA_THREADING_LAYER" not in os.environ and config.THREADING_LAYER == "default":
    config.THREADING_LAYER = "workqueue"


def jit(*fastmath: str, parallel: bool = False) -> Callable[[F], F]:
    """Return a decorator that compiles a function on first use, with the given fast-math flags.

    The disk cache does not notice a change of options here: empty ``__pycache__`` after one.
    """

    def decorate(function: F) -> F:
        options = {
            "error_model": "numpy",  # Python's test for a zero divisor stops vectorisation
            "fastmath": set(fastmath),
            "nogil": True,
            "parallel": parallel,
        }
        try:
            return cast(F, njit(cache=True, **options)(function))
        except RuntimeError:  # there is no directory it could write a cache to
            return cast(F, njit(**options)(function))

    return decorate


class Loop:
    """A function around one ``prange`` loop, compiled twice: for one thread and for all of them."""

    def __init__(self, body: FunctionType, fastmath: tuple[str, ...], parallel_from: int) -> None:
        # The disk cache tells functions apart by name, not by flags: under one name, whichever was
        # compiled first would be loaded for both.
        twin = FunctionType(body.__code__, body.__globals__)
        twin.__qualname__ = body.__qualname__ + "_parallel"
        self.serial = jit(*fastmath)(body)
        self.parallel = jit(*fastmath, parallel=True)(twin)
        self.parallel_from = parallel_from

    def __call__(self, work: int, *args: Any) -> Any:
        """Run on ``args``: in parallel if ``work`` is large and no other thread is doing so."""
        if work >= self.parallel_from and numba.get_num_threads() > 1:
            lock = _parallel_lock
            if lock.acquire(blocking=False):
                try:
                    return self.parallel(*args)
                finally:
                    lock.release()
        return self.serial(*args)


def loop(*fastmath: str, parallel_from: int) -> Callable[[Callable[..., Any]], Loop]:
    """Return a decorator that makes a ``Loop``, parallel from that much work upwards.

    Starting two threads took 50 us; each kernel's limit lies where one thread needs some 250 us.
    """
    return lambda body: Loop(cast(FunctionType, body), fastmath, parallel_from)


def plain(array: Array) -> Array:
    """Return ``array``, or a copy if it is not C-contiguous, aligned and writable.

    Numba compiles anew for every kind of array, read-only ones included; this leaves one kind.
    """
    return array if array.flags.carray else array.copy()


# The workqueue layer aborts the process when two threads are in parallel loops at once.
_parallel_lock = threading.Lock()


def _renew_lock() -> None:
    """Forget, in a forked child, a lock held by a thread that only the parent has."""
    global _parallel_lock
    _parallel_lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew_lock)


@cache
def _announce() -> None:
    print("minigrad: compiling CPU kernels (each once; they are cached on disk)", file=sys.stderr)


class _Compilations(event.Listener):
    """Hears of functions that Numba compiles, and not of those it finds in its cache."""

    def on_start(self, event: event.Event) -> None:
        if event.data["dispatcher"].py_func.__module__.startswith(f"{__package__}."):
            _announce()

    def on_end(self, event: event.Event) -> None:
        pass


event.register("numba:compile", _Compilations())  # type: ignore[no-untyped-call]
