"""A device that runs the GPU kernels on the CPU: their sources built by a C++ compiler.

Its arrays are the strict backend's, which refuse every conversion that CuPy's refuse.
"""

import ctypes
import importlib.util
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import strict
from strict import StrictArray

from minigrad.kernels import gpu
from minigrad.kernels.gpu import launcher

HERE = Path(__file__).parent
HEADER = HERE / "cuda_on_cpu.h"
MISSING = (
    ""
    if importlib.util.find_spec("ziglang")
    else 'the GPU kernels run on the CPU where ziglang is installed: pip install "minigrad[dev]"'
)
FLAGS = "-O1 -std=c++17 -ffp-contract=off -fno-exceptions -fno-rtti -nostdinc++".split()
# What is undefined traps, and the header makes an error of that.
FLAGS += "-fno-sanitize=all -fsanitize=alignment,bounds -fsanitize-trap=alignment,bounds".split()
FLAGS += "-Wall -Werror -Wno-unused-function -Wno-unknown-pragmas".split()
# An instruction of NVIDIA's: the header has a function for each that is used.
PTX = re.compile(r'asm\("([\w.]+) %0, %1;" : "=\w"\((\w+)\) : "\w"\((\w+)\)\)')
GUARD = 64  # bytes of 0xff before and after each array, which nobody may touch


@cache
def folder():
    """Return a folder for what is built, which lives as long as the process."""
    made = tempfile.TemporaryDirectory()
    folder.keep = made
    return Path(made.name)


def compiler(*args, text=""):
    """Run the C++ compiler of the pip package on text; return what it prints."""
    command = [sys.executable, "-m", "ziglang", "c++", "-x", "c++", "-", *args]
    ran = subprocess.run(command, input=text, capture_output=True, text=True, cwd=folder())
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def functions_of(text):
    """Return the names of the kernels that a source has, those that macros make included."""
    kernel = r"__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\("
    return re.findall(kernel, compiler("-E", "-P", text=text))


@cache
def built(text):
    """Return a library with the kernels of a source."""
    exports = "\n".join(f"CUDA_ON_CPU_EXPORT({name})" for name in functions_of(text))
    out = folder() / f"{abs(hash(text))}.so"
    full = f'#include "{HEADER}"\n{PTX.sub(_as_call, text)}\n{exports}\n'
    compiler(*FLAGS, "-shared", "-fPIC", "-nostdlib++", "-o", str(out), text=full)
    return ctypes.CDLL(str(out))


def _as_call(ptx):
    instruction, result, operand = ptx.groups()
    return f"{instruction.replace('.', '_')}({result}, {operand})"


def launch(text, function, blocks, threads, args, backwards=False):
    """Run a kernel on host arrays and scalars; RuntimeError for what would go wrong on a card."""
    values = [_value(arg) for arg in args]
    pointers = (ctypes.c_void_p * len(values))(*[v.ctypes.data for v in values])
    sizes = (ctypes.c_int * len(values))(*[v.nbytes for v in values])
    run = built(text)[f"run_{function}"]
    run.restype = ctypes.c_char_p
    grid, block = (ctypes.c_uint * 3)(blocks, 1, 1), (ctypes.c_uint * 3)(threads, 1, 1)
    error = run(grid, block, pointers, sizes, len(values), ctypes.c_bool(backwards))
    if error:
        raise RuntimeError(error.decode())


def _value(arg):
    """Return an argument as CuPy passes it, as an array of one value."""
    if isinstance(arg, StrictArray):
        arg = np.uintp(arg._host.ctypes.data)
    elif arg is None:
        arg = np.uintp(0)
    elif isinstance(arg, np.ndarray):
        assert arg.size == 1
        return arg
    assert isinstance(arg, bool | int | float | np.generic), f"no kernel takes {type(arg)}"
    return np.array(arg)


class Emulated(gpu.Device):
    """The device: every array it makes is guarded, and is nan, or -1, until it is written."""

    backwards = False

    def __init__(self, slot):
        super().__init__(slot)
        self.launched = []
        self._counter = StrictArray(np.zeros((), np.uint32))
        self._guarded = []

    def empty(self, shape, dtype):
        dtype = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        memory = np.full(size + 2 * GUARD, 0xFF, np.uint8)
        self._guarded.append(memory)
        return StrictArray(memory[GUARD : GUARD + size].view(dtype).reshape(shape))

    def address(self, array):
        return array._host.ctypes.data

    def sort(self, numbers):
        numbers._host.sort()

    def counter(self):
        return self._counter

    def launch(self, source, function, blocks, threads, *args):
        text = launcher.source_of(source)
        launch(text, function, blocks, threads, args, self.backwards)
        self.launched.append(function)
        assert self._counter._host == 0, f"{function} leaves the counter at {self._counter._host}"
        for memory in self._guarded:
            edges = memory[:GUARD], memory[-GUARD:]
            assert all((edge == 0xFF).all() for edge in edges), f"{function} writes out of bounds"
        self._guarded.clear()


def load():
    """Return the backend "emulated", whose kernels these are, and its device."""
    devices = []

    def kernels(slot):
        devices.append(Emulated(slot))
        return gpu.table(devices[0])

    return strict.load("emulated", kernels=kernels), devices[0]
