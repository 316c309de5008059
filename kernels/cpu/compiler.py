"""How kernels are registered and compiled, and which of a loop's two compilations runs."""

import ctypes
import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar, cast

import numba
import numpy as np
import threadpoolctl
from numba.core import event

from .. import threads
from ..calls import Call as Call

F = TypeVar("F", bound=Callable[..., Any])
Array = np.ndarray[Any, Any]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))  # what Numba can compute with

# Numba's own types are partial; these are the parts of it that kernels need.
config: Any = numba.config
njit: Callable[..., Any] = numba.njit
prange: type[range] = numba.prange


def _choose_threads() -> None:
    """Let OpenMP start threads where it is installed, unless the user chose, and let none spin.

    OpenMP starts two threads in a quarter of the time of Numba's own workqueue, which also was seen
    to run both on one core. Those that spin between loops slow what runs beside them by
    milliseconds; whether they do is read from the environment when the library is loaded.
    """
    if "NUMBA_THREADING_LAYER" in os.environ or config.THREADING_LAYER != "default":
        return
    usual = os.environ.get("OMP_WAIT_POLICY")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        importlib.import_module("numba.np.ufunc.omppool")
        config.THREADING_LAYER = "omp"
    except ImportError:
        config.THREADING_LAYER = "workqueue"
    finally:
        if usual is None:
            del os.environ["OMP_WAIT_POLICY"]


_choose_threads()


@cache
def sources() -> str:
    """Return a hash of the source of all kernels, by which the disk cache tells old from new."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


# malloc gives freed memory back to the system, and the next training step faults it in again, page
# by page. Freeing a block of almost 32 MiB, the most it looks at, tells glibc to keep up to 64: a
# step of a small network at batch 1,024 takes 0.8 of the time.
np.empty((1 << 25) - (1 << 16), np.uint8)


def jit(*fastmath: str, parallel: bool = False, inlined: bool = False) -> Callable[[F], F]:
    """Return a decorator that compiles a function on first use, with the given fast-math flags.

    inlined: into its callers always; a loop that calls what LLVM finds too long to inline is not
    vectorised.
    """

    def decorate(function: F) -> F:
        options = {
            "error_model": "numpy",  # Python's test for a zero divisor stops vectorisation
            "fastmath": set(fastmath),
            "forceinline": inlined,
            "nogil": True,
            "parallel": parallel,
        }
        try:
            compiled = njit(cache=True, **options)(function)
        except RuntimeError:  # there is no directory it could write a cache to
            return cast(F, njit(**options)(function))
        if hasattr(compiled, "_cache"):  # not with NUMBA_DISABLE_JIT
            # Numba would ask for the function's own file alone, and run the old machine code after
            # a change to a helper elsewhere.
            compiled._cache._cache_file._source_stamp = sources()
            _name_by_key(compiled._cache._cache_file)
        return cast(F, compiled)

    return decorate


def _name_by_key(file: Any) -> None:
    """Name a function's machine code by what it was compiled for, and not by a running number.

    Processes that compile for different dtypes at the same time may choose the same number, and the
    index would give out one's machine code as the other's.
    """
    stem, save = file._index_name.removesuffix(".nbi"), file.save

    def save_by_key(key: tuple[Any, ...], data: object) -> None:
        # Signature and processor, without the bytecode: the next version takes the place of this.
        name = sha256(repr(key[:2]).encode()).hexdigest()[:16]
        file._data_name_pattern = f"{stem}.{name}.{{number:d}}.nbc"
        save(key, data)

    file.save = save_by_key


#: the kernels by the name of the op or formula that they compute
TABLE: dict[str, Callable[..., Any]] = {}
#: for each of them, calls (arrays, params) of a dtype and a length: what `warmup` and tests need
CALLS: dict[str, Callable[[Any, int], Iterator[Call]]] = {}
LOOPS: list["Loop"] = []


def kernel(
    calls: Callable[[Any, int], Iterator[Call]], pays_from: int = 0, name: str = ""
) -> Callable[[F], F]:
    """Return a decorator that puts a function into ``TABLE`` under that name, or its own.

    ``pays_from`` is the size of its first array below which it is not even asked, because NumPy is
    faster.

    ``calls(dtype, n)`` yields calls on float32 or float64 arrays with some axis of length n, which
    together run all of its loops; n may be 0.
    """

    def decorate(function: F) -> F:
        function.pays_from = pays_from  # type: ignore[attr-defined]
        op = name or function.__name__
        TABLE[op], CALLS[op] = function, calls
        return function

    return decorate


def warmup() -> None:
    """Compile every kernel for float32 and float64, for one thread and for all of them."""
    _warming.append(True)
    _here.warms = True
    try:
        for name, calls in CALLS.items():
            for dtype in FLOATS:
                for arrays, params in calls(dtype, 4):
                    TABLE[name](*arrays, **params)
    finally:
        _here.warms = False
        _warming.pop()


class _Here(threading.local):
    """What is true of a thread: whether it is in warmup, its core and the number of its loops'."""

    warms = False
    placed = (-1, 0)


# One entry for each thread that is in warmup: faster to look at than whether this one is. A list,
# since threads that add to a number at once may lose a step.
_warming: list[bool] = []
_here = _Here()


def _warms() -> bool:
    return bool(_warming) and _here.warms


class Loop:
    """A function around one ``prange`` loop, compiled twice: for one thread and for all of them.

    ``parallel_from`` is the work from which it uses all threads, ``pays_from`` that below which
    NumPy is faster, so that a kernel asks ``pays`` first and declines.
    """

    def __init__(
        self,
        body: FunctionType,
        fastmath: tuple[str, ...],
        parallel_from: int,
        pays_from: int,
    ) -> None:
        # The disk cache tells functions apart by name, not by flags: under one name, whichever was
        # compiled first would be loaded for both.
        twin = FunctionType(body.__code__, body.__globals__)
        twin.__qualname__ = body.__qualname__ + "_parallel"
        self.serial = jit(*fastmath)(body)
        self.parallel = jit(*fastmath, parallel=True)(twin)
        self.parallel_from, self.pays_from = parallel_from, pays_from
        LOOPS.append(self)

    def pays(self, work: int) -> bool:
        """Return whether so much work is done faster here than by NumPy."""
        return work >= self.pays_from or _warms()

    def __call__(self, work: int, *args: Any) -> Any:
        """Run on ``args``: in parallel if ``work`` is large and no other thread is doing so."""
        warms = _warms()
        if (warms or work >= self.parallel_from) and not _forked:
            usual = numba.get_num_threads()
            count = _limited(usual)
            lock = _parallel_lock
            if (warms or count > 1) and lock.acquire(blocking=warms):
                try:
                    if count != usual:
                        numba.set_num_threads(count)
                    part(count)
                    found = self.parallel(*args)
                    if not warms:
                        return found
                finally:
                    if count != usual:
                        numba.set_num_threads(usual)
                    lock.release()
        return self.serial(*args)


class BlasLoop(Loop):
    """A loop that multiplies matrices, each in the thread that it runs in."""

    def __call__(self, work: int, *args: Any) -> Any:
        with _one_blas_thread_in_loops:
            return super().__call__(work, *args)


def loop(
    *fastmath: str, parallel_from: int, pays_from: int = 0, blas: bool = False
) -> Callable[[Callable[..., Any]], Loop]:
    """Return a decorator that makes a ``Loop`` of a function around one ``prange`` loop.

    Starting two threads took 14 us; each loop is parallel from where one needs some 60 us. blas:
    a ``BlasLoop``.
    """
    kind = BlasLoop if blas else Loop
    return lambda body: kind(cast(FunctionType, body), fastmath, parallel_from, pays_from)


class _OneBlasThread:
    """Keeps the BLAS of some package to one thread while anybody is inside.

    BLAS's threads go on spinning for up to 30 ms where parallel loops want to run.
    """

    def __init__(self, package: str) -> None:
        self.package = package
        self.found: tuple[Any, ...] | None = None
        self.lock, self.inside, self.usual = threading.Lock(), 0, (0,)

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                libraries = self.libraries()
                self.usual = tuple([library.get_num_threads() for library in libraries])
                for library in libraries:
                    threads.limit_blas(library, 1)
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.restore()

    def restore(self) -> None:
        for library, count in zip(self.libraries(), self.usual, strict=True):
            threads.limit_blas(library, count)

    def renew(self) -> None:
        """Forget, in a forked child, the threads that were inside."""
        if self.inside:
            self.restore()
        self.lock, self.inside = threading.Lock(), 0

    def libraries(self) -> tuple[Any, ...]:
        """Return those that the package brought, or all where it uses the system's."""
        if self.found is None:
            importlib.import_module(self.package)
            blas = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
            name = self.package.partition(".")[0]
            own = [library for library in blas if f"{name}.libs" in library.filepath]
            self.found = tuple(own or blas)
        return self.found


one_blas_thread = _OneBlasThread("numpy")
_one_blas_thread_in_loops = _OneBlasThread("scipy.linalg.cython_blas")  # which Numba calls


def num_threads() -> int:
    """Return how many threads a parallel loop has."""
    return _limited(numba.get_num_threads())


def _limited(usual: int) -> int:
    return usual if threads.limit is None else int(min(threads.limit, config.NUMBA_NUM_THREADS))


_is_linux_s = sys.platform == "linux" and config.THREADING_LAYER == "omp"
_libc = ctypes.CDLL(None) if _is_linux_s and not config.DISABLE_JIT else None
# None where a thread's core is not known, or which threads are OpenMP's
_current_core = getattr(_libc, "sched_getcpu", None) if hasattr(_libc, "gettid") else None
_gettid: Any = numba.types.ExternalFunction("gettid", numba.types.int32())


@jit(parallel=True)
def _identify(out: Array) -> None:
    for i in prange(out.size):
        out[i] = _gettid()


def part(count: int) -> None:
    """Keep the threads of this thread's parallel loops off its own core.

    Linux wakes a thread on the core of the one that wakes it unless it knows of an idle one. It
    knows of none in a virtual machine that is told when its host runs something else on a core,
    which is always so of an idle one: two threads shared one core for up to 10 ms, and a loop of
    0.8 ms took 1.5 ms on both instead of 0.5.
    """
    if _current_core is None:
        return
    core = _current_core()
    if _here.placed == (core, count):
        return
    _here.placed = (core, count)
    with suppress(OSError):  # a sandbox may forbid it
        allowed = os.sched_getaffinity(0)
        if 1 < count <= len(allowed):
            found = np.zeros(count, np.int32)
            _identify(found)
            for thread in {*found.tolist()} - {threading.get_native_id()}:
                os.sched_setaffinity(thread, allowed - {core})


def plain(array: Array) -> Array:
    """Return ``array``, or a copy if it is not C-contiguous, aligned and writable.

    Numba compiles anew for every kind of array, read-only ones included; this leaves one kind.
    """
    return array if array.flags.carray else array.copy()


# Two threads in parallel loops would have more threads than there are cores, and with the workqueue
# layer the process aborts.
_parallel_lock = threading.Lock()
# Whether this is the forked child of a process with OpenMP's threads, which GNU's would kill.
_forked = False


def _after_fork() -> None:
    """Forget, in a forked child, the threads that only its parent has, and what they held."""
    global _parallel_lock, _forked
    _parallel_lock = threading.Lock()
    one_blas_thread.renew()
    _one_blas_thread_in_loops.renew()
    with suppress(ValueError):  # no threads yet
        _forked = _forked or cast(Any, numba).threading_layer() == "omp"


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


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
