"""How GPU kernels are registered, and what they ask of the device that their arrays are on."""

import importlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from ..calls import Call as Call

F = TypeVar("F", bound=Callable[..., Any])
Array = Any  # cupy.ndarray, or what tests put in its place
FLOATS = (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64))
#: what the sources call them, in the names of functions that exist once for each
NAMES = dict(zip(FLOATS, ("half", "float", "double"), strict=True))
# nvcc's default, where CuPy's would be C++14.
OPTIONS = ("--std=c++17",)
VECTOR = 16  # bytes that a thread loads at once, if they start at a multiple of as many

#: the kernels by the name of the op or formula that they compute; each takes its device first
KERNELS: dict[str, Callable[..., Any]] = {}
#: for each of them, calls (arrays, params) of a dtype and a length, on NumPy arrays
CALLS: dict[str, Callable[[Any, int], Iterator[Call]]] = {}


def kernel(calls: Callable[[Any, int], Iterator[Call]]) -> Callable[[F], F]:
    """Return a decorator that puts a function into ``KERNELS`` under its own name.

    The function is called as its op's forward is, with a `Device` in the place of the namespace.
    ``calls(dtype, n)`` yields calls on arrays of a dtype of ``FLOATS`` with some axis of length n,
    which together run all of its CUDA functions of that dtype; n may be 0.
    """

    def decorate(function: F) -> F:
        KERNELS[function.__name__], CALLS[function.__name__] = function, calls
        return function

    return decorate


class Slot(Protocol):
    """Where a kernel notes what it refuses, to be raised at the next transfer to the host."""

    def place(
        self, what: str, shape: tuple[int, ...], error: type[Exception] = ValueError
    ) -> tuple[Array, int]:
        """Return memory (found, code, flat position, value), and the message's code."""

    def refuse(self, bad: Array, values: Array, what: str, error: type[Exception]) -> None:
        """Note the first true place of ``bad`` and the value there, by the library's functions."""


class Device(ABC):
    """What a kernel asks of the device that its arrays are on."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array that is not filled yet."""

    @abstractmethod
    def address(self, array: Array) -> int:
        """Return where an array's memory starts."""

    @abstractmethod
    def sort(self, numbers: Array) -> None:
        """Sort a contiguous array of int64 in place; the host may wait for that."""

    @abstractmethod
    def counter(self) -> Array:
        """Return a uint32 of the current stream that is 0 when a kernel starts, and must be again.

        By it the last block to finish knows that it is the last.
        """

    @abstractmethod
    def launch(self, source: str, function: str, blocks: int, threads: int, *args: Any) -> None:
        """Start a function of source.cu on the current stream.

        args: arrays, None for a null pointer, int for long long, float for double, bool, NumPy's
        scalars, and NumPy arrays of one structure, which is passed by value.
        """

    def has_vectors(self, row: int, *arrays: Array) -> bool:
        """Return whether rows of so many elements can be read 16 bytes at a time in all arrays."""
        return all(
            row * a.dtype.itemsize % VECTOR == 0 and self.address(a) % VECTOR == 0 for a in arrays
        )


def wide(dtype: Any) -> Any:
    """Return the dtype that numbers of a dtype are computed with: for float16, float32."""
    return np.result_type(dtype, np.float32)


def plain(array: Array) -> Array:
    """Return ``array``, or a C-contiguous copy."""
    return array if array.flags.c_contiguous else array.copy()


def as_int64(numbers: Array) -> Array | None:
    """Return integers as contiguous int64; None for what is no integer, or need not fit."""
    kind, size = numbers.dtype.kind, numbers.dtype.itemsize
    if kind == "i" or (kind == "u" and size < 8):
        return plain(numbers.astype(np.int64, copy=False))
    return None


def table(device: Device) -> Mapping[str, Callable[..., Any]]:
    """Return the kernels by name, for arrays on a device."""
    return {name: partial(function, device) for name, function in KERNELS.items()}


def on_cupy(slot: Slot) -> Mapping[str, Callable[..., Any]]:
    """Return the kernels by name, for CuPy's arrays."""
    return table(_Cupy(slot))


@cache
def source_of(name: str) -> str:
    """Return the text of a source."""
    return (Path(__file__).parent / f"{name}.cu").read_text(encoding="utf-8")


class _Cupy(Device):
    """The GPU that CuPy is on."""

    def __init__(self, slot: Slot) -> None:
        super().__init__(slot)
        self.cupy: Any = importlib.import_module("cupy")
        self.functions: dict[tuple[str, str], Any] = {}
        self.modules: dict[str, Any] = {}
        self.counters: dict[tuple[int, int], Array] = {}

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.cupy.empty(shape, dtype)

    def address(self, array: Array) -> int:
        return int(array.data.ptr)

    def sort(self, numbers: Array) -> None:
        numbers.sort()

    def counter(self) -> Array:
        # Of the thread as well: the default stream can be one for each under a single address.
        place = self.cupy.cuda.get_current_stream().ptr, threading.get_ident()
        if place not in self.counters:
            self.counters[place] = self.cupy.zeros((), np.uint32)
        return self.counters[place]

    def launch(self, source: str, function: str, blocks: int, threads: int, *args: Any) -> None:
        found = self.functions.get((source, function))
        if found is None:
            if source not in self.modules:
                self.modules[source] = self.cupy.RawModule(code=source_of(source), options=OPTIONS)
            found = self.modules[source].get_function(function)
            self.functions[source, function] = found
        found((blocks,), (threads,), args)
