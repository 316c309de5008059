"""The elementary functions that kernels compute with: their errors, special values, speed."""

import math
import platform

import numpy as np
import pytest
from contract import COMPILED, cpu, floats, needs_compiler, numba

elementary = cpu.elementary
INF, NAN = math.inf, math.nan


def in_a_loop(name):
    """Return the function over arrays, by a loop as kernels have it."""
    f = getattr(elementary, name)

    @numba.njit(error_model="numpy")
    def loop(x, out):
        for i in range(x.size):
            out[i] = f(x[i])

    return loop


NAMES = ["exp", "expm1", "log1p", "tanh", "sigmoid", "softplus", "erfcx", "erfc", "erf"]
NAMES += ["silu", "silu_slope", "gelu", "gelu_slope", "gelu_tanh", "gelu_tanh_slope"]
LOOPS = {name: in_a_loop(name) for name in NAMES}


def computed(name, x):
    out = np.empty_like(x)
    LOOPS[name](x, out)
    return out


def has_fused_multiply_add():
    from llvmlite import binding

    x86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
    return not x86 or binding.get_host_cpu_features().get("fma", False)


#: the functions in 40 digits
EXACT = {
    "log1p": lambda mp, x: mp.log1p(x),
    "sigmoid": lambda mp, x: 1 / (1 + mp.exp(-x)),
    "softplus": lambda mp, x: mp.log1p(mp.exp(x)),
    "erfcx": lambda mp, x: mp.exp(x * x) * mp.erfc(x),
    "silu": lambda mp, x: x / (1 + mp.exp(-x)),
    "silu_slope": lambda mp, x: (1 + mp.exp(-x) + x * mp.exp(-x)) / (1 + mp.exp(-x)) ** 2,
    "gelu": lambda mp, x: x * mp.ncdf(x),
    "gelu_slope": lambda mp, x: mp.ncdf(x) + x * mp.npdf(x),
}


def exact(name, x):
    mp = pytest.importorskip("mpmath", reason="measures errors in 40 digits").mp.clone()
    mp.dps = 40
    f = EXACT.get(name) or (lambda mp, x: getattr(mp, name)(x))
    return np.array([f(mp, mp.mpf(float(value))) for value in x])


# Where each is normal, and the errors in ulp that its docstring states; floor: the ulp is at least
# that of this number.
LIMITS = {
    "exp": ((-86.9, 88.7), (-707.9, 709.7), 1, 0),
    "expm1": ((-20, 0), (-40, 0), 1.5, 0),
    "log1p": ((0, 1), (0, 1), 1.5, 0),
    "tanh": ((-10, 10), (-20, 20), 2.5, 0),
    "sigmoid": ((-86.9, 20), (-707.9, 40), 2.5, 0),
    "softplus": ((-86.9, 100), (-707.9, 1000), 2, 0),
    "erfcx": ((0, 10), (0, 27), 4, 0),
    "erfc": ((-4, 9.1), (-6, 26.5), 4.5, 0),
    "erf": ((-4, 4), (-6, 6), 1.5, 0),
    "silu": ((-80, 20), (-700, 40), 4, 0),
    "silu_slope": ((-80, 20), (-700, 40), 4, 1),
    "gelu": ((-1, 10), (-1, 10), 5, 0),
    "gelu_slope": ((-10, 10), (-20, 20), 4, 1),
}


@floats
@pytest.mark.parametrize("name", LIMITS)
def test_errors_are_a_few_ulp(name, dtype):
    single, double, limit, floor = LIMITS[name]
    low, high = single if dtype == np.float32 else double
    n = 2000 if COMPILED else 50
    tiny = np.logspace(-30, 0, n // 4)
    halves = (np.arange(-20, 20) + 0.5) * math.log(2)  # where exp goes from one power to the next
    x = np.concatenate([np.linspace(low, high, n), tiny, -tiny, halves, -halves]).astype(dtype)
    x = x[(x >= low) & (x <= high)]
    wanted = exact(name, x)
    ulp = np.spacing(np.maximum(np.abs(wanted.astype(dtype)), dtype(floor)))
    ulps = np.abs((computed(name, x) - wanted) / ulp).astype(float)
    if not (COMPILED and has_fused_multiply_add()):
        limit *= 2
    assert ulps.max() <= limit, f"{ulps.max():.3f} ulps at {x[ulps.argmax()]!r}"


@floats
def test_exp_is_within_its_ulps_over_the_whole_range(dtype):
    if np.finfo(np.longdouble).eps == np.finfo(dtype).eps:
        pytest.skip("there is no type wider than float64 here")
    least, most = math.log(1.5 * np.finfo(dtype).tiny), math.log(np.finfo(dtype).max)
    n = 1_000_000 if COMPILED else 500
    halves = (np.arange(least // math.log(2), most // math.log(2)) + 0.5) * math.log(2)
    near = [np.nextafter(dtype(x), dtype(to)) for x in halves for to in (-INF, INF)]
    x = np.concatenate([np.linspace(least, most, n), halves, near]).astype(dtype)
    wanted = np.exp(x.astype(np.longdouble))
    inside = (wanted >= 1.5 * np.finfo(dtype).tiny) & (wanted <= np.finfo(dtype).max)
    x, wanted = x[inside], wanted[inside]
    ulps = np.abs(computed("exp", x) - wanted) / np.spacing(wanted.astype(dtype))
    allowed = 1 if COMPILED and has_fused_multiply_add() else 2
    assert ulps.max() <= allowed, f"{ulps.max():.3f} ulps at {x[ulps.argmax()]!r}"


# The values at -inf, -0, 0 and inf.
SPECIAL = {
    "exp": (0, 1, 1, INF),
    "tanh": (-1, -0.0, 0, 1),
    "sigmoid": (0, 0.5, 0.5, 1),
    "softplus": (0, math.log(2), math.log(2), INF),
    "erfc": (2, 1, 1, 0),
    "erf": (-1, -0.0, 0, 1),
    "silu": (NAN, -0.0, 0, INF),
    "gelu": (NAN, -0.0, 0, INF),
    "gelu_slope": (0, 0.5, 0.5, 1),
    "gelu_tanh": (NAN, -0.0, 0, INF),
    "gelu_tanh_slope": (0, 0.5, 0.5, 1),
}


@floats
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name, dtype):
    x, wanted = np.array([-INF, -0.0, 0, INF], dtype), np.array(SPECIAL[name], dtype)
    with np.errstate(all="ignore"):
        found = computed(name, x)
        np.testing.assert_allclose(found, wanted, rtol=2 * np.finfo(dtype).eps, atol=1e-100)
        np.testing.assert_array_equal(np.signbit(found[1:3]), np.signbit(wanted[1:3]))
        # However large, or with whatever payload, it stays what it is.
        huge = np.array([-np.finfo(dtype).max, np.finfo(dtype).max], dtype)
        found = computed(name, huge)
        assert not np.isnan(found).any()
        bits = {np.float32: np.int32, np.float64: np.int64}[dtype]
        nans = np.array([NAN, -NAN], dtype)
        nans = np.concatenate([nans, (nans.view(bits) | 12345).view(dtype)])
        assert np.isnan(computed(name, nans)).all()


@floats
def test_exp_at_the_ends_of_its_range(dtype):
    info = np.finfo(dtype)
    with np.errstate(over="ignore"):
        least, most = math.log(2 * info.tiny), np.nextafter(np.log(info.max), dtype(0))
        assert (computed("exp", np.array([least, most], dtype)) > [info.tiny, info.max / 2]).all()
        x = np.array([info.min, least - 1, -info.tiny, info.tiny, most + 1, info.max], dtype)
        np.testing.assert_array_equal(computed("exp", x), np.array([0, 0, 1, 1, INF, INF], dtype))


@floats
def test_numbers_alone_are_those_of_the_loop(dtype):
    x = np.array([-2, 0.25, 3], dtype)
    for name in SPECIAL:
        found = [getattr(elementary, name)(value) for value in x]
        np.testing.assert_array_equal(np.array(found, dtype), computed(name, x))


@needs_compiler
@pytest.mark.parametrize("name", NAMES)
def test_llvm_vectorises_it(name):
    from llvmlite import binding

    if not binding.get_host_cpu_features().get("avx", False):
        pytest.skip("reads the names of AVX's registers")
    for dtype in (np.float32, np.float64):
        computed(name, np.ones(1, dtype))
    for code in LOOPS[name].inspect_asm().values():
        assert "ymm" in code or "zmm" in code
