"""How kernels are compiled, and which thread runs them."""

import os
import sys
import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.core import event

# GNU OpenMP, Numba's usual choice, spins between kernels and slows the BLAS beside it, and a process
# that forks after it dies. The environment or a setting made before this import still wins.
if "NUMBA_THREADING_LAYER" not in os.environ and numba.config.THREADING_LAYER == "default":
    numba.config.THREADING_LAYER = "workqueue"

F = TypeVar("F", bound=Callable[..., Any])
Array = np.ndarray[Any, Any]

prange: type[range] = numba.prange


def jit(*fastmath: str, parallel: bool = False) -> Callable[[F], F]:
    """Return a decorator that compiles a function on first use, with the given LLVM flags."""

    def compiled(function: F) -> F:
        options = {
            "error_model": "numpy",  # Python's check for a zero divisor stops vectorisation
            "fastmath": set(fastmath),
            "nogil": True,
            "parallel": parallel,
        }
        try:
            return cast(F, numba.njit(cache=True, **options)(function))
        except RuntimeError:  # no directory that a cache could be written to
            return cast(F, numba.njit(**options)(function))

    return compiled


class Loop:
    """A function around one ``prange`` loop, compiled to run on one thread and on all of them."""

    def __init__(self, body: FunctionType, fastmath: tuple[str, ...], parallel_from: int) -> None:
        # The disk cache tells functions apart by name and line, not by flags: without a name of its
        # own the parallel one would load the serial one's machine code.
        twin = FunctionType(body.__code__, body.__globals__)
        twin.__qualname__ = body.__qualname__ + "_parallel"
        self.serial = jit(*fastmath)(body)
        self.parallel = jit(*fastmath, parallel=True)(twin)
        self.parallel_from = parallel_from

    def __call__(self, work: int, *args: Any) -> Any:
        """Run on ``args``: in parallel if ``work`` is large and no other thread does so just now."""
        if work >= self.parallel_from and numba.get_num_threads() > 1:
            lock = _workers
            if lock.acquire(blocking=False):
                try:
                    return self.parallel(*args)
                finally:
                    lock.release()
        return self.serial(*args)


def loop(*fastmath: str, parallel_from: int) -> Callable[[Callable[..., Any]], Loop]:
    """Return a decorator that makes a ``Loop``, run in parallel from that much work upwards."""
    return lambda body: Loop(cast(FunctionType, body), fastmath, parallel_from)


def plain(array: Array) -> Array:
    """Return ``array``, or a copy of it if it is not C-contiguous, aligned and writable.

    Numba compiles anew for every layout, and for read-only arrays; inputs that pass through here
    are all of one kind.
    """
    return array if array.flags.carray else array.copy()


# Workqueue, the threading layer, aborts the process when two threads start a parallel loop.
_workers = threading.Lock()


def _renew_lock() -> None:
    global _workers
    _workers = threading.Lock()


if hasattr(os, "register_at_fork"):  # a forked child has none of the threads that might hold it
    os.register_at_fork(after_in_child=_renew_lock)


class _Announcer(event.Listener):
    """Says once on stderr that kernels are being compiled; a cached kernel starts no such event."""

    def on_start(self, event: event.Event) -> None:
        if event.data["dispatcher"].py_func.__module__.startswith(__package__):
            print("minigrad: compiling CPU kernels (once; they are cached on disk)", file=sys.stderr)
            numba.core.event.unregister("numba:compile", self)

    def on_end(self, event: event.Event) -> None:
        """Do nothing."""


event.register("numba:compile", _Announcer())
