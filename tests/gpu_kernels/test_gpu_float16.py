"""How GPU kernels read and write float16, and what of it does not depend on one kernel."""

import emulator
import numpy as np
import pytest
from test_gpu_contract import SOURCES, computed

from minigrad.kernels.gpu.launcher import source_of

EVERY = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
KEPT = np.ones(EVERY.shape, bool)


@pytest.mark.parametrize("scale", [1.0, 0.5, 1 + 2**-11, 1.0003, 2.0, 3.0, 2.0**-10, 1e-8])
def test_every_number_is_read_exactly_and_rounded_once(scale, emulated):
    """To the nearest, of two to the even one: subnormal numbers, what overflows, inf and nan."""
    (found,) = computed(emulated, "masked", [EVERY, KEPT], {"scale": scale})
    with np.errstate(all="ignore"):
        wanted = (EVERY.astype(np.float32) * np.float32(scale)).astype(np.float16)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(np.signbit(found[found == 0]), np.signbit(wanted[wanted == 0]))


def test_the_sources_define_it_in_the_same_words():
    """Each compiles alone, so each has it."""
    start, end = "// float16 in memory", "using Wide = decltype(T() + T());\n"
    texts = {name: source_of(name) for name in SOURCES if name != "gemm"}
    parts = {name: text[text.index(start) : text.index(end)] for name, text in texts.items()}
    assert len(set(parts.values())) == 1, parts.keys()


@pytest.mark.skipif(bool(emulator.MISSING), reason=emulator.MISSING)
def test_instructions_that_the_emulation_lacks_are_named():
    body = 'int y; asm("abs.s32 %0, %1;" : "=r"(y) : "r"(n)); *x = y;'
    text = f'extern "C" __global__ void f(int* x, int n) {{ {body} }}'
    with pytest.raises(AssertionError, match="abs_s32"):
        emulator.built(text)
