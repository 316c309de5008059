"""Elementary functions that LLVM vectorises: no branch, no table, no call into the C library."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import overload

from .compiler import jit

# For exp. ln 2 is a high part, short enough that k times it is exact, plus a low part. Adding ROUND
# rounds to an integer, found in the sum's low bits. Below LEAST the result is subnormal.
LN2_HIGH32, LN2_LOW32 = np.float32(355 / 512), np.float32(math.log(2) - 355 / 512)
LN2_HIGH64 = np.float64(round(math.log(2) * 2**40) / 2**40)
LN2_LOW64 = np.float64(math.log(2) - LN2_HIGH64 + 2.319046813846299e-17)  # what math.log(2) lacks
LOG2E32, LOG2E64 = np.float32(1 / math.log(2)), np.float64(1 / math.log(2))
ROUND32, ROUND64 = np.float32(1.5 * 2**23), np.float64(1.5 * 2**52)
LEAST32, LEAST64 = np.float32(-126 * math.log(2)), np.float64(-1022 * math.log(2))
TAYLOR32 = tuple(np.float32(1 / math.factorial(i)) for i in range(7, -1, -1))
TAYLOR64 = tuple(np.float64(1 / math.factorial(i)) for i in range(13, -1, -1))


def exp(x: Any) -> Any:
    """Return e**x for a float32 or float64 x <= 0; 0 where that is subnormal.

    Within 1 ulp, or 2 on a CPU without fused multiply-add. x = k ln 2 + r with an integer k and
    abs(r) <= ln(2) / 2 (Cody and Waite, Software Manual for the Elementary Functions, 1980, ch. 6),
    then 2**k times the Taylor polynomial of e**r. Without a branch or a call into the C library,
    which keep LLVM from vectorising.
    """
    return exp32(x) if isinstance(x, np.float32) else exp64(x)


@overload(exp)
def _exp_in_kernels(x: Any) -> Callable[[Any], Any]:
    typed_exp = exp32 if x == types.float32 else exp64

    def implementation(x: Any) -> Any:
        return typed_exp(x)

    return implementation


@jit("contract")  # a fused multiply-add rounds once where two operations round twice
def exp32(x: Any) -> Any:
    """Return e**x of a float32; see ``exp``."""
    inside = np.float32(LEAST32 if x < LEAST32 else x)
    shifted = np.float32(inside * LOG2E32 + ROUND32)
    k = shifted - ROUND32
    r = inside - k * LN2_HIGH32 - k * LN2_LOW32
    series = TAYLOR32[0]
    for coefficient in TAYLOR32[1:]:
        series = series * r + coefficient
    power = np.int32((shifted.view(np.int32) + np.int32(127)) << np.int32(23))
    return np.float32(0) if x < LEAST32 else series * power.view(np.float32)


@jit("contract")
def exp64(x: Any) -> Any:
    """Return e**x of a float64; see ``exp``."""
    inside = np.float64(LEAST64 if x < LEAST64 else x)
    shifted = np.float64(inside * LOG2E64 + ROUND64)
    k = shifted - ROUND64
    r = inside - k * LN2_HIGH64 - k * LN2_LOW64
    series = TAYLOR64[0]
    for coefficient in TAYLOR64[1:]:
        series = series * r + coefficient
    power = np.int64((shifted.view(np.int64) + np.int64(1023)) << np.int64(52))
    return np.float64(0) if x < LEAST64 else series * power.view(np.float64)
