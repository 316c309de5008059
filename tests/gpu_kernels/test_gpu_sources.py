"""Every CUDA source compiles alone, for old cards and new, with NVRTC from its pip package."""

import ctypes
import importlib.util
from pathlib import Path

import pytest

from minigrad.kernels.gpu import launcher

SOURCES = sorted(Path(launcher.__file__).parent.glob("*.cu"))


def nvrtc():
    """Return the newest NVRTC that a pip package of NVIDIA's has brought, or None."""
    package = importlib.util.find_spec("nvidia")
    folders = map(Path, package.submodule_search_locations or [] if package else [])
    found = [lib for folder in folders for lib in folder.glob("*/lib/libnvrtc.so.[0-9]*")]
    if not found:
        return None
    newest = max(found, key=lambda lib: lib.name)
    for builtins in newest.parent.glob("libnvrtc-builtins.so*"):  # where it would not look itself
        ctypes.CDLL(str(builtins))
    return ctypes.CDLL(str(newest))


NVRTC = nvrtc()
pytestmark = pytest.mark.skipif(
    NVRTC is None, reason='NVRTC compiles the CUDA sources: pip install "minigrad[dev]"'
)


def newest():
    count = ctypes.c_int()
    assert NVRTC.nvrtcGetNumSupportedArchs(ctypes.byref(count)) == 0
    architectures = (ctypes.c_int * count.value)()
    assert NVRTC.nvrtcGetSupportedArchs(architectures) == 0
    return max(architectures)


def compiled(text, architecture):
    """Return NVRTC's result for a source, 0 if all is well, and what it says."""
    program = ctypes.c_void_p()
    NVRTC.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernel.cu", 0, None, None)
    flags = [*launcher.OPTIONS, f"--gpu-architecture=sm_{architecture}"]
    options = (ctypes.c_char_p * len(flags))(*map(str.encode, flags))
    result = NVRTC.nvrtcCompileProgram(program, len(flags), options)
    size = ctypes.c_size_t()
    NVRTC.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    NVRTC.nvrtcGetProgramLog(program, log)
    NVRTC.nvrtcDestroyProgram(ctypes.byref(program))
    return result, log.value.decode()


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
@pytest.mark.parametrize("architecture", [75, 80, 90, "newest"])
def test_it_compiles(source, architecture):
    number = newest() if architecture == "newest" else architecture
    assert compiled(source.read_text(encoding="utf-8"), number) == (0, "")


def test_the_compiler_says_what_is_wrong():
    result, log = compiled('extern "C" __global__ void f() { g(); }', 80)
    assert result and 'identifier "g" is undefined' in log
