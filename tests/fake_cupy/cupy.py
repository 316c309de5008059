"""What stands for CuPy where there is none: one card, whose arrays are the strict backend's.

Its backend has no kernels: those run in gpu_kernels/. What a stream is told is done at once, except
copies from pinned memory: they are put off until somebody waits for them, and `races` says what a
card might have done meanwhile. A folder of its own, so that it is found only where a test puts that
on the path.
"""

import ctypes
import itertools
import threading
import weakref
from types import SimpleNamespace

import numpy as np
import strict
from strict import StrictArray as ndarray

from minigrad.kernels.gpu import launcher

__version__ = "14.0.0"
launcher.KERNELS.clear()
globals().update(vars(strict.MODULE))


class OutOfMemoryError(MemoryError):
    """CuPy's, with its words."""

    def __init__(self, size, total):
        super().__init__(
            f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes)."
        )


def asnumpy(array):
    return array._host.copy()


def asarray(array, dtype=None):
    if isinstance(array, np.ndarray):
        array = ndarray(array.copy())
    return strict.MODULE.asarray(array, dtype=dtype)


def copyto(out, source):
    out[...] = source


races = []  # what could have gone wrong, in words
clock = itertools.count()
current = threading.local()


class Stream:
    null = None

    def __init__(self, non_blocking=False):
        self.non_blocking = non_blocking
        self.copies = []
        self.waited = {}  # until which moment of each other stream this one waited

    def __enter__(self):
        current.stack = [*getattr(current, "stack", []), self]
        return self

    def __exit__(self, *_):
        current.stack.pop()

    def record(self, event):
        event.stream, event.moment = self, next(clock)
        return event

    def wait_event(self, event):
        event.stream.run(event.moment)
        self.waited[event.stream] = event.moment

    def synchronize(self):
        self.settle(next(clock))

    def run(self, until):
        for copy in self.copies:
            if copy.moment < until:
                copy.run()

    def settle(self, until):
        """Do what was put off, and let the host know."""
        self.run(until)
        self.copies = [copy for copy in self.copies if copy.moment > until]


class Event:
    def __init__(self, block=False, disable_timing=False):
        self.stream = None

    def synchronize(self):
        self.stream.settle(self.moment)


class Copy:
    """A copy that was put off, which keeps neither memory."""

    def __init__(self, block, array):
        self.moment, self.block, self.done = next(clock), block, False
        self.shape, self.dtype = array.shape, array.dtype
        self.memory = weakref.ref(array._host, self.lost)

    def lost(self, _):
        if not self.done:
            races.append("memory is given back to which a copy is still to come")

    def run(self):
        memory = self.memory()
        if not self.done and memory is not None:
            values = self.block[: memory.nbytes].view(self.dtype)
            memory[...] = values.reshape(self.shape)
        self.done = True


class Fillable(ndarray):
    """An array of the current stream, full of nan until something is copied to it."""

    def __init__(self, host):
        super().__init__(host)
        self.stream, self.moment = get_current_stream(), next(clock)
        host.reshape(-1).view(np.uint8)[...] = 255

    def set(self, host, stream):
        assert (self.shape, self.dtype) == (host.shape, host.dtype)
        if not host.size:
            return
        if stream is not self.stream and stream.waited.get(self.stream, -1) < self.moment:
            races.append("a copy does not wait for who had the memory before")
        # LookupError where the host's memory is not pinned.
        stream.copies.append(Copy(blocks[host.ctypes.data], self))
        streams.add(stream)


streams = weakref.WeakSet()  # to which something was copied
blocks = {}  # pinned memory by its address


def alloc_pinned_memory(size):
    block = np.empty(size or 1, np.uint8)
    blocks[block.ctypes.data] = block
    handed = (ctypes.c_ubyte * block.size).from_buffer(block)
    weakref.finalize(handed, given_back, block).atexit = False
    return handed


def given_back(block):
    if [copy for stream in streams for copy in stream.copies if copy.block is block]:
        races.append("pinned memory is given back that a copy may still read")
    block[...] = 255


def get_current_stream():
    return [Stream.null, *getattr(current, "stack", [])][-1]


def empty(shape, dtype=float):
    return Fillable(np.empty(shape, dtype))


Stream.null = Stream()

cuda = SimpleNamespace(
    runtime=SimpleNamespace(
        getDeviceProperties=lambda device: {"name": b"NVIDIA Pretended"},
        memGetInfo=lambda: (3 << 30, 4 << 30),
        runtimeGetVersion=lambda: 12080,
        driverGetVersion=lambda: 12090,
    ),
    Event=Event,
    Stream=Stream,
    alloc_pinned_memory=alloc_pinned_memory,
    get_current_stream=get_current_stream,
    cublas=SimpleNamespace(getVersion=lambda handle: 120804),
    device=SimpleNamespace(get_cublas_handle=lambda: 0),
)
